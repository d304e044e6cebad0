//! What the registry says, and what a look-up says of it.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use registry::{Lookup, Settings};
use serde_json::json;
use wire::SchemaText;

use crate::fake::{Fake, Reply, not_found, ok};
use crate::{Client, settings};

fn known(text: &str) -> Lookup {
    Lookup::Known(Arc::new(SchemaText {
        text: text.to_owned(),
        references: Vec::new(),
    }))
}

#[test]
fn a_schema_is_asked_for_once() {
    let fake = Fake::start();
    fake.schema(7, &json!({"schema": "\"string\""}));
    fake.schema(
        8,
        &json!({"schema": "\"int\"", "schemaType": "AVRO", "references": []}),
    );
    let client = Client::new(&settings(&fake.url()));
    assert!(matches!(client.registry.lookup(7), Lookup::Pending { .. }));
    assert_eq!(client.settled(7), known("\"string\""));
    assert_eq!(client.settled(8), known("\"int\""));
    for _ in 0..100 {
        assert_eq!(client.registry.lookup(7), known("\"string\""));
    }
    assert_eq!(fake.asked(7), 1);
    let health = client.registry.health();
    assert_eq!((health.known, health.pending, health.answers), (2, 0, 2));
    assert_eq!(health.last_error, None);
}

#[test]
fn an_unknown_id_may_be_registered_later() {
    let fake = Fake::start();
    fake.on("GET /schemas/ids/7", not_found());
    let client = Client::new(&Settings {
        refresh_unknown: Duration::from_secs(3600),
        ..settings(&fake.url())
    });
    assert_eq!(client.settled(7), Lookup::Unknown);
    // What it said holds for an hour.
    fake.schema(7, &json!({"schema": "\"string\""}));
    assert_eq!(client.registry.lookup(7), Lookup::Unknown);
    assert_eq!(fake.asked(7), 1);
    // Here it does not hold at all.
    let fake = Fake::start();
    fake.on("GET /schemas/ids/7", not_found());
    let client = Client::new(&settings(&fake.url()));
    assert!(matches!(client.registry.lookup(7), Lookup::Pending { .. }));
    client.wait_for(|| (client.registry.health().answers > 0).then_some(()));
    fake.schema(7, &json!({"schema": "\"string\""}));
    assert_eq!(client.settled(7), known("\"string\""));
}

#[test]
fn ids_beyond_the_api_are_unknown_without_asking() {
    let fake = Fake::start();
    let client = Client::new(&Settings {
        refresh_unknown: Duration::from_secs(3600),
        ..settings(&fake.url())
    });
    assert_eq!(client.settled(u32::MAX), Lookup::Unknown);
    assert!(fake.requests().is_empty());
}

#[test]
fn a_schema_of_another_kind_is_refused() {
    let fake = Fake::start();
    fake.schema(7, &json!({"schema": "{}", "schemaType": "JSON"}));
    let client = Client::new(&settings(&fake.url()));
    let reason = "it is of type JSON, and only Avro is read";
    assert_eq!(client.settled(7), Lookup::Unusable(reason.into()));
}

#[test]
fn references_come_in_the_order_of_need() {
    let fake = Fake::start();
    let refer = |subjects: &[&str]| -> serde_json::Value {
        let references = subjects.iter();
        references
            .map(|s| json!({"name": s, "subject": s, "version": 1}))
            .collect()
    };
    let at = |subject: &str| format!("GET /subjects/{subject}/versions/1?deleted=true");
    fake.schema(
        7,
        &json!({"schema": "main", "references": refer(&["a/b", "c"])}),
    );
    let a = json!({"schema": "A", "version": 1, "references": refer(&["c", "d"])});
    fake.on(&at("a%2Fb"), ok(&a));
    fake.on(
        &at("c"),
        ok(&json!({"schema": "C", "references": refer(&["d"])})),
    );
    fake.on(&at("d"), ok(&json!({"schema": "D"})));
    let client = Client::new(&settings(&fake.url()));
    let Lookup::Known(schema) = client.settled(7) else {
        panic!("not known")
    };
    assert_eq!(schema.text, "main");
    assert_eq!(schema.references, ["D", "C", "A"]);
    assert_eq!(fake.requests().len(), 4);
}

