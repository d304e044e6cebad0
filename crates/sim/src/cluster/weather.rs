//! What is wrong with the cluster just now, and what it answers because of that.

use std::collections::BTreeMap;

use engine::port::TopicPartition;

use super::{Cluster, Refusal};

use crate::time::Moment;

/// The longest that a slow partition keeps a marker, or a fetch, waiting.
pub(super) const SLOWEST: u64 = 6_000;

/// What becomes of the next commit of a client whose answer gets lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LostAnswer {
    /// It arrives, its answer does not; the client asks again and is told.
    AskedAgain,
    /// It arrives, and the client cannot find out what came of it.
    Committed,
    /// It does not arrive, and the client cannot find that out.
    NotCommitted,
}

/// Outages, each with its end.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    broker_down: Moment,
    coordinator_down: Moment,
    storm: Moment,
    slow: BTreeMap<usize, Moment>,
    troubled: Moment,
    /// By client: what becomes of its next commit.
    pub lost_answers: BTreeMap<u64, LostAnswer>,
    /// The next record that is produced is refused.
    pub refuses_next: bool,
}

impl Weather {
    /// Brokers answer nothing until `until`.
    pub fn break_broker(&mut self, until: Moment) {
        self.broker_down = self.broker_down.max(until);
        self.troubled = self.troubled.max(until);
    }

    /// The coordinators of transactions and of the group answer nothing until `until`.
    pub fn break_coordinator(&mut self, until: Moment) {
        self.coordinator_down = self.coordinator_down.max(until);
        self.troubled = self.troubled.max(until);
    }

    /// What is added to transactions meets concurrent ones until `until`, mostly.
    pub fn storm(&mut self, until: Moment) {
        self.storm = self.storm.max(until);
        self.troubled = self.troubled.max(until);
    }

    /// A partition is slow until `until`: its markers come late, and so do its records.
    pub fn slow_down(&mut self, partition: usize, until: Moment) {
        self.slow.insert(partition, until);
    }

    fn is_broker_down(&self, now: Moment) -> bool {
        now < self.broker_down
    }

    fn is_coordinator_down(&self, now: Moment) -> bool {
        now < self.coordinator_down
    }

    fn is_stormy(&self, now: Moment) -> bool {
        now < self.storm
    }

    /// How many milliseconds a partition may add.
    pub(super) fn slowness(&self, partition: usize, now: Moment) -> u64 {
        match self.slow.get(&partition) {
            Some(until) if now < *until => SLOWEST / 2,
            _ => 0,
        }
    }

    /// When the last outage ends, or has ended.
    pub(super) fn last_trouble(&self) -> Moment {
        self.troubled
    }

    pub(super) fn clear(&mut self, now: Moment) {
        self.slow.retain(|_, until| now < *until);
    }
}

impl Cluster {
    /// Whether brokers answer.
    pub(super) fn broker(&self) -> Result<(), Refusal> {
        match self.weather.is_broker_down(self.now) {
            true => Err(Refusal::Retriable("the broker does not answer")),
            false => Ok(()),
        }
    }

    /// Whether coordinators answer.
    pub(super) fn coordinator(&self) -> Result<(), Refusal> {
        self.broker()?;
        if self.weather.is_coordinator_down(self.now) {
            return Err(Refusal::Retriable("the coordinator is not available"));
        }
        Ok(())
    }

    /// Whether something may be added to a transaction.
    pub(super) fn calm(&mut self) -> Result<(), Refusal> {
        if self.weather.is_stormy(self.now) && self.random.chance(700) {
            return Err(Refusal::Retriable("concurrent transactions"));
        }
        Ok(())
    }

    /// How much longer than usual it may take to have what is written to `at`.
    #[must_use]
    pub fn slowness_of(&self, at: &TopicPartition) -> u64 {
        let number = self.names.get(at);
        number.map_or(0, |number| self.weather.slowness(*number, self.now))
    }
}
