//! Events in the compact binary form of state and routed records. Not for producers: those write
//! Avro or JSON.
//!
//! The number of a body never changes its meaning; a new body gets a new number.

use domain::event::{Body, Campaign, Event, Line, OrderCompleted, OrderRefunded, Product};
use domain::time::TimeMs;

use crate::bin::{Corrupt, Put, Take};

// What an event names besides its id, time and body.
const CUSTOMER: u64 = 1;
const ANONYMOUS: u64 = 1 << 1;
const SESSION: u64 = 1 << 2;
const CHANNEL: u64 = 1 << 3;
const COUNTRY: u64 = 1 << 4;
const CAMPAIGN: u64 = 1 << 5;
const ALL_FLAGS: u64 = (1 << 6) - 1;

/// Appends `event` to `buf`, its time as how much earlier it is than `base`.
pub(crate) fn put_event(buf: &mut Vec<u8>, base: TimeMs, event: &Event) {
    let named = [
        (CUSTOMER, &event.customer_id),
        (ANONYMOUS, &event.anonymous_id),
        (SESSION, &event.session_id),
        (CHANNEL, &event.channel),
        (COUNTRY, &event.country),
    ];
    let [a, b, c, d, e] = named.map(|(flag, text)| (flag, text.is_some()));
    buf.put_flags(&[a, b, c, d, e, (CAMPAIGN, event.campaign.is_some())]);
    buf.put_text(&event.id);
    buf.put_ago(base, event.time);
    for text in named.into_iter().filter_map(|(_, text)| text.as_ref()) {
        buf.put_text(text);
    }
    if let Some(campaign) = &event.campaign {
        put_campaign(buf, campaign);
    }
    put_body(buf, &event.body);
}

/// Reads what [`put_event`] wrote.
pub(crate) fn take_event(from: &mut Take<'_>, base: TimeMs) -> Result<Event, Corrupt> {
    let flags = from.flags(ALL_FLAGS)?;
    let has = |flag| flags & flag != 0;
    Ok(Event {
        id: from.text()?,
        time: from.ago(base)?,
        customer_id: from.when(has(CUSTOMER), Take::text)?,
        anonymous_id: from.when(has(ANONYMOUS), Take::text)?,
        session_id: from.when(has(SESSION), Take::text)?,
        channel: from.when(has(CHANNEL), Take::text)?,
        country: from.when(has(COUNTRY), Take::text)?,
        campaign: from.when(has(CAMPAIGN), take_campaign)?.map(Box::new),
        body: take_body(from)?,
    })
}

pub(crate) fn put_campaign(buf: &mut Vec<u8>, campaign: &Campaign) {
    buf.put_opt_text(campaign.source.as_ref());
    buf.put_opt_text(campaign.medium.as_ref());
    buf.put_opt_text(campaign.name.as_ref());
}

pub(crate) fn take_campaign(from: &mut Take<'_>) -> Result<Campaign, Corrupt> {
    Ok(Campaign {
        source: from.opt_text()?,
        medium: from.opt_text()?,
        name: from.opt_text()?,
    })
}

fn put_product(buf: &mut Vec<u8>, product: &Product) {
    buf.put_text(&product.product_id);
    buf.put_opt_text(product.category.as_ref());
    buf.put_opt(product.price, |b, p| b.put_minor(p));
}

fn take_product(from: &mut Take<'_>) -> Result<Product, Corrupt> {
    Ok(Product {
        product_id: from.text()?,
        category: from.opt_text()?,
        price: from.opt(Take::minor)?,
    })
}

fn put_lines(buf: &mut Vec<u8>, lines: &[Line]) {
    buf.put_len(lines.len());
    for line in lines {
        buf.put_text(&line.line_id);
        buf.put_text(&line.product_id);
        buf.put_opt_text(line.category.as_ref());
        buf.put_units(line.quantity);
        buf.put_minor(line.amount);
    }
}

fn take_lines(from: &mut Take<'_>) -> Result<Vec<Line>, Corrupt> {
    from.list(5, |from| {
        Ok(Line {
            line_id: from.text()?,
            product_id: from.text()?,
            category: from.opt_text()?,
            quantity: from.units()?,
            amount: from.minor()?,
        })
    })
}

fn put_order(buf: &mut Vec<u8>, order: &OrderCompleted) {
    buf.put_text(&order.order_id);
    buf.put_u8(u8::from(order.partial));
    buf.put_opt(order.subtotal, |b, a| b.put_minor(a));
    buf.put_minor(order.discount);
    buf.put_opt_text(order.coupon.as_ref());
    buf.put_minor(order.tax);
    buf.put_minor(order.shipping);
    buf.put_opt(order.total, |b, a| b.put_minor(a));
    buf.put_opt(order.cogs, |b, a| b.put_minor(a));
    put_lines(buf, &order.lines);
}

fn take_order(from: &mut Take<'_>) -> Result<OrderCompleted, Corrupt> {
    Ok(OrderCompleted {
        order_id: from.text()?,
        partial: from.flag()?,
        subtotal: from.opt(Take::minor)?,
        discount: from.minor()?,
        coupon: from.opt_text()?,
        tax: from.minor()?,
        shipping: from.minor()?,
        total: from.opt(Take::minor)?,
        cogs: from.opt(Take::minor)?,
        lines: take_lines(from)?,
    })
}

