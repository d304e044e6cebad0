//! A customer's orders and refunds: exact at any lateness, idempotent for ever, in any order of
//! arrival.
//!
//! Invariant: the book is a join of facts. Taking in a set of facts gives the same book whatever
//! their order and however often each one comes, because every conflict (two versions of one order
//! line, two cancellations) is settled by taking the lesser of the two, never the later arrival.
//! Everything else in this module is derived from the facts and can be asked as of any instant.

use crate::event::{Body, Event, Line, OrderCompleted, OrderRefunded, Text};
use crate::money::{Minor, Units};
use crate::time::{DAY_MS, Day, TimeMs};

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
    fn new(id: Text) -> Entry {
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

    fn discount(&self) -> Minor {
        self.whole.map_or(Minor::ZERO, |w| w.discount)
    }

    /// At least 20 % off, or a coupon.
    fn is_discounted(&self) -> bool {
        self.whole.is_some_and(|w| {
            w.coupon || (w.discount.0 > 0 && w.discount.0.saturating_mul(5) >= w.amount.0)
        })
    }

    fn put_line(&mut self, line: LineFact) -> bool {
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
    fn put_order(&mut self, order: Option<&Text>) -> bool {
        match (order, &self.of_order) {
            (None, _) => false,
            (Some(order), Some(known)) if known <= order => false,
            (Some(order), _) => {
                self.of_order = Some(order.clone());
                true
            }
        }
    }

    fn put_whole(&mut self, whole: WholeFact) -> bool {
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

/// All orders and refunds of one owner.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OrderBook {
    /// Orders, in the order of their ids.
    pub orders: Vec<Entry>,
    /// Refunds and returns, in the order of their ids.
    pub refunds: Vec<Entry>,
    /// [`product_key`]s of every product on a line of an order or refund, sorted, each once.
    pub products: Vec<u64>,
}

/// Whether a fact was new.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// It changed the book.
    New,
    /// It was known already.
    Known,
}

/// Orders as of an instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OrderStats {
    /// Orders that were not cancelled.
    pub orders: u32,
    /// Orders that were cancelled.
    pub cancelled_orders: u32,
    /// Refunds and returns.
    pub refund_count: u32,
    /// Lines of orders and of refunds.
    pub lines: u32,
    /// Gross of all orders, cancelled ones included.
    pub gross: Minor,
    /// Gross of the cancelled ones.
    pub cancelled: Minor,
    /// Discounts of those that were not cancelled.
    pub discounts: Minor,
    /// Amounts given back, but for refunds of cancelled orders.
    pub refunds: Minor,
    /// Units sold, of all orders.
    pub units_sold: Units,
    /// Units returned.
    pub units_returned: Units,
    /// Tax of orders that were not cancelled.
    pub tax: Minor,
    /// Shipping of orders that were not cancelled.
    pub shipping: Minor,
    /// Cost of goods of orders that were not cancelled, where stated.
    pub cogs: Option<Minor>,
    /// Orders that were neither cancelled nor at a discount.
    pub full_price_orders: u32,
    /// First order, by its first line; cancelled ones do not count.
    pub first: Option<TimeMs>,
    /// Last order, by its last line; cancelled ones do not count.
    pub last: Option<TimeMs>,
    /// Whether an order that was not cancelled has been delivered.
    pub any_delivered: bool,
    /// Longest gap between neighbouring orders, in milliseconds.
    pub longest_interval_ms: Option<i64>,
}

impl OrderStats {
    /// Mean interval between orders in milliseconds; `None` with fewer than two.
    #[must_use]
    pub fn mean_interval_ms(&self) -> Option<i64> {
        let (first, last) = (self.first?, self.last?);
        (self.orders >= 2).then(|| last.since(first) / (i64::from(self.orders) - 1))
    }

    /// `gross − discounts − refunds − cancelled`.
    #[must_use]
    pub fn net(&self) -> Minor {
        self.gross - self.discounts - self.refunds - self.cancelled
    }

    /// Whether what was given back is at least what was paid: nothing of the relation is left.
    #[must_use]
    pub fn is_fully_refunded(&self) -> bool {
        self.refunds.0 > 0 && self.net().0 <= 0
    }
}

