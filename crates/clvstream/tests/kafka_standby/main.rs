//! Warm standbys on a real broker, two instances: `status` shows which tasks are warm where, a takeover
//! after kill -9 reads the end of the changelog only and comes in time, a standby that was killed while it
//! wrote goes on from its store, and the results are those of a run that nobody disturbed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test fails by panicking, and prints what it measures"
)]

mod said;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fleet::{App, Instance, Loader, until};
use kafkatest::Broker;
use said::{Taken, kept_from, taken_over};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clvstream");
const N: u32 = 4;
/// Of sessions and of transactions, in seconds.
const TIMEOUT: u64 = 3;
/// How often a broker looks for transactions that are open too long, unless it is told otherwise.
const SCAN: u64 = 10;
const SETTINGS: [&str; 8] = [
    "partitions=4",
    "workers=1",
    "standby=1",
    "commit.interval=20ms",
    "state.checkpoint_interval=2s",
    "kafka.session_timeout=3s",
    "kafka.max_poll_interval=3s",
    "kafka.transaction_timeout=3s",
];
const SHOP: [&str; 3] = ["simulate", "--events=30000", "--days=60"];
/// The shop goes on for half a minute.
const RATE: &str = "--rate=900";
/// A changelog is long when it has this many records of each task ...
const LONG: u64 = 400;
/// ... and its end is short when it has at most so many: the owner record, and what was on its way.
const SHORT: u64 = 40;

/// What `status` says.
fn status(app: &App) -> Value {
    serde_json::from_str(&app.run("onlooker", &["status", "--json"])).unwrap()
}

/// Tasks by the instance that has them, once each has an owner and the other instance keeps it warm.
fn all_warm(app: &App) -> BTreeMap<String, BTreeSet<u64>> {
    until("every task is warm", || {
        let status = status(app);
        let tasks = status["tasks"].as_array().unwrap();
        assert_eq!(tasks.len(), N as usize);
        let mut owned: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for task in tasks {
            let owner = task["owner"]["instance"].as_str()?;
            let standbys = task["standbys"].as_array().unwrap();
            let warm = standbys.iter().find(|standby| standby["warm"] == true)?;
            assert_ne!(warm["instance"], owner, "{status:#}");
            assert!(warm["age_seconds"].as_f64().unwrap() <= 30.0);
            let number = task["task"].as_u64().unwrap();
            owned.entry(owner.to_owned()).or_default().insert(number);
        }
        (owned.len() == 2).then_some(owned)
    })
}

/// Waits until nothing waits in the inputs.
fn worked_off(app: &App) {
    until("everything is consumed", || {
        let status = status(app);
        let mut tasks = status["tasks"].as_array().unwrap().iter();
        tasks.all(|task| task["waiting"] == 0).then_some(())
    });
}

/// Records of each task's changelog.
fn changelogs(broker: &Broker, app: &App) -> Vec<u64> {
    let cluster = fleet::connect(broker.bootstrap(), &app.id);
    let places = fleet::places(&app.id, "internal.changelog", N);
    let records = |at| fleet::committed(&cluster, std::slice::from_ref(at));
    places.iter().map(records).collect()
}

/// Waits until an instance has taken over `tasks` since `from` bytes of its log.
fn taken(instance: &Instance, from: usize, tasks: &BTreeSet<u64>) -> Vec<Taken> {
    until("the other instance's tasks are taken over", || {
        let taken = taken_over(&instance.log()[from..]);
        let numbers: BTreeSet<u64> = taken.iter().map(|one| one.task).collect();
        numbers.is_superset(tasks).then_some(taken)
    })
}

/// The undisturbed run's profiles.
fn undisturbed(broker: &Broker) -> String {
    let settings = ["partitions=4"];
    let app = App::new(
        PROGRAM,
        broker.bootstrap(),
        "standby-undisturbed",
        &settings,
    );
    app.run("a", &SHOP);
    app.run("a", &["run", "--drain"]);
    app.export("profiles")
}

