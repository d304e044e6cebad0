//! What a fit with a holdout takes of customers: each as of the end of the data, and as of the day before the
//! days that are held out.
//!
//! Some hundred bytes of a customer, whatever he ordered, so that a service can hold all of them beside its work.

use std::sync::Arc;

use domain::definitions::Definitions;
use domain::money::Currency;
use domain::orders::OrderBook;
use domain::purchases::{Purchases, Statistics};
use domain::time::{DAY_MS, Day};

use super::Books;
use super::document::Window;
use super::holdout::{Customer, customer};

/// The longest holdout that is taken unasked, in days.
const LONGEST: i32 = 91;
/// The part of the data that it is at most.
const PART: i32 = 4;

/// All customers as of two days.
#[derive(Clone, Debug)]
pub struct Histories {
    definitions: Arc<Definitions>,
    /// The days of the data.
    pub(super) data: Window,
    /// How many of the last are held out, or why none are.
    pub(super) days: Result<i32, String>,
    /// As of the end of the data.
    pub(super) now: Vec<Statistics>,
    /// As of the day before those held out, with what came then.
    pub(super) then: Vec<Customer>,
}

impl Histories {
    /// Nobody's yet. Of `data` the last `holdout_days` are held out, or where nothing is asked for 91, or a quarter of
    /// them all if that is less.
    #[must_use]
    pub fn new(
        data: Window,
        holdout_days: Option<i32>,
        definitions: Arc<Definitions>,
    ) -> Histories {
        let span = data.until.0.saturating_sub(data.first.0).saturating_add(1);
        let days = holdout_days.unwrap_or(LONGEST.min(span / PART));
        Histories {
            definitions,
            data,
            days: match days >= 1 && days < span {
                true => Ok(days),
                false => Err(format!(
                    "the data are of {span} days, which leaves none to hold out or to fit to"
                )),
            },
            now: Vec::new(),
            then: Vec::new(),
        }
    }

    /// Those of `books`.
    #[must_use]
    pub fn of(books: &Books, data: Window, holdout_days: Option<i32>) -> Histories {
        let mut histories = Histories::new(data, holdout_days, Arc::clone(books.definitions()));
        for book in books.iter() {
            histories.take(book);
        }
        histories
    }

    /// Takes in a customer.
    pub fn take(&mut self, book: &OrderBook) {
        let as_of =
            |day: Day| Purchases::of_book(book, day.start().plus(DAY_MS - 1), &self.definitions);
        let end = self.data.until;
        let after = as_of(end);
        self.now.extend(after.statistics());
        if let Some(until) = self.fitted_until() {
            let then = customer(&as_of(until), &after, until, end, self.minor_per_unit());
            self.then.extend(then);
        }
    }

    /// The day before those that are held out.
    pub(super) fn fitted_until(&self) -> Option<Day> {
        let days = self.days.as_ref().ok()?;
        Some(Day(self.data.until.0 - days))
    }

    /// The currency of amounts.
    #[must_use]
    pub fn currency(&self) -> Currency {
        self.definitions.currency
    }

    /// Minor units in one of the currency.
    pub(super) fn minor_per_unit(&self) -> f64 {
        self.currency().minor_per_unit() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_91_days_are_held_out_or_a_quarter_of_few() {
        let dollars = Currency {
            code: *b"USD",
            decimals: 2,
        };
        let definitions = Arc::new(Definitions::preset(dollars));
        for (span, asked, until) in [
            (546, None, Some(546 - 91)),
            (364, None, Some(364 - 91)),
            (100, None, Some(75)),
            (546, Some(273), Some(273)),
            // Nothing would be left to fit to, or to hold out.
            (100, Some(100), None),
            (3, None, None),
        ] {
            let data = Window {
                first: Day(1),
                until: Day(span),
            };
            let histories = Histories::new(data, asked, Arc::clone(&definitions));
            assert_eq!(histories.fitted_until(), until.map(Day), "{span} {asked:?}");
        }
    }
}
