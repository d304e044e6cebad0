//! From a likelihood to a fit: starts, the search on pools and on the cells, bounds, errors.

use super::minimise::{At, Matrix, Objective, Problem, inverse_of};

/// Where a search came to.
pub(super) struct Found<const N: usize> {
    pub(super) point: [f64; N],
    /// Covariance of the variables; `None` where the optimum is flat.
    pub(super) covariance: Option<Matrix<N>>,
    /// Whether each lies at its lower or upper bound.
    pub(super) at_low: [bool; N],
    pub(super) at_high: [bool; N],
    pub(super) agreeing: usize,
    pub(super) ended: bool,
}

/// How a search is to be made.
pub(super) struct Search<'s, const N: usize> {
    /// The likelihood on all cells, and on pools of them where there are many.
    pub(super) exact: &'s Objective<'s, N>,
    pub(super) pooled: Option<&'s Objective<'s, N>>,
    pub(super) bounds: [(f64, f64); N],
    pub(super) starts: &'s [[f64; N]],
    pub(super) customers: f64,
    /// Variables that mean nothing where another lies at its lower bound: (that one, it).
    pub(super) idle: &'s [(usize, usize)],
}

/// A bound is taken when it costs no more than this in the log-likelihood of all customers.
const BOUND_COSTS: f64 = 1e-4;
/// Optima of two starts are the same when their log-likelihoods of all customers differ by less.
const SAME: f64 = 1e-3;

impl<const N: usize> Search<'_, N> {
    pub(super) fn run(&self) -> Found<N> {
        let coarse = Problem {
            function: self.pooled.unwrap_or(self.exact),
            bounds: self.bounds,
        };
        let found: Vec<(At<N>, bool)> = self
            .starts
            .iter()
            .map(|start| coarse.minimise(*start, None))
            .collect();
        let mut best = found[0];
        for other in &found[1..] {
            if other.0.value < best.0.value {
                best = *other;
            }
        }
        let agreeing = found
            .iter()
            .filter(|f| (f.0.value - best.0.value) * self.customers < SAME)
            .count();
        let exact = Problem {
            function: self.exact,
            bounds: self.bounds,
        };
        let (mut at, mut ended) = best;
        // A bound that costs nothing is where the search was going.
        if let Some(point) = self.on_bounds(&coarse, &at) {
            (at, ended) = coarse.minimise(point, None);
        }
        if self.pooled.is_some() {
            (at, ended) = exact.minimise(at.point, self.guess(&coarse, &at));
        }
        self.finish(&exact, at, ended, agreeing)
    }

    fn guess(&self, problem: &Problem<'_, N>, at: &At<N>) -> Option<Matrix<N>> {
        let free = std::array::from_fn(|i| !problem.is_held(at, i));
        inverse_of(&problem.second_derivatives(at), &free)
    }

    fn on_bounds(&self, problem: &Problem<'_, N>, at: &At<N>) -> Option<[f64; N]> {
        let mut point = at.point;
        for (i, (low, high)) in self.bounds.into_iter().enumerate() {
            let far = 0.5 * (high - low);
            for bound in [low, high] {
                // Only from near it: far from it a flat valley is no boundary.
                if (point[i] - bound).abs() > far {
                    continue;
                }
                let mut there = point;
                there[i] = bound;
                let costs = (problem.at(there).value - at.value) * self.customers;
                if costs <= BOUND_COSTS {
                    point = there;
                }
            }
        }
        (point != at.point).then_some(point)
    }

    fn finish(&self, exact: &Problem<'_, N>, at: At<N>, ended: bool, agreeing: usize) -> Found<N> {
        // Where it is flat, rounding may have moved it off the bound again.
        let near = |a: f64, b: f64| (a - b).abs() < 1e-3;
        let at_low: [bool; N] = std::array::from_fn(|i| near(at.point[i], self.bounds[i].0));
        let at_high: [bool; N] = std::array::from_fn(|i| near(at.point[i], self.bounds[i].1));
        let mut free: [bool; N] = std::array::from_fn(|i| !at_low[i] && !at_high[i]);
        for &(of, idle) in self.idle {
            if at_low[of] {
                free[idle] = false;
            }
        }
        let covariance = inverse_of(&exact.second_derivatives(&at), &free).map(|mut inverse| {
            for row in &mut inverse {
                for v in row.iter_mut() {
                    *v /= self.customers;
                }
            }
            inverse
        });
        Found {
            point: at.point,
            covariance,
            at_low,
            at_high,
            agreeing,
            ended,
        }
    }
}

/// Standard error of a function of the variables with the gradient `slope`; `None` where it has none.
pub(super) fn error_of<const N: usize>(
    covariance: Option<&Matrix<N>>,
    slope: [f64; N],
) -> Option<f64> {
    let covariance = covariance?;
    let mut variance = 0.0;
    for i in 0..N {
        // It depends on a variable that lies at a bound.
        if slope[i] != 0.0 && covariance[i][i] == 0.0 {
            return None;
        }
        for j in 0..N {
            variance += slope[i] * covariance[i][j] * slope[j];
        }
    }
    (variance > 0.0).then(|| libm::sqrt(variance))
}

/// What is minimised: the mean negative log-likelihood of a customer with the penalty, and its derivatives by the
/// parameters. Given are log-likelihood and derivatives of all customers, and each parameter with its scale.
pub(super) fn penalised<const N: usize>(
    (ln_likelihood, slope): (f64, [f64; N]),
    customers: f64,
    parameters: [(f64, f64); N],
    l2: f64,
) -> (f64, [f64; N]) {
    let mut value = -ln_likelihood / customers;
    let mut gradient = slope.map(|s| -s / customers);
    for (by, (parameter, scale)) in gradient.iter_mut().zip(parameters) {
        let ln = libm::log(parameter / scale);
        value += l2 * ln * ln;
        *by += 2.0 * l2 * ln / parameter;
    }
    (value, gradient)
}
