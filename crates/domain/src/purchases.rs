//! A customer's purchases by day, and what the models take from them.
//!
//! Orders of one day count as one purchase, as in the literature; what a day came to is the sum of its
//! orders less what was given back of them. Statistics are a function of the orders that count and the refunds,
//! whatever order they came in: adding and cancelling an order leaves no trace.

use crate::definitions::Definitions;
use crate::money::Minor;
use crate::orders::{Entry, OrderBook};
use crate::time::{Day, TimeMs};

/// What the models keep of a customer. T follows from the day on which one asks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Statistics {
    /// Days with an order after the first: x.
    pub repeats: u32,
    /// Day of the first order that counts.
    pub first: Day,
    /// Day of the last.
    pub last: Day,
    /// What the repeat days came to. Below nothing where more was given back than they brought.
    pub spent: Minor,
}

/// One day with orders or refunds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct OfDay {
    day: Day,
    /// Orders that were not cancelled.
    orders: u32,
    net: Minor,
}

/// A customer's purchases by day.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Purchases {
    /// Sorted; a day of no order and no money is left out.
    days: Vec<OfDay>,
}

impl Purchases {
    /// The purchases that stand in a customer's order book as of an instant: what profile and file alike come to.
    ///
    /// An order is of the day of its first part, and comes to its amount less its discount, with tax and shipping
    /// where the definitions count them. A refund is of its order's day; one whose order is not known is taken off
    /// the last purchase before it, or the first where there is none before.
    #[must_use]
    pub fn of_book(book: &OrderBook, as_of: TimeMs, definitions: &Definitions) -> Purchases {
        let mut purchases = Purchases::default();
        let counts = |order: &&Entry| !order.is_cancelled(as_of);
        for order in book.orders.iter().filter(counts) {
            let Some(sums) = order.within(TimeMs::MIN, as_of) else {
                continue;
            };
            let mut net = sums.amount;
            if let Some(whole) = &order.whole {
                net -= whole.discount;
                if definitions.include_tax {
                    net += whole.tax;
                }
                if definitions.include_shipping {
                    net += whole.shipping;
                }
            }
            purchases.add_order(sums.first.day(), net);
        }
        for refund in &book.refunds {
            let Some(sums) = refund.within(TimeMs::MIN, as_of) else {
                continue;
            };
            let order = refund.of_order.as_ref().and_then(|id| {
                let at = book.orders.binary_search_by(|o| o.id.cmp(id)).ok()?;
                book.orders.get(at)
            });
            let day = match order.map(|o| (o, o.within(TimeMs::MIN, as_of))) {
                // What it came to is not counted in the first place.
                Some((order, _)) if order.is_cancelled(as_of) => continue,
                Some((_, Some(of_order))) => Some(of_order.first.day()),
                _ => purchases.day_before(sums.first.day()),
            };
            if let Some(day) = day {
                purchases.refund(day, sums.amount);
            }
        }
        purchases
    }

    /// The last day with an order until `day`, or the first of all.
    fn day_before(&self, day: Day) -> Option<Day> {
        let mut with_orders = self.days.iter().filter(|of| of.orders > 0).map(|of| of.day);
        let first = with_orders.next()?;
        Some(
            with_orders
                .take_while(|of| *of <= day)
                .last()
                .unwrap_or(first),
        )
    }

    /// Days with an order after `after` and until `until`, and what they came to.
    #[must_use]
    pub fn between(&self, after: Day, until: Day) -> (u32, Minor) {
        let within = |of: &&OfDay| of.orders > 0 && after < of.day && of.day <= until;
        let mut days = 0;
        let mut net = Minor::ZERO;
        for of in self.days.iter().filter(within) {
            days += 1;
            net += of.net;
        }
        (days, net)
    }

    /// Takes in an order of `day` that came to `net`.
    pub fn add_order(&mut self, day: Day, net: Minor) {
        self.change(day, |of| {
            of.orders = of.orders.saturating_add(1);
            of.net += net;
        });
    }

    /// Takes back an order of `day` that came to `net`, as if it had never been: where it was the day's only one,
    /// the day does not count either.
    pub fn cancel_order(&mut self, day: Day, net: Minor) {
        self.change(day, |of| {
            of.orders = of.orders.saturating_sub(1);
            of.net -= net;
        });
    }