#[test]
fn references_without_end_are_refused() {
    let fake = Fake::start();
    for version in 0..200 {
        let next = json!([{"name": "n", "subject": "s", "version": version + 1}]);
        let answer = json!({"schema": "S", "references": next});
        let target = format!("GET /subjects/s/versions/{version}?deleted=true");
        fake.on(&target, ok(&answer));
    }
    let first = json!([{"name": "n", "subject": "s", "version": 0}]);
    fake.schema(7, &json!({"schema": "main", "references": first}));
    let client = Client::new(&settings(&fake.url()));
    let Lookup::Unusable(reason) = client.settled(7) else {
        panic!("usable")
    };
    assert!(reason.contains("more than 128 schemas"), "{reason}");
}

#[test]
fn credentials_are_sent_and_not_shown() {
    let fake = Fake::start();
    fake.schema(7, &json!({"schema": "\"string\""}));
    let settings = Settings {
        credentials: Some(("user".to_owned(), "pass:word".to_owned())),
        ..settings(&fake.url())
    };
    assert!(!format!("{settings:?}").contains("pass:word"));
    let client = Client::new(&settings);
    assert_eq!(client.settled(7), known("\"string\""));
    let request = &fake.requests()[0];
    assert_eq!(
        request.headers["authorization"],
        "Basic dXNlcjpwYXNzOndvcmQ="
    );
    assert!(request.headers["accept"].contains("vnd.schemaregistry.v1+json"));
}

#[test]
fn what_is_no_clear_answer_is_asked_again() {
    let cases = [
        (
            Reply::Answer(500, r#"{"error_code": 50001, "message": "store"}"#.into()),
            "answered 500 (code 50001): store",
        ),
        (Reply::Answer(503, "busy".into()), "answered 503: busy"),
        (Reply::Answer(401, String::new()), "check user, password"),
        (Reply::Answer(404, "<html>".into()), "check the url"),
        (
            Reply::Answer(
                404,
                r#"{"error_code": 404, "message": "HTTP 404 Not Found"}"#.into(),
            ),
            "check the url",
        ),
        (
            Reply::Answer(200, "<html>".into()),
            "no answer of a schema registry",
        ),
        (
            Reply::Answer(200, "{}".into()),
            "no answer of a schema registry",
        ),
        (Reply::Endless, "more than 2097152 bytes"),
        (Reply::Hangup, "no answer from the schema registry"),
    ];
    let fake = Fake::start();
    let client = Client::new(&settings(&fake.url()));
    for (id, (reply, expected)) in (1..).zip(cases) {
        fake.on(&format!("GET /schemas/ids/{id}"), reply);
        let error = client.error(id, |_| true);
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(client.registry.health().failures > 0);
        fake.schema(id, &json!({"schema": "\"string\""}));
        assert_eq!(client.settled(id), known("\"string\""), "{expected}");
    }
    assert_eq!(client.registry.health().last_error, None);
}

#[test]
fn a_slow_registry_is_not_waited_for() {
    let fake = Fake::start();
    fake.on("GET /schemas/ids/7", Reply::Silence);
    let client = Client::new(&Settings {
        timeout: Duration::from_millis(50),
        ..settings(&fake.url())
    });
    let error = client.error(7, |_| true);
    assert!(error.contains("timeout"), "{error}");
    fake.schema(7, &json!({"schema": "\"string\""}));
    assert_eq!(client.settled(7), known("\"string\""));
}

#[test]
fn a_registry_that_is_down_is_found_once_it_is_up() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    drop(port);
    let client = Client::new(&settings(&format!("http://{address}")));
    let error = client.error(7, |_| true);
    assert!(error.contains("refused"), "{error}");
    client.error(8, |_| true);
    let fake = Fake::at(&address);
    fake.schema(7, &json!({"schema": "\"string\""}));
    fake.schema(8, &json!({"schema": "\"int\""}));
    assert_eq!(client.settled(7), known("\"string\""));
    assert_eq!(client.settled(8), known("\"int\""));
    let health = client.registry.health();
    assert!(health.failures >= 2 && health.last_error.is_none());
}
