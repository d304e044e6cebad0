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

use crate::behaviour::Behaviour;
use crate::change::{
    Action, Cause, Change, ClvUpdate, Evidence, Historic, Reason, SegmentChange, StageTransition,
    ValueStatus, What,
};
use crate::definitions::{Definitions, Model, Tag, Transition};
use crate::event::{Event, Text};
use crate::orders::{OrderBook, OrderStats, Taken};
use crate::rules::{Facts, Verdict};
use crate::sums::BookSums;
use crate::time::TimeMs;
use crate::value;

/// Most events that are kept pending for one profile. A burst beyond it settles early: the oldest
/// ones can then no longer be overtaken.
pub const PENDING_CAPACITY: usize = 256;
/// How many transitions one evaluation may take in a model before it stops: definitions that
/// contradict each other must not loop.
const MAX_STEPS: usize = 8;

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
    /// What the orders in `book` come to, and their statistics: kept because every evaluation asks
    /// for them.
    sums: BookSums,
    stats: OrderStats,
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
            sums: BookSums::default(),
            stats: OrderStats::default(),
        }
    }
}

/// What sets off an evaluation.
struct Trigger<'a> {
    cause: Cause,
    event_id: Option<&'a Text>,
    /// An order does not wait for the minimum dwell.
    is_order: bool,
}

impl View {
    /// Statistics of the order book, every known fact included.
    #[must_use]
    pub fn stats(&self) -> &OrderStats {
        &self.stats
    }

    /// To be called once the public fields were set from state bytes.
    pub fn restore_derived(&mut self) {
        self.sums = BookSums::of(&self.book);
        self.stats = self.sums.stats(&self.book);
    }

    /// Fires every timer due by `to`, each as of its due instant.
    pub fn advance(&mut self, to: TimeMs, definitions: &Definitions, out: &mut Vec<Change>) {
        // Whoever never fires does not fire at the end of time either.
        while self.next_timer <= to && self.next_timer != TimeMs::MAX {
            let (before, told) = (self.value(definitions), out.len());
            self.clock = self.next_timer;
            let trigger = Trigger {
                cause: Cause::Timer,
                event_id: None,
                is_order: false,
            };
            self.evaluate(&trigger, definitions, out);
            self.tell_value(before, &trigger, told, definitions, out);
        }
    }

    /// Takes in an event that is not older than any before it.
    fn take(&mut self, event: &Event, definitions: &Definitions, out: &mut Vec<Change>) {
        self.advance(event.time, definitions, out);
        let (before, told) = (self.value(definitions), out.len());
        self.clock = self.clock.max(event.time);
        self.take_book(event);
        self.behaviour.take(event, definitions.session_gap_ms);
        let trigger = Trigger::by(event, Cause::Event);
        self.evaluate(&trigger, definitions, out);
        self.tell_value(before, &trigger, told, definitions, out);
    }

    /// Takes in an event that is older than the settled state: order facts in full, behaviour in
    /// totals only.
    fn take_late(&mut self, event: &Event, definitions: &Definitions, out: &mut Vec<Change>) {
        let (before, told) = (self.value(definitions), out.len());
        self.take_book(event);
        self.behaviour.take_late(event);
        let trigger = Trigger::by(event, Cause::Correction);
        self.evaluate(&trigger, definitions, out);
        self.tell_value(before, &trigger, told, definitions, out);
    }

    fn take_book(&mut self, event: &Event) {
        if self.book.take(event) == Taken::New {
            self.sums.follow(&self.book, event);
            self.stats = self.sums.stats(&self.book);
        }
    }

    fn evaluate(
        &mut self,
        trigger: &Trigger<'_>,
        definitions: &Definitions,
        out: &mut Vec<Change>,
    ) {
        self.next_timer = TimeMs::MAX;
        for model in &definitions.models {
            self.evaluate_model(model, trigger, definitions, out);
        }
        self.evaluate_segments(trigger, definitions, out);
    }

