//! What every order and refund of a book comes to, kept beside the book.
//!
//! Derived and never stored: an evaluation asks for these sums many times, and so an event costs
//! its own order's lines and not those of every order before it.

use crate::event::{Body, Event, Text};
use crate::orders::{Entry, OrderBook, OrderStats, Sums};
use crate::time::TimeMs;

/// Sums of a book's orders and refunds, every known fact included, at the entries' positions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BookSums {
    orders: Vec<Option<Sums>>,
    refunds: Vec<Option<Sums>>,
}

impl BookSums {
    /// The sums of `book`.
    #[must_use]
    pub fn of(book: &OrderBook) -> BookSums {
        BookSums {
            orders: book.orders.iter().map(total).collect(),
            refunds: book.refunds.iter().map(total).collect(),
        }
    }

    /// Follows `book`, which has just taken in `event`.
    pub fn follow(&mut self, book: &OrderBook, event: &Event) {
        match &event.body {
            Body::OrderCompleted(order) => put(&mut self.orders, &book.orders, &order.order_id),
            Body::OrderCancelled { order_id } | Body::OrderDelivered { order_id } => {
                put(&mut self.orders, &book.orders, order_id);
            }
            Body::OrderRefunded(refund) => {
                put(&mut self.refunds, &book.refunds, &refund.refund_id);
            }
            _ => {}
        }
    }

    /// [`OrderBook::stats`] of `book`, every known fact included.
    #[must_use]
    pub fn stats(&self, book: &OrderBook) -> OrderStats {
        let (orders, refunds) = (self.orders.iter().copied(), self.refunds.iter().copied());
        book.stats_over(TimeMs::MAX, orders, refunds)
    }

    /// The orders of `book` that were placed, each with its sums.
    pub fn orders<'a>(
        &'a self,
        book: &'a OrderBook,
    ) -> impl Iterator<Item = (&'a Entry, &'a Sums)> + 'a {
        let pairs = book.orders.iter().zip(&self.orders);
        pairs.filter_map(|(entry, sums)| Some((entry, sums.as_ref()?)))
    }
}

fn total(entry: &Entry) -> Option<Sums> {
    entry.within(TimeMs::MIN, TimeMs::MAX)
}

fn put(sums: &mut Vec<Option<Sums>>, entries: &[Entry], id: &Text) {
    let Ok(at) = entries.binary_search_by(|e| e.id.cmp(id)) else {
        return;
    };
    if sums.len() < entries.len() {
        sums.insert(at, None);
    }
    sums[at] = total(&entries[at]);
}
