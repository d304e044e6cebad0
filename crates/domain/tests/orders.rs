//! The order book: tables of single cases, and the properties of its join.

mod support;

use domain::event::{Body, Event, OrderCompleted, OrderRefunded};
use domain::money::{Minor, Units};
use domain::orders::{DayTotals, OrderBook, OrderStats, OrderWindow, Taken, line_key, product_key};
use domain::time::{Day, TimeMs};
use proptest::collection::vec;
use proptest::prelude::*;
use support::*;

fn book(events: &[Event]) -> OrderBook {
    let mut book = OrderBook::default();
    for event in events {
        book.take(event);
    }
    book
}

fn stats(events: &[Event]) -> OrderStats {
    book(events).stats(TimeMs::MAX)
}

/// orders, cancelled, refund count, lines, gross, discounts, refunds, cancelled gross, net.
fn figures(s: &OrderStats) -> [i64; 9] {
    [
        i64::from(s.orders),
        i64::from(s.cancelled_orders),
        i64::from(s.refund_count),
        i64::from(s.lines),
        s.gross.0,
        s.discounts.0,
        s.refunds.0,
        s.cancelled.0,
        s.net().0,
    ]
}

#[test]
fn single_cases_count_as_they_should() {
    let a = || ev(0, order("a", 1000));
    let two_lines = |partial| {
        order_lines(
            "p",
            partial,
            vec![line("1", "x", 1000, 300), line("2", "y", 2000, 400)],
        )
    };
    #[rustfmt::skip]
    let rows: Vec<(&str, Vec<Event>, [i64; 9])> = vec![
        ("nothing", vec![], [0; 9]),
        ("one order", vec![a()], [1, 0, 0, 1, 1000, 0, 0, 0, 1000]),
        ("the same again", vec![a(), a()], [1, 0, 0, 1, 1000, 0, 0, 0, 1000]),
        ("the same order later: the earlier stands", vec![a(), ev(5, order("a", 7))], [1, 0, 0, 1, 1000, 0, 0, 0, 1000]),
        ("two of one instant: the lesser stands", vec![a(), ev(0, order("a", 7))], [1, 0, 0, 1, 7, 0, 0, 0, 7]),
        ("an order of nothing is an order", vec![ev(0, order("z", 0))], [1, 0, 0, 1, 0, 0, 0, 0, 0]),
        ("cancelled", vec![a(), ev(9, cancel("a"))], [0, 1, 0, 1, 1000, 0, 0, 1000, 0]),
        ("cancelled before it came", vec![ev(9, cancel("a")), a()], [0, 1, 0, 1, 1000, 0, 0, 1000, 0]),
        ("cancellation dated before its order", vec![ev(-9, cancel("a")), a()], [0, 1, 0, 1, 1000, 0, 0, 1000, 0]),
        ("cancellation of an unknown order", vec![ev(9, cancel("a"))], [0; 9]),
        ("a discount of a cancelled order does not count", vec![ev(0, discounted("a", 1000, 300)), ev(9, cancel("a"))], [0, 1, 0, 1, 1000, 0, 0, 1000, 0]),
        ("discount", vec![ev(0, discounted("a", 1000, 300))], [1, 0, 0, 1, 1000, 300, 0, 0, 700]),
        ("refund without an order", vec![ev(0, refund("r", None, 50))], [0, 0, 1, 1, 0, 0, 50, 0, -50]),
        ("refund before its order", vec![ev(9, refund("r", Some("a"), 50)), a()], [1, 0, 1, 2, 1000, 0, 50, 0, 950]),
        ("the same refund twice", vec![a(), ev(9, refund("r", Some("a"), 50)), ev(9, refund("r", Some("a"), 50))], [1, 0, 1, 2, 1000, 0, 50, 0, 950]),
        ("cancelled and refunded is taken off once", vec![a(), ev(8, refund("r", Some("a"), 1000)), ev(9, cancel("a"))], [0, 1, 1, 2, 1000, 0, 0, 1000, 0]),
        ("two refunds", vec![a(), ev(9, refund("r", Some("a"), 50)), ev(9, refund("s", Some("a"), 60))], [1, 0, 2, 3, 1000, 0, 110, 0, 890]),
        ("an order and a refund of one id", vec![a(), ev(9, refund("a", None, 50))], [1, 0, 1, 2, 1000, 0, 50, 0, 950]),
        ("lines of a part", vec![ev(0, two_lines(true))], [1, 0, 0, 2, 700, 0, 0, 0, 700]),
        ("lines of a part twice", vec![ev(0, two_lines(true)), ev(0, two_lines(true))], [1, 0, 0, 2, 700, 0, 0, 0, 700]),
        ("one line in two parts", vec![ev(0, two_lines(true)), ev(1, order_lines("p", true, vec![line("2", "y", 1, 1)]))], [1, 0, 0, 2, 700, 0, 0, 0, 700]),
        ("another line", vec![ev(0, two_lines(true)), ev(1, order_lines("p", true, vec![line("3", "y", 1, 1)]))], [1, 0, 0, 3, 701, 0, 0, 0, 701]),
        ("two equal lines with ids of their own", vec![ev(0, order_lines("p", true, vec![line("1", "x", 1, 5), line("2", "x", 1, 5)]))], [1, 0, 0, 2, 10, 0, 0, 0, 10]),
        ("whole lines", vec![ev(0, two_lines(false))], [1, 0, 0, 2, 700, 0, 0, 0, 700]),
        ("the whole stands for the parts", vec![ev(0, two_lines(true)), ev(1, order("p", 650))], [1, 0, 0, 1, 650, 0, 0, 0, 650]),
        ("the whole first, then the parts", vec![ev(1, order("p", 650)), ev(0, two_lines(true))], [1, 0, 0, 1, 650, 0, 0, 0, 650]),
        ("a negative line is kept as it stands", vec![ev(0, order_lines("p", true, vec![line("1", "x", 1, 5), line("2", "x", -1, -7)]))], [1, 0, 0, 2, -2, 0, 0, 0, -2]),
        ("a refund in parts", vec![ev(0, refund_lines("r", true, vec![line("1", "x", 1, 5)])), ev(1, refund_lines("r", true, vec![line("2", "x", 1, 6)]))], [0, 0, 1, 2, 0, 0, 11, 0, -11]),
        ("a part without lines says nothing", vec![ev(0, order_lines("p", true, vec![]))], [0; 9]),
        ("delivery of an unknown order", vec![ev(0, delivered("a"))], [0; 9]),
    ];
    for (name, events, expected) in rows {
        assert_eq!(figures(&stats(&events)), expected, "{name}");
        let backwards: Vec<Event> = events.iter().rev().cloned().collect();
        assert_eq!(figures(&stats(&backwards)), expected, "{name}, backwards");
    }
}

