//! Models of value in the stream: what is predicted, when it is told, and what is counted for the next fit.

use std::collections::BTreeMap;

use clv::histogram::{OrderHistogram, SpendHistogram};
use domain::definitions::Definitions;
use domain::event::Event;
use domain::prediction::ModelParameters;
use domain::purchases::{Purchases, Statistics};
use domain::time::{DAY_MS, HOUR_MS, MINUTE_MS, TimeMs};
use engine::repartition::{Kept, kept};
use proptest::prelude::*;
use serde_json::Value;
use wire::routed::Routed;

use crate::generate::{delivered, shop};
use crate::support::events::{START, cancel, model, order, refund, view};
use crate::support::rig::{Rig, definitions};

/// What `clv.updates` and `lifecycle.transitions` said of a customer, in order of their numbers.
fn said(rig: &Rig, topic: &str, customer: &str) -> Vec<Value> {
    let outputs = rig.outputs();
    let of_topic = outputs
        .iter()
        .filter(|((name, _), _)| name.ends_with(topic));
    let records = of_topic.flat_map(|(_, records)| records);
    let mut all: Vec<Value> = records.map(|record| rig.json(record)).collect();
    all.retain(|json| json["customer"] == customer);
    all.sort_by_key(|json| json["sequence"].as_u64());
    all
}

fn updates(rig: &Rig, customer: &str) -> Vec<Value> {
    said(rig, "clv.updates", customer)
}

/// Transitions of the overlay: when, to where, by which rule, from which cause.
fn activity(rig: &Rig, customer: &str) -> Vec<(String, String, String, String)> {
    let mut all = said(rig, "lifecycle.transitions", customer);
    all.retain(|json| json["model"] == "activity");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |json: Value| {
        let reason = &json["reason"];
        let (to, rule) = (text(&json["to"]), text(&reason["rule"]));
        (text(&json["as_of"]), to, rule, text(&reason["kind"]))
    };
    all.into_iter().map(one).collect()
}

/// The instant at which P(alive) under MBG/NBD has fallen to `share` of what it was on the day of the last order,
/// from the formula as it stands in docs/models.md.
fn falls_to(model: &ModelParameters, x: f64, recency: f64, first: TimeMs, share: f64) -> TimeMs {
    let ModelParameters { r, alpha, a, b, .. } = *model;
    let threshold = share / (1.0 + a / (b + x));
    let odds = (1.0 - threshold) / threshold * (b + x) / a;
    let age = (alpha + recency) * odds.powf(1.0 / (r + x)) - alpha;
    first
        .day()
        .start()
        .plus((age * DAY_MS as f64).ceil() as i64)
}

/// Another customer's events, and one record of each input, move the clock.
fn clock_to(rig: &mut Rig, time: TimeMs) {
    rig.control_all(&Routed::EndOfReplay { until: time });
    rig.run(1_000);
}

#[test]
fn r11_who_stops_buying_is_at_risk_at_the_computed_instant_without_an_event() {
    let mut rig = Rig::new(1);
    // One that gives up on customers sooner than their own rhythm would.
    let model = ModelParameters {
        r: 1.0,
        alpha: 8.0,
        ..model(1)
    };
    rig.control_all(&Routed::Model(model));
    let ordered = [0, 10, 20].map(|day| START.plus(day * DAY_MS + 5 * HOUR_MS));
    for (nth, time) in ordered.into_iter().enumerate() {
        rig.send(&order("ann", &format!("o{nth}"), time, 4_000));
    }
    rig.run(1_000);
    let half = falls_to(&model, 2.0, 20.0, START, 0.5);
    let fifth = falls_to(&model, 2.0, 20.0, START, 0.2);
    assert!(half < START.plus(400 * DAY_MS) && half < fifth, "{half}");
    clock_to(&mut rig, half.minus(1));
    let before = activity(&rig, "ann");
    assert_eq!(before.last().map(|t| t.1.as_str()), Some("active"));
    let told = updates(&rig, "ann").len();
    clock_to(&mut rig, half);
    let after = activity(&rig, "ann");
    let [.., at_risk] = after.as_slice() else {
        panic!("{after:?}");
    };
    let wanted = (half.to_string(), "at_risk", "p_alive_below_half", "timer");
    assert_eq!(
        (at_risk.0.clone(), &*at_risk.1, &*at_risk.2, &*at_risk.3),
        wanted
    );
    // Its value goes with it.
    let updates = updates(&rig, "ann");
    let [.., update] = updates.as_slice() else {
        panic!("nothing was told");
    };
    assert_eq!(updates.len(), told + 1);
    assert_eq!(
        (&update["kind"], &update["as_of"]),
        (&"timer".into(), &half.to_string().into())
    );
    let p_alive = update["predicted"]["p_alive"].as_f64().expect("a number");
    let then = 1.0 / (1.0 + 0.9 / 3.6);
    assert!((p_alive - then / 2.0).abs() < 1e-6, "{p_alive}");
    // An order brings him back, as of the order.
    let again = half.plus(DAY_MS);
    rig.send(&order("ann", "o9", again, 4_000));
    rig.run(1_000);
    let back = activity(&rig, "ann");
    let last = back.last().expect("a transition");
    assert_eq!(
        (last.0.clone(), &*last.1, &*last.2),
        (again.to_string(), "active", "ordered_again")
    );
}

