//! Reading by a writer's own schema means the same as Avro's schema resolution to ours.
//!
//! Writers' schemas are made from ours at random, in every way that Avro calls compatible: fields in
//! another order, left out where ours has a default, added, of a type that is promoted, in another
//! union or in none. Another library resolves a record to our schema; read and rewritten that way,
//! it must be the same event as read directly.

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use serde_json::{Value, json};
use wire::{Decoder, SchemaSet};

use crate::differential::{Random, value};
use crate::{RECORD_TIME, oracle, rules};

const RECORDS: [(u32, &str); 6] = [
    (
        1_900_000_004,
        include_str!("../../../../schemas/input/product_viewed/v1.avsc"),
    ),
    (
        1_900_000_007,
        include_str!("../../../../schemas/input/product_added/v1.avsc"),
    ),
    (
        1_900_000_011,
        include_str!("../../../../schemas/input/order_completed/v1.avsc"),
    ),
    (
        1_900_000_012,
        include_str!("../../../../schemas/input/order_cancelled/v1.avsc"),
    ),
    (
        1_900_000_013,
        include_str!("../../../../schemas/input/order_refunded/v1.avsc"),
    ),
    (
        1_900_000_016,
        include_str!("../../../../schemas/input/product_reviewed/v1.avsc"),
    ),
];

/// A schema whose values can be resolved to `schema`.
fn writer_of(schema: &Value, random: &mut Random) -> Value {
    match schema {
        Value::Array(branches) => {
            let plain = branches.iter().find(|branch| **branch != json!("null"));
            let plain = writer_of(plain.unwrap(), random);
            match random.below(4) {
                0 => plain,
                1 => json!([plain, "null"]),
                _ => json!(["null", plain]),
            }
        }
        Value::Object(object) if object["type"] == "record" => {
            let mut fields = Vec::new();
            for field in object["fields"].as_array().unwrap() {
                let has_default = field.get("default").is_some();
                if !has_default || random.chance(80) {
                    let writer = writer_of(&field["type"], random);
                    fields.push(json!({"name": field["name"], "type": writer}));
                }
            }
            for extra in 0..random.below(4) {
                let plain = ["boolean", "long", "float", "double", "bytes"];
                let plain = json!(random.pick(&plain));
                let types = [
                    plain.clone(),
                    json!(["null", plain]),
                    json!({"type": "array", "items": plain}),
                    json!({"type": "map", "values": plain}),
                ];
                let name = format!("extra{extra}");
                fields.push(json!({"name": name, "type": random.pick(&types)}));
            }
            random.shuffle(&mut fields);
            let mut record = schema.clone();
            record["fields"] = Value::Array(fields);
            record
        }
        Value::Object(object) if object["type"] == "array" => {
            json!({"type": "array", "items": writer_of(&object["items"], random)})
        }
        Value::String(name) if name == "string" => json!(random.pick(&["string", "bytes"])),
        Value::String(name) if name == "long" => json!(random.pick(&["long", "int"])),
        // Instants among them: no 32 bits hold one that is accepted.
        other => other.clone(),
    }
}

/// The value in `datum`, as the other library resolves it.
fn resolved(writer: &Schema, reader: &Schema, mut datum: &[u8]) -> Avro {
    let both = GenericDatumReader::builder(writer)
        .reader_schema(reader)
        .build()
        .unwrap();
    let value = both.read_value(&mut datum).unwrap();
    assert!(datum.is_empty());
    value
}

#[test]
fn a_writers_schema_is_read_as_avro_resolves_it() {
    let mut random = Random(22);
    let mut accepted = 0;
    let mut cases = Vec::new();
    for id in 1..=1_200 {
        let (reader_id, text) = random.pick(&RECORDS);
        let writer = writer_of(&serde_json::from_str(text).unwrap(), &mut random).to_string();
        cases.push((id, reader_id, text, writer));
    }
    let extra = cases.iter().map(|case| (case.0, case.3.clone()));
    let schemas = SchemaSet::with_extra(extra.collect()).unwrap();
    let decoder = Decoder::new(rules(), &schemas).unwrap();
    for (id, reader_id, reader, writer) in cases {
        let reader = Schema::parse_str(reader).unwrap();
        let schema = Schema::parse_str(&writer).unwrap();
        let written = value(&schema, &BTreeMap::new(), &mut random);
        let datum = oracle::write(&schema, written);
        let rewritten = oracle::write(&reader, resolved(&schema, &reader, &datum));
        let decode = |id: u32, datum: &[u8]| {
            let bytes = [[0].as_slice(), &id.to_be_bytes(), datum].concat();
            let decoded = decoder.decode(None, Some(&bytes), RECORD_TIME);
            decoded.map_err(|rejection| rejection.class)
        };
        let direct = decode(id, &datum);
        assert_eq!(direct, decode(reader_id, &rewritten), "{writer}");
        accepted += usize::from(direct.is_ok());
    }
    // The comparison means something only if enough records are events.
    assert!(accepted > 300, "only {accepted} events among them");
}
