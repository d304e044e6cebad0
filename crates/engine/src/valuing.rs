//! The models of value that a task knows: prepared from their parameters, and read from its state.
//!
//! Times of the models are in days and amounts in units of the currency; statistics and instants are turned into
//! them here, and answers back, once and in one place.

use std::sync::Arc;

use clv::beta_geometric::BetaGeometric;
use clv::gamma_gamma::GammaGamma;
use clv::history::{Crossing, History};
use clv::scorer::{Horizon, Scorer};
use domain::change::{Predicted, PredictedValue};
use domain::definitions::Definitions;
use domain::money::Minor;
use domain::prediction::{InForce, ModelParameters, Predict, SpendParameters, Versions};
use domain::purchases::Statistics;
use domain::time::{DAY_MS, TimeMs};
use wire::bin::Corrupt;
use wire::state::decode_model;

use crate::port::{StateError, StateReader, Table};

/// Days in a year, leap years evened out.
const DAYS_PER_YEAR: f64 = 365.25;
/// An instant that comes later than this many milliseconds after the first order does not come.
const NEVER_MS: f64 = 1e16;

/// A model whose parameters are within their ranges.
#[derive(Debug)]
struct Prepared {
    version: u32,
    scorer: Scorer,
    horizon_days: u32,
    minor_per_unit: f64,
}

/// Prepares a model for a shop; `None` where a parameter is out of its range.
#[must_use]
pub fn prepare(model: &ModelParameters, definitions: &Definitions) -> Option<InForce> {
    let orders = BetaGeometric {
        variant: model.family.into(),
        r: model.r,
        alpha: model.alpha,
        a: model.a,
        b: model.b,
    };
    let spend = model
        .spend
        .map(|SpendParameters { p, q, v }| GammaGamma { p, q, v });
    let of = &definitions.horizon;
    let horizon = Horizon {
        margin_rate: of.margin_rate,
        ..Horizon::of(f64::from(of.days)).discounted(of.yearly_discount, DAYS_PER_YEAR)
    };
    let prepared = Prepared {
        version: model.version,
        scorer: Scorer::new(orders, spend, horizon)?,
        horizon_days: of.days,
        minor_per_unit: definitions.currency.minor_per_unit() as f64,
    };
    Some(InForce::new(Arc::new(prepared)))
}

/// The definitions under every model of value that a task's state knows.
///
/// # Errors
/// The state cannot be read.
pub fn versions(state: &dyn StateReader, base: &Arc<Definitions>) -> Result<Versions, StateError> {
    let entries = state.scan(Table::Models, &[], usize::MAX)?;
    let bytes = entries.iter().map(|(_, bytes)| &**bytes);
    versions_of(bytes, base)
        .map_err(|corrupt| StateError::Damaged(format!("state is damaged: {corrupt}")))
}

/// The same, from the values of [`Table::Models`] in the order of their keys.
///
/// # Errors
/// [`Corrupt`]: one of them is damaged.
pub fn versions_of<'b>(
    entries: impl IntoIterator<Item = &'b [u8]>,
    base: &Arc<Definitions>,
) -> Result<Versions, Corrupt> {
    let mut models = Vec::new();
    for bytes in entries {
        let model = prepare(&decode_model(bytes)?, base);
        models.push(model.ok_or(Corrupt {
            what: "a model of value",
            problem: "it is out of its range",
        })?);
    }
    Ok(Versions::new(Arc::clone(base), models))
}

impl Prepared {
    fn minor(&self, amount: f64) -> Minor {
        // Beyond the range of amounts, its end.
        Minor((amount * self.minor_per_unit).round_ties_even() as i64)
    }
}

impl Predict for Prepared {
    fn version(&self) -> u32 {
        self.version
    }

    fn predict(&self, statistics: &Statistics, as_of: TimeMs) -> Predicted {
        let now = as_of.0 as f64 / DAY_MS as f64;
        let spent = statistics.spent.0 as f64 / self.minor_per_unit;
        let score = self.scorer.score(&History::of(statistics, now), spent);
        Predicted {
            model_version: self.version,
            horizon_days: self.horizon_days,
            p_alive: score.p_alive,
            p_order: score.p_order,
            orders: score.orders,
            value: score.value.map(|value| PredictedValue {
                spend: self.minor(value.spend),
                expected: self.minor(value.expected),
                low: self.minor(value.low),
                high: self.minor(value.high),
            }),
        }
    }

    fn falls_to(&self, statistics: &Statistics, share: u8) -> TimeMs {
        let model = self.scorer.orders();
        let last = History::of(statistics, f64::from(statistics.last.0));
        let threshold = model.p_alive(&last) * f64::from(share) / 100.0;
        let first = statistics.first.start();
        match model.crossing(&last, threshold) {
            Crossing::Already => statistics.last.start(),
            Crossing::AtAge(days) if days * (DAY_MS as f64) < NEVER_MS => {
                first.plus(libm::ceil(days * DAY_MS as f64) as i64)
            }
            Crossing::AtAge(_) | Crossing::Never => TimeMs::MAX,
        }
    }
}
