//! What consumers ask: positions, and to be a member of the group.
//!
//! That the position of a partition never goes back (I8) is up to who commits; here it is noticed if it does.

use engine::group::Change;
use engine::port::TopicPartition;
use engine::trial::Beside;

use super::group::{Group, Membership, Plan};
use super::partition::Writer;
use super::{Cluster, Due, Refusal};

/// A position as the group keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offset {
    /// The next offset to read.
    pub next: u64,
    /// What stands beside it, if anything does.
    pub beside: Option<Beside>,
}

/// A position of a partition.
pub type Position = (TopicPartition, Offset);

impl Cluster {
    /// A committed transaction sets the position of a partition.
    pub(super) fn store_offset(&mut self, at: usize, offset: Offset, writer: Writer) {
        let next = offset.next;
        let before = self.committed.insert(at, offset).map(|before| before.next);
        if before.is_some_and(|before| before > next) {
            let place = &self.at[at];
            let what = format!(
                "the position of {} {} went from {} back to {next}, by producer {} epoch {} at {}",
                place.topic,
                place.partition,
                before.unwrap_or_default(),
                writer.producer,
                writer.epoch,
                self.now
            );
            self.violate("I8", what);
        }
    }

    /// The committed position of `at`; with `stable`, only if no open transaction has one.
    ///
    /// # Errors
    /// Retriable, where it is not stable, or the coordinator does not answer.
    pub fn position(&self, at: &TopicPartition, stable: bool) -> Result<Option<Offset>, Refusal> {
        self.coordinator()?;
        let Some(number) = self.names.get(at) else {
            return Err(Refusal::Unclassified("unknown partition"));
        };
        let mut pending = self.pending.values().flatten();
        if stable && pending.any(|(at, _)| at == number) {
            return Err(Refusal::Retriable("unstable offset"));
        }
        Ok(self.committed.get(number).cloned())
    }

    /// The committed position of `at`, whatever answers.
    #[must_use]
    pub fn committed(&self, at: &TopicPartition) -> Option<u64> {
        let offset = self.committed.get(self.names.get(at)?)?;
        Some(offset.next)
    }

    /// A new client of the group; see [`Cluster::leave`].
    pub fn subscribe(&mut self) -> u64 {
        let now = self.now;
        self.with_group(|group, plan| group.subscribe(now, plan))
    }

    /// The application behind a client polls.
    pub fn poll(&mut self, client: u64) -> Vec<Change> {
        let now = self.now;
        self.with_group(|group, plan| group.poll(client, now, plan))
    }

    /// What a client says about its membership.
    #[must_use]
    pub fn membership(&self, client: u64) -> Membership {
        self.group.membership(client)
    }

    /// A client leaves as it should.
    pub fn leave(&mut self, client: u64) {
        let now = self.now;
        self.with_group(|group, plan| group.leave(client, now, plan));
    }

    /// A client's process is killed.
    pub fn die(&mut self, client: u64) {
        self.group.die(client);
    }

    /// A client's process is stopped.
    pub fn pause(&mut self, client: u64) {
        self.group.pause(client);
    }

    /// A client's process is continued.
    pub fn resume(&mut self, client: u64) {
        self.with_group(|group, plan| group.resume(client, plan));
    }

    /// Tasks are dealt out to others.
    pub fn shake(&mut self) {
        let now = self.now;
        self.group.shake(now);
    }

    /// Asks the group, and keeps what it wants to happen later.
    pub(super) fn with_group<T>(&mut self, act: impl FnOnce(&mut Group, &mut Plan) -> T) -> T {
        let mut plan = Plan::new();
        let answer = act(&mut self.group, &mut plan);
        for (after, later) in plan {
            self.schedule(after, Due::Group(later));
        }
        answer
    }

    /// How often tasks were dealt out.
    #[must_use]
    pub fn rebalances(&self) -> u64 {
        self.group.rebalances
    }
}
