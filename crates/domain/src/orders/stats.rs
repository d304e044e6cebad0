//! What a book comes to: as of an instant, within a window, on a day of the shop.

use super::{Entry, OrderBook, Sums, find};
use crate::event::{Body, Event};
use crate::money::{Minor, Units};
use crate::time::{DAY_MS, Day, TimeMs};

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

impl OrderBook {
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
        let known = match &event.body {
            Body::OrderCompleted(order) => find(&self.orders, &order.order_id),
            Body::OrderCancelled { order_id } => find(&self.orders, order_id),
            Body::OrderRefunded(refund) => find(&self.refunds, &refund.refund_id),
            _ => return days,
        };
        if let Some(known) = known {
            days.extend(known.cancelled_at.map(TimeMs::day));
            days.extend(known.whole.map(|w| w.time.day()));
            // A whole that comes now stands for lines that counted so far, on their own days.
            days.extend(known.lines.iter().map(|l| l.time.day()));
        }
        days.sort_unstable();
        days.dedup();
        days
    }
}
