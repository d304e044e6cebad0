//! What a model knows of a customer: how many repeat orders, when the last was, how old the relation is.

use domain::purchases::Statistics;

/// Repeat orders and times, all since the first order and in the unit of time of the parameters.
///
/// Orders of one day count as one; the first day's do not count. Made by [`History::new`] only, so that the
/// models need not check: `0 ≤ recency ≤ age < ∞`, and recency is 0 without a repeat order.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct History {
    repeats: u32,
    recency: f64,
    age: f64,
}

impl History {
    /// The nearest history that can be: times that are negative or no number become 0, recency is at most
    /// age, and 0 without repeat orders.
    #[must_use]
    pub fn new(repeats: u32, recency: f64, age: f64) -> History {
        let age = age.clamp(0.0, f64::MAX);
        let age = if age.is_nan() { 0.0 } else { age };
        let recency = if repeats == 0 || recency.is_nan() {
            0.0
        } else {
            recency.clamp(0.0, age)
        };
        History {
            repeats,
            recency,
            age,
        }
    }

    /// That of a customer in days as of `now`, a time in days since 1970-01-01; never before the last order.
    ///
    /// Recency is of whole days, age as exact as `now` is.
    #[must_use]
    pub fn of(statistics: &Statistics, now: f64) -> History {
        let first = f64::from(statistics.first.0);
        let recency = f64::from(statistics.last.0) - first;
        History::new(statistics.repeats, recency, (now - first).max(recency))
    }

    /// Days with an order after the first: x.
    #[must_use]
    pub fn repeats(&self) -> u32 {
        self.repeats
    }

    /// Time from the first order to the last: t_x.
    #[must_use]
    pub fn recency(&self) -> f64 {
        self.recency
    }

    /// Time from the first order to now: T.
    #[must_use]
    pub fn age(&self) -> f64 {
        self.age
    }

    /// The same history seen at another age, not before the last order.
    #[must_use]
    pub fn at_age(&self, age: f64) -> History {
        History::new(self.repeats, self.recency, age.max(self.recency))
    }

    pub(crate) fn x(&self) -> f64 {
        f64::from(self.repeats)
    }
}

/// When P(alive) falls to a threshold if no further order comes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Crossing {
    /// It is there, or below, at the history's age already.
    Already,
    /// At this age, later than the history's.
    AtAge(f64),
    /// It stays above for as long as numbers go.
    Never,
}

impl Crossing {
    /// When P(alive), now `alive`, falls to `threshold`; `at_age` says so for one that is between them, `None` being
    /// never.
    pub(crate) fn of(alive: f64, threshold: f64, at_age: impl FnOnce() -> Option<f64>) -> Crossing {
        if threshold >= 1.0 || alive <= threshold {
            return Crossing::Already;
        }
        if threshold <= 0.0 {
            return Crossing::Never;
        }
        at_age().map_or(Crossing::Never, Crossing::AtAge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::money::Minor;
    use domain::time::Day;

    #[test]
    fn age_is_never_before_the_last_order() {
        let statistics = Statistics {
            repeats: 2,
            first: Day(100),
            last: Day(130),
            spent: Minor(900),
        };
        let history = History::of(&statistics, 130.5);
        assert_eq!((history.recency(), history.age()), (30.0, 30.5));
        let history = History::of(&statistics, 90.0);
        assert_eq!((history.recency(), history.age()), (30.0, 30.0));
    }
}
