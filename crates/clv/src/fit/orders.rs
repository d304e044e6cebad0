//! What the fits of all models of orders have in common.
//!
//! Two of the four variables are ln r and ln(r/α), two are of dropping out: its level, and how far customers
//! differ in it. That each is one variable's is what lets limits be found and named in one place.

use super::sample::{Cell, Sample};
use super::search::{Search, error_of, penalised};
use super::{Boundary, Estimate, FitError, FitOptions, Fitted};

/// A model of orders, as a fit sees it.
pub(super) trait Orders {
    /// It with parameters.
    type Model;
    /// Bounds of the variables, the mean rate's against that of the sample.
    const BOUNDS: [(f64, f64); 4];
    /// Which variable is the level of dropping out.
    const LEVEL: usize;
    /// Which is how far customers are alike in it.
    const LIKENESS: usize;

    /// The variables that searches start from.
    fn starts() -> Vec<[f64; 4]>;

    /// The model at a point of the variables.
    fn at(&self, point: &[f64; 4], sample: &Sample) -> Self::Model;

    /// Its parameters.
    fn parameters(model: &Self::Model, sample: &Sample) -> [Parameter; 4];

    /// Derivatives by the parameters as derivatives by the variables.
    fn by_variables(model: &Self::Model, natural: [f64; 4]) -> [f64; 4];

    /// The log-likelihood of all customers, and its derivatives by the parameters.
    fn ln_likelihood(model: &Self::Model, sample: &Sample) -> (f64, [f64; 4]);
}

/// A parameter.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) value: f64,
    /// What the penalty takes it over.
    pub(super) scale: f64,
    /// Derivatives of its logarithm by the variables.
    pub(super) slope: [f64; 4],
}

impl From<(&'static str, f64, f64, [f64; 4])> for Parameter {
    fn from((name, value, scale, slope): (&'static str, f64, f64, [f64; 4])) -> Parameter {
        Parameter {
            name,
            value,
            scale,
            slope,
        }
    }
}

/// Fits a model; its times are in the cells' unit.
pub(super) fn fit<O: Orders>(
    of: &O,
    cells: &[Cell],
    options: &FitOptions,
) -> Result<Fitted<O::Model>, FitError> {
    let sample = Sample::new(cells, options)?;
    let pools = sample.pooled();
    let objective = |on: &Sample, point: &[f64; 4]| {
        let model = of.at(point, &sample);
        let (value, natural) = objective::<O>(&model, on, options.l2);
        (value, O::by_variables(&model, natural))
    };
    let exact = |point: &[f64; 4]| objective(&sample, point);
    let on_pools = pools
        .as_ref()
        .map(|pools| move |point: &[f64; 4]| objective(pools, point));
    let starts = O::starts();
    let found = Search {
        exact: &exact,
        pooled: on_pools.as_ref().map(|f| f as _),
        bounds: O::BOUNDS,
        starts: &starts,
        customers: sample.customers,
        idle: &[(O::LEVEL, O::LIKENESS)],
    }
    .run();
    let model = of.at(&found.point, &sample);
    let (plain, _) = self::objective::<O>(&model, &sample, 0.0);
    let ln_likelihood = -plain * sample.customers;
    if !found.ended {
        return Err(FitError::NoEnd { ln_likelihood });
    }
    let estimates = O::parameters(&model, &sample).map(|parameter| Estimate {
        name: parameter.name,
        value: parameter.value,
        ln_error: error_of(found.covariance.as_ref(), parameter.slope),
    });
    let (low, high) = (found.at_low, found.at_high);
    // Where nobody drops out, customers do not differ in it.
    let differ = !low[O::LEVEL];
    let limits = [
        (low[0], Boundary::FewOrder),
        (high[0], Boundary::SameRate),
        (low[O::LEVEL], Boundary::NobodyDropsOut),
        (high[O::LEVEL], Boundary::EverybodyDropsOut),
        (low[O::LIKENESS] && differ, Boundary::DropoutAtOnceOrNever),
        (high[O::LIKENESS] && differ, Boundary::SameDropout),
    ];
    Ok(Fitted {
        model,
        estimates: estimates.into(),
        ln_likelihood,
        customers: sample.customers as u64,
        cells: sample.cells.len(),
        boundaries: limits.iter().filter(|l| l.0).map(|l| l.1).collect(),
        starts: starts.len(),
        agreeing: found.agreeing,
    })
}

/// What is minimised, and its derivatives by the parameters.
fn objective<O: Orders>(model: &O::Model, sample: &Sample, l2: f64) -> (f64, [f64; 4]) {
    let likelihood = O::ln_likelihood(model, sample);
    let parameters = O::parameters(model, sample).map(|p| (p.value, p.scale));
    penalised(likelihood, sample.customers, parameters, l2)
}
