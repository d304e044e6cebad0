//! The cells that customers are in: the histograms that models of value are fitted to.

use clv::histogram::{OrderCell, SpendCell, SpendSums};
use domain::purchases::Statistics;

use super::Write;
use super::totals::Totals;

/// Cells of orders and of spend.
#[derive(Clone, Debug)]
pub(super) struct Cells {
    orders: Totals<i64>,
    spend: Totals<SpendSums>,
}

impl Cells {
    pub(super) fn new() -> Cells {
        Cells {
            orders: Totals::new(),
            spend: Totals::new(),
        }
    }

    /// A customer goes from the cells that he was in to those that he is in.
    pub(super) fn recount(&mut self, was: Option<&Statistics>, is: Option<&Statistics>) {
        let (left, entered) = (was.map(OrderCell::of), is.map(OrderCell::of));
        if left != entered {
            for (cell, by) in [(left, -1), (entered, 1)] {
                if let Some(cell) = cell {
                    *self.orders.change(cell) += by;
                }
            }
        }
        let (left, entered) = (was.and_then(SpendCell::of), is.and_then(SpendCell::of));
        if left != entered {
            if let Some((cell, of)) = left {
                self.spend.change(cell).take_off(&of);
            }
            if let Some((cell, of)) = entered {
                self.spend.change(cell).add(&of);
            }
        }
    }

    /// How many have changed since the last commit.
    pub(super) fn changed(&self) -> usize {
        self.orders.changed() + self.spend.changed()
    }

    pub(super) fn writes(&self) -> impl Iterator<Item = Write> {
        self.orders.writes().chain(self.spend.writes())
    }

    pub(super) fn state(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        self.orders.state().chain(self.spend.state())
    }

    pub(super) fn commit(&mut self) {
        self.orders.commit();
        self.spend.commit();
    }
}
