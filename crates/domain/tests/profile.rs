//! A profile's promises, as properties: the order of arrival, duplicates and the moments at which
//! time advances do not matter, and what was told adds up to what is.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use domain::change::{Action, Cause, What};
use domain::definitions::{Segment, tag};
use domain::event::{Body, Event};
use domain::money::{Minor, Units};
use domain::profile::{Outcome, PENDING_CAPACITY, Profile, View};
use domain::time::{HOUR_MS, TimeMs};
use proptest::collection::vec;
use proptest::prelude::*;
use support::*;

/// Bodies in which facts meet: few orders, few products.
fn body() -> impl Strategy<Value = Body> {
    let id = || "[a-d]";
    prop_oneof![
        3 => Just(page()),
        1 => Just(Body::LeadCaptured),
        1 => Just(Body::CheckoutStarted),
        1 => "[xy]".prop_map(|p| Body::ProductViewed(product(&p))),
        2 => "[xy]".prop_map(|p| add(&p)),
        1 => "[xy]".prop_map(|p| remove(&p)),
        4 => (id(), amount()).prop_map(|(id, amount)| order(&id, amount)),
        1 => id().prop_map(|id| with_coupon(&id, 50)),
        2 => (id(), "[12x]", "[xy]", amount()).prop_map(|(id, l, p, amount)| {
            order_lines(&id, true, vec![line(&l, &p, 1000, amount)])
        }),
        1 => (id(), "[12]", "[xy]", amount()).prop_map(|(id, l, p, amount)| {
            refund_lines(&id, true, vec![line(&l, &p, 1000, amount)])
        }),
        2 => id().prop_map(|id| cancel(&id)),
        2 => (id(), 0_i64..200).prop_map(|(id, amount)| refund(&id, None, amount)),
        1 => id().prop_map(|id| delivered(&id)),
        1 => (1_u8..=5).prop_map(review),
        1 => Just(share()),
        1 => Just(referral()),
        1 => (0_u8..=10).prop_map(nps),
        1 => Just(Body::MessageOpened),
    ]
}

fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![
        20 => 0_i64..300,
        1 => Just(-10),
        1 => Just(100_000_000_000_000_000),
        1 => Just(-100_000_000_000_000_000),
    ]
}

/// The next event follows so much later: often at once, often at an edge of a rule.
fn gap() -> impl Strategy<Value = i64> {
    let edges = [1, 5, 14, 30, 90, 180, 270, 365];
    prop_oneof![
        3 => Just(0),
        3 => 1..hours(2),
        2 => hours(1)..hours(30),
        2 => (proptest::sample::select(edges.to_vec()), -1_i64..=1).prop_map(|(d, ms)| days(d) + ms),
        1 => days(1)..days(400),
    ]
}

/// Up to `n` events in (time, id) order, from `first` on.
fn history_from(first: TimeMs, n: usize) -> impl Strategy<Value = Vec<Event>> {
    vec((gap(), body(), "[a-z]{3}"), 1..n).prop_map(move |steps| {
        let mut time = first;
        let mut events: Vec<Event> = Vec::new();
        for (i, (gap, body, prefix)) in steps.into_iter().enumerate() {
            time = time.plus(gap);
            let mut event = event(&format!("{prefix}{i}"), time, body);
            event.channel = (i % 3 == 0).then(|| text(&prefix));
            event.country = (i % 4 == 0).then(|| text(&prefix));
            events.push(event);
        }
        events.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        events
    })
}

fn history(n: usize) -> impl Strategy<Value = Vec<Event>> {
    history_from(t(0), n)
}

/// Time from which on an event has settled, in these tests.
const GRACE: i64 = 2 * HOUR_MS;

/// Deliveries of a history: each event arrives late by less than the grace, some arrive twice.
#[derive(Clone, Debug)]
struct Deliveries {
    in_order: Vec<Event>,
    delivered: Vec<Event>,
}

