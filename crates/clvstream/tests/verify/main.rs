//! `verify` on the embedded log: it passes what the service made, beside it and after it; and of copies
//! in which one record was removed, doubled or altered it says which.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../common/mod.rs"]
mod common;
mod copy;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::clvstream;
use copy::{Copy, Damage};
use domain::time::TimeMs;
use engine::port::{OutRecord, TopicPartition};
use eventlog::{EmbeddedLog, Options};
use serde_json::Value;
use store::Shared;

const PATIENCE: Duration = Duration::from_secs(60);
const TASKS: u32 = 2;
const SETTINGS: [&str; 6] = [
    "--set",
    "partitions=2",
    "--set",
    "commit.interval=1ms",
    "--set",
    "commit.max_batch=200",
];

/// The outcome of `verify`: the exit code, and what it says as JSON.
fn verify(folder: &Path) -> (i32, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_clvstream"))
        .args(["verify", "--json"])
        .current_dir(folder)
        .env_clear()
        .output()
        .unwrap();
    let said = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code().unwrap(), said)
}

/// What failed, one line a check.
fn failures(said: &Value) -> Vec<String> {
    let checks = said["tasks"].as_array().unwrap().iter().flat_map(|t| {
        let checks = t["checks"].as_array().unwrap();
        checks.iter().filter(|check| check["outcome"] == "failed")
    });
    checks
        .map(|check| {
            let found = &check["finding"];
            let (topic, partition) = (found["topic"].as_str().unwrap(), &found["partition"]);
            let problem = found["problem"].as_str().unwrap();
            format!(
                "{}: {topic} partition {partition} offset {}: {problem}",
                check["check"].as_str().unwrap(),
                found["offset"]
            )
        })
        .collect()
}

struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn service(folder: &Path) -> Service {
    let child = Command::new(env!("CARGO_BIN_EXE_clvstream"))
        .args(["run", "--set", "http.listen=127.0.0.1:0"])
        .args(SETTINGS)
        .current_dir(folder)
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Service(child.unwrap())
}

/// Records that are no events, and events in the partitions of other tasks: dead letters, and records
/// that are routed.
fn add_trouble(folder: &Path) -> u64 {
    let path = folder.join("clvstream-data").join("log");
    let log = EmbeddedLog::open(&path, Options::default(), &Shared::new(64 << 20)).unwrap();
    let at = |partition| TopicPartition {
        topic: "clvstream.orders".into(),
        partition,
    };
    let mut trouble = Vec::new();
    for partition in 0..TASKS {
        for stored in log.read(&at(partition), 0, 30, 1 << 20).unwrap() {
            trouble.push(OutRecord {
                target: at((partition + 1) % TASKS),
                key: stored.record.key,
                value: stored.record.value,
                headers: Vec::new(),
            });
        }
        for bad in [&b"?"[..], b"{}", b"\0"] {
            trouble.push(OutRecord {
                target: at(partition),
                key: Some(b"k".to_vec()),
                value: Some(bad.to_vec()),
                headers: Vec::new(),
            });
        }
    }
    log.append(&trouble, TimeMs(1_800_000_000_000), &[])
        .unwrap();
    trouble.len() as u64
}

/// Waits until the commits have consumed `records`, of inputs and routed ones.
fn wait_consumed(folder: &Path, records: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, said) = verify(folder);
        let tasks = said["tasks"].as_array().unwrap();
        let consumed: u64 = tasks.iter().map(|t| t["records"].as_u64().unwrap()).sum();
        assert_eq!(failures(&said), Vec::<String>::new(), "beside the service");
        if consumed >= records {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{consumed} of {records} consumed"
        );
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// A folder in which a service has done its work.
fn deployment() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made_up = ["simulate", "--events", "2500", "--duplicate", "5"];
    let said = clvstream(folder.path(), &[&made_up[..], &SETTINGS].concat());
    assert!(said.starts_with("exit 0"), "{said}");
    let trouble = add_trouble(folder.path());
    let mut service = service(folder.path());
    wait_consumed(folder.path(), 2_500 + trouble);
    let pid = service.0.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    let deadline = Instant::now() + PATIENCE;
    while service.0.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the service does not end");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    folder
}

#[test]
fn an_undamaged_deployment_passes_and_damaged_copies_are_named() {
    let folder = deployment();
    let (code, said) = verify(folder.path());
    assert_eq!((code, failures(&said)), (0, Vec::new()), "{said:#}");
    let tasks = said["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), TASKS as usize);
    let mut examined = std::collections::BTreeMap::new();
    for check in tasks
        .iter()
        .flat_map(|task| task["checks"].as_array().unwrap())
    {
        assert_eq!(check["outcome"], "passed", "{check}");
        *examined
            .entry(check["check"].as_str().unwrap().to_owned())
            .or_insert(0) += check["examined"].as_u64().unwrap();
    }
    // Everything that can be damaged is there to be.
    for check in [
        "outputs",
        "dead_letters",
        "routed",
        "changelog",
        "commits",
        "state",
    ] {
        assert!(examined[check] >= 4, "{check}: {examined:?}");
    }
    let original = Arc::new(folder);
    for topic in [
        "clv.updates",
        "lifecycle.transitions",
        "segment.changes",
        "dlq",
        "internal.routed",
        "internal.changelog",
        "internal.commits",
        "orders",
        "clickstream",
    ] {
        for damage in [Damage::Removed, Damage::Doubled, Damage::Altered] {
            let copy = Copy::of(original.path());
            let place = copy.damage(&format!("clvstream.{topic}"), damage);
            let (code, said) = verify(copy.path());
            let found = failures(&said);
            assert_eq!(code, 4, "{damage:?} {place}");
            assert_eq!(said["passed"], false);
            let named = found.iter().any(|line| line.contains(&place));
            assert!(named, "{damage:?} {place}: {found:#?}");
        }
    }
}

#[test]
fn tables_say_what_failed_and_what_could_not_be_checked() {
    let folder = deployment();
    let copy = Copy::of(folder.path());
    copy.damage("clvstream.clv.updates", Damage::Removed);
    std::fs::remove_dir_all(copy.path().join("clvstream-data/state")).unwrap();
    let said = clvstream(copy.path(), &["verify", "--task", "0"]);
    assert!(said.starts_with("exit 4"), "{said}");
    for part in [
        "TASK  COMMITS  RECORDS  I1      I2",
        "-   failed  ok",
        "failed: task 0, outputs (I1): outputs are those of a replay, byte for byte\n  clvstream.clv.updates \
         partition 0 offset ",
        "the record that should stand before this offset is missing",
        "not checked: task 0, state (I4)\n  there is no store of it in ./clvstream-data/state",
        " checks failed",
    ] {
        assert!(said.contains(part), "{part:?} is missing:\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "no colour where nobody looks");
}

#[test]
fn what_cannot_be_verified_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let said = clvstream(folder.path(), &["verify"]);
    assert!(said.starts_with("exit 1"), "{said}");
    assert!(
        said.contains("there is no log in ./clvstream-data"),
        "{said}"
    );
    let made_up = ["simulate", "--events", "10"];
    clvstream(folder.path(), &[&made_up[..], &SETTINGS].concat());
    let said = clvstream(folder.path(), &["verify", "--task", "2"]);
    assert!(said.starts_with("exit 2"), "{said}");
    assert!(
        said.contains("there is no task 2: this application has tasks 0 to 1"),
        "{said}"
    );
}
