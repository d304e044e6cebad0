//! Customers' order books, from events or from a deployment's profiles: what comes of them is the same.
//!
//! A book is a join of facts: neither the order of events nor of tasks makes a difference. Guests and
//! visitors are no customers, and are left out. All books are held in memory at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::definitions::Definitions;
use domain::event::{Event, Owner, Text};
use domain::money::Currency;
use domain::orders::{Entry, OrderBook};
use domain::purchases::{Purchases, Statistics};
use domain::time::{DAY_MS, Day, TimeMs};
use engine::worker::Owned;
use store::TaskStore;

use super::tables::stream_time;
use crate::error::RuntimeError;
use crate::export::{Known, Profiles};

/// The order books of all customers, by their ids.
#[derive(Clone, Debug)]
pub struct Books {
    books: BTreeMap<Text, OrderBook>,
    definitions: Arc<Definitions>,
    /// Of tasks: how far time has come with them.
    stream_time: Option<TimeMs>,
}

impl Books {
    /// Nobody's yet; revenue is what `definitions` count.
    #[must_use]
    pub fn new(definitions: Arc<Definitions>) -> Books {
        Books {
            books: BTreeMap::new(),
            definitions,
            stream_time: None,
        }
    }

    /// Adds those that the profiles of `tasks` hold: a customer has one, with one of the tasks.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn add(&mut self, tasks: &[Owned<TaskStore>]) -> Result<(), RuntimeError> {
        self.stream_time = self.stream_time.max(stream_time(tasks));
        each_book(tasks, |customer, mut book| {
            // What was bought is of no interest here, and may be most of a book.
            book.products = Vec::new();
            self.books.insert(customer, book);
        })
    }

    /// What counts as revenue.
    pub(super) fn definitions(&self) -> &Arc<Definitions> {
        &self.definitions
    }

    /// All, in the order of customers' ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = &OrderBook> {
        self.books.values()
    }

    /// Takes in an order, cancellation or refund of a customer. Other events change nothing.
    pub fn take(&mut self, event: &Event) {
        if let Some(customer) = &event.customer_id
            && event.body.is_order_fact()
        {
            self.books.entry(customer.clone()).or_default().take(event);
        }
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.books.is_empty()
    }

    /// The days of the first and of the last fact about an order; `None` where there is none.
    #[must_use]
    pub fn span(&self) -> Option<(Day, Day)> {
        let entries = self.books.values().flat_map(|book| {
            let refunds = book.refunds.iter();
            book.orders.iter().chain(refunds)
        });
        let mut span: Option<(TimeMs, TimeMs)> = None;
        for time in entries.flat_map(times) {
            let (first, last) = span.unwrap_or((time, time));
            span = Some((first.min(time), last.max(time)));
        }
        span.map(|(first, last)| (first.day(), last.day()))
    }

    /// The day to which ages are counted where no other is asked for: of tasks that of stream time, of events that of
    /// the last fact about an order; `None` where there is nobody.
    #[must_use]
    pub fn present(&self) -> Option<Day> {
        let (_, last) = self.span()?;
        let stream = self.stream_time.map_or(last, TimeMs::day);
        Some(last.max(stream))
    }

    /// The currency of amounts.
    #[must_use]
    pub fn currency(&self) -> Currency {
        self.definitions.currency
    }

    /// Minor units in one of the currency.
    #[must_use]
    pub fn minor_per_unit(&self) -> f64 {
        self.currency().minor_per_unit() as f64
    }

    /// Customers' purchases as they stood at the end of a day, in the order of ids.
    pub fn purchases(&self, day: Day) -> impl Iterator<Item = (&Text, Purchases)> {
        let end = day.start().plus(DAY_MS - 1);
        self.books.iter().map(move |(customer, book)| {
            (customer, Purchases::of_book(book, end, &self.definitions))
        })
    }

    /// What models take of each customer of whom they say something, as of the end of a day.
    pub fn statistics(&self, day: Day) -> impl Iterator<Item = (&Text, Statistics)> {
        let purchases = self.purchases(day);
        purchases.filter_map(|(customer, p)| Some((customer, p.statistics()?)))
    }
}

/// Hands over the books that the profiles of `tasks` hold, of those who have one.
///
/// # Errors
/// The state cannot be read.
pub(super) fn each_book(
    tasks: &[Owned<TaskStore>],
    mut each: impl FnMut(Text, OrderBook),
) -> Result<(), RuntimeError> {
    for known in Profiles::new(tasks)? {
        let Known { owner, profile, .. } = known?;
        let book = profile.live.book;
        if let Owner::Customer(customer) = owner
            && !book.is_empty()
        {
            each(customer, book);
        }
    }
    Ok(())
}

/// When the parts of an order or refund were recorded, and when it was cancelled.
fn times(entry: &Entry) -> impl Iterator<Item = TimeMs> {
    let lines = entry.lines.iter().map(|line| line.time);
    let whole = entry.whole.iter().map(|whole| whole.time);
    lines.chain(whole).chain(entry.cancelled_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::event::Body;

    fn cancelled(customer: Option<&str>, day: i32) -> Event {
        Event {
            id: Text::new("e"),
            time: Day(day).start(),
            customer_id: customer.map(Text::new),
            anonymous_id: Some(Text::new("v")),
            session_id: None,
            channel: None,
            campaign: None,
            country: None,
            body: Body::OrderCancelled {
                order_id: Text::new("o"),
            },
        }
    }

    #[test]
    fn guests_are_left_out_and_the_span_is_of_order_facts() {
        let definitions = Definitions::preset(Currency {
            code: *b"USD",
            decimals: 2,
        });
        let mut books = Books::new(Arc::new(definitions));
        books.take(&cancelled(None, 7));
        assert!(books.is_empty());
        assert_eq!(books.span(), None);
        books.take(&cancelled(Some("b"), 9));
        books.take(&cancelled(Some("a"), 11));
        assert_eq!(books.span(), Some((Day(9), Day(11))));
        assert_eq!(books.present(), Some(Day(11)));
        let ids: Vec<_> = books
            .purchases(Day(11))
            .map(|(id, _)| id.as_str())
            .collect();
        assert_eq!(ids, ["a", "b"]);
        // Cancelled before it came: a customer of whom models say nothing.
        assert_eq!(books.statistics(Day(11)).count(), 0);
    }
}