fn deliveries(n: usize) -> impl Strategy<Value = Deliveries> {
    history(n)
        .prop_flat_map(|events| {
            let n = events.len();
            let late = prop_oneof![2 => Just(0), 3 => 0..GRACE];
            let delays = vec((late.clone(), proptest::option::weighted(0.2, late)), n);
            (Just(events), delays)
        })
        .prop_map(|(in_order, delays)| {
            let mut delivered: Vec<(TimeMs, usize, Event)> = Vec::new();
            for (i, (event, (delay, again))) in in_order.iter().zip(delays).enumerate() {
                delivered.push((event.time.plus(delay), i, event.clone()));
                if let Some(again) = again {
                    delivered.push((event.time.plus(again), i, event.clone()));
                }
            }
            delivered.sort_by_key(|(at, i, _)| (*at, *i));
            Deliveries {
                in_order,
                delivered: delivered.into_iter().map(|(_, _, e)| e).collect(),
            }
        })
}

fn with_grace() -> domain::definitions::Definitions {
    domain::definitions::Definitions {
        grace_ms: GRACE,
        ..preset()
    }
}

fn end_of(events: &[Event]) -> TimeMs {
    let last = events.iter().map(|e| e.time).max();
    last.unwrap_or_default().plus(days(1000))
}

/// What somebody who only reads the outputs knows.
#[derive(PartialEq, Debug, Default)]
struct Reader {
    stages: BTreeMap<String, (String, u32)>,
    segments: BTreeSet<String>,
    net: Minor,
}

/// Folds what was told, and checks that each change goes on from the one before it.
fn read(run: &Run) -> Reader {
    let mut reader = Reader::default();
    let mut next = [0_u64; 3];
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for (sequence, change) in &run.told {
        let topic = match &change.what {
            What::Clv(_) => 0,
            What::Stage(_) => 1,
            What::Segment(_) => 2,
        };
        next[topic] += 1;
        assert_eq!(*sequence, next[topic], "no gap, nothing twice");
        match &change.what {
            What::Clv(update) => {
                reader.net += update.delta;
                assert_eq!(reader.net, update.historic.net, "deltas add up");
            }
            What::Stage(stage) => {
                let model = stage.model.to_string();
                let known = reader.stages.get(&model).map(|(stage, _)| stage.as_str());
                assert_eq!(stage.from.as_deref(), known, "goes on from the last");
                let corrects = stage.reason.cause == Cause::Correction;
                let expected = last.get(&model).copied().filter(|_| corrects);
                assert_eq!(stage.correction_of, expected);
                assert_ne!(Some(&stage.to), stage.from.as_ref().filter(|_| !corrects));
                last.insert(model.clone(), *sequence);
                reader
                    .stages
                    .insert(model, (stage.to.to_string(), stage.cycle));
            }
            What::Segment(segment) => {
                let name = segment.segment.to_string();
                match segment.action {
                    Action::Entered => assert!(reader.segments.insert(name), "entered once"),
                    Action::Exited => assert!(reader.segments.remove(&name), "left once"),
                }
            }
        }
    }
    reader
}

/// What `live` says, in the same form.
fn truth(run: &Run) -> Reader {
    let (view, definitions) = (&run.profile.live, &run.definitions);
    let mut reader = Reader {
        net: view.stats().net(),
        ..Reader::default()
    };
    for state in &view.stages {
        let model = definitions.models.iter().find(|m| m.tag == state.model);
        let stages = model.iter().flat_map(|m| &m.stages);
        let named: Vec<String> = stages
            .filter(|s| s.tag == state.stage)
            .map(|s| s.name.to_string())
            .collect();
        assert_eq!(named.len(), 1, "a stage of the definitions");
        for (model, stage) in model.iter().zip(named) {
            let at = (stage, state.cycle);
            reader.stages.insert(model.name.to_string(), at);
        }
    }
    for member in &view.segments {
        let named = |s: &&Segment| tag(&s.name) == member.segment;
        let segments = definitions.segments.iter().filter(named);
        reader.segments.extend(segments.map(|s| s.name.to_string()));
    }
    assert_eq!(reader.segments.len(), view.segments.len());
    reader
}

