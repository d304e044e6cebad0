//! Going over to another model of value: at one offset for the task, and for its customers when they are touched
//! next, by an event, a timer or the rescoring in the background.
//!
//! Invariants:
//! - Everything a profile does, it does under the model in force at that offset; what it was evaluated under
//!   before is known until no profile stands under it any more.
//! - How many profiles a control record has go over, and which, is a function of what was consumed: keys count
//!   in their order, whether they are committed yet or not.

use std::sync::Arc;

use domain::change::Change;
use domain::event::Text;
use domain::prediction::{ModelParameters, Versions};
use domain::profile::Profile;
use domain::time::TimeMs;

use super::profiles::decode;
use super::{Task, damaged};
use crate::port::{StateError, StateReader, Table};
use crate::valuing;

/// A profile's key, and its bytes where it is not in memory.
type Found = (Text, Option<Arc<[u8]>>);

impl Task {
    /// How far rescoring has come while it goes on: the key of the last profile looked at. It goes on when a
    /// control record says so.
    #[must_use]
    pub fn rescoring(&self) -> Option<&Text> {
        self.book.rescored.as_ref()
    }

    /// The definitions in force, and under the models of value that profiles may still stand under.
    #[must_use]
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// The version of the model in force; 0 for none.
    #[must_use]
    pub fn model_version(&self) -> u32 {
        self.versions.current().model_version()
    }

    /// A model is in force from here on. One that is not newer than the last changes nothing, and neither
    /// does one that is out of its range, which no command writes.
    pub(super) fn put_in_force(&mut self, model: &ModelParameters) {
        if model.version <= self.model_version() {
            return;
        }
        if let Some(prepared) = valuing::prepare(model, &self.setup.definitions) {
            self.versions.add(prepared);
            self.batch.models.insert(model.version, Some(*model));
            self.book.rescored = Some(Text::default());
        }
    }

    /// The next `limit` profiles go over to the model in force; once there are fewer, all have.
    pub(super) fn rescore(
        &mut self,
        limit: usize,
        state: &dyn StateReader,
    ) -> Result<(), StateError> {
        let Some(last) = self.book.rescored.clone() else {
            return Ok(());
        };
        if limit == 0 {
            // Nobody was looked at: that none are left is not known.
            return Ok(());
        }
        let keys = self.next_profiles(&last, limit, state)?;
        let is_done = keys.len() < limit;
        for (key, bytes) in &keys {
            self.go_over(key, bytes.as_deref())?;
        }
        match keys.last() {
            Some((last, _)) if !is_done => self.book.rescored = Some(last.clone()),
            _ => self.all_have_gone_over(state)?,
        }
        Ok(())
    }

    /// Profiles after `last` in the order of their keys, committed or not yet, with the bytes of those that are
    /// not in memory.
    fn next_profiles(
        &self,
        last: &Text,
        limit: usize,
        state: &dyn StateReader,
    ) -> Result<Vec<Found>, StateError> {
        let from = match last.is_empty() {
            true => Vec::new(),
            false => [last.as_bytes(), &[0]].concat(),
        };
        let mut found = Vec::new();
        for (key, bytes) in state.scan(Table::Profiles, &from, limit)? {
            let key = std::str::from_utf8(&key).map(Text::new);
            let key = key.map_err(|_| {
                StateError::Damaged("state is damaged: a profile's key is no text".to_owned())
            })?;
            let bytes = (!self.profiles.has(&key)).then_some(bytes);
            found.push((key, bytes));
        }
        let is_last = |key: &Text| found.len() < limit || found.last().is_some_and(|l| *key < l.0);
        let uncommitted = self
            .profiles
            .changed()
            .iter()
            .filter(|key| **key > *last && is_last(key));
        let uncommitted: Vec<_> = uncommitted.map(|key| (key.clone(), None)).collect();
        found.extend(uncommitted);
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        found.dedup_by(|a, b| a.0 == b.0);
        found.truncate(limit);
        Ok(found)
    }

    fn go_over(&mut self, key: &Text, bytes: Option<&[u8]>) -> Result<(), StateError> {
        let frontier = self.frontier();
        let mut changes = std::mem::take(&mut self.batch.changes);
        let has_changed = match self.profiles.get_mut(key) {
            Some(profile) => adopt(profile, &self.versions, frontier, &mut changes)?,
            None => {
                let mut profile = decode(bytes, &self.versions)?;
                let has_changed = adopt(&mut profile, &self.versions, frontier, &mut changes)?;
                if has_changed {
                    self.profiles.keep(key.clone(), profile);
                }
                has_changed
            }
        };
        if has_changed {
            self.touched(key, &mut changes);
        }
        self.batch.changes = changes;
        Ok(())
    }

    /// No profile stands under an earlier model any more.
    fn all_have_gone_over(&mut self, state: &dyn StateReader) -> Result<(), StateError> {
        self.book.rescored = None;
        self.versions.settle();
        let current = self.model_version();
        for (key, _) in state.scan(Table::Models, &[], usize::MAX)? {
            let version = key.try_into().map(u32::from_be_bytes);
            let version = version.map_err(|_| {
                damaged(wire::bin::Corrupt {
                    what: "the key of a model",
                    problem: "it is no version",
                })
            })?;
            if version != current {
                self.batch.models.insert(version, None);
            }
        }
        self.batch
            .models
            .retain(|version, model| *version == current || model.is_none());
        Ok(())
    }
}

/// A profile goes over to the model in force, before anything else is done with it.
pub(super) fn adopt(
    profile: &mut Profile,
    versions: &Versions,
    frontier: TimeMs,
    changes: &mut Vec<Change>,
) -> Result<bool, StateError> {
    let definitions = versions.current();
    if profile.model == definitions.model_version() {
        return Ok(false);
    }
    let Some(under) = versions.under(profile.model) else {
        return Err(StateError::Failed(format!(
            "a profile stands under version {} of the model of value, which is not known any more",
            profile.model
        )));
    };
    Ok(profile.adopt(under, definitions, frontier, changes))
}
