//! The presets, by tables: what a history tells about stages, segments and value, and when.

mod support;

use domain::change::{Cause, ValueStatus, What};
use domain::event::Event;
use domain::money::Minor;
use domain::time::{DAY_MS, HOUR_MS};
use support::*;

type Transitions = Vec<(i64, &'static str, &'static str)>;

/// Drives a history twice, once with time advancing at the end only and once at every step, and
/// returns the first run; both tell the same.
fn run(events: &[Event], until: i64) -> Run {
    let coarse = Run::all(preset(), events, t(until));
    let mut fine = Run::new(preset());
    for event in events {
        let frontier = event.time.minus(fine.definitions.grace_ms);
        let mut at = t(-1);
        while at < frontier {
            fine.advance(at);
            at = at.plus(5 * DAY_MS);
        }
        fine.take(event, frontier);
    }
    fine.advance(t(until));
    for (coarse, fine) in coarse.told.iter().zip(&fine.told) {
        assert_eq!(coarse, fine, "when time advances does not matter");
    }
    assert_eq!(coarse.told.len(), fine.told.len());
    coarse
}

fn check_transitions(model: &str, name: &str, events: &[Event], until: i64, expected: Transitions) {
    let run = run(events, until);
    let told = run.transitions(model);
    let told: Transitions = told
        .iter()
        .map(|(at, way, cause)| (*at, &**way, *cause))
        .map(|(at, way, cause)| (at, String::leak(way.to_owned()) as &str, cause))
        .collect();
    assert_eq!(told, expected, "{name}");
}

/// L while the customer has fewer than three orders: the population's.
const L: i64 = 180 * DAY_MS;

fn orders_at(at: &[i64]) -> Vec<Event> {
    let one = |(i, day): (usize, &i64)| ev(days(*day), order(&format!("o{i}"), 100));
    at.iter().enumerate().map(one).collect()
}

fn then(mut events: Vec<Event>, more: Vec<Event>) -> Vec<Event> {
    events.extend(more);
    events
}

