//! Orders as a foreign writer puts them, under a schema that only the registry has.

use serde_json::{Value, json};

/// The writer's schema, as the registry answers it.
pub(crate) fn answer() -> Value {
    let schema = json!({
        "type": "record", "name": "order_completed", "namespace": "erp",
        "fields": [
            {"name": "note", "type": ["null", "string"]},
            {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
            {"name": "order_id", "type": "string"},
            {"name": "customer_id", "type": "string"},
            {"name": "event_id", "type": "string"},
            {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        ],
    });
    json!({ "schema": schema.to_string() })
}

/// An order of schema `id`.
pub(crate) fn order(id: u32, customer: &str, order: &str, cents: i32, time: i64) -> Vec<u8> {
    let mut out = vec![0];
    out.extend_from_slice(&id.to_be_bytes());
    long(&mut out, 1);
    text(&mut out, "not read");
    long(&mut out, 4);
    out.extend_from_slice(&cents.to_be_bytes());
    for field in [order, customer, order] {
        text(&mut out, field);
    }
    long(&mut out, time);
    out
}

fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn text(out: &mut Vec<u8>, text: &str) {
    long(out, i64::try_from(text.len()).unwrap());
    out.extend_from_slice(text.as_bytes());
}