/// `live` is the fold of `settled` and `pending`.
fn check_fold(run: &Run) {
    let Profile {
        settled,
        pending,
        live,
        ..
    } = &run.profile;
    assert_eq!(settled.is_none(), pending.is_empty());
    let mut derived = live.clone();
    derived.restore_derived(&run.definitions);
    assert_eq!(&derived, live);
    let Some(settled) = settled else { return };
    let again = Profile::restored(
        View::clone(settled),
        pending.clone(),
        live.clock,
        [0; 3],
        Vec::new(),
        TimeMs::MAX,
        &run.definitions,
    );
    assert_eq!(&again.live, live);
    assert!(
        pending
            .windows(2)
            .all(|w| (w[0].time, &w[0].id) < (w[1].time, &w[1].id))
    );
}

proptest! {
    #![proptest_config(support::cases(1000))]

    #[test]
    fn within_the_grace_the_order_of_arrival_does_not_matter(d in deliveries(25)) {
        let until = end_of(&d.in_order);
        let in_order = Run::all(with_grace(), &d.in_order, until);
        let mut run = Run::new(with_grace());
        let (mut latest, mut seen) = (TimeMs::MIN, BTreeSet::new());
        for event in &d.delivered {
            latest = latest.max(event.time);
            let outcome = run.take(event, latest.minus(GRACE));
            let expected = if seen.insert(event.id.clone()) {
                Outcome::Applied
            } else {
                Outcome::Deduplicated
            };
            prop_assert_eq!(outcome, expected);
            check_fold(&run);
            prop_assert_eq!(read(&run), truth(&run));
        }
        run.advance(until);
        prop_assert_eq!(&in_order.profile.live, &run.profile.live);
        prop_assert_eq!(read(&run), truth(&run));
        prop_assert_eq!(read(&in_order), truth(&in_order));
        prop_assert!(run.profile.pending.is_empty());
    }

    #[test]
    fn when_time_advances_does_not_matter(
        d in deliveries(20),
        stops in vec(0_u8..4, 60),
        lag in prop_oneof![Just(0), 0..GRACE, Just(days(40))],
    ) {
        let until = end_of(&d.in_order);
        let (mut few, mut many) = (Run::new(with_grace()), Run::new(with_grace()));
        let mut latest = TimeMs::MIN;
        for (event, stops) in d.delivered.iter().zip(stops) {
            let before = latest;
            // Another customer's events move the frontier too: with a lag below the grace some
            // of these are late.
            latest = latest.max(event.time.plus(lag));
            for stop in 0..i64::from(stops) {
                let ahead = latest.since(before.max(t(0))).max(0);
                many.advance(before.max(t(0)).plus(ahead / 4 * (stop + 1)).minus(GRACE));
            }
            few.take(event, latest.minus(GRACE));
            many.take(event, latest.minus(GRACE));
            prop_assert_eq!(few.outcomes.last(), many.outcomes.last());
        }
        few.advance(until);
        let mut at = latest;
        while at < until {
            many.advance(at);
            at = at.plus(days(7));
        }
        many.advance(until);
        prop_assert_eq!(&few.profile.live, &many.profile.live);
        prop_assert_eq!(few.changes(), many.changes());
    }

    #[test]
    fn at_any_lateness_what_was_told_adds_up_and_orders_count_exactly(
        events in history(20).prop_shuffle(),
    ) {
        let run = Run::all(preset(), &events, end_of(&events));
        prop_assert_eq!(read(&run), truth(&run));
        let mut sorted = events.clone();
        sorted.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        let in_order = Run::all(preset(), &sorted, end_of(&events));
        let (late, exact) = (&run.profile.live, &in_order.profile.live);
        prop_assert_eq!(&late.book, &exact.book);
        prop_assert_eq!(late.stats(), exact.stats());
        // A late order fact that is known counts nowhere, whatever else its event says.
        if !run.outcomes.contains(&Outcome::Deduplicated) {
            let first_touch = |v: &View| v.behaviour.first_touch.as_ref().map(|t| t.time);
            prop_assert_eq!(first_touch(late), first_touch(exact));
            prop_assert_eq!(late.behaviour.last_event, exact.behaviour.last_event);
            prop_assert_eq!(&late.behaviour.last_country, &exact.behaviour.last_country);
            prop_assert_eq!(late.behaviour.totals.events, exact.behaviour.totals.events);
        }
    }

    #[test]
    fn extreme_times_and_amounts_neither_panic_nor_lie(
        early in history_from(TimeMs(631_152_000_000), 6), // 1990
        late in history_from(TimeMs(32_500_000_000_000), 6), // 2999
        huge in vec((0_usize..12, any::<i64>()), 0..4),
    ) {
        let mut events: Vec<Event> = early.into_iter().chain(late).collect();
        for (i, e) in events.iter_mut().enumerate() {
            e.id = text(&format!("{i:03}"));
        }
        for (at, amount) in huge {
            // 10^17 is the bound at the edge.
            let amount = amount.clamp(-100_000_000_000_000_000, 100_000_000_000_000_000);
            if let Some(event) = events.get_mut(at) {
                event.body = order_lines("h", true, vec![line(&format!("{at}"), "x", amount, amount)]);
            }
        }
        let run = Run::all(preset(), &events, TimeMs::MAX);
        prop_assert_eq!(read(&run), truth(&run));
        prop_assert_eq!(run.profile.next_timer(), TimeMs::MAX);
    }
}

