//! The server as a client sees it, over a socket on loopback.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use server::{Liveness, Metrics, Outcome, Readiness, Restoring, Server, ServerError, Shown};

fn shown(liveness_deadline: Duration) -> Shown {
    Shown {
        registry: server::registry().unwrap(),
        liveness: Liveness::new(liveness_deadline),
        readiness: Readiness::default(),
    }
}

fn start(shown: &Shown) -> Server {
    Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), shown.clone()).unwrap()
}

/// Status, content type and body.
fn get(server: &Server, path: &str) -> (u16, String, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let url = format!("http://{}{path}", server.address());
    let mut response = agent.get(url).call().unwrap();
    let content_type = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let body = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), content_type, body)
}

#[test]
fn metrics_are_served_in_the_text_format() {
    let shown = shown(Duration::from_secs(30));
    let metrics = Metrics::new(&shown.registry).unwrap();
    metrics.records(Outcome::Applied, 42);
    let server = start(&shown);
    let (status, content_type, body) = get(&server, "/metrics");
    assert_eq!(
        (status, content_type.as_str()),
        (200, "text/plain; version=0.0.4")
    );
    assert!(
        body.contains("\nclvstream_records_total{outcome=\"applied\"} 42\n"),
        "{body}"
    );
    assert!(body.contains("\nprocess_resident_memory_bytes "), "{body}");
    server.stop().unwrap();
}

#[test]
fn readiness_says_how_far_the_restore_is() {
    let shown = shown(Duration::from_secs(30));
    let server = start(&shown);
    let ready = |server: &Server| {
        let (status, content_type, body) = get(server, "/readyz");
        assert_eq!(content_type, "application/json");
        (status, body.trim_end().to_owned())
    };
    assert_eq!(ready(&server), (503, r#"{"status":"starting"}"#.to_owned()));
    shown.readiness.restoring(Restoring {
        task: 2,
        restored_records: 5,
        total_records: 9,
    });
    let (status, body) = ready(&server);
    assert_eq!(status, 503);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&body).unwrap(),
        serde_json::json!({
            "status": "restoring",
            "tasks": [{ "task": 2, "restored_records": 5, "total_records": 9 }],
        })
    );
    shown.readiness.ready();
    assert_eq!(ready(&server), (200, r#"{"status":"ready"}"#.to_owned()));
    shown.readiness.stopping();
    assert_eq!(ready(&server).0, 503);
    shown.readiness.failed("the disk is full");
    assert!(ready(&server).1.contains("the disk is full"));
    server.stop().unwrap();
}

#[test]
fn restoring_is_alive_and_a_silent_worker_is_not() {
    let alive = shown(Duration::from_secs(3_600));
    let heartbeat = alive.liveness.watch(0);
    alive.readiness.restoring(Restoring {
        task: 0,
        restored_records: 0,
        total_records: 9,
    });
    let server = start(&alive);
    assert_eq!(get(&server, "/livez").0, 200);
    server.stop().unwrap();
    heartbeat.retire();

    // With no patience at all, a worker that never beats again is taken for dead at once.
    let dead = shown(Duration::ZERO);
    let _silent = dead.liveness.watch(7);
    let server = start(&dead);
    let started = std::time::Instant::now();
    while started.elapsed() < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
    let (status, _, body) = get(&server, "/livez");
    assert_eq!(status, 503);
    assert!(body.contains("\"worker\":7"), "{body}");
    server.stop().unwrap();
}

#[test]
fn a_stopped_server_listens_no_longer_and_its_port_is_free() {
    let shown = shown(Duration::from_secs(30));
    let server = start(&shown);
    let address = server.address();
    assert!(address.ip().is_loopback());
    server.stop().unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_taken_address_is_named() {
    let shown = shown(Duration::from_secs(30));
    let first = start(&shown);
    let error = Server::start(first.address(), shown.clone()).unwrap_err();
    assert!(matches!(error, ServerError::Listen { .. }));
    assert!(error.to_string().contains(&first.address().to_string()));
    assert!(error.to_string().contains("http.listen"));
    first.stop().unwrap();
}
