//! Customers' order books, from files.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use ::config::Config;
use domain::definitions::Definitions;
use domain::event::{Event, Text};
use domain::money::Currency;
use domain::orders::OrderBook;
use domain::purchases::Purchases;
use domain::time::{DAY_MS, Day, TimeMs};
use runtime::deployment::input_rules;

use super::Orders;
use crate::cmd::mapping::{open, read_mapping};
use crate::error::CliError;

/// All customers of the files.
pub(super) struct Books {
    books: BTreeMap<Text, OrderBook>,
    definitions: Definitions,
    /// The day of the last order fact.
    pub(super) last: Day,
    /// Rows, or events of them, that could not be read.
    pub(super) rejected: u64,
}

impl Books {
    /// Reads the files; the order of rows and files makes no difference to a book.
    pub(super) fn read(args: &Orders, config: &Config) -> Result<Books, CliError> {
        let mapping = read_mapping(&args.mapping)?;
        let rules = mapping.rules_override(&input_rules(config, config.currency));
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        let now = TimeMs(i64::try_from(now).unwrap_or(i64::MAX));
        let mut books = Books {
            books: BTreeMap::new(),
            definitions: Definitions {
                include_tax: config.clv.include_tax,
                include_shipping: config.clv.include_shipping,
                ..Definitions::preset(mapping.currency().unwrap_or(config.currency))
            },
            last: Day(i32::MIN),
            rejected: 0,
        };
        for input in &args.inputs {
            let mut reader = open(input, &mapping)?;
            while let Some(row) = reader.next() {
                let row = row.map_err(CliError::failure)?;
                for outcome in reader.apply(&row, &mapping, now, &rules) {
                    match outcome {
                        Ok(mapped) => books.take(&mapped.event),
                        Err(_) => books.rejected += 1,
                    }
                }
            }
        }
        if books.books.is_empty() {
            return Err(CliError::failure("the files have no order of a customer")
                .hint("`clvstream mapping check` shows what a mapping makes of them"));
        }
        Ok(books)
    }

    fn take(&mut self, event: &Event) {
        let Some(customer) = &event.customer_id else {
            return;
        };
        if event.body.is_order_fact() {
            let book = self.books.entry(customer.clone()).or_default();
            book.take(event);
            self.last = self.last.max(event.time.day());
        }
    }

    /// The currency of amounts.
    pub(super) fn currency(&self) -> Currency {
        self.definitions.currency
    }

    /// Minor units in one of the currency.
    pub(super) fn minor_per_unit(&self) -> f64 {
        10_f64.powi(i32::from(self.currency().decimals))
    }

    /// Customers' purchases as they stood at the end of a day.
    pub(super) fn purchases(&self, day: Day) -> impl Iterator<Item = Purchases> {
        let end = day.start().plus(DAY_MS - 1);
        self.books
            .values()
            .map(move |book| Purchases::of_book(book, end, &self.definitions))
    }
}
