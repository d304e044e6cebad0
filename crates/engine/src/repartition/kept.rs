//! What tasks keep in tables besides their profiles and their bookkeeping: parts that add up, and the models of
//! value, which all tasks have alike.

use std::collections::BTreeMap;

use clv::histogram::{OrderHistogram, SpendHistogram, encode_count};
use domain::orders::DayTotals;
use domain::prediction::ModelParameters;
use domain::time::Day;
use wire::bin::Corrupt;
use wire::state::{
    day_key, decode_day, decode_model, encode_day, encode_model, model_key, split_day_key,
};

use crate::cells::histograms;
use crate::port::{StateError, StateReader, Table};

/// One task's.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Kept {
    /// Its part of the totals of days.
    pub days: BTreeMap<Day, DayTotals>,
    /// Its part of customers by their orders.
    pub orders: OrderHistogram,
    /// Its part of their spend.
    pub spend: SpendHistogram,
    /// Models that profiles stand under, by version.
    pub models: BTreeMap<u32, ModelParameters>,
}

impl Kept {
    /// What a task's state has.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn read(state: &dyn StateReader) -> Result<Kept, StateError> {
        let damaged =
            |corrupt: Corrupt| StateError::Damaged(format!("state is damaged: {corrupt}"));
        let mut kept = Kept::default();
        // One entry a day: a century is 36,525 of them.
        for (key, bytes) in state.scan(Table::Days, &[], usize::MAX)? {
            if let Some(day) = split_day_key(&key) {
                kept.days.insert(day, decode_day(&bytes).map_err(damaged)?);
            }
        }
        (kept.orders, kept.spend) = histograms(state)?;
        for (_, bytes) in state.scan(Table::Models, &[], usize::MAX)? {
            let model = decode_model(&bytes).map_err(damaged)?;
            kept.models.insert(model.version, model);
        }
        Ok(kept)
    }

    /// Keys with the table's byte, and values, as the changelog has them.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        let days = self.days.iter();
        let days = days.map(|(day, of)| (Table::Days.full_key(&day_key(*day)), encode_day(of)));
        let orders = self.orders.entries().map(|(cell, customers)| {
            let key = Table::OrderCells.full_key(&cell.to_bytes());
            (key, encode_count(customers))
        });
        let spend = self.spend.entries();
        let spend = spend.map(|(cell, sums)| {
            let key = Table::SpendCells.full_key(&cell.to_bytes());
            (key, sums.encode())
        });
        let models = self.models.iter().map(|(version, model)| {
            let key = Table::Models.full_key(&model_key(*version));
            (key, encode_model(model))
        });
        days.chain(orders).chain(spend).chain(models)
    }
}

/// What each new task keeps, from what the old ones kept, by their numbers. Whose part of a sum something is
/// makes no difference: parts are added up, and changes are added to whichever there is.
#[must_use]
pub fn kept(from: &[Kept], to: u32) -> Vec<Kept> {
    let models = from.iter().flat_map(|old| &old.models);
    let models: BTreeMap<u32, ModelParameters> = models.map(|(v, model)| (*v, *model)).collect();
    let with_models = Kept {
        models,
        ..Kept::default()
    };
    let mut parts = vec![with_models; to as usize];
    for (old, task) in from.iter().zip((0..to).cycle()) {
        let part = &mut parts[task as usize];
        for (day, totals) in &old.days {
            part.days.entry(*day).or_default().add(totals);
        }
        part.orders.merge(&old.orders);
        part.spend.merge(&old.spend);
    }
    for part in &mut parts {
        part.days
            .retain(|_, totals| *totals != DayTotals::default());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::money::Minor;
    use domain::prediction::Family;
    use domain::purchases::Statistics;

    fn part(orders: i64) -> DayTotals {
        DayTotals {
            orders,
            ..DayTotals::default()
        }
    }

    fn customer(repeats: u32) -> Statistics {
        Statistics {
            repeats,
            first: Day(7),
            last: Day(9),
            spent: Minor(500),
        }
    }

    fn old(days: &[(i32, i64)], customers: &[u32], gone: &[u32], model: u32) -> Kept {
        let mut kept = Kept {
            days: days.iter().map(|(day, n)| (Day(*day), part(*n))).collect(),
            ..Kept::default()
        };
        for repeats in customers {
            kept.orders.add(&customer(*repeats));
            kept.spend.add(&customer(*repeats));
        }
        // They were counted elsewhere.
        for repeats in gone {
            kept.orders.remove(&customer(*repeats));
            kept.spend.remove(&customer(*repeats));
        }
        let parameters = ModelParameters {
            version: model,
            family: Family::MbgNbd,
            r: 0.5,
            alpha: 40.0,
            a: 0.9,
            b: 1.6,
            spend: None,
        };
        kept.models.insert(model, parameters);
        kept
    }

    #[test]
    fn sums_stay_and_everybody_has_the_models() {
        let parts = [
            old(&[(7, 3), (8, 1)], &[1, 1, 2], &[], 3),
            old(&[(7, 4)], &[2], &[], 4),
            old(&[(8, -1)], &[], &[1], 4),
        ];
        let whole = old(&[(7, 7)], &[1, 2, 2], &[], 3);
        for to in [1, 2, 3, 5] {
            let new = kept(&parts, to);
            assert_eq!(new.len(), to as usize);
            assert!(new.iter().all(|part| part.models.keys().eq([&3, &4])));
            let sum = &kept(&new, 1)[0];
            assert_eq!(sum.days, whole.days, "to {to}");
            assert_eq!(sum.orders, whole.orders, "to {to}");
            assert_eq!(sum.spend, whole.spend, "to {to}");
        }
    }
}
