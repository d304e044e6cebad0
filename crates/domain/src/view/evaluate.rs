//! Evaluating the rules: stages and segments that change, and when time alone might change more.
//!
//! Invariant: what has changed stands in the view when it is told, with the evidence as it was before.

use super::{Membership, StageState, Telling, View};
use crate::change::{Action, Cause, Evidence, Reason, SegmentChange, StageTransition, What};
use crate::definitions::{Definitions, Model, Tag, Transition};
use crate::prediction::{Crossings, InForce};
use crate::purchases::Statistics;
use crate::rules::{Facts, Verdict};
use crate::time::TimeMs;

/// How many transitions one evaluation may take in a model before it stops: definitions that
/// contradict each other must not loop.
const MAX_STEPS: usize = 8;

impl View {
    /// Evaluates everything as of the clock. Answers when P(alive) falls under a model of value, if one says
    /// anything of the owner.
    pub(super) fn evaluate(&mut self, telling: &mut Telling<'_>) -> Option<Crossings> {
        let definitions = telling.definitions;
        self.next_timer = TimeMs::MAX;
        for model in &definitions.models {
            self.evaluate_model(model, telling);
        }
        self.evaluate_segments(telling);
        let (statistics, model) = self.predicted_from(definitions)?;
        let crossings = Crossings::of(model, statistics);
        self.next_timer = self.next_timer.min(crossings.next_after(self.clock));
        Some(crossings)
    }

    pub(super) fn predicted_from<'a>(
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

    fn evaluate_model(&mut self, model: &Model, telling: &mut Telling<'_>) {
        for _ in 0..MAX_STEPS {
            let state = self.stages.iter().find(|s| s.model == model.tag).copied();
            let facts = self.facts(state.as_ref(), telling.definitions);
            let (way, changes_at) = choose(model, state.as_ref(), &facts, telling.trigger.is_order);
            let Some(way) = way else {
                self.next_timer = self.next_timer.min(changes_at);
                return;
            };
            let evidence = way.when.evidence(&facts);
            self.enter(model, way, state, evidence, telling);
        }
    }

    fn enter(
        &mut self,
        model: &Model,
        way: &Transition,
        from: Option<StageState>,
        evidence: Vec<Evidence>,
        telling: &mut Telling<'_>,
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
                telling.trigger.cause
            },
            evidence,
        };
        let told = transition(model, from.as_ref(), &entered, reason, telling.definitions);
        telling.tell(self.clock, What::Stage(told));
    }

    fn evaluate_segments(&mut self, telling: &mut Telling<'_>) {
        let definitions = telling.definitions;
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
            let told = SegmentChange {
                segment: segment.name.clone(),
                action,
                reason: Reason {
                    rule: segment.name.clone(),
                    cause: telling.trigger.cause,
                    evidence,
                },
                member_since: since,
                definition_version: definitions.version,
            };
            telling.tell(self.clock, What::Segment(told));
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
pub(super) fn transition(
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
