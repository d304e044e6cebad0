//! Topics, appends, marks, reading, workers: what the log promises while it runs and after it was
//! closed.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::{NOW, dump, now, open, place, record};
use engine::chain::Head;
use engine::port::{CommitError, OutRecord, Staged, WorkerLog};
use eventlog::{Cleanup, EmbeddedLog, EventLogError};

fn staged(task: u32, records: Vec<OutRecord>, position: (&str, u32, u64)) -> Staged {
    Staged {
        task,
        records,
        delta: Vec::new(),
        positions: vec![(place(position.0, position.1), position.2)],
        head: Head::default(),
    }
}

#[test]
fn offsets_run_from_zero_and_go_on_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.ensure_topic("orders", 2, Cleanup::Keep).unwrap();
    log.append(
        &[
            record("orders", 1, "a", Some("1")),
            record("orders", 0, "b", None),
        ],
        NOW,
        &[],
    )
    .unwrap();
    let incarnation = log.incarnation().to_vec();
    drop(log);
    let log = open(dir.path());
    log.append(&[record("orders", 1, "c", Some("3"))], NOW, &[])
        .unwrap();
    assert_eq!(dump(&log, "orders", 0), ["0:b"]);
    assert_eq!(dump(&log, "orders", 1), ["0:a=1", "1:c=3"]);
    assert_eq!(log.end_offset(&place("orders", 1)).unwrap(), 2);
    assert_eq!(log.start_offset(&place("orders", 1)).unwrap(), 0);
    assert_eq!(log.incarnation(), incarnation);
    assert!(!incarnation.is_empty());
}

#[test]
fn a_record_comes_back_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.ensure_topic("out", 1, Cleanup::Keep).unwrap();
    let written = OutRecord {
        target: place("out", 0),
        key: None,
        value: Some(vec![0, 255]),
        headers: vec![("ce_time", b"now".to_vec()), ("ce_id", Vec::new())],
    };
    log.append(&[written], NOW, &[]).unwrap();
    let read = log.read(&place("out", 0), 0, 10, 1000).unwrap().remove(0);
    assert_eq!(
        (read.record.key, read.record.value),
        (None, Some(vec![0, 255]))
    );
    assert_eq!(read.record.timestamp, NOW);
    let headers = [
        ("ce_time".to_owned(), b"now".to_vec()),
        ("ce_id".to_owned(), Vec::new()),
    ];
    assert_eq!(read.headers, headers);
}

#[test]
fn reading_is_bounded_by_records_and_by_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.ensure_topic("t", 1, Cleanup::Keep).unwrap();
    let value = "x".repeat(1000);
    let records: Vec<_> = (0..10).map(|_| record("t", 0, "k", Some(&value))).collect();
    log.append(&records, NOW, &[]).unwrap();
    let count = |from, records, bytes| {
        log.read(&place("t", 0), from, records, bytes)
            .unwrap()
            .len()
    };
    for (from, max_records, max_bytes, expected) in [
        (0, 100, usize::MAX, 10),
        (0, 3, usize::MAX, 3),
        (8, 100, usize::MAX, 2),
        (10, 100, usize::MAX, 0),
        (99, 100, usize::MAX, 0),
        (0, 0, usize::MAX, 0),
        (0, 100, 2500, 2),
        (0, 100, 1, 1),
    ] {
        assert_eq!(
            count(from, max_records, max_bytes),
            expected,
            "{from} {max_records} {max_bytes}"
        );
    }
}

#[test]
fn a_mark_is_set_with_its_append_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.ensure_topic("t", 1, Cleanup::Keep).unwrap();
    assert_eq!(log.mark("file").unwrap(), None);
    log.append(
        &[record("t", 0, "a", None)],
        NOW,
        &[("file", b"line 1".to_vec())],
    )
    .unwrap();
    let wrong = [record("t", 0, "b", None), record("t", 7, "c", None)];
    let refused = log.append(&wrong, NOW, &[("file", b"line 3".to_vec())]);
    assert!(matches!(
        refused,
        Err(EventLogError::UnknownPartition {
            partition: 7,
            count: 1,
            ..
        })
    ));
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.mark("file").unwrap(), Some(b"line 1".to_vec()));
    assert_eq!(dump(&log, "t", 0), ["0:a"]);
}

