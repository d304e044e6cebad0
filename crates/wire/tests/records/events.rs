//! Valid events of every kind.

use domain::event::{Body, Campaign, Event, Line, OrderCompleted, OrderRefunded, Product, Text};
use domain::money::{Minor, Units};
use domain::time::TimeMs;
use proptest::prelude::*;
use proptest::{collection::vec, option};

use crate::RECORD_TIME;

/// Largest amount of the tests: 10⁹ dollars.
const LARGEST: i64 = 100_000_000_000;

fn text() -> impl Strategy<Value = Text> {
    "[a-zA-Z0-9 _:/\"\\\\é€\n-]{1,30}".prop_map(Text::from)
}

fn id() -> impl Strategy<Value = Text> {
    "[a-zA-Z0-9é-]{1,30}".prop_map(Text::from)
}

fn positive() -> impl Strategy<Value = Minor> {
    prop_oneof![0..=10_000_i64, 0..=LARGEST].prop_map(Minor)
}

fn signed() -> impl Strategy<Value = Minor> {
    prop_oneof![-10_000..=10_000_i64, -LARGEST..=LARGEST].prop_map(Minor)
}

fn units(least: i64) -> impl Strategy<Value = Units> {
    prop_oneof![
        (least.max(-5)..=5).prop_map(|n| Units(n * 1000)),
        (least..=1_000_000_000_000).prop_map(Units),
    ]
}

fn product() -> impl Strategy<Value = Product> {
    (id(), option::of(text()), option::of(positive())).prop_map(|(product_id, category, price)| {
        Product {
            product_id,
            category,
            price,
        }
    })
}

fn lines(most: usize) -> impl Strategy<Value = Vec<Line>> {
    let line = (
        id(),
        id(),
        option::of(text()),
        units(-1_000_000_000_000),
        signed(),
    );
    let line = line.prop_map(|(line_id, product_id, category, quantity, amount)| Line {
        line_id,
        product_id,
        category,
        quantity,
        amount,
    });
    vec(line, 0..=most).prop_map(|mut lines| {
        lines.sort_by(|a, b| a.line_id.cmp(&b.line_id));
        lines.dedup_by(|a, b| a.line_id == b.line_id);
        // Together they have to stay within bounds as well.
        let sum: i64 = lines.iter().map(|line| line.amount.0).sum();
        if sum.abs() > LARGEST {
            lines.iter_mut().for_each(|line| line.amount.0 /= 8);
        }
        lines
    })
}

fn order() -> impl Strategy<Value = OrderCompleted> {
    let amounts = (
        option::of(positive()),
        positive(),
        positive(),
        positive(),
        option::of(positive()),
        option::of(positive()),
    );
    (id(), any::<bool>(), option::of(text()), amounts, lines(5)).prop_map(
        |(order_id, partial, coupon, (subtotal, discount, tax, shipping, total, cogs), lines)| {
            let states_value = subtotal.is_some() || total.is_some() || !lines.is_empty();
            OrderCompleted {
                order_id,
                partial: partial || !states_value,
                subtotal,
                discount,
                coupon,
                tax,
                shipping,
                total,
                cogs,
                lines,
            }
        },
    )
}

fn refund() -> impl Strategy<Value = OrderRefunded> {
    let fields = (id(), option::of(id()), any::<bool>(), positive(), lines(4));
    fields.prop_map(|(refund_id, order_id, partial, amount, lines)| {
        let partial = partial && !lines.is_empty();
        let sum = lines.iter().map(|line| line.amount).sum();
        OrderRefunded {
            refund_id,
            order_id,
            partial,
            amount: if partial { sum } else { amount },
            lines,
        }
    })
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        option::of(text()).prop_map(|url| Body::PageViewed { url }),
        "[a-z ]{0,10}".prop_map(|query| Body::ProductsSearched {
            query: Text::from(query)
        }),
        option::of(text()).prop_map(|category| Body::ProductListViewed { category }),
        product().prop_map(Body::ProductViewed),
        product().prop_map(Body::ProductCompared),
        product().prop_map(Body::WishlistAdded),
        (product(), units(0))
            .prop_map(|(product, quantity)| Body::ProductAdded { product, quantity }),
        (product(), units(0))
            .prop_map(|(product, quantity)| Body::ProductRemoved { product, quantity }),
        Just(Body::CartViewed),
        Just(Body::CheckoutStarted),
        order().prop_map(|order| Body::OrderCompleted(Box::new(order))),
        id().prop_map(|order_id| Body::OrderCancelled { order_id }),
        refund().prop_map(|refund| Body::OrderRefunded(Box::new(refund))),
        id().prop_map(|order_id| Body::OrderDelivered { order_id }),
        Just(Body::LeadCaptured),
        (option::of(id()), 1..=5_u8)
            .prop_map(|(product_id, rating)| Body::ProductReviewed { product_id, rating }),
        option::of(id()).prop_map(|product_id| Body::ProductShared { product_id }),
        option::of(id()).prop_map(|referee| Body::ReferralConverted { referee }),
        (0..=10_u8).prop_map(|score| Body::NpsAnswered { score }),
        Just(Body::MessageOpened),
        Just(Body::MessageClicked),
    ]
}

fn campaign() -> impl Strategy<Value = Option<Box<Campaign>>> {
    let parts = (option::of(text()), option::of(text()), option::of(text()));
    parts.prop_map(|(source, medium, name)| {
        let campaign = Campaign {
            source,
            medium,
            name,
        };
        (campaign != Campaign::default()).then(|| Box::new(campaign))
    })
}

/// Any event that the rules of these tests accept.
pub(crate) fn event() -> impl Strategy<Value = Event> {
    let times = 631_152_000_000..=RECORD_TIME.0 + 3_600_000;
    let who = (option::of(id()), option::of(id()), option::of(id()));
    let context = (option::of(text()), campaign(), option::of(text()));
    (id(), times, who, context, body()).prop_map(
        |(
            id,
            time,
            (customer_id, anonymous_id, session_id),
            (channel, campaign, country),
            body,
        )| {
            let mut event = Event {
                id,
                time: TimeMs(time),
                customer_id,
                anonymous_id,
                session_id,
                channel,
                campaign,
                country,
                body,
            };
            if event.owner().is_none() {
                event.anonymous_id = Some(event.id.clone());
            }
            event
        },
    )
}