/// What has an instance's local state checked against the changelog: each task's outcome.
fn checked_state(app: &App, instance: &str) -> BTreeSet<u64> {
    let said = app.run(instance, &["verify", "--json"]);
    let report: Value = serde_json::from_str(&said).unwrap();
    let tasks = report["tasks"].as_array().unwrap();
    let passed = tasks.iter().filter(|task| {
        let checks = task["checks"].as_array().unwrap();
        let of_state = checks.iter().find(|check| check["invariant"] == "I4");
        of_state.is_some_and(|check| check["outcome"] == "passed")
    });
    passed.map(|task| task["task"].as_u64().unwrap()).collect()
}

#[test]
fn a_takeover_with_a_warm_standby_reads_the_end_only_and_comes_in_time() {
    let Some(broker) = Broker::shared("a_takeover_with_a_warm_standby") else {
        return;
    };
    let wanted = undisturbed(broker);
    let app = App::new(PROGRAM, broker.bootstrap(), "standby", &SETTINGS);
    let (ended, _, said) = app.outcome("onlooker", &["status"]);
    assert_eq!(ended.code(), Some(1), "{said}");
    assert!(said.contains("there is no application"), "{said}");

    let mut load = Loader::start(&app, &[SHOP[0], SHOP[1], SHOP[2], RATE]);
    let (mut a, mut b) = (app.start("a"), app.start("b"));
    until("the changelogs are long", || {
        let changelogs = changelogs(broker, &app);
        changelogs.iter().all(|n| *n >= LONG).then_some(())
    });
    let owned = all_warm(&app);
    assert!(!load.is_done(), "the load was to last longer");
    for (one, other) in [(&a, "b"), (&b, "a")] {
        // What the alert on missing copies goes by.
        assert_eq!(one.metric("clvstream_standby_copies"), 1.0);
        let kept = one.metric("clvstream_standby_tasks");
        assert_eq!(kept, owned[other].len() as f64);
    }
    assert!(a.metric("clvstream_standby_records_total") >= LONG as f64);

    // Both die in turn: as an owner, and while it writes what it keeps warm.
    let from = a.log().len();
    let killed = Instant::now();
    b.kill();
    let first = taken(&a, from, &owned["b"]);
    let took = killed.elapsed();
    let bound = Duration::from_secs(TIMEOUT.max(TIMEOUT + SCAN) + 2);
    println!("taken over {took:.2?} after kill -9, {bound:?} are allowed: {first:?}");
    assert!(took <= bound, "{took:?}");
    for one in &first {
        assert!(one.records <= SHORT, "more than the end was read: {one:?}");
    }

    b = app.start("b");
    let owned = all_warm(&app);
    let kept = kept_from(&b.log());
    println!("its own stores are kept warm from {kept:?}");
    assert!(
        !kept.is_empty() && kept.iter().all(|(_, from)| *from > 0),
        "{kept:?}"
    );
    let from = b.log().len();
    a.kill();
    for one in taken(&b, from, &owned["a"]) {
        assert!(one.records <= SHORT, "more than the end was read: {one:?}");
    }
    a = app.start("a");
    until("the load has ended", || load.is_done().then_some(()));
    worked_off(&app);
    assert!(
        app.export("profiles") == wanted,
        "the profiles are other ones"
    );
    all_warm(&app);
    let told = app.run("onlooker", &["status", "--exit-code"]);
    assert!(
        told.ends_with("2 instances, 4 tasks, all are kept warm.\n"),
        "{told}"
    );

    // Every task commits with its present owner, and its standby follows.
    app.run(
        "loader",
        &["simulate", "--events=2000", "--days=20", "--seed=2"],
    );
    worked_off(&app);
    for instance in [&mut a, &mut b] {
        let status = instance.terminate();
        assert!(status.success(), "{status}: {}", instance.log());
        assert!(!instance.log().contains("panicked"));
    }
    let told = app.run("onlooker", &["status"]);
    assert!(told.contains("no instance is running"), "{told}");
    // What was kept warm stays, and is a prefix of the changelog like any other state.
    for instance in ["a", "b"] {
        assert_eq!(checked_state(&app, instance), (0..u64::from(N)).collect());
    }
}
