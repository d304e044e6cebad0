//! The statistics of a task's customers as the fits of models take them: cells with counts, in state.
//!
//! Invariant: at every commit the cells of all tasks together are the histograms of all customers whose
//! profiles they have; a cell in which nobody is left is not there.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use clv::histogram::{
    BytesError, OrderCell, OrderHistogram, SpendCell, SpendHistogram, SpendSums, decode_count,
    encode_count,
};
use domain::purchases::Statistics;

use crate::port::{StateError, StateReader, Table, Write};

/// The cells that have changed since the last commit, as they are now.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    orders: BTreeMap<OrderCell, i64>,
    spend: BTreeMap<SpendCell, SpendSums>,
}

impl Cells {
    /// A customer goes from what he was to what he is; `None` for no order that counts.
    pub(crate) fn replace(
        &mut self,
        before: Option<&Statistics>,
        after: Option<&Statistics>,
        state: &dyn StateReader,
    ) -> Result<(), StateError> {
        let (left, entered) = (before.map(OrderCell::of), after.map(OrderCell::of));
        if left != entered {
            for (cell, by) in [(left, -1), (entered, 1)] {
                if let Some(cell) = cell {
                    let count = self.customers_in(cell, state)?;
                    *count = count.saturating_add(by);
                }
            }
        }
        let (left, entered) = (
            before.and_then(SpendCell::of),
            after.and_then(SpendCell::of),
        );
        if left != entered {
            if let Some((cell, of)) = left {
                self.spend_in(cell, state)?.take_off(&of);
            }
            if let Some((cell, of)) = entered {
                self.spend_in(cell, state)?.add(&of);
            }
        }
        Ok(())
    }

    fn customers_in(
        &mut self,
        cell: OrderCell,
        state: &dyn StateReader,
    ) -> Result<&mut i64, StateError> {
        match self.orders.entry(cell) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => {
                let bytes = state.get(Table::OrderCells, &cell.to_bytes())?;
                let count = bytes.map_or(Ok(0), |bytes| decode_count(&bytes));
                Ok(unknown.insert(count.map_err(damaged)?))
            }
        }
    }

    fn spend_in(
        &mut self,
        cell: SpendCell,
        state: &dyn StateReader,
    ) -> Result<&mut SpendSums, StateError> {
        match self.spend.entry(cell) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => {
                let bytes = state.get(Table::SpendCells, &cell.to_bytes())?;
                let sums = bytes.map_or(Ok(SpendSums::default()), |b| SpendSums::decode(&b));
                Ok(unknown.insert(sums.map_err(damaged)?))
            }
        }
    }

    /// What is to be written, sorted by table and key; nothing has changed since then.
    pub(crate) fn take_writes(&mut self) -> Vec<Write> {
        let orders = std::mem::take(&mut self.orders);
        let spend = std::mem::take(&mut self.spend);
        let orders = orders.into_iter().map(|(cell, count)| Write {
            table: Table::OrderCells,
            key: cell.to_bytes().to_vec(),
            value: (count != 0).then(|| Arc::from(encode_count(count))),
        });
        let spend = spend.into_iter().map(|(cell, sums)| Write {
            table: Table::SpendCells,
            key: cell.to_bytes().to_vec(),
            value: (!sums.is_empty()).then(|| Arc::from(sums.encode())),
        });
        orders.chain(spend).collect()
    }
}

/// The histograms that the cells of a task's state make; those of several tasks add up.
///
/// # Errors
/// The state cannot be read.
pub fn histograms(state: &dyn StateReader) -> Result<(OrderHistogram, SpendHistogram), StateError> {
    let (mut orders, mut spend) = (OrderHistogram::default(), SpendHistogram::default());
    let unreadable = || StateError::Damaged("state is damaged: the key of a cell".to_owned());
    for (key, bytes) in state.scan(Table::OrderCells, &[], usize::MAX)? {
        let cell = OrderCell::from_bytes(&key).ok_or_else(unreadable)?;
        orders.put(cell, decode_count(&bytes).map_err(damaged)?);
    }
    for (key, bytes) in state.scan(Table::SpendCells, &[], usize::MAX)? {
        let cell = SpendCell::from_bytes(&key).ok_or_else(unreadable)?;
        spend.put(cell, &SpendSums::decode(&bytes).map_err(damaged)?);
    }
    Ok((orders, spend))
}

fn damaged(error: BytesError) -> StateError {
    StateError::Damaged(format!("state is damaged: {error}"))
}
