//! What sets off an evaluation, and where what it changes is told.

use crate::change::{Cause, Change, What};
use crate::definitions::Definitions;
use crate::event::{Event, Text};
use crate::time::TimeMs;

/// What sets off an evaluation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trigger<'a> {
    pub(super) cause: Cause,
    event_id: Option<&'a Text>,
    /// An order does not wait for the minimum dwell.
    pub(super) is_order: bool,
}

impl<'a> Trigger<'a> {
    /// Something else than an event.
    pub(crate) fn of(cause: Cause) -> Trigger<'a> {
        Trigger {
            cause,
            event_id: None,
            is_order: false,
        }
    }

    pub(crate) fn by(event: &'a Event, cause: Cause) -> Trigger<'a> {
        Trigger {
            cause,
            event_id: Some(&event.id),
            is_order: event.body.is_order_fact(),
        }
    }

    fn change(&self, as_of: TimeMs, what: What) -> Change {
        Change {
            as_of,
            cause_event_id: self.event_id.cloned(),
            what,
        }
    }
}

/// The changes that one trigger leads to, under the definitions in force.
pub(super) struct Telling<'a> {
    pub(super) trigger: Trigger<'a>,
    pub(super) definitions: &'a Definitions,
    out: &'a mut Vec<Change>,
    /// Where in `out` they begin.
    begin: usize,
}

impl<'a> Telling<'a> {
    /// Appends to `out`.
    pub(super) fn new(
        trigger: Trigger<'a>,
        definitions: &'a Definitions,
        out: &'a mut Vec<Change>,
    ) -> Telling<'a> {
        let begin = out.len();
        Telling {
            trigger,
            definitions,
            out,
            begin,
        }
    }

    pub(super) fn tell(&mut self, as_of: TimeMs, what: What) {
        self.out.push(self.trigger.change(as_of, what));
    }

    /// Tells ahead of what this trigger has led to so far.
    pub(super) fn tell_first(&mut self, as_of: TimeMs, what: What) {
        self.out
            .insert(self.begin, self.trigger.change(as_of, what));
    }
}
