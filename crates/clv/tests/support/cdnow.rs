//! CDNOW, the sample of a tenth, in the calibration period and the 39 weeks after it.

use std::collections::BTreeMap;

use clv::fit::{Cell, SpendGroup};
use clv::history::History;
use domain::money::Minor;
use domain::time::Day;

/// A purchase: a customer's orders of one day.
pub type Purchases = BTreeMap<Day, Minor>;

/// Days of a calendar date `YYYY-MM-DD`.
pub fn day(text: &str) -> Day {
    let mut parts = text.split('-').map(|p| p.parse::<i32>().expect("a date"));
    let mut next = || parts.next().expect("three parts");
    let (y, m, d) = (next(), next(), next());
    // Civil days (Howard Hinnant's algorithm): years begin in March.
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let of_era = y - era * 400;
    let of_year = (153 * ((m + 9) % 12) + 2) / 5 + d - 1;
    Day(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Cents of a decimal amount with at most two decimals.
pub fn cents(text: &str) -> Minor {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part = format!("{part:0<2}");
    Minor(whole.parse::<i64>().expect("digits") * 100 + part.parse::<i64>().expect("two digits"))
}

/// Customers of the sample by number, with their purchases.
pub fn sample(table: &str) -> BTreeMap<u32, Purchases> {
    let mut customers = BTreeMap::<u32, Purchases>::new();
    for row in super::rows(table) {
        let of = customers
            .entry(row["customer_id"].parse().expect("a number"))
            .or_default();
        *of.entry(day(row["date"])).or_default() += cents(row["amount"]);
    }
    customers
}

/// All customers, of the file that the repository ships.
pub fn master() -> BTreeMap<u32, Purchases> {
    let table = super::text(&super::root().join("data/cdnow/CDNOW_master.txt.zst"));
    let mut customers = BTreeMap::<u32, Purchases>::new();
    for line in table.lines().skip(1) {
        let mut fields = line.split_whitespace();
        let mut next = || fields.next().expect("four columns");
        let (id, date, _, amount) = (next(), next(), next(), next());
        let date = format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..]);
        let of = customers.entry(id.parse().expect("a number")).or_default();
        *of.entry(day(&date)).or_default() += cents(amount);
    }
    customers
}

/// A customer as of 1997-09-30, in weeks and dollars, and what he did in the 39 weeks after.
#[derive(Clone, Copy, Debug)]
pub struct Calibrated {
    pub repeats: u32,
    pub recency: f64,
    pub age: f64,
    /// Of repeat orders.
    pub spent: f64,
    /// Of all orders.
    pub spent_in_all: f64,
    pub holdout_orders: u32,
    pub holdout_spent: f64,
}

impl Calibrated {
    pub fn history(&self) -> History {
        History::new(self.repeats, self.recency, self.age)
    }

    pub fn cell(&self) -> Cell {
        Cell {
            repeats: f64::from(self.repeats),
            recency: self.recency,
            age: self.age,
            weight: 1.0,
        }
    }

    pub fn group(&self) -> Option<SpendGroup> {
        SpendGroup::single(self.repeats, self.spent)
    }
}

/// Customers in the order of their numbers, calibrated until 1997-09-30.
pub fn calibrated(customers: &BTreeMap<u32, Purchases>) -> Vec<Calibrated> {
    let end = day("1997-09-30");
    let weeks = |days: i32| f64::from(days) / 7.0;
    customers
        .values()
        .map(|purchases| {
            let seen: Vec<_> = purchases.range(..=end).collect();
            let later = || purchases.iter().filter(|(d, _)| **d > end);
            let dollars = |of: &mut dyn Iterator<Item = i64>| of.sum::<i64>() as f64 / 100.0;
            let (first, last) = (seen[0].0.0, seen[seen.len() - 1].0.0);
            Calibrated {
                repeats: seen.len() as u32 - 1,
                recency: weeks(last - first),
                age: weeks(end.0 - first),
                spent: dollars(&mut seen[1..].iter().map(|p| p.1.0)),
                spent_in_all: dollars(&mut seen.iter().map(|p| p.1.0)),
                holdout_orders: later().count() as u32,
                holdout_spent: dollars(&mut later().map(|p| p.1.0)),
            }
        })
        .collect()
}
