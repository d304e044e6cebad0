//! The end: every record accounted for (I7), and the same state as of a run in which nothing went wrong
//! (I1, as far as that is determined).
//!
//! Orders, days of the shop, cells and what was dead-lettered are the same, always. Whole views are the same
//! where no event was late in either run; records in order, rightly keyed, are never late, unless an input was left
//! out of a clock because it was silent. A late fact of an order that is known already is counted as a
//! duplicate, and, told in time, counts among the events: where days of disorder, or of silence, meet facts
//! told twice, a view is not determined, and is not compared.
//!
//! A model of value that comes into force among the records of the load does so at another place among them in
//! each run: a customer whose P(alive) had fallen by then is at risk, or has lapsed, as of another instant, and if
//! he orders meanwhile he may have lapsed in one run only and be counted as reactivated in that one. So for such
//! seeds since when and in which cycle he is in a stage of the overlay of activity is not determined, nor what was told of
//! his prediction, nor as of when he was looked at last or is to be next. Which stage it is is determined: the
//! end comes so late that by his own rhythm he has lapsed under any model. All else of a view is compared, and
//! of a customer without orders, of whom no model says anything, everything. Where models come into force
//! before the first record or after the end of the replay only, everything is compared, predictions too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clv::histogram::{
    OrderCell, OrderHistogram, SpendCell, SpendHistogram, SpendSums, decode_count,
};
use domain::definitions::tag;
use domain::orders::DayTotals;
use domain::profile::{Profile, View};
use domain::time::{Day, TimeMs};
use engine::bookkeeping::{self, Bookkeeping, Counts};
use engine::port::Table;
use engine::valuing;
use wire::output::ERROR_CLASS_HEADER;
use wire::state::{decode_day, decode_profile, split_day_key};

use super::outputs::header;
use super::{Found, committed, place, violated};
use crate::cluster::Violation;
use crate::cluster::partition::Stored;
use crate::load::{Keyed, Order, POISON};
use crate::shop::{Shop, TASKS};
use crate::world::Ran;

/// The model of stages that goes by P(alive).
const ACTIVITY: &str = "activity";
/// So many good records a run may quarantine.
const SET_ASIDE_BY_CHANCE: u64 = 2;

/// What tasks hold, all together.
struct End {
    profiles: BTreeMap<Vec<u8>, Profile>,
    days: BTreeMap<Day, DayTotals>,
    orders: OrderHistogram,
    spend: SpendHistogram,
    counts: Counts,
}

/// State that cannot be read.
pub(super) fn unreadable(what: &dyn ToString) -> Violation {
    Violation {
        invariant: "I1",
        what: format!("state cannot be read: {}", what.to_string()),
    }
}

fn end_of(ran: &Ran, shop: &Shop) -> Result<End, Violation> {
    let mut end = End {
        profiles: BTreeMap::new(),
        days: BTreeMap::new(),
        orders: OrderHistogram::default(),
        spend: SpendHistogram::default(),
        counts: Counts::default(),
    };
    for task in 0..TASKS {
        let tables = fold(ran, shop, task);
        let models = tables.iter().filter_map(|(key, value)| {
            matches!(Table::split(key), Some((Table::Models, _))).then_some(*value)
        });
        let versions = valuing::versions_of(models, &shop.setup.definitions);
        let versions = versions.map_err(|e| unreadable(&e))?;
        for (full, value) in tables {
            let Some((table, key)) = Table::split(full) else {
                return violated("I1", format!("a key of task {task} is of no table"));
            };
            match table {
                Table::Profiles => {
                    let profile = decode_profile(value, &versions);
                    let profile = profile.map_err(|e| unreadable(&e))?;
                    if end.profiles.insert(key.to_vec(), profile).is_some() {
                        return violated("I1", "two tasks have one profile".to_owned());
                    }
                }
                Table::Days => {
                    let day = split_day_key(key).ok_or_else(|| unreadable(&"a day's key"))?;
                    let totals = decode_day(value).map_err(|e| unreadable(&e))?;
                    end.days.entry(day).or_default().add(&totals);
                }
                Table::Meta if key == bookkeeping::KEY => {
                    let book = Bookkeeping::decode(value).map_err(|e| unreadable(&e))?;
                    end.counts.add(&book.counts);
                }
                Table::OrderCells => {
                    let cell = OrderCell::from_bytes(key);
                    let cell = cell.ok_or_else(|| unreadable(&"the key of a cell"))?;
                    let count = decode_count(value).map_err(|e| unreadable(&e))?;
                    end.orders.put(cell, count);
                }
                Table::SpendCells => {
                    let cell = SpendCell::from_bytes(key);
                    let cell = cell.ok_or_else(|| unreadable(&"the key of a cell"))?;
                    let sums = SpendSums::decode(value).map_err(|e| unreadable(&e))?;
                    end.spend.put(cell, &sums);
                }
                Table::Meta | Table::Timers | Table::Models => {}
            }
        }
    }
    // A day may be held by tasks whose parts of it come to nothing together.
    end.days.retain(|_, totals| *totals != DayTotals::default());
    Ok(end)
}

