//! The fields of an event by slot: the inverse of the builder, for encoding.

use domain::event::{Body, Event, Line, OrderCompleted, OrderRefunded, Product, Text};
use domain::money::{Minor, Units};
use domain::time::TimeMs;

use super::slot::{LineSlot, Slot};

/// A field's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Field<'e> {
    Absent,
    Text(&'e str),
    Bool(bool),
    Whole(i64),
    Amount(Minor),
    Units(Units),
    Time(TimeMs),
    /// The shop's currency.
    Currency,
}

fn optional(text: &Option<Text>) -> Field<'_> {
    text.as_deref().map_or(Field::Absent, Field::Text)
}

fn amount(amount: Option<Minor>) -> Field<'static> {
    amount.map_or(Field::Absent, Field::Amount)
}

/// Zero is the default of amounts that an order may leave out.
fn unless_zero(found: Minor) -> Field<'static> {
    amount((found != Minor::ZERO).then_some(found))
}

/// The lines of an order or a refund.
pub(crate) fn lines(event: &Event) -> &[Line] {
    match &event.body {
        Body::OrderCompleted(order) => &order.lines,
        Body::OrderRefunded(refund) => &refund.lines,
        _ => &[],
    }
}

/// One field of a line.
pub(crate) fn line_field(line: &Line, slot: LineSlot) -> Field<'_> {
    match slot {
        LineSlot::LineId => Field::Text(&line.line_id),
        LineSlot::ProductId => Field::Text(&line.product_id),
        LineSlot::Category => optional(&line.category),
        LineSlot::Quantity => Field::Units(line.quantity),
        LineSlot::Price => Field::Absent,
        LineSlot::Amount => Field::Amount(line.amount),
    }
}

/// One field of an event.
pub(crate) fn field(event: &Event, slot: Slot) -> Field<'_> {
    let campaign = event.campaign.as_deref();
    match slot {
        Slot::EventId => Field::Text(&event.id),
        Slot::EventTime => Field::Time(event.time),
        Slot::Type => Field::Text(event.body.type_name()),
        Slot::CustomerId => optional(&event.customer_id),
        Slot::AnonymousId => optional(&event.anonymous_id),
        Slot::SessionId => optional(&event.session_id),
        Slot::Channel => optional(&event.channel),
        Slot::CampaignSource => campaign.map_or(Field::Absent, |c| optional(&c.source)),
        Slot::CampaignMedium => campaign.map_or(Field::Absent, |c| optional(&c.medium)),
        Slot::CampaignName => campaign.map_or(Field::Absent, |c| optional(&c.name)),
        Slot::Country => optional(&event.country),
        _ => body_field(&event.body, slot),
    }
}

fn body_field(body: &Body, slot: Slot) -> Field<'_> {
    match (body, slot) {
        (Body::PageViewed { url }, Slot::Url) => optional(url),
        (Body::ProductsSearched { query }, Slot::Query) => Field::Text(query),
        (Body::ProductListViewed { category }, Slot::Category) => optional(category),
        (
            Body::ProductAdded { quantity, .. } | Body::ProductRemoved { quantity, .. },
            Slot::Quantity,
        ) => Field::Units(*quantity),
        (
            Body::ProductViewed(product)
            | Body::ProductCompared(product)
            | Body::WishlistAdded(product)
            | Body::ProductAdded { product, .. }
            | Body::ProductRemoved { product, .. },
            slot,
        ) => product_field(product, slot),
        (Body::OrderCompleted(order), slot) => order_field(order, slot),
        (Body::OrderRefunded(refund), slot) => refund_field(refund, slot),
        (Body::OrderCancelled { order_id } | Body::OrderDelivered { order_id }, Slot::OrderId) => {
            Field::Text(order_id)
        }
        (
            Body::ProductReviewed { product_id, .. } | Body::ProductShared { product_id },
            Slot::ProductId,
        ) => optional(product_id),
        (Body::ProductReviewed { rating, .. }, Slot::Rating) => Field::Whole(i64::from(*rating)),
        (Body::ReferralConverted { referee }, Slot::Referee) => optional(referee),
        (Body::NpsAnswered { score }, Slot::Score) => Field::Whole(i64::from(*score)),
        _ => Field::Absent,
    }
}

fn product_field(product: &Product, slot: Slot) -> Field<'_> {
    match slot {
        Slot::ProductId => Field::Text(&product.product_id),
        Slot::Category => optional(&product.category),
        Slot::Price => amount(product.price),
        Slot::Currency if product.price.is_some() => Field::Currency,
        _ => Field::Absent,
    }
}

fn order_field(order: &OrderCompleted, slot: Slot) -> Field<'_> {
    match slot {
        Slot::OrderId => Field::Text(&order.order_id),
        Slot::Partial => Field::Bool(order.partial),
        Slot::Subtotal => amount(order.subtotal),
        Slot::Discount => unless_zero(order.discount),
        Slot::Coupon => optional(&order.coupon),
        Slot::Tax => unless_zero(order.tax),
        Slot::Shipping => unless_zero(order.shipping),
        Slot::Total => amount(order.total),
        Slot::Cogs => amount(order.cogs),
        Slot::Currency => Field::Currency,
        _ => Field::Absent,
    }
}

fn refund_field(refund: &OrderRefunded, slot: Slot) -> Field<'_> {
    match slot {
        Slot::RefundId => Field::Text(&refund.refund_id),
        Slot::OrderId => optional(&refund.order_id),
        Slot::Partial => Field::Bool(refund.partial),
        Slot::Amount if !refund.partial => Field::Amount(refund.amount),
        Slot::Currency => Field::Currency,
        _ => Field::Absent,
    }
}
