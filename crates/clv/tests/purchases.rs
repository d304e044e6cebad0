//! Purchases of an order book: what the profile holds and what a file comes to are the same.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use domain::definitions::Definitions;
use domain::event::{Body, Event, OrderCompleted, OrderRefunded, Text};
use domain::money::{Currency, Minor};
use domain::orders::OrderBook;
use domain::purchases::Purchases;
use domain::time::{Day, TimeMs};

/// What happened on a day.
#[derive(Clone, Copy)]
enum Did {
    /// Id, subtotal, discount; 19 of tax and 5 of shipping come on top.
    Order(&'static str, i64, i64),
    Cancel(&'static str),
    /// Id, the order that it is of, amount.
    Refund(&'static str, Option<&'static str>, i64),
}
use Did::{Cancel, Order, Refund};

fn event(day: i32, did: Did) -> Event {
    let body = match did {
        Order(id, subtotal, discount) => Body::OrderCompleted(Box::new(OrderCompleted {
            order_id: id.into(),
            partial: false,
            subtotal: Some(Minor(subtotal)),
            discount: Minor(discount),
            coupon: None,
            tax: Minor(19),
            shipping: Minor(5),
            total: None,
            cogs: None,
            lines: Vec::new(),
        })),
        Cancel(id) => Body::OrderCancelled {
            order_id: id.into(),
        },
        Refund(id, order, amount) => Body::OrderRefunded(Box::new(OrderRefunded {
            refund_id: id.into(),
            order_id: order.map(Text::from),
            partial: false,
            amount: Minor(amount),
            lines: Vec::new(),
        })),
    };
    Event {
        id: "e".into(),
        time: Day(day).start().plus(3_600_000),
        customer_id: Some("c".into()),
        anonymous_id: None,
        session_id: None,
        channel: None,
        campaign: None,
        country: None,
        body,
    }
}

fn definitions() -> Definitions {
    Definitions::preset(Currency {
        code: *b"USD",
        decimals: 2,
    })
}

/// Repeats, first, last and spent as of the end of a day.
fn as_of(all: &[(i32, Did)], day: i32, definitions: &Definitions) -> Option<(u32, i32, i32, i64)> {
    let of = |events: &mut dyn Iterator<Item = &(i32, Did)>| {
        let mut book = OrderBook::default();
        for &(day, did) in events {
            book.take(&event(day, did));
        }
        let end = TimeMs(Day(day + 1).start().0 - 1);
        Purchases::of_book(&book, end, definitions)
    };
    let purchases = of(&mut all.iter());
    assert_eq!(
        purchases,
        of(&mut all.iter().rev()),
        "the order of arrival matters"
    );
    let s = purchases.statistics()?;
    Some((s.repeats, s.first.0, s.last.0, s.spent.0))
}

#[test]
fn a_book_comes_to_the_days_of_its_orders() {
    let orders = [
        (5, Order("a", 100, 0)),
        (7, Order("b", 80, 10)),
        (7, Order("c", 40, 0)),
        (9, Order("d", 60, 0)),
    ];
    let with = |more: &[(i32, Did)]| [&orders[..], more].concat();
    for (all, day, expected) in [
        (with(&[]), 20, Some((2, 5, 9, 170))),
        // As it stood, at the end of a day.
        (with(&[]), 8, Some((1, 5, 7, 110))),
        (with(&[]), 4, None),
        (with(&[(12, Cancel("d"))]), 20, Some((1, 5, 7, 110))),
        (with(&[(12, Cancel("d"))]), 11, Some((2, 5, 9, 170))),
        (with(&[(12, Cancel("b"))]), 20, Some((2, 5, 9, 100))),
        // Off the order's own day, whenever it came.
        (
            with(&[(15, Refund("r", Some("b"), 30))]),
            20,
            Some((2, 5, 9, 140)),
        ),
        (
            with(&[(15, Refund("r", Some("b"), 30))]),
            14,
            Some((2, 5, 9, 170)),
        ),
        (
            with(&[(15, Refund("r", Some("a"), 30))]),
            20,
            Some((2, 5, 9, 170)),
        ),
        // Of a cancelled order: it counts neither way.
        (
            with(&[(12, Cancel("d")), (15, Refund("r", Some("d"), 60))]),
            20,
            Some((1, 5, 7, 110)),
        ),
        // Of an order that nobody knows: off the last before.
        (
            with(&[(8, Refund("r", None, 30))]),
            20,
            Some((2, 5, 9, 140)),
        ),
        (
            with(&[(8, Refund("r", Some("x"), 30))]),
            20,
            Some((2, 5, 9, 140)),
        ),
        (
            with(&[(1, Refund("r", None, 30))]),
            20,
            Some((2, 5, 9, 170)),
        ),
        // Refunds alone are no purchase.
        (vec![(8, Refund("r", None, 30))], 20, None),
        (vec![(5, Order("a", 100, 0)), (6, Cancel("a"))], 20, None),
        // Beyond what was spent.
        (
            with(&[(15, Refund("r", Some("d"), 900))]),
            20,
            Some((2, 5, 9, -730)),
        ),
    ] {
        assert_eq!(as_of(&all, day, &definitions()), expected);
    }
    let counting = Definitions {
        include_tax: true,
        include_shipping: true,
        ..definitions()
    };
    assert_eq!(as_of(&orders, 20, &counting), Some((2, 5, 9, 170 + 3 * 24)));
}

#[test]
fn what_a_span_of_days_came_to() {
    let mut purchases = Purchases::default();
    for (day, net) in [(5, 100), (7, 80), (7, 20), (9, 60)] {
        purchases.add_order(Day(day), Minor(net));
    }
    for (after, until, expected) in [
        (4, 20, (3, 260)),
        (5, 9, (2, 160)),
        (5, 8, (1, 100)),
        (9, 20, (0, 0)),
    ] {
        let (days, net) = purchases.between(Day(after), Day(until));
        assert_eq!((days, net.0), expected);
    }
}
