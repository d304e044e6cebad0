//! Bytes that are no record: rejected with the right class, and never a panic.

use proptest::prelude::*;
use wire::RejectionClass::{self, *};
use wire::{Decoder, Format, SchemaSet};

use crate::events::event;
use crate::{RECORD_TIME, codec, decoder, rules};

/// A linked list, a list of nulls and a map, to be nested and counted without end.
const RECURSIVE: &str = r#"{"type": "record", "name": "CartViewed", "fields": [
    {"name": "next", "type": ["null", "CartViewed"]},
    {"name": "nothing", "type": {"type": "array", "items": "null"}},
    {"name": "more", "type": {"type": "map", "values": "null"}}]}"#;

fn class(decoder: &Decoder, bytes: Option<&[u8]>) -> Result<(), RejectionClass> {
    let decoded = decoder.decode(Some(b"key"), bytes, RECORD_TIME);
    decoded.map(|_| ()).map_err(|rejection| rejection.class)
}

fn with_id(id: u32, datum: &[u8]) -> Vec<u8> {
    [[0].as_slice(), &id.to_be_bytes(), datum].concat()
}

#[test]
fn every_malformed_value_has_its_class() {
    let schemas = SchemaSet::with_extra(vec![(1, RECURSIVE.to_owned())]).unwrap();
    let decoder = Decoder::new(rules(), &schemas).unwrap();
    let huge_count = [
        0x00, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
    ];
    let deep_json = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let just_too_deep = [b"[".repeat(33), b"]".repeat(33)].concat();
    let cases: [(&str, Vec<u8>, RejectionClass); 23] = [
        ("empty", vec![], EmptyValue),
        ("too large", vec![b' '; (1 << 20) + 1], TooLarge),
        (
            "another magic byte",
            b"\x01\x00\x00\x00\x01".to_vec(),
            WrongMagic,
        ),
        ("plain text", b"order,12".to_vec(), WrongMagic),
        ("gzip", b"\x1f\x8b\x08".to_vec(), WrongMagic),
        ("id cut short", vec![0, 0, 0], Truncated),
        ("unknown id", with_id(99, &[0]), UnknownSchema),
        ("no datum", with_id(1, &[]), Truncated),
        ("union out of range", with_id(1, &[0x04]), MalformedAvro),
        ("negative union", with_id(1, &[0x01]), MalformedAvro),
        ("endless list", with_id(1, &[0x02; 1000]), TooDeep),
        ("huge count of nulls", with_id(1, &huge_count), Truncated),
        ("endless number", with_id(1, &[0xff; 100]), MalformedAvro),
        ("trailing bytes", with_id(1, &[0, 0, 0, 7]), TrailingBytes),
        ("names nobody", with_id(1, &[0, 0, 0]), MissingField),
        ("not JSON", b"{nonsense}".to_vec(), NotJson),
        ("cut short", br#"{"type": "cart"#.to_vec(), NotJson),
        ("two values", b"{} {}".to_vec(), NotJson),
        ("blank", b"  \n".to_vec(), NotJson),
        ("not UTF-8", b"{\"type\": \"\xff\"}".to_vec(), NotUtf8),
        ("endless nesting", deep_json, TooDeep),
        ("nested one too deep", just_too_deep, TooDeep),
        (
            "number beyond floats",
            br#"{"total": 1e999}"#.to_vec(),
            NotJson,
        ),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(class(&decoder, Some(&bytes)), Err(expected), "{name}");
        let json = decoder.to_json(&bytes).map_err(|rejection| rejection.class);
        if expected != MissingField {
            assert_eq!(json, Err(expected), "{name}, to JSON");
        }
    }
    assert_eq!(class(&decoder, None), Err(Tombstone));
}

#[test]
fn brackets_in_text_are_not_nesting() {
    let brackets = format!(r#""\\\"{}""#, "[{".repeat(100));
    let value = format!(
        r#"{{"type": "cart_viewed", "event_id": "e", "event_time": 1298967960000,
            "anonymous_id": "a", "note": {brackets}}}"#
    );
    assert_eq!(class(&decoder(), Some(value.as_bytes())), Ok(()));
}

#[test]
fn text_that_is_not_utf8_is_rejected_only_where_it_is_read() {
    let schema = |field: &str| {
        format!(
            r#"{{"type": "record", "name": "CartViewed", "fields": [
                {{"name": "event_id", "type": "int"}}, {{"name": "event_time", "type": "long"}},
                {{"name": "{field}", "type": "string"}},
                {{"name": "anonymous_id", "type": "int"}}]}}"#
        )
    };
    let extra = vec![(1, schema("note")), (2, schema("channel"))];
    let schemas = SchemaSet::with_extra(extra).unwrap();
    let decoder = Decoder::new(rules(), &schemas).unwrap();
    // 1, the instant 1298967960000 ms, one byte of text, 1.
    let datum = [0x02, 0x80, 0xe7, 0xb0, 0x88, 0xce, 0x4b, 0x02, 0xff, 0x02];
    assert_eq!(class(&decoder, Some(&with_id(1, &datum))), Ok(()));
    assert_eq!(class(&decoder, Some(&with_id(2, &datum))), Err(NotUtf8));
}

#[test]
fn a_key_that_is_not_read_is_mentioned() {
    let value = br#"{"type": "cart_viewed", "event_id": "e", "event_time": 1298967960000}"#;
    let message = |key| {
        decoder()
            .decode(key, Some(value), RECORD_TIME)
            .unwrap_err()
            .message
    };
    assert!(message(Some(b"k".as_slice())).contains("the record has a key"));
    assert!(!message(None).contains("the record has a key"));
}

proptest! {
    #[test]
    fn a_record_cut_short_is_rejected(event in event()) {
        let (encoder, decoder) = codec();
        for format in [Format::Avro, Format::Json] {
            let bytes = encoder.encode(&event, format).unwrap();
            for end in 0..bytes.len() {
                prop_assert!(decoder.decode(None, Some(&bytes[..end]), RECORD_TIME).is_err());
            }
        }
    }

    #[test]
    fn damaged_records_never_panic(
        event in event(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (encoder, decoder) = codec();
        for format in [Format::Avro, Format::Json] {
            let mut bytes = encoder.encode(&event, format).unwrap();
            for (index, byte) in &damage {
                let index = index.index(bytes.len());
                bytes[index] = *byte;
            }
            // Some damage leaves a valid event; then it must still be one when encoded again.
            if let Ok(event) = decoder.decode(None, Some(&bytes), RECORD_TIME) {
                let again = encoder.encode(&event, format).unwrap();
                prop_assert_eq!(decoder.decode(None, Some(&again), RECORD_TIME), Ok(event));
            }
            let _ = decoder.to_json(&bytes);
        }
    }

    #[test]
    fn random_bytes_never_panic(
        schema in 0_u32..24,
        datum in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let (_, decoder) = codec();
        let bytes = with_id(1_900_000_001 + schema, &datum);
        prop_assert!(decoder.decode(None, Some(&bytes), RECORD_TIME).is_err());
        let _ = decoder.to_json(&bytes);
        let _ = decoder.decode(None, Some(&datum), RECORD_TIME);
    }
}
