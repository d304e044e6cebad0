//! Crashes: the process is killed at random moments, and the write-ahead log is cut off at random
//! places as a power cut may leave it. Every commit must be there as a whole or not at all.
//!
//! The killed process is this very test binary, started again with the variable `CLVSTREAM_CRASH_TEST_DIR` set.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{NOW, dump, now, open_with, place, record};
use engine::chain::Head;
use engine::port::{Staged, WorkerLog};
use eventlog::{Cleanup, EmbeddedLog, Options};

const TASKS: u32 = 2;
const CHILD_DIR: &str = "CLVSTREAM_CRASH_TEST_DIR";

fn options() -> Options {
    Options::default()
}

fn ensure_topics(log: &EmbeddedLog) {
    log.ensure_topic("in", TASKS, Cleanup::Keep).unwrap();
    log.ensure_topic("out", TASKS, Cleanup::Keep).unwrap();
    log.ensure_topic("all", 1, Cleanup::Keep).unwrap();
    log.ensure_topic("changelog", TASKS, Cleanup::Compact)
        .unwrap();
}

/// One worker's work, forever or `rounds` times: load some input with a mark that counts it, read
/// it, and commit one output, one changelog record and one record on the shared topic for each.
fn work(log: &std::sync::Arc<EmbeddedLog>, task: u32, rounds: u64) {
    let source = place("in", task);
    let inputs = vec![(task, vec![source.clone()])];
    let mut worker = log.worker(inputs, "changelog", now).unwrap();
    for round in 0..rounds {
        let loaded = log.end_offset(&source).unwrap();
        let batch = 1 + (round + u64::from(task)) % 7;
        let records: Vec<_> = (loaded..loaded + batch)
            .map(|n| record("in", task, "input", Some(&n.to_string())))
            .collect();
        let mark = (loaded + batch).to_string().into_bytes();
        log.append(&records, NOW, &[(&format!("loaded-{task}"), mark)])
            .unwrap();
        let read = worker.read(&source, 5).unwrap().records();
        let Some(last) = read.last() else { continue };
        let position = last.offset + 1;
        let mut records = Vec::new();
        for input in &read {
            let value = String::from_utf8(input.value.clone().unwrap()).unwrap();
            records.push(record("out", task, "output", Some(&value)));
            records.push(record("all", 0, &task.to_string(), Some(&value)));
            records.push(record("changelog", task, "state", Some(&value)));
        }
        let staged = Staged {
            task,
            records,
            delta: Vec::new(),
            positions: vec![(source.clone(), position)],
            head: Head::default(),
        };
        let _committed = worker.commit(vec![staged]).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {task} {position}").unwrap();
    }
}

/// Every commit is whole: what one of its parts says, all of them say.
fn check(log: &EmbeddedLog) -> BTreeMap<u32, u64> {
    let mut positions = BTreeMap::new();
    let mut shared = BTreeMap::new();
    for (offset, line) in dump(log, "all", 0).into_iter().enumerate() {
        let (at, rest) = line.split_once(':').unwrap();
        assert_eq!(at, offset.to_string(), "a gap in the shared topic");
        let (task, value) = rest.split_once('=').unwrap();
        let next: &mut u64 = shared.entry(task.parse::<u32>().unwrap()).or_default();
        assert_eq!(value, next.to_string());
        *next += 1;
    }
    for task in 0..TASKS {
        let position = log.position(task, &place("in", task)).unwrap().unwrap_or(0);
        let expected = |key: &str| -> Vec<String> {
            (0..position).map(|n| format!("{n}:{key}={n}")).collect()
        };
        assert_eq!(dump(log, "out", task), expected("output"));
        assert_eq!(dump(log, "changelog", task), expected("state"));
        assert_eq!(shared.get(&task).copied().unwrap_or(0), position);
        let loaded = log.mark(&format!("loaded-{task}")).unwrap();
        let loaded = loaded.map_or(0, |m| String::from_utf8(m).unwrap().parse().unwrap());
        assert_eq!(log.end_offset(&place("in", task)).unwrap(), loaded);
        assert!(position <= loaded);
        positions.insert(task, position);
    }
    positions
}

fn child(dir: &Path) {
    let log = open_with(dir, options());
    ensure_topics(&log);
    std::thread::scope(|scope| {
        for task in 0..TASKS {
            let log = &log;
            scope.spawn(move || work(log, task, u64::MAX));
        }
    });
}

#[test]
fn a_killed_process_leaves_whole_commits_only() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        return child(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut random = 0x2545_f491_4f6c_dd1du64;
    for _ in 0..10 {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([
                "a_killed_process_leaves_whole_commits_only",
                "--exact",
                "--nocapture",
            ])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let commits = 1 + (random >> 33) % 120;
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut acknowledged: BTreeMap<u32, u64> = BTreeMap::new();
        let acknowledgement = |line: String| {
            let (task, position) = line.strip_prefix("acknowledged ")?.split_once(' ')?;
            Some((task.parse().unwrap(), position.parse().unwrap()))
        };
        for (task, position) in lines
            .map_while(Result::ok)
            .filter_map(acknowledgement)
            .take(commits as usize)
        {
            acknowledged.insert(task, position);
        }
        process.kill().unwrap();
        process.wait().unwrap();
        assert!(!acknowledged.is_empty(), "the process ended by itself");
        let positions = check(&open_with(dir.path(), options()));
        for (task, position) in acknowledged {
            assert!(
                positions[&task] >= position,
                "an acknowledged commit is gone"
            );
        }
    }
}

#[test]
fn a_write_ahead_log_that_is_cut_off_anywhere_leaves_whole_commits_only() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    let log = open_with(&original, options());
    ensure_topics(&log);
    for task in 0..TASKS {
        work(&log, task, 30);
    }
    // The files as they are now, with everything since opening in the write-ahead log.
    let image = dir.path().join("image");
    copy(&original, &image);
    let whole = check(&log);
    drop(log);
    let wal = std::fs::read_dir(&image)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|e| e == "log"))
        .unwrap();
    let wal = wal.file_name().unwrap();
    let length = std::fs::metadata(image.join(wal)).unwrap().len();
    let mut seen = Vec::new();
    for step in 0..=40 {
        let cut = dir.path().join(format!("cut-{step}"));
        copy(&image, &cut);
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(cut.join(wal))
            .unwrap();
        file.set_len(length * step / 40).unwrap();
        drop(file);
        let log = open_with(&cut, options());
        ensure_topics(&log);
        seen.push(check(&log).values().sum::<u64>());
    }
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(seen[0], 0);
    assert_eq!(seen[40], whole.values().sum::<u64>());
    seen.dedup();
    assert!(seen.len() > 20, "the cuts hit different commits: {seen:?}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}
