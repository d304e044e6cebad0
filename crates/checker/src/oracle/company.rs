//! The task among others: whose clocks it waits for, and what it tells the others of its own.

use domain::time::TimeMs;
use engine::clock::ClockSource;
use engine::port::OutRecord;
use wire::routed::Routed;

use super::Oracle;

/// A task tells others where it is whenever it has come this part of the grace further.
const TOLD_PER_GRACE: i64 = 8;

impl Oracle {
    /// Something was forwarded, here or elsewhere: all tasks wait for each other from here on.
    pub(super) fn meet(&mut self) {
        if !self.book.fed.is_empty() {
            return;
        }
        for other in 0..self.setup.tasks {
            if other != self.task {
                self.book.fed.insert(other, TimeMs::MIN);
                self.book.clock.expect(&ClockSource::Upstream(other));
            }
        }
        self.book.clock.release();
    }

    /// Its own inputs are idle.
    pub(super) fn rest(&mut self) {
        self.book.clock.leave_inputs();
        let others: Vec<u32> = self.book.fed.keys().copied().collect();
        for other in others {
            if self.book.fed.insert(other, TimeMs::MAX) != Some(TimeMs::MAX) {
                let clock = self.clock_for(other, TimeMs::MAX);
                self.said.push(clock);
            }
        }
    }

    /// A record of its own inputs ends the rest.
    pub(super) fn come_back(&mut self) {
        let is_resting = self.book.fed.values().any(|told| *told == TimeMs::MAX);
        if is_resting {
            self.book
                .fed
                .values_mut()
                .for_each(|told| *told = TimeMs::MIN);
        }
    }

    /// A commit tells the other tasks where this one is, where that is news.
    pub(crate) fn tell_clock(&mut self) -> Vec<OutRecord> {
        let now = self.book.clock.input_time;
        let step = self.setup.definitions.grace_ms / TOLD_PER_GRACE;
        let is_news = |told: TimeMs| told < now && (told == TimeMs::MIN || now.since(told) >= step);
        let fed = self.book.fed.iter().filter(|(_, told)| is_news(**told));
        let behind: Vec<u32> = fed.map(|(other, _)| *other).collect();
        let mut told = Vec::with_capacity(behind.len());
        for other in behind {
            self.book.fed.insert(other, now);
            told.push(self.clock_for(other, now));
        }
        told
    }

    fn clock_for(&self, other: u32, upstream_time: TimeMs) -> OutRecord {
        let clock = Routed::Clock {
            from: self.task,
            upstream_time,
        };
        self.to_task(other, None, &clock)
    }
}