/// Orders within a rolling window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OrderWindow {
    /// Distinct orders with a part in the window, not cancelled.
    pub orders: u32,
    /// Their gross within the window.
    pub gross: Minor,
    /// Amounts given back within the window.
    pub returns: Minor,
    /// Distinct UTC days with an order in the window.
    pub active_days: u32,
}

/// The totals of one day, of one owner or of a whole shop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DayTotals {
    /// Lines of orders and refunds.
    pub lines: i64,
    /// Distinct orders.
    pub orders: i64,
    /// Distinct refunds, returns and cancelled orders, on the day of the refund or cancellation.
    pub cancellations: i64,
    /// Distinct customers with a line of either kind.
    pub customers: i64,
    /// Gross of orders.
    pub gross: Minor,
    /// Amounts given back.
    pub returns: Minor,
}

impl DayTotals {
    /// Adds `other`.
    pub fn add(&mut self, other: &DayTotals) {
        self.lines += other.lines;
        self.orders += other.orders;
        self.cancellations += other.cancellations;
        self.customers += other.customers;
        self.gross += other.gross;
        self.returns += other.returns;
    }

    /// `self − other`.
    #[must_use]
    pub fn minus(&self, other: &DayTotals) -> DayTotals {
        DayTotals {
            lines: self.lines - other.lines,
            orders: self.orders - other.orders,
            cancellations: self.cancellations - other.cancellations,
            customers: self.customers - other.customers,
            gross: self.gross - other.gross,
            returns: self.returns - other.returns,
        }
    }
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

fn entry<'a>(list: &'a mut Vec<Entry>, id: &Text) -> &'a mut Entry {
    let at = match list.binary_search_by(|e| e.id.cmp(id)) {
        Ok(at) => at,
        Err(at) => {
            list.insert(at, Entry::new(id.clone()));
            at
        }
    };
    &mut list[at]
}

fn min_time(known: &mut Option<TimeMs>, time: TimeMs) -> bool {
    let lesser = known.map_or(time, |k| k.min(time));
    known.replace(lesser) != Some(lesser)
}

impl OrderBook {
    /// Takes in an order fact or a delivery. Other events leave the book as it is.
    pub fn take(&mut self, event: &Event) -> Taken {
        let changed = match &event.body {
            Body::OrderCompleted(order) => self.take_order(event.time, order),
            Body::OrderRefunded(refund) => self.take_refund(event.time, refund),
            Body::OrderCancelled { order_id } => min_time(
                &mut entry(&mut self.orders, order_id).cancelled_at,
                event.time,
            ),
            Body::OrderDelivered { order_id } => min_time(
                &mut entry(&mut self.orders, order_id).delivered_at,
                event.time,
            ),
            _ => false,
        };
        if changed { Taken::New } else { Taken::Known }
    }

    fn take_order(&mut self, time: TimeMs, order: &OrderCompleted) -> bool {
        if order.partial && order.lines.is_empty() {
            return false;
        }
        let products = self.take_products(&order.lines);
        let known = entry(&mut self.orders, &order.order_id);
        products
            | if order.partial {
                put_lines(known, time, &order.lines)
            } else {
                known.put_whole(whole_order(time, order))
            }
    }

    fn take_refund(&mut self, time: TimeMs, refund: &OrderRefunded) -> bool {
        if refund.partial && refund.lines.is_empty() {
            return false;
        }
        let products = self.take_products(&refund.lines);
        let known = entry(&mut self.refunds, &refund.refund_id);
        products
            | known.put_order(refund.order_id.as_ref())
            | if refund.partial {
                put_lines(known, time, &refund.lines)
            } else {
                known.put_whole(whole_refund(time, refund))
            }
    }

    fn take_products(&mut self, lines: &[Line]) -> bool {
        let mut changed = false;
        for line in lines {
            let key = product_key(&line.product_id);
            if let Err(at) = self.products.binary_search(&key) {
                self.products.insert(at, key);
                changed = true;
            }
        }
        changed
    }