#[test]
fn r10_lifecycle6() {
    let d = DAY_MS;
    let loyal = || orders_at(&[0, 60, 120, 180]);
    // Mean interval 60 days, so L = 120 days: 1.25 L after the last order.
    let fall_back = days(180) + 150 * d;
    #[rustfmt::skip]
    let rows: Vec<(&str, Vec<Event>, i64, Transitions)> = vec![
        ("first touch", vec![ev(0, page())], 9 * d,
            vec![(0, ">awareness", "event")]),
        ("two sessions", vec![ev(0, page()), ev(minutes(31), page())], d,
            vec![(0, ">awareness", "event"), (minutes(31), "awareness>consideration", "event")]),
        ("one session, two views", vec![ev(0, page()), ev(minutes(30), page())], d,
            vec![(0, ">awareness", "event")]),
        ("three views", vec![ev(0, page()), ev(1, page()), ev(2, page())], d,
            vec![(0, ">awareness", "event"), (2, "awareness>consideration", "event")]),
        ("a lead", vec![ev(0, page()), ev(1, domain::event::Body::LeadCaptured)], d,
            vec![(0, ">awareness", "event"), (1, "awareness>consideration", "event")]),
        ("an order out of nothing", vec![ev(0, order("a", 1))], 9 * d,
            vec![(0, ">purchase", "event")]),
        ("an order while only aware", vec![ev(0, page()), ev(1, order("a", 1))], 9 * d,
            vec![(0, ">awareness", "event"), (1, "awareness>purchase", "event")]),
        ("14 days after the first order", vec![ev(0, order("a", 1))], 14 * d,
            vec![(0, ">purchase", "event"), (14 * d, "purchase>retention", "timer")]),
        ("a millisecond before", vec![ev(0, order("a", 1))], 14 * d - 1,
            vec![(0, ">purchase", "event")]),
        ("delivered", vec![ev(0, order("a", 1)), ev(3 * d, delivered("a"))], 20 * d,
            vec![(0, ">purchase", "event"), (3 * d, "purchase>retention", "event")]),
        ("delivery of something else", vec![ev(0, order("a", 1)), ev(3 * d, delivered("b"))], 20 * d,
            vec![(0, ">purchase", "event"), (14 * d, "purchase>retention", "timer")]),
        ("four orders in half a year", loyal(), 181 * d,
            vec![(0, ">purchase", "event"), (14 * d, "purchase>retention", "timer"), (180 * d, "retention>loyalty", "event")]),
        ("three orders in less", orders_at(&[0, 60, 179]), 181 * d,
            vec![(0, ">purchase", "event"), (14 * d, "purchase>retention", "timer")]),
        ("three orders in half a year", orders_at(&[0, 90, 180]), 181 * d,
            vec![(0, ">purchase", "event"), (14 * d, "purchase>retention", "timer"), (180 * d, "retention>loyalty", "event")]),
        ("an interval above twice the mean", orders_at(&[0, 1, 2, 200]), 201 * d,
            vec![(0, ">purchase", "event"), (14 * d, "purchase>retention", "timer")]),
        ("loyalty falls back at 1.25 L", loyal(), fall_back,
            vec![(0, ">purchase", "event"), (14 * d, "purchase>retention", "timer"), (180 * d, "retention>loyalty", "event"), (fall_back, "loyalty>retention", "timer")]),
        ("a millisecond before that", loyal(), fall_back - 1,
            vec![(0, ">purchase", "event"), (14 * d, "purchase>retention", "timer"), (180 * d, "retention>loyalty", "event")]),
        ("a referral", vec![ev(0, order("a", 1)), ev(d, referral())], d,
            vec![(0, ">purchase", "event"), (d, "purchase>advocacy", "event")]),
        ("a referral before the order", vec![ev(0, referral()), ev(d, order("a", 1))], d,
            vec![(0, ">awareness", "event"), (d, "awareness>advocacy", "event")]),
        ("advocacy ends a year after the referral", vec![ev(0, order("a", 1)), ev(d, referral())], 366 * d,
            vec![(0, ">purchase", "event"), (d, "purchase>advocacy", "event"), (366 * d, "advocacy>retention", "timer")]),
        ("a millisecond before that year is over", vec![ev(0, order("a", 1)), ev(d, referral())], 366 * d - 1,
            vec![(0, ">purchase", "event"), (d, "purchase>advocacy", "event")]),
        ("a review and a share", vec![ev(0, order("a", 1)), ev(d, review(4)), ev(2 * d, share())], 367 * d,
            vec![(0, ">purchase", "event"), (2 * d, "purchase>advocacy", "event"), (366 * d, "advocacy>retention", "timer")]),
        ("a bad review and a share", vec![ev(0, order("a", 1)), ev(d, review(3)), ev(2 * d, share())], 3 * d,
            vec![(0, ">purchase", "event")]),
        ("NPS of 9 and a share", vec![ev(0, order("a", 1)), ev(d, nps(9)), ev(2 * d, share())], 3 * d,
            vec![(0, ">purchase", "event"), (2 * d, "purchase>advocacy", "event")]),
        ("NPS of 8 and a share", vec![ev(0, order("a", 1)), ev(d, nps(8)), ev(2 * d, share())], 3 * d,
            vec![(0, ">purchase", "event")]),
        ("NPS of 6 ends it, a day after its start", vec![ev(0, order("a", 1)), ev(1, referral()), ev(2, nps(6))], 3 * d,
            vec![(0, ">purchase", "event"), (1, "purchase>advocacy", "event"), (d + 1, "advocacy>retention", "timer")]),
        ("NPS of 6 ends it at once after a day", vec![ev(0, order("a", 1)), ev(1, referral()), ev(2 * d, nps(6))], 3 * d,
            vec![(0, ">purchase", "event"), (1, "purchase>advocacy", "event"), (2 * d, "advocacy>retention", "event")]),
        ("NPS of 6, then 9", vec![ev(0, order("a", 1)), ev(1, referral()), ev(2, nps(6)), ev(3, nps(9))], 3 * d,
            vec![(0, ">purchase", "event"), (1, "purchase>advocacy", "event")]),
        ("advocacy back to loyalty", then(loyal(), vec![ev(181 * d, referral()), ev(190 * d, nps(0))]), 191 * d,
            vec![(0, ">purchase", "event"), (14 * d, "purchase>retention", "timer"), (180 * d, "retention>loyalty", "event"), (181 * d, "loyalty>advocacy", "event"), (190 * d, "advocacy>loyalty", "event")]),
        ("the only order is cancelled", vec![ev(0, page()), ev(1, order("a", 1)), ev(2, cancel("a"))], d,
            vec![(0, ">awareness", "event"), (1, "awareness>purchase", "event"), (2, "purchase>awareness", "correction")]),
        ("cancelled by one who was interested", vec![ev(0, page()), ev(1, page()), ev(2, page()), ev(3, order("a", 1)), ev(4, cancel("a"))], d,
            vec![(0, ">awareness", "event"), (2, "awareness>consideration", "event"), (3, "consideration>purchase", "event"), (4, "purchase>consideration", "correction")]),
        ("wholly refunded", vec![ev(0, order("a", 10)), ev(d, refund("r", Some("a"), 10))], 20 * d,
            vec![(0, ">purchase", "event"), (d, "purchase>awareness", "correction")]),
        ("refunded in two parts", vec![ev(0, order("a", 10)), ev(d, refund("r", Some("a"), 4)), ev(2 * d, refund("s", Some("a"), 6))], 20 * d,
            vec![(0, ">purchase", "event"), (2 * d, "purchase>awareness", "correction")]),
        ("partly refunded", vec![ev(0, order("a", 10)), ev(d, refund("r", Some("a"), 9))], 13 * d,
            vec![(0, ">purchase", "event")]),
        ("one of two cancelled", vec![ev(0, order("a", 10)), ev(d, order("b", 10)), ev(2 * d, cancel("b"))], 13 * d,
            vec![(0, ">purchase", "event")]),
        ("an order of nothing is an order", vec![ev(0, order("a", 0))], d,
            vec![(0, ">purchase", "event")]),
        ("cancelled, then another", vec![ev(0, order("a", 1)), ev(1, cancel("a")), ev(d, order("b", 1))], 2 * d,
            vec![(0, ">purchase", "event"), (1, "purchase>awareness", "correction"), (d, "awareness>purchase", "event")]),
        ("retention, then all taken back", vec![ev(0, order("a", 1)), ev(20 * d, cancel("a"))], 21 * d,
            vec![(0, ">purchase", "event"), (14 * d, "purchase>retention", "timer"), (20 * d, "retention>awareness", "correction")]),
        ("cancelled before it came", vec![ev(0, cancel("a")), ev(1, order("a", 1))], 20 * d,
            vec![(0, ">awareness", "event")]),
        ("begins with a refund", vec![ev(0, refund("r", None, 5)), ev(d, order("a", 10))], 2 * d,
            vec![(0, ">awareness", "event"), (d, "awareness>purchase", "event")]),
    ];
    for (name, events, until, expected) in rows {
        check_transitions("lifecycle6", name, &events, until, expected);
    }
}

