//! Timers: never early, each once, whatever lies between arming and firing.

use std::collections::BTreeMap;

use domain::definitions::Definitions;
use domain::event::Event;
use domain::profile::Profile;
use domain::time::{DAY_MS, MINUTE_MS, TimeMs};
use proptest::prelude::*;
use wire::routed::Routed;

use crate::support::events::{START, order};
use crate::support::rig::{Rig, definitions};

/// What each customer's outputs by timers must be, found with his events alone.
fn expected(events: &[Event], until: TimeMs, definitions: &Definitions) -> BTreeMap<String, usize> {
    let mut profiles: BTreeMap<String, (Profile, Vec<domain::change::Change>)> = BTreeMap::new();
    for event in events {
        let key = event.owner().expect("an owner").key().to_string();
        let (profile, changes) = profiles.entry(key).or_default();
        profile.take(event, TimeMs::MIN, definitions, changes);
    }
    let mut count = BTreeMap::new();
    for (who, (mut profile, mut changes)) in profiles {
        profile.advance(until, definitions, &mut changes);
        for change in changes {
            let what = match &change.what {
                domain::change::What::Clv(u) => format!("clv {:?}", u.value_status),
                domain::change::What::Stage(t) => format!("{} -> {}", t.model, t.to),
                domain::change::What::Segment(s) => format!("{:?} {}", s.action, s.segment),
            };
            let cause = change.cause().as_str();
            *count
                .entry(format!("{who} {} {cause} {what}", change.as_of))
                .or_default() += 1;
        }
    }
    count
}

/// The same of what was said.
fn said(rig: &Rig) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for record in rig.outputs().values().flatten() {
        let json = rig.json(record);
        let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
        let (cause, what) = if json["historic"].is_object() {
            let status = match text(&json["value_status"]).as_str() {
                "final" => "Final",
                _ => "Interim",
            };
            (text(&json["kind"]), format!("clv {status}"))
        } else if json["model"].is_string() {
            let what = format!("{} -> {}", text(&json["model"]), text(&json["to"]));
            (text(&json["reason"]["kind"]), what)
        } else {
            let action = match text(&json["action"]).as_str() {
                "entered" => "Entered",
                _ => "Exited",
            };
            let what = format!("{action} {}", text(&json["segment"]));
            (text(&json["reason"]["kind"]), what)
        };
        let who = text(&json["customer"]);
        let as_of = text(&json["as_of"]);
        *count
            .entry(format!("{who} {as_of} {cause} {what}"))
            .or_default() += 1;
    }
    count
}

/// The latest `as_of` of a timer's output among those said since the last call.
fn timers_of(lines: &str) -> impl Iterator<Item = &str> {
    lines
        .lines()
        .filter(|l| l.split(' ').nth(3) == Some("timer"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_timer_fires_once_at_its_instant(
        steps in proptest::collection::vec((0..12_u8, 0..40 * DAY_MS, 1..9_000_i64), 1..60),
        budget in 1..30_usize, crashes in any::<bool>(),
    ) {
        let mut time = START;
        let mut events = Vec::new();
        for (at, (who, gap, cents)) in steps.into_iter().enumerate() {
            time = time.plus(gap);
            events.push(order(&format!("c{who}"), &format!("o{at}"), time, cents));
        }
        let until = time.plus(500 * DAY_MS);
        let mut rig = Rig::new(1);
        for event in &events {
            rig.send(event);
            rig.run(budget);
            if crashes {
                rig.crash();
            }
            let frontier = rig.book(0).clock.frontier(10 * MINUTE_MS);
            let lines = rig.said();
            for line in timers_of(&lines) {
                let as_of = line.split(' ').nth(2).expect("an instant");
                // An order brings its own customer's view up to its own instant.
                let now = frontier.max(event.time).to_string();
                prop_assert!(as_of <= now.as_str(), "early at {now}: {line}");
            }
        }
        rig.control(0, &Routed::EndOfReplay { until });
        rig.run(budget);
        let expected = expected(&events, until, &definitions());
        let said = said(&rig);
        prop_assert_eq!(said, expected);
    }
}

#[test]
fn thousands_due_at_once_fire_each_once_however_they_are_batched() {
    let customers = 2_600; // the store is read 1,024 timers at a time
    let mut events: Vec<Event> = (0..customers)
        .map(|at| order(&format!("c{at}"), &format!("o{at}"), START, 100))
        .collect();
    // Some share an instant, some do not.
    for (at, event) in events.iter_mut().enumerate() {
        event.time = event.time.plus((at % 5) as i64);
    }
    let until = START.plus(500 * DAY_MS);
    let expected = expected(&events, until, &definitions());
    let mut outputs = Vec::new();
    for budget in [200, 100_000] {
        let mut rig = Rig::new(1);
        events.iter().for_each(|event| rig.send(event));
        rig.run(100_000);
        rig.crash(); // nothing is left in memory
        rig.control(0, &Routed::EndOfReplay { until });
        rig.run(budget);
        assert_eq!(said(&rig), expected, "{budget} a batch");
        outputs.push(rig.outputs());
    }
    assert_eq!(outputs[0], outputs[1]);
}

#[test]
fn timers_armed_in_the_batch_in_which_they_fall_due() {
    let mut rig = Rig::new(1);
    rig.send(&order("ann", "o1", START, 100));
    rig.send(&order("bob", "o2", START.plus(400 * DAY_MS), 100));
    rig.run(100_000);
    assert_eq!(rig.log.commits, 1);
    let lines = rig.said();
    let ann: Vec<&str> = timers_of(&lines).filter(|l| l.starts_with("ann")).collect();
    assert_eq!(
        ann,
        [
            "ann #2 2024-09-27T00:00:00.000Z timer clv 100 by 1 orders, final (0)",
            "ann #3 2024-01-15T00:00:00.000Z timer lifecycle6: purchase -> retention, delivered_or_14_days",
            "ann #4 2024-06-29T00:00:00.000Z timer activity: new -> at_risk, no_order_for_l",
            "ann #5 2024-09-27T00:00:00.000Z timer activity: at_risk -> lapsed, no_order_for_1.5_l",
            "ann #1 2024-01-15T00:00:00.000Z timer entered second_purchase_window",
            "ann #2 2024-06-29T00:00:00.000Z timer exited second_purchase_window",
        ]
    );
}

#[test]
fn a_restart_between_arming_and_firing() {
    let mut rig = Rig::new(1);
    rig.send(&order("ann", "o1", START, 100));
    rig.run(1);
    rig.said();
    rig.crash();
    rig.control(
        0,
        &Routed::Tick {
            now: START.plus(14 * DAY_MS).plus(10 * MINUTE_MS),
        },
    );
    rig.run(1);
    assert_eq!(
        rig.said(),
        "ann #3 2024-01-15T00:00:00.000Z timer lifecycle6: purchase -> retention, delivered_or_14_days\n\
         ann #1 2024-01-15T00:00:00.000Z timer entered second_purchase_window\n"
    );
    rig.crash();
    rig.run(1);
    assert_eq!(rig.said(), "");
}
