//! What a model of value says of a customer, as the stream asks for it; and which model is in force.
//!
//! The models themselves are the crate `clv`'s. Here is what a profile needs of one: a score as of an instant,
//! and the instant at which P(alive) has fallen so far that something is to happen.
//!
//! Invariants:
//! - Answers are a function of the arguments and of the model's parameters.
//! - A profile stands under one version of the model ([`crate::profile::Profile::model`]) and is read again
//!   under that one ([`Versions`]), however many came since; it goes over to the present one when it is touched next.

use std::fmt;
use std::sync::Arc;

use crate::change::Predicted;
use crate::definitions::Definitions;
use crate::purchases::Statistics;
use crate::time::TimeMs;

/// Shares of P(alive), in hundredths of what it was on the day of the last order, below which a customer is
/// said to be at risk and to have lapsed. An update goes out when one of them is crossed.
pub const ALIVE_SHARES: [u8; 2] = [50, 20];

/// Which model of orders: those that can serve the stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// BG/NBD.
    BgNbd,
    /// MBG/NBD.
    MbgNbd,
}

/// Parameters of Gamma-Gamma.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SpendParameters {
    /// Shape of an order's value.
    pub p: f64,
    /// Shape of its rate over customers.
    pub q: f64,
    /// Scale of that, in units of the currency.
    pub v: f64,
}

/// A fitted model as a promotion puts it into force.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ModelParameters {
    /// Its version, from 1; later ones are higher.
    pub version: u32,
    /// Which model of orders.
    pub family: Family,
    /// Shape of order rates.
    pub r: f64,
    /// Scale of order rates, in days.
    pub alpha: f64,
    /// First shape of the chance of dropping out.
    pub a: f64,
    /// Second one.
    pub b: f64,
    /// The model of spend; `None` where none could be fitted.
    pub spend: Option<SpendParameters>,
}

/// What is asked of a model; the same for all versions of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Horizon {
    /// How far ahead a predicted value looks, in days.
    pub days: u32,
    /// Discount a year: 0.1 is 10 %.
    pub yearly_discount: f64,
    /// Share of revenue that is margin; 1 predicts revenue.
    pub margin_rate: f64,
}

/// A model of value, prepared.
pub trait Predict: fmt::Debug + Send + Sync {
    /// Its version.
    fn version(&self) -> u32;

    /// What is to be expected of a customer as of an instant.
    fn predict(&self, statistics: &Statistics, as_of: TimeMs) -> Predicted;

    /// The instant as of which P(alive) has fallen to `share` hundredths of what it was on the day of the last
    /// order, if no other comes; [`TimeMs::MAX`]: never.
    fn falls_to(&self, statistics: &Statistics, share: u8) -> TimeMs;
}

/// The model in force.
#[derive(Clone, Debug)]
pub struct InForce(Arc<dyn Predict>);

impl InForce {
    /// Puts `model` into force.
    #[must_use]
    pub fn new(model: Arc<dyn Predict>) -> InForce {
        InForce(model)
    }

    /// See [`Predict::version`].
    #[must_use]
    pub fn version(&self) -> u32 {
        self.0.version()
    }

    /// See [`Predict::predict`].
    #[must_use]
    pub fn predict(&self, statistics: &Statistics, as_of: TimeMs) -> Predicted {
        self.0.predict(statistics, as_of)
    }

    /// See [`Predict::falls_to`].
    #[must_use]
    pub fn falls_to(&self, statistics: &Statistics, share: u8) -> TimeMs {
        self.0.falls_to(statistics, share)
    }
}

impl PartialEq for InForce {
    /// A version stands for its parameters.
    fn eq(&self, other: &InForce) -> bool {
        self.version() == other.version()
    }
}

/// What of a prediction was told last: what comes next is held against it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told {
    /// The model's version.
    pub model: u32,
    /// The value in minor units; without a model of spend, orders in millionths.
    pub amount: i64,
    /// How many of [`ALIVE_SHARES`] P(alive) was below.
    pub below: u8,
}

/// When P(alive) of a customer falls to each of [`ALIVE_SHARES`], if no other order comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Crossings([TimeMs; ALIVE_SHARES.len()]);

impl Crossings {
    pub(crate) fn of(model: &InForce, statistics: &Statistics) -> Crossings {
        Crossings(ALIVE_SHARES.map(|share| model.falls_to(statistics, share)))
    }

    /// The first one after `clock`; [`TimeMs::MAX`]: none.
    pub(crate) fn next_after(self, clock: TimeMs) -> TimeMs {
        let to_come = self.0.into_iter().filter(|at| *at > clock);
        to_come.min().unwrap_or(TimeMs::MAX)
    }

    /// How many there have been by `as_of`.
    fn passed_by(self, as_of: TimeMs) -> u8 {
        self.0.iter().filter(|at| **at <= as_of).count() as u8
    }
}

impl Told {
    /// What is to be told of `predicted`, as of an instant.
    pub(crate) fn of(predicted: &Predicted, crossings: Crossings, as_of: TimeMs) -> Told {
        let amount = match &predicted.value {
            Some(value) => value.expected.0,
            None => (predicted.orders * 1e6).round_ties_even() as i64,
        };
        Told {
            model: predicted.model_version,
            amount,
            below: crossings.passed_by(as_of),
        }
    }

    /// Whether this is worth telling after `before`: of another model, across a threshold, or changed by more
    /// than `epsilon` of the larger amount.
    #[must_use]
    pub fn is_news(&self, before: &Told, epsilon: f64) -> bool {
        let larger = self.amount.unsigned_abs().max(before.amount.unsigned_abs());
        let change = self.amount.abs_diff(before.amount);
        (self.model, self.below) != (before.model, before.below)
            || change as f64 > epsilon * larger as f64
    }
}

/// The definitions under each version of the model that a profile may still stand under; the last are those in
/// force.
#[derive(Clone, Debug)]
pub struct Versions {
    /// By rising version; never empty.
    all: Vec<Arc<Definitions>>,
}

impl Versions {
    /// `base`, and with each of `models`, by rising versions, in turn.
    #[must_use]
    pub fn new(base: Arc<Definitions>, models: impl IntoIterator<Item = InForce>) -> Versions {
        let mut versions = Versions { all: vec![base] };
        for model in models {
            versions.add(model);
        }
        versions
    }

    /// The definitions in force.
    #[must_use]
    pub fn current(&self) -> &Arc<Definitions> {
        &self.all[self.all.len() - 1]
    }

    /// The definitions under version `model`, 0 being none; `None`: no profile should stand under it any more.
    #[must_use]
    pub fn under(&self, model: u32) -> Option<&Arc<Definitions>> {
        let all = self.all.iter();
        all.rev().find(|under| under.model_version() == model)
    }

    /// Puts a model into force that is newer than all before.
    pub fn add(&mut self, model: InForce) {
        let next = Definitions {
            model: Some(model),
            ..Definitions::clone(self.current())
        };
        self.all.push(Arc::new(next));
    }

    /// Every profile stands under the present version: those between the first, which is that of profiles
    /// the models say nothing of, and the present one are done with.
    pub fn settle(&mut self) {
        let end = self.all.len() - 1;
        if end > 1 {
            self.all.drain(1..end);
        }
    }
}

impl From<Definitions> for Versions {
    fn from(definitions: Definitions) -> Versions {
        Versions::new(Arc::new(definitions), [])
    }
}