#[test]
fn topics_keep_their_partitions_and_may_change_their_clean_up() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.ensure_topic("t", 4, Cleanup::Keep).unwrap();
    log.ensure_topic("u", 1, Cleanup::Compact).unwrap();
    let changed = log.ensure_topic("t", 5, Cleanup::Keep);
    assert!(matches!(
        changed,
        Err(EventLogError::PartitionCount {
            found: 4,
            asked: 5,
            ..
        })
    ));
    let limits = Cleanup::Delete {
        retention_ms: Some(5),
        retention_bytes: None,
    };
    log.ensure_topic("t", 4, limits).unwrap();
    for (name, partitions) in [("", 1), ("v", 0)] {
        let refused = log.ensure_topic(name, partitions, Cleanup::Keep);
        assert!(matches!(refused, Err(EventLogError::BadTopic { .. })));
    }
    let keyless = OutRecord {
        key: None,
        ..record("u", 0, "", None)
    };
    let refused = log.append(&[keyless], NOW, &[]);
    assert!(matches!(refused, Err(EventLogError::NoKey(_))));
    let refused = log.append(&[record("nowhere", 0, "a", None)], NOW, &[]);
    assert!(matches!(refused, Err(EventLogError::UnknownTopic(_))));
    let before = log.topics();
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.topics(), before);
    let seen: Vec<_> = before
        .iter()
        .map(|t| (&*t.name, t.partitions, t.cleanup))
        .collect();
    assert_eq!(seen, [("t", 4, limits), ("u", 1, Cleanup::Compact)]);
}

#[test]
fn a_second_opening_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _log = open(dir.path());
    let shared = store::Shared::new(64 << 20);
    let again = EmbeddedLog::open(dir.path(), eventlog::Options::default(), &shared);
    assert!(matches!(again, Err(EventLogError::Locked(_))));
}

#[test]
fn a_worker_goes_on_where_the_last_commit_left_off() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.ensure_topic("in", 1, Cleanup::Keep).unwrap();
    log.ensure_topic("out", 1, Cleanup::Keep).unwrap();
    log.ensure_topic("changelog", 1, Cleanup::Compact).unwrap();
    let inputs: Vec<_> = ["a", "b", "c"]
        .map(|k| record("in", 0, k, Some("v")))
        .to_vec();
    log.append(&inputs, NOW, &[]).unwrap();
    let start = |log: &Arc<EmbeddedLog>| {
        let inputs = vec![(0, vec![place("in", 0)])];
        log.worker(inputs, "changelog", now)
    };
    let mut worker = start(&log).unwrap();
    assert_eq!(worker.read(&place("in", 0), 2).unwrap().records().len(), 2);
    let work = vec![
        record("out", 0, "a", Some("A")),
        record("changelog", 0, "a", Some("1")),
    ];
    let committed = worker.commit(vec![staged(0, work, ("in", 0, 1))]).unwrap();
    assert_eq!(committed[0].changelog_end, 1);
    assert_eq!(
        worker.read(&place("in", 0), 9).unwrap().records()[0].offset,
        2
    );
    assert_eq!(worker.read(&place("in", 0), 9).unwrap().records(), []);
    assert!(worker.read(&place("out", 0), 9).is_err());

    // After a commit that fails, reading stands at the last that did not.
    let wrong = vec![record("out", 3, "a", None)];
    let failed = worker.commit(vec![staged(0, wrong, ("in", 0, 3))]);
    assert!(matches!(failed, Err(CommitError::Halt(_))));
    assert_eq!(
        worker.read(&place("in", 0), 9).unwrap().records()[0].offset,
        1
    );
    assert_eq!(dump(&log, "out", 0), ["0:a=A"]);
    let foreign = worker.commit(vec![staged(0, Vec::new(), ("out", 0, 3))]);
    assert!(matches!(foreign, Err(CommitError::Halt(_))));

    assert!(matches!(start(&log), Err(EventLogError::TaskInUse(0))));
    drop(worker);
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.position(0, &place("in", 0)).unwrap(), Some(1));
    assert_eq!(log.position(0, &place("out", 0)).unwrap(), None);
    let mut worker = start(&log).unwrap();
    assert_eq!(
        worker.read(&place("in", 0), 9).unwrap().records()[0].offset,
        1
    );
    let nothing = worker.commit(vec![Staged::default()]).unwrap();
    assert_eq!(nothing[0].changelog_end, 1);
}

