//! The process is killed at random moments: what RocksDB then holds must be the fold of the
//! changelog up to the position that it holds with it.
//!
//! The killed process is this very test binary, started again with the variable `CLVSTREAM_CRASH_TEST_DIR` set.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use engine::port::{Committed, StateReader, Table, Write};
use store::{Shared, TaskStore};

const CHILD_DIR: &str = "CLVSTREAM_CRASH_TEST_DIR";
const KEYS: u64 = 500;

fn derive(_: &[u8], _: &[u8]) -> Option<Vec<u8>> {
    None
}

/// The changelog is the same in every process: record `n` sets one key to `n`, or deletes it.
fn changelog_record(n: u64) -> ([u8; 8], Option<Vec<u8>>) {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let value =
        (!mixed.is_multiple_of(5)).then(|| [n.to_be_bytes().as_slice(), &[7; 300]].concat());
    ((mixed % KEYS).to_be_bytes(), value)
}

fn open(dir: &Path) -> TaskStore {
    // A small budget, so that the cache writes out again and again between checkpoints.
    TaskStore::open(dir, 0, b"log", &Shared::new(256 << 10), derive).unwrap()
}

fn child(dir: &Path) {
    let mut store = open(dir);
    let mut end = store.position();
    loop {
        let batch: BTreeMap<_, _> = (end..end + 20).map(changelog_record).collect();
        end += 20;
        let write = |(key, value): ([u8; 8], Option<Vec<u8>>)| Write {
            table: Table::Profiles,
            key: key.to_vec(),
            value: value.map(Arc::from),
        };
        let delta = batch.into_iter().map(write).collect();
        store
            .apply(Committed {
                task: 0,
                delta,
                changelog_end: end,
            })
            .unwrap();
        if end.is_multiple_of(2000) {
            store.checkpoint().unwrap();
            let mut out = std::io::stdout().lock();
            writeln!(out, "checkpoint {}", store.position()).unwrap();
        }
        writeln!(std::io::stdout().lock(), "applied {end}").unwrap();
    }
}

#[test]
fn a_killed_process_leaves_the_fold_up_to_its_position() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        return child(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut random = 0x2545_f491_4f6c_dd1du64;
    let mut before = 0;
    for _ in 0..10 {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([
                "a_killed_process_leaves_the_fold_up_to_its_position",
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
        let applied = 1 + (random >> 33) % 400;
        let mut durable = 0;
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        for line in lines
            .map_while(Result::ok)
            .filter(|line| line.starts_with("applied") || line.starts_with("checkpoint"))
            .take(applied as usize)
        {
            if let Some(position) = line.strip_prefix("checkpoint ") {
                durable = position.parse().unwrap();
            }
        }
        process.kill().unwrap();
        process.wait().unwrap();
        let store = open(dir.path());
        let position = store.position();
        assert!(position >= durable.max(before), "a checkpoint is gone");
        before = position;
        let mut fold = BTreeMap::new();
        for (key, value) in (0..position).map(changelog_record) {
            match value {
                Some(value) => fold.insert(key.to_vec(), value),
                None => fold.remove(key.as_slice()),
            };
        }
        let stored = store.scan(Table::Profiles, &[], usize::MAX).unwrap();
        let stored: BTreeMap<_, _> = stored.into_iter().map(|(k, v)| (k, v.to_vec())).collect();
        assert!(
            stored == fold,
            "state differs from the fold up to {position}"
        );
    }
    assert!(before > 0, "no process got as far as a checkpoint");
}