fn put_refund(buf: &mut Vec<u8>, refund: &OrderRefunded) {
    buf.put_text(&refund.refund_id);
    buf.put_opt_text(refund.order_id.as_ref());
    buf.put_u8(u8::from(refund.partial));
    buf.put_minor(refund.amount);
    put_lines(buf, &refund.lines);
}

fn take_refund(from: &mut Take<'_>) -> Result<OrderRefunded, Corrupt> {
    Ok(OrderRefunded {
        refund_id: from.text()?,
        order_id: from.opt_text()?,
        partial: from.flag()?,
        amount: from.minor()?,
        lines: take_lines(from)?,
    })
}

/// The number that stands for a body.
fn number(body: &Body) -> u8 {
    match body {
        Body::PageViewed { .. } => 1,
        Body::ProductsSearched { .. } => 2,
        Body::ProductListViewed { .. } => 3,
        Body::ProductViewed(_) => 4,
        Body::ProductCompared(_) => 5,
        Body::WishlistAdded(_) => 6,
        Body::ProductAdded { .. } => 7,
        Body::ProductRemoved { .. } => 8,
        Body::CartViewed => 9,
        Body::CheckoutStarted => 10,
        Body::OrderCompleted(_) => 11,
        Body::OrderCancelled { .. } => 12,
        Body::OrderRefunded(_) => 13,
        Body::OrderDelivered { .. } => 14,
        Body::LeadCaptured => 15,
        Body::ProductReviewed { .. } => 16,
        Body::ProductShared { .. } => 17,
        Body::ReferralConverted { .. } => 18,
        Body::NpsAnswered { .. } => 19,
        Body::MessageOpened => 20,
        Body::MessageClicked => 21,
    }
}

fn put_body(buf: &mut Vec<u8>, body: &Body) {
    buf.put_u8(number(body));
    match body {
        Body::PageViewed { url } => buf.put_opt_text(url.as_ref()),
        Body::ProductsSearched { query } => buf.put_text(query),
        Body::ProductListViewed { category } => buf.put_opt_text(category.as_ref()),
        Body::ProductViewed(product)
        | Body::ProductCompared(product)
        | Body::WishlistAdded(product) => put_product(buf, product),
        Body::ProductAdded { product, quantity } | Body::ProductRemoved { product, quantity } => {
            put_product(buf, product);
            buf.put_units(*quantity);
        }
        Body::OrderCompleted(order) => put_order(buf, order),
        Body::OrderCancelled { order_id } | Body::OrderDelivered { order_id } => {
            buf.put_text(order_id);
        }
        Body::OrderRefunded(refund) => put_refund(buf, refund),
        Body::ProductReviewed { product_id, rating } => {
            buf.put_opt_text(product_id.as_ref());
            buf.put_u8(*rating);
        }
        Body::ProductShared { product_id } => buf.put_opt_text(product_id.as_ref()),
        Body::ReferralConverted { referee } => buf.put_opt_text(referee.as_ref()),
        Body::NpsAnswered { score } => buf.put_u8(*score),
        Body::CartViewed
        | Body::CheckoutStarted
        | Body::LeadCaptured
        | Body::MessageOpened
        | Body::MessageClicked => {}
    }
}

fn take_body(from: &mut Take<'_>) -> Result<Body, Corrupt> {
    Ok(match from.u8()? {
        1 => Body::PageViewed {
            url: from.opt_text()?,
        },
        2 => Body::ProductsSearched {
            query: from.text()?,
        },
        3 => Body::ProductListViewed {
            category: from.opt_text()?,
        },
        4 => Body::ProductViewed(take_product(from)?),
        5 => Body::ProductCompared(take_product(from)?),
        6 => Body::WishlistAdded(take_product(from)?),
        7 => Body::ProductAdded {
            product: take_product(from)?,
            quantity: from.units()?,
        },
        8 => Body::ProductRemoved {
            product: take_product(from)?,
            quantity: from.units()?,
        },
        9 => Body::CartViewed,
        10 => Body::CheckoutStarted,
        11 => Body::OrderCompleted(Box::new(take_order(from)?)),
        12 => Body::OrderCancelled {
            order_id: from.text()?,
        },
        13 => Body::OrderRefunded(Box::new(take_refund(from)?)),
        14 => Body::OrderDelivered {
            order_id: from.text()?,
        },
        15 => Body::LeadCaptured,
        16 => Body::ProductReviewed {
            product_id: from.opt_text()?,
            rating: from.u8()?,
        },
        17 => Body::ProductShared {
            product_id: from.opt_text()?,
        },
        18 => Body::ReferralConverted {
            referee: from.opt_text()?,
        },
        19 => Body::NpsAnswered { score: from.u8()? },
        20 => Body::MessageOpened,
        21 => Body::MessageClicked,
        _ => return Err(from.corrupt("an event has a body of unknown number")),
    })
}
