//! The fit of BG/NBD and MBG/NBD.
//!
//! In the variables ln r, ln(r/α), ln(a/b) and ln(a+b): mean rate and mean chance apart from how far customers
//! differ, so that each limit is one variable's. Elementary functions are taken once per distinct time, gamma
//! functions once per distinct count; what is left per cell is one exponential and one logarithm.

use super::orders::{self, Orders, Parameter};
use super::sample::{Cell, Sample};
use super::{FitError, FitOptions, Fitted};
use crate::beta_geometric::{BetaGeometric, Variant};
use crate::special::{digamma, ln_gamma_ratio};

/// Starts: r, mean chance of dropping out as odds, a + b.
const STARTS: [[f64; 3]; 4] = [
    [0.4, 0.4, 2.5],
    [1.5, 0.1, 2.0],
    [0.3, 0.02, 1.0],
    [3.0, 1.0, 20.0],
];

/// Fits BG/NBD or MBG/NBD; times of the model are in the cells' unit.
///
/// # Errors
/// Where the data are too little, and where the search does not end.
pub fn fit_beta_geometric(
    variant: Variant,
    cells: &[Cell],
    options: &FitOptions,
) -> Result<Fitted<BetaGeometric>, FitError> {
    orders::fit(&variant, cells, options)
}

impl Orders for Variant {
    type Model = BetaGeometric;
    const BOUNDS: [(f64, f64); 4] = [(-9.0, 11.5), (-9.0, 9.0), (-18.0, 14.0), (-7.0, 11.5)];
    const LEVEL: usize = 2;
    const LIKENESS: usize = 3;

    fn starts() -> Vec<[f64; 4]> {
        let starts = STARTS.map(|[r, odds, sum]| [r, odds, sum].map(libm::log));
        starts.map(|[r, odds, sum]| [r, 0.2, odds, sum]).into()
    }

    fn at(&self, point: &[f64; 4], sample: &Sample) -> BetaGeometric {
        let [r, mean, odds, sum] = point.map(libm::exp);
        BetaGeometric {
            variant: *self,
            r,
            alpha: r / (mean * sample.rate),
            a: sum * odds / (1.0 + odds),
            b: sum / (1.0 + odds),
        }
    }

    fn parameters(model: &BetaGeometric, sample: &Sample) -> [Parameter; 4] {
        let BetaGeometric { r, alpha, a, b, .. } = *model;
        let odds = a / b;
        [
            ("r", r, 1.0, [1.0, 0.0, 0.0, 0.0]),
            ("alpha", alpha, sample.longest, [1.0, -1.0, 0.0, 0.0]),
            ("a", a, 1.0, [0.0, 0.0, 1.0 / (1.0 + odds), 1.0]),
            ("b", b, 1.0, [0.0, 0.0, -odds / (1.0 + odds), 1.0]),
        ]
        .map(Parameter::from)
    }

    fn by_variables(model: &BetaGeometric, [r, alpha, a, b]: [f64; 4]) -> [f64; 4] {
        let BetaGeometric {
            a: at_a, b: at_b, ..
        } = *model;
        let product = at_a * at_b / (at_a + at_b);
        [
            model.r * r + model.alpha * alpha,
            -model.alpha * alpha,
            product * (a - b),
            at_a * a + at_b * b,
        ]
    }

    fn ln_likelihood(model: &BetaGeometric, sample: &Sample) -> (f64, [f64; 4]) {
        of_cells(model, sample)
    }
}

/// See [`Orders::ln_likelihood`].
fn of_cells(model: &BetaGeometric, sample: &Sample) -> (f64, [f64; 4]) {
    let (of_counts, mut slope, logs) = counts(model, sample);
    let mut sum = of_counts;
    let BetaGeometric { r, alpha, a, .. } = *model;
    // By distinct time: ln(α + time), and 1/(α + time).
    let times: Vec<(f64, f64)> = sample
        .times
        .iter()
        .map(|t| (libm::log(alpha + t), 1.0 / (alpha + t)))
        .collect();
    let ln_alpha = libm::log(alpha);
    for cell in &sample.cells {
        let (x, ln_odds, stayed) = logs[cell.count as usize];
        let (ln_age, per_age) = times[cell.age as usize];
        let (ln_recency, per_recency) = times[cell.recency as usize];
        let n = r + x;
        let since = ln_age - ln_recency;
        let odds = libm::exp(ln_odds + n * since);
        let dead = if odds < f64::INFINITY {
            odds / (1.0 + odds)
        } else {
            1.0
        };
        let either = if odds < f64::INFINITY {
            libm::log1p(odds)
        } else {
            ln_odds + n * since
        };
        sum += cell.weight * (r * (ln_alpha - ln_age) - x * ln_age + either);
        slope[0] += cell.weight * (ln_alpha - ln_age + dead * since);
        slope[1] += cell.weight * (r / alpha - n * per_age + dead * n * (per_age - per_recency));
        slope[2] += cell.weight * dead / a;
        slope[3] -= cell.weight * dead / stayed;
    }
    (sum, slope)
}

/// By distinct count: x, ln of the odds against staying after the last order, b + x (or − 1).
type OfCount = (f64, f64, f64);

/// What depends on counts only: the sum of their part of the log-likelihood, its derivatives, and what cells
/// need of them.
fn counts(model: &BetaGeometric, sample: &Sample) -> (f64, [f64; 4], Vec<OfCount>) {
    let BetaGeometric {
        variant, r, a, b, ..
    } = *model;
    let mut sum = 0.0;
    let mut slope = [0.0; 4];
    let (of_r, of_b, of_ab) = (digamma(r), digamma(b), digamma(a + b));
    let mut logs = Vec::with_capacity(sample.counts.len());
    for &(x, weight) in &sample.counts {
        let times = match variant {
            Variant::Bg => x,
            Variant::Mbg => x + 1.0,
        };
        sum += weight
            * (ln_gamma_ratio(r, x) + ln_gamma_ratio(b, times) - ln_gamma_ratio(a + b, times));
        slope[0] += weight * (digamma(r + x) - of_r);
        let end = digamma(a + b + times);
        slope[2] += weight * (of_ab - end);
        slope[3] += weight * (of_ab - end + digamma(b + times) - of_b);
        let stayed = b + times - 1.0;
        // Of BG/NBD, nobody is gone before the first repeat order.
        let ln_odds = if times > 0.0 {
            libm::log(a / stayed)
        } else {
            f64::NEG_INFINITY
        };
        logs.push((x, ln_odds, stayed.max(b)));
    }
    (sum, slope, logs)
}