#[test]
fn without_a_model_there_is_no_prediction_and_history_and_formula_go_on() {
    let mut rig = Rig::new(1);
    rig.send(&order("ann", "o1", START, 4_000));
    rig.run(10);
    let updates = updates(&rig, "ann");
    assert_eq!(updates.len(), 1);
    assert!(updates[0]["predicted"].is_null());
    assert!(updates[0]["formula"].is_object());
}

#[test]
fn r02_a_prediction_is_told_when_it_is_news() {
    let mut rig = Rig::new(1);
    let patient = ModelParameters { a: 0.3, ..model(1) };
    rig.control_all(&Routed::Model(patient));
    rig.send(&order("ann", "o1", START, 4_000));
    rig.send(&order("ann", "o2", START.plus(9 * DAY_MS), 4_000));
    rig.run(10);
    assert_eq!(updates(&rig, "ann").len(), 2);
    let first = updates(&rig, "ann")[1]["predicted"].clone();
    assert_eq!(
        (&first["model_version"], &first["horizon_days"]),
        (&1.into(), &365.into())
    );
    let value = |predicted: &Value| predicted["value"]["expected"].as_i64().expect("an amount");
    let (low, high) = (&first["value"]["low"], &first["value"]["high"]);
    assert!(low.as_i64() <= Some(value(&first)) && Some(value(&first)) <= high.as_i64());
    // Browsing an hour later changes next to nothing.
    rig.send(&view("e1", "ann", START.plus(9 * DAY_MS + HOUR_MS)));
    rig.run(10);
    assert_eq!(updates(&rig, "ann").len(), 2);
    // Three weeks later it tells.
    rig.send(&view("e2", "ann", START.plus(30 * DAY_MS)));
    rig.run(10);
    let all = updates(&rig, "ann");
    let last = all.last().expect("an update");
    assert_eq!(
        (&last["kind"], &last["delta"]),
        (&"event".into(), &0.into())
    );
    // So does whatever looks at him in between, if it is news.
    for pair in all[1..].windows(2) {
        let [before, after] = [&pair[0], &pair[1]].map(|update| value(&update["predicted"]) as f64);
        assert!((before - after).abs() > definitions().epsilon * before.max(after));
    }
}

