//! A record that is consumed, and what becomes of it: its events go to their owners, here or by way of
//! `internal.routed`; what cannot be used is passed on with the reason; control records are obeyed.
//!
//! Invariant: every record is counted once, and every event of a record with several meets the clock and the
//! timers as if it were a record of its own.

use domain::event::{Event, Text};
use domain::time::TimeMs;
use wire::routed::{Routed, encode_forwarded};
use wire::{RejectionClass, partition_of};

use super::Task;
use crate::inbox::{Input, Waiting};
use crate::port::{StateError, StateReader};

impl Task {
    pub(super) fn consume(
        &mut self,
        lane: usize,
        waiting: Waiting,
        state: &dyn StateReader,
    ) -> Result<(), StateError> {
        let owned = |owner: Option<Text>| {
            owner.ok_or_else(|| {
                StateError::Failed("an event without an owner passed the decoder".to_owned())
            })
        };
        match waiting.input {
            Input::Event(event) => self.route(&event, &owned(waiting.owner)?, state),
            Input::Several(events, rejected) => {
                let parts = events.len() + usize::from(rejected.is_some());
                self.book.counts.split_off += (parts as u64).saturating_sub(1);
                for (at, event) in events.iter().enumerate() {
                    if at > 0 {
                        self.move_on(lane, event.time, state)?;
                    }
                    self.route(event, &owned(event.owner().map(|o| o.key()))?, state)?;
                }
                if let Some(rejected) = rejected {
                    self.dead_letter(&rejected.0, rejected.1);
                }
                Ok(())
            }
            Input::Ignored => {
                self.book.counts.ignored += 1;
                Ok(())
            }
            Input::Routed(Routed::Event { event, .. }) => {
                self.meet();
                self.apply(&event, &owned(waiting.owner)?, state)
            }
            Input::Routed(control) => {
                self.book.counts.control += 1;
                match control {
                    Routed::Tick { now } => self.book.clock.tick(now),
                    Routed::EndOfReplay { until } => {
                        self.book.clock.close(until);
                        // What comes next may be another stretch of history, of which each may be
                        // anywhere.
                        self.book.meet_anew(self.setup.tasks);
                    }
                    Routed::Clock { .. } => self.meet(),
                    Routed::Idle => self.rest(),
                    Routed::Silent { inputs } => self.book.clock.leave_silent(&inputs),
                    Routed::Alone => self.book.clock.release(),
                    Routed::Model(model) => self.put_in_force(&model),
                    Routed::Rescore { profiles } => self.rescore(profiles as usize, state)?,
                    Routed::Event { .. } => {}
                }
                Ok(())
            }
            Input::Rejected(rejected) => {
                if rejected.0.class == RejectionClass::Quarantined {
                    self.batch.quarantined(lane, waiting.offset);
                }
                self.dead_letter(&rejected.0, rejected.1);
                Ok(())
            }
        }
    }

    /// To the next event of a record: what the one before left due fires, the clock goes on to
    /// `time`, and what is due by that fires, as if each were a record of its own.
    fn move_on(
        &mut self,
        lane: usize,
        time: TimeMs,
        state: &dyn StateReader,
    ) -> Result<(), StateError> {
        while self.fire_next(state)? {}
        self.book.clock.observe(&self.sources[lane], time);
        while self.fire_next(state)? {}
        Ok(())
    }

    /// To the event's owner: here, or by way of `internal.routed`.
    fn route(
        &mut self,
        event: &Event,
        key: &Text,
        state: &dyn StateReader,
    ) -> Result<(), StateError> {
        let partition = partition_of(key.as_bytes(), self.setup.tasks);
        if partition == self.id {
            return self.apply(event, key, state);
        }
        self.book.counts.forwarded += 1;
        self.meet();
        let time = self.book.clock.input_time;
        self.book.fed.insert(partition, time);
        self.forward(partition, key, encode_forwarded(self.id, time, event));
        Ok(())
    }
}