    /// Whether taking in `event` would change nothing, as it is for events that are no facts of the
    /// book.
    #[must_use]
    pub fn knows(&self, event: &Event) -> bool {
        let order = |id| find(&self.orders, id);
        let by = |known: Option<TimeMs>| known.is_some_and(|at| at <= event.time);
        match &event.body {
            Body::OrderCompleted(o) if o.partial => {
                self.knows_lines(order(&o.order_id), event.time, &o.lines)
            }
            Body::OrderCompleted(o) => {
                let known = order(&o.order_id).and_then(|e| e.whole);
                known.is_some_and(|w| w <= whole_order(event.time, o))
                    && self.knows_products(&o.lines)
            }
            Body::OrderRefunded(r) => {
                let known = find(&self.refunds, &r.refund_id);
                let knows_order = match (&r.order_id, known.and_then(|e| e.of_order.as_ref())) {
                    (None, _) => true,
                    (Some(order), known) => known.is_some_and(|known| known <= order),
                };
                knows_order
                    && if r.partial {
                        self.knows_lines(known, event.time, &r.lines)
                    } else {
                        let whole = known.and_then(|e| e.whole);
                        whole.is_some_and(|w| w <= whole_refund(event.time, r))
                            && self.knows_products(&r.lines)
                    }
            }
            Body::OrderCancelled { order_id } => by(order(order_id).and_then(|e| e.cancelled_at)),
            Body::OrderDelivered { order_id } => by(order(order_id).and_then(|e| e.delivered_at)),
            _ => true,
        }
    }

    fn knows_lines(&self, known: Option<&Entry>, time: TimeMs, lines: &[Line]) -> bool {
        let knows = |line: &Line| {
            let fact = line_fact(time, line);
            known.is_some_and(|entry| {
                let at = entry.lines.binary_search_by_key(&fact.key, |l| l.key);
                at.is_ok_and(|at| entry.lines[at] <= fact)
            })
        };
        lines.iter().all(knows) && self.knows_products(lines)
    }

    fn knows_products(&self, lines: &[Line]) -> bool {
        let knows = |line: &Line| {
            let key = product_key(&line.product_id);
            self.products.binary_search(&key).is_ok()
        };
        lines.iter().all(knows)
    }

    /// Orders and refunds as they stand at `as_of`: facts of later instants do not count.
    #[must_use]
    pub fn stats(&self, as_of: TimeMs) -> OrderStats {
        let within = |entry: &Entry| entry.within(TimeMs::MIN, as_of);
        let (orders, refunds) = (self.orders.iter(), self.refunds.iter());
        self.stats_over(as_of, orders.map(within), refunds.map(within))
    }

    /// The same, where what each order and refund comes to by `as_of` is known already.
    pub(crate) fn stats_over(
        &self,
        as_of: TimeMs,
        orders: impl Iterator<Item = Option<Sums>>,
        refunds: impl Iterator<Item = Option<Sums>>,
    ) -> OrderStats {
        let mut stats = OrderStats::default();
        let mut spans: Vec<(TimeMs, TimeMs)> = Vec::with_capacity(self.orders.len());
        for (order, sums) in self.orders.iter().zip(orders) {
            let Some(sums) = sums else {
                continue;
            };
            stats.gross += sums.amount;
            stats.units_sold += sums.units;
            stats.lines = stats.lines.saturating_add(sums.lines);
            if order.is_cancelled(as_of) {
                stats.cancelled += sums.amount;
                stats.cancelled_orders += 1;
                continue;
            }
            stats.orders += 1;
            stats.full_price_orders += u32::from(!order.is_discounted());
            stats.discounts += order.discount();
            stats.any_delivered |= order.delivered_at.is_some_and(|at| at <= as_of);
            if let Some(whole) = &order.whole {
                stats.tax += whole.tax;
                stats.shipping += whole.shipping;
                if let Some(cogs) = whole.cogs {
                    stats.cogs = Some(stats.cogs.unwrap_or_default() + cogs);
                }
            }
            spans.push((sums.first, sums.last));
        }
        for (refund, sums) in self.refunds.iter().zip(refunds) {
            let Some(sums) = sums else {
                continue;
            };
            // What a cancelled order came to is taken off already.
            let order = refund
                .of_order
                .as_ref()
                .and_then(|id| find(&self.orders, id));
            if !order.is_some_and(|order| order.is_cancelled(as_of)) {
                stats.refunds += sums.amount;
            }
            stats.units_returned += sums.units;
            stats.lines = stats.lines.saturating_add(sums.lines);
            stats.refund_count += 1;
        }
        spans.sort_unstable();
        stats.first = spans.first().map(|s| s.0);
        stats.last = spans.iter().map(|s| s.1).max();
        stats.longest_interval_ms = spans.windows(2).map(|w| w[1].0.since(w[0].0)).max();
        stats
    }

