//! The bad records that the project ships, between good ones, on Kafka.

use std::collections::BTreeMap;

use domain::time::TimeMs;
use fleet::{App, Instance, until};
use kafkatest::Broker;
use wire::partition_of;

use crate::PROGRAM;
use crate::cases::{Case, RECORD_TIME, cases};
use crate::raw::{Got, Raw, create, produce, read_committed};

const PARTITIONS: u32 = 4;
const INPUTS: [&str; 5] = ["clickstream", "orders", "care", "loyalty", "marketing"];

/// The last column that follows from orders alone.
const LAST_FACT: &str = "last_order";

/// Topic, partition and offset.
type Place = (String, u32, u64);

/// An application whose input topics take records of up to 12 MiB, which it does not.
fn app(broker: &Broker, name: &str, settings: &[&str]) -> App {
    let partitions = format!("partitions={PARTITIONS}");
    // The records are old, and the broker is not to delete them.
    let common = [partitions.as_str(), "retention.inputs=forever"];
    let app = App::new(
        PROGRAM,
        broker.bootstrap(),
        name,
        &[&common, settings].concat(),
    );
    let names = INPUTS.map(|input| format!("{}.{input}", app.id));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    create(broker, &names, PARTITIONS, 12 << 20);
    app
}

fn record_time() -> i64 {
    config::units::parse_instant(RECORD_TIME)
        .map(|TimeMs(ms)| ms)
        .unwrap()
}

fn put(broker: &Broker, app: &App, cases: &[Case]) -> Vec<Place> {
    let raw = cases.iter().map(|case| Raw {
        topic: format!("{}.{}", app.id, case.topic),
        partition: partition_of(case.key.as_deref().unwrap_or_default(), PARTITIONS),
        key: case.key.clone(),
        value: case.value.clone(),
        timestamp: record_time(),
    });
    let raw: Vec<Raw> = raw.collect();
    let offsets = produce(broker, &raw);
    let places = raw.into_iter().zip(offsets);
    places
        .map(|(raw, offset)| (raw.topic, raw.partition, offset))
        .collect()
}

/// What follows from orders, of every profile: it is exact however late they come. Whether an event is
/// late, and then counts in no session, depends on when another task forwards it: the records are
/// months apart and in no order.
fn profiles_of(app: &App) -> String {
    let table = app.run("reader", &["export", "profiles", "--as-of", RECORD_TIME]);
    let mut header = table.lines().next().unwrap_or_default().split(',');
    let last = header.position(|name| name == LAST_FACT).unwrap();
    let facts = |line: &str| line.split(',').take(last + 1).collect::<Vec<_>>().join(",");
    table.lines().map(facts).collect::<Vec<_>>().join("\n")
}

fn outcome(instance: &Instance, outcome: &str) -> u64 {
    instance.metric(&format!("clvstream_records_total{{outcome=\"{outcome}\"}}")) as u64
}

/// Waits until `records` records have come to their end.
fn wait_consumed(instance: &Instance, records: usize) {
    let ends = ["applied", "late", "deduplicated", "dead_lettered"];
    until("all records are consumed", || {
        let ended: u64 = ends.iter().map(|end| outcome(instance, end)).sum();
        assert!(ended <= records as u64, "{ended} of {records}");
        (ended == records as u64).then_some(())
    });
}

/// Dead letters by the place of their record, of which each may have one.
fn letters(broker: &Broker, app: &App) -> BTreeMap<Place, Got> {
    let mut found = BTreeMap::new();
    for letter in read_committed(broker, &format!("{}.dlq", app.id)) {
        let header = |name: &str| letter.headers[name].clone();
        let place = (
            header("clv_topic"),
            header("clv_partition").parse().unwrap(),
            header("clv_offset").parse().unwrap(),
        );
        let before = found.insert(place.clone(), letter);
        assert!(before.is_none(), "{place:?} is a dead letter twice");
    }
    found
}

fn check_letters(broker: &Broker, app: &App, cases: &[Case], places: &[Place]) {
    let mut letters = letters(broker, app);
    for (case, place) in cases.iter().zip(places) {
        let letter = letters.remove(place);
        assert_eq!(letter.is_some(), case.is_bad(), "{}", case.name);
        let Some(letter) = letter else { continue };
        assert_eq!(
            letter.headers["clv_error_class"], case.expect,
            "{}",
            case.name
        );
        assert!(!letter.headers["clv_error_message"].is_empty());
        assert_eq!(
            letter.headers.len(),
            5,
            "{}: {:?}",
            case.name,
            letter.headers
        );
        assert!(letter.value == case.value, "{}: the value", case.name);
        assert_eq!(letter.key, case.key, "{}", case.name);
    }
    assert!(letters.is_empty(), "{:?}", letters.keys());
}

