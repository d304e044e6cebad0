//! What can be seen of a log that somebody else has open.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod common;

use common::{NOW, open, place, record};
use eventlog::{Cleanup, EventLogError, LogView};
use store::Shared;

fn view(dir: &std::path::Path) -> Result<LogView, EventLogError> {
    LogView::open(dir, &Shared::new(64 << 20))
}

fn keys(view: &LogView, topic: &str) -> Vec<String> {
    let read = view.read(&place(topic, 0), 0, usize::MAX, usize::MAX);
    let key = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap_or_default()).unwrap();
    let read = read.unwrap().into_iter();
    read.map(|stored| key(stored.record.key)).collect()
}

#[test]
fn a_view_follows_a_log_that_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.ensure_topic("t", 1, Cleanup::Keep).unwrap();
    log.append(&[record("t", 0, "a", Some("1"))], NOW, &[])
        .unwrap();
    let mut view = view(dir.path()).unwrap();
    assert_eq!(keys(&view, "t"), ["a"]);
    assert!(!view.catch_up().unwrap());

    log.append(&[record("t", 0, "b", Some("2"))], NOW, &[])
        .unwrap();
    assert_eq!(keys(&view, "t"), ["a"], "it has not looked again");
    assert!(view.catch_up().unwrap());
    assert_eq!(keys(&view, "t"), ["a", "b"]);
    assert_eq!(view.end_offset(&place("t", 0)).unwrap(), 2);

    log.ensure_topic("u", 3, Cleanup::Compact).unwrap();
    assert!(view.catch_up().unwrap());
    assert_eq!(view.topics().len(), 2);
}

#[test]
fn a_view_reads_on_across_restarts_flushes_and_removals_of_the_owner() {
    let dir = tempfile::tempdir().unwrap();
    let by_time = Cleanup::Delete {
        retention_ms: Some(1_000),
        retention_bytes: None,
    };
    open(dir.path()).ensure_topic("t", 1, by_time).unwrap();
    let mut view = view(dir.path()).unwrap();
    for round in 0..20 {
        // Opening a log again flushes what its write-ahead log holds.
        let at = NOW.plus(round * 200);
        log_again(dir.path(), round, at);
        assert!(view.catch_up().unwrap());
        let last = keys(&view, "t").pop();
        assert_eq!(last.as_deref(), Some(format!("k{round}").as_str()));
    }
    assert_eq!(view.start_offset(&place("t", 0)).unwrap(), 14);
    assert_eq!(keys(&view, "t").len(), 6);

    fn log_again(dir: &std::path::Path, round: i64, at: domain::time::TimeMs) {
        let log = open(dir);
        let key = format!("k{round}");
        log.append(&[record("t", 0, &key, Some("v"))], at, &[])
            .unwrap();
        log.enforce_retention(at).unwrap();
    }
}

#[test]
fn a_view_leaves_no_trace_and_keeps_nobody_out() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let names = || {
        let entries = std::fs::read_dir(dir.path()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let view = view(dir.path()).unwrap();
    assert_eq!(names(), before);
    let log = open(dir.path());
    drop(view);
    log.ensure_topic("t", 1, Cleanup::Keep).unwrap();
}

#[test]
fn where_there_is_no_log_there_is_no_view() {
    let dir = tempfile::tempdir().unwrap();
    assert!(view(dir.path()).is_err());
}
