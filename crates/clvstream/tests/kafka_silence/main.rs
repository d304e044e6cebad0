//! On a real broker: an input that falls silent holds a task's clock for as long as `time.idle_after` says, and no
//! longer. Then a control record in the task's partition of `internal.routed` leaves it out, the clock moves by
//! the inputs that go on, and what had been due fires, although the silent one never spoke again.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::Instant;

use domain::event::{Body, Event, OrderCompleted, Product};
use domain::money::{Currency, Minor};
use domain::time::{DAY_MS, HOUR_MS, TimeMs};
use engine::port::TopicPartition;
use fleet::{App, PATIENCE, committed, connect, places, until};
use kafkalog::KafkaLogError;
use kafkatest::Broker;
use runtime::Deployment;
use runtime::load::{Delivery, Item, load};
use runtime::workers::{Shared, wall_clock};
use serde_json::Value;
use wire::routed::Routed;
use wire::{Decoder, InputRules, SchemaSet};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clvstream");
const DOLLARS: Currency = Currency {
    code: *b"USD",
    decimals: 2,
};
/// Nobody is silent for that long here.
const PATIENT: &str = "time.idle_after=1h";
const IMPATIENT: &str = "time.idle_after=2s";
/// Whoever has ordered once has lapsed by then.
const LATER_MS: i64 = 600 * DAY_MS;

/// The application as this process sees it.
fn seen(app: &App) -> Deployment {
    let settings = [
        format!("application_id={}", app.id),
        format!("kafka.bootstrap={}", app.bootstrap()),
        format!("data_dir={}", app.data_dir("onlooker").display()),
    ];
    let loaded = config::parse("test", "", &settings).unwrap();
    Deployment::open(&loaded, None, wall_clock()).unwrap()
}

fn event(id: &str, customer: &str, time: TimeMs, body: Body) -> Event {
    Event {
        id: id.into(),
        time,
        customer_id: Some(customer.into()),
        anonymous_id: None,
        session_id: None,
        channel: None,
        campaign: None,
        country: None,
        body,
    }
}

fn order(customer: &str, time: TimeMs) -> Event {
    let body = OrderCompleted {
        order_id: "o1".into(),
        partial: false,
        subtotal: Some(Minor(4_000)),
        discount: Minor::ZERO,
        coupon: None,
        tax: Minor::ZERO,
        shipping: Minor::ZERO,
        total: Some(Minor(4_000)),
        cogs: None,
        lines: Vec::new(),
    };
    event("o1", customer, time, Body::OrderCompleted(Box::new(body)))
}

fn click(id: &str, time: TimeMs) -> Event {
    let product = Product {
        product_id: "p1".into(),
        category: None,
        price: None,
    };
    event(id, "bob", time, Body::ProductViewed(product))
}

/// Writes one event to an input topic.
fn send(deployment: &Deployment, topic: &str, event: Event) {
    let name = event.id.to_string();
    let items = std::iter::once(Ok(Item::Event(topic.into(), Box::new(event))));
    let shared = Arc::new(Shared::default());
    let loaded = load(
        deployment,
        &name,
        &Delivery::PLAIN,
        items,
        &shared,
        &mut |_| {},
    );
    assert_eq!(loaded.unwrap().events, 1);
}

/// The values of the committed records of partitions.
fn values(app: &App, places: &[TopicPartition]) -> Vec<Vec<u8>> {
    let cluster = connect(app.bootstrap(), &app.id);
    let spans = cluster.spans_of(places).unwrap();
    let mut values = Vec::new();
    let mut reader = cluster.reader(spans).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let read = reader.read_all::<KafkaLogError>(&|| Instant::now() < deadline, |seen| {
        values.extend(seen.value.map(<[u8]>::to_vec));
        Ok(())
    });
    read.unwrap();
    values
}

