//! The HTTP server, on a thread of its own: nothing that it does holds up processing.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TEXT_FORMAT};
use serde_json::json;
use tokio::sync::oneshot;

use crate::health::{Liveness, Readiness, Status};

/// What the server shows.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Where the metrics are gathered from.
    pub registry: Registry,
    /// Behind `/livez`.
    pub liveness: Liveness,
    /// Behind `/readyz`.
    pub readiness: Readiness,
}

/// A server that listens. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<io::Result<()>>,
}

/// The server cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, or is none of this machine's.
    #[error("cannot listen on {address}: {source}; choose another address with `http.listen`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The thread could not be started, or failed.
    #[error("the http server failed: {0}")]
    Failed(#[from] io::Error),
    /// The thread panicked.
    #[error("the http server's thread panicked")]
    Panicked,
}

impl Server {
    /// Listens on `address` (port 0: any free one) and serves until it is stopped.
    ///
    /// # Errors
    /// The address cannot be listened on, or no thread can be started.
    pub fn start(address: SocketAddr, shown: Shown) -> Result<Server, ServerError> {
        let listen = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || runtime.block_on(serve(listener, shown, stopped)))?;
        tracing::info!(%address, "serving metrics and health");
        Ok(Server {
            address,
            stop,
            thread,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, finishes the requests that have begun, and ends.
    ///
    /// # Errors
    /// The server had failed.
    pub fn stop(self) -> Result<(), ServerError> {
        // Nobody hears it where the thread has already ended; then the join tells why.
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| ServerError::Panicked)??;
        Ok(())
    }
}

async fn serve(
    listener: TcpListener,
    shown: Shown,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    axum::serve(listener, router(shown))
        .with_graceful_shutdown(async {
            // An error means that the `Server` was dropped, which also is a wish to stop.
            let _ = stopped.await;
        })
        .await
}

fn router(shown: Shown) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(Arc::new(shown))
}

async fn metrics(State(shown): State<Arc<Shown>>) -> Response {
    match crate::text(&shown.registry) {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn livez(State(shown): State<Arc<Shown>>) -> Response {
    let stalled = shown.liveness.stalled();
    if stalled.is_empty() {
        return answer(StatusCode::OK, &json!({ "status": "alive" }));
    }
    let body = json!({ "status": "stalled", "workers": stalled });
    answer(StatusCode::SERVICE_UNAVAILABLE, &body)
}

async fn readyz(State(shown): State<Arc<Shown>>) -> Response {
    let status = shown.readiness.status();
    let code = match status {
        Status::Ready => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    answer(code, &json!(status))
}

fn answer(code: StatusCode, body: &serde_json::Value) -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (code, content_type, format!("{body}\n")).into_response()
}
