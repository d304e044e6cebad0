//! A profile: the fold of one owner's events in time order, and the changes that follow.
//!
//! Two layers. A [`View`] is a plain fold: events go in, in time order, and between them its timer
//! fires as of its due instant. A [`Profile`] keeps two of them: `settled`, which holds everything
//! up to stream time less the grace, and `live`, which also holds the events within the grace. An
//! event that comes in order goes onto `live`; one that comes out of order makes `live` anew from
//! `settled` and the pending events in (time, id) order, and what differs from what had been said
//! goes out as a correction.
//!
//! Invariants:
//! - `live` = fold of `settled` and `pending`, at all times; an empty `pending` means that the two
//!   are one.
//! - What was published is what `live` says: changes are exactly the differences of `live`.
//! - Order facts count at any lateness; behaviour later than the grace counts in totals only.
//! - Within the grace, and up to [`PENDING_CAPACITY`] events, the order of arrival and duplicates do
//!   not matter: once time has passed the last event, the whole live view is that of arrival in
//!   order. What was told on the way differs (corrections), what it adds up to does not.
//! - When, and how often, time is advanced up to the frontier of the next event does not matter, for
//!   the view as for what is told.
//!
//! What differs with the order of arrival beyond the grace: stages and segments count from the
//! instant at which the late fact was learnt of, and a late order fact that is known already
//! (another event of the same order) counts nowhere, while one in time counts among the events.

use crate::change::{Cause, Change, What};
use crate::definitions::{Definitions, Tag};
use crate::event::Event;
use crate::time::{HOUR_MS, TimeMs};
use crate::view::Trigger;

pub use crate::view::{Membership, StageState, View};

/// Most events that are kept pending for one profile. A burst beyond it settles early: the oldest
/// ones can then no longer be overtaken.
pub const PENDING_CAPACITY: usize = 4096;
/// How long after the first pending event a profile wakes to settle, if nothing else wakes it: long
/// enough that one session is settled at once, mostly.
const SETTLE_AFTER_MS: i64 = HOUR_MS;

/// What became of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Taken in, in its place.
    Applied,
    /// Taken in later than the grace: order facts in full, behaviour in totals only.
    Late,
    /// Known already; nothing changed.
    Deduplicated,
}

/// One owner's profile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    /// Everything that can no longer be overtaken; `None` while nothing is pending: then that is
    /// `live`.
    pub settled: Option<Box<View>>,
    /// Events after that, in (time, id) order.
    pub pending: Vec<Event>,
    /// Everything known.
    pub live: View,
    /// The version of the model of value that both views were evaluated under; 0: none. Of a profile without
    /// orders, of which no model says anything, it means nothing, and is not kept.
    pub model: u32,
    /// Number of the next output per topic, from 1 without gaps: `clv.updates`, `lifecycle.transitions`,
    /// `segment.changes`.
    pub next_sequence: [u64; 3],
    /// Sequence number of the last transition told, per model.
    pub last_transition: Vec<(Tag, u64)>,
    /// The due instant that a timer is armed for outside, never later than [`Profile::next_timer`];
    /// [`TimeMs::MAX`]: none. It is moved only when it must come earlier, so that a customer who
    /// keeps buying does not rewrite his timer with every order.
    pub armed: TimeMs,
}

impl Default for Profile {
    fn default() -> Profile {
        Profile {
            settled: None,
            pending: Vec::new(),
            live: View::default(),
            model: 0,
            next_sequence: [1; 3],
            last_transition: Vec::new(),
            armed: TimeMs::MAX,
        }
    }
}

impl Profile {
    /// A profile as it was when its parts were written: `live` is folded anew, up to `reached`. `definitions` are
    /// those under the version of the model that it stands under.
    #[must_use]
    pub fn restored(
        settled: View,
        pending: Vec<Event>,
        reached: TimeMs,
        next_sequence: [u64; 3],
        last_transition: Vec<(Tag, u64)>,
        armed: TimeMs,
        definitions: &Definitions,
    ) -> Profile {
        let (settled, live) = if pending.is_empty() {
            (None, settled)
        } else {
            let live = fold(&settled, &pending, reached, definitions);
            (Some(Box::new(settled)), live)
        };
        Profile {
            settled,
            pending,
            live,
            model: definitions.model_version(),
            next_sequence,
            last_transition,
            armed,
        }
    }

    /// Goes over from the definitions that it was evaluated `under` so far to `definitions`, which have another
    /// model in force: to be called before anything else is done under them. What is told holds as of
    /// `frontier`; what falls due by it under the new model has its own instants. Answers whether anything of the
    /// profile may have changed.
    pub fn adopt(
        &mut self,
        under: &Definitions,
        definitions: &Definitions,
        frontier: TimeMs,
        out: &mut Vec<Change>,
    ) -> bool {
        self.model = definitions.model_version();
        if self.live.book.is_empty() {
            return false;
        }
        self.advance(frontier, under, out);
        let Some(settled) = &mut self.settled else {
            self.live.adopt(frontier, definitions, out);
            return true;
        };
        settled.adopt(frontier, definitions, &mut Vec::new());
        let anew = fold(settled, &self.pending, self.live.clock, definitions);
        let before = std::mem::replace(&mut self.live, anew);
        self.live
            .correct(&before, Trigger::of(Cause::Model), definitions, out);
        true
    }

