//! Malformed records between good ones: no good one is lost, every bad one is a dead letter, with its
//! bytes, its place and the reason, and nothing stops.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod cases;
mod damage;
mod page;
mod rows;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use cases::{Case, RECORD_TIME, cases};
use engine::bookkeeping::Counts;
use engine::port::{OutRecord, TopicPartition};
use eventlog::StoredRecord;
use runtime::Deployment;
use support::{TestResult, configured, day_rows, instant, process, rows};
use wire::{RejectionClass, partition_of};

/// What stands for personal data in the shipped records, or is part of it.
const PERSONAL: [&str; 3] = ["erika", "mustermann", "example.com"];

/// Where records are put.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Placing {
    /// Where their key belongs.
    ByKey,
    /// Anywhere else.
    Wrong,
}

fn open(dir: &Path, settings: &[&str]) -> Deployment {
    let loaded = configured(dir, settings);
    Deployment::open(&loaded, None, instant(RECORD_TIME)).expect("a folder of its own")
}

/// Topic, partition and offset.
type Place = (String, u32, u64);

/// Appends `cases` as they are and answers where each one stands.
fn append(deployment: &Deployment, cases: &[Case], placing: Placing) -> Vec<Place> {
    let partitions = deployment.config.partitions;
    let mut ends: BTreeMap<TopicPartition, u64> = BTreeMap::new();
    let mut places = Vec::new();
    let mut records = Vec::new();
    for case in cases {
        let home = partition_of(case.key.as_deref().unwrap_or_default(), partitions);
        let target = TopicPartition {
            topic: deployment.input_topic(&case.topic),
            partition: match placing {
                Placing::ByKey => home,
                Placing::Wrong => (home + 1) % partitions,
            },
        };
        let end = ends.entry(target.clone()).or_insert_with(|| {
            embedded(deployment)
                .end_offset(&target)
                .expect("the topic is there")
        });
        places.push((target.topic.to_string(), target.partition, *end));
        *end += 1;
        records.push(OutRecord {
            target,
            key: case.key.clone(),
            value: case.value.clone(),
            headers: Vec::new(),
        });
    }
    embedded(deployment)
        .append(&records, instant(RECORD_TIME), &[])
        .expect("the log takes any bytes");
    places
}

/// Every record of `topic`, partition by partition.
fn stored(deployment: &Deployment, topic: &Arc<str>) -> Vec<StoredRecord> {
    let partitions = 0..deployment.config.partitions;
    let of = |partition| {
        let source = TopicPartition {
            topic: Arc::clone(topic),
            partition,
        };
        let read = embedded(deployment).read(&source, 0, usize::MAX, usize::MAX);
        read.expect("the topic can be read")
    };
    partitions.flat_map(of).collect()
}

fn dead_letters(deployment: &Deployment) -> Vec<StoredRecord> {
    stored(deployment, &deployment.setup.topics.dead_letters)
}

/// A dead letter's headers, each of which must be there once, as text.
fn headers(letter: &StoredRecord) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for (name, value) in &letter.headers {
        let text = String::from_utf8(value.clone()).expect("headers are text");
        for personal in PERSONAL {
            assert!(!text.contains(personal), "{name}: {text} names a person");
        }
        assert!(headers.insert(name.clone(), text).is_none(), "{name} twice");
    }
    let names: Vec<&str> = headers.keys().map(String::as_str).collect();
    let expected = [
        "clv_error_class",
        "clv_error_message",
        "clv_offset",
        "clv_partition",
        "clv_topic",
    ];
    assert_eq!(names, expected);
    assert!(!headers["clv_error_message"].is_empty());
    headers
}

/// Dead letters by the place of their record, of which each may have one.
fn by_place(letters: Vec<StoredRecord>) -> BTreeMap<Place, (String, StoredRecord)> {
    let mut found = BTreeMap::new();
    for letter in letters {
        let headers = headers(&letter);
        let number = |name: &str| headers[name].parse::<u64>().expect("a number");
        let place = (
            headers["clv_topic"].clone(),
            u32::try_from(number("clv_partition")).expect("a partition"),
            number("clv_offset"),
        );
        let class = headers["clv_error_class"].clone();
        assert!(
            found.insert(place.clone(), (class, letter)).is_none(),
            "{place:?} is a dead letter twice"
        );
    }
    found
}

/// Key, value and headers of an output.
type Output = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Vec<u8>)>);

/// What a run leaves: profiles, days, and every output in its order.
#[derive(PartialEq, Debug)]
struct Left {
    profiles: BTreeMap<String, BTreeMap<String, String>>,
    days: BTreeMap<String, BTreeMap<String, String>>,
    outputs: Vec<Output>,
}

fn left(deployment: &Deployment) -> Result<Left, Box<dyn std::error::Error>> {
    let tasks = deployment.open_all()?;
    let outputs = deployment.setup.topics.outputs();
    let outputs = outputs.iter().flat_map(|topic| stored(deployment, topic));
    Ok(Left {
        profiles: rows(&tasks, instant(RECORD_TIME))?,
        days: day_rows(deployment, &tasks)?,
        outputs: outputs
            .map(|stored| (stored.record.key, stored.record.value, stored.headers))
            .collect(),
    })
}

/// Every record that was put in became exactly one thing (I7).
fn adds_up(counts: &Counts, records: usize) {
    let ends = counts.applied + counts.late + counts.deduplicated + counts.dead_lettered;
    assert_eq!(ends, records as u64, "{counts:?}");
}

