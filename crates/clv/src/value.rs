//! From orders to money.

use crate::history::History;

/// Orders within `periods` periods of `period` each, those of a period discounted by `rate` for every
/// period until its end.
///
/// `within` gives the orders expected within a time. This is the convention of published tables (twelve
/// months at 1 % a month); the stream discounts continuously.
#[must_use]
pub fn by_periods(within: impl Fn(f64) -> f64, period: f64, periods: u32, rate: f64) -> f64 {
    let mut before = 0.0;
    let mut factor = 1.0;
    let mut sum = 0.0;
    for i in 1..=periods {
        let by_now = within(period * f64::from(i));
        factor /= 1.0 + rate;
        sum += (by_now - before) * factor;
        before = by_now;
    }
    sum
}

/// Spend per unit of time so far, carried forward over `time`: average order value × frequency × time, which
/// is the formula (R03) as a prediction. `None` for a customer of no age.
#[must_use]
pub fn carried_forward(spent_in_all: f64, history: &History, time: f64) -> Option<f64> {
    (history.age() > 0.0).then(|| spent_in_all / history.age() * time)
}
