//! What is kept of an order or refund, and how two facts that disagree are joined: the lesser one
//! stands, whichever came first.

use crate::event::{Line, OrderCompleted, OrderRefunded, Text};
use crate::money::{Minor, Units};
use crate::time::TimeMs;

/// What is kept of one line that came on its own, with a time of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LineFact {
    /// [`line_key`] of the line's id.
    pub key: u64,
    /// When the line was recorded.
    pub time: TimeMs,
    /// Units.
    pub units: Units,
    /// Amount of the line.
    pub amount: Minor,
}

/// What is kept of an order or refund that came as a whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct WholeFact {
    /// When it happened.
    pub time: TimeMs,
    /// Gross before discounts (an order), or the amount given back (a refund).
    pub amount: Minor,
    /// Units.
    pub units: Units,
    /// Number of lines.
    pub lines: u32,
    /// Discount on the order; zero for refunds.
    pub discount: Minor,
    /// Whether a coupon was used.
    pub coupon: bool,
    /// Tax, kept apart so that it can count or not.
    pub tax: Minor,
    /// Shipping, likewise.
    pub shipping: Minor,
    /// Cost of goods, if stated.
    pub cogs: Option<Minor>,
}

/// An order or a refund: the same shape, told apart by the list that it stands in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Order id or refund id.
    pub id: Text,
    /// Lines that came one by one, sorted by key.
    pub lines: Vec<LineFact>,
    /// The whole, if it came as one; it then stands for the lines.
    pub whole: Option<WholeFact>,
    /// When the order was cancelled. A cancellation may come before its order.
    pub cancelled_at: Option<TimeMs>,
    /// When the order was delivered, likewise.
    pub delivered_at: Option<TimeMs>,
    /// Of a refund: the order that it gives back, where the source knows it.
    pub of_order: Option<Text>,
}

impl Entry {
    pub(super) fn new(id: Text) -> Entry {
        Entry {
            id,
            lines: Vec::new(),
            whole: None,
            cancelled_at: None,
            delivered_at: None,
            of_order: None,
        }
    }

    /// When it was placed: the time of the whole, or of its first line; `None` while only its
    /// cancellation or delivery is known.
    #[must_use]
    pub fn placed_at(&self) -> Option<TimeMs> {
        match &self.whole {
            Some(whole) => Some(whole.time),
            None => self.lines.iter().map(|l| l.time).min(),
        }
    }

    /// Sums over the parts recorded in the half-open span `(after, until]`; `None` when no part
    /// lies in it.
    #[must_use]
    pub fn within(&self, after: TimeMs, until: TimeMs) -> Option<Sums> {
        if let Some(whole) = &self.whole {
            return (after < whole.time && whole.time <= until).then_some(Sums {
                amount: whole.amount,
                units: whole.units,
                lines: whole.lines,
                first: whole.time,
                last: whole.time,
            });
        }
        let mut sums: Option<Sums> = None;
        for line in self
            .lines
            .iter()
            .filter(|l| after < l.time && l.time <= until)
        {
            let sums = sums.get_or_insert(Sums {
                amount: Minor::ZERO,
                units: Units::default(),
                lines: 0,
                first: line.time,
                last: line.time,
            });
            sums.amount += line.amount;
            sums.units += line.units;
            sums.lines = sums.lines.saturating_add(1);
            sums.first = sums.first.min(line.time);
            sums.last = sums.last.max(line.time);
        }
        sums
    }

    /// Whether the order was cancelled by `as_of`.
    #[must_use]
    pub fn is_cancelled(&self, as_of: TimeMs) -> bool {
        self.cancelled_at.is_some_and(|at| at <= as_of)
    }

    pub(super) fn discount(&self) -> Minor {
        self.whole.map_or(Minor::ZERO, |w| w.discount)
    }

    /// At least 20 % off, or a coupon.
    pub(super) fn is_discounted(&self) -> bool {
        self.whole.is_some_and(|w| {
            w.coupon || (w.discount.0 > 0 && w.discount.0.saturating_mul(5) >= w.amount.0)
        })
    }