#[test]
fn gross_is_the_subtotal_or_the_lines_or_what_was_paid() {
    let base = || OrderCompleted {
        subtotal: None,
        discount: Minor(100),
        tax: Minor(190),
        shipping: Minor(500),
        ..plain_order("a", 0)
    };
    let lines = || vec![line("1", "x", 1000, 300), line("2", "y", 1000, 400)];
    #[rustfmt::skip]
    let rows = [
        ("subtotal", OrderCompleted { subtotal: Some(Minor(9)), total: Some(Minor(8)), lines: lines(), ..base() }, 9),
        ("lines", OrderCompleted { total: Some(Minor(8)), lines: lines(), ..base() }, 700),
        ("total", OrderCompleted { total: Some(Minor(1590)), ..base() }, 1000),
        ("nothing", base(), 0),
    ];
    for (name, order, expected) in rows {
        let stats = stats(&[ev(0, Body::OrderCompleted(Box::new(order)))]);
        assert_eq!(stats.gross, Minor(expected), "{name}");
        assert_eq!(stats.discounts, Minor(100), "{name}");
        assert_eq!((stats.tax, stats.shipping), (Minor(190), Minor(500)));
    }
}

#[test]
fn full_price_is_less_than_a_fifth_off_and_no_coupon() {
    let rows = [
        ("full price", order("a", 1000), 1),
        ("19.9 % off", discounted("a", 1000, 199), 1),
        ("20 % off", discounted("a", 1000, 200), 0),
        ("a coupon", with_coupon("a", 1000), 0),
        ("for nothing", order("a", 0), 1),
        (
            "an enormous discount",
            discounted("a", i64::MAX, i64::MAX),
            0,
        ),
    ];
    for (name, body, expected) in rows {
        assert_eq!(stats(&[ev(0, body)]).full_price_orders, expected, "{name}");
    }
}

