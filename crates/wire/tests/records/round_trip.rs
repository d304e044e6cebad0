//! What is encoded is decoded again, and is what other Avro libraries make of it.

use proptest::prelude::*;
use wire::{Format, SchemaSet, event_from_json};

use crate::events::event;
use crate::{RECORD_TIME, codec, oracle, rules};

proptest! {
    #[test]
    fn decoding_gives_back_what_was_encoded(event in event()) {
        let (encoder, decoder) = codec();
        for format in [Format::Avro, Format::Json] {
            let bytes = encoder.encode(&event, format).unwrap();
            let decoded = decoder.decode(None, Some(&bytes), RECORD_TIME);
            prop_assert_eq!(decoded.as_ref(), Ok(&event));
            let json = decoder.to_json(&bytes).unwrap();
            let read = event_from_json(&json, &rules(), RECORD_TIME);
            prop_assert_eq!(read.as_ref(), Ok(&event));
        }
    }

    #[test]
    fn another_library_reads_and_writes_the_same_bytes(event in event()) {
        let (encoder, _) = codec();
        let schemas = SchemaSet::embedded().unwrap();
        let bytes = encoder.encode(&event, Format::Avro).unwrap();
        let (id, _, schema) =
            schemas.newest(&format!("input/{}", event.body.type_name())).unwrap();
        let (head, datum) = bytes.split_at(5);
        let expected_head = [[0].as_slice(), &id.to_be_bytes()].concat();
        prop_assert_eq!(head, expected_head);
        let value = oracle::read(schema, datum);
        prop_assert_eq!(oracle::write(schema, value), datum);
    }
}
