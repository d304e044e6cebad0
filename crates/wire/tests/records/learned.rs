//! Schemas that become known while a decoder works, hostile ones among them.

use domain::event::Body;
use wire::RejectionClass::{MalformedAvro, TooDeep, UnknownSchema};
use wire::decoder::{Decoder, SharedSchemas};
use wire::schema_set::{SchemaSet, SchemaText};

use crate::{RECORD_TIME, rules};

fn schemas() -> SharedSchemas {
    SharedSchemas::open(&SchemaSet::embedded().unwrap()).unwrap()
}

fn text(text: impl Into<String>) -> SchemaText {
    SchemaText {
        text: text.into(),
        references: Vec::new(),
    }
}

/// 1, the instant 1298967960000 ms, "a".
const DATUM: [u8; 9] = [0x02, 0x80, 0xe7, 0xb0, 0x88, 0xce, 0x4b, 0x02, b'a'];

fn record(id: u32, datum: &[u8]) -> Vec<u8> {
    [[0].as_slice(), &id.to_be_bytes(), datum].concat()
}

const CART_VIEWED: &str = r#"{"type": "record", "name": "CartViewed", "fields": [
    {"name": "event_id", "type": "int"}, {"name": "event_time", "type": "long"},
    {"name": "anonymous_id", "type": "string"}]}"#;

#[test]
fn a_decoder_reads_with_a_schema_that_comes_later() {
    let schemas = schemas();
    let decoder = Decoder::with_schemas(rules(), schemas.clone());
    let bytes = record(1, &DATUM);
    let decode = || decoder.decode(None, Some(&bytes), RECORD_TIME);
    assert_eq!(decode().unwrap_err().class, UnknownSchema);
    schemas.learn(1, &text(CART_VIEWED)).unwrap();
    assert_eq!(decode().unwrap().body, Body::CartViewed);
    assert!(decoder.to_json(&bytes).is_ok());
}

#[test]
fn a_schema_may_refer_to_others() {
    let line = r#"{"type": "record", "name": "Visitor", "namespace": "shop.web", "fields": [
        {"name": "anonymous_id", "type": "string"}]}"#;
    let wrapper = r#"{"type": "record", "name": "Context", "fields": [
        {"name": "visitor", "type": "shop.web.Visitor"}]}"#;
    let main = r#"{"type": "record", "name": "CartViewed", "namespace": "shop", "fields": [
        {"name": "event_id", "type": "int"}, {"name": "event_time", "type": "long"},
        {"name": "anonymous_id", "type": "string"},
        {"name": "context", "type": ["null", "Context"]}]}"#;
    // Inside `shop`, the wrapper without a namespace is found only by its full name.
    let main = main.replace("\"Context\"", "\".Context\"");
    let schemas = schemas();
    let with = SchemaText {
        text: main.clone(),
        references: vec![line.to_owned(), wrapper.to_owned()],
    };
    schemas.learn(1, &with).unwrap();
    let decoder = Decoder::with_schemas(rules(), schemas.clone());
    let datum = [&DATUM[..], &[0x02, 0x02, b'b']].concat();
    let json = decoder.to_json(&record(1, &datum)).unwrap();
    assert_eq!(json["context"]["visitor"]["anonymous_id"], "b");
    assert_eq!(json["type"], "cart_viewed");
    let without = schemas.learn(2, &text(main)).unwrap_err().to_string();
    assert!(
        without.starts_with("schema 2: it is no valid Avro"),
        "{without}"
    );
}

#[test]
fn a_schema_that_cannot_be_used_is_refused_with_the_reason() {
    let deep = format!(
        "{}\"int\"{}",
        r#"{"type": "array", "items": "#.repeat(5_000),
        "}".repeat(5_000)
    );
    let symbols: Vec<String> = (0..1_000).map(|i| format!("\"S{i}\"")).collect();
    let fields: Vec<String> = (0..1_000)
        .map(|i| format!(r#"{{"name": "f{i}", "type": "Many"}}"#))
        .collect();
    let wide = format!(
        r#"{{"type": "record", "name": "R", "fields": [{{"name": "first", "type":
            {{"type": "enum", "name": "Many", "symbols": [{}]}}}}, {}]}}"#,
        symbols.join(","),
        fields.join(",")
    );
    let long = format!(
        r#"{{"type": "fixed", "size": 1, "name": "{}"}}"#,
        "N".repeat(300)
    );
    let cases = [
        ("", "it is no JSON"),
        ("{\"error_code\": 50001}", "it is no valid Avro schema"),
        ("{\"type\": \"record\"}", "it is no valid Avro schema"),
        (
            r#"{"type": "record", "name": "R", "fields": [{"name": "f", "type": "Unknown"}]}"#,
            "it is no valid Avro schema",
        ),
        (&deep, "it is nested deeper than"),
        (&wide, "it has more than"),
        (&long, "a name in it has more than"),
        (&" ".repeat(600_000), "it has 600000 bytes"),
    ];
    let schemas = schemas();
    let decoder = Decoder::with_schemas(rules(), schemas.clone());
    for ((case, expected), id) in cases.into_iter().zip(1..) {
        let error = schemas.learn(id, &text(case)).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        let rejection = decoder.decode(None, Some(&record(id, &DATUM)), RECORD_TIME);
        let rejection = rejection.unwrap_err();
        assert_eq!(rejection.class, UnknownSchema);
        assert!(rejection.message.contains(expected), "{rejection}");
    }
}

#[test]
fn defaults_that_contain_themselves_are_not_looked_at() {
    // To check B's default against A, A's own default would be needed, and so on without end.
    let text = text(
        r#"{"type": "record", "name": "CartViewed", "fields": [
            {"name": "a", "type": ["null", {"type": "record", "name": "A", "fields": [
                {"name": "f", "type": ["A", {"type": "map", "values": "int"}], "default": {}}]}]},
            {"name": "b", "type": "A", "default": {}}]}"#,
    );
    assert!(schemas().learn(1, &text).is_ok());
}

#[test]
fn records_that_double_without_any_bytes_end_early() {
    // 2^24 empty records, of no bytes at all: within the limit of depth.
    let mut fields = vec![
        r#"{"name": "r0", "type": {"type": "record", "name": "R0", "fields": []}}"#.to_owned(),
    ];
    for level in 1..25 {
        let below = level - 1;
        fields.push(format!(
            r#"{{"name": "r{level}", "type": {{"type": "record", "name": "R{level}", "fields": [
                {{"name": "a", "type": "R{below}"}}, {{"name": "b", "type": "R{below}"}}]}}}}"#
        ));
    }
    let schemas = schemas();
    let doubling = format!(
        r#"{{"type": "record", "name": "CartViewed", "fields": [{}]}}"#,
        fields.join(",")
    );
    schemas.learn(1, &text(doubling)).unwrap();
    let without_end = r#"{"type": "record", "name": "A", "fields": [{"name": "a", "type": "A"}]}"#;
    schemas.learn(2, &text(without_end)).unwrap();
    let decoder = Decoder::with_schemas(rules(), schemas);
    for (id, expected) in [(1, MalformedAvro), (2, TooDeep)] {
        let bytes = record(id, &[]);
        let rejection = decoder.decode(None, Some(&bytes), RECORD_TIME).unwrap_err();
        assert_eq!(rejection.class, expected);
        assert_eq!(decoder.to_json(&bytes).unwrap_err().class, expected);
    }
}
