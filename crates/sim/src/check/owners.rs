//! I5: after the owner record of a newer owner there is nothing more of an older one.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::port::Table;

use super::{Found, committed, place, violated, words};
use crate::log::OWNER_KEY;
use crate::shop::{Shop, TASKS};
use crate::world::Ran;

/// Whether a changelog key is that of owner records.
pub(super) fn is_owner(key: Option<&[u8]>) -> bool {
    key.and_then(Table::split) == Some((Table::Meta, OWNER_KEY))
}

pub(super) fn one_at_a_time(ran: &Ran, shop: &Arc<Shop>) -> Found {
    let topics = &shop.setup.topics;
    for task in 0..TASKS {
        let at = place(&topics.changelog, task);
        let mut owner = None;
        let mut epochs: BTreeMap<u64, u32> = BTreeMap::new();
        for record in committed(&ran.cluster, &at) {
            let writer = record.writer.map(|w| (w.producer, w.epoch));
            if is_owner(record.content.key.as_deref()) {
                if let Some((producer, epoch)) = writer
                    && epochs
                        .insert(producer, epoch)
                        .is_some_and(|before| before > epoch)
                {
                    let what = format!("an older epoch claims anew: {}", words(&at, record));
                    return violated("I5", what);
                }
                owner = writer;
            } else if writer != owner {
                let what = format!(
                    "task {task} belongs to {owner:?}, and {} is another's",
                    words(&at, record)
                );
                return violated("I5", what);
            }
        }
    }
    Ok(())
}
