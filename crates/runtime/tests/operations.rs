//! What an operator relies on besides the values: restores that tell how far they are and can be
//! stopped, retention, ticks.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use domain::event::Event;
use domain::time::{DAY_MS, HOUR_MS, TimeMs};
use engine::port::TopicPartition;
use runtime::load::{Delivery, Item, load};
use runtime::workers::{Observers, Shared, Until, run, wall_clock};
use runtime::{Deployment, RuntimeError, retention};
use server::{Metrics, Readiness, Status};
use support::{configured, process};
use traffic::{ShopConfig, ShopTraffic};
use wire::routed::Routed;

/// A shop of a few customers that opened at `start`.
fn shop(start: TimeMs) -> Vec<Event> {
    let config = ShopConfig {
        start,
        days: 3,
        customers: 20,
        seed: 1,
        ..ShopConfig::default()
    };
    ShopTraffic::new(&config).unwrap().collect()
}

fn load_shop(deployment: &Deployment, start: TimeMs) -> u64 {
    let orders = shop(start).into_iter().map(|event| {
        let topic = "orders".into();
        Ok(Item::Event(topic, Box::new(event)))
    });
    let shared = std::sync::Arc::new(Shared::default());
    let loaded = load(
        deployment,
        "shop",
        &Delivery::PLAIN,
        orders,
        &shared,
        &mut |_| {},
    );
    loaded.unwrap().events
}

fn open(dir: &Path, settings: &[&str]) -> Deployment {
    Deployment::open(&configured(dir, settings), None, wall_clock()).unwrap()
}

fn observed() -> (Observers, impl Fn(&str) -> Option<f64>) {
    let registry = server::registry().unwrap();
    let observers = Observers {
        metrics: Some(Metrics::new(&registry).unwrap()),
        liveness: None,
        readiness: Some(Readiness::default()),
    };
    let sample = move |name: &str| {
        let text = server::text(&registry).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    (observers, sample)
}

fn status(observers: &Observers) -> Status {
    observers.readiness.as_ref().unwrap().status()
}

#[test]
fn tasks_are_restored_from_the_changelog_alone_and_come_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let deployment = open(dir.path(), &["partitions=5", "workers=2"]);
    let events = load_shop(&deployment, TimeMs(1_700_000_000_000));
    let counts = process(&deployment).unwrap();
    assert!(counts.applied + counts.late + counts.deduplicated == events);
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();

    let (observers, sample) = observed();
    assert_eq!(status(&observers), Status::Starting);
    let tasks = deployment.restore_all(&Shared::default(), &observers);
    let tasks = tasks.unwrap();
    let ids: Vec<u32> = tasks.iter().map(|owned| owned.task.id()).collect();
    assert_eq!(ids, [0, 1, 2, 3, 4]);
    let mut restored = engine::bookkeeping::Counts::default();
    tasks.iter().for_each(|o| restored.add(o.task.counts()));
    assert_eq!(restored, counts);
    assert_eq!(status(&observers), Status::Restoring { tasks: vec![] });
    for task in 0..5 {
        let name = format!("clvstream_restore_remaining_records{{task=\"{task}\"}}");
        assert_eq!(sample(&name), Some(0.0));
    }
}

#[test]
fn a_restore_can_be_stopped_and_a_failed_one_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let deployment = open(dir.path(), &["partitions=2"]);
    load_shop(&deployment, TimeMs(1_700_000_000_000));
    process(&deployment).unwrap();
    let state = dir.path().join("state");
    std::fs::remove_dir_all(&state).unwrap();

    let (observers, _) = observed();
    let stopped = Shared::default();
    stopped.stop();
    let interrupted = deployment.restore_all(&stopped, &observers);
    assert!(matches!(interrupted, Err(RuntimeError::Interrupted)));
    assert!(matches!(status(&observers), Status::Restoring { .. }));

    std::fs::remove_dir_all(&state).unwrap();
    std::fs::write(&state, "in the way").unwrap();
    let failed = deployment.restore_all(&Shared::default(), &observers);
    assert!(matches!(failed, Err(RuntimeError::Folder { .. })));
    assert!(matches!(status(&observers), Status::Failed { .. }));
}

#[test]
fn retention_removes_what_is_old_and_consumed_and_counts_it() {
    let dir = tempfile::tempdir().unwrap();
    let deployment = open(dir.path(), &["partitions=1", "retention.inputs=1h"]);
    load_shop(&deployment, TimeMs(1_700_000_000_000));
    let orders = TopicPartition {
        topic: deployment.input_topic("orders"),
        partition: 0,
    };
    let end = embedded(&deployment).end_offset(&orders).unwrap();
    process(&deployment).unwrap();

    let (observers, sample) = observed();
    let (removed, completed) = (
        "clvstream_log_records_removed_total",
        "clvstream_log_retention_rounds_total{outcome=\"completed\"}",
    );
    retention::enforce(
        embedded(&deployment),
        wall_clock(),
        &Shared::default(),
        &observers,
    );
    assert_eq!((sample(removed), sample(completed)), (Some(0.0), Some(1.0)));
    let later = wall_clock().plus(2 * 3_600_000);
    retention::enforce(embedded(&deployment), later, &Shared::default(), &observers);
    assert_eq!(embedded(&deployment).start_offset(&orders).unwrap(), end);
    // What each commit consumed is kept for as long as the inputs.
    assert!(sample(removed).unwrap() > end as f64);
    assert_eq!(sample(completed), Some(2.0));
}

