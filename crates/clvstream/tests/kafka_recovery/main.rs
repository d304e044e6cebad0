//! Local state on a real broker: damaged or stale, it is rebuilt; and where that is not possible, or
//! records are gone that were still to be read, the program refuses to start and says what to do.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

mod admin;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use admin::Operator;
use fleet::App;
use kafkatest::Broker;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const SETTINGS: [&str; 2] = ["partitions=2", "workers=2"];
const SHOP: [&str; 3] = ["simulate", "--events=4000", "--days=20"];
const DRAIN: [&str; 2] = ["run", "--drain"];

/// An application that has worked off the shop.
fn worked_off(broker: &Broker, name: &str) -> App {
    let app = App::new(
        env!("CARGO_BIN_EXE_clvstream"),
        broker.bootstrap(),
        name,
        &SETTINGS,
    );
    app.run("a", &SHOP);
    app.run("a", &DRAIN);
    app
}

/// The folder of a task's state.
fn state(app: &App, task: u32) -> PathBuf {
    let folder = app.folder.path().join("a/state");
    folder.join(task.to_string())
}

/// What a start that is refused says.
fn refusal(app: &App) -> String {
    let output = app.command("a", &DRAIN).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "it was not refused: {said}");
    said
}

#[track_caller]
fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "not {part:?}:\n{said}");
    }
}

#[test]
fn damaged_state_is_rebuilt_from_the_changelog() {
    let Some(broker) = Broker::shared("damaged_state_is_rebuilt_from_the_changelog") else {
        return;
    };
    let app = worked_off(broker, "damaged");
    let before = app.export("profiles");
    for task in 0..2 {
        let files = std::fs::read_dir(state(&app, task)).unwrap();
        let files = files.map(|file| file.unwrap().path());
        for table in files.filter(|f| f.extension().is_some_and(|e| e == "sst")) {
            let mut bytes = std::fs::read(&table).unwrap();
            bytes.iter_mut().step_by(512).for_each(|byte| *byte ^= 0x55);
            std::fs::write(&table, bytes).unwrap();
        }
    }
    let mut instance = app.start("a");
    instance.wait_ready();
    let rebuilt = instance.metric("clvstream_state_rebuilds_total{reason=\"corrupt\"}");
    assert_eq!(rebuilt, 2.0);
    assert!(instance.metric("clvstream_restored_records_total") > 100.0);
    instance.logged("local state is removed and rebuilt from the changelog");
    assert!(instance.terminate().success());
    assert_eq!(app.export("profiles"), before);
}

#[test]
fn state_older_than_the_topic_keeps_tombstones_is_rebuilt() {
    let Some(broker) = Broker::shared("state_older_than_the_topic_keeps_tombstones_is_rebuilt")
    else {
        return;
    };
    let app = worked_off(broker, "stale");
    let before = app.export("profiles");
    let stale = "clvstream_state_rebuilds_total{reason=\"stale\"}";
    let mut instance = app.start("a");
    instance.wait_ready();
    assert_eq!(
        instance.metric(stale),
        0.0,
        "within the week it is not stale"
    );
    assert!(instance.terminate().success());
    // From now on no tombstone is sure to be there any more.
    let changelog = format!("{}.internal.changelog", app.id);
    let settings = [("cleanup.policy", "compact"), ("delete.retention.ms", "1")];
    Operator::on(broker.bootstrap()).settings(&changelog, &settings);
    let mut instance = app.start("a");
    instance.wait_ready();
    assert_eq!(instance.metric(stale), 2.0);
    assert!(instance.terminate().success());
    assert_eq!(app.export("profiles"), before);
}

/// A record from later than now would make everything behind it look recent. Brokers refuse what is more
/// than an hour ahead, unless they are older than that rule.
#[test]
fn stale_state_is_known_whatever_the_clocks_of_those_who_wrote_the_changelog_say() {
    let test = "stale_state_is_known_whatever_the_clocks_of_those_who_wrote_the_changelog_say";
    let Some(broker) = Broker::shared(test) else {
        return;
    };
    let app = worked_off(broker, "ahead");
    let changelog = format!("{}.internal.changelog", app.id);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let ahead = i64::try_from(now.as_millis()).unwrap() + 30 * 60_000;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .create()
        .unwrap();
    for task in 0..2 {
        // An owner record, as a worker writes it before it takes a task over.
        let record = BaseRecord::to(&changelog)
            .partition(task)
            .key("\x04owner")
            .payload("somebody whose clock is wrong")
            .timestamp(ahead);
        producer.send(record).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    // The state goes on past it.
    app.run("a", &DRAIN);
    let before = app.export("profiles");
    let settings = [("cleanup.policy", "compact"), ("delete.retention.ms", "1")];
    Operator::on(broker.bootstrap()).settings(&changelog, &settings);
    let mut instance = app.start("a");
    instance.wait_ready();
    let stale = "clvstream_state_rebuilds_total{reason=\"stale\"}";
    assert_eq!(instance.metric(stale), 2.0);
    assert!(instance.terminate().success());
    assert_eq!(app.export("profiles"), before);
}

#[test]
fn a_changelog_without_its_beginning_is_refused_unless_local_state_has_it() {
    let test = "a_changelog_without_its_beginning_is_refused_unless_local_state_has_it";
    let Some(broker) = Broker::shared(test) else {
        return;
    };
    let app = worked_off(broker, "trimmed");
    let changelog = format!("{}.internal.changelog", app.id);
    let operator = Operator::on(broker.bootstrap());
    // Brokers refuse to delete records of a topic that is only compacted.
    operator.settings(&changelog, &[("cleanup.policy", "delete")]);
    operator.delete_records(&changelog, 1, Some(100));
    operator.settings(&changelog, &[("cleanup.policy", "compact")]);
    app.run("a", &DRAIN);
    let kept = app.folder.path().join("kept");
    std::fs::rename(state(&app, 1), &kept).unwrap();
    let told = [
        "changelog of task 1",
        "begins at offset 100",
        "state folder",
    ];
    assert_says(&refusal(&app), &told);
    // What is damaged is not thrown away where nothing can replace it.
    std::fs::write(state(&app, 1).join("DAMAGED"), "for the test").unwrap();
    assert_says(&refusal(&app), &told);
    assert!(state(&app, 1).join("DAMAGED").exists());
    std::fs::remove_dir_all(state(&app, 1)).unwrap();
    std::fs::rename(&kept, state(&app, 1)).unwrap();
    app.run("a", &DRAIN);
}

#[test]
fn inputs_that_are_gone_before_they_were_consumed_are_refused() {
    let test = "inputs_that_are_gone_before_they_were_consumed_are_refused";
    let Some(broker) = Broker::shared(test) else {
        return;
    };
    let app = worked_off(broker, "overtaken");
    app.run("a", &["simulate", "--events=2000", "--days=20", "--seed=2"]);
    let orders = format!("{}.orders", app.id);
    Operator::on(broker.bootstrap()).delete_records(&orders, 0, None);
    let told = ["records that task 0 has not consumed are gone", "retention"];
    assert_says(&refusal(&app), &told);
}
