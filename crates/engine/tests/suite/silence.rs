//! An input that falls silent while another goes on does not hold the clock for ever.

use domain::time::{DAY_MS, MINUTE_MS};
use engine::silence::Silence;
use wire::routed::Routed;

use crate::support::events::{START, order, view};
use crate::support::rig::Rig;

/// The control record that names some inputs of the first task.
fn silent(topics: &[&str]) -> Routed {
    Routed::Silent {
        inputs: topics.iter().map(|topic| ((*topic).into(), 0)).collect(),
    }
}

/// A shop of one task that had an order and a click each minute for three minutes.
fn shop() -> Rig {
    let mut rig = Rig::new(1);
    for at in 0..3 {
        let time = START.plus(at * MINUTE_MS);
        rig.send(&order("ann", &format!("o{at}"), time, 4_000));
        rig.send(&view(&format!("v{at}"), "bob", time));
    }
    rig.run(1_000);
    rig.said();
    rig
}

#[test]
fn timers_of_one_input_fire_once_the_silent_one_is_left_out() {
    let mut rig = shop();
    let later = START.plus(500 * DAY_MS);
    rig.send(&view("v-later", "bob", later));
    rig.run(1_000);
    assert!(!rig.said().contains("lapsed"), "orders hold the clock");
    rig.control(0, &silent(&["orders"]));
    rig.run(1_000);
    let said = rig.said();
    assert!(said.contains("timer") && said.contains("lapsed"), "{said}");
    assert_eq!(rig.book(0).clock.stream_time, later);
    // It is waited for again from its next record on.
    let back = later.plus(DAY_MS);
    rig.send(&order("carl", "o-back", back, 4_000));
    rig.send(&view("v-much-later", "bob", later.plus(900 * DAY_MS)));
    rig.run(1_000);
    assert_eq!(rig.book(0).clock.stream_time, back);
    assert!(!rig.said().contains("lapsed"), "carl has not lapsed yet");
    rig.control(0, &silent(&["orders"]));
    rig.run(1_000);
    assert!(rig.said().contains("lapsed"));
}

/// What is said at the instants given, when so much has come by then; an input is silent after ten.
fn looks(rig: &mut Rig, silence: &mut Silence<u32>, now: u32) -> Vec<(u32, Routed)> {
    let tasks = rig.tasks();
    silence.look(tasks.into_iter(), now, |since| now - since >= 10)
}

#[test]
fn who_is_silent_is_told_while_another_input_goes_on_and_only_then() {
    let mut rig = shop();
    let mut silence = Silence::default();
    assert_eq!(
        looks(&mut rig, &mut silence, 100),
        [],
        "seen for the first time"
    );
    assert_eq!(looks(&mut rig, &mut silence, 115), [], "both are silent");
    rig.send(&view("v-1", "bob", START.plus(DAY_MS)));
    rig.run(1_000);
    let told = [(0, silent(&["orders"]))];
    assert_eq!(looks(&mut rig, &mut silence, 116), told);
    assert_eq!(looks(&mut rig, &mut silence, 117), [], "it has been said");
    assert_eq!(
        looks(&mut rig, &mut silence, 125),
        [],
        "and for long enough"
    );
    rig.send(&view("v-again", "bob", START.plus(DAY_MS + 1)));
    rig.run(1_000);
    let lost = "it is waited for still: what was said was lost";
    assert_eq!(looks(&mut rig, &mut silence, 126), told, "{lost}");
    rig.control(0, &silent(&["orders"]));
    rig.run(1_000);
    rig.send(&view("v-2", "bob", START.plus(2 * DAY_MS)));
    rig.run(1_000);
    assert_eq!(
        looks(&mut rig, &mut silence, 140),
        [],
        "it is not waited for"
    );
    rig.send(&order("ann", "o-2", START.plus(2 * DAY_MS), 4_000));
    rig.run(1_000);
    assert_eq!(looks(&mut rig, &mut silence, 141), [], "it is back");
    assert_eq!(
        looks(&mut rig, &mut silence, 149),
        [],
        "not for long enough"
    );
}
