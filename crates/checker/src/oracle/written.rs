//! What a task writes: what has changed since the last commit, that commit's head, and the state after it.
//!
//! Invariant: the order is that of keys in the changelog; the bookkeeping, which comes last, is not among it.

use std::borrow::Cow;

use engine::chain::Head;
use engine::port::{OutRecord, Table, TopicPartition};
use wire::state::encode_profile;

use super::Oracle;

/// One write to the state: the key as in the changelog, and the value.
pub(crate) type Write = (Vec<u8>, Option<Vec<u8>>);

impl Oracle {
    /// How many keys changed since the last commit, the bookkeeping's not counted.
    pub(crate) fn changed_keys(&self) -> usize {
        self.changed.len() + self.days.changed() + self.cells.changed() + self.models.changed()
    }

    /// What changed since the last commit, as the changelog has it, in its order; the bookkeeping,
    /// which comes last, excepted.
    pub(crate) fn writes(&self) -> Vec<Write> {
        let profiles = self.changed.iter().map(|(key, profile)| {
            let mut bytes = Vec::new();
            encode_profile(profile, &mut bytes);
            (Table::Profiles.full_key(key.as_bytes()), Some(bytes))
        });
        let others = self.days.writes().chain(self.cells.writes());
        profiles.chain(others).chain(self.models.writes()).collect()
    }

    /// The head of a commit that ends here: of what was said, `told` to other tasks and written.
    pub(crate) fn head(
        &self,
        body: &[u8],
        told: &[OutRecord],
        changelog: &TopicPartition,
        writes: &[Write],
    ) -> Head {
        let logged = writes.iter().map(|(key, value)| OutRecord {
            target: changelog.clone(),
            key: Some(key.clone()),
            value: value.clone(),
            headers: Vec::new(),
        });
        let logged: Vec<OutRecord> = logged.collect();
        let written = self.said.iter().chain(told).chain(&logged);
        self.book.chain.after(body, written)
    }

    /// The whole state after the last commit, bookkeeping excepted, in the order of keys.
    pub(crate) fn state(&self) -> impl Iterator<Item = (Vec<u8>, Cow<'_, [u8]>)> {
        let profiles = self.profiles.iter().map(|(key, bytes)| {
            let key = Table::Profiles.full_key(key.as_bytes());
            (key, Cow::Borrowed(bytes.as_slice()))
        });
        let others = self.days.state().chain(self.cells.state());
        let others = others.chain(self.models.state());
        profiles.chain(others.map(|(key, value)| (key, Cow::Owned(value))))
    }

    /// What was done since the last commit is committed.
    pub(crate) fn commit(&mut self) {
        for (key, profile) in std::mem::take(&mut self.changed) {
            let mut bytes = Vec::new();
            encode_profile(&profile, &mut bytes);
            self.profiles.insert(key, bytes);
        }
        self.days.commit();
        self.cells.commit();
        self.models.commit();
        self.said.clear();
    }
}