#[test]
fn first_last_and_intervals_leave_cancelled_orders_out() {
    let at = |day, id| ev(days(day), order(id, 100));
    let s = stats(&[at(0, "a"), at(10, "b"), at(40, "c"), at(60, "d")]);
    assert_eq!((s.first, s.last), (Some(t(0)), Some(t(days(60)))));
    assert_eq!(s.mean_interval_ms(), Some(days(20)));
    assert_eq!(s.longest_interval_ms, Some(days(30)));
    let s = stats(&[
        at(0, "a"),
        at(10, "b"),
        at(40, "c"),
        ev(days(41), cancel("c")),
        ev(days(41), cancel("a")),
    ]);
    assert_eq!((s.first, s.last), (Some(t(days(10))), Some(t(days(10)))));
    assert_eq!((s.mean_interval_ms(), s.longest_interval_ms), (None, None));
    assert_eq!(s.orders, 1);
}

#[test]
fn statistics_can_be_asked_as_of_any_instant() {
    let book = book(&[
        ev(0, order("a", 100)),
        ev(5, order_lines("b", true, vec![line("1", "x", 1, 7)])),
        ev(9, order_lines("b", true, vec![line("2", "x", 1, 8)])),
        ev(12, cancel("a")),
        ev(20, refund("r", None, 3)),
    ]);
    let rows = [
        (-1, [0; 9]),
        (0, [1, 0, 0, 1, 100, 0, 0, 0, 100]),
        (4, [1, 0, 0, 1, 100, 0, 0, 0, 100]),
        (5, [2, 0, 0, 2, 107, 0, 0, 0, 107]),
        (9, [2, 0, 0, 3, 115, 0, 0, 0, 115]),
        (11, [2, 0, 0, 3, 115, 0, 0, 0, 115]),
        (12, [1, 1, 0, 3, 115, 0, 0, 100, 15]),
        (20, [1, 1, 1, 4, 115, 0, 3, 100, 12]),
    ];
    for (as_of, expected) in rows {
        assert_eq!(figures(&book.stats(t(as_of))), expected, "as of {as_of}");
    }
}

#[test]
fn windows_are_exact_at_both_edges() {
    let inside = OrderWindow {
        orders: 1,
        gross: Minor(100),
        returns: Minor(30),
        active_days: 1,
    };
    for window in [1, 7, 30, 90, 365] {
        let book = book(&[ev(0, order("a", 100)), ev(0, refund("r", None, 30))]);
        let rows = [
            (-1, OrderWindow::default()),
            (0, inside),
            (days(i64::from(window)) - 1, inside),
            (days(i64::from(window)), OrderWindow::default()),
        ];
        for (as_of, expected) in rows {
            assert_eq!(book.window(t(as_of), window), expected, "{window} {as_of}");
        }
    }
}

#[test]
fn an_invoice_with_two_times_is_one_order_with_lines_in_two_windows() {
    let book = book(&[
        ev(0, order_lines("a", true, vec![line("1", "x", 1000, 10)])),
        ev(
            days(2),
            order_lines("a", true, vec![line("2", "x", 1000, 20)]),
        ),
    ]);
    let window = |orders, gross, active_days| OrderWindow {
        orders,
        gross: Minor(gross),
        returns: Minor::ZERO,
        active_days,
    };
    let rows = [
        (0, window(1, 10, 1)),
        (days(2) - 1, window(1, 10, 1)),
        (days(2), window(1, 30, 2)),
        (days(7) - 1, window(1, 30, 2)),
        (days(7), window(1, 20, 1)),
        (days(9) - 1, window(1, 20, 1)),
        (days(9), OrderWindow::default()),
    ];
    for (as_of, expected) in rows {
        assert_eq!(book.window(t(as_of), 7), expected, "as of {as_of}");
    }
    let stats = book.stats(TimeMs::MAX);
    assert_eq!((stats.orders, stats.lines), (1, 2));
    assert_eq!((stats.first, stats.last), (Some(t(0)), Some(t(days(2)))));
}

#[test]
fn a_cancelled_order_leaves_its_windows_when_it_is_cancelled() {
    let book = book(&[ev(0, order("a", 100)), ev(days(1), cancel("a"))]);
    assert_eq!(book.window(t(days(1) - 1), 7).orders, 1);
    assert_eq!(book.window(t(days(1)), 7), OrderWindow::default());
}

