//! Conditions: a verdict holds until the instant that it names, and changes then where it should.

mod support;

use domain::behaviour::Behaviour;
use domain::event::Event;
use domain::orders::OrderBook;
use domain::rules::{Cond, Facts, Field, Moment, Span, Verdict, overdue_after_ms};
use domain::sums::BookSums;
use domain::time::{DAY_MS, HOUR_MS, MINUTE_MS, TimeMs};
use proptest::collection::vec;
use proptest::prelude::*;
use support::*;

/// A profile's facts, without the profile.
#[derive(Debug, Default)]
struct Known {
    book: OrderBook,
    behaviour: Behaviour,
    last: TimeMs,
}

impl Known {
    fn of(events: &[Event]) -> Known {
        let mut known = Known {
            last: t(0),
            ..Known::default()
        };
        for event in events {
            known.book.take(event);
            known.behaviour.take(event, 30 * MINUTE_MS);
            known.last = event.time;
        }
        known
    }

    fn eval(&self, cond: &Cond, as_of: TimeMs) -> Verdict {
        let stats = self.book.stats(TimeMs::MAX);
        cond.eval(&Facts {
            book: &self.book,
            sums: &BookSums::of(&self.book),
            stats: &stats,
            behaviour: &self.behaviour,
            as_of,
            stage_since: Some(t(days(3))),
            population_interval_ms: days(180),
            predicted_from: None,
        })
    }
}

/// Each row: what happened, a condition, whether it holds at the last event, and when that changes
/// by time alone (milliseconds after the start of the tests' time).
#[test]
fn each_kind_of_condition_changes_at_its_instant() {
    let d = DAY_MS;
    let two = || vec![ev(0, order("a", 1)), ev(5 * d + 7, order("b", 1))];
    let three = || {
        vec![
            ev(0, order("a", 1)),
            ev(20 * d, order("b", 1)),
            ev(40 * d, order("c", 1)),
        ]
    };
    let seen = || vec![ev(HOUR_MS, page()), ev(2 * d + HOUR_MS, page())];
    let sung = || vec![ev(9, share()), ev(d, referral()), ev(2 * d, review(5))];
    let lines = || {
        vec![
            ev(0, order_lines("a", true, vec![line("1", "x", 1, 1)])),
            ev(3 * d, order_lines("a", true, vec![line("2", "x", 1, 1)])),
        ]
    };
    let fixed = Span::Fixed;
    let never = i64::MAX;
    use Cond::{Ago, Always, AtLeast, AtMost, Since};
    use Field::*;
    use Moment::{CartChanged, FirstOrder, LastOrder};
    let not = |c: Cond| Cond::Not(Box::new(c));
    #[rustfmt::skip]
    let rows: Vec<(Vec<Event>, Cond, bool, i64)> = vec![
        (vec![], Always, true, never),
        (two(), AtLeast(Orders, 2), true, never),
        (two(), AtLeast(Orders, 3), false, never),
        (two(), AtMost(Orders, 1), false, never),
        (two(), AtLeast(OrdersIn(7), 2), true, 7 * d),
        (two(), AtLeast(OrdersIn(7), 1), true, 12 * d + 7),
        (two(), AtLeast(OrdersIn(7), 0), true, never),
        (two(), AtLeast(OrdersIn(5), 2), false, never),
        (two(), AtMost(OrdersIn(7), 1), false, 7 * d),
        (two(), AtMost(OrdersIn(7), 0), false, 12 * d + 7),
        (two(), AtMost(OrdersIn(7), 2), true, never),
        (two(), AtMost(OrdersIn(7), -1), false, never),
        (lines(), AtLeast(OrdersIn(7), 1), true, 10 * d),
        (seen(), AtLeast(PageViewsIn(90), 2), true, 91 * d),
        (seen(), AtLeast(PageViewsIn(90), 1), true, 93 * d),
        (seen(), AtLeast(SessionsIn(1), 2), false, never),
        (seen(), AtLeast(SessionsIn(2), 2), true, 3 * d),
        (seen(), AtLeast(SessionsIn(365), 2), true, 366 * d),
        (seen(), AtMost(SessionsIn(2), 1), false, 3 * d),
        (sung(), AtLeast(AdvocacyIn(365), 3), true, 365 * d + 9),
        (sung(), AtLeast(AdvocacyIn(365), 2), true, 366 * d),
        (sung(), AtLeast(ReferralsIn(365), 1), true, 366 * d),
        (sung(), AtLeast(ReferralsIn(365), 2), false, never),
        (sung(), AtLeast(NpsScore, 0), false, never),
        (sung(), AtMost(NpsScore, 10), false, never),
        (vec![ev(0, nps(7))], AtLeast(NpsScore, 7), true, never),
        (vec![ev(0, nps(7))], AtMost(NpsScore, 6), false, never),
        (two(), Ago(FirstOrder, fixed(9 * d)), false, 9 * d),
        (two(), Ago(FirstOrder, fixed(5 * d)), true, never),
        (two(), Ago(FirstOrder, fixed(5 * d + 7)), true, never),
        (two(), Ago(FirstOrder, fixed(5 * d + 8)), false, 5 * d + 8),
        (two(), Since(FirstOrder, fixed(9 * d)), true, 9 * d),
        (two(), Since(FirstOrder, fixed(5 * d + 7)), false, never),
        (two(), Since(LastOrder, fixed(0)), false, never),
        (vec![], Ago(FirstOrder, fixed(d)), false, never),
        (vec![], Since(FirstOrder, fixed(d)), false, never),
        (two(), Ago(LastOrder, Span::OverduePercent(100)), false, 185 * d + 7),
        (three(), Ago(LastOrder, Span::OverduePercent(100)), false, 80 * d),
        (three(), Since(LastOrder, Span::OverduePercent(125)), true, 90 * d),
        (three(), Since(LastOrder, Span::OverduePercent(150)), true, 100 * d),
        (vec![ev(0, add("x"))], Ago(CartChanged, fixed(HOUR_MS)), false, HOUR_MS),
        (vec![ev(0, add("x")), ev(1, remove("x"))], Ago(CartChanged, fixed(HOUR_MS)), false, never),
        (vec![ev(0, add("x")), ev(1, order("a", 1))], Ago(CartChanged, fixed(HOUR_MS)), false, never),
        (two(), AtLeast(OrdersSinceStage, 1), true, never),
        (vec![ev(3 * d, order("a", 1))], AtLeast(OrdersSinceStage, 1), false, never),
        (vec![ev(3 * d, order("a", 1))], AtLeast(OrdersFromStage, 1), true, never),
        (vec![ev(3 * d - 1, order("a", 1))], AtLeast(OrdersFromStage, 1), false, never),
        (vec![ev(0, order("a", 1)), ev(30 * d - 1, add("x"))], AtLeast(OrdersAroundCart(30), 1), true, never),
        (vec![ev(0, order("a", 1)), ev(30 * d, add("x"))], AtLeast(OrdersAroundCart(30), 1), false, never),
        (two(), not(AtLeast(OrdersIn(7), 2)), false, 7 * d),
        // All: false until the last of the false ones may turn; true until the first may.
        (two(), Cond::All(vec![]), true, never),
        (two(), Cond::All(vec![AtLeast(OrdersIn(7), 2), Since(FirstOrder, fixed(6 * d))]), true, 6 * d),
        (two(), Cond::All(vec![AtMost(OrdersIn(7), 1), Ago(FirstOrder, fixed(6 * d))]), false, 7 * d),
        (two(), Cond::All(vec![AtMost(OrdersIn(7), 1), AtMost(Orders, 1)]), false, never),
        (two(), Cond::Any(vec![]), false, never),
        (two(), Cond::Any(vec![AtLeast(OrdersIn(7), 2), Since(FirstOrder, fixed(6 * d))]), true, 7 * d),
        (two(), Cond::Any(vec![AtMost(OrdersIn(7), 1), Ago(FirstOrder, fixed(6 * d))]), false, 6 * d),
        (two(), Cond::Any(vec![AtLeast(OrdersIn(7), 2), AtLeast(Orders, 1)]), true, never),
    ];
    for (events, cond, holds, changes_at) in rows {
        let known = Known::of(&events);
        let verdict = known.eval(&cond, known.last);
        assert_eq!(verdict.holds, holds, "{cond:?} over {events:?}");
        let expected = match changes_at {
            i64::MAX => TimeMs::MAX,
            ms => t(ms),
        };
        assert_eq!(verdict.changes_at, expected, "{cond:?} over {events:?}");
        if expected != TimeMs::MAX {
            assert_eq!(known.eval(&cond, expected.minus(1)).holds, holds);
            assert_ne!(known.eval(&cond, expected).holds, holds, "{cond:?}");
        }
    }
}

