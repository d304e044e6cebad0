//! I6: what time alone brings about is told once, and not before its time.
//!
//! A timer acts as of its due instant, once the clock has come that far: that is, once the task's
//! frontier has, or the event of a customer who was not silent until then.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::time::TimeMs;
use engine::bookkeeping::{self, Bookkeeping};
use engine::port::Table;
use serde_json::Value;

use super::outputs::header;
use super::{Found, committed, place, violated, words};
use crate::cluster::partition::Stored;
use crate::shop::{Shop, TASKS};
use crate::world::Ran;

pub(super) fn once(ran: &Ran, shop: &Arc<Shop>) -> Found {
    let decoder = shop.decoder();
    for topic in shop.setup.topics.outputs() {
        let mut told: BTreeSet<String> = BTreeSet::new();
        for task in 0..TASKS {
            let at = place(topic, task);
            let frontiers = frontiers(ran, shop, task);
            for record in committed(&ran.cluster, &at) {
                let value = record.content.value.as_deref().unwrap_or_default();
                let Ok(json) = decoder.to_json(value) else {
                    let what = format!("an output cannot be read: {}", words(&at, record));
                    return violated("I2", what);
                };
                if !is_of_timer(&json) {
                    continue;
                }
                if !told.insert(what_of(&json)) {
                    let what = format!("a timer fired twice: {}", words(&at, record));
                    return violated("I6", what);
                }
                let transaction = record.writer.map_or(0, |w| w.transaction);
                let reached = frontiers.iter().find(|(of, _)| *of == transaction);
                let reached = reached.map_or(TimeMs::MIN, |(_, frontier)| *frontier);
                let reached = reached.max(ran.latest_sent(transaction));
                let due = header(record, "ce_time").unwrap_or_default();
                if due > reached.to_string().as_str() {
                    let what = format!(
                        "a timer due at {due} fired at {reached}: {}",
                        words(&at, record)
                    );
                    return violated("I6", what);
                }
            }
        }
    }
    Ok(())
}

fn is_of_timer(json: &Value) -> bool {
    json["reason"]["cause"] == "timer" || json["cause"] == "timer"
}

/// Whose timer, which, and when it was due.
fn what_of(json: &Value) -> String {
    let fields = [
        "customer", "as_of", "model", "from", "to", "segment", "action",
    ];
    let fields = fields.iter().map(|field| json[field].to_string());
    fields.collect::<Vec<_>>().join(" ")
}

/// How far the task's clock was after each transaction.
fn frontiers(ran: &Ran, shop: &Shop, task: u32) -> Vec<(u64, TimeMs)> {
    let grace = shop.setup.definitions.grace_ms;
    let key = Table::Meta.full_key(bookkeeping::KEY);
    let frontier = |record: &Stored| {
        let bytes = record.content.value.as_deref().unwrap_or_default();
        let book = Bookkeeping::decode(bytes).ok()?;
        Some((record.writer?.transaction, book.clock.frontier(grace)))
    };
    let changelog = place(&shop.setup.topics.changelog, task);
    let books = committed(&ran.cluster, &changelog);
    let books = books.filter(|r| r.content.key.as_ref() == Some(&key));
    books.filter_map(frontier).collect()
}
