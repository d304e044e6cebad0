//! Avro of writers that have schemas of their own, named in the configuration by their ids.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use engine::port::{OutRecord, TopicPartition};
use runtime::workers::wall_clock;
use runtime::{Deployment, RuntimeError};
use support::{TestResult, configured, process, rows};

const SCHEMA: &str = r#"{
  "type": "record", "name": "order_completed", "namespace": "erp",
  "fields": [
    {"name": "note", "type": ["null", "string"]},
    {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    {"name": "order_id", "type": "long"},
    {"name": "customer_id", "type": "string"},
    {"name": "event_id", "type": "string"},
    {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "currency", "type": {"type": "enum", "name": "Code", "symbols": ["EUR", "USD"]}}
  ]
}"#;

fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// An order of 1,234.56 as the foreign writer puts it.
fn record() -> Vec<u8> {
    let mut out = vec![0, 0, 0, 0, 17];
    long(&mut out, 1);
    bytes(&mut out, b"not read");
    bytes(&mut out, &123_456_i32.to_be_bytes());
    long(&mut out, 4711);
    bytes(&mut out, b"c-1");
    bytes(&mut out, b"e-1");
    long(&mut out, 1_700_000_000_000);
    long(&mut out, 1);
    out
}

#[test]
fn a_writer_s_own_schema_is_read_by_the_names_of_its_fields() -> TestResult {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("erp.avsc");
    std::fs::write(&path, SCHEMA)?;
    let schemas = format!("input.schemas={{ 17 = {:?} }}", path.display().to_string());
    let loaded = configured(&dir.path().join("data"), &[&schemas, "partitions=1"]);
    let deployment = Deployment::open(&loaded, None, wall_clock())?;
    let order = OutRecord {
        target: TopicPartition {
            topic: deployment.input_topic("orders"),
            partition: 0,
        },
        key: None,
        value: Some(record()),
        headers: Vec::new(),
    };
    embedded(&deployment).append(&[order], wall_clock(), &[])?;
    let counts = process(&deployment)?;
    assert_eq!((counts.applied, counts.dead_lettered), (1, 0));
    let tasks = deployment.open_all()?;
    let found = rows(&tasks, wall_clock())?;
    assert_eq!(found["c-1"]["orders"], "1");
    assert_eq!(found["c-1"]["gross"], "1234.56");
    Ok(())
}

#[test]
fn a_schema_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let loaded = configured(dir.path(), &["input.schemas={ 17 = \"missing.avsc\" }"]);
    let Err(error) = Deployment::open(&loaded, None, wall_clock()) else {
        panic!("it was opened");
    };
    assert!(matches!(error, RuntimeError::SchemaFile { .. }));
    assert!(error.to_string().contains("missing.avsc"), "{error}");
}

fn embedded(deployment: &Deployment) -> &eventlog::EmbeddedLog {
    deployment.log.embedded().expect("an embedded log")
}