/// The transitions of a customer into a stage.
fn entered(app: &App, customer: &str, stage: &str) -> Vec<Value> {
    let rules = InputRules::new(DOLLARS);
    let decoder = Decoder::new(rules, &SchemaSet::embedded().unwrap()).unwrap();
    let values = values(app, &places(&app.id, "lifecycle.transitions", 1));
    let transitions = values.iter().map(|value| decoder.to_json(value).unwrap());
    transitions
        .filter(|one| one["customer"] == customer && one["to"] == stage)
        .collect()
}

/// The control records that name silent inputs, each with the inputs that it names.
fn said(app: &App) -> Vec<Vec<(String, u32)>> {
    let values = values(app, &places(&app.id, "internal.routed", 1));
    let routed = values.iter().map(|value| Routed::decode(value).unwrap());
    let silent = routed.filter_map(|routed| match routed {
        Routed::Silent { inputs } => Some(inputs),
        _ => None,
    });
    let named = silent.map(|inputs| {
        let inputs = inputs.iter();
        inputs
            .map(|(topic, partition)| (topic.to_string(), *partition))
            .collect()
    });
    named.collect()
}

/// Stream time of the only task, as the changelog has it.
fn clock(app: &App) -> TimeMs {
    let tasks = seen(app).open_all().unwrap();
    tasks[0].task.bookkeeping().clock.stream_time
}

fn worked_off(app: &App) {
    until("everything is consumed", || {
        let status = app.run("onlooker", &["status", "--json"]);
        let status: Value = serde_json::from_str(&status).unwrap();
        (status["tasks"][0]["waiting"] == 0).then_some(())
    });
}

#[test]
fn timers_fire_although_one_input_never_speaks_again() {
    let Some(broker) = Broker::shared("timers_fire_although_one_input_never_speaks_again") else {
        return;
    };
    let settings = ["partitions=1", "workers=1"];
    let app = App::new(PROGRAM, broker.bootstrap(), "silence", &settings);
    let mut instance = app.start_with("a", &[PATIENT]);
    instance.wait_ready();
    // So long ago that the wall clock does not move stream time.
    let start = wall_clock().minus(LATER_MS + 100 * DAY_MS);
    let later = start.plus(LATER_MS);
    let onlooker = seen(&app);
    send(&onlooker, "orders", order("ann", start));
    send(&onlooker, "clickstream", click("c-first", start));
    send(&onlooker, "clickstream", click("c-later", later));
    worked_off(&app);
    let status = instance.terminate();
    assert!(status.success(), "{status}: {}", instance.log());
    assert_eq!(clock(&app), start, "orders hold the clock");
    assert_eq!(said(&app), Vec::<Vec<_>>::new());
    assert!(!entered(&app, "ann", "new").is_empty());
    assert_eq!(entered(&app, "ann", "lapsed"), Vec::<Value>::new());

    // Clicks go on, or nobody waits in vain and nothing is said.
    let mut instance = app.start_with("a", &[IMPATIENT]);
    instance.wait_ready();
    let mut hours = 0;
    let lapsed = until("a timer has fired", || {
        hours += 1;
        let time = later.plus(hours * HOUR_MS);
        send(&onlooker, "clickstream", click(&format!("c-{hours}"), time));
        entered(&app, "ann", "lapsed").pop()
    });
    assert_eq!(lapsed["reason"]["kind"], "timer", "{lapsed}");
    assert_eq!(lapsed["cause_event_id"], Value::Null, "{lapsed}");
    let orders = format!("{}.orders", app.id);
    let said = said(&app);
    assert!(!said.is_empty());
    for inputs in said {
        assert_eq!(inputs, [(orders.clone(), 0)]);
    }
    let cluster = connect(app.bootstrap(), &app.id);
    let given = committed(&cluster, &places(&app.id, "orders", 1));
    assert_eq!(given, 1, "it never spoke again");

    worked_off(&app);
    let status = instance.terminate();
    assert!(status.success(), "{status}: {}", instance.log());
    assert!(clock(&app) >= later);
    // Whoever replays it comes to the same.
    app.run("reader", &["verify", "--quiet"]);
}
