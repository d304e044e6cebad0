//! Customers at the end of a calibration, what they did after it, and what models predict of that.

use clv::gamma_gamma::GammaGamma;
use clv::history::History;
use clv::model::OrderModel;
use domain::purchases::{Purchases, Statistics};
use domain::time::Day;

use super::Books;

/// A customer at the end of the calibration, and what he did after it.
#[derive(Clone, PartialEq, Debug)]
pub struct Customer {
    /// What models know of him.
    pub statistics: Statistics,
    /// What he spent until then, first day included, in the currency.
    pub spent_in_all: f64,
    /// Days with an order after it.
    pub orders: f64,
    /// What they came to, in the currency.
    pub revenue: f64,
}

/// A prediction of every customer's orders and revenue.
#[derive(Clone, PartialEq, Debug)]
pub struct Predicted {
    /// By what.
    pub by: &'static str,
    /// Of orders, customer by customer.
    pub orders: Vec<f64>,
    /// Of revenue; `None` where there is no model of spend.
    pub revenue: Option<Vec<f64>>,
}

/// Those with an order until `until`, and what they did from then to the end of `end`.
#[must_use]
pub fn customers(books: &Books, until: Day, end: Day) -> Vec<Customer> {
    let unit = books.minor_per_unit();
    books
        .purchases(until)
        .zip(books.purchases(end))
        .filter_map(|((_, before), (_, after))| customer(&before, &after, until, end, unit))
        .collect()
}

/// One whose purchases were `before` at the end of `until`, and `after` at that of `end`; `None` where there was no order.
pub(super) fn customer(
    before: &Purchases,
    after: &Purchases,
    until: Day,
    end: Day,
    minor_per_unit: f64,
) -> Option<Customer> {
    let money = |minor: i64| minor as f64 / minor_per_unit;
    let (_, in_all) = before.between(Day(i32::MIN), until);
    let (orders, revenue) = after.between(until, end);
    Some(Customer {
        statistics: before.statistics()?,
        spent_in_all: money(in_all.0),
        orders: f64::from(orders),
        revenue: money(revenue.0),
    })
}

/// What a model of orders, with one of spend where there is one, says at the end of `until` of the `days`
/// days after it. `unit` is the number of minor units in one of the currency.
#[must_use]
pub fn predicted_by(
    model: &OrderModel,
    spend: Option<&GammaGamma>,
    customers: &[Customer],
    until: Day,
    days: f64,
    unit: f64,
) -> Predicted {
    let history = |c: &Customer| History::of(&c.statistics, f64::from(until.0));
    let expected = |h: &History| model.expected_orders(h, days);
    let orders: Vec<f64> = customers.iter().map(|c| expected(&history(c))).collect();
    let revenue = spend.map(|spend| {
        let value = |(c, orders): (&Customer, &f64)| {
            let Statistics { repeats, spent, .. } = c.statistics;
            orders * spend.expected_spend(f64::from(repeats), spent.0 as f64 / unit)
        };
        customers.iter().zip(&orders).map(value).collect()
    });
    Predicted {
        by: model.name(),
        orders,
        revenue,
    }
}