fn check_counts(instance: &Instance, cases: &[Case]) {
    let expected = |what: &str| cases.iter().filter(|c| c.expect == what).count() as u64;
    let applied = outcome(instance, "applied") + outcome(instance, "late");
    assert_eq!(applied, expected("applied"));
    assert_eq!(outcome(instance, "deduplicated"), expected("deduplicated"));
    for class in wire::RejectionClass::ALL {
        let class = class.as_str();
        let counted = format!("clvstream_dead_letters_total{{class=\"{class}\"}}");
        assert_eq!(instance.metric(&counted) as u64, expected(class), "{class}");
    }
}

/// Panics with the lines that differ.
fn same(found: &str, expected: &str, what: &str) {
    let lines = found.lines().zip(expected.lines());
    let differing: Vec<_> = lines
        .filter(|(found, expected)| found != expected)
        .collect();
    assert!(differing.is_empty(), "{what}: {differing:#?}");
    assert_eq!(found.lines().count(), expected.lines().count(), "{what}");
}

#[test]
fn bad_records_become_dead_letters_and_cost_nothing_else() {
    let test = "bad_records_become_dead_letters_and_cost_nothing_else";
    let Some(broker) = Broker::shared(test) else {
        return;
    };
    let all = cases();
    let good: Vec<Case> = all.iter().filter(|c| !c.is_bad()).cloned().collect();
    let clean = app(broker, "letters-clean", &[]);
    put(broker, &clean, &good);
    clean.run("one", &["run", "--drain"]);
    let (profiles, days) = (profiles_of(&clean), clean.export("days"));
    let lines = (profiles.lines().count(), days.lines().count());
    assert!(
        lines.0 > 20 && lines.1 > 1,
        "{lines:?} lines of profiles and days"
    );
    assert!(letters(broker, &clean).is_empty());

    let down = [
        "format=json",
        "registry.url=http://127.0.0.1:1",
        "registry.give_up_after=1s",
    ];
    for (name, settings) in [
        ("letters-avro", &["format=avro"][..]),
        ("letters-down", &down),
    ] {
        let app = app(broker, name, settings);
        let mut instance = app.start("one");
        let places = put(broker, &app, &all);
        wait_consumed(&instance, all.len());
        check_counts(&instance, &all);
        check_letters(broker, &app, &all, &places);
        same(&profiles_of(&app), &profiles, name);
        same(&app.export("days"), &days, name);

        // It is as ready as before, and a restart changes nothing.
        instance.wait_ready();
        assert!(instance.terminate().success());
        app.run("one", &["run", "--drain"]);
        check_letters(broker, &app, &all, &places);
        same(&profiles_of(&app), &profiles, name);
    }
}

#[test]
fn a_record_that_no_dead_letter_can_hold_leaves_its_beginning() {
    let test = "a_record_that_no_dead_letter_can_hold_leaves_its_beginning";
    let Some(broker) = Broker::shared(test) else {
        return;
    };
    let app = app(broker, "letters-huge", &[]);
    let all = cases();
    let good: Vec<Case> = all.iter().filter(|c| !c.is_bad()).cloned().collect();
    // Topics limit what is compressed: this is 30 MB, and arrives.
    let huge = Case {
        name: "30 MB".to_owned(),
        topic: "orders".to_owned(),
        key: Some(b"customer-1".to_vec()),
        value: Some(vec![b' '; 30_000_000]),
        expect: "too_large".to_owned(),
        accepted_with: Vec::new(),
    };
    let mut sent = vec![good[0].clone(), huge.clone()];
    sent.extend(good.iter().skip(1).cloned());
    let places = put(broker, &app, &sent);
    let instance = app.start("one");
    wait_consumed(&instance, sent.len());
    check_counts(&instance, &sent);
    let letters = letters(broker, &app);
    let (place, letter) = letters.first_key_value().unwrap();
    assert_eq!((letters.len(), place), (1, &places[1]));
    assert_eq!(letter.headers["clv_value_bytes"], "30000000");
    assert_eq!(letter.headers["clv_error_class"], "too_large");
    assert_eq!(letter.key, huge.key);
    assert_eq!(letter.value, Some(vec![b' '; 65_536]));
}
