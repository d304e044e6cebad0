//! Short ways to write events.

use domain::event::{Body, Event, OrderCompleted, OrderRefunded, Product, Text};
use domain::money::{Minor, Units};
use domain::prediction::{Family, ModelParameters, SpendParameters};
use domain::time::TimeMs;

/// 2024-01-01T00:00:00Z.
pub(crate) const START: TimeMs = TimeMs(1_704_067_200_000);

pub(crate) fn event(id: &str, customer: &str, time: TimeMs, body: Body) -> Event {
    Event {
        id: id.into(),
        time,
        customer_id: (!customer.is_empty()).then(|| Text::new(customer)),
        anonymous_id: None,
        session_id: None,
        channel: None,
        campaign: None,
        country: None,
        body,
    }
}

/// A model of value: the first and every second after it with spend, and ever more patient.
pub(crate) fn model(version: u32) -> ModelParameters {
    ModelParameters {
        version,
        family: Family::MbgNbd,
        r: 0.5,
        alpha: 30.0 * f64::from(version),
        a: 0.9,
        b: 1.6,
        spend: (version % 2 == 1).then_some(SpendParameters {
            p: 6.0,
            q: 4.0,
            v: 15.0,
        }),
    }
}

/// An order of `cents`, as a whole; the event's id is `e-` and the order's.
pub(crate) fn order(customer: &str, order: &str, time: TimeMs, cents: i64) -> Event {
    let body = OrderCompleted {
        order_id: order.into(),
        partial: false,
        subtotal: Some(Minor(cents)),
        discount: Minor::ZERO,
        coupon: None,
        tax: Minor::ZERO,
        shipping: Minor::ZERO,
        total: Some(Minor(cents)),
        cogs: None,
        lines: Vec::new(),
    };
    let body = Body::OrderCompleted(Box::new(body));
    event(&format!("e-{order}"), customer, time, body)
}

pub(crate) fn refund(customer: &str, of: &str, time: TimeMs, cents: i64) -> Event {
    let body = OrderRefunded {
        refund_id: format!("r-{of}").into(),
        order_id: Some(of.into()),
        partial: false,
        amount: Minor(cents),
        lines: Vec::new(),
    };
    let body = Body::OrderRefunded(Box::new(body));
    event(&format!("e-r-{of}"), customer, time, body)
}

pub(crate) fn cancel(customer: &str, of: &str, time: TimeMs) -> Event {
    let body = Body::OrderCancelled {
        order_id: of.into(),
    };
    event(&format!("e-c-{of}"), customer, time, body)
}

pub(crate) fn product(id: &str) -> Product {
    Product {
        product_id: id.into(),
        category: Some("hats".into()),
        price: None,
    }
}

pub(crate) fn view(id: &str, customer: &str, time: TimeMs) -> Event {
    event(id, customer, time, Body::ProductViewed(product("p1")))
}

pub(crate) fn add(id: &str, customer: &str, time: TimeMs) -> Event {
    let body = Body::ProductAdded {
        product: product("p1"),
        quantity: Units(1000),
    };
    event(id, customer, time, body)
}
