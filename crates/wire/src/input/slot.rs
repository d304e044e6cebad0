//! The fields of the input vocabulary, and the plain values that they hold before validation.

use domain::time::TimeMs;

/// A plain value as a record holds it, borrowed from the record.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Scalar<'a> {
    /// Absent or null.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number beyond [`i64::MAX`].
    Large(u64),
    /// A float; its shortest text counts.
    Float(f64),
    /// `unscaled` × 10^-`scale`.
    Decimal {
        /// All digits.
        unscaled: i64,
        /// How many of them are decimals.
        scale: u32,
    },
    /// A number that fits none of the above.
    Huge,
    /// Text.
    Text(&'a str),
    /// An instant, from a type that says so.
    Instant(TimeMs),
    /// A local time that does not say which instant it is.
    Local,
    /// 16 bytes that are a UUID.
    Uuid(u128),
    /// Bytes that should be text and are not UTF-8.
    NotUtf8,
    /// An object, a list or raw bytes: no plain value.
    Complex,
}

impl Scalar<'_> {
    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Scalar::Null => "null",
            Scalar::Bool(_) => "a boolean",
            Scalar::Int(_) | Scalar::Large(_) => "a whole number",
            Scalar::Float(_) | Scalar::Decimal { .. } | Scalar::Huge => "a number",
            Scalar::Text(_) => "a text",
            Scalar::Instant(_) => "an instant",
            Scalar::Local => "a local time without an offset",
            Scalar::Uuid(_) => "a UUID",
            Scalar::NotUtf8 => "text that is not UTF-8",
            Scalar::Complex => "an object, a list or bytes",
        }
    }
}

macro_rules! slots {
    ($(#[$head:meta])* $enum:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$head])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $enum {
            $($(#[$doc])* $variant,)*
        }

        impl $enum {
            /// Every field, in the order of encoding.
            pub const ALL: &'static [$enum] = &[$($enum::$variant,)*];
            /// How many there are.
            pub const COUNT: usize = $enum::ALL.len();

            /// The field's canonical name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $($enum::$variant => $name,)*
                }
            }

            /// The field with the canonical name `name`.
            #[must_use]
            pub fn by_name(name: &str) -> Option<$enum> {
                match name {
                    $($name => Some($enum::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

slots! {
    /// A field of an event. Those of the nested `campaign` object carry its name and a dot.
    Slot {
        /// Unique id of the event.
        EventId = "event_id",
        /// When it happened.
        EventTime = "event_time",
        /// The event's name.
        Type = "type",
        /// The identified customer.
        CustomerId = "customer_id",
        /// The browser or device.
        AnonymousId = "anonymous_id",
        /// The producer's session.
        SessionId = "session_id",
        /// Marketing channel.
        Channel = "channel",
        /// `utm_source`.
        CampaignSource = "campaign.source",
        /// `utm_medium`.
        CampaignMedium = "campaign.medium",
        /// `utm_campaign`.
        CampaignName = "campaign.name",
        /// Country.
        Country = "country",
        /// Path or URL.
        Url = "url",
        /// What was searched for.
        Query = "query",
        /// The product.
        ProductId = "product_id",
        /// Its category, or the list's.
        Category = "category",
        /// Its unit price.
        Price = "price",
        /// How many were put into or taken out of the cart.
        Quantity = "quantity",
        /// The order.
        OrderId = "order_id",
        /// The refund.
        RefundId = "refund_id",
        /// Whether more of the order or refund comes in other events.
        Partial = "partial",
        /// Sum of lines before discounts.
        Subtotal = "subtotal",
        /// Order-level discount.
        Discount = "discount",
        /// Coupon code.
        Coupon = "coupon",
        /// Tax included in the total.
        Tax = "tax",
        /// Shipping included in the total.
        Shipping = "shipping",
        /// What the customer paid.
        Total = "total",
        /// Cost of goods sold.
        Cogs = "cogs",
        /// Amount given back.
        Amount = "amount",
        /// ISO 4217 code of every amount of the event.
        Currency = "currency",
        /// Stars of a review.
        Rating = "rating",
        /// Answer to the NPS question.
        Score = "score",
        /// Who was referred.
        Referee = "referee",
        /// The lines: null unless they are no list of objects.
        Products = "products",
    }
}

slots! {
    /// A field of an order's or refund's line.
    LineSlot {
        /// Identifies the line within its order or refund.
        LineId = "line_id",
        /// The product.
        ProductId = "product_id",
        /// Its category.
        Category = "category",
        /// Units sold or returned.
        Quantity = "quantity",
        /// Unit price.
        Price = "price",
        /// Amount of the whole line.
        Amount = "amount",
    }
}

impl Slot {
    /// Whether it is a plain field of the event itself, neither nested nor the list of lines.
    pub(crate) fn in_event(self) -> bool {
        self != Slot::Products && !self.name().contains('.')
    }

    /// The field of the nested campaign object with the short name `name`.
    #[must_use]
    pub fn in_campaign(name: &str) -> Option<Slot> {
        match name {
            "source" => Some(Slot::CampaignSource),
            "medium" => Some(Slot::CampaignMedium),
            "name" => Some(Slot::CampaignName),
            _ => None,
        }
    }
}

/// The event's own field `name`. Dotted names are of the campaign object only.
pub(crate) fn top_level(name: &str) -> Option<Slot> {
    Slot::by_name(name).filter(|slot| *slot == Slot::Products || slot.in_event())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_fields_are_one_to_one() {
        for slot in Slot::ALL {
            assert_eq!(Slot::by_name(slot.name()), Some(*slot));
        }
        for slot in LineSlot::ALL {
            assert_eq!(LineSlot::by_name(slot.name()), Some(*slot));
        }
        assert_eq!(Slot::by_name("nonsense"), None);
    }
}
