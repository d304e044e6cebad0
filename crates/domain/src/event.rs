//! What happened: the input vocabulary, after decoding and validation.
//!
//! An [`Event`] is already valid: its time lies within the accepted range, its amounts are within
//! bounds and in the shop's currency. Whatever is not goes to the dead-letter topic before it
//! becomes an `Event` (crate `wire`).

use smol_str::{SmolStr, SmolStrBuilder};

use crate::money::{Minor, Units};
use crate::time::TimeMs;

/// Short text: identifiers, names, categories. Inline up to 23 bytes, cheap to clone.
pub type Text = SmolStr;

/// One event, about one profile or (an order without a customer) about the shop only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Unique id; a second delivery within the grace is dropped and counted.
    pub id: Text,
    /// When it happened.
    pub time: TimeMs,
    /// The identified customer, if any.
    pub customer_id: Option<Text>,
    /// The browser or device, if the customer is not (or not yet) identified.
    pub anonymous_id: Option<Text>,
    /// The producer's session id. Sessions are cut by the gap between events, not by this id.
    pub session_id: Option<Text>,
    /// Marketing channel, for example `email`, `organic`, `direct`.
    pub channel: Option<Text>,
    /// Campaign that brought the visit, if any.
    pub campaign: Option<Box<Campaign>>,
    /// Country, as the producer names it.
    pub country: Option<Text>,
    /// What happened.
    pub body: Body,
}

/// Where a visit came from, in the terms of UTM parameters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Campaign {
    /// `utm_source`.
    pub source: Option<Text>,
    /// `utm_medium`.
    pub medium: Option<Text>,
    /// `utm_campaign`.
    pub name: Option<Text>,
}

/// A product as a browsing event names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Product {
    /// The shop's product id (SKU).
    pub product_id: Text,
    /// Category, if known.
    pub category: Option<Text>,
    /// Unit price, if known.
    pub price: Option<Minor>,
}

/// One line of an order or of a refund.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Identifies the line within its order or refund, for ever: a second delivery changes nothing.
    /// Required on partial events; where a complete order names none, it is the line's index.
    pub line_id: Text,
    /// The shop's product id (SKU).
    pub product_id: Text,
    /// Category, if known.
    pub category: Option<Text>,
    /// Units sold or returned. Negative on an order's line is a correction, kept as it stands.
    pub quantity: Units,
    /// Amount of the whole line (price times quantity), before order-level discounts.
    pub amount: Minor,
}

/// An order, whole or in part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderCompleted {
    /// Identifies the order for ever.
    pub order_id: Text,
    /// `true`: these lines belong to the order and more may come in other events; lines accumulate
    /// by `line_id`, each at its own event's time. `false`: the event is the whole order.
    pub partial: bool,
    /// Sum of the lines before discounts. Absent: the sum of `lines`, or `total + discount − tax −
    /// shipping` where there are none.
    pub subtotal: Option<Minor>,
    /// Order-level discount, ≥ 0.
    pub discount: Minor,
    /// Coupon code, if one was used.
    pub coupon: Option<Text>,
    /// Tax included in `total`.
    pub tax: Minor,
    /// Shipping included in `total`.
    pub shipping: Minor,
    /// What the customer paid, if stated.
    pub total: Option<Minor>,
    /// Cost of goods sold, if stated.
    pub cogs: Option<Minor>,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A refund, whole or in part, with or without the order that it belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderRefunded {
    /// Identifies the refund for ever.
    pub refund_id: Text,
    /// The order that is refunded, if the source knows it.
    pub order_id: Option<Text>,
    /// As in [`OrderCompleted`]: lines accumulate by `line_id`.
    pub partial: bool,
    /// Amount given back, ≥ 0. On partial events the sum of `lines`.
    pub amount: Minor,
    /// The lines given back, quantities and amounts counted positive. A negative line is kept as
    /// it stands.
    pub lines: Vec<Line>,
}

/// The closed set of things that can happen. One `.avsc` of `schemas/input` each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// `page_viewed`
    PageViewed {
        /// Path or URL.
        url: Option<Text>,
    },
    /// `products_searched`
    ProductsSearched {
        /// What was typed.
        query: Text,
    },
    /// `product_list_viewed`
    ProductListViewed {
        /// Category of the list.
        category: Option<Text>,
    },
    /// `product_viewed`
    ProductViewed(Product),
    /// `product_compared`
    ProductCompared(Product),
    /// `wishlist_added`
    WishlistAdded(Product),
    /// `product_added` (to the cart)
    ProductAdded {
        /// Which product.
        product: Product,
        /// How many.
        quantity: Units,
    },
    /// `product_removed` (from the cart)
    ProductRemoved {
        /// Which product.
        product: Product,
        /// How many.
        quantity: Units,
    },
    /// `cart_viewed`
    CartViewed,
    /// `checkout_started`
    CheckoutStarted,
    /// `order_completed`
    OrderCompleted(Box<OrderCompleted>),
    /// `order_cancelled`
    OrderCancelled {
        /// The order that is cancelled as a whole. May come before its order.
        order_id: Text,
    },
    /// `order_refunded`
    OrderRefunded(Box<OrderRefunded>),
    /// `order_delivered`
    OrderDelivered {
        /// The order that was delivered.
        order_id: Text,
    },
    /// `lead_captured`
    LeadCaptured,
    /// `product_reviewed`
    ProductReviewed {
        /// The product, if the review names one.
        product_id: Option<Text>,
        /// 1 to 5.
        rating: u8,
    },
    /// `product_shared`
    ProductShared {
        /// The product, if named.
        product_id: Option<Text>,
    },
    /// `referral_converted`
    ReferralConverted {
        /// Who came.
        referee: Option<Text>,
    },
    /// `nps_answered`
    NpsAnswered {
        /// 0 to 10.
        score: u8,
    },
    /// `message_opened`
    MessageOpened,
    /// `message_clicked`
    MessageClicked,
}