#[test]
fn r07_an_order_reports_the_stages_that_it_skips() {
    let skipped = |events: &[Event]| {
        let run = run(events, DAY_MS);
        let last = run.told.iter().rev().find_map(|(_, c)| match &c.what {
            What::Stage(s) if s.model == "lifecycle6" => Some(s.clone()),
            _ => None,
        });
        last.expect("a transition").skipped.join(",")
    };
    let interested = || vec![ev(0, page()), ev(1, page()), ev(2, page())];
    let bought = || ev(9, order("a", 1));
    #[rustfmt::skip]
    let rows = [
        (vec![bought()], "awareness,consideration"),
        (vec![ev(0, page()), bought()], "consideration"),
        (then(interested(), vec![bought()]), ""),
        (vec![bought(), ev(10, referral())], "retention,loyalty"),
        (vec![bought(), ev(10, cancel("a"))], ""),
    ];
    for (events, expected) in rows {
        assert_eq!(skipped(&events), expected);
    }
}

#[test]
fn r11_activity() {
    let d = DAY_MS;
    let once = || orders_at(&[0]);
    let lapse = L + L / 2;
    // Mean interval 20 days: L = 40 days from the third order on.
    let own = || orders_at(&[0, 20, 40]);
    #[rustfmt::skip]
    let rows: Vec<(&str, Vec<Event>, i64, Transitions)> = vec![
        ("no order, no stage", vec![ev(0, page())], 999 * d, vec![]),
        ("first order", once(), d, vec![(0, ">new", "event")]),
        ("second order", orders_at(&[0, 5]), 6 * d, vec![(0, ">new", "event"), (5 * d, "new>active", "event")]),
        ("just before L", once(), L - 1, vec![(0, ">new", "event")]),
        ("at L", once(), L, vec![(0, ">new", "event"), (L, "new>at_risk", "timer")]),
        ("just before 1.5 L", once(), lapse - 1, vec![(0, ">new", "event"), (L, "new>at_risk", "timer")]),
        ("at 1.5 L", once(), lapse, vec![(0, ">new", "event"), (L, "new>at_risk", "timer"), (lapse, "at_risk>lapsed", "timer")]),
        ("by the customer's own rhythm", own(), 200 * d,
            vec![(0, ">new", "event"), (20 * d, "new>active", "event"), (80 * d, "active>at_risk", "timer"), (100 * d, "at_risk>lapsed", "timer")]),
        ("L is no less than 30 days", orders_at(&[0, 1, 2]), 200 * d,
            vec![(0, ">new", "event"), (d, "new>active", "event"), (32 * d, "active>at_risk", "timer"), (47 * d, "at_risk>lapsed", "timer")]),
        ("L is no more than 365 days", orders_at(&[0, 179, 358]), 2000 * d,
            vec![(0, ">new", "event"), (179 * d, "new>active", "event"), (716 * d, "active>at_risk", "timer"), (895 * d, "at_risk>lapsed", "timer")]),
        ("ordered again while at risk", orders_at(&[0, 200]), 201 * d,
            vec![(0, ">new", "event"), (L, "new>at_risk", "timer"), (200 * d, "at_risk>active", "event")]),
        ("reactivated", orders_at(&[0, 300]), 301 * d,
            vec![(0, ">new", "event"), (L, "new>at_risk", "timer"), (lapse, "at_risk>lapsed", "timer"), (300 * d, "lapsed>reactivated", "event")]),
        ("reactivated, then active", orders_at(&[0, 300, 301]), 302 * d,
            vec![(0, ">new", "event"), (L, "new>at_risk", "timer"), (lapse, "at_risk>lapsed", "timer"), (300 * d, "lapsed>reactivated", "event"), (301 * d, "reactivated>active", "event")]),
        ("reactivated, then silent", orders_at(&[0, 300]), 999 * d,
            vec![(0, ">new", "event"), (L, "new>at_risk", "timer"), (lapse, "at_risk>lapsed", "timer"), (300 * d, "lapsed>reactivated", "event"), (300 * d + L, "reactivated>at_risk", "timer"), (300 * d + lapse, "at_risk>lapsed", "timer")]),
        ("ordered again at the very instant of L", orders_at(&[0, 180]), 181 * d,
            vec![(0, ">new", "event"), (L, "new>at_risk", "timer"), (L, "at_risk>active", "event")]),
        ("ordered again at the very instant of 1.5 L", orders_at(&[0, 270]), 271 * d,
            vec![(0, ">new", "event"), (L, "new>at_risk", "timer"), (lapse, "at_risk>lapsed", "timer"), (lapse, "lapsed>reactivated", "event")]),
        ("browsing does not count", vec![ev(0, order("o", 1)), ev(200 * d, page())], 201 * d,
            vec![(0, ">new", "event"), (L, "new>at_risk", "timer")]),
        ("taken back", vec![ev(0, order("a", 1)), ev(d, cancel("a"))], 999 * d,
            vec![(0, ">new", "event"), (d, "new>prospect", "correction")]),
        ("taken back before it came", vec![ev(0, cancel("a")), ev(d, order("a", 1)), ev(2 * d, order("b", 1))], 3 * d,
            vec![(d, ">prospect", "event"), (2 * d, "prospect>new", "event")]),
        ("taken back, then another", vec![ev(0, order("a", 1)), ev(d, cancel("a")), ev(2 * d, order("b", 1))], 3 * d,
            vec![(0, ">new", "event"), (d, "new>prospect", "correction"), (2 * d, "prospect>new", "event")]),
    ];
    for (name, events, until, expected) in rows {
        check_transitions("activity", name, &events, until, expected);
    }
}

