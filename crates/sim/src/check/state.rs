//! I4: a store that is complete up to an offset of the changelog holds what the changelog says up to
//! there, no more and no less.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Found, committed, place, violated};
use crate::shop::{Shop, TASKS};
use crate::store::entry_hash;
use crate::world::Ran;

pub(super) fn as_logged(ran: &Ran, shop: &Arc<Shop>) -> Found {
    let mut noted: Vec<_> = ran.journal.iter().collect();
    noted.sort_by_key(|(task, offset, ..)| (*task, *offset));
    let mut noted = noted.into_iter().peekable();
    for task in 0..TASKS {
        let at = place(&shop.setup.topics.changelog, task);
        let mut records = committed(&ran.cluster, &at).peekable();
        let mut entries: BTreeMap<&[u8], u64> = BTreeMap::new();
        let mut hash = 0;
        while let Some((_, offset, found, when)) = noted.next_if(|(of, ..)| *of == task) {
            while let Some(record) = records.next_if(|r| r.offset < *offset) {
                let key = record.content.key.as_deref().unwrap_or_default();
                let before = match record.content.value.as_deref() {
                    Some(value) => {
                        let entry = entry_hash(key, value);
                        hash ^= entry;
                        entries.insert(key, entry)
                    }
                    None => entries.remove(key),
                };
                hash ^= before.unwrap_or(0);
            }
            if *found != hash {
                let what = format!(
                    "at {when} the store of task {task} holds something else than its changelog \
                     up to {offset}"
                );
                return violated("I4", what);
            }
        }
    }
    Ok(())
}
