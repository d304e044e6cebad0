//! Records whose schemas only a registry has, which is there, or down, or does not know them.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fleet::{App, Instance, until};
use kafkatest::Broker;

use crate::PROGRAM;
use crate::avro;
use crate::fake::{Fake, not_found};
use crate::raw::{Raw, create, produce, read_committed};
use crate::tables::{customers, profiles};

const TASKS: u32 = 2;

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// An application with one input and the registry at `address`.
fn app(broker: &Broker, name: &str, address: SocketAddr, settings: &[&str]) -> App {
    let registry = format!("registry.url=http://{address}");
    let common = [
        "partitions=2",
        "workers=1",
        "input.topics=[\"orders\"]",
        registry.as_str(),
    ];
    let app = App::new(
        PROGRAM,
        broker.bootstrap(),
        name,
        &[&common, settings].concat(),
    );
    let orders = format!("{}.orders", app.id);
    create(broker, &[&orders], TASKS, 1 << 20);
    app
}

fn put(broker: &Broker, app: &App, partition: u32, values: Vec<Vec<u8>>) {
    let raw = values.into_iter().map(|value| Raw {
        topic: format!("{}.orders", app.id),
        partition,
        key: None,
        value: Some(value),
        timestamp: now(),
    });
    produce(broker, &raw.collect::<Vec<_>>());
}

fn json_order(customer: &str, order: &str) -> Vec<u8> {
    let time = now();
    format!(
        "{{\"type\": \"order_completed\", \"event_id\": \"{order}\", \"event_time\": {time}, \
         \"customer_id\": \"{customer}\", \"order_id\": \"{order}\", \"total\": \"10.00\"}}"
    )
    .into_bytes()
}

fn applied(instances: &[&Instance]) -> u64 {
    let of = |instance: &&Instance| instance.metric("clvstream_records_total{outcome=\"applied\"}");
    instances.iter().map(of).sum::<f64>() as u64
}

fn wait_applied(instances: &[&Instance], records: u64) {
    until(&format!("{records} records are applied"), || {
        let so_far = applied(instances);
        assert!(so_far <= records, "{so_far} of {records}");
        (so_far == records).then_some(())
    });
}

fn dead_letters(broker: &Broker, app: &App) -> usize {
    read_committed(broker, &format!("{}.dlq", app.id)).len()
}

/// An address where nobody listens, for now.
fn nobody() -> SocketAddr {
    Fake::start().address
}

