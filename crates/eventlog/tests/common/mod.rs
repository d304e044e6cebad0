//! What the tests of the log share.
#![allow(dead_code, reason = "each test file uses its part of it")]

use std::path::Path;
use std::sync::Arc;

use domain::time::TimeMs;
use engine::port::{OutRecord, TopicPartition};
use eventlog::{EmbeddedLog, Options};
use store::Shared;

pub(crate) const NOW: TimeMs = TimeMs(1_795_000_000_000);

pub(crate) fn now() -> TimeMs {
    NOW
}

pub(crate) fn open(dir: &Path) -> Arc<EmbeddedLog> {
    open_with(
        dir,
        Options {
            sync: false,
            ..Options::default()
        },
    )
}

pub(crate) fn open_with(dir: &Path, options: Options) -> Arc<EmbeddedLog> {
    EmbeddedLog::open(dir, options, &Shared::new(64 << 20)).unwrap()
}

pub(crate) fn place(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition {
        topic: topic.into(),
        partition,
    }
}

pub(crate) fn record(topic: &str, partition: u32, key: &str, value: Option<&str>) -> OutRecord {
    OutRecord {
        target: place(topic, partition),
        key: Some(key.as_bytes().to_vec()),
        value: value.map(|v| v.as_bytes().to_vec()),
        headers: Vec::new(),
    }
}

/// The partition's records as `offset:key=value`, a tombstone as `offset:key`.
pub(crate) fn dump(log: &EmbeddedLog, topic: &str, partition: u32) -> Vec<String> {
    let read = log.read(&place(topic, partition), 0, usize::MAX, usize::MAX);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let line = |stored: eventlog::StoredRecord| {
        let record = stored.record;
        let key = text(record.key.unwrap_or_default());
        match record.value {
            Some(value) => format!("{}:{key}={}", record.offset, text(value)),
            None => format!("{}:{key}", record.offset),
        }
    };
    read.unwrap().into_iter().map(line).collect()
}
