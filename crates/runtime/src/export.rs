//! What is known, as tables: one row per profile, one row per day of the shop.
//!
//! Canonical: rows in the order of their keys, columns in a fixed order, the same bytes whatever
//! the number of partitions and workers. What follows from orders and refunds is exact as of any
//! instant. Behaviour, stages and segments are known as of stream time or later; as of an earlier
//! instant they are left empty rather than told wrong.

mod columns;
mod profiles;
mod writer;

use std::collections::BTreeMap;

use domain::definitions::{Definitions, Model, Tag};
use domain::money::Currency;
use domain::orders::DayTotals;
use domain::profile::View;
use domain::time::Day;
use engine::port::{StateReader, Table};
use engine::worker::Owned;
use serde_json::Value;
use store::TaskStore;
use wire::state::{decode_day, split_day_key};

use self::columns::Columns;
use crate::error::RuntimeError;

pub use self::columns::profile_row;
pub use self::profiles::{Known, Profiles};
pub use self::writer::{TableFormat, TableWriter};

/// A row: names and values, in the order of the columns.
pub type Row = Vec<(String, Value)>;

/// The name of the stage with this tag in `model`.
#[must_use]
pub fn stage_name(model: &Model, stage: Tag) -> Option<&str> {
    model
        .stages
        .iter()
        .find(|s| s.tag == stage)
        .map(|s| s.name.as_str())
}

/// Names of the segments that the view is in, in the definitions' order.
#[must_use]
pub fn segment_names<'d>(view: &View, definitions: &'d Definitions) -> Vec<&'d str> {
    let is_in = |tag| view.segments.iter().any(|m| m.segment == tag);
    let segments = definitions.segments.iter().filter(|s| is_in(s.tag));
    segments.map(|s| s.name.as_str()).collect()
}

/// The shop's totals per day, over all tasks; days without anything are absent.
///
/// # Errors
/// The state cannot be read.
pub fn days(tasks: &[Owned<TaskStore>]) -> Result<BTreeMap<Day, DayTotals>, RuntimeError> {
    let mut days: BTreeMap<Day, DayTotals> = BTreeMap::new();
    for Owned { store, .. } in tasks {
        // One entry a day: a century is 36,525 of them.
        for (key, bytes) in store.scan(Table::Days, &[], usize::MAX)? {
            if let Some(day) = split_day_key(&key) {
                days.entry(day).or_default().add(&decode_day(&bytes)?);
            }
        }
    }
    days.retain(|_, totals| *totals != DayTotals::default());
    Ok(days)
}

/// One day's row.
#[must_use]
pub fn day_row(day: Day, totals: &DayTotals, currency: Currency) -> Row {
    let mut columns = Columns::new(currency);
    columns.put("day", day.to_string());
    columns.put("lines", totals.lines);
    columns.put("orders", totals.orders);
    columns.put("cancellations", totals.cancellations);
    columns.put("customers", totals.customers);
    columns.money("gross", totals.gross);
    columns.money("returns", totals.returns);
    columns.row()
}
