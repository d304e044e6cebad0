//! One view of a profile: a plain fold of events in time order, between which its timer fires as of
//! its due instant.
//!
//! What follows from where the fold stands is worked out in `evaluate`, and told: stages and segments there, the
//! value in `valuation`, what one view says instead of another in `corrections`.
//!
//! Invariants:
//! - An evaluation is a function of the facts and of the instant as of which it is made.
//! - After it, `next_timer` is the earliest instant at which time alone might change its result.

mod corrections;
mod evaluate;
mod telling;
mod valuation;

use crate::behaviour::Behaviour;
use crate::change::{Cause, Change};
use crate::definitions::{Definitions, Tag};
use crate::event::Event;
use crate::orders::{OrderBook, OrderStats, Taken};
use crate::prediction::Told;
use crate::purchases::{Purchases, Statistics};
use crate::sums::BookSums;
use crate::time::TimeMs;

use telling::Telling;
pub(crate) use telling::Trigger;
use valuation::Valuation;

/// Where a profile stands in one model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StageState {
    /// The model.
    pub model: Tag,
    /// The stage.
    pub stage: Tag,
    /// Since when.
    pub since: TimeMs,
    /// How many times the relation was taken up again.
    pub cycle: u32,
}

/// Membership of one segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Membership {
    /// The segment.
    pub segment: Tag,
    /// Since when.
    pub since: TimeMs,
}

/// The fold of events in time order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// Orders and refunds.
    pub book: OrderBook,
    /// Behaviour.
    pub behaviour: Behaviour,
    /// One per model that has given the owner a stage, in the order in which they did.
    pub stages: Vec<StageState>,
    /// Segments that the owner is in, sorted by tag.
    pub segments: Vec<Membership>,
    /// The instant as of which the rules were last evaluated.
    pub clock: TimeMs,
    /// When time alone might change something; [`TimeMs::MAX`]: never.
    pub next_timer: TimeMs,
    /// What was told of the prediction last.
    pub told: Option<Told>,
    /// What the orders in `book` come to, and their statistics: kept because every evaluation asks
    /// for them.
    sums: BookSums,
    stats: OrderStats,
    /// What a model of value takes from `book`; `None`: nothing.
    purchases: Option<Statistics>,
}

impl Default for View {
    fn default() -> View {
        View {
            book: OrderBook::default(),
            behaviour: Behaviour::default(),
            stages: Vec::new(),
            segments: Vec::new(),
            clock: TimeMs::MIN,
            next_timer: TimeMs::MAX,
            told: None,
            sums: BookSums::default(),
            stats: OrderStats::default(),
            purchases: None,
        }
    }
}

impl View {
    /// Statistics of the order book, every known fact included.
    #[must_use]
    pub fn stats(&self) -> &OrderStats {
        &self.stats
    }

    /// What a model of value takes from the order book, every known fact included; `None` without an order that
    /// counts.
    #[must_use]
    pub fn purchases(&self) -> Option<&Statistics> {
        self.purchases.as_ref()
    }

    /// To be called once the public fields were set from state bytes.
    pub fn restore_derived(&mut self, definitions: &Definitions) {
        self.sums = BookSums::of(&self.book);
        self.derive(definitions);
    }

    fn derive(&mut self, definitions: &Definitions) {
        self.stats = self.sums.stats(&self.book);
        self.purchases = Purchases::of_book(&self.book, TimeMs::MAX, definitions).statistics();
    }

    /// Fires every timer due by `to`, each as of its due instant.
    pub fn advance(&mut self, to: TimeMs, definitions: &Definitions, out: &mut Vec<Change>) {
        // Whoever never fires does not fire at the end of time either.
        while self.next_timer <= to && self.next_timer != TimeMs::MAX {
            let before = self.value(definitions);
            self.clock = self.next_timer;
            let trigger = Trigger::of(Cause::Timer);
            self.follow(&before, Telling::new(trigger, definitions, out));
        }
    }

    /// Evaluates the rules anew, since another model is in force now, and whatever falls due by `frontier` under
    /// it. The value is told as of then: the clock stays where it is, so that nothing is late because of it.
    pub(crate) fn adopt(
        &mut self,
        frontier: TimeMs,
        definitions: &Definitions,
        out: &mut Vec<Change>,
    ) {
        if self.clock == TimeMs::MIN {
            return;
        }
        let before = self.value(definitions);
        let mut telling = Telling::new(Trigger::of(Cause::Model), definitions, out);
        let mut crossings = self.evaluate(&mut telling);
        while self.next_timer <= frontier && self.next_timer != TimeMs::MAX {
            self.clock = self.next_timer;
            crossings = self.evaluate(&mut telling);
        }
        let as_of = self.clock.max(frontier);
        self.tell_value(&before, as_of, crossings, &mut telling);
    }

    /// Takes in an event that is not older than any before it.
    pub(crate) fn take(&mut self, event: &Event, definitions: &Definitions, out: &mut Vec<Change>) {
        self.advance(event.time, definitions, out);
        let before = self.value(definitions);
        self.clock = self.clock.max(event.time);
        self.take_book(event, definitions);
        self.behaviour.take(event, definitions.session_gap_ms);
        let trigger = Trigger::by(event, Cause::Event);
        self.follow(&before, Telling::new(trigger, definitions, out));
    }

    /// Takes in an event that is older than the settled state: order facts in full, behaviour in
    /// totals only.
    pub(crate) fn take_late(
        &mut self,
        event: &Event,
        definitions: &Definitions,
        out: &mut Vec<Change>,
    ) {
        let before = self.value(definitions);
        self.take_book(event, definitions);
        self.behaviour.take_late(event);
        let trigger = Trigger::by(event, Cause::Correction);
        self.follow(&before, Telling::new(trigger, definitions, out));
    }

    fn take_book(&mut self, event: &Event, definitions: &Definitions) {
        if self.book.take(event) == Taken::New {
            self.sums.follow(&self.book, event);
            self.derive(definitions);
        }
    }

    /// Evaluates, and tells what follows from that as of the clock.
    fn follow(&mut self, before: &Valuation, mut telling: Telling<'_>) {
        let crossings = self.evaluate(&mut telling);
        self.tell_value(before, self.clock, crossings, &mut telling);
    }
}