    fn facts<'a>(&'a self, stage: Option<&StageState>, definitions: &Definitions) -> Facts<'a> {
        Facts {
            book: &self.book,
            sums: &self.sums,
            stats: &self.stats,
            behaviour: &self.behaviour,
            as_of: self.clock,
            stage_since: stage.map(|s| s.since),
            population_interval_ms: definitions.population_interval_ms,
        }
    }

    fn evaluate_model(
        &mut self,
        model: &Model,
        trigger: &Trigger<'_>,
        definitions: &Definitions,
        out: &mut Vec<Change>,
    ) {
        for _ in 0..MAX_STEPS {
            let state = self.stages.iter().find(|s| s.model == model.tag).copied();
            let facts = self.facts(state.as_ref(), definitions);
            let (way, changes_at) = choose(model, state.as_ref(), &facts, trigger.is_order);
            let Some(way) = way else {
                self.next_timer = self.next_timer.min(changes_at);
                return;
            };
            let evidence = way.when.evidence(&facts);
            self.enter(model, way, state, evidence, trigger, definitions, out);
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one transition, told in full, in one place"
    )]
    fn enter(
        &mut self,
        model: &Model,
        way: &Transition,
        from: Option<StageState>,
        evidence: Vec<Evidence>,
        trigger: &Trigger<'_>,
        definitions: &Definitions,
        out: &mut Vec<Change>,
    ) {
        let cycle = from.map_or(0, |s| s.cycle);
        let cycle = cycle.saturating_add(u32::from(way.starts_cycle));
        let entered = StageState {
            model: model.tag,
            stage: model.stages[way.to].tag,
            since: self.clock,
            cycle,
        };
        match self.stages.iter_mut().find(|s| s.model == model.tag) {
            Some(state) => *state = entered,
            None => self.stages.push(entered),
        }
        let reason = Reason {
            rule: way.rule.clone(),
            cause: if way.reverts {
                Cause::Correction
            } else {
                trigger.cause
            },
            evidence,
        };
        out.push(Change {
            as_of: self.clock,
            cause_event_id: trigger.event_id.cloned(),
            what: What::Stage(transition(
                model,
                from.as_ref(),
                &entered,
                reason,
                definitions,
            )),
        });
    }

    fn evaluate_segments(
        &mut self,
        trigger: &Trigger<'_>,
        definitions: &Definitions,
        out: &mut Vec<Change>,
    ) {
        for segment in &definitions.segments {
            let facts = self.facts(None, definitions);
            let Verdict { holds, changes_at } = segment.when.eval(&facts);
            let at = self
                .segments
                .binary_search_by_key(&segment.tag, |m| m.segment);
            let (action, since) = match (at, holds) {
                (Ok(_), true) | (Err(_), false) => {
                    self.next_timer = self.next_timer.min(changes_at);
                    continue;
                }
                (Err(_), true) => (Action::Entered, self.clock),
                (Ok(at), false) => (Action::Exited, self.segments[at].since),
            };
            let evidence = segment.when.evidence(&facts);
            self.next_timer = self.next_timer.min(changes_at);
            match at {
                Ok(at) => {
                    self.segments.remove(at);
                }
                Err(at) => self.segments.insert(
                    at,
                    Membership {
                        segment: segment.tag,
                        since,
                    },
                ),
            }
            out.push(Change {
                as_of: self.clock,
                cause_event_id: trigger.event_id.cloned(),
                what: What::Segment(SegmentChange {
                    segment: segment.name.clone(),
                    action,
                    reason: Reason {
                        rule: segment.name.clone(),
                        cause: trigger.cause,
                        evidence,
                    },
                    member_since: since,
                    definition_version: definitions.version,
                }),
            });
        }
    }

    /// The part of the view that `clv.updates` tells about.
    fn value(&self, definitions: &Definitions) -> (Historic, u32, ValueStatus) {
        (
            value::historic(&self.stats, definitions),
            self.stats.orders,
            self.value_status(definitions),
        )
    }

    /// Adds a `clv.updates` change when the value differs from `before`, ahead of what was told
    /// from `told` on: who reads a stage's change can look the value up already.
    fn tell_value(
        &self,
        before: (Historic, u32, ValueStatus),
        trigger: &Trigger<'_>,
        told: usize,
        definitions: &Definitions,
        out: &mut Vec<Change>,
    ) {
        let after = self.value(definitions);
        if after == before {
            return;
        }
        let (historic, orders, value_status) = after;
        let update = ClvUpdate {
            historic,
            formula: value::formula(&self.stats, value_status, definitions),
            value_status,
            orders,
            delta: historic.net - before.0.net,
            cause: trigger.cause,
        };
        let change = Change {
            as_of: self.clock,
            cause_event_id: trigger.event_id.cloned(),
            what: What::Clv(update),
        };
        out.insert(told, change);
    }

    /// Final once a model says that the relation has ended (R04).
    #[must_use]
    pub fn value_status(&self, definitions: &Definitions) -> ValueStatus {
        let ended = definitions.models.iter().any(|model| {
            let here = self.stages.iter().find(|s| s.model == model.tag);
            let stage = here.and_then(|s| model.stages.iter().find(|d| d.tag == s.stage));
            stage.is_some_and(|s| s.ends_relation)
        });
        if ended {
            ValueStatus::Final
        } else {
            ValueStatus::Interim
        }
    }
}

impl<'a> Trigger<'a> {
    fn by(event: &'a Event, cause: Cause) -> Trigger<'a> {
        Trigger {
            cause,
            event_id: Some(&event.id),
            is_order: event.body.is_order_fact(),
        }
    }
}

/// The first way out of `state` that applies; or none, and when to look again.
fn choose<'m>(
    model: &'m Model,
    state: Option<&StageState>,
    facts: &Facts<'_>,
    is_order: bool,
) -> (Option<&'m Transition>, TimeMs) {
    let here = state.and_then(|s| model.stages.iter().position(|stage| stage.tag == s.stage));
    let mut changes_at = TimeMs::MAX;
    for way in &model.transitions {
        let applies_here = match here {
            Some(at) => way.from.contains(&at),
            None => way.initial,
        };
        if !applies_here {
            continue;
        }
        let verdict = way.when.eval(facts);
        let waits_until = match state {
            Some(s) if way.min_dwell_ms > 0 && !is_order => s.since.plus(way.min_dwell_ms),
            _ => TimeMs::MIN,
        };
        if verdict.holds && facts.as_of >= waits_until {
            return (Some(way), changes_at);
        }
        let next = if verdict.holds {
            waits_until
        } else {
            verdict.changes_at
        };
        changes_at = changes_at.min(next);
    }
    (None, changes_at)
}

