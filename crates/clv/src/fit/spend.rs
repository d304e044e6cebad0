//! The fit of Gamma-Gamma, in the variables ln p, ln q and ln(p·v/q).

use super::search::{Search, error_of, penalised};
use super::{Boundary, Estimate, FitError, FitOptions, Fitted};
use crate::gamma_gamma::GammaGamma;
use crate::special::{digamma, ln_beta};

/// Bounds of the variables, the last against the orders' geometric mean.
const BOUNDS: [(f64, f64); 3] = [(-7.0, 11.5), (-7.0, 11.5), (-9.0, 9.0)];
/// Starts: p and q.
const STARTS: [[f64; 2]; 3] = [[6.0, 4.0], [1.5, 2.5], [30.0, 10.0]];

/// Customers of as many repeat orders and about the same total: what the fit needs of them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SpendGroup {
    /// Days with a repeat order, of each.
    pub orders: f64,
    /// Customers.
    pub weight: f64,
    /// Sum of their totals over repeat orders, positive.
    pub total: f64,
    /// Sum of the logarithms of these totals.
    pub ln_total: f64,
}

impl SpendGroup {
    /// One customer; `None` without a repeat order, and where repeat orders came to nothing, which the model
    /// cannot tell from not having ordered.
    #[must_use]
    pub fn single(orders: u32, total: f64) -> Option<SpendGroup> {
        (orders > 0 && total > 0.0).then(|| SpendGroup {
            orders: f64::from(orders),
            weight: 1.0,
            total,
            ln_total: libm::log(total),
        })
    }

    /// Sum of ln(v + total), and its derivative by v.
    ///
    /// Of the mean total, corrected by how far the totals lie apart, which the mean logarithm tells: exact to third
    /// order in the width of the group, and exactly so for v → 0 and v → ∞.
    fn ln_with(&self, v: f64) -> (f64, f64) {
        let mean = self.total / self.weight;
        let apart = (self.weight * libm::log(mean) - self.ln_total).max(0.0);
        let share = mean / (mean + v);
        (
            self.weight * libm::log(v + mean) - share * share * apart,
            self.weight / (v + mean) + 2.0 * share * share / (mean + v) * apart,
        )
    }
}

/// Fits Gamma-Gamma; money of the model is in the groups' unit.
///
/// # Errors
/// Where too few customers have repeat orders that came to something, where the mean spend does not
/// exist (q ≤ 1), and where the search does not end.
pub fn fit_gamma_gamma(
    groups: &[SpendGroup],
    options: &FitOptions,
) -> Result<Fitted<GammaGamma>, FitError> {
    let customers: f64 = groups.iter().map(|g| g.weight).sum();
    if customers < options.min_repeaters.max(1) as f64 {
        return Err(FitError::FewSpenders {
            spenders: customers as u64,
            needed: options.min_repeaters.max(1),
        });
    }
    // The geometric mean of orders' values: a mean that outliers do not move.
    let ln_values = groups
        .iter()
        .map(|g| g.ln_total - g.weight * libm::log(g.orders));
    let scale = libm::exp(ln_values.sum::<f64>() / customers);
    let exact = |point: &[f64; 3]| {
        let model = model_at(point, scale);
        let (value, [p, q, v]) = objective(&model, groups, customers, scale, options.l2);
        // v = q·scale·e^third / p.
        let variables = [
            model.p * p - model.v * v,
            model.q * q + model.v * v,
            model.v * v,
        ];
        (value, variables)
    };
    let starts = STARTS.map(|[p, q]| [libm::log(p), libm::log(q), -0.2]);
    let found = Search {
        exact: &exact,
        pooled: None,
        bounds: BOUNDS,
        starts: &starts,
        customers,
        idle: &[],
    }
    .run();
    let model = model_at(&found.point, scale);
    let ln_likelihood = -objective(&model, groups, customers, scale, 0.0).0 * customers;
    if !found.ended {
        return Err(FitError::NoEnd { ln_likelihood });
    }
    if model.q <= 1.0 {
        return Err(FitError::NoMeanSpend { q: model.q });
    }
    let named = |name, value, slope| Estimate {
        name,
        value,
        ln_error: error_of(found.covariance.as_ref(), slope),
    };
    let limits = [
        (found.at_low[0], Boundary::AnyOrderValue),
        (found.at_high[0], Boundary::SameOrderValue),
        (found.at_high[1], Boundary::SameSpend),
    ];
    Ok(Fitted {
        model,
        estimates: vec![
            named("p", model.p, [1.0, 0.0, 0.0]),
            named("q", model.q, [0.0, 1.0, 0.0]),
            named("v", model.v, [-1.0, 1.0, 1.0]),
        ],
        ln_likelihood,
        customers: customers as u64,
        cells: groups.len(),
        boundaries: limits.iter().filter(|l| l.0).map(|l| l.1).collect(),
        starts: starts.len(),
        agreeing: found.agreeing,
    })
}

fn model_at(point: &[f64; 3], scale: f64) -> GammaGamma {
    let [p, q, level] = point.map(libm::exp);
    GammaGamma {
        p,
        q,
        v: q * scale * level / p,
    }
}

/// Mean negative log-likelihood of a customer with the penalty, and its derivatives by p, q and v.
fn objective(
    model: &GammaGamma,
    groups: &[SpendGroup],
    customers: f64,
    scale: f64,
    l2: f64,
) -> (f64, [f64; 3]) {
    let GammaGamma { p, q, v } = *model;
    let (ln_v, of_q) = (libm::log(v), digamma(q));
    let mut sum = 0.0;
    let mut slope = [0.0; 3];
    // Groups of as many orders follow each other as a rule: their gamma functions are taken once.
    let mut same = (f64::NAN, 0.0, 0.0, 0.0);
    for group in groups {
        let x = group.orders;
        if same.0 != x {
            let shape = p * x;
            same = (x, ln_beta(shape, q), digamma(shape), digamma(shape + q));
        }
        let (_, beta, of_shape, of_sum) = same;
        let n = group.weight;
        let (with_v, with_v_by_v) = group.ln_with(v);
        let shape = p * x;
        sum += -n * beta - (group.ln_total - n * libm::log(x))
            + q * (n * ln_v - with_v)
            + shape * (group.ln_total - with_v);
        slope[0] += x * (n * (of_sum - of_shape) + group.ln_total - with_v);
        slope[1] += n * (of_sum - of_q) + n * ln_v - with_v;
        slope[2] += q * n / v - (q + shape) * with_v_by_v;
    }
    let parameters = [(p, 1.0), (q, 1.0), (v, scale)];
    penalised((sum, slope), customers, parameters, l2)
}