    pub(super) fn put_line(&mut self, line: LineFact) -> bool {
        match self.lines.binary_search_by_key(&line.key, |l| l.key) {
            Ok(at) => {
                let lesser = self.lines[at].min(line);
                let changed = lesser != self.lines[at];
                self.lines[at] = lesser;
                changed
            }
            Err(at) => {
                self.lines.insert(at, line);
                true
            }
        }
    }

    /// Which order a refund is of: of two that are named, the lesser.
    pub(super) fn put_order(&mut self, order: Option<&Text>) -> bool {
        match (order, &self.of_order) {
            (None, _) => false,
            (Some(order), Some(known)) if known <= order => false,
            (Some(order), _) => {
                self.of_order = Some(order.clone());
                true
            }
        }
    }

    pub(super) fn put_whole(&mut self, whole: WholeFact) -> bool {
        let lesser = self.whole.map_or(whole, |known| known.min(whole));
        self.whole.replace(lesser) != Some(lesser)
    }
}

/// Sums over those parts of an order or refund that lie in a span of time; at least one does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sums {
    /// Sum of amounts.
    pub amount: Minor,
    /// Sum of units.
    pub units: Units,
    /// Number of lines.
    pub lines: u32,
    /// Earliest of the parts.
    pub first: TimeMs,
    /// Latest of the parts.
    pub last: TimeMs,
}

/// A line's id as 63 bits: digits stand for themselves (they encode short), everything else by its
/// hash. The top bit tells the two apart.
#[must_use]
pub fn line_key(id: &str) -> u64 {
    let canonical = !id.starts_with('0') || id == "0";
    match id.parse::<u64>() {
        Ok(n) if canonical && !id.starts_with('+') && n < 1 << 63 => n,
        _ => stable_hash(id) | 1 << 63,
    }
}

/// Bits of a [`product_key`]: state keeps one per product that a customer ever bought. Among 100
/// million customers with 30 products each, the odds are one in six thousand that the number of
/// products of any one of them is off by one.
pub const PRODUCT_KEY_BITS: u32 = 48;

/// A product's id as [`PRODUCT_KEY_BITS`] bits.
#[must_use]
pub fn product_key(id: &str) -> u64 {
    stable_hash(id) >> (u64::BITS - PRODUCT_KEY_BITS)
}

/// A hash that is the same on every platform and in every release: it stands in state.
#[must_use]
pub fn stable_hash(text: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(text.as_bytes())
}

pub(super) fn line_fact(time: TimeMs, line: &Line) -> LineFact {
    LineFact {
        key: line_key(&line.line_id),
        time,
        units: line.quantity,
        amount: line.amount,
    }
}

pub(super) fn whole_order(time: TimeMs, order: &OrderCompleted) -> WholeFact {
    WholeFact {
        time,
        amount: gross_of(order),
        units: units_of(&order.lines),
        lines: u32::try_from(order.lines.len()).unwrap_or(u32::MAX).max(1),
        discount: order.discount,
        coupon: order.coupon.is_some(),
        tax: order.tax,
        shipping: order.shipping,
        cogs: order.cogs,
    }
}

pub(super) fn whole_refund(time: TimeMs, refund: &OrderRefunded) -> WholeFact {
    WholeFact {
        time,
        amount: refund.amount,
        units: units_of(&refund.lines),
        lines: u32::try_from(refund.lines.len()).unwrap_or(u32::MAX).max(1),
        discount: Minor::ZERO,
        coupon: false,
        tax: Minor::ZERO,
        shipping: Minor::ZERO,
        cogs: None,
    }
}

fn units_of(lines: &[Line]) -> Units {
    lines
        .iter()
        .fold(Units::default(), |sum, l| sum + l.quantity)
}

/// Gross of a whole order: what it states as subtotal, or its lines, or what was paid with the
/// discount put back and tax and shipping taken out.
fn gross_of(order: &OrderCompleted) -> Minor {
    if let Some(subtotal) = order.subtotal {
        return subtotal;
    }
    if !order.lines.is_empty() {
        return order.lines.iter().map(|l| l.amount).sum();
    }
    match order.total {
        Some(total) => total + order.discount - order.tax - order.shipping,
        None => Minor::ZERO,
    }
}
