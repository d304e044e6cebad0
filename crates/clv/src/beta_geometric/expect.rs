//! Orders to expect of BG/NBD and MBG/NBD, plain and discounted.

use super::{BetaGeometric, Dropout};
use crate::history::History;
use crate::special::GAUSS;

/// Step of the trapezoidal rule in the logarithm of time, for a horizon without end.
const STEP: f64 = 0.22;
/// More than any parameters in range take.
const MOST_STEPS: u32 = 20_000;

impl BetaGeometric {
    /// Orders to expect within `time` from now.
    #[must_use]
    pub fn expected_orders(&self, history: &History, time: f64) -> f64 {
        self.p_alive(history) * self.orders_if_alive(history, time)
    }

    /// The same, each discounted continuously at rate `discount` per unit of time.
    #[must_use]
    pub fn discounted_orders(&self, history: &History, time: f64, discount: f64) -> f64 {
        self.p_alive(history) * self.discounted_if_alive(history, time, discount)
    }

    /// All orders to come, discounted: DERT, for discount > 0. Without a discount it is infinite where
    /// a ≤ 1.
    #[must_use]
    pub fn discounted_lifetime_orders(&self, history: &History, discount: f64) -> f64 {
        self.discounted_orders(history, f64::INFINITY, discount)
    }

    pub(crate) fn orders_if_alive(&self, history: &History, time: f64) -> f64 {
        self.dropout(history.x())
            .moments(time / (self.alpha + history.age()))
            .mean
    }

    pub(crate) fn discounted_if_alive(&self, history: &History, time: f64, discount: f64) -> f64 {
        let unit = self.alpha + history.age();
        let dropout = self.dropout(history.x());
        if time < f64::INFINITY {
            let mean = |z: f64| dropout.moments(z).mean;
            discounted_within(mean, time / unit, discount * unit)
        } else if discount > 0.0 {
            discounted_without_end(&dropout, discount * unit)
        } else {
            dropout.mean_of_inverse()
        }
    }
}

/// `e^(−δz)·G(z) + δ∫₀^z e^(−δu) G(u) du`, which is ∫₀^z e^(−δu) dG(u), in units of α + T.
///
/// By Gauss and Legendre's rule in ln(1+u), on as many panels as it takes: G is analytic up to π beside
/// the axis there.
pub(crate) fn discounted_within(mean: impl Fn(f64) -> f64, z: f64, discount: f64) -> f64 {
    if z <= 0.0 {
        return 0.0;
    }
    if discount <= 0.0 {
        return mean(z);
    }
    let end = libm::log1p(z);
    let mut sum = libm::exp(-discount * z) * mean(z);
    let mut from = 0.0;
    for _ in 0..MOST_STEPS {
        if from >= end {
            break;
        }
        // Of the exponent at most 8 a panel, and at most 2 of the logarithm.
        let rise = discount * libm::exp(from);
        let to = end.min(from + libm::log1p(8.0 / rise).min(2.0));
        let mut panel = 0.0;
        for (node, weight) in GAUSS {
            let y = from + (to - from) * node;
            let u = libm::expm1(y);
            panel += weight * libm::exp(y - discount * u) * mean(u);
        }
        let part = discount * panel * (to - from);
        sum += part;
        if part <= sum * 1e-17 {
            break;
        }
        from = to;
    }
    sum
}

/// `δ∫₀^∞ e^(−δu) G(u) du`, by the trapezoidal rule in ln u.
fn discounted_without_end(dropout: &Dropout, discount: f64) -> f64 {
    let term = |v: f64| {
        let u = libm::exp(v);
        discount * libm::exp(v - discount * u) * dropout.moments(u).mean
    };
    let centre = -libm::log(discount);
    let mut sum = term(centre);
    for direction in [STEP, -STEP] {
        let mut v = centre + direction;
        for _ in 0..MOST_STEPS {
            let t = term(v);
            sum += t;
            if t <= sum * 1e-15 {
                break;
            }
            v += direction;
        }
    }
    sum * STEP
}