#[test]
fn each_reactivation_begins_a_cycle() {
    let run = run(&orders_at(&[0, 300, 600, 601]), 1200 * DAY_MS);
    let cycles: Vec<(String, u32)> = run
        .told
        .iter()
        .filter_map(|(_, c)| match &c.what {
            What::Stage(s) if s.model == "activity" => Some((s.to.to_string(), s.cycle)),
            _ => None,
        })
        .collect();
    let cycles: Vec<(&str, u32)> = cycles.iter().map(|(to, c)| (&**to, *c)).collect();
    assert_eq!(
        cycles,
        [
            ("new", 0),
            ("at_risk", 0),
            ("lapsed", 0),
            ("reactivated", 1),
            ("at_risk", 1),
            ("lapsed", 1),
            ("reactivated", 2),
            ("active", 2),
            ("at_risk", 2),
            ("lapsed", 2),
        ]
    );
}

#[test]
fn segments() {
    let d = DAY_MS;
    let h = HOUR_MS;
    let visits = |n: i64| (0..n).map(|i| ev(i * h, page())).collect::<Vec<_>>();
    let views = |n: i64| (0..n).map(|i| ev(i, page())).collect::<Vec<_>>();
    let loyal = || orders_at(&[0, 60, 120, 180]);
    #[rustfmt::skip]
    let rows: Vec<(&str, &str, Vec<Event>, i64, Transitions)> = vec![
        ("browser_never_buyer", "five sessions, until their day is 90 days over", visits(5), 200 * d,
            vec![(4 * h, "entered", "event"), (91 * d, "exited", "timer")]),
        ("browser_never_buyer", "to the millisecond", visits(5), 91 * d - 1,
            vec![(4 * h, "entered", "event")]),
        ("browser_never_buyer", "four sessions", visits(4), 200 * d, vec![]),
        ("browser_never_buyer", "twenty views", views(20), 200 * d,
            vec![(19, "entered", "event"), (91 * d, "exited", "timer")]),
        ("browser_never_buyer", "nineteen views", views(19), 200 * d, vec![]),
        ("browser_never_buyer", "the views of one day expire, those of the next suffice no longer", then(views(19), vec![ev(d, page())]), 200 * d,
            vec![(d, "entered", "event"), (91 * d, "exited", "timer")]),
        ("browser_never_buyer", "an order ends it", then(visits(5), vec![ev(5 * h, order("a", 1))]), d,
            vec![(4 * h, "entered", "event"), (5 * h, "exited", "event")]),
        ("browser_never_buyer", "a cancelled order does too", vec![ev(-2, order("a", 1)), ev(-1, cancel("a")), ev(0, page()), ev(h, page()), ev(2 * h, page()), ev(3 * h, page()), ev(4 * h, page())], d, vec![]),

        ("cart_abandoner", "an hour after the cart changed, for 30 days", vec![ev(0, add("x"))], 99 * d,
            vec![(h, "entered", "timer"), (30 * d, "exited", "timer")]),
        ("cart_abandoner", "a millisecond early", vec![ev(0, add("x"))], h - 1, vec![]),
        ("cart_abandoner", "taken out again", vec![ev(0, add("x")), ev(1, remove("x"))], 2 * h, vec![]),
        ("cart_abandoner", "taken out later", vec![ev(0, add("x")), ev(2 * h, remove("x"))], 3 * h,
            vec![(h, "entered", "timer"), (2 * h, "exited", "event")]),
        ("cart_abandoner", "added more", vec![ev(0, add("x")), ev(2 * h, add("y"))], 9 * h,
            vec![(h, "entered", "timer"), (2 * h, "exited", "event"), (3 * h, "entered", "timer")]),
        ("cart_abandoner", "ordered", vec![ev(0, add("x")), ev(2 * h, order("a", 1))], 99 * d,
            vec![(h, "entered", "timer"), (2 * h, "exited", "event")]),
        ("cart_abandoner", "added, ordered, added again", vec![ev(0, add("x")), ev(1, order("a", 1)), ev(2, add("y"))], 29 * d, vec![]),
        ("cart_abandoner", "added, ordered, added again: for ever", vec![ev(0, add("x")), ev(1, order("a", 1)), ev(2, add("y"))], 99 * d, vec![]),
        ("cart_abandoner", "ordered 20 days before", vec![ev(0, order("a", 1)), ev(20 * d, add("y"))], 99 * d, vec![]),
        ("cart_abandoner", "ordered, and taken back", vec![ev(0, add("x")), ev(1, order("a", 1)), ev(2, add("y")), ev(d, cancel("a"))], 2 * d,
            vec![(d, "entered", "event")]),
        ("cart_abandoner", "an order of long ago is another matter", vec![ev(0, order("a", 1)), ev(31 * d, add("y"))], 32 * d,
            vec![(31 * d + h, "entered", "timer")]),

        ("discount_only", "20 % off", vec![ev(0, discounted("a", 100, 20))], d, vec![(0, "entered", "event")]),
        ("discount_only", "19 % off", vec![ev(0, discounted("a", 100, 19))], d, vec![]),
        ("discount_only", "a coupon", vec![ev(0, with_coupon("a", 100))], d, vec![(0, "entered", "event")]),
        ("discount_only", "then at full price", vec![ev(0, with_coupon("a", 100)), ev(d, order("b", 1))], 2 * d,
            vec![(0, "entered", "event"), (d, "exited", "event")]),
        ("discount_only", "which is cancelled", vec![ev(0, with_coupon("a", 100)), ev(d, order("b", 1)), ev(2 * d, cancel("b"))], 3 * d,
            vec![(0, "entered", "event"), (d, "exited", "event"), (2 * d, "entered", "event")]),
        ("discount_only", "no order", vec![ev(0, page())], d, vec![]),

        ("one_and_done_discount", "once at a discount, never again", vec![ev(0, with_coupon("a", 100))], L,
            vec![(L, "entered", "timer")]),
        ("one_and_done_discount", "until he comes back", vec![ev(0, with_coupon("a", 100)), ev(L + 1, order("b", 1))], 2 * L,
            vec![(L, "entered", "timer"), (L + 1, "exited", "event")]),
        ("one_and_done_discount", "once at full price", vec![ev(0, order("a", 100))], 9 * L, vec![]),

        ("second_purchase_window", "14 days after the order, until L", vec![ev(0, order("a", 100))], 9 * L,
            vec![(14 * d, "entered", "timer"), (L, "exited", "timer")]),
        ("second_purchase_window", "until the second order", vec![ev(0, order("a", 100)), ev(20 * d, order("b", 1))], 9 * L,
            vec![(14 * d, "entered", "timer"), (20 * d, "exited", "event")]),
        ("second_purchase_window", "until it is taken back", vec![ev(0, order("a", 100)), ev(20 * d, refund("r", None, 100))], 9 * L,
            vec![(14 * d, "entered", "timer"), (20 * d, "exited", "event")]),

        ("loyal", "for L after the last order", loyal(), 999 * d,
            vec![(180 * d, "entered", "event"), (300 * d, "exited", "timer")]),
    ];
    for (segment, name, events, until, expected) in rows {
        let run = run(&events, until);
        assert_eq!(run.membership(segment), expected, "{segment}: {name}");
    }
}