#[test]
fn records_wait_for_a_registry_that_is_down_and_hold_up_no_other_task() {
    let test = "records_wait_for_a_registry_that_is_down_and_hold_up_no_other_task";
    let Some(broker) = Broker::shared(test) else {
        return;
    };
    let address = nobody();
    let app = app(broker, "schemas-down", address, &[]);
    let mut one = app.start("one");
    one.wait_ready();

    // In the first task's input: what is known, what is not, and again what is known.
    let theirs: Vec<String> = customers(0, TASKS).take(5).collect();
    let mut values = vec![json_order(&theirs[0], "known-1")];
    for (number, customer) in (0..40).zip(theirs.iter().cycle()) {
        let order = format!("erp-{number}");
        values.push(avro::order(4711, customer, &order, 2_000, now()));
    }
    values.push(json_order(&theirs[1], "known-2"));
    put(broker, &app, 0, values);
    wait_applied(&[&one], 1);

    let line = one.logged("records wait for their schema");
    for part in [
        "\"partition\":0",
        "\"offset\":1",
        "\"schema\":4711",
        ".orders\"",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(!line.contains("customer-"), "{line}");
    until("failures are counted", || {
        (one.metric("clvstream_registry_failures_total") > 1.0).then_some(())
    });
    assert_eq!(one.metric("clvstream_registry_pending_schemas") as u64, 1);
    until("the lag is shown", || {
        (one.metric("clvstream_lag_records{task=\"0\"}") as u64 == 41).then_some(())
    });

    // The second task goes on, before and after it is another process's, or the first one is.
    let others: Vec<String> = customers(1, TASKS).take(5).collect();
    let some = |round: &str| {
        let order = |customer: &String| json_order(customer, &format!("{round}-{customer}"));
        others.iter().map(order).collect::<Vec<_>>()
    };
    put(broker, &app, 1, some("alone"));
    wait_applied(&[&one], 6);
    let mut two = app.start("two");
    until("each has a task", || {
        let owned = [&one, &two].map(|i| i.metric("clvstream_tasks_owned") as u64);
        (owned == [1, 1]).then_some(())
    });
    put(broker, &app, 1, some("shared"));
    wait_applied(&[&one, &two], 11);
    for instance in [&one, &two] {
        instance.wait_ready();
    }
    assert_eq!(dead_letters(broker, &app), 0);

    // It comes up, and everything is there once.
    let registry = Fake::at(&address.to_string());
    registry.schema(4711, &avro::answer());
    wait_applied(&[&one, &two], 11 + 41);
    assert!(registry.asked(4711) >= 1);
    for instance in [&mut one, &mut two] {
        until("nothing is pending", || {
            let pending = instance.metric("clvstream_registry_pending_schemas");
            (pending as u64 == 0).then_some(())
        });
        assert!(instance.terminate().success());
    }
    let found = profiles(&app);
    for (number, customer) in theirs.iter().enumerate() {
        let known = u64::from(number < 2);
        let gross = format!("{}.00", 8 * 20 + known * 10);
        assert_eq!(found[customer]["orders"], (8 + known).to_string());
        assert_eq!(found[customer]["gross"], gross, "{customer}");
    }
    for customer in &others {
        assert_eq!(found[customer]["orders"], "2");
    }
    assert_eq!(found.len(), 10);
    assert_eq!(dead_letters(broker, &app), 0);
}

#[test]
fn an_id_that_the_registry_does_not_know_is_a_dead_letter() {
    let test = "an_id_that_the_registry_does_not_know_is_a_dead_letter";
    let Some(broker) = Broker::shared(test) else {
        return;
    };
    let registry = Fake::start();
    registry.schema(4711, &avro::answer());
    registry.on("GET /schemas/ids/4712", not_found());
    let app = app(broker, "schemas-unknown", registry.address, &[]);
    let instance = app.start("one");
    let customer = customers(0, TASKS).next().unwrap();
    let of = |id, order| avro::order(id, &customer, order, 5_050, now());
    let values = vec![of(4711, "a"), of(4712, "b"), of(4711, "c")];
    put(broker, &app, 0, values.clone());
    wait_applied(&[&instance], 2);
    let letters = read_committed(broker, &format!("{}.dlq", app.id));
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].headers["clv_error_class"], "unknown_schema");
    assert_eq!(letters[0].headers["clv_offset"], "1");
    assert_eq!(letters[0].value.as_ref(), Some(&values[1]));
    let found = profiles(&app);
    assert_eq!(found[&customer]["gross"], "101.00");
}

#[test]
fn records_are_given_up_after_the_time_that_is_set() {
    let test = "records_are_given_up_after_the_time_that_is_set";
    let Some(broker) = Broker::shared(test) else {
        return;
    };
    let given = ["registry.give_up_after=3s"];
    let app = app(broker, "schemas-given-up", nobody(), &given);
    let instance = app.start("one");
    instance.wait_ready();
    let customer = customers(0, TASKS).next().unwrap();
    let of = |order| avro::order(4711, &customer, order, 100, now());
    let values = vec![of("a"), of("b"), json_order(&customer, "c")];
    let started = Instant::now();
    put(broker, &app, 0, values.clone());
    wait_applied(&[&instance], 1);
    assert!(started.elapsed() >= Duration::from_secs(3));
    let letters = read_committed(broker, &format!("{}.dlq", app.id));
    assert_eq!(letters.len(), 2);
    for (letter, value) in letters.iter().zip(&values) {
        assert_eq!(letter.headers["clv_error_class"], "unknown_schema");
        let message = &letter.headers["clv_error_message"];
        assert!(message.contains("given up after"), "{message}");
        assert_eq!(letter.value.as_ref(), Some(value));
    }
}
