//! A customer's orders and refunds: exact at any lateness, idempotent for ever, in any order of
//! arrival.
//!
//! Invariant: the book is a join of facts. Taking in a set of facts gives the same book whatever
//! their order and however often each one comes, because every conflict (two versions of one order
//! line, two cancellations) is settled by taking the lesser of the two, never the later arrival.
//! Everything else is derived from the facts (`stats`) and can be asked as of any instant.

mod facts;
mod stats;

use crate::event::{Body, Event, Line, OrderCompleted, OrderRefunded, Text};
use crate::time::TimeMs;
use facts::{line_fact, whole_order, whole_refund};

pub use facts::{
    Entry, LineFact, PRODUCT_KEY_BITS, Sums, WholeFact, line_key, product_key, stable_hash,
};
pub use stats::{DayTotals, OrderStats, OrderWindow};

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

    /// Whether it holds neither an order nor a refund.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.refunds.is_empty()
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

fn find<'a>(list: &'a [Entry], id: &Text) -> Option<&'a Entry> {
    let at = list.binary_search_by(|e| e.id.cmp(id)).ok()?;
    list.get(at)
}

fn put_lines(known: &mut Entry, time: TimeMs, lines: &[Line]) -> bool {
    let mut changed = false;
    for line in lines {
        changed |= known.put_line(line_fact(time, line));
    }
    changed
}