#[test]
fn r04_the_value_is_final_when_the_customer_has_lapsed() {
    let lapse = L + L / 2;
    let run = run(&orders_at(&[0, 400]), 401 * DAY_MS);
    let told: Vec<_> = run
        .values()
        .iter()
        .map(|(at, v)| (*at, v.value_status, v.historic.net, v.delta, v.cause))
        .collect();
    let (interim, ended) = (ValueStatus::Interim, ValueStatus::Final);
    assert_eq!(
        told,
        [
            (0, interim, Minor(100), Minor(100), Cause::Event),
            (lapse, ended, Minor(100), Minor(0), Cause::Timer),
            (400 * DAY_MS, interim, Minor(200), Minor(100), Cause::Event),
        ]
    );
}

#[test]
fn the_value_s_delta_is_what_the_event_changed() {
    #[rustfmt::skip]
    let rows = [
        ("an order", vec![ev(0, order("a", 100))], vec![100]),
        ("twice", vec![ev(0, order("a", 100)), ev(1, order("a", 100))], vec![100]),
        ("discount", vec![ev(0, discounted("a", 100, 10))], vec![90]),
        ("refund", vec![ev(0, order("a", 100)), ev(1, refund("r", None, 30))], vec![100, -30]),
        ("cancelled", vec![ev(0, order("a", 100)), ev(1, cancel("a"))], vec![100, -100]),
        ("browsing", vec![ev(0, page()), ev(1, order("a", 100)), ev(2, page())], vec![100]),
        ("an order of nothing is told", vec![ev(0, order("a", 0))], vec![0]),
    ];
    for (name, events, expected) in rows {
        let run = run(&events, DAY_MS);
        let deltas: Vec<i64> = run.values().iter().map(|(_, v)| v.delta.0).collect();
        assert_eq!(deltas, expected, "{name}");
    }
}

