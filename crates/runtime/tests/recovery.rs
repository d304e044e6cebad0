//! State that is damaged is rebuilt from the changelog, when it is opened and while it is worked on,
//! and nobody can tell by what comes out.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::event::Event;
use domain::time::{DAY_MS, TimeMs};
use runtime::Deployment;
use runtime::load::{Delivery, Item, load};
use runtime::workers::{Observers, Shared, Until, wall_clock, work_on};
use server::Metrics;
use support::{configured, process, rows};
use traffic::{ShopConfig, ShopTraffic};

const START: TimeMs = TimeMs(1_700_000_000_000);

/// A shop of so many customers that the state of each task is many blocks.
fn shop() -> Vec<Event> {
    let config = ShopConfig {
        start: START,
        days: 3,
        customers: 3_000,
        seed: 1,
        ..ShopConfig::default()
    };
    ShopTraffic::new(&config).unwrap().collect()
}

fn open(dir: &Path) -> Deployment {
    let settings = ["partitions=2", "workers=2"];
    Deployment::open(&configured(dir, &settings), None, wall_clock()).unwrap()
}

fn load_part(deployment: &Deployment, name: &str, events: &[Event]) {
    let items = events.iter().map(|event| {
        let event = Box::new(event.clone());
        Ok(Item::Event("orders".into(), event))
    });
    let shared = Arc::new(Shared::default());
    load(
        deployment,
        name,
        &Delivery::PLAIN,
        items,
        &shared,
        &mut |_| {},
    )
    .unwrap();
}

fn observed() -> (Observers, impl Fn(&str) -> f64) {
    let registry = server::registry().unwrap();
    let observers = Observers {
        metrics: Some(Metrics::new(&registry).unwrap()),
        liveness: None,
        readiness: None,
    };
    let sample = move |name: &str| {
        let text = server::text(&registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}"))
            .trim()
            .parse()
            .unwrap()
    };
    (observers, sample)
}

/// What is known of each customer, by id.
type Rows = BTreeMap<String, BTreeMap<String, String>>;

const CORRUPT: &str = "clvstream_state_rebuilds_total{reason=\"corrupt\"}";

/// The largest table file of each task.
fn table_files(dir: &Path) -> Vec<PathBuf> {
    let tasks = std::fs::read_dir(dir.join("state")).unwrap();
    let largest = tasks.map(|task| {
        let files = std::fs::read_dir(task.unwrap().path()).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let tables = files.filter(|file| file.extension().is_some_and(|e| e == "sst"));
        let largest = tables.max_by_key(|file| file.metadata().unwrap().len());
        largest.unwrap()
    });
    largest.collect()
}

/// One byte in every 4 KiB of the given part of a file, in percent, is another.
fn flip(file: &Path, from: usize, until: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    let range = bytes.len() * from / 100..bytes.len() * until / 100;
    for byte in bytes[range].iter_mut().step_by(4 << 10) {
        *byte ^= 0x55;
    }
    std::fs::write(file, bytes).unwrap();
}

/// What is known of every customer in the end, of a deployment that nothing happened to.
fn undisturbed(first: &[Event], second: &[Event]) -> Rows {
    let dir = tempfile::tempdir().unwrap();
    let deployment = open(dir.path());
    for (name, events) in [("first", first), ("second", second)] {
        load_part(&deployment, name, events);
        process(&deployment).unwrap();
    }
    all_rows(&deployment)
}

fn all_rows(deployment: &Deployment) -> Rows {
    let tasks = deployment.open_all().unwrap();
    let rows = rows(&tasks, START.plus(3 * DAY_MS)).unwrap();
    assert!(rows.len() > 500, "{} customers", rows.len());
    rows
}

#[test]
fn state_that_is_found_damaged_at_the_start_is_rebuilt() {
    let events = shop();
    let dir = tempfile::tempdir().unwrap();
    let deployment = open(dir.path());
    load_part(&deployment, "all", &events);
    process(&deployment).unwrap();
    let before = all_rows(&deployment);
    drop(deployment);

    let files = table_files(dir.path());
    assert_eq!(files.len(), 2);
    flip(&files[0], 0, 100);
    std::fs::remove_file(&files[1]).unwrap();

    let deployment = open(dir.path());
    let (observers, sample) = observed();
    let shared = Shared::default();
    let tasks = deployment.restore_all(&shared, &observers).unwrap();
    assert_eq!(sample(CORRUPT), 2.0);
    assert!(sample("clvstream_restored_records_total") > 500.0);
    assert!(sample("clvstream_restored_bytes_total") > 50_000.0);
    assert_eq!(sample("clvstream_restore_remaining_seconds"), 0.0);
    let after = rows(&tasks, START.plus(3 * DAY_MS)).unwrap();
    assert!(after == before, "the export is another one");
}

#[test]
fn state_that_is_found_damaged_at_work_is_rebuilt_and_the_work_goes_on() {
    let events = shop();
    // What was there before comes again, so that profiles are read that are not new.
    let (first, second) = (&events[..events.len() / 2], &events[..]);
    let dir = tempfile::tempdir().unwrap();
    let deployment = open(dir.path());
    load_part(&deployment, "first", first);
    process(&deployment).unwrap();
    load_part(&deployment, "second", second);
    drop(deployment);
    // Most of a file is profiles; what is read at the start comes before and behind them.
    for file in table_files(dir.path()) {
        flip(&file, 15, 50);
    }
    let deployment = open(dir.path());
    let (observers, sample) = observed();
    let shared = Arc::new(Shared::default());
    drop(deployment.restore_all(&shared, &observers).unwrap());
    assert_eq!(sample(CORRUPT), 0.0, "it was found at opening");

    work_on(&deployment, Until::Drained, &shared, &observers).unwrap();
    let rebuilt = sample(CORRUPT);
    assert!((1.0..=2.0).contains(&rebuilt), "{rebuilt} rebuilt");
    let (expected, found) = (undisturbed(first, second), all_rows(&deployment));
    let customers = expected.keys().chain(found.keys());
    let other = customers.filter(|id| expected.get(*id) != found.get(*id));
    if let Some(id) = other.clone().next() {
        panic!(
            "{} customers are others, of {}: {:?}, not {:?}",
            other.count(),
            expected.len(),
            found.get(id),
            expected.get(id)
        );
    }
}

#[test]
fn state_that_is_damaged_again_and_again_is_not_rebuilt_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let deployment = open(dir.path());
    load_part(&deployment, "some", &shop()[..200]);
    process(&deployment).unwrap();
    let mut opened = Ok(Vec::new());
    for times in 1..=4 {
        drop(opened);
        for task in std::fs::read_dir(dir.path().join("state")).unwrap() {
            std::fs::write(task.unwrap().path().join("CURRENT"), "nonsense").unwrap();
        }
        opened = deployment.open_all();
        assert_eq!(opened.is_ok(), times <= 3, "for the {times}th time");
    }
    let said = opened.map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("check this machine's disk"), "{said}");
}