#[test]
fn no_good_record_is_lost_and_every_bad_one_is_a_dead_letter() -> TestResult {
    let all = cases();
    let good: Vec<Case> = all.iter().filter(|c| !c.is_bad()).cloned().collect();
    let expected = |what: &str| all.iter().filter(|c| c.expect == what).count() as u64;
    let mut profiles = Vec::new();
    for (partitions, placing) in [
        (1, Placing::ByKey),
        (4, Placing::ByKey),
        (4, Placing::Wrong),
    ] {
        // One worker: what is forwarded then meets the rest in the same order in both runs.
        let partitions = format!("partitions={partitions}");
        let settings = [partitions.as_str(), "workers=1"];
        let clean_dir = tempfile::tempdir()?;
        let clean = open(clean_dir.path(), &settings);
        append(&clean, &good, placing);
        process(&clean)?;
        assert!(dead_letters(&clean).is_empty());

        let dir = tempfile::tempdir()?;
        let deployment = open(dir.path(), &settings);
        let places = append(&deployment, &all, placing);
        let counts = process(&deployment)?;
        adds_up(&counts, all.len());
        assert_eq!(counts.applied + counts.late, expected("applied"));
        assert_eq!(counts.deduplicated, expected("deduplicated"));
        assert_eq!(deployment.lag()?, 0);
        check_dead_letters(&deployment, &all, &places);
        let without = left(&clean)?;
        let with = left(&deployment)?;
        assert!(!without.outputs.is_empty() && without.profiles.len() > 20);
        assert_eq!(with, without, "{partitions} {placing:?}");
        let doubled = &with.profiles["odd-dup"];
        let counted = (doubled["orders"].as_str(), doubled["gross"].as_str());
        assert_eq!(counted, ("1", "20.00"), "an order counts once");

        // Again, and again after a restart: nothing is consumed twice.
        assert_eq!(process(&deployment)?, counts);
        drop(deployment);
        let deployment = open(dir.path(), &settings);
        assert_eq!(process(&deployment)?, counts);
        check_dead_letters(&deployment, &all, &places);
        assert_eq!(left(&deployment)?, without);
        let mut settled = without.profiles;
        // This one's events are months out of order, far beyond the grace: what an event that is late
        // counts for, besides orders, depends on how far stream time was, and so on the partitions.
        if let Some(disordered) = settled.get_mut("customer-1") {
            disordered
                .retain(|column, _| !column.ends_with("_since") && !column.starts_with("sessions"));
        }
        profiles.push((settled, without.days));
    }
    assert!(profiles.windows(2).all(|pair| pair[0] == pair[1]));
    Ok(())
}

fn check_dead_letters(deployment: &Deployment, all: &[Case], places: &[Place]) {
    let mut letters = by_place(dead_letters(deployment));
    for (case, place) in all.iter().zip(places) {
        let letter = letters.remove(place);
        if !case.is_bad() {
            let class = letter.map(|(class, _)| class);
            assert_eq!(class, None, "{} is a dead letter", case.name);
            continue;
        }
        let (class, letter) = letter.unwrap_or_else(|| panic!("{} is no dead letter", case.name));
        assert_eq!(class, case.expect, "{}", case.name);
        assert!(letter.record.value == case.value, "{}", case.name);
        assert!(letter.record.key == case.key, "{}", case.name);
    }
    assert!(letters.is_empty(), "{letters:?}");
}

#[test]
fn what_settings_decide_is_accepted_under_others() -> TestResult {
    let mut by_settings: BTreeMap<Vec<String>, Vec<Case>> = BTreeMap::new();
    for case in cases() {
        if !case.accepted_with.is_empty() {
            let settings = case.accepted_with.clone();
            by_settings.entry(settings).or_default().push(case);
        }
    }
    assert!(by_settings.len() >= 7, "{:?}", by_settings.keys());
    for (settings, cases) in by_settings {
        let dir = tempfile::tempdir()?;
        let mut all = vec!["partitions=1"];
        all.extend(settings.iter().map(String::as_str));
        let deployment = open(dir.path(), &all);
        append(&deployment, &cases, Placing::ByKey);
        let counts = process(&deployment)?;
        let reasons: Vec<_> = dead_letters(&deployment).iter().map(headers).collect();
        assert_eq!(reasons, [], "{settings:?}");
        adds_up(&counts, cases.len());
    }
    Ok(())
}

#[test]
fn the_shipped_records_are_of_many_kinds_and_of_every_class() {
    let cases = cases();
    let bad: Vec<&Case> = cases.iter().filter(|c| c.is_bad()).collect();
    let names: BTreeSet<&str> = cases.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "names are distinct");
    assert!(bad.len() >= 40, "{} kinds", bad.len());
    for pair in cases.windows(2) {
        assert!(
            !(pair[0].is_bad() && pair[1].is_bad()),
            "{}: a good one stands between any two bad ones",
            pair[1].name
        );
    }
    let mut classes: BTreeSet<&str> = bad.iter().map(|c| c.expect.as_str()).collect();
    // Of rows and mappings only: see `rows`. And of no bytes at all, but of what they do to the process.
    classes.extend(["malformed_row", "mapping_failed", "quarantined"]);
    let all: BTreeSet<&str> = RejectionClass::ALL.iter().map(|c| c.as_str()).collect();
    assert_eq!(classes, all);
}

fn embedded(deployment: &Deployment) -> &eventlog::EmbeddedLog {
    deployment.log.embedded().expect("an embedded log")
}