#[test]
fn the_value_carries_the_formula_while_an_order_counts() {
    let run = run(
        &[
            ev(0, order("a", 100)),
            ev(DAY_MS, cancel("a")),
            ev(2 * DAY_MS, order("b", 50)),
        ],
        3 * DAY_MS,
    );
    let values = run.values();
    let prospective = |i: usize| values[i].1.formula.map(|f| f.prospective);
    assert_eq!(prospective(0), Some(Minor(450))); // 1.00 × 1.5 a year × 3 years
    assert_eq!(prospective(1), None);
    assert_eq!(prospective(2), Some(Minor(225)));
}

#[test]
fn every_change_says_why() {
    let run = run(&orders_at(&[0, 60, 120, 180]), 999 * DAY_MS);
    for (_, change) in &run.told {
        let reason = match &change.what {
            What::Stage(s) => &s.reason,
            What::Segment(s) => &s.reason,
            What::Clv(_) => continue,
        };
        assert!(!reason.rule.is_empty());
        assert!(!reason.evidence.is_empty(), "{change:?}");
        let by_event = change.cause_event_id.is_some();
        assert_eq!(by_event, reason.cause == Cause::Event, "{change:?}");
    }
}

#[test]
fn definitions_that_contradict_each_other_do_not_loop() {
    use domain::rules::Cond;
    let mut definitions = preset();
    for transition in &mut definitions.models[0].transitions {
        transition.when = Cond::Always;
        transition.min_dwell_ms = 0;
        transition.from = (0..6).collect();
        transition.initial = true;
    }
    let run = Run::all(definitions, &orders_at(&[0, 1, 2]), t(999 * DAY_MS));
    let told = run.transitions("lifecycle6").len();
    assert!((3..=40).contains(&told), "{told}");
}

#[test]
fn the_end_of_time_can_be_advanced_to() {
    let mut run = run(&orders_at(&[0]), DAY_MS);
    run.advance(domain::time::TimeMs::MAX);
    assert_eq!(run.profile.next_timer(), domain::time::TimeMs::MAX);
    let last = run.transitions("activity");
    assert_eq!(last.last().expect("lapsed").1, "at_risk>lapsed");
}
