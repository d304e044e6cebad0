//! What is to happen at which moment.
//!
//! Invariant: it comes in the order of moments; what is of one moment, in the order in which it was put there.

use std::collections::BTreeMap;

use crate::time::Moment;

/// Things to happen.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    /// By moment and number.
    all: BTreeMap<(Moment, u64), T>,
    /// How many there have been.
    count: u64,
}

impl<T> Agenda<T> {
    pub(crate) fn new() -> Agenda<T> {
        Agenda {
            all: BTreeMap::new(),
            count: 0,
        }
    }

    pub(crate) fn put(&mut self, at: Moment, what: T) {
        self.all.insert((at, self.count), what);
        self.count += 1;
    }

    /// Takes what comes next.
    pub(crate) fn pop(&mut self) -> Option<(Moment, T)> {
        let ((at, _), what) = self.all.pop_first()?;
        Some((at, what))
    }

    /// Takes what comes next, if it does by `until`.
    pub(crate) fn pop_by(&mut self, until: Moment) -> Option<(Moment, T)> {
        let ((at, _), _) = self.all.first_key_value()?;
        match *at <= until {
            true => self.pop(),
            false => None,
        }
    }
}