#[test]
fn overdue_is_twice_the_mean_interval_within_limits() {
    let orders = |at: &[i64]| {
        let one = |(i, day): (usize, &i64)| ev(days(*day), order(&format!("{i}"), 1));
        let events: Vec<Event> = at.iter().enumerate().map(one).collect();
        Known::of(&events).book.stats(TimeMs::MAX)
    };
    #[rustfmt::skip]
    let rows: [(&[i64], i64, i64); 8] = [
        (&[], 180, 180),
        (&[0], 180, 180),
        (&[0, 50], 180, 180),
        (&[0, 50], 10, 30),
        (&[0, 50], 999, 365),
        (&[0, 50, 100], 180, 100),
        (&[0, 1, 2], 180, 30),
        (&[0, 300, 600], 180, 365),
    ];
    for (at, population, expected) in rows {
        let overdue = overdue_after_ms(&orders(at), days(population));
        assert_eq!(overdue, days(expected), "{at:?} {population}");
    }
}

fn happened() -> impl Strategy<Value = Vec<Event>> {
    let body = prop_oneof![
        4 => Just(page()),
        3 => ("[abc]", 0_i64..100).prop_map(|(id, amount)| order(&id, amount)),
        2 => ("[abc]", "[12]").prop_map(|(id, l)| order_lines(&id, true, vec![line(&l, "x", 1, 1)])),
        1 => "[abc]".prop_map(|id| cancel(&id)),
        1 => Just(refund("r", None, 10)),
        1 => "[abc]".prop_map(|id| delivered(&id)),
        2 => Just(add("x")),
        1 => Just(remove("x")),
        1 => Just(share()),
        1 => Just(referral()),
        1 => (0_u8..=10).prop_map(nps),
    ];
    let gap = prop_oneof![Just(0), 1..hours(3), 1..days(9), 1..days(200)];
    vec((gap, body), 0..15).prop_map(|steps| {
        let mut at = 0;
        let mut events = Vec::new();
        for (gap, body) in steps {
            at += gap;
            events.push(ev(at, body));
        }
        events
    })
}

