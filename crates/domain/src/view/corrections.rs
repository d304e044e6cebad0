//! What one view of a profile says instead of another, which it takes the place of.

use super::evaluate::transition;
use super::{Telling, Trigger, View};
use crate::change::{Action, Cause, Change, Reason, SegmentChange, What};
use crate::definitions::Definitions;
use crate::event::Text;

impl View {
    /// Appends what this view, which takes the place of `before`, says differently; nothing, if there is no
    /// difference that anybody was told of.
    pub(crate) fn correct(
        &self,
        before: &View,
        trigger: Trigger<'_>,
        definitions: &Definitions,
        out: &mut Vec<Change>,
    ) {
        let mut telling = Telling::new(trigger, definitions, out);
        self.correct_stages(before, &mut telling);
        self.correct_segments(before, &mut telling);
        self.tell_difference(&before.value(definitions), &mut telling);
    }

    fn correct_stages(&self, before: &View, telling: &mut Telling<'_>) {
        for model in &telling.definitions.models {
            let find = |view: &View| view.stages.iter().find(|s| s.model == model.tag).copied();
            let (was, is) = (find(before), find(self));
            if let Some(is) = is
                && was.map(|s| (s.stage, s.cycle)) != Some((is.stage, is.cycle))
            {
                let reason = reason(telling.trigger.cause);
                let told = transition(model, was.as_ref(), &is, reason, telling.definitions);
                telling.tell(self.clock, What::Stage(told));
            }
        }
    }

    fn correct_segments(&self, before: &View, telling: &mut Telling<'_>) {
        for segment in &telling.definitions.segments {
            let find = |view: &View| {
                view.segments
                    .iter()
                    .find(|m| m.segment == segment.tag)
                    .copied()
            };
            let (action, since) = match (find(before), find(self)) {
                (Some(was), None) => (Action::Exited, was.since),
                (None, Some(is)) => (Action::Entered, is.since),
                _ => continue,
            };
            let told = SegmentChange {
                segment: segment.name.clone(),
                action,
                reason: reason(telling.trigger.cause),
                member_since: since,
                definition_version: telling.definitions.version,
            };
            telling.tell(self.clock, What::Segment(told));
        }
    }
}

fn reason(cause: Cause) -> Reason {
    Reason {
        rule: Text::new_static(match cause {
            Cause::Model => "model_in_force",
            _ => "events_put_in_order",
        }),
        cause,
        evidence: Vec::new(),
    }
}