impl Body {
    /// The order that the event is about, if it is about one.
    #[must_use]
    pub fn order_id(&self) -> Option<&Text> {
        match self {
            Body::OrderCompleted(order) => Some(&order.order_id),
            Body::OrderCancelled { order_id } | Body::OrderDelivered { order_id } => Some(order_id),
            Body::OrderRefunded(refund) => refund.order_id.as_ref(),
            _ => None,
        }
    }

    /// The event's name on the wire, as in `schemas/input`.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Body::PageViewed { .. } => "page_viewed",
            Body::ProductsSearched { .. } => "products_searched",
            Body::ProductListViewed { .. } => "product_list_viewed",
            Body::ProductViewed(_) => "product_viewed",
            Body::ProductCompared(_) => "product_compared",
            Body::WishlistAdded(_) => "wishlist_added",
            Body::ProductAdded { .. } => "product_added",
            Body::ProductRemoved { .. } => "product_removed",
            Body::CartViewed => "cart_viewed",
            Body::CheckoutStarted => "checkout_started",
            Body::OrderCompleted(_) => "order_completed",
            Body::OrderCancelled { .. } => "order_cancelled",
            Body::OrderRefunded(_) => "order_refunded",
            Body::OrderDelivered { .. } => "order_delivered",
            Body::LeadCaptured => "lead_captured",
            Body::ProductReviewed { .. } => "product_reviewed",
            Body::ProductShared { .. } => "product_shared",
            Body::ReferralConverted { .. } => "referral_converted",
            Body::NpsAnswered { .. } => "nps_answered",
            Body::MessageOpened => "message_opened",
            Body::MessageClicked => "message_clicked",
        }
    }

    /// Orders, cancellations and refunds: counted exactly at any lateness, idempotent by their own
    /// ids. Everything else is behaviour, deduplicated by event id within the grace.
    #[must_use]
    pub fn is_order_fact(&self) -> bool {
        matches!(
            self,
            Body::OrderCompleted(_) | Body::OrderCancelled { .. } | Body::OrderRefunded(_)
        )
    }

    /// What the customer did on a site or in an app, and so what a session is made of. Deliveries,
    /// refunds and cancellations are done *to* the order, not by a visitor.
    #[must_use]
    pub fn is_visit(&self) -> bool {
        !matches!(
            self,
            Body::OrderCancelled { .. }
                | Body::OrderRefunded(_)
                | Body::OrderDelivered { .. }
                | Body::ReferralConverted { .. }
                | Body::MessageOpened
        )
    }
}

/// Whose state an event belongs to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Owner {
    /// A customer, by customer id.
    Customer(Text),
    /// A visitor who is not identified, by anonymous id.
    Visitor(Text),
    /// An order without a customer: it counts in the shop's totals and belongs to no profile.
    Guest(Text),
}

impl Owner {
    /// The key as it stands in state, in the changelog and in outputs. The partition is computed
    /// from exactly these bytes. A customer's key is his id as it is, so that topics keyed by
    /// customer id need no forwarding; the two others carry a prefix that customer ids may not
    /// begin with (`wire` rejects those).
    #[must_use]
    pub fn key(&self) -> Text {
        match self {
            Owner::Customer(id) => id.clone(),
            Owner::Visitor(id) => prefixed(VISITOR_PREFIX, id),
            Owner::Guest(order) => prefixed(GUEST_PREFIX, order),
        }
    }

    /// The inverse of [`Owner::key`].
    #[must_use]
    pub fn from_key(key: &str) -> Owner {
        if let Some(id) = key.strip_prefix(VISITOR_PREFIX) {
            Owner::Visitor(id.into())
        } else if let Some(order) = key.strip_prefix(GUEST_PREFIX) {
            Owner::Guest(order.into())
        } else {
            Owner::Customer(key.into())
        }
    }
}

/// Every event asks for its key: no formatting, and no allocation where it fits inline.
fn prefixed(prefix: &str, id: &str) -> Text {
    let mut key = SmolStrBuilder::new();
    key.push_str(prefix);
    key.push_str(id);
    key.finish()
}

/// Prefix of a visitor's key.
pub const VISITOR_PREFIX: &str = "anon:";
/// Prefix of a guest order's key.
pub const GUEST_PREFIX: &str = "guest:";

impl Event {
    /// Whose state this event belongs to; `None` when it names nobody and is no order either.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        if let Some(id) = &self.customer_id {
            return Some(Owner::Customer(id.clone()));
        }
        if let Some(id) = &self.anonymous_id {
            return Some(Owner::Visitor(id.clone()));
        }
        match &self.body {
            Body::OrderCompleted(o) => Some(Owner::Guest(o.order_id.clone())),
            Body::OrderCancelled { order_id } => Some(Owner::Guest(order_id.clone())),
            Body::OrderRefunded(r) => Some(Owner::Guest(
                r.order_id.clone().unwrap_or_else(|| r.refund_id.clone()),
            )),
            _ => None,
        }
    }
}
