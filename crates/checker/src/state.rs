//! A store against the changelog (I4): with the changelog from the store's position on it gives what the
//! whole changelog gives, and nothing in it was never committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use engine::port::Table;
use wire::state::derived_timer;
use xxhash_rust::xxh3::xxh3_128;

use crate::changelog::name_of;
use crate::cursor::Cursor;
use crate::fold::Fold;
use crate::history::History;
use crate::report::{Finding, Outcome};
use crate::subject::{Subject, is_state};

/// An entry of a store: table, key without the table's byte, value.
pub type StoreEntry = (Table, Vec<u8>, Vec<u8>);

/// What a store holds.
pub struct StoreContents<'a> {
    /// The changelog offset from which a restore starts.
    pub position: u64,
    /// Everything in it, timers included, in any order.
    pub entries: Box<dyn Iterator<Item = Result<StoreEntry, String>> + 'a>,
}

impl fmt::Debug for StoreContents<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreContents")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Restored {
    values: BTreeMap<Vec<u8>, u128>,
    /// Keys whose value is that of some record of the changelog.
    committed: BTreeSet<Vec<u8>>,
    timers: BTreeSet<Vec<u8>>,
    /// The timer that each profile has armed.
    armed: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Checks `store` against the changelog of `task`, of which `fold` is the fold.
pub(crate) fn check<H: History>(
    subject: &Subject,
    history: &mut H,
    task: u32,
    fold: &Fold,
    store: StoreContents<'_>,
) -> Result<Outcome, H::Error> {
    if store.position > fold.reach {
        let why = "the store is ahead of the commits that were looked at: the service is running";
        return Ok(Outcome::NotCheckable(why.to_owned()));
    }
    let mut restored = Restored::default();
    for entry in store.entries {
        match entry {
            Ok((table, key, value)) => restored.put(table, key, &value),
            Err(error) => return Ok(Outcome::NotCheckable(format!("the store: {error}"))),
        }
    }
    let at = subject.changelog(task);
    let held = restored.values.clone();
    let mut cursor = Cursor::open(history, at.clone())?;
    while let Some(entry) = cursor.pop_before(history, fold.end)? {
        let key = entry.key.unwrap_or_default();
        let value = entry.value.as_deref();
        if value.map(xxh3_128).as_ref() == held.get(&key) {
            restored.committed.insert(key.clone());
        }
        if entry.offset >= store.position {
            restored.replay(key, value);
        }
    }
    let failed = |key: &[u8], problem: &str| {
        let finding = Finding::new(&at, problem);
        Outcome::Failed(Box::new(finding.key(name_of(subject.naming, key))))
    };
    if !subject.compacted
        && let Some(key) = held.keys().find(|key| !restored.committed.contains(*key))
    {
        return Ok(failed(
            key,
            "the store holds a value that was never committed",
        ));
    }
    for (key, (_, hash)) in &fold.entries {
        match restored.values.remove(key) {
            Some(value) if value == *hash => {}
            Some(_) => {
                let problem = "a restore of the store does not give the newest value of a key";
                return Ok(failed(key, problem));
            }
            None => return Ok(failed(key, "a restore of the store lacks a key")),
        }
    }
    let beyond = restored
        .values
        .keys()
        .find(|key| Table::split(key).is_some_and(is_logged));
    if let Some(key) = beyond {
        return Ok(failed(
            key,
            "a restore of the store has a key that the changelog has not",
        ));
    }
    let lost = restored
        .armed
        .iter()
        .find(|(_, timer)| !restored.timers.contains(*timer));
    if let Some((profile, _)) = lost {
        let key = Table::Profiles.full_key(profile);
        return Ok(failed(
            &key,
            "a timer that a profile has armed is not in the store",
        ));
    }
    Ok(Outcome::Passed(fold.entries.len() as u64))
}

/// The bookkeeping is folded apart.
fn is_logged((table, _): (Table, &[u8])) -> bool {
    !matches!(table, Table::Timers | Table::Meta)
}

impl Restored {
    fn put(&mut self, table: Table, key: Vec<u8>, value: &[u8]) {
        match table {
            Table::Timers => {
                self.timers.insert(key);
            }
            _ => {
                let full = table.full_key(&key);
                if !is_state(&full) {
                    return;
                }
                self.values.insert(full, xxh3_128(value));
                if table == Table::Profiles
                    && let Some(timer) = derived_timer(&key, value)
                {
                    self.armed.insert(key, timer);
                }
            }
        }
    }

    /// One record of the changelog, as a restore takes it.
    fn replay(&mut self, full_key: Vec<u8>, value: Option<&[u8]>) {
        let Some((table, key)) = Table::split(&full_key) else {
            return;
        };
        let key = key.to_vec();
        if table == Table::Profiles
            && let Some(before) = self.armed.remove(&key)
        {
            self.timers.remove(&before);
        }
        match value {
            None => {
                self.values.remove(&full_key);
            }
            Some(value) => {
                self.put(table, key.clone(), value);
                if let Some(timer) = self.armed.get(&key).filter(|_| table == Table::Profiles) {
                    self.timers.insert(timer.clone());
                }
            }
        }
    }
}
