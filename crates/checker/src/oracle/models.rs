//! Models of value: those that a profile may stand under, and how profiles go over to the one in force.
//!
//! Invariant: whatever is done with a profile, it has gone over before that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::change::Change;
use domain::definitions::Definitions;
use domain::event::Text;
use domain::prediction::{ModelParameters, Versions};
use domain::profile::Profile;
use engine::port::Table;
use engine::valuing;
use wire::bin::Corrupt;
use wire::state::{encode_model, model_key};

use super::{Oracle, Write};

/// Models of value that a profile may stand under.
#[derive(Clone, Debug)]
pub(super) struct Models {
    /// Of the shop, without a model.
    base: Arc<Definitions>,
    known: BTreeMap<u32, ModelParameters>,
    /// Those of the last commit.
    committed: BTreeMap<u32, ModelParameters>,
    versions: Versions,
}

impl Models {
    pub(super) fn new(base: &Arc<Definitions>) -> Models {
        Models {
            base: Arc::clone(base),
            known: BTreeMap::new(),
            committed: BTreeMap::new(),
            versions: Versions::new(Arc::clone(base), []),
        }
    }

    /// The definitions under each of them.
    pub(super) fn versions(&self) -> &Versions {
        &self.versions
    }

    /// The definitions in force.
    pub(super) fn definitions(&self) -> &Definitions {
        self.versions.current()
    }

    /// Another one is in force, if it is newer and within its range; answers whether it is.
    fn put_in_force(&mut self, model: ModelParameters) -> bool {
        if model.version <= self.definitions().model_version() {
            return false;
        }
        let Some(prepared) = valuing::prepare(&model, &self.base) else {
            return false;
        };
        self.versions.add(prepared);
        self.known.insert(model.version, model);
        true
    }

    /// All profiles stand under the one in force.
    fn settle(&mut self) {
        self.versions.settle();
        let current = self.definitions().model_version();
        self.known.retain(|version, _| *version == current);
    }

    /// Versions that are known and were not at the last commit, or were and are not.
    fn versions_changed(&self) -> impl Iterator<Item = u32> {
        let (now, then) = (&self.known, &self.committed);
        let versions: BTreeSet<u32> = now.keys().chain(then.keys()).copied().collect();
        let is_changed = |version: &u32| now.contains_key(version) != then.contains_key(version);
        versions.into_iter().filter(is_changed)
    }

    /// How many have changed since the last commit.
    pub(super) fn changed(&self) -> usize {
        self.versions_changed().count()
    }

    pub(super) fn writes(&self) -> impl Iterator<Item = Write> {
        self.versions_changed().map(|version| {
            let key = Table::Models.full_key(&model_key(version));
            (key, self.known.get(&version).map(encode_model))
        })
    }

    pub(super) fn state(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        self.known.iter().map(|(version, model)| {
            let key = Table::Models.full_key(&model_key(*version));
            (key, encode_model(model))
        })
    }

    pub(super) fn commit(&mut self) {
        self.committed.clone_from(&self.known);
    }
}

impl Oracle {
    /// Another model is in force.
    pub(super) fn put_in_force(&mut self, model: ModelParameters) {
        if self.models.put_in_force(model) {
            self.book.rescored = Some(Text::default());
        }
    }

    /// A profile that is touched goes over to the model in force; answers whether that may have changed it.
    pub(super) fn go_over(
        &self,
        profile: &mut Profile,
        changes: &mut Vec<Change>,
    ) -> Result<bool, Corrupt> {
        let definitions = self.models.definitions();
        if profile.model == definitions.model_version() {
            return Ok(false);
        }
        let under = self.models.versions.under(profile.model).ok_or(Corrupt {
            what: "a profile",
            problem: "it stands under a model of value that is not known",
        })?;
        Ok(profile.adopt(under, definitions, self.frontier(), changes))
    }

    /// The next profiles go over; when they are fewer than asked for, it is done.
    pub(super) fn rescore(&mut self, limit: usize) -> Result<(), Corrupt> {
        let Some(last) = self.book.rescored.clone().filter(|_| limit > 0) else {
            return Ok(());
        };
        let all: BTreeSet<&Text> = self.profiles.keys().chain(self.changed.keys()).collect();
        let after = all.into_iter().filter(|key| **key > last);
        let keys: Vec<Text> = after.take(limit).cloned().collect();
        for key in &keys {
            let mut profile = self.profile(key)?;
            let mut changes = Vec::new();
            if self.go_over(&mut profile, &mut changes)? {
                self.keep(key.clone(), profile, changes);
            } else if let Some(changed) = self.changed.get_mut(key) {
                // Without orders nothing of it changes, but the model that it stands under.
                *changed = profile;
            }
        }
        if keys.len() == limit {
            self.book.rescored = keys.last().cloned();
            return Ok(());
        }
        self.book.rescored = None;
        self.models.settle();
        Ok(())
    }
}