/// What the changelog of a task says.
pub(super) fn fold<'r>(ran: &'r Ran, shop: &Shop, task: u32) -> BTreeMap<&'r [u8], &'r [u8]> {
    let mut tables = BTreeMap::new();
    for record in committed(&ran.cluster, &place(&shop.setup.topics.changelog, task)) {
        let key = record.content.key.as_deref().unwrap_or_default();
        match record.content.value.as_deref() {
            Some(value) => tables.insert(key, value),
            None => tables.remove(key),
        };
    }
    tables
}

/// The undisturbed run is what it is to be.
pub(super) fn calm(calm: &Ran, shop: &Arc<Shop>) -> Found {
    if let Some(violation) = calm.violations().first() {
        let what = format!(
            "without any fault, {}: {}",
            violation.invariant, violation.what
        );
        return violated("calm", what);
    }
    accounted(calm, shop)
}

/// I7: every event counts once, where it belongs; every bad record is a dead letter, once.
pub(super) fn accounted(ran: &Ran, shop: &Arc<Shop>) -> Found {
    let counts = end_of(ran, shop)?.counts;
    let bad = ran.load.records.iter().filter(|sent| sent.is_bad).count() as u64;
    let good = ran.load.records.len() as u64 - bad;
    let set_aside = set_aside(ran, shop);
    let by_chance = set_aside.len() as u64;
    let taken_in = counts.applied + counts.late + counts.deduplicated;
    if taken_in + by_chance != good
        || counts.dead_lettered != bad + by_chance
        || by_chance > SET_ASIDE_BY_CHANCE
    {
        let what = format!(
            "of {good} events, of which {by_chance} were quarantined, and {bad} bad records came {counts:?}"
        );
        return violated("I7", what);
    }
    let mut expected = BTreeSet::new();
    let mut ends: BTreeMap<_, u64> = BTreeMap::new();
    for sent in &ran.load.records {
        let offset = ends.entry(&sent.at).or_default();
        if sent.is_bad {
            let at = (sent.at.topic.to_string(), sent.at.partition, *offset);
            expected.insert(at);
        }
        *offset += 1;
    }
    for task in 0..TASKS {
        let at = place(&shop.setup.topics.dead_letters, task);
        for record in committed(&ran.cluster, &at) {
            let of = source_of(record);
            if !expected.remove(&of) && !set_aside.contains(&of) {
                return violated("I7", format!("{of:?} is a dead letter, wrongly or twice"));
            }
        }
    }
    match expected.first() {
        Some(missing) => violated("I7", format!("{missing:?} is no dead letter")),
        None => Ok(()),
    }
}

