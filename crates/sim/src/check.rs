//! What must hold of what a run leaves behind, whatever went wrong in it.
//!
//! Each check names its invariant, from I1 to I8, and answers the first counter-example that it finds.
//! I9 and I10 are looked for while a run goes on, and so is I8 for committed positions.

mod commits;
mod ends;
mod models;
mod oracle;
mod outputs;
mod owners;
mod state;
mod timers;

use std::sync::Arc;

use engine::port::TopicPartition;

use crate::cluster::partition::{Fate, Stored};
use crate::cluster::{Cluster, Violation};
use crate::shop::Shop;
use crate::world::Ran;

/// What a check found.
type Found = Result<(), Violation>;

/// Every check of a run by itself.
#[must_use]
pub fn all(ran: &Ran, shop: &Arc<Shop>) -> Vec<Violation> {
    let found = [
        outputs::numbered(ran, shop),
        owners::one_at_a_time(ran, shop),
        commits::whole(ran, shop),
        state::as_logged(ran, shop),
        timers::once(ran, shop),
    ];
    found.into_iter().filter_map(Result::err).collect()
}

/// What is there against what a naive oracle says.
#[must_use]
pub fn against_oracle(ran: &Ran, shop: &Arc<Shop>) -> Vec<Violation> {
    oracle::agrees(ran, shop).err().into_iter().collect()
}

/// The end of a run against that of an undisturbed run of the same load.
#[must_use]
pub fn against_calm(ran: &Ran, calm: &Ran, shop: &Arc<Shop>) -> Vec<Violation> {
    let found = [
        ends::calm(calm, shop),
        ends::accounted(ran, shop),
        models::newest_everywhere(ran, shop),
        models::newest_everywhere(calm, shop),
        ends::same(ran, calm, shop),
    ];
    found.into_iter().filter_map(Result::err).collect()
}

fn violated<T>(invariant: &'static str, what: String) -> Result<T, Violation> {
    Err(Violation { invariant, what })
}

/// What was committed to a partition, compacted or not.
fn committed<'c>(cluster: &'c Cluster, at: &TopicPartition) -> impl Iterator<Item = &'c Stored> {
    let records = cluster.partition(at).map_or(&[][..], |p| p.history());
    records.iter().filter(|r| r.fate == Fate::Committed)
}

fn place(topic: &Arc<str>, partition: u32) -> TopicPartition {
    TopicPartition {
        topic: Arc::clone(topic),
        partition,
    }
}

/// Words for a record.
fn words(at: &TopicPartition, record: &Stored) -> String {
    let (topic, partition, offset) = (&at.topic, at.partition, record.offset);
    match record.writer {
        Some(w) => format!(
            "{topic} {partition} at {offset} (producer {} epoch {} transaction {})",
            w.producer, w.epoch, w.transaction
        ),
        None => format!("{topic} {partition} at {offset}"),
    }
}
