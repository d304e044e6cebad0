//! The canonical vocabulary as mapping files may use it: which fields an event has, of which kind,
//! and which it must have.
//!
//! `wire::input` validates the values; this table only lets a wrong name be found when the mapping
//! is read, and tells how a foreign value is to be written.

/// How a field's value is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Text that identifies something: never the same for every row.
    Id,
    /// Any other text.
    Text,
    /// A number, exactly.
    Number,
    /// True or false.
    Flag,
    /// An instant.
    Time,
    /// The campaign object.
    Campaign,
    /// The list of lines.
    Lines,
}

/// A field: its name, and how it is written.
pub(super) type FieldKind = (&'static str, Kind);

/// Fields of every event.
pub(super) const COMMON: [FieldKind; 8] = [
    ("event_id", Kind::Id),
    ("event_time", Kind::Time),
    ("customer_id", Kind::Id),
    ("anonymous_id", Kind::Id),
    ("session_id", Kind::Id),
    ("channel", Kind::Text),
    ("campaign", Kind::Campaign),
    ("country", Kind::Text),
];

/// Fields of the campaign object.
pub(super) const CAMPAIGN: [FieldKind; 3] = [
    ("source", Kind::Text),
    ("medium", Kind::Text),
    ("name", Kind::Text),
];

/// Fields of a line of an order or refund.
pub(super) const LINE: [FieldKind; 6] = [
    ("line_id", Kind::Id),
    ("product_id", Kind::Text),
    ("category", Kind::Text),
    ("quantity", Kind::Number),
    ("price", Kind::Number),
    ("amount", Kind::Number),
];

/// One type of event.
pub(super) struct EventType {
    /// Its name.
    pub(super) name: &'static str,
    /// The topic that it goes to unless the mapping names another.
    pub(super) topic: &'static str,
    /// Its own fields.
    pub(super) fields: &'static [FieldKind],
    /// Those of its own fields that it cannot do without.
    pub(super) required: &'static [&'static str],
    /// Whether it may come without customer and visitor.
    pub(super) anyone: bool,
}

const PRODUCT: &[FieldKind] = &[
    ("product_id", Kind::Text),
    ("category", Kind::Text),
    ("price", Kind::Number),
    ("currency", Kind::Text),
];

const CART: &[FieldKind] = &[
    ("product_id", Kind::Text),
    ("category", Kind::Text),
    ("price", Kind::Number),
    ("currency", Kind::Text),
    ("quantity", Kind::Number),
];

const ORDER: &[FieldKind] = &[
    ("order_id", Kind::Id),
    ("partial", Kind::Flag),
    ("subtotal", Kind::Number),
    ("discount", Kind::Number),
    ("coupon", Kind::Text),
    ("tax", Kind::Number),
    ("shipping", Kind::Number),
    ("total", Kind::Number),
    ("cogs", Kind::Number),
    ("currency", Kind::Text),
    ("products", Kind::Lines),
];

const REFUND: &[FieldKind] = &[
    ("refund_id", Kind::Id),
    ("order_id", Kind::Id),
    ("partial", Kind::Flag),
    ("amount", Kind::Number),
    ("currency", Kind::Text),
    ("products", Kind::Lines),
];

const CLICKS: &str = "clickstream";
const ORDERS: &str = "orders";
const CARE: &str = "care";
const LOYALTY: &str = "loyalty";
const MARKETING: &str = "marketing";

const fn browse(
    name: &'static str,
    fields: &'static [FieldKind],
    required: &'static [&'static str],
) -> EventType {
    of(name, CLICKS, fields, required)
}

const fn of(
    name: &'static str,
    topic: &'static str,
    fields: &'static [FieldKind],
    required: &'static [&'static str],
) -> EventType {
    EventType {
        name,
        topic,
        fields,
        required,
        anyone: false,
    }
}

const fn about_order(
    name: &'static str,
    fields: &'static [FieldKind],
    required: &'static [&'static str],
) -> EventType {
    EventType {
        name,
        topic: ORDERS,
        fields,
        required,
        anyone: true,
    }
}

/// Every type of event.
pub(super) const EVENT_TYPES: [EventType; 21] = [
    browse("page_viewed", &[("url", Kind::Text)], &[]),
    browse("products_searched", &[("query", Kind::Text)], &["query"]),
    browse("product_list_viewed", &[("category", Kind::Text)], &[]),
    browse("product_viewed", PRODUCT, &["product_id"]),
    browse("product_compared", PRODUCT, &["product_id"]),
    browse("wishlist_added", PRODUCT, &["product_id"]),
    browse("product_added", CART, &["product_id"]),
    browse("product_removed", CART, &["product_id"]),
    browse("cart_viewed", &[], &[]),
    browse("checkout_started", &[], &[]),
    about_order("order_completed", ORDER, &["order_id"]),
    about_order("order_cancelled", &[("order_id", Kind::Id)], &["order_id"]),
    about_order("order_refunded", REFUND, &["refund_id"]),
    of(
        "order_delivered",
        ORDERS,
        &[("order_id", Kind::Id)],
        &["order_id"],
    ),
    browse("lead_captured", &[], &[]),
    of(
        "product_reviewed",
        LOYALTY,
        &[("product_id", Kind::Text), ("rating", Kind::Number)],
        &["rating"],
    ),
    of(
        "product_shared",
        LOYALTY,
        &[("product_id", Kind::Text)],
        &[],
    ),
    of(
        "referral_converted",
        LOYALTY,
        &[("referee", Kind::Text)],
        &[],
    ),
    of("nps_answered", CARE, &[("score", Kind::Number)], &["score"]),
    of("message_opened", MARKETING, &[], &[]),
    of("message_clicked", MARKETING, &[], &[]),
];

impl EventType {
    /// The type with this name.
    pub(super) fn by_name(name: &str) -> Option<&'static EventType> {
        EVENT_TYPES.iter().find(|known| known.name == name)
    }

    /// Every field that the event may have.
    pub(super) fn all_fields(&self) -> Vec<FieldKind> {
        COMMON.iter().chain(self.fields).copied().collect()
    }

    /// Whether the event states an amount, and so a currency.
    pub(super) fn has_currency(&self) -> bool {
        self.fields.iter().any(|(name, _)| *name == "currency")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::slot::{LineSlot, Slot};

    #[test]
    fn the_names_are_those_of_the_input_vocabulary() {
        for event in &EVENT_TYPES {
            for (name, _) in event.all_fields() {
                let known = Slot::by_name(name).is_some() || name == "campaign";
                assert!(known, "{}.{name}", event.name);
            }
            for name in event.required {
                assert!(event.fields.iter().any(|(f, _)| f == name), "{name}");
            }
        }
        for slot in Slot::ALL {
            let name = slot.name().split('.').next().unwrap();
            let usable = EVENT_TYPES
                .iter()
                .any(|e| e.all_fields().iter().any(|(f, _)| *f == name));
            assert!(usable || name == "type", "{name} cannot be mapped");
        }
        for slot in LineSlot::ALL {
            assert!(LINE.iter().any(|(name, _)| *name == slot.name()));
        }
        for (name, _) in CAMPAIGN {
            assert!(Slot::in_campaign(name).is_some(), "{name}");
        }
    }
}