    /// Takes in that `amount` was given back of an order of `day`, the day of the order and not of the
    /// refund. The purchase still counts, for less; also where everything was given back.
    pub fn refund(&mut self, day: Day, amount: Minor) {
        self.change(day, |of| of.net -= amount);
    }

    fn change(&mut self, day: Day, change: impl FnOnce(&mut OfDay)) {
        // Most come on the last day or after it.
        let at = match self.days.last() {
            Some(last) if last.day < day => Err(self.days.len()),
            Some(last) if last.day == day => Ok(self.days.len() - 1),
            _ => self.days.binary_search_by_key(&day, |of| of.day),
        };
        let at = at.unwrap_or_else(|at| {
            let none = OfDay {
                day,
                orders: 0,
                net: Minor::ZERO,
            };
            self.days.insert(at, none);
            at
        });
        change(&mut self.days[at]);
        if self.days[at].orders == 0 && self.days[at].net == Minor::ZERO {
            self.days.remove(at);
        }
    }

    /// What the models take; `None` for a customer without an order that counts, of whom they say nothing.
    ///
    /// Refunds that stand on a day without an order (of an order that was cancelled) do not count.
    #[must_use]
    pub fn statistics(&self) -> Option<Statistics> {
        let mut with_orders = self.days.iter().filter(|of| of.orders > 0);
        let first = with_orders.next()?.day;
        let mut statistics = Statistics {
            repeats: 0,
            first,
            last: first,
            spent: Minor::ZERO,
        };
        for of in with_orders {
            statistics.repeats += 1;
            statistics.last = of.day;
            statistics.spent += of.net;
        }
        Some(statistics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An order or what befell one: day, amount.
    #[derive(Clone, Copy)]
    enum Did {
        Order(i32, i64),
        Cancel(i32, i64),
        Refund(i32, i64),
    }
    use Did::{Cancel, Order, Refund};

    fn after(all: &[Did]) -> Option<(u32, i32, i32, i64)> {
        let mut purchases = Purchases::default();
        for did in all {
            match *did {
                Order(day, net) => purchases.add_order(Day(day), Minor(net)),
                Cancel(day, net) => purchases.cancel_order(Day(day), Minor(net)),
                Refund(day, amount) => purchases.refund(Day(day), Minor(amount)),
            }
        }
        purchases
            .statistics()
            .map(|s| (s.repeats, s.first.0, s.last.0, s.spent.0))
    }

    #[test]
    fn statistics_follow_orders_cancellations_and_refunds() {
        for (all, expected) in [
            (&[][..], None),
            (&[Order(5, 100)], Some((0, 5, 5, 0))),
            // Orders of one day are one purchase, of the first day none.
            (&[Order(5, 100), Order(5, 50)], Some((0, 5, 5, 0))),
            (
                &[Order(5, 100), Order(7, 50), Order(7, 8)],
                Some((1, 5, 7, 58)),
            ),
            // Late ones count in their place.
            (&[Order(7, 50), Order(5, 100)], Some((1, 5, 7, 50))),
            // The first cancelled: the second is the first now.
            (
                &[Order(5, 100), Order(7, 50), Cancel(5, 100)],
                Some((0, 7, 7, 0)),
            ),
            // One of two orders of a day cancelled: the day still counts.
            (
                &[Order(5, 1), Order(7, 50), Order(7, 8), Cancel(7, 8)],
                Some((1, 5, 7, 50)),
            ),
            // The only order cancelled: nothing to say.
            (&[Order(5, 100), Cancel(5, 100)], None),
            (&[Order(5, 100), Refund(5, 100), Cancel(5, 100)], None),
            // Refunds lower the order's own day, to below nothing too.
            (
                &[Order(5, 1), Order(7, 50), Refund(7, 20)],
                Some((1, 5, 7, 30)),
            ),
            (
                &[Order(5, 1), Order(7, 50), Refund(7, 80)],
                Some((1, 5, 7, -30)),
            ),
            // Of the first order: repeat spend is none of it.
            (&[Order(5, 100), Refund(5, 100)], Some((0, 5, 5, 0))),
            // A refund that comes before its order.
            (
                &[Refund(7, 20), Order(5, 1), Order(7, 50)],
                Some((1, 5, 7, 30)),
            ),
        ] {
            assert_eq!(after(all), expected);
        }
    }
}