proptest! {
    #![proptest_config(support::cases(30))]

    #[test]
    fn a_burst_beyond_the_capacity_settles_early_and_stays_consistent(
        order in Just((0..700_i64).collect::<Vec<_>>()).prop_shuffle(),
        at_once: bool,
    ) {
        let one = |i: &i64| {
            let time = t(if at_once { 0 } else { *i });
            let body = order_lines("big", true, vec![line(&i.to_string(), "x", 1000, 100)]);
            event(&format!("{i:04}"), time, body)
        };
        let mut run = Run::new(preset());
        for event in order.iter().map(one) {
            run.take(&event, t(-1));
            assert!(run.profile.pending.len() <= PENDING_CAPACITY);
        }
        check_fold(&run);
        run.advance(t(days(999)));
        prop_assert_eq!(read(&run), truth(&run));
        let stats = run.profile.live.stats();
        prop_assert_eq!((stats.orders, stats.lines, stats.gross), (1, 700, Minor(70_000)));
        prop_assert_eq!(stats.units_sold, Units(700_000));
    }
}

#[test]
fn lines_of_one_instant_correct_nothing_whatever_their_ids() {
    let mut run = Run::new(preset());
    for id in ["9", "10", "11", "8"] {
        let body = order_lines("a", true, vec![line(id, "x", 1000, 100)]);
        run.take(&event(id, t(0), body), t(-1));
    }
    assert!(run.told.iter().all(|(_, c)| c.cause() == Cause::Event));
    let deltas: Vec<i64> = run.values().iter().map(|(_, v)| v.delta.0).collect();
    assert_eq!(deltas, [100; 4]);
    assert_eq!(run.transitions("lifecycle6").len(), 1);
    check_fold(&run);
}

#[test]
fn a_duplicate_within_the_grace_changes_nothing() {
    let mut run = Run::new(preset());
    let events = [ev(0, page()), ev(5, add("x")), ev(9, order("a", 5))];
    for event in &events {
        run.take(event, t(-1));
    }
    let (profile, told) = (run.profile.clone(), run.told.clone());
    for event in &events {
        assert_eq!(run.take(event, t(-1)), Outcome::Deduplicated);
    }
    assert_eq!((run.profile, run.told), (profile, told));
}