/// The transition as it is told, for a rule as for a correction.
fn transition(
    model: &Model,
    from: Option<&StageState>,
    to: &StageState,
    reason: Reason,
    definitions: &Definitions,
) -> StageTransition {
    let index = |tag: Tag| model.stages.iter().position(|s| s.tag == tag);
    let from_index = from.and_then(|s| index(s.stage));
    let to_index = index(to.stage).unwrap_or_default();
    let first_skipped = from_index.map_or(0, |i| i + 1);
    let skipped = match model.stages.get(first_skipped..to_index) {
        Some(stages) if model.reports_skipped => stages.iter().map(|s| s.name.clone()).collect(),
        _ => Vec::new(),
    };
    StageTransition {
        model: model.name.clone(),
        from: from_index.map(|i| model.stages[i].name.clone()),
        to: model.stages[to_index].name.clone(),
        skipped,
        dwell_seconds: from.map(|s| to.since.since(s.since).max(0) / 1000),
        cycle: to.cycle,
        reason,
        definition_version: definitions.version,
        correction_of: None,
    }
}

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
            next_sequence: [1; 3],
            last_transition: Vec::new(),
            armed: TimeMs::MAX,
        }
    }
}

impl Profile {
    /// A profile as it was when its parts were written: `live` is folded anew, up to `reached`.
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
            next_sequence,
            last_transition,
            armed,
        }
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
    /// pending fires on both views, so the earlier one counts.
    #[must_use]
    pub fn next_timer(&self) -> TimeMs {
        let settled = self.settled.as_ref().map_or(TimeMs::MAX, |s| s.next_timer);
        settled.min(self.live.next_timer)
    }

    /// Whether anything was ever told or kept about this owner.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.behaviour.totals.events == 0
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
        if self.live.clock <= cause.time {
            // Of one instant with the latest, and only its id comes earlier (the lines of an
            // invoice): where that makes no difference, nothing is corrected.
            let (mut appended, mut told) = (self.live.clone(), Vec::new());
            appended.take(cause, definitions, &mut told);
            let mut differences = Vec::new();
            corrections(&appended, &anew, &cause.id, definitions, &mut differences);
            if differences.is_empty() && appended.value(definitions) == anew.value(definitions) {
                self.live = anew;
                out.append(&mut told);
                return;
            }
        }
        let before = std::mem::replace(&mut self.live, anew);
        let told = out.len();
        corrections(&before, &self.live, &cause.id, definitions, out);
        let trigger = Trigger::by(cause, Cause::Correction);
        let before = before.value(definitions);
        self.live
            .tell_value(before, &trigger, told, definitions, out);
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

impl Change {
    /// What brought the change about.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match &self.what {
            What::Clv(update) => update.cause,
            What::Stage(transition) => transition.reason.cause,
            What::Segment(change) => change.reason.cause,
        }
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

/// The differences between two views of one profile, as corrections.
fn corrections(
    before: &View,
    after: &View,
    event_id: &Text,
    definitions: &Definitions,
    out: &mut Vec<Change>,
) {
    let reason = |rule: &Text| Reason {
        rule: rule.clone(),
        cause: Cause::Correction,
        evidence: Vec::new(),
    };
    let rule = Text::new_static("events_put_in_order");
    let mut push = |what| {
        out.push(Change {
            as_of: after.clock,
            cause_event_id: Some(event_id.clone()),
            what,
        });
    };
    for model in &definitions.models {
        let find = |view: &View| view.stages.iter().find(|s| s.model == model.tag).copied();
        let (was, is) = (find(before), find(after));
        if let Some(is) = is
            && was.map(|s| (s.stage, s.cycle)) != Some((is.stage, is.cycle))
        {
            push(What::Stage(transition(
                model,
                was.as_ref(),
                &is,
                reason(&rule),
                definitions,
            )));
        }
    }
    for segment in &definitions.segments {
        let find = |view: &View| {
            view.segments
                .iter()
                .find(|m| m.segment == segment.tag)
                .copied()
        };
        let (action, since) = match (find(before), find(after)) {
            (Some(was), None) => (Action::Exited, was.since),
            (None, Some(is)) => (Action::Entered, is.since),
            _ => continue,
        };
        push(What::Segment(SegmentChange {
            segment: segment.name.clone(),
            action,
            reason: reason(&rule),
            member_since: since,
            definition_version: definitions.version,
        }));
    }
}