    /// The window of `days` × 24 h that ends at `as_of`, exact to the millisecond:
    /// `as_of − days·24 h < time ≤ as_of`.
    #[must_use]
    pub fn window(&self, as_of: TimeMs, days: u32) -> OrderWindow {
        let after = as_of.minus(i64::from(days) * DAY_MS);
        let mut window = OrderWindow::default();
        let mut active: Vec<Day> = Vec::new();
        for order in self.orders.iter().filter(|o| !o.is_cancelled(as_of)) {
            let Some(sums) = order.within(after, as_of) else {
                continue;
            };
            window.orders += 1;
            window.gross += sums.amount;
            match &order.whole {
                Some(whole) => active.push(whole.time.day()),
                None => active.extend(
                    order
                        .lines
                        .iter()
                        .filter(|l| after < l.time && l.time <= as_of)
                        .map(|l| l.time.day()),
                ),
            }
        }
        for refund in &self.refunds {
            if let Some(sums) = refund.within(after, as_of) {
                window.returns += sums.amount;
            }
        }
        active.sort_unstable();
        active.dedup();
        window.active_days = u32::try_from(active.len()).unwrap_or(u32::MAX);
        window
    }

    /// What this owner contributes to the shop's totals of `day`. `is_customer` says whether the
    /// owner counts as a customer (a guest order does not).
    #[must_use]
    pub fn day_totals(&self, day: Day, is_customer: bool) -> DayTotals {
        let (after, until) = (day.start().minus(1), day.start().plus(DAY_MS - 1));
        let mut totals = DayTotals::default();
        for order in &self.orders {
            if let Some(sums) = order.within(after, until) {
                totals.orders += 1;
                totals.gross += sums.amount;
                totals.lines += i64::from(sums.lines);
            }
            let cancelled_today = order.cancelled_at.is_some_and(|at| at.day() == day);
            totals.cancellations += i64::from(cancelled_today && order.placed_at().is_some());
        }
        for refund in &self.refunds {
            if let Some(sums) = refund.within(after, until) {
                totals.cancellations += 1;
                totals.returns += sums.amount;
                totals.lines += i64::from(sums.lines);
            }
        }
        totals.customers = i64::from(is_customer && totals.lines > 0);
        totals
    }

    /// The days on which taking in `event` can change [`OrderBook::day_totals`].
    #[must_use]
    pub fn days_touched(&self, event: &Event) -> Vec<Day> {
        let mut days = vec![event.time.day()];
        let id = match &event.body {
            Body::OrderCompleted(o) if !o.partial => &o.order_id,
            Body::OrderRefunded(r) if !r.partial => &r.refund_id,
            Body::OrderCompleted(o) => &o.order_id,
            Body::OrderRefunded(r) => &r.refund_id,
            Body::OrderCancelled { order_id } => order_id,
            _ => return days,
        };
        for list in [&self.orders, &self.refunds] {
            if let Ok(at) = list.binary_search_by(|e| e.id.cmp(id)) {
                let known = &list[at];
                days.extend(known.cancelled_at.map(TimeMs::day));
                days.extend(known.whole.map(|w| w.time.day()));
                // A whole that comes now stands for lines that counted so far, on their own days.
                days.extend(known.lines.iter().map(|l| l.time.day()));
            }
        }
        days.sort_unstable();
        days.dedup();
        days
    }
}

fn find<'a>(list: &'a [Entry], id: &Text) -> Option<&'a Entry> {
    let at = list.binary_search_by(|e| e.id.cmp(id)).ok()?;
    list.get(at)
}

fn line_fact(time: TimeMs, line: &Line) -> LineFact {
    LineFact {
        key: line_key(&line.line_id),
        time,
        units: line.quantity,
        amount: line.amount,
    }
}

fn put_lines(known: &mut Entry, time: TimeMs, lines: &[Line]) -> bool {
    let mut changed = false;
    for line in lines {
        changed |= known.put_line(line_fact(time, line));
    }
    changed
}

fn whole_order(time: TimeMs, order: &OrderCompleted) -> WholeFact {
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

fn whole_refund(time: TimeMs, refund: &OrderRefunded) -> WholeFact {
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
