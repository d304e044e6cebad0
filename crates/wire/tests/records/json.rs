//! JSON: what is taken as what, and what is rejected as what. One row per case.

use domain::event::{Body, Event};
use domain::money::{Minor, Units};
use serde_json::{Value, json};
use wire::RejectionClass::{self, *};
use wire::{InputRules, Rejection, currency_by_code, event_from_json};

use crate::{RECORD_TIME, rules};

fn merged(mut base: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        base[name] = value.clone();
    }
    base
}

fn read(value: &Value) -> Result<Event, Rejection> {
    event_from_json(value, &rules(), RECORD_TIME)
}

fn order(changes: &Value) -> Value {
    let base = json!({
        "type": "order_completed", "event_id": "e1", "event_time": "2011-03-01T08:26:00Z",
        "customer_id": "c1", "order_id": "o1", "total": "12.50",
    });
    merged(base, changes)
}

fn view(changes: &Value) -> Value {
    let base = json!({
        "type": "product_viewed", "event_id": "e1", "event_time": 1_298_967_960_000_i64,
        "anonymous_id": "a1", "product_id": "p1",
    });
    merged(base, changes)
}

fn refund(changes: &Value) -> Value {
    let base = json!({
        "type": "order_refunded", "event_id": "e1", "event_time": 1_298_967_960_000_i64,
        "customer_id": "c1", "refund_id": "r1", "amount": "5",
    });
    merged(base, changes)
}

fn lines(products: Value) -> Value {
    order(&json!({ "products": products }))
}

#[test]
fn good_orders_are_read_exactly() {
    let value = order(&json!({
        "event_id": 7, "customer_id": 18_446_744_073_709_551_615_u64, "currency": "usd",
        "subtotal": 12.34, "discount": "0.50", "tax": 1, "shipping": "3.00", "cogs": 7.1,
        "coupon": "", "channel": "email", "campaign": {"source": "x", "term": 4},
        "something_else": {"deeply": ["nested"]},
        "products": [
            {"product_id": 85123, "price": 2.55, "quantity": 6},
            {"product_id": "M", "amount": "-3.10", "quantity": "-0.25", "line_id": "l"},
            {"product_id": "free", "amount": 0, "price": "not read"},
        ],
    }));
    let event = read(&value).unwrap();
    assert_eq!(event.id, "7");
    assert_eq!(event.customer_id.as_deref(), Some("18446744073709551615"));
    assert_eq!(event.time.to_string(), "2011-03-01T08:26:00.000Z");
    let campaign = event.campaign.as_deref().unwrap();
    assert_eq!(
        (campaign.source.as_deref(), campaign.name.as_deref()),
        (Some("x"), None)
    );
    let Body::OrderCompleted(order) = &event.body else {
        panic!("{event:?}");
    };
    assert_eq!(
        (order.subtotal, order.total),
        (Some(Minor(1234)), Some(Minor(1250)))
    );
    assert_eq!(
        (order.discount, order.tax, order.shipping),
        (Minor(50), Minor(100), Minor(300))
    );
    assert_eq!(
        (order.cogs, order.coupon.as_deref()),
        (Some(Minor(710)), None)
    );
    let lines: Vec<_> = order
        .lines
        .iter()
        .map(|l| (&*l.line_id, &*l.product_id, l.quantity, l.amount))
        .collect();
    assert_eq!(
        lines,
        [
            ("0", "85123", Units(6000), Minor(1530)),
            ("l", "M", Units(-250), Minor(-310)),
            ("2", "free", Units(1000), Minor(0)),
        ]
    );
}

#[test]
fn what_is_unusual_but_clear_is_accepted() {
    let cases = [
        view(&json!({ "price": null, "category": "" })),
        view(&json!({ "price": "0.5", "currency": "USD" })),
        // Fields that the event's type does not have may hold anything.
        view(&json!({ "total": [1], "rating": 99, "currency": "ZZZ", "products": [[], 3] })),
        view(&json!({ "event_time": "2011-03-01T09:26:00.123456+01:00" })),
        view(&json!({ "event_time": RECORD_TIME.0 + 3_600_000 })),
        view(&json!({ "event_time": 631_152_000_000_i64 })),
        view(&json!({ "customer_id": "anon", "campaign": null })),
        order(&json!({ "customer_id": null, "total": "1000000000.00" })),
        order(&json!({ "total": "12.5000", "partial": "false" })),
        order(&json!({ "total": null, "partial": true })),
        refund(&json!({ "amount": null, "products": [{"product_id": "p", "amount": 2}] })),
        json!({
            "type": "products_searched", "event_id": "e", "event_time": 1_298_967_960_000_i64,
            "anonymous_id": 3, "query": "",
        }),
    ];
    for case in cases {
        assert!(read(&case).is_ok(), "{case}: {:?}", read(&case));
    }
}

