//! What a view is worth, and when it is told (`clv.updates`).
//!
//! Invariant: what is held back of a prediction is held against what was told last (`View::told`), not against
//! what was known last, so that small steps in one direction are told in the end.

use super::{Telling, View};
use crate::change::{ClvUpdate, Historic, Predicted, ValueStatus, What};
use crate::definitions::Definitions;
use crate::prediction::{Crossings, Told};
use crate::time::TimeMs;
use crate::value;

/// What `clv.updates` tells about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Valuation {
    historic: Historic,
    orders: u32,
    status: ValueStatus,
    told: Option<Told>,
}

impl View {
    /// The part of the view that `clv.updates` tells about.
    pub(super) fn value(&self, definitions: &Definitions) -> Valuation {
        Valuation {
            historic: value::historic(&self.stats, definitions),
            orders: self.stats.orders,
            status: self.value_status(definitions),
            told: self.told,
        }
    }

    /// Tells of the value, as of an instant, when it differs from `before` by more than what is held back; ahead
    /// of what was told before: who reads a stage's change can look the value up already. `crossings` are those
    /// of the evaluation that this follows.
    pub(super) fn tell_value(
        &mut self,
        before: &Valuation,
        as_of: TimeMs,
        crossings: Option<Crossings>,
        telling: &mut Telling<'_>,
    ) {
        let predicted = self.predicted(as_of, telling.definitions);
        let now = predicted
            .zip(crossings)
            .map(|(predicted, crossings)| Told::of(&predicted, crossings, as_of));
        let is_news = match (now, self.told) {
            (Some(now), Some(before)) => now.is_news(&before, telling.definitions.epsilon),
            (now, before) => now != before,
        };
        let after = self.value(telling.definitions);
        if after.is_as(before) && !is_news {
            return;
        }
        self.told = now;
        let update = after.update(before, predicted, self, telling);
        telling.tell_first(as_of, What::Clv(update));
    }

    /// Tells of the value when this view, which took the place of another one, has told something else than that
    /// had.
    pub(super) fn tell_difference(&self, before: &Valuation, telling: &mut Telling<'_>) {
        let after = self.value(telling.definitions);
        if after == *before {
            return;
        }
        let predicted = self.predicted(self.clock, telling.definitions);
        let update = after.update(before, predicted, self, telling);
        telling.tell_first(self.clock, What::Clv(update));
    }

    /// What the model in force expects as of an instant.
    fn predicted(&self, as_of: TimeMs, definitions: &Definitions) -> Option<Predicted> {
        let (statistics, model) = self.predicted_from(definitions)?;
        Some(model.predict(statistics, as_of))
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
        telling: &Telling<'_>,
    ) -> ClvUpdate {
        ClvUpdate {
            historic: self.historic,
            formula: value::formula(&view.stats, self.status, telling.definitions),
            predicted,
            value_status: self.status,
            orders: self.orders,
            delta: self.historic.net - before.historic.net,
            cause: telling.trigger.cause,
        }
    }
}