/// Where good records stand that were quarantined. A process that loses a task while it tries a record, and
/// cannot say any more that it lives, is taken for dead; twice at one record is rare, and no defect.
fn set_aside(ran: &Ran, shop: &Shop) -> BTreeSet<(String, u32, u64)> {
    let mut all = BTreeSet::new();
    for task in 0..TASKS {
        for record in committed(&ran.cluster, &place(&shop.setup.topics.dead_letters, task)) {
            let is_quarantined = header(record, ERROR_CLASS_HEADER) == Some("quarantined");
            if is_quarantined && record.content.value.as_deref() != Some(POISON) {
                all.insert(source_of(record));
            }
        }
    }
    all
}

/// Topic, partition and offset that a dead letter came from.
fn source_of(letter: &Stored) -> (String, u32, u64) {
    let number = |name| header(letter, name).and_then(|n| n.parse().ok());
    let partition = header(letter, "clv_partition").and_then(|n| n.parse().ok());
    (
        header(letter, "clv_topic").unwrap_or_default().to_owned(),
        partition.unwrap_or(u32::MAX),
        number("clv_offset").unwrap_or(u64::MAX),
    )
}

/// A view without what depends on where among its events a model came into force.
fn under_any_model(view: &View) -> View {
    let mut view = view.clone();
    if view.book.is_empty() {
        return view;
    }
    view.told = None;
    view.clock = TimeMs::MIN;
    view.next_timer = TimeMs::MAX;
    let overlay = tag(ACTIVITY);
    for state in view.stages.iter_mut().filter(|s| s.model == overlay) {
        state.since = TimeMs::MIN;
        state.cycle = 0;
    }
    view
}

/// The same state as without faults.
pub(super) fn same(ran: &Ran, calm: &Ran, shop: &Arc<Shop>) -> Found {
    if !set_aside(ran, shop).is_empty() {
        // One record less makes another state. That it is the right one for what is left the oracle says.
        return Ok(());
    }
    let (found, expected) = (end_of(ran, shop)?, end_of(calm, shop)?);
    if !found.profiles.keys().eq(expected.profiles.keys()) {
        let what = format!(
            "there are {} profiles, without faults {}",
            found.profiles.len(),
            expected.profiles.len()
        );
        return violated("I1", what);
    }
    let load = &ran.load;
    let late = (found.counts.late, expected.counts.late);
    let is_in_time = load.order == Order::InOrder && !ran.tells_silence;
    if load.keyed == Keyed::Rightly && is_in_time && late != (0, 0) {
        let what = format!("in order and rightly keyed, {late:?} events are late");
        return violated("I1", what);
    }
    let told_twice = load.told_twice.iter().map(|owner| owner.as_bytes());
    let told_twice: BTreeSet<&[u8]> = told_twice.collect();
    for ((key, found), expected) in found.profiles.iter().zip(expected.profiles.values()) {
        let is_disordered = load.order == Order::Beyond || ran.tells_silence;
        let may_be_late = is_disordered && told_twice.contains(key.as_slice());
        let is_whole = late == (0, 0) && !may_be_late;
        let is_same = match is_whole {
            true if ran.promotions.are_settled() => found.live == expected.live,
            true => under_any_model(&found.live) == under_any_model(&expected.live),
            false => found.live.book == expected.live.book,
        };
        if !is_same {
            let what = format!(
                "a profile differs from what it is without faults ({}): {}",
                if is_whole { "view" } else { "orders" },
                String::from_utf8_lossy(key)
            );
            return violated("I1", what);
        }
    }
    if (&found.orders, &found.spend) != (&expected.orders, &expected.spend) {
        let what = "customers by their orders and spend are not those of a run without faults";
        return violated("I1", what.to_owned());
    }
    for (day, totals) in &expected.days {
        if found.days.get(day) != Some(totals) {
            return violated("I1", format!("the shop's day {day:?} differs"));
        }
    }
    match found.days.len() == expected.days.len() {
        true => Ok(()),
        false => violated("I1", "there are days of the shop too many".to_owned()),
    }
}