fn rejected_lines() -> Vec<(Value, RejectionClass)> {
    let line = |changes| {
        let base = json!({ "product_id": "p", "amount": 1 });
        lines(json!([merged(base, &changes)]))
    };
    let partial = |products: Value| order(&json!({ "partial": true, "products": products }));
    vec![
        (line(json!({ "product_id": null })), MissingField),
        (line(json!({ "product_id": "" })), EmptyId),
        (line(json!({ "amount": null })), MissingField),
        (line(json!({ "amount": "x" })), AmountMalformed),
        (line(json!({ "amount": "1.999" })), AmountPrecision),
        (
            line(json!({ "amount": null, "price": "0.35", "quantity": "0.333" })),
            AmountPrecision,
        ),
        (
            line(json!({ "amount": null, "price": 1e9, "quantity": 2 })),
            AmountOutOfRange,
        ),
        (
            line(json!({ "amount": null, "price": 1e9, "quantity": 1e9 })),
            AmountOutOfRange,
        ),
        (line(json!({ "quantity": "many" })), QuantityMalformed),
        (line(json!({ "quantity": 0.0005 })), QuantityOutOfRange),
        (
            line(json!({ "quantity": 1_000_000_001 })),
            QuantityOutOfRange,
        ),
        (line(json!({ "quantity": true })), WrongType),
        (line(json!({ "category": "x".repeat(257) })), TextTooLong),
        (lines(json!("none")), WrongType),
        (lines(json!([1])), WrongType),
        (
            partial(json!([{ "product_id": "p", "amount": 1 }])),
            MissingField,
        ),
        (
            lines(json!([
                { "line_id": "1", "product_id": "p", "amount": 1 },
                { "product_id": "q", "amount": 1 },
            ])),
            DuplicateLineId,
        ),
        (
            lines(json!(vec![
                json!({ "product_id": "p", "amount": 1 });
                10_001
            ])),
            TooManyLines,
        ),
    ]
}

fn rejected_amounts() -> Vec<(Value, RejectionClass)> {
    vec![
        (
            order(&json!({ "total": 1_000_000_000_000_000_i64 })),
            AmountOutOfRange,
        ),
        (
            order(&json!({ "total": "1000000000000000" })),
            AmountOutOfRange,
        ),
        (
            order(&json!({ "total": "1000000000.01" })),
            AmountOutOfRange,
        ),
        // Each within bounds, and together not.
        (
            order(&json!({ "products": [
                { "product_id": "p", "amount": 1_000_000_000 },
                { "product_id": "q", "amount": "0.01" }
            ] })),
            AmountOutOfRange,
        ),
        (order(&json!({ "total": 1e300 })), AmountOutOfRange),
        (order(&json!({ "total": u64::MAX })), AmountOutOfRange),
        (order(&json!({ "total": "12.345" })), AmountPrecision),
        (order(&json!({ "total": 12.345 })), AmountPrecision),
        (order(&json!({ "total": 0.1 + 0.2 })), AmountPrecision),
        (order(&json!({ "total": "1e3" })), AmountMalformed),
        (order(&json!({ "total": "$12" })), AmountMalformed),
        (order(&json!({ "total": "1,000.00" })), AmountMalformed),
        (order(&json!({ "total": "" })), AmountMalformed),
        (order(&json!({ "total": false })), WrongType),
        (order(&json!({ "total": {"units": 12} })), WrongType),
        (order(&json!({ "total": "-1" })), AmountNegative),
        (order(&json!({ "discount": -0.01 })), AmountNegative),
        (order(&json!({ "total": null })), MissingField),
        (order(&json!({ "currency": "ZZZ" })), UnknownCurrency),
        (order(&json!({ "currency": "$" })), UnknownCurrency),
        (order(&json!({ "currency": 840 })), UnknownCurrency),
        (order(&json!({ "currency": "EUR" })), OtherCurrency),
        (
            view(&json!({ "price": 1, "currency": "EUR" })),
            OtherCurrency,
        ),
        (view(&json!({ "price": -1 })), AmountNegative),
        (refund(&json!({ "amount": "-5" })), AmountNegative),
        (refund(&json!({ "amount": null })), MissingField),
        (refund(&json!({ "partial": true })), MissingField),
        (
            refund(&json!({ "amount": null, "products": [{"product_id": "p", "amount": -2}] })),
            AmountNegative,
        ),
    ]
}