#[test]
fn quiet_hours_move_the_clock_of_a_live_shop_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ["partitions=3", "workers=2", "time.idle_after=1s"];
    let deployment = open(dir.path(), &settings);
    load_shop(&deployment, wall_clock().minus(5 * DAY_MS));
    process(&deployment).unwrap();
    assert!((0..3).all(|task| ticks(&deployment, task) == 0));
    drop(deployment);

    // Nothing comes in any more: what is known of the time has to come from the state.
    let deployment = open(dir.path(), &settings);
    let begun = wall_clock();
    let shared = std::sync::Arc::new(Shared::default());
    let (observers, _) = observed();
    let counts = std::thread::scope(|scope| {
        let tasks = deployment.open_all().unwrap();
        let worked = scope.spawn(|| run(&deployment, tasks, Until::Stopped, &shared, &observers));
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut seen = embedded(&deployment).version();
        while (0..3).any(|task| ticks(&deployment, task) == 0) || deployment.lag().unwrap() > 0 {
            assert!(Instant::now() < deadline, "no tick within a minute");
            seen = embedded(&deployment).wait_for_append(seen, Duration::from_millis(100));
        }
        assert_eq!(status(&observers), Status::Ready);
        shared.stop();
        embedded(&deployment).wake();
        worked.join().unwrap()
    });
    assert!(counts.unwrap().control >= 3);
    for owned in deployment.open_all().unwrap() {
        let clock = &owned.task.bookkeeping().clock;
        assert!(clock.stream_time >= begun, "task {}", owned.task.id());
    }
}

/// An input that gives nothing any more, and one that gives something all the time.
#[test]
fn an_input_that_falls_silent_does_not_hold_the_clock_while_another_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ["partitions=1", "workers=1", "time.idle_after=1s"];
    let deployment = open(dir.path(), &settings);
    // So long ago that the wall clock does not move stream time.
    let start = wall_clock().minus(400 * DAY_MS);
    load_shop(&deployment, start);
    let shop = shop(start);
    let click = shop.iter().find(|event| !event.body.is_order_fact());
    let mut click = click.unwrap().clone();
    click.time = start.plus(30 * DAY_MS);
    let mut sent = 0;
    let mut go_on = || {
        sent += 1;
        click.id = format!("click-{sent}").into();
        click.time = click.time.plus(HOUR_MS);
        let item = Item::Event("clickstream".into(), Box::new(click.clone()));
        let shared = std::sync::Arc::new(Shared::default());
        let (name, delivery) = (format!("click-{sent}"), Delivery::PLAIN);
        let items = std::iter::once(Ok(item));
        let loaded = load(&deployment, &name, &delivery, items, &shared, &mut |_| {});
        assert_eq!(loaded.unwrap().events, 1);
    };
    let shared = std::sync::Arc::new(Shared::default());
    let (observers, _) = observed();
    std::thread::scope(|scope| {
        let tasks = deployment.open_all().unwrap();
        let worked = scope.spawn(|| run(&deployment, tasks, Until::Stopped, &shared, &observers));
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut seen = embedded(&deployment).version();
        let is_silent = |routed: &Routed| matches!(routed, Routed::Silent { .. });
        while controls(&deployment, 0, is_silent) == 0 || deployment.lag().unwrap() > 0 {
            assert!(Instant::now() < deadline, "nothing is said within a minute");
            if controls(&deployment, 0, is_silent) == 0 {
                go_on();
            }
            seen = embedded(&deployment).wait_for_append(seen, Duration::from_millis(100));
        }
        shared.stop();
        embedded(&deployment).wake();
        worked.join().unwrap().unwrap();
    });
    let owned = deployment.open_all().unwrap();
    let clock = &owned[0].task.bookkeeping().clock;
    assert!(clock.stream_time > start.plus(30 * DAY_MS), "{clock:?}");
}

/// Ticks in a task's partition of `internal.routed`. Other control records are there too: that a task's
/// inputs are idle.
fn ticks(deployment: &Deployment, task: u32) -> usize {
    controls(deployment, task, |routed| {
        matches!(routed, Routed::Tick { .. })
    })
}

/// Records in a task's partition of `internal.routed` that are of some kind.
fn controls(deployment: &Deployment, task: u32, is_it: impl Fn(&Routed) -> bool) -> usize {
    let routed = TopicPartition {
        topic: deployment.setup.topics.routed.clone(),
        partition: task,
    };
    let records = embedded(deployment).read(&routed, 0, usize::MAX, usize::MAX);
    let records = records.unwrap();
    let routed = records.iter().filter_map(|stored| {
        let value = stored.record.value.as_deref()?;
        Routed::decode(value).ok()
    });
    routed.filter(is_it).count()
}

fn embedded(deployment: &Deployment) -> &eventlog::EmbeddedLog {
    deployment.log.embedded().unwrap()
}