#[test]
fn days_count_orders_cancellations_and_customers() {
    let events = [
        ev(0, order("a", 100)),
        ev(days(1), order("b", 50)),
        ev(days(1), refund("r", None, 30)),
        ev(days(2) - 1, order("c", 7)),
        ev(days(2), cancel("a")),
        ev(days(3), cancel("nobody's")),
    ];
    let totals = |lines, orders, cancellations, customers, gross, returns| DayTotals {
        lines,
        orders,
        cancellations,
        customers,
        gross: Minor(gross),
        returns: Minor(returns),
    };
    let rows = [
        (0, totals(1, 1, 0, 1, 100, 0)),
        (1, totals(3, 2, 1, 1, 57, 30)),
        (2, totals(0, 0, 1, 0, 0, 0)),
        (3, totals(0, 0, 0, 0, 0, 0)),
    ];
    let book = book(&events);
    for (day, expected) in rows {
        let day_of = t(days(day)).day();
        assert_eq!(book.day_totals(day_of, true), expected, "day {day}");
        let guest = DayTotals {
            customers: 0,
            ..expected
        };
        assert_eq!(book.day_totals(day_of, false), guest, "guest, day {day}");
    }
}

#[test]
fn line_ids_keep_their_number_or_are_hashed() {
    let rows = [
        ("0", Some(0)),
        ("7", Some(7)),
        ("541909", Some(541_909)),
        ("9223372036854775807", Some(i64::MAX as u64)),
        ("9223372036854775808", None),
        ("18446744073709551616", None),
        ("07", None),
        ("00", None),
        ("+7", None),
        ("-7", None),
        (" 7", None),
        ("7a", None),
        ("", None),
    ];
    let mut keys = Vec::new();
    for (id, number) in rows {
        let key = line_key(id);
        match number {
            Some(number) => assert_eq!(key, number, "{id:?}"),
            None => assert!(key >= 1 << 63, "{id:?}"),
        }
        keys.push(key);
    }
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), rows.len(), "different ids, different keys");
}

#[test]
fn products_of_orders_and_refunds_are_kept_once() {
    let book = book(&[
        ev(0, order_lines("a", true, vec![line("1", "x", 1, 1)])),
        ev(1, order_lines("a", false, vec![line("1", "x", 1, 1)])),
        ev(2, refund_lines("r", true, vec![line("1", "y", 1, 1)])),
    ]);
    let mut expected = vec![product_key("x"), product_key("y")];
    expected.sort_unstable();
    assert_eq!(book.products, expected);
}

#[test]
fn sums_saturate_and_never_panic() {
    let huge = i64::MAX / 2;
    let line = |id: &str| line(id, "x", huge, huge);
    let book = book(&[
        ev(0, order("a", i64::MAX)),
        ev(1, order("b", i64::MAX)),
        ev(
            2,
            order_lines("c", true, vec![line("1"), line("2"), line("3")]),
        ),
        ev(3, refund("r", None, i64::MAX)),
        ev(4, refund("s", None, i64::MAX)),
        ev(5, discounted("d", i64::MIN, i64::MAX)),
    ]);
    let stats = book.stats(TimeMs::MAX);
    assert_eq!(stats.refunds, Minor(i64::MAX));
    assert_eq!(stats.units_sold, Units(i64::MAX));
    let mut totals = book.day_totals(t(0).day(), true);
    totals.add(&totals.clone());
    assert_eq!(totals.returns, Minor(i64::MAX));
}

// Properties. Few ids, few lines and few instants, so that facts meet.

fn instant() -> impl Strategy<Value = TimeMs> {
    prop_oneof![
        6 => (-3_i64..3, 0_i64..3).prop_map(|(d, ms)| t(days(d) + ms - 1)),
        1 => (-400_i64..400, 0..days(1)).prop_map(|(d, ms)| t(days(d) + ms)),
    ]
}

fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => -5_i64..20,
        1 => Just(100_000_000_000_000_000),
        1 => Just(-100_000_000_000_000_000),
    ]
}

fn lines() -> impl Strategy<Value = Vec<domain::event::Line>> {
    let one = ("[12x]", "[pq]", -2_i64..4, amount())
        .prop_map(|(id, product, units, amount)| line(&id, &product, units, amount));
    vec(one, 0..3)
}

