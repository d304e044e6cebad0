//! I2: whoever reads committed outputs sees each customer's numbers from 1 on, none missing, none twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Found, committed, place, violated, words};
use crate::cluster::partition::Stored;
use crate::shop::{Shop, TASKS};
use crate::world::Ran;

/// A header of a record, as text.
pub(super) fn header<'r>(record: &'r Stored, name: &str) -> Option<&'r str> {
    let mut headers = record.content.headers.iter();
    let (_, value) = headers.find(|(known, _)| *known == name)?;
    std::str::from_utf8(value).ok()
}

pub(super) fn numbered(ran: &Ran, shop: &Arc<Shop>) -> Found {
    for topic in shop.setup.topics.outputs() {
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for at in (0..TASKS).map(|partition| place(topic, partition)) {
            for record in committed(&ran.cluster, &at) {
                let id = header(record, "ce_id").and_then(|id| id.rsplit_once('/'));
                let number = id.and_then(|(whose, number)| Some((whose, number.parse().ok()?)));
                let Some((whose, number)) = number else {
                    let what = format!("an output has no readable ce_id: {}", words(&at, record));
                    return violated("I2", what);
                };
                let last = last.entry(whose).or_default();
                if number != *last + 1 {
                    let what = format!(
                        "{whose} has number {number} after {last}: {}",
                        words(&at, record)
                    );
                    return violated("I2", what);
                }
                *last = number;
            }
        }
    }
    Ok(())
}
