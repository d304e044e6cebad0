//! The fit of Pareto/NBD, in the variables ln r, ln(r/α), ln s and ln(s/β).

use super::orders::{self, Orders, Parameter};
use super::sample::{Cell, Indexed, Sample};
use super::{FitError, FitOptions, Fitted};
use crate::pareto::ParetoNbd;
use crate::special::{digamma, ln_gamma_ratio};

/// Starts: r, s, mean rate of dropping out by the longest age.
const STARTS: [[f64; 3]; 3] = [[0.5, 0.6, 2.0], [1.5, 2.0, 0.5], [0.5, 0.5, 0.1]];

/// Fits Pareto/NBD; times of the model are in the cells' unit.
///
/// # Errors
/// Where the data are too little, and where the search does not end.
pub fn fit_pareto(cells: &[Cell], options: &FitOptions) -> Result<Fitted<ParetoNbd>, FitError> {
    orders::fit(&Pareto, cells, options)
}

struct Pareto;

impl Orders for Pareto {
    type Model = ParetoNbd;
    /// The rate of dropping out is taken against the longest age.
    const BOUNDS: [(f64, f64); 4] = [(-9.0, 11.5), (-9.0, 9.0), (-7.0, 11.5), (-18.0, 14.0)];
    const LEVEL: usize = 3;
    const LIKENESS: usize = 2;

    fn starts() -> Vec<[f64; 4]> {
        let starts = STARTS.map(|[r, s, rate]| [r, s, rate].map(libm::log));
        starts.map(|[r, s, rate]| [r, 0.2, s, rate]).into()
    }

    fn at(&self, point: &[f64; 4], sample: &Sample) -> ParetoNbd {
        let [r, rate, s, dropout] = point.map(libm::exp);
        ParetoNbd {
            r,
            alpha: r / (rate * sample.rate),
            s,
            beta: s * sample.longest / dropout,
        }
    }

    fn parameters(model: &ParetoNbd, sample: &Sample) -> [Parameter; 4] {
        let ParetoNbd { r, alpha, s, beta } = *model;
        [
            ("r", r, 1.0, [1.0, 0.0, 0.0, 0.0]),
            ("alpha", alpha, sample.longest, [1.0, -1.0, 0.0, 0.0]),
            ("s", s, 1.0, [0.0, 0.0, 1.0, 0.0]),
            ("beta", beta, sample.longest, [0.0, 0.0, 1.0, -1.0]),
        ]
        .map(Parameter::from)
    }

    fn by_variables(model: &ParetoNbd, [r, alpha, s, beta]: [f64; 4]) -> [f64; 4] {
        [
            model.r * r + model.alpha * alpha,
            -model.alpha * alpha,
            model.s * s + model.beta * beta,
            -model.beta * beta,
        ]
    }

    fn ln_likelihood(model: &ParetoNbd, sample: &Sample) -> (f64, [f64; 4]) {
        let mut sum = 0.0;
        let mut slope = [0.0; 4];
        let of_r = digamma(model.r);
        for &(x, weight) in &sample.counts {
            sum += weight * ln_gamma_ratio(model.r, x);
            slope[0] += weight * (digamma(model.r + x) - of_r);
        }
        for cell in &sample.cells {
            let (value, by) = of_cell(model, sample, cell);
            sum += cell.weight * value;
            for (total, part) in slope.iter_mut().zip(by) {
                *total += cell.weight * part;
            }
        }
        (sum, slope)
    }
}

/// The log-likelihood of a cell but for what depends on its count only, and its derivatives.
fn of_cell(model: &ParetoNbd, sample: &Sample, cell: &Indexed) -> (f64, [f64; 4]) {
    let ParetoNbd { r, alpha, s, beta } = *model;
    let x = sample.counts[cell.count as usize].0;
    let (recency, age) = (
        sample.times[cell.recency as usize],
        sample.times[cell.age as usize],
    );
    let n = r + x;
    let (a, b) = (alpha + age, beta + age);
    let (ln_a, ln_b) = (libm::log1p(age / alpha), libm::log1p(age / beta));
    let alive = -r * ln_a - x * libm::log(a) - s * ln_b;
    let by_alive = [-ln_a, r / alpha - n / a, -ln_b, s / beta - s / b];
    let since = age - recency;
    if since <= 0.0 {
        return (alive, by_alive);
    }
    // What is added where the customer dropped out since: odds times as much, with the derivatives of their
    // logarithm.
    let powers = model.since_last(x, recency);
    let [integral, by_n, by_m, by_a, by_b] = powers.moments(since, |w, ln_a, ln_b| {
        [1.0, ln_a, ln_b, w / (powers.a + w), w / (powers.b + w)]
    });
    let growth = (libm::log1p(since / powers.a), libm::log1p(since / powers.b));
    let ln_odds = libm::log(s / powers.b * integral) + n * growth.0 + s * growth.1;
    let by_odds = [
        growth.0 - by_n / integral,
        n * (1.0 / a - 1.0 / powers.a) + n * (by_a / integral) / powers.a,
        1.0 / s + growth.1 - by_m / integral,
        s * (1.0 / b - 1.0 / powers.b) - 1.0 / powers.b + (s + 1.0) * (by_b / integral) / powers.b,
    ];
    let dead = 1.0 - crate::special::logistic_of_minus(ln_odds);
    (
        alive + crate::special::softplus(ln_odds),
        std::array::from_fn(|i| by_alive[i] + dead * by_odds[i]),
    )
}
