//! `run` and `demo --serve` as an operator sees them: what they say of themselves, what works beside
//! them, how they end and start again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::panic, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use common::{clvstream, folder};
use domain::time::{DAY_MS, TimeMs};
use engine::port::{OutRecord, TopicPartition};
use eventlog::{EmbeddedLog, Options};
use process::{Process, Samples, get, until};
use serde_json::Value;
use store::Shared;

const RUN: [&str; 7] = [
    "run",
    "--log-format=json",
    "--set=http.listen=127.0.0.1:0",
    "--set=commit.interval=50ms",
    "--set=time.idle_after=1s",
    "--set=workers=2",
    "--set=state.checkpoint_interval=1h",
];

/// Starts the service and answers where it serves.
fn start(folder: &Path) -> (Process, String) {
    let mut service = Process::start(folder, &RUN);
    let running = service.logged("running");
    let address = running["http"].as_str().unwrap().to_owned();
    (service, address)
}

fn now() -> TimeMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    TimeMs(i64::try_from(since.as_millis()).unwrap())
}

/// Standard output of a command that succeeds.
fn printed(folder: &Path, args: &[&str]) -> String {
    let all = clvstream(folder, args);
    let printed = all.strip_prefix("exit 0\n-- stdout\n");
    let printed = printed.unwrap_or_else(|| panic!("{args:?}: {all}"));
    printed.split("-- stderr\n").next().unwrap().to_owned()
}

/// Records by topic.
fn topics(folder: &Path) -> BTreeMap<String, u64> {
    let listed: Vec<Value> = serde_json::from_str(&printed(folder, &["topics", "--json"])).unwrap();
    let topic = |one: &Value| {
        let name = one["topic"].as_str().unwrap().to_owned();
        (name, one["records"].as_u64().unwrap())
    };
    listed.iter().map(topic).collect()
}

/// Appends a record to the log of a deployment that nobody has open.
fn append(folder: &Path, topic: &str, value: &[u8]) {
    let path = folder.join("clvstream-data/log");
    let log = EmbeddedLog::open(&path, Options::default(), &Shared::new(64 << 20)).unwrap();
    let record = OutRecord {
        target: TopicPartition {
            topic: Arc::from(topic),
            partition: 0,
        },
        key: Some(b"c1".to_vec()),
        value: Some(value.to_vec()),
        headers: Vec::new(),
    };
    log.append(&[record], now(), &[]).unwrap();
}

/// Waits until a service has consumed `events` records of the inputs, and all that was routed because
/// of them, and tells so. Answers the samples and the topics as they are then.
fn worked_off(folder: &Path, address: &str, events: f64) -> (Samples, BTreeMap<String, u64>) {
    let mut seen = None;
    until("all records", || {
        let samples = Samples::of(address);
        // Looked at later: what is routed meanwhile makes the two differ.
        let topics = topics(folder);
        let routed = topics["clvstream.internal.routed"] as f64;
        let done = samples.one("clvstream_records_read_total") == events + routed
            && samples.sum("clvstream_lag_records") == 0.0
            && samples.sum("clvstream_state_dirty_bytes") > 0.0
            && has_clocks(&samples);
        seen = Some((samples, topics));
        done
    });
    seen.unwrap()
}

/// Whether every task says how far it is.
fn has_clocks(samples: &Samples) -> bool {
    let times = samples.family("clvstream_stream_time_seconds");
    times.len() == 4 && times.iter().all(|time| *time > 0.0)
}

#[test]
fn a_service_tells_what_it_did_and_does_nothing_twice() {
    let here = folder(&[]);
    let here = here.path();
    printed(here, &["simulate", "--events", "5000", "--days", "30"]);
    append(here, "clvstream.orders", b"{");
    let (service, address) = start(here);
    until("ready", || get(&address, "/readyz").0 == 200);
    assert_eq!(
        get(&address, "/livez"),
        (200, "{\"status\":\"alive\"}\n".to_owned())
    );
    let (samples, after) = worked_off(here, &address, 5_001.0);
    let read = samples.one("clvstream_records_read_total");
    assert_eq!(samples.sum("clvstream_records_total"), read);
    assert_eq!(samples.one("clvstream_event_to_commit_seconds_count"), read);
    assert_eq!(samples.one("clvstream_tasks_owned"), 4.0);
    assert_eq!(samples.sum("clvstream_restore_remaining_records"), 0.0);
    let dead_lettered = samples.one("clvstream_records_total{outcome=\"dead_lettered\"}");
    assert_eq!(dead_lettered, 1.0);
    assert_eq!(
        samples.one("clvstream_dead_letters_total{class=\"not_json\"}"),
        1.0
    );
    for topic in ["clv.updates", "lifecycle.transitions", "segment.changes"] {
        let topic = format!("clvstream.{topic}");
        let written = samples.one(&format!("clvstream_outputs_total{{topic={topic:?}}}"));
        assert_eq!(written, after[&topic] as f64, "{topic}");
        assert!(written > 0.0, "{topic}");
    }
    assert_eq!(
        samples.one("clvstream_changelog_records_total"),
        after["clvstream.internal.changelog"] as f64
    );
    let committed = samples.one("clvstream_commits_total{outcome=\"committed\"}");
    assert!(committed > 0.0);
    assert_eq!(samples.sum("clvstream_commits_total"), committed);
    assert_eq!(samples.one("clvstream_commit_seconds_count"), committed);
    assert!(samples.one("clvstream_timers_fired_total") > 0.0);
    assert!(samples.sum("clvstream_changelog_tail_records") > 0.0);
    let cached = samples.one("clvstream_state_cache_bytes");
    assert!(cached >= samples.one("clvstream_state_dirty_bytes"));
    assert!(samples.one("clvstream_state_memory_budget_bytes") >= cached);
    no_customer_is_in_a_label(here, &samples);

    assert_eq!(service.terminate(), 0);
    assert_eq!(topics(here), after, "everything was committed before");

    // Whether its state is there or has to be made from the changelog.
    for lose_state in [false, true] {
        if lose_state {
            std::fs::remove_dir_all(here.join("clvstream-data/state")).unwrap();
        }
        let (mut service, address) = start(here);
        if lose_state {
            let restored = service.logged("restored");
            assert!(restored["records"].as_u64().unwrap() > 0);
        }
        until("every task's clock", || has_clocks(&Samples::of(&address)));
        assert_eq!(Samples::of(&address).sum("clvstream_records_total"), 0.0);
        assert_eq!(service.terminate(), 0);
        assert_eq!(topics(here), after);
    }
}