#[test]
fn a_model_reaches_who_is_silent_in_the_background_and_everybody_once() {
    let customers: Vec<String> = (0..7).map(|n| format!("c{n}")).collect();
    let mut rig = Rig::new(2);
    for (nth, customer) in customers.iter().enumerate() {
        let day = START.plus(nth as i64 * DAY_MS);
        rig.send(&order(customer, &format!("o-{customer}"), day, 2_000));
        rig.send(&order(
            customer,
            &format!("p-{customer}"),
            day.plus(10 * DAY_MS),
            2_000,
        ));
    }
    rig.send(&view("visitor", "someone", START));
    let now = START.plus(100 * DAY_MS);
    clock_to(&mut rig, now);
    let half = falls_to(&model(1), 1.0, 10.0, START, 0.5);
    assert!(half < now, "{half}");
    rig.control_all(&Routed::Model(model(1)));
    rig.run(1_000);
    assert!(
        updates(&rig, "c0")
            .iter()
            .all(|update| update["predicted"].is_null())
    );
    // Whoever comes by himself is there already.
    rig.send(&view("e1", "c3", now.plus(HOUR_MS)));
    rig.run(1_000);
    assert_eq!(updates(&rig, "c3").last().expect("one")["kind"], "model");
    for _ in 0..6 {
        rig.control_all(&Routed::Rescore { profiles: 2 });
        rig.run(1_000);
    }
    for task in 0..2 {
        assert_eq!(rig.book(task).rescored, None, "task {task} is done");
    }
    for customer in &customers {
        let by_model: Vec<Value> = updates(&rig, customer)
            .into_iter()
            .filter(|update| update["kind"] == "model")
            .collect();
        let [update] = by_model.as_slice() else {
            panic!("{customer}: {by_model:?}");
        };
        assert_eq!(update["predicted"]["model_version"], 1);
        assert!(update["as_of"].as_str() >= Some(&*now.to_string()));
    }
    // What the model says of the past has its own instant.
    let of_first = activity(&rig, "c0");
    let last = of_first.last().expect("a transition");
    assert_eq!(
        (&*last.0, &*last.1, &*last.3),
        (&*half.to_string(), "at_risk", "model")
    );
    assert!(updates(&rig, "someone").is_empty());
}

#[test]
fn a_model_that_is_not_newer_changes_nothing_and_a_newer_one_takes_over_half_way() {
    let mut rig = Rig::new(1);
    for customer in ["ann", "bob", "cid"] {
        rig.send(&order(customer, &format!("o-{customer}"), START, 2_000));
    }
    clock_to(&mut rig, START.plus(DAY_MS));
    let versions = |rig: &Rig, customer: &str| -> Vec<Value> {
        let updates = updates(rig, customer).into_iter();
        updates
            .map(|update| update["predicted"]["model_version"].clone())
            .collect()
    };
    rig.control_all(&Routed::Model(model(2)));
    rig.control_all(&Routed::Rescore { profiles: 1 });
    rig.control_all(&Routed::Model(model(1)));
    rig.control_all(&Routed::Rescore { profiles: 1 });
    rig.run(1_000);
    assert_eq!(versions(&rig, "ann"), [Value::Null, 2.into()]);
    assert_eq!(versions(&rig, "cid"), [Value::Null]);
    rig.control_all(&Routed::Model(model(3)));
    rig.run(1_000);
    rig.crash();
    rig.control_all(&Routed::Rescore { profiles: 9 });
    rig.run(1_000);
    assert_eq!(versions(&rig, "ann"), [Value::Null, 2.into(), 3.into()]);
    assert_eq!(versions(&rig, "cid"), [Value::Null, 3.into()]);
    let known = Kept::read(rig.store(0)).expect("state").models;
    assert_eq!(known.keys().copied().collect::<Vec<_>>(), [3]);
}

#[test]
fn whoever_is_extreme_has_finite_values() {
    let mut rig = Rig::new(1);
    rig.control_all(&Routed::Model(model(1)));
    // More is given back than was spent.
    rig.send(&order("ann", "a1", START, 1_000));
    rig.send(&order("ann", "a2", START.plus(3 * DAY_MS), 1_000));
    rig.send(&refund("ann", "a2", START.plus(4 * DAY_MS), 9_000));
    // The only order is cancelled.
    rig.send(&order("bob", "b1", START, 1_000));
    rig.send(&cancel("bob", "b1", START.plus(DAY_MS)));
    // Four hundred orders within ten days.
    for nth in 0..400 {
        let time = START.plus(nth * 36 * MINUTE_MS);
        rig.send(&order("cid", &format!("c{nth}"), time, 100));
    }
    // The first order is a million.
    rig.send(&order("dee", "d1", START, 100_000_000));
    rig.send(&order("dee", "d2", START.plus(30 * DAY_MS), 2_000));
    rig.run(10_000);
    clock_to(&mut rig, START.plus(700 * DAY_MS));
    let last = |customer: &str| updates(&rig, customer).pop().expect("an update");
    let mut found = BTreeMap::new();
    for customer in ["ann", "bob", "cid", "dee"] {
        for update in updates(&rig, customer) {
            let predicted = &update["predicted"];
            if predicted.is_null() {
                continue;
            }
            let number = |of: &Value| of.as_f64().expect("a finite number");
            let (p_alive, orders) = (number(&predicted["p_alive"]), number(&predicted["orders"]));
            assert!((0.0..=1.0).contains(&p_alive), "{update}");
            assert!((0.0..10_000.0).contains(&orders), "{update}");
            let value = &predicted["value"];
            let [low, expected, high] = ["low", "expected", "high"].map(|of| number(&value[of]));
            assert!(0.0 <= low && low <= high && expected >= 0.0, "{update}");
            found.insert(customer, expected);
        }
    }
    assert!(last("bob")["predicted"].is_null(), "the models say nothing");
    assert_eq!(last("bob")["historic"]["net"], 0);
    // A first order says nothing of the next one's value: not millions.
    assert!(found["dee"] < 100_000_000.0, "{found:?}");
    assert!(found.contains_key("ann") && found.contains_key("cid"));
}