fn condition() -> impl Strategy<Value = Cond> {
    let window = || proptest::sample::select(vec![0_u32, 1, 2, 7, 30, 90, 365]);
    let field = prop_oneof![
        proptest::sample::select(vec![
            Field::Orders,
            Field::FullyRefunded,
            Field::FullPriceOrders,
            Field::OrdersPlaced,
            Field::OrdersSinceStage,
            Field::OrdersFromStage,
            Field::Delivered,
            Field::OrderSpanDays,
            Field::RegularOrders,
            Field::Sessions,
            Field::PageViews,
            Field::Leads,
            Field::CartItems,
            Field::NpsScore,
        ]),
        window().prop_map(Field::OrdersIn),
        window().prop_map(Field::OrdersAroundCart),
        window().prop_map(Field::SessionsIn),
        window().prop_map(Field::PageViewsIn),
        window().prop_map(Field::AdvocacyIn),
        window().prop_map(Field::ReferralsIn),
    ];
    let limit = || prop_oneof![8 => -1_i64..6, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    let moment = || {
        proptest::sample::select(vec![
            Moment::FirstOrder,
            Moment::LastOrder,
            Moment::CartChanged,
        ])
    };
    let span = || {
        prop_oneof![
            (0..days(40)).prop_map(Span::Fixed),
            proptest::sample::select(vec![0, 50, 100, 125, 150]).prop_map(Span::OverduePercent),
            Just(Span::Fixed(i64::MAX)),
        ]
    };
    let leaf = prop_oneof![
        1 => Just(Cond::Always),
        4 => (field.clone(), limit()).prop_map(|(f, l)| Cond::AtLeast(f, l)),
        4 => (field, limit()).prop_map(|(f, l)| Cond::AtMost(f, l)),
        3 => (moment(), span()).prop_map(|(m, s)| Cond::Ago(m, s)),
        3 => (moment(), span()).prop_map(|(m, s)| Cond::Since(m, s)),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Cond::All),
            vec(inner.clone(), 0..4).prop_map(Cond::Any),
            inner.prop_map(|c| Cond::Not(Box::new(c))),
        ]
    })
}

proptest! {
    #![proptest_config(support::cases(10_000))]

    /// Walks from instant to instant as a profile's timer does, and looks in between.
    #[test]
    fn nothing_changes_before_the_instant_that_a_verdict_names(
        events in happened(), cond in condition(), looks in vec(0.0_f64..1.0, 8),
    ) {
        let known = Known::of(&events);
        let mut as_of = known.last;
        for step in 0.. {
            let verdict = known.eval(&cond, as_of);
            prop_assert!(verdict.changes_at > as_of);
            // Windows end within a year and a day; so do L and a half of 365 days.
            let end = verdict.changes_at.min(as_of.plus(days(800)));
            let span = end.since(as_of) - 1;
            let between = looks.iter().map(|look| (span as f64 * look) as i64);
            // Instants at which something leaves a window, and around them.
            let edges = events.iter().flat_map(|e| {
                [1, 2, 7, 30, 90, 365].into_iter().flat_map(move |d| {
                    let bucket = e.time.day().start().plus(days(d + 1));
                    [e.time.plus(days(d)), bucket]
                })
            });
            let edges = edges.filter(|at| as_of < *at && *at < end).map(|at| at.since(as_of));
            for look in between.chain(edges).chain([span]) {
                let look = as_of.plus(look);
                let found = known.eval(&cond, look);
                prop_assert_eq!(found.holds, verdict.holds, "{} of {}..{}", look, as_of, end);
            }
            if verdict.changes_at == TimeMs::MAX || verdict.changes_at > t(days(4000)) {
                break;
            }
            as_of = verdict.changes_at;
            prop_assert!(step < 200, "a timer for every day");
        }
    }

    #[test]
    fn evidence_names_each_field_once(events in happened(), cond in condition()) {
        let known = Known::of(&events);
        let stats = known.book.stats(TimeMs::MAX);
        let facts = Facts {
            book: &known.book,
            sums: &BookSums::of(&known.book),
            stats: &stats,
            behaviour: &known.behaviour,
            as_of: known.last,
            stage_since: None,
            population_interval_ms: days(180),
            predicted_from: None,
        };
        let evidence = cond.evidence(&facts);
        let mut fields: Vec<_> = evidence.iter().map(|e| &e.field).collect();
        fields.sort();
        fields.dedup();
        prop_assert_eq!(fields.len(), evidence.len());
    }
}
