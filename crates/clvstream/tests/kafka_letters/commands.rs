//! What looks at topics and profiles on Kafka, beside a service that it must not disturb.

use std::io::Read;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use fleet::{App, Instance, until};
use kafkatest::Broker;
use serde_json::Value;
use wire::partition_of;

use crate::PROGRAM;
use crate::raw::{Raw, create, produce};

const TASKS: u32 = 2;

fn put(broker: &Broker, app: &App, customer: &str, order: &str, total: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let time = i64::try_from(now.as_millis()).unwrap();
    let value = format!(
        "{{\"type\": \"order_completed\", \"event_id\": \"{order}\", \"event_time\": {time}, \
         \"customer_id\": \"{customer}\", \"order_id\": \"{order}\", \"total\": \"{total}\"}}"
    );
    let record = Raw {
        topic: format!("{}.orders", app.id),
        partition: partition_of(customer.as_bytes(), TASKS),
        key: Some(customer.as_bytes().to_vec()),
        value: Some(value.into_bytes()),
        timestamp: time,
    };
    produce(broker, &[record]);
}

fn wait_applied(instance: &Instance, records: u64) {
    until(&format!("{records} orders are applied"), || {
        let applied = instance.metric("clvstream_records_total{outcome=\"applied\"}");
        (applied as u64 == records).then_some(())
    });
}

fn tail(app: &App, args: &[&str]) -> Vec<Value> {
    let shown = app.run("reader", &[&["tail", "--json"], args].concat());
    let lines = shown
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[test]
fn topics_and_profiles_are_shown_beside_a_running_service() {
    let test = "topics_and_profiles_are_shown_beside_a_running_service";
    let Some(broker) = Broker::shared(test) else {
        return;
    };
    let settings = ["partitions=2", "input.topics=[\"orders\"]"];
    let app = App::new(PROGRAM, broker.bootstrap(), "shown", &settings);
    let orders = format!("{}.orders", app.id);
    create(broker, &[&orders], TASKS, 1 << 20);
    let mut instance = app.start("one");
    instance.wait_ready();
    // One commit each, so that markers stand between the outputs.
    for (number, order) in (1..).zip(["o-1", "o-2", "o-3", "o-4"]) {
        put(broker, &app, "erika", order, "10.00");
        wait_applied(&instance, number);
    }
    put(broker, &app, "erika", "o-5", "ten");
    until("the dead letter is there", || {
        let letters = instance.metric("clvstream_dead_letters_total");
        (letters as u64 == 1).then_some(())
    });
    let rebalances = instance.metric("clvstream_rebalances_total");

    // Headers, keys, values; the last one although markers follow it.
    let letters = tail(&app, &["dlq", "--from", "beginning"]);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["headers"]["clv_error_class"], "amount_malformed");
    assert_eq!(letters[0]["headers"]["clv_topic"], orders.as_str());
    assert_eq!(letters[0]["value"]["order_id"], "o-5");
    let updates = tail(&app, &["clv.updates", "--from", "beginning"]);
    assert!(updates.len() >= 4, "{updates:?}");
    assert!(updates.iter().all(|update| update["key"] == "erika"));
    let last = tail(&app, &["clv.updates", "--from", "-1"]);
    assert_eq!(last.as_slice(), &updates[updates.len() - 1..]);
    let two = tail(&app, &["orders", "--from", "1", "--limit", "2"]);
    let offsets: Vec<&Value> = two.iter().map(|record| &record["offset"]).collect();
    assert_eq!(offsets, [1, 2]);
    let missing = app
        .command("reader", &["tail", "nothing"])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(1));

    let profile = app.run("reader", &["profile", "erika", "--json"]);
    let profile: Value = serde_json::from_str(&profile).unwrap();
    assert_eq!(
        (&profile["orders"], &profile["gross"]),
        (&4.into(), &"40.00".into())
    );
    let listed = app.run("reader", &["topics", "--json"]);
    assert!(listed.contains(&orders), "{listed}");

    // What comes later is shown to those who follow; the same folder can be looked into, too.
    let mut following = app
        .command(
            "one",
            &["tail", "orders", "--from", "-1", "--follow", "-n", "2"],
        )
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0];
    let mut shown = following.stdout.take().unwrap();
    put(broker, &app, "erika", "o-6", "2.50");
    shown.read_exact(&mut first).unwrap();
    let mut rest = String::new();
    shown.read_to_string(&mut rest).unwrap();
    assert!(following.wait().unwrap().success());
    assert!(rest.contains("o-5") && rest.contains("o-6"), "{rest}");

    // Nobody noticed.
    wait_applied(&instance, 5);
    assert_eq!(instance.metric("clvstream_rebalances_total"), rebalances);
    assert_eq!(instance.metric("clvstream_fenced_total") as u64, 0);
    let profile = app.run("one", &["profile", "erika", "--json"]);
    assert!(profile.contains("\"42.50\""), "{profile}");
    assert!(instance.terminate().success());
}