#[test]
fn a_partition_has_one_reader() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.ensure_topic("in", 1, Cleanup::Keep).unwrap();
    log.ensure_topic("changelog", 2, Cleanup::Compact).unwrap();
    let twice = vec![(0, vec![place("in", 0)]), (1, vec![place("in", 0)])];
    let refused = log.worker(twice, "changelog", now);
    assert!(matches!(
        refused,
        Err(EventLogError::InputTwice { partition: 0, .. })
    ));
    let refused = log.worker(vec![(2, Vec::new())], "changelog", now);
    assert!(matches!(
        refused,
        Err(EventLogError::UnknownPartition { partition: 2, .. })
    ));
    // A refused worker has let go of its tasks.
    log.worker(
        vec![(0, vec![place("in", 0)]), (1, Vec::new())],
        "changelog",
        now,
    )
    .unwrap();
}

#[test]
fn a_changelog_is_handed_over_in_order_and_without_copies() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.ensure_topic("changelog", 1, Cleanup::Compact).unwrap();
    let records = [("a", Some("1")), ("b", None), ("a", Some("3"))];
    log.append(
        &records.map(|(k, v)| record("changelog", 0, k, v)),
        NOW,
        &[],
    )
    .unwrap();
    let mut seen = Vec::new();
    let end = log
        .changelog(&place("changelog", 0), 1, |offset, key, value| {
            seen.push((offset, key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec)));
            Ok::<(), EventLogError>(())
        })
        .unwrap();
    assert_eq!(end, 3);
    let expected = [
        (1, Some(b"b".to_vec()), None),
        (2, Some(b"a".to_vec()), Some(b"3".to_vec())),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn whoever_waits_is_woken_by_an_append() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.ensure_topic("t", 1, Cleanup::Keep).unwrap();
    let seen = log.version();
    assert_eq!(log.wait_for_append(seen, Duration::from_millis(1)), seen);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| log.wait_for_append(seen, Duration::from_secs(600)));
        log.append(&[record("t", 0, "a", None)], NOW, &[]).unwrap();
        assert!(waiting.join().unwrap() > seen);
    });
}

#[test]
fn workers_and_loaders_write_side_by_side_without_gaps_or_mixing() {
    let dir = tempfile::tempdir().unwrap();
    let log = common::open_with(dir.path(), eventlog::Options::default());
    log.ensure_topic("in", 4, Cleanup::Keep).unwrap();
    log.ensure_topic("shared", 1, Cleanup::Keep).unwrap();
    log.ensure_topic("changelog", 4, Cleanup::Compact).unwrap();
    const ROUNDS: u64 = 40;
    std::thread::scope(|scope| {
        for task in 0..4u32 {
            let log = &log;
            scope.spawn(move || {
                let inputs = vec![(task, vec![place("in", task)])];
                let mut worker = log.worker(inputs, "changelog", now).unwrap();
                for round in 0..ROUNDS {
                    log.append(&[record("in", task, "k", None)], NOW, &[])
                        .unwrap();
                    let read = worker.read(&place("in", task), 10).unwrap().records();
                    assert_eq!(read.iter().map(|r| r.offset).collect::<Vec<_>>(), [round]);
                    let name = format!("{task}");
                    let text = format!("{round}");
                    let mut records: Vec<_> = (0..3)
                        .map(|_| record("shared", 0, &name, Some(&text)))
                        .collect();
                    records.push(record("changelog", task, "k", Some(&text)));
                    let work = staged(task, records, ("in", task, round + 1));
                    let committed = worker.commit(vec![work]).unwrap();
                    assert_eq!(committed[0].changelog_end, round + 1);
                }
            });
        }
    });
    let lines = dump(&log, "shared", 0);
    assert_eq!(lines.len() as u64, 4 * ROUNDS * 3);
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    for (commit, lines) in lines.chunks(3).enumerate() {
        let (task, round) = lines[0].split_once(':').unwrap().1.split_once('=').unwrap();
        for (place, line) in lines.iter().enumerate() {
            assert_eq!(*line, format!("{}:{task}={round}", commit * 3 + place));
        }
        let expected = next.entry(task.to_owned()).or_default();
        assert_eq!(round, expected.to_string());
        *expected += 1;
    }
}