fn fact() -> impl Strategy<Value = Event> {
    let whole = ("[ab]", lines(), any::<bool>(), amount(), 0_i64..9).prop_map(
        |(id, lines, stated, amount, discount)| {
            Body::OrderCompleted(Box::new(OrderCompleted {
                subtotal: stated.then_some(Minor(amount)),
                discount: Minor(discount),
                cogs: (discount > 5).then_some(Minor(2)),
                lines,
                ..plain_order(&id, 0)
            }))
        },
    );
    let given_back = ("[ab]", lines(), amount()).prop_map(|(id, lines, amount)| {
        Body::OrderRefunded(Box::new(OrderRefunded {
            refund_id: text(&id),
            order_id: None,
            partial: false,
            amount: Minor(amount),
            lines,
        }))
    });
    let body = prop_oneof![
        2 => whole,
        3 => ("[ab]", lines()).prop_map(|(id, lines)| order_lines(&id, true, lines)),
        1 => given_back,
        2 => ("[ab]", lines()).prop_map(|(id, lines)| refund_lines(&id, true, lines)),
        2 => "[abc]".prop_map(|id| cancel(&id)),
        1 => "[abc]".prop_map(|id| delivered(&id)),
    ];
    (instant(), body).prop_map(|(time, body)| event("e", time, body))
}

proptest! {
    #![proptest_config(support::cases(2000))]

    #[test]
    fn the_book_is_a_join(
        (facts, shuffled) in vec(fact(), 1..8).prop_flat_map(|facts| {
            let twice: Vec<Event> = facts.iter().chain(&facts).cloned().collect();
            (Just(facts), Just(twice).prop_shuffle())
        }),
    ) {
        prop_assert_eq!(book(&facts), book(&shuffled));
    }

    #[test]
    fn to_know_a_fact_means_that_taking_it_changes_nothing(
        facts in vec(fact(), 0..6), fact in fact(),
    ) {
        let before = book(&facts);
        let mut after = before.clone();
        let taken = after.take(&fact);
        prop_assert_eq!(before == after, taken == Taken::Known);
        prop_assert_eq!(before.knows(&fact), taken == Taken::Known);
        prop_assert!(after.knows(&fact));
    }

    #[test]
    fn the_days_touched_cover_every_day_that_changes(
        facts in vec(fact(), 0..6), fact in fact(), is_customer: bool,
    ) {
        let before = book(&facts);
        let touched = before.days_touched(&fact);
        prop_assert!(touched.is_sorted());
        let mut after = before.clone();
        after.take(&fact);
        let mut all: Vec<Day> = facts.iter().chain([&fact]).map(|e| e.time.day()).collect();
        all.extend(touched.iter().copied());
        for day in all {
            let changed = before.day_totals(day, is_customer) != after.day_totals(day, is_customer);
            prop_assert!(!changed || touched.contains(&day), "{} {:?}", day, touched);
        }
    }

    #[test]
    fn windows_and_days_add_up_to_the_statistics(facts in vec(fact(), 0..8)) {
        let book = book(&facts);
        let stats = book.stats(TimeMs::MAX);
        let mut all: Vec<Day> = facts.iter().map(|e| e.time.day()).collect();
        all.sort_unstable();
        all.dedup();
        let mut sum = DayTotals::default();
        for day in all {
            sum.add(&book.day_totals(day, true));
        }
        prop_assert_eq!(sum.gross, stats.gross);
        prop_assert_eq!(sum.returns, stats.refunds);
        prop_assert_eq!(sum.lines, i64::from(stats.lines));
        let ever = book.window(t(days(10_000)), 30_000);
        prop_assert_eq!(ever.orders, stats.orders);
        prop_assert_eq!(ever.gross, stats.gross - stats.cancelled);
        prop_assert_eq!(ever.returns, stats.refunds);
    }

    #[test]
    fn a_window_is_the_sum_over_a_naive_scan(
        facts in vec(fact(), 0..8), as_of in instant(), span in 0_u32..9,
    ) {
        let book = book(&facts);
        let (after, window) = (as_of.minus(days(i64::from(span))), book.window(as_of, span));
        let mut naive = OrderWindow::default();
        let mut active = std::collections::BTreeSet::new();
        for order in &book.orders {
            if order.cancelled_at.is_some_and(|at| at <= as_of) {
                continue;
            }
            let parts: Vec<(TimeMs, Minor)> = match &order.whole {
                Some(whole) => vec![(whole.time, whole.amount)],
                None => order.lines.iter().map(|l| (l.time, l.amount)).collect(),
            };
            let parts: Vec<_> = parts.iter().filter(|p| p.0 > after && p.0 <= as_of).collect();
            naive.orders += u32::from(!parts.is_empty());
            naive.gross += parts.iter().map(|p| p.1).sum();
            active.extend(parts.iter().map(|p| p.0.day()));
        }
        naive.active_days = active.len() as u32;
        naive.returns = window.returns;
        prop_assert_eq!(window, naive);
    }
}