    /// Takes in `event`. `frontier` is stream time less the grace: pending events up to it settle.
    /// An event is late when it is not newer than what has settled *for this profile*, so that
    /// nobody's event is late because another customer's came early. What is due by `frontier` fires
    /// first, so that it does not matter how often [`Profile::advance`] is called in between.
    /// Appends what changed to `out`.
    pub fn take(
        &mut self,
        event: &Event,
        frontier: TimeMs,
        definitions: &Definitions,
        out: &mut Vec<Change>,
    ) -> Outcome {
        self.advance(frontier, definitions, out);
        let settled_to = self.settled.as_ref().map_or(self.live.clock, |s| s.clock);
        if event.time <= settled_to {
            self.take_late(event, definitions, out)
        } else {
            self.take_in_place(event, definitions, out)
        }
    }

    /// Fires what is due by `frontier`. Appends what changed to `out`.
    pub fn advance(&mut self, frontier: TimeMs, definitions: &Definitions, out: &mut Vec<Change>) {
        self.settle(frontier, definitions);
        self.live.advance(frontier, definitions, out);
        if let Some(settled) = &mut self.settled {
            settled.advance(frontier, definitions, &mut Vec::new());
        }
    }

    /// When this profile wants to be woken; [`TimeMs::MAX`]: never. What is due while events are
    /// pending fires on both views, so the earlier one counts. Pending events want to settle some
    /// time after they can: who never comes again would otherwise be kept event by event for ever.
    #[must_use]
    pub fn next_timer(&self) -> TimeMs {
        let settled = self.settled.as_ref().map_or(TimeMs::MAX, |s| s.next_timer);
        let tidied = self
            .pending
            .first()
            .map_or(TimeMs::MAX, |e| e.time.plus(SETTLE_AFTER_MS));
        settled.min(self.live.next_timer).min(tidied)
    }

    fn take_in_place(
        &mut self,
        event: &Event,
        definitions: &Definitions,
        out: &mut Vec<Change>,
    ) -> Outcome {
        let key = (event.time, &event.id);
        let at = match self.pending.binary_search_by(|e| (e.time, &e.id).cmp(&key)) {
            Ok(_) => return Outcome::Deduplicated,
            Err(at) => at,
        };
        let in_order = at == self.pending.len() && self.live.clock <= event.time;
        if self.settled.is_none() {
            self.settled = Some(Box::new(self.live.clone()));
        }
        self.pending.insert(at, event.clone());
        if in_order {
            self.live.take(event, definitions, out);
        } else {
            self.refold(event, definitions, out);
        }
        if self.pending.len() > PENDING_CAPACITY {
            let to = self.pending[self.pending.len() / 2].time;
            self.settle(to, definitions);
        }
        Outcome::Applied
    }

    fn take_late(
        &mut self,
        event: &Event,
        definitions: &Definitions,
        out: &mut Vec<Change>,
    ) -> Outcome {
        if event.body.is_order_fact() && self.live.book.knows(event) {
            return Outcome::Deduplicated;
        }
        match &mut self.settled {
            None => self.live.take_late(event, definitions, out),
            Some(settled) => {
                settled.take_late(event, definitions, &mut Vec::new());
                self.refold(event, definitions, out);
            }
        }
        Outcome::Late
    }

    /// Makes `live` anew and tells what differs from what had been told.
    fn refold(&mut self, cause: &Event, definitions: &Definitions, out: &mut Vec<Change>) {
        let Some(settled) = &self.settled else {
            return;
        };
        let anew = fold(settled, &self.pending, self.live.clock, definitions);
        let trigger = Trigger::by(cause, Cause::Correction);
        if self.live.clock <= cause.time {
            // Of one instant with the latest, and only its id comes earlier (the lines of an
            // invoice): where that makes no difference, nothing is corrected.
            let (mut appended, mut told) = (self.live.clone(), Vec::new());
            appended.take(cause, definitions, &mut told);
            let mut differences = Vec::new();
            anew.correct(&appended, trigger, definitions, &mut differences);
            if differences.is_empty() {
                self.live = anew;
                out.append(&mut told);
                return;
            }
        }
        let before = std::mem::replace(&mut self.live, anew);
        self.live.correct(&before, trigger, definitions, out);
    }

    /// Moves what can no longer be overtaken from `pending` into `settled`.
    fn settle(&mut self, frontier: TimeMs, definitions: &Definitions) {
        let ripe = self.pending.partition_point(|e| e.time <= frontier);
        if ripe == 0 {
            return;
        }
        if ripe == self.pending.len() {
            self.pending.clear();
            self.settled = None;
            return;
        }
        let mut silent = Vec::new();
        let settled = self.settled.get_or_insert_with(Box::default);
        for event in self.pending.drain(..ripe) {
            settled.take(&event, definitions, &mut silent);
            silent.clear();
        }
    }

    /// Numbers a change: the sequence number that it goes out with. To be called once per change,
    /// in order.
    pub fn number(&mut self, change: &mut Change) -> u64 {
        let topic = match &change.what {
            What::Clv(_) => 0,
            What::Stage(_) => 1,
            What::Segment(_) => 2,
        };
        let sequence = self.next_sequence[topic];
        self.next_sequence[topic] += 1;
        if let What::Stage(transition) = &mut change.what {
            let model = crate::definitions::tag(&transition.model);
            let last = self.last_transition.iter_mut().find(|(m, _)| *m == model);
            if transition.reason.cause == Cause::Correction {
                transition.correction_of = last.as_ref().map(|(_, sequence)| *sequence);
            }
            match last {
                Some((_, last)) => *last = sequence,
                None => self.last_transition.push((model, sequence)),
            }
        }
        sequence
    }
}

/// `settled`, then `pending`, then the timers due by `reached`.
fn fold(settled: &View, pending: &[Event], reached: TimeMs, definitions: &Definitions) -> View {
    let mut view = settled.clone();
    let mut silent = Vec::new();
    for event in pending {
        view.take(event, definitions, &mut silent);
        silent.clear();
    }
    view.advance(reached, definitions, &mut silent);
    view
}
