//! What retention and compaction remove, and what they must not.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod common;

use common::{NOW, dump, now, open_with, place, record};
use engine::port::{Staged, WorkerLog};
use eventlog::{Cleanup, EmbeddedLog, Options};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn options() -> Options {
    Options {
        sync: false,
        tombstone_retention_ms: 1000,
        compact_min_records: 1,
        compact_memory: 64 << 20,
    }
}

fn by_time(ms: u64) -> Cleanup {
    Cleanup::Delete {
        retention_ms: Some(ms),
        retention_bytes: None,
    }
}

fn append_at(log: &EmbeddedLog, topic: &str, key: &str, value: Option<&str>, at_ms: i64) {
    log.append(&[record(topic, 0, key, value)], NOW.plus(at_ms), &[])
        .unwrap();
}

#[test]
fn records_go_by_age_and_offsets_go_on_even_from_an_empty_partition() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_with(dir.path(), options());
    log.ensure_topic("t", 1, by_time(100)).unwrap();
    for (n, at_ms) in [0, 10, 20, 200].into_iter().enumerate() {
        append_at(&log, "t", &n.to_string(), None, at_ms);
    }
    for (now_ms, removed, left) in [
        (100, 0, vec!["0:0", "1:1", "2:2", "3:3"]),
        (111, 2, vec!["2:2", "3:3"]),
        (300, 1, vec!["3:3"]),
        (301, 1, vec![]),
    ] {
        assert_eq!(log.enforce_retention(NOW.plus(now_ms)).unwrap(), removed);
        assert_eq!(dump(&log, "t", 0), left, "at {now_ms}");
    }
    drop(log);
    let log = open_with(dir.path(), options());
    assert_eq!(log.start_offset(&place("t", 0)).unwrap(), 4);
    assert_eq!(log.end_offset(&place("t", 0)).unwrap(), 4);
    append_at(&log, "t", "4", None, 400);
    assert_eq!(dump(&log, "t", 0), ["4:4"]);
}

#[test]
fn what_a_task_has_not_consumed_stays() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_with(dir.path(), options());
    log.ensure_topic("in", 1, by_time(0)).unwrap();
    log.ensure_topic("changelog", 1, Cleanup::Compact).unwrap();
    for n in 0..4 {
        append_at(&log, "in", &n.to_string(), None, n);
    }
    let inputs = vec![(0, vec![place("in", 0)])];
    let mut worker = log.worker(inputs, "changelog", now).unwrap();
    log.enforce_retention(NOW.plus(1_000_000)).unwrap();
    assert_eq!(log.start_offset(&place("in", 0)).unwrap(), 0);
    let work = Staged {
        positions: vec![(place("in", 0), 3)],
        ..Staged::default()
    };
    let _committed = worker.commit(vec![work]).unwrap();
    drop(worker);
    log.enforce_retention(NOW.plus(1_000_000)).unwrap();
    assert_eq!(dump(&log, "in", 0), ["3:3"]);
}

#[test]
fn records_go_by_size_to_a_mebibyte() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_with(dir.path(), options());
    let limit = Cleanup::Delete {
        retention_ms: None,
        retention_bytes: Some(3 << 20),
    };
    log.ensure_topic("t", 1, limit).unwrap();
    let value = "x".repeat(100 << 10);
    for n in 0..100 {
        append_at(&log, "t", "k", Some(&value), n);
    }
    log.enforce_retention(NOW).unwrap();
    let left = dump(&log, "t", 0).iter().map(String::len).sum::<usize>();
    assert!((3 << 20..5 << 20).contains(&left), "{left} bytes are left");
    let start = log.start_offset(&place("t", 0)).unwrap();
    log.enforce_retention(NOW).unwrap();
    assert_eq!(log.start_offset(&place("t", 0)).unwrap(), start);
}

#[test]
fn compaction_keeps_the_newest_of_each_key_and_forgets_old_tombstones() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_with(dir.path(), options());
    log.ensure_topic("t", 1, Cleanup::Compact).unwrap();
    for (key, value, at_ms) in [
        ("a", Some("1"), 0),
        ("b", Some("1"), 0),
        ("a", Some("2"), 10),
        ("b", None, 20),
    ] {
        append_at(&log, "t", key, value, at_ms);
    }
    log.enforce_retention(NOW.plus(500)).unwrap();
    assert_eq!(dump(&log, "t", 0), ["2:a=2", "3:b"]);
    assert!(log.is_restorable(&place("t", 0), 1).unwrap());
    append_at(&log, "t", "c", Some("1"), 30);
    append_at(&log, "t", "c", None, 5_000);
    log.enforce_retention(NOW.plus(5_000)).unwrap();
    assert_eq!(dump(&log, "t", 0), ["2:a=2", "5:c"]);
    // A state from before the forgotten tombstone would keep b for ever.
    let restorable = |position| log.is_restorable(&place("t", 0), position).unwrap();
    assert_eq!([0, 1, 3, 4].map(restorable), [true, false, false, true]);
    append_at(&log, "t", "a", None, 6_000);
    append_at(&log, "t", "a", None, 6_000);
    log.enforce_retention(NOW.plus(60_000)).unwrap();
    drop(log);
    let log = open_with(dir.path(), options());
    assert_eq!(dump(&log, "t", 0), [""; 0]);
    assert_eq!(log.end_offset(&place("t", 0)).unwrap(), 8);
}

#[test]
fn compaction_waits_until_it_pays() {
    let dir = tempfile::tempdir().unwrap();
    let patient = Options {
        compact_min_records: 3,
        ..options()
    };
    let log = open_with(dir.path(), patient);
    log.ensure_topic("t", 1, Cleanup::Compact).unwrap();
    append_at(&log, "t", "a", Some("1"), 0);
    append_at(&log, "t", "a", Some("2"), 0);
    log.enforce_retention(NOW).unwrap();
    assert_eq!(dump(&log, "t", 0).len(), 2);
    append_at(&log, "t", "a", Some("3"), 0);
    log.enforce_retention(NOW).unwrap();
    assert_eq!(dump(&log, "t", 0), ["2:a=3"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is compacted when, and however little memory there is: the fold stays the same.
    #[test]
    fn compaction_never_changes_the_fold(
        rounds in proptest::collection::vec(
            proptest::collection::vec((0..12u8, any::<Option<u8>>()), 1..40),
            1..5,
        ),
        compact_memory in prop_oneof![Just(1usize), Just(300), Just(1 << 20)],
    ) {
        let dir = tempfile::tempdir().unwrap();
        let tight = Options { compact_memory, tombstone_retention_ms: 3_600_000, ..options() };
        let log = open_with(dir.path(), tight);
        log.ensure_topic("t", 1, Cleanup::Compact).unwrap();
        let mut fold = BTreeMap::new();
        for round in rounds {
            for (key, value) in round {
                let (key, value) = (key.to_string(), value.map(|v| v.to_string()));
                append_at(&log, "t", &key, value.as_deref(), 0);
                fold.insert(key, value);
            }
            log.enforce_retention(NOW).unwrap();
            let mut left = BTreeMap::new();
            let read = log.read(&place("t", 0), 0, usize::MAX, usize::MAX).unwrap();
            for stored in read {
                let text = |bytes| String::from_utf8(bytes).unwrap();
                left.insert(stored.record.key.map(text).unwrap(), stored.record.value.map(text));
            }
            prop_assert_eq!(&left, &fold);
        }
    }
}