/// All customers as their books have them.
fn counted(rig: &mut Rig, definitions: &Definitions) -> (OrderHistogram, SpendHistogram) {
    let (mut orders, mut spend) = (OrderHistogram::default(), SpendHistogram::default());
    for (key, view) in rig.views() {
        if key.starts_with("guest:") || key.starts_with("anon:") {
            continue;
        }
        let purchases = Purchases::of_book(&view.book, TimeMs::MAX, definitions);
        let statistics: Option<Statistics> = purchases.statistics();
        assert_eq!(view.purchases(), statistics.as_ref(), "{key}");
        orders.replace(None, statistics.as_ref());
        spend.replace(None, statistics.as_ref());
    }
    (orders, spend)
}

fn loaded(tasks: u32, arrivals: &[Event]) -> Rig {
    let mut rig = Rig::new(tasks);
    arrivals.iter().for_each(|event| rig.send(event));
    rig.run(7);
    rig
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn cells_are_those_of_all_customers_however_orders_come_and_go(
        events in shop(5, 120), seed in any::<u64>(), tasks in 1..4_u32, to in 1..5_u32,
    ) {
        let mut rig = loaded(tasks, &delivered(&events, seed));
        let expected = counted(&mut rig, &definitions());
        let read = |rig: &mut Rig, tasks: u32| -> Vec<Kept> {
            let kept = (0..tasks as usize).map(|task| Kept::read(rig.store(task)));
            kept.map(|kept| kept.expect("state")).collect()
        };
        let parts = read(&mut rig, tasks);
        let sum = kept(&parts, 1).remove(0);
        prop_assert_eq!(&(sum.orders, sum.spend), &expected);
        // Another number of tasks has the same, and goes on with it.
        let mut rig = rig.repartition(to);
        rig.send(&order("c0", "one-more", START.plus(900 * DAY_MS), 700));
        rig.run(100);
        let expected = counted(&mut rig, &definitions());
        let sum = kept(&read(&mut rig, to), 1).remove(0);
        prop_assert_eq!(&(sum.orders, sum.spend), &expected);
    }
}

/// A shop with three customers of one order each, who stand under no model.
fn three_customers() -> Rig {
    let mut rig = Rig::new(1);
    for (nth, customer) in (0..).zip(["anne", "bob", "carla"]) {
        let time = START.plus(nth * MINUTE_MS);
        rig.send(&order(customer, &format!("o-{customer}"), time, 1_000));
    }
    rig.run(100);
    rig
}

fn versions(rig: &mut Rig) -> Vec<u32> {
    rig.profiles()
        .values()
        .map(|profile| profile.model)
        .collect()
}

#[test]
fn who_is_asked_for_no_profiles_has_not_come_to_the_end_of_them() {
    let mut rig = three_customers();
    rig.control_all(&Routed::Model(model(1)));
    rig.control_all(&Routed::Rescore { profiles: 2 });
    rig.control_all(&Routed::Rescore { profiles: 0 });
    rig.run(100);
    assert_eq!(rig.book(0).rescored.as_deref(), Some("bob"));
    assert_eq!(versions(&mut rig), [1, 1, 0]);
    rig.control_all(&Routed::Model(model(2)));
    rig.control_all(&Routed::Rescore { profiles: 0 });
    rig.run(100);
    assert_eq!(rig.book(0).rescored.as_deref(), Some(""), "it begins anew");
    rig.control_all(&Routed::Rescore { profiles: 4 });
    rig.run(100);
    assert_eq!(rig.book(0).rescored, None);
    assert_eq!(versions(&mut rig), [2, 2, 2]);
}
