//! One view of a profile: a plain fold of events in time order, between which its timer fires as of
//! its due instant; and the changes that follow from evaluating the rules.
//!
//! Invariants:
//! - An evaluation is a function of the facts and of the instant as of which it is made.
//! - After it, `next_timer` is the earliest instant at which time alone might change its result.

use crate::behaviour::Behaviour;
use crate::change::{
    Action, Cause, Change, ClvUpdate, Evidence, Historic, Predicted, Reason, SegmentChange,
    StageTransition, ValueStatus, What,
};
use crate::definitions::{Definitions, Model, Tag, Transition};
use crate::event::{Event, Text};
use crate::orders::{OrderBook, OrderStats, Taken};
use crate::prediction::{ALIVE_SHARES, InForce, Told};
use crate::purchases::{Purchases, Statistics};
use crate::rules::{Facts, Verdict};
use crate::sums::BookSums;
use crate::time::TimeMs;
use crate::value;

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

/// What `clv.updates` tells about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Valuation {
    historic: Historic,
    orders: u32,
    status: ValueStatus,
    told: Option<Told>,
}

/// What sets off an evaluation.
pub(crate) struct Trigger<'a> {
    pub(crate) cause: Cause,
    pub(crate) event_id: Option<&'a Text>,
    /// An order does not wait for the minimum dwell.
    is_order: bool,
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
            let (before, told) = (self.value(definitions), out.len());
            self.clock = self.next_timer;
            let trigger = Trigger::of(Cause::Timer);
            self.evaluate(&trigger, definitions, out);
            self.tell_value(&before, self.clock, &trigger, told, definitions, out);
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
        let (before, told) = (self.value(definitions), out.len());
        let trigger = Trigger::of(Cause::Model);
        self.evaluate(&trigger, definitions, out);
        while self.next_timer <= frontier && self.next_timer != TimeMs::MAX {
            self.clock = self.next_timer;
            self.evaluate(&trigger, definitions, out);
        }
        let as_of = self.clock.max(frontier);
        self.tell_value(&before, as_of, &trigger, told, definitions, out);
    }

    /// Takes in an event that is not older than any before it.
    pub(crate) fn take(&mut self, event: &Event, definitions: &Definitions, out: &mut Vec<Change>) {
        self.advance(event.time, definitions, out);
        let (before, told) = (self.value(definitions), out.len());
        self.clock = self.clock.max(event.time);
        self.take_book(event, definitions);
        self.behaviour.take(event, definitions.session_gap_ms);
        let trigger = Trigger::by(event, Cause::Event);
        self.evaluate(&trigger, definitions, out);
        self.tell_value(&before, self.clock, &trigger, told, definitions, out);
    }

    /// Takes in an event that is older than the settled state: order facts in full, behaviour in
    /// totals only.
    pub(crate) fn take_late(
        &mut self,
        event: &Event,
        definitions: &Definitions,
        out: &mut Vec<Change>,
    ) {
        let (before, told) = (self.value(definitions), out.len());
        self.take_book(event, definitions);
        self.behaviour.take_late(event);
        let trigger = Trigger::by(event, Cause::Correction);
        self.evaluate(&trigger, definitions, out);
        self.tell_value(&before, self.clock, &trigger, told, definitions, out);
    }

    fn take_book(&mut self, event: &Event, definitions: &Definitions) {
        if self.book.take(event) == Taken::New {
            self.sums.follow(&self.book, event);
            self.derive(definitions);
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
        if let Some((statistics, model)) = self.predicted_from(definitions) {
            let crossings = ALIVE_SHARES.map(|share| model.falls_to(statistics, share));
            let to_come = crossings.into_iter().filter(|at| *at > self.clock);
            let next = to_come.min().unwrap_or(TimeMs::MAX);
            self.next_timer = self.next_timer.min(next);
        }
    }

    fn predicted_from<'a>(
        &'a self,
        definitions: &'a Definitions,
    ) -> Option<(&'a Statistics, &'a InForce)> {
        self.purchases.as_ref().zip(definitions.model.as_ref())
    }

    fn facts<'a>(&'a self, stage: Option<&StageState>, definitions: &'a Definitions) -> Facts<'a> {
        Facts {
            book: &self.book,
            sums: &self.sums,
            stats: &self.stats,
            behaviour: &self.behaviour,
            as_of: self.clock,
            stage_since: stage.map(|s| s.since),
            population_interval_ms: definitions.population_interval_ms,
            predicted_from: self.predicted_from(definitions),
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
    pub(crate) fn value(&self, definitions: &Definitions) -> Valuation {
        Valuation {
            historic: value::historic(&self.stats, definitions),
            orders: self.stats.orders,
            status: self.value_status(definitions),
            told: self.told,
        }
    }

    /// Adds a `clv.updates` change, as of an instant, when the value differs from `before` by more than what
    /// is held back, ahead of what was told from `told` on: who reads a stage's change can look the value
    /// up already.
    fn tell_value(
        &mut self,
        before: &Valuation,
        as_of: TimeMs,
        trigger: &Trigger<'_>,
        told: usize,
        definitions: &Definitions,
        out: &mut Vec<Change>,
    ) {
        let predicted = self.predicted(as_of, definitions);
        let now = predicted.map(|(_, told)| told);
        let is_news = match (now, self.told) {
            (Some(now), Some(before)) => now.is_news(&before, definitions.epsilon),
            (now, before) => now != before,
        };
        let after = self.value(definitions);
        if after.is_as(before) && !is_news {
            return;
        }
        self.told = now;
        let update = after.update(before, predicted.map(|p| p.0), self, trigger, definitions);
        out.insert(told, trigger.change(as_of, What::Clv(update)));
    }

    /// Adds a `clv.updates` change when this view, which took the place of another one, has told something else
    /// than that had.
    pub(crate) fn tell_difference(
        &self,
        before: &Valuation,
        trigger: &Trigger<'_>,
        told: usize,
        definitions: &Definitions,
        out: &mut Vec<Change>,
    ) {
        let after = self.value(definitions);
        if after == *before {
            return;
        }
        let predicted = self.predicted(self.clock, definitions).map(|p| p.0);
        let update = after.update(before, predicted, self, trigger, definitions);
        out.insert(told, trigger.change(self.clock, What::Clv(update)));
    }

    /// What the model in force expects as of an instant, and what of it is to be remembered as told.
    fn predicted(&self, as_of: TimeMs, definitions: &Definitions) -> Option<(Predicted, Told)> {
        let (statistics, model) = self.predicted_from(definitions)?;
        let predicted = model.predict(statistics, as_of);
        Some((predicted, Told::of(&predicted, model, statistics, as_of)))
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

impl Valuation {
    /// Whether it is the same but for the prediction.
    fn is_as(&self, other: &Valuation) -> bool {
        let told = self.told;
        *self == Valuation { told, ..*other }
    }

    fn update(
        &self,
        before: &Valuation,
        predicted: Option<Predicted>,
        view: &View,
        trigger: &Trigger<'_>,
        definitions: &Definitions,
    ) -> ClvUpdate {
        ClvUpdate {
            historic: self.historic,
            formula: value::formula(&view.stats, self.status, definitions),
            predicted,
            value_status: self.status,
            orders: self.orders,
            delta: self.historic.net - before.historic.net,
            cause: trigger.cause,
        }
    }
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

    fn change(&self, as_of: TimeMs, what: What) -> Change {
        Change {
            as_of,
            cause_event_id: self.event_id.cloned(),
            what,
        }
    }

    pub(crate) fn by(event: &'a Event, cause: Cause) -> Trigger<'a> {
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
pub(crate) fn transition(
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
