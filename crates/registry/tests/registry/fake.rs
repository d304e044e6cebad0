//! A schema registry made for a test: a socket, a thread, and what to answer.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

/// What a request gets.
#[derive(Clone)]
pub(crate) enum Reply {
    Answer(u16, String),
    /// Bytes without end, as far as they are taken.
    Endless,
    /// Nothing, until [`Fake::release`].
    Silence,
    /// The connection is closed.
    Hangup,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

struct Shared {
    replies: Mutex<BTreeMap<String, Reply>>,
    requests: Mutex<Vec<Request>>,
    is_released: Mutex<bool>,
    released: Condvar,
    is_stopping: AtomicBool,
}

/// A registry at a port of its own.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// The registry's own words for an id that it does not know.
pub(crate) fn not_found() -> Reply {
    let body = json!({"error_code": 40403, "message": "Schema not found"});
    Reply::Answer(404, body.to_string())
}

pub(crate) fn ok(body: &Value) -> Reply {
    Reply::Answer(200, body.to_string())
}

impl Fake {
    pub(crate) fn start() -> Fake {
        Fake::at("127.0.0.1:0")
    }

    pub(crate) fn at(address: &str) -> Fake {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            replies: Mutex::default(),
            requests: Mutex::default(),
            is_released: Mutex::new(false),
            released: Condvar::new(),
            is_stopping: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            for connection in listener.incoming() {
                if theirs.is_stopping.load(Ordering::SeqCst) {
                    return;
                }
                let theirs = Arc::clone(&theirs);
                // A client that went away is part of the tests.
                thread::spawn(move || drop(serve(&theirs, connection.unwrap())));
            }
        });
        Fake {
            address,
            shared,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests for `target` (`GET /path`) get `reply` from now on; others a 404 of no registry.
    pub(crate) fn on(&self, target: &str, reply: Reply) {
        let mut replies = self.shared.replies.lock().unwrap();
        replies.insert(target.to_owned(), reply);
    }

    pub(crate) fn schema(&self, id: u32, body: &Value) {
        self.on(&format!("GET /schemas/ids/{id}"), ok(body));
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many requests for schema `id` came.
    pub(crate) fn asked(&self, id: u32) -> usize {
        let wanted = format!("GET /schemas/ids/{id}");
        let requests = self.requests();
        requests.iter().filter(|r| r.line == wanted).count()
    }

    /// Ends the silence.
    pub(crate) fn release(&self) {
        *self.shared.is_released.lock().unwrap() = true;
        self.shared.released.notify_all();
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.release();
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        // Wakes the thread from waiting for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(shared: &Shared, stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        match header.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let length = headers.get("content-length").map_or("0", String::as_str);
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8(body).unwrap();
    let reply = shared.replies.lock().unwrap().get(&line).cloned();
    let request = Request {
        line,
        headers,
        body,
    };
    shared.requests.lock().unwrap().push(request);
    let (status, body) = match reply {
        Some(Reply::Answer(status, body)) => (status, body),
        Some(Reply::Endless) => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[b' '; 65_536])?;
            }
        }
        Some(Reply::Silence) => {
            let mut is_released = shared.is_released.lock().unwrap();
            while !*is_released {
                is_released = shared.released.wait(is_released).unwrap();
            }
            return Ok(());
        }
        Some(Reply::Hangup) => return Ok(()),
        None => (404, "<html>not here</html>".to_owned()),
    };
    write!(
        stream,
        "HTTP/1.1 {status} Status\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