fn no_customer_is_in_a_label(folder: &Path, samples: &Samples) {
    let tail = ["tail", "clv.updates", "--from", "beginning", "--json"];
    let keys: BTreeSet<String> = printed(folder, &tail)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["key"].clone())
        .map(|key| key.as_str().unwrap().to_owned())
        .collect();
    assert!(keys.len() > 10);
    let labels = samples.labels();
    let names: BTreeSet<&str> = labels.iter().map(|(name, _)| *name).collect();
    let known = [
        "class", "kind", "le", "outcome", "reason", "task", "topic", "version",
    ];
    assert_eq!(names, BTreeSet::from(known));
    for (name, value) in labels {
        assert!(!keys.contains(value), "{name}={value}");
    }
}

#[test]
fn others_can_look_on_but_not_work_while_a_live_service_runs() {
    let here = folder(&[]);
    let here = here.path();
    let opened = now().minus(5 * DAY_MS).day().start().to_string();
    let shop = ["simulate", "--customers=20", "--days=3", "--start", &opened];
    printed(here, &shop);
    let (service, address) = start(here);
    until("every task's clock", || has_clocks(&Samples::of(&address)));

    let look = ["tail", "internal.routed", "--follow", "--json"];
    let mut tail = Process::start(here, &look);
    let begun = now();
    let from = begun.to_string();
    // The wall clock moves a live shop in quiet hours: a control record for every task.
    tail.printed("record that is written while it looks", |line| {
        let record: Value = serde_json::from_str(line).ok()?;
        (record["timestamp"].as_str()? > from.as_str()).then_some(())
    });
    assert_eq!(tail.terminate(), 0);
    let started = begun.0 as f64 / 1_000.0;
    until("every task's clock", || {
        let times = Samples::of(&address).family("clvstream_stream_time_seconds");
        times.iter().all(|time| *time > started)
    });

    for args in [["profile", "c1"].as_slice(), &RUN] {
        let refused = clvstream(here, args);
        insta::allow_duplicates! {
            insta::assert_snapshot!(refused, @r"
            exit 1
            -- stdout
            -- stderr
            error: the log in ./clvstream-data/log is in use by another process: stop that process, or choose another data folder
            hint: `clvstream tail` and `clvstream topics` work beside a service that is running
            ");
        }
    }
    assert_eq!(get(&address, "/readyz").0, 200);
    assert_eq!(service.terminate(), 0);
}

#[test]
fn a_worker_that_fails_ends_the_service() {
    let here = folder(&[]);
    printed(here.path(), &["simulate", "--events", "100"]);
    append(here.path(), "clvstream.internal.routed", b"?");
    let mut service = Process::start(here.path(), &RUN);
    let failed = service.logged("a worker failed; stopping");
    assert_eq!(failed["level"], "ERROR");
    let error = failed["error"].as_str().unwrap();
    assert!(
        error.contains("offset 0 of clvstream.internal.routed"),
        "{error}"
    );
    assert_eq!(service.ended(), 1);
}

#[test]
fn a_demo_that_serves_stays_up() {
    let mut orders = "customer_id date number_of_cds dollar_value\n".to_owned();
    orders.extend((1..=40).map(|n| format!("{n:05} 199701{:02} 1 {n}.50\n", n % 28 + 1)));
    let here = folder(&[("orders.txt", &orders)]);
    let demo = [
        "demo",
        "--serve",
        "--data=orders.txt",
        "--set=http.listen=127.0.0.1:0",
    ];
    let mut service = Process::start(here.path(), &demo);
    let address = service.printed("address", |line| {
        let address = line.strip_prefix("serving http://")?;
        Some(address.split('/').next()?.to_owned())
    });
    until("ready", || get(&address, "/readyz").0 == 200);
    let samples = Samples::of(&address);
    assert_eq!(samples.one("clvstream_tasks_owned"), 4.0);

    let second = clvstream(here.path(), &demo);
    assert!(second.starts_with("exit 1\n"), "{second}");
    assert!(second.contains("in use by another process"), "{second}");
    assert_eq!(
        get(&address, "/livez").0,
        200,
        "its folder was left in peace"
    );

    let listed = clvstream(
        here.path(),
        &["topics", "--set=data_dir=clvstream-data/demo"],
    );
    assert!(listed.starts_with("exit 0\n"), "{listed}");
    assert_eq!(service.terminate(), 0);
}