fn rejected_context() -> Vec<(Value, RejectionClass)> {
    let survey = |name: &str, field: &str, answer: Value| {
        let mut value = view(&json!({ "type": name }));
        value[field] = answer;
        value
    };
    vec![
        (json!([]), WrongType),
        (json!("text"), WrongType),
        (json!({}), MissingField),
        (
            view(&json!({ "type": "bought_something" })),
            UnknownEventType,
        ),
        (view(&json!({ "type": 3 })), UnknownEventType),
        (view(&json!({ "event_id": null })), MissingField),
        (view(&json!({ "event_id": "" })), EmptyId),
        (view(&json!({ "event_id": 1.5 })), WrongType),
        (view(&json!({ "event_id": "x".repeat(257) })), IdTooLong),
        (view(&json!({ "event_time": null })), MissingField),
        (view(&json!({ "event_time": "yesterday" })), TimeMalformed),
        (
            view(&json!({ "event_time": "2011-03-01T08:26:00" })),
            TimeMalformed,
        ),
        (
            view(&json!({ "event_time": "2011-02-30T08:26:00Z" })),
            TimeMalformed,
        ),
        (view(&json!({ "event_time": 1_298_967_960.5 })), WrongType),
        (
            view(&json!({ "event_time": "1970-01-01T00:00:00Z" })),
            EventTimeBeforeLimit,
        ),
        (
            view(&json!({ "event_time": 1_298_967_960 })),
            EventTimeBeforeLimit,
        ),
        (
            view(&json!({ "event_time": i64::MIN })),
            EventTimeBeforeLimit,
        ),
        (
            view(&json!({ "event_time": "2999-01-01T00:00:00Z" })),
            EventTimeInFuture,
        ),
        (view(&json!({ "event_time": i64::MAX })), EventTimeInFuture),
        (
            view(&json!({ "event_time": RECORD_TIME.0 + 3_600_001 })),
            EventTimeInFuture,
        ),
        (view(&json!({ "anonymous_id": null })), MissingKey),
        (view(&json!({ "anonymous_id": "" })), EmptyId),
        (view(&json!({ "anonymous_id": [] })), WrongType),
        (view(&json!({ "customer_id": "anon:x" })), ReservedKeyPrefix),
        (
            view(&json!({ "customer_id": "guest:x" })),
            ReservedKeyPrefix,
        ),
        (view(&json!({ "product_id": null })), MissingField),
        (view(&json!({ "campaign": "spring" })), WrongType),
        (view(&json!({ "campaign": {"name": {}} })), WrongType),
        (view(&json!({ "channel": true })), WrongType),
        (view(&json!({ "channel": "x".repeat(257) })), TextTooLong),
        (order(&json!({ "order_id": null })), MissingField),
        (order(&json!({ "partial": 1 })), WrongType),
        (refund(&json!({ "refund_id": null })), MissingField),
        (survey("nps_answered", "score", json!(11)), NumberOutOfRange),
        (survey("nps_answered", "score", json!(-1)), NumberOutOfRange),
        (
            survey("nps_answered", "score", json!(9.5)),
            NumberOutOfRange,
        ),
        (survey("nps_answered", "score", json!("high")), WrongType),
        (survey("nps_answered", "score", json!(null)), MissingField),
        (
            survey("product_reviewed", "rating", json!(0)),
            NumberOutOfRange,
        ),
        (
            survey("product_added", "quantity", json!(-1)),
            QuantityOutOfRange,
        ),
    ]
}

#[test]
fn every_fault_has_its_class() {
    let cases = [rejected_context(), rejected_amounts(), rejected_lines()].concat();
    for (value, expected) in cases {
        let found = read(&value).map_err(|rejection| rejection.class);
        let mut shown = value.to_string();
        shown.truncate(300);
        assert_eq!(found.map(|_| ()), Err(expected), "{shown}");
    }
}

#[test]
fn messages_say_what_would_help_and_carry_no_personal_data() {
    let message = |value: &Value| read(value).unwrap_err().message;
    assert_eq!(
        message(&order(&json!({ "total": "12.345" }))),
        "total needs 3 decimals, USD is kept with 2: round at the source or configure more \
         decimals for the currency"
    );
    assert_eq!(
        message(&lines(json!([{ "product_id": "p", "amount": "x" }]))),
        "products[0].amount is no plain decimal number: send digits with a point, such as 12.50"
    );
    assert_eq!(
        message(&order(&json!({ "currency": "EUR" }))),
        "currency is EUR, the shop's is USD: convert at the source"
    );
    let secret = "anon:jane.doe@example.com";
    for (value, _) in [rejected_context(), rejected_amounts(), rejected_lines()].concat() {
        let Some(mut fields) = value.as_object().cloned() else {
            continue;
        };
        for id in ["customer_id", "event_id", "order_id", "session_id"] {
            fields.insert(id.into(), json!(secret));
        }
        let found = read(&Value::Object(fields)).unwrap_err();
        assert!(!found.message.contains("jane"), "{found}");
    }
}

#[test]
fn the_currency_decides_the_decimals() {
    let in_thousandths = InputRules::new(currency_by_code("USD", Some(3)).unwrap());
    let event = event_from_json(
        &order(&json!({ "total": "12.345" })),
        &in_thousandths,
        RECORD_TIME,
    );
    let Body::OrderCompleted(order) = event.unwrap().body else {
        panic!("no order");
    };
    assert_eq!(order.total, Some(Minor(12_345)));
}
