//! A task among others, and among its inputs: whose clocks it waits for, who waits for it, and what would end the
//! waiting.
//!
//! Invariants:
//! - Whom a task waits for follows from what it has consumed. That a wait has lasted too long is somebody else's to
//!   find out, by a clock; what ends it is a control record.
//! - From the first forwarded event on all tasks wait for each other, each telling the others where it is.

use domain::event::Text;
use domain::time::TimeMs;
use wire::routed::Routed;

use super::Task;
use crate::clock::ClockSource;
use crate::inbox::{Input, Waiting};

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Awaited {
    /// The task waits to meet others at all, whatever comes in its own inputs meanwhile.
    Contact,
    /// Others wait for its own inputs, which have given so many records since it was opened.
    Inputs(u64),
}

impl Awaited {
    /// What ends it.
    #[must_use]
    pub fn ended_by(self) -> Routed {
        match self {
            Awaited::Contact => Routed::Alone,
            Awaited::Inputs(_) => Routed::Idle,
        }
    }
}

impl Task {
    /// Where one event is forwarded, any task may forward to any other: from here on this one tells all
    /// others where it is, and waits for all of them.
    pub(super) fn meet(&mut self) {
        if !self.book.fed.is_empty() {
            return;
        }
        for other in (0..self.setup.tasks).filter(|other| *other != self.id) {
            self.book.fed.insert(other, TimeMs::MIN);
            self.book.clock.expect(&ClockSource::Upstream(other));
        }
        self.book.clock.release();
    }

    /// The task's own inputs are idle: neither it nor the others wait for them.
    pub(super) fn rest(&mut self) {
        self.book.clock.leave_inputs();
        let mut fed = std::mem::take(&mut self.book.fed);
        for (other, told) in &mut fed {
            if *told < TimeMs::MAX {
                *told = TimeMs::MAX;
                self.say_clock(*other, TimeMs::MAX);
            }
        }
        self.book.fed = fed;
    }

    /// Something came in the task's own inputs: if it was idle, it tells again where it is.
    pub(super) fn stir(&mut self) {
        if self.is_resting() {
            for told in self.book.fed.values_mut() {
                *told = TimeMs::MIN;
            }
        }
    }

    fn is_resting(&self) -> bool {
        self.book.fed.values().next() == Some(&TimeMs::MAX)
    }

    /// What somebody waits for, here or elsewhere: if that stays the same for too long, the control
    /// record that it answers is to end the waiting.
    #[must_use]
    pub fn awaited(&self) -> Option<Awaited> {
        if self.book.clock.held_for > 0 && !self.book.clock.sources.is_empty() {
            return Some(Awaited::Contact);
        }
        let is_awaited = !self.book.fed.is_empty() && !self.is_resting();
        is_awaited.then(|| Awaited::Inputs(self.given.iter().sum()))
    }

    /// Those of its own inputs that its clock waits for, with how many records each has given since the task was
    /// opened.
    pub fn waits_for(&self) -> impl Iterator<Item = (&Text, u32, u64)> {
        let given = self.sources.iter().zip(&self.given);
        given.filter_map(|(source, given)| match source {
            ClockSource::Input(topic, partition) => {
                let is_waited_for = self.book.clock.sources.contains_key(source);
                is_waited_for.then_some((topic, *partition, *given))
            }
            ClockSource::Upstream(_) => None,
        })
    }
}

/// The clock that a record moves, and how far.
pub(super) fn moves_clock(input: &ClockSource, waiting: &Waiting) -> Option<(ClockSource, TimeMs)> {
    match &waiting.input {
        Input::Event(event) => Some((input.clone(), event.time)),
        Input::Several(events, _) => Some((input.clone(), events.first()?.time)),
        Input::Routed(
            Routed::Event {
                from,
                upstream_time,
                ..
            }
            | Routed::Clock {
                from,
                upstream_time,
            },
        ) => Some((ClockSource::Upstream(*from), *upstream_time)),
        Input::Routed(_) | Input::Ignored | Input::Rejected(_) => None,
    }
}