#[test]
fn a_known_order_fact_that_comes_again_later_than_the_grace_changes_nothing() {
    let mut run = Run::new(preset());
    let events = [
        ev(0, order("a", 5)),
        ev(1, cancel("a")),
        ev(2, refund("r", None, 1)),
    ];
    for event in &events {
        run.take(event, event.time);
    }
    run.advance(t(days(30)));
    let (profile, told) = (run.profile.clone(), run.told.clone());
    for event in &events {
        assert_eq!(run.take(event, t(days(30))), Outcome::Deduplicated);
    }
    assert_eq!((run.profile, run.told), (profile, told));
}

#[test]
fn late_behaviour_counts_in_totals_only() {
    let mut run = Run::new(preset());
    run.take(&ev(0, page()), t(0));
    run.take(&ev(days(1), add("x")), t(days(1)));
    run.take(&ev(days(1) + 1, page()), t(days(1) + 1));
    let outcome = run.take(&ev(hours(5), add("y")), t(days(1) + 1));
    assert_eq!(outcome, Outcome::Late);
    let behaviour = &run.profile.live.behaviour;
    assert_eq!((behaviour.totals.events, behaviour.totals.late), (4, 1));
    assert_eq!((behaviour.totals.cart_adds, behaviour.cart.len()), (2, 1));
    assert_eq!(behaviour.totals.sessions, 2);
}

#[test]
fn a_late_order_corrects_and_says_what() {
    let mut run = Run::new(preset());
    run.take(&ev(0, page()), t(0));
    run.take(&ev(days(2), page()), t(days(2)));
    run.take(&ev(days(3), page()), t(days(3)));
    run.advance(t(days(3)));
    assert_eq!(
        run.take(&ev(days(1), order("a", 7)), t(days(3))),
        Outcome::Late
    );
    let transitions = run.transitions("lifecycle6");
    assert_eq!(
        transitions.last(),
        Some(&(days(3), "consideration>purchase".to_owned(), "correction"))
    );
    let values = run.values();
    assert_eq!(values.len(), 1);
    assert_eq!(values[0].1.cause, Cause::Correction);
    assert_eq!(read(&run), truth(&run));
}

#[test]
fn an_event_that_is_put_in_order_takes_back_what_was_told() {
    let mut run = Run::new(with_grace());
    run.take(&ev(hours(1), order("a", 7)), t(hours(-1)));
    // It turns out to have been cancelled before it was placed.
    run.take(&ev(minutes(30), cancel("a")), t(hours(-1)));
    assert_eq!(
        run.transitions("activity"),
        [
            (hours(1), ">new".to_owned(), "event"),
            (hours(1), "new>prospect".to_owned(), "correction")
        ]
    );
    let corrections: Vec<_> = run
        .told
        .iter()
        .filter_map(|(_, c)| match &c.what {
            What::Stage(s) => s.correction_of.map(|of| (s.model.to_string(), of)),
            _ => None,
        })
        .collect();
    assert_eq!(
        corrections,
        [("lifecycle6".to_owned(), 1), ("activity".to_owned(), 2)]
    );
    assert_eq!(read(&run), truth(&run));
}

#[test]
fn who_never_comes_again_is_woken_once_to_settle() {
    let mut run = Run::new(preset());
    let grace = run.definitions.grace_ms;
    for ms in [0, minutes(2), minutes(9)] {
        run.take(&ev(ms, page()), t(ms - grace));
    }
    let told = run.told.len();
    assert_eq!(run.profile.next_timer(), t(HOUR_MS));
    assert_eq!(run.profile.pending.len(), 3);
    run.advance(t(HOUR_MS));
    assert_eq!((run.profile.pending.len(), run.told.len()), (0, told));
    assert_eq!(run.profile.settled, None);
    assert_eq!(run.profile.next_timer(), TimeMs::MAX);
}
