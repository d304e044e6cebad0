//! The profiles that a task has in memory: decoded when they are needed first, and kept from one batch to the next.
//!
//! Invariants:
//! - What has changed since the last commit is in memory; what is in memory and has not changed is as committed,
//!   but for the version of the model that a profile without orders stands under, which is not kept.
//! - What is to be written is a function of what has changed, in the order of keys, not of the order of changing.

use std::sync::Arc;

use domain::event::Text;
use domain::prediction::Versions;
use domain::profile::Profile;
use rustc_hash::FxHashMap;
use wire::state::{decode_profile, encode_profile};

use super::damaged;
use crate::port::{StateError, StateReader, Table, Write};

/// Decoded profiles that all tasks of an application together keep in memory between batches, at
/// most: some 2 KiB each. A task beyond its share drops its own after a commit and decodes them
/// again when they are needed.
const WARM_PROFILES: usize = 80_000;

#[derive(Debug)]
struct Warm {
    profile: Profile,
    has_changed: bool,
}

/// The profiles in memory.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    warm: FxHashMap<Text, Warm>,
    /// Keys of those that have changed since the last commit, each once.
    changed: Vec<Text>,
}

impl Profiles {
    /// Whether the profile of `key` is in memory.
    pub(super) fn has(&self, key: &Text) -> bool {
        self.warm.contains_key(key)
    }

    /// Keys of the profiles that have changed since the last commit, in no order.
    pub(super) fn changed(&self) -> &[Text] {
        &self.changed
    }

    /// The profile of `key`, if it is in memory.
    pub(super) fn get_mut(&mut self, key: &Text) -> Option<&mut Profile> {
        self.warm.get_mut(key).map(|warm| &mut warm.profile)
    }

    /// The same; it has changed, and is to be written.
    pub(super) fn change(&mut self, key: &Text) -> Option<&mut Profile> {
        let warm = self.warm.get_mut(key)?;
        if !warm.has_changed {
            warm.has_changed = true;
            self.changed.push(key.clone());
        }
        Some(&mut warm.profile)
    }

    /// Keeps a profile that is not in memory yet.
    pub(super) fn keep(&mut self, key: Text, profile: Profile) {
        let warm = Warm {
            profile,
            has_changed: false,
        };
        self.warm.insert(key, warm);
    }

    /// The profile of `key`, from the state if need be.
    pub(super) fn load(
        &mut self,
        key: &Text,
        versions: &Versions,
        state: &dyn StateReader,
    ) -> Result<&mut Profile, StateError> {
        if !self.has(key) {
            let bytes = state.get(Table::Profiles, key.as_bytes())?;
            self.keep(key.clone(), decode(bytes.as_deref(), versions)?);
        }
        self.get_mut(key)
            .ok_or_else(|| StateError::Failed("a profile that was loaded is gone".to_owned()))
    }

    /// Reads those of `keys`, none of which is in memory, in one go.
    pub(super) fn load_all(
        &mut self,
        keys: Vec<Text>,
        versions: &Versions,
        state: &dyn StateReader,
    ) -> Result<(), StateError> {
        let wanted: Vec<&[u8]> = keys.iter().map(|k| k.as_bytes()).collect();
        let found = state.multi_get(Table::Profiles, &wanted)?;
        for (key, bytes) in keys.into_iter().zip(found) {
            let profile = decode(bytes.as_deref(), versions)?;
            self.keep(key, profile);
        }
        Ok(())
    }

    /// What is to be written, sorted by key; nothing has changed since then.
    pub(super) fn take_writes(&mut self) -> Vec<Write> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        let mut writes = Vec::with_capacity(changed.len());
        let mut buf = Vec::new();
        for key in changed {
            if let Some(warm) = self.warm.get_mut(&key) {
                warm.has_changed = false;
                buf.clear();
                encode_profile(&warm.profile, &mut buf);
                writes.push(Write {
                    table: Table::Profiles,
                    key: key.as_bytes().to_vec(),
                    value: Some(Arc::from(buf.as_slice())),
                });
            }
        }
        writes
    }

    /// After a commit: drops what is beyond the share of one of `tasks`.
    pub(super) fn trim(&mut self, tasks: u32) {
        if self.warm.len() > WARM_PROFILES / tasks.max(1) as usize {
            self.warm.clear();
        }
    }
}

/// A profile as the state has it; without bytes one that nothing is known of yet.
pub(super) fn decode(bytes: Option<&[u8]>, versions: &Versions) -> Result<Profile, StateError> {
    match bytes {
        Some(bytes) => decode_profile(bytes, versions).map_err(damaged),
        None => Ok(Profile::default()),
    }
}
