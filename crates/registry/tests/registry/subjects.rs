//! Registering, and asking whether one may.

use registry::{Compatibility, RegistryError, Subjects};
use serde_json::{Value, json};

use crate::fake::{Fake, Reply, ok};
use crate::settings;

#[test]
fn a_schema_is_registered() {
    let fake = Fake::start();
    let target = "POST /subjects/clv%2Fupdates-value/versions";
    fake.on(target, ok(&json!({"id": 42})));
    let subjects = Subjects::new(&settings(&fake.url())).unwrap();
    let id = subjects.register("clv/updates-value", "\"string\"");
    assert_eq!(id, Ok(42));
    let request = &fake.requests()[0];
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body, json!({"schema": "\"string\"", "schemaType": "AVRO"}));
    let content_type = &request.headers["content-type"];
    assert_eq!(content_type, "application/vnd.schemaregistry.v1+json");
    let refusal = json!({"error_code": 409, "message": "incompatible"}).to_string();
    fake.on(target, Reply::Answer(409, refusal));
    let refused = subjects.register("clv/updates-value", "\"int\"");
    assert!(matches!(
        refused,
        Err(RegistryError::Refused { status: 409, .. })
    ));
}

#[test]
fn compatibility_is_what_the_registry_says() {
    let fake = Fake::start();
    let subjects = Subjects::new(&settings(&fake.url())).unwrap();
    let target = "POST /compatibility/subjects/s/versions/latest?verbose=true";
    let new = json!({"error_code": 40401, "message": "Subject 's' not found."}).to_string();
    let cases = [
        (
            ok(&json!({"is_compatible": true})),
            Compatibility::Compatible,
        ),
        (
            ok(&json!({"is_compatible": false, "messages": ["a field is missing"]})),
            Compatibility::Incompatible(vec!["a field is missing".to_owned()]),
        ),
        (Reply::Answer(404, new), Compatibility::New),
    ];
    for (reply, expected) in cases {
        fake.on(target, reply);
        assert_eq!(subjects.check_compatibility("s", "\"int\""), Ok(expected));
    }
    fake.on(target, Reply::Answer(500, String::new()));
    let error = subjects.check_compatibility("s", "\"int\"").unwrap_err();
    assert!(error.to_string().contains("answered 500"), "{error}");
}
