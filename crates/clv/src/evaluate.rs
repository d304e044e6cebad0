//! How good predictions were, held against what came: totals, errors, ranking, lift and calibration.
//!
//! Predictions may be of orders or of money, of a model or of the formula: functions of two slices,
//! customer by customer. Customers with the same prediction share what they came to evenly in everything
//! that ranks, so that their order in the input makes no difference.

/// How good predictions were.
#[derive(Clone, PartialEq, Debug)]
pub struct Evaluation {
    /// Customers.
    pub customers: usize,
    /// Sum of the predictions.
    pub predicted: f64,
    /// Sum of what came.
    pub actual: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Pearson's correlation; `None` where either does not vary.
    pub correlation: Option<f64>,
    /// Gini coefficient of what came, ranked by the predictions, over that of a perfect ranking: 1 is perfect, 0
    /// chance. `None` where what came does not vary.
    pub gini: Option<f64>,
    /// Tenths of the customers from the highest predictions to the lowest.
    pub deciles: [Decile; 10],
}

impl Evaluation {
    /// Predicted over actual total; `None` where nothing came.
    #[must_use]
    pub fn total_ratio(&self) -> Option<f64> {
        (self.actual != 0.0).then(|| self.predicted / self.actual)
    }
}

/// A tenth of the customers.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Decile {
    /// Customers; tenths differ by one at most.
    pub customers: usize,
    /// Mean prediction.
    pub predicted: f64,
    /// Mean of what came.
    pub actual: f64,
    /// That over the mean of all customers; 0 where nothing came.
    pub lift: f64,
}

/// Holds predictions against what came; `None` where there is nobody, or as many of one as of the other.
#[must_use]
pub fn evaluate(predicted: &[f64], actual: &[f64]) -> Option<Evaluation> {
    if predicted.is_empty() || predicted.len() != actual.len() {
        return None;
    }
    let customers = predicted.len();
    let n = customers as f64;
    let errors = || predicted.iter().zip(actual).map(|(p, a)| p - a);
    let (ranked, shared) = by_prediction(predicted, actual);
    let mean = actual.iter().sum::<f64>() / n;
    let mut perfect = actual.to_vec();
    perfect.sort_by(|a, b| b.total_cmp(a));
    let (found, best) = (concentration(&shared), concentration(&perfect));
    Some(Evaluation {
        customers,
        predicted: predicted.iter().sum(),
        actual: actual.iter().sum(),
        mae: errors().map(f64::abs).sum::<f64>() / n,
        rmse: libm::sqrt(errors().map(|e| e * e).sum::<f64>() / n),
        correlation: correlation(predicted, actual),
        gini: (best > 0.0).then(|| found / best),
        deciles: std::array::from_fn(|tenth| {
            let (from, to) = (customers * tenth / 10, customers * (tenth + 1) / 10);
            if from == to {
                return Decile::default();
            }
            let of = |values: &[f64]| values[from..to].iter().sum::<f64>() / (to - from) as f64;
            let actual = of(&shared);
            Decile {
                customers: to - from,
                predicted: of(&ranked),
                actual,
                lift: if mean == 0.0 { 0.0 } else { actual / mean },
            }
        }),
    })
}

/// Predictions from the highest down and what came of them, evenly where predictions are the same.
fn by_prediction(predicted: &[f64], actual: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut pairs: Vec<(f64, f64)> = predicted
        .iter()
        .copied()
        .zip(actual.iter().copied())
        .collect();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
    let mut shared = Vec::with_capacity(pairs.len());
    for same in pairs.chunk_by(|a, b| a.0 == b.0) {
        let mean = same.iter().map(|p| p.1).sum::<f64>() / same.len() as f64;
        shared.resize(shared.len() + same.len(), mean);
    }
    (pairs.into_iter().map(|p| p.0).collect(), shared)
}

/// Area between the curve of cumulative shares, from the first down, and the diagonal; 0 where nothing came.
fn concentration(ranked: &[f64]) -> f64 {
    let total: f64 = ranked.iter().sum();
    if total == 0.0 {
        return 0.0;
    }
    let n = ranked.len() as f64;
    let mut so_far = 0.0;
    let mut area = 0.0;
    for value in ranked {
        so_far += value;
        area += so_far / total;
    }
    // Both curves end at 1; rounding alone must not make a ranking of equals.
    let between = area / n - (n + 1.0) / (2.0 * n);
    if between.abs() < 1e-12 { 0.0 } else { between }
}

fn correlation(one: &[f64], other: &[f64]) -> Option<f64> {
    let n = one.len() as f64;
    let mean = |of: &[f64]| of.iter().sum::<f64>() / n;
    let (of_one, of_other) = (mean(one), mean(other));
    let mut sums = [0.0; 3];
    for (a, b) in one.iter().zip(other) {
        let (a, b) = (a - of_one, b - of_other);
        sums[0] += a * b;
        sums[1] += a * a;
        sums[2] += b * b;
    }
    let spread = libm::sqrt(sums[1]) * libm::sqrt(sums[2]);
    (spread > 0.0).then(|| sums[0] / spread)
}

/// Customers with one number of repeat orders, and what was predicted and came of them in the mean.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct OfFrequency {
    /// Repeat orders until the holdout began.
    pub repeats: u32,
    /// Whether those with more are counted here too.
    pub and_more: bool,
    /// Customers.
    pub customers: usize,
    /// Mean prediction.
    pub predicted: f64,
    /// Mean of what came.
    pub actual: f64,
}

/// Means by frequency (conditional expectations), those with `most` repeat orders or more together.
///
/// Whoever has no partner in one of the slices is left out.
#[must_use]
pub fn by_frequency(
    repeats: &[u32],
    predicted: &[f64],
    actual: &[f64],
    most: u32,
) -> Vec<OfFrequency> {
    let mut sums = vec![(0_usize, 0.0, 0.0); most as usize + 1];
    for ((&x, p), a) in repeats.iter().zip(predicted).zip(actual) {
        let of = &mut sums[x.min(most) as usize];
        of.0 += 1;
        of.1 += p;
        of.2 += a;
    }
    (0..)
        .zip(sums)
        .filter(|(_, (customers, ..))| *customers > 0)
        .map(|(repeats, (customers, predicted, actual))| OfFrequency {
            repeats,
            and_more: repeats == most,
            customers,
            predicted: predicted / customers as f64,
            actual: actual / customers as f64,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_prediction_is_perfect() {
        let actual = [5.0, 0.0, 3.0, 9.0, 0.0, 1.0, 2.0, 2.0, 4.0, 7.0];
        let found = evaluate(&actual, &actual).expect("has customers");
        assert_eq!((found.mae, found.rmse), (0.0, 0.0));
        assert!((found.correlation.expect("varies") - 1.0).abs() < 1e-15);
        assert_eq!(found.gini, Some(1.0));
        assert_eq!(found.total_ratio(), Some(1.0));
        let lifts: Vec<f64> = found.deciles.iter().map(|d| d.lift * 3.3).collect();
        for (found, expected) in lifts
            .iter()
            .zip([9.0, 7.0, 5.0, 4.0, 3.0, 2.0, 2.0, 1.0, 0.0, 0.0])
        {
            assert!((found - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn known_errors_and_ginis() {
        for (predicted, actual, mae, rmse, gini) in [
            // By hand: of four, shares from the top 3/6, 5/6, 6/6, 6/6.
            (
                &[4.0, 3.0, 2.0, 1.0][..],
                &[3.0, 2.0, 1.0, 0.0][..],
                1.0,
                1.0,
                Some(1.0),
            ),
            (
                &[1.0, 2.0, 3.0, 4.0],
                &[3.0, 2.0, 1.0, 0.0],
                2.0,
                2.449_489_742_783_178,
                Some(-1.0),
            ),
            // All the same rank nobody.
            (
                &[1.5; 4],
                &[3.0, 2.0, 1.0, 0.0],
                1.0,
                1.118_033_988_749_895,
                Some(0.0),
            ),
            // The first two are a tie: 2.5 each. Area 5/12 + 10/12 + 1 + 1 over 4, less 5/8; of a perfect one 1/2 + 5/6 + 2.
            (
                &[4.0, 4.0, 2.0, 1.0],
                &[2.0, 3.0, 1.0, 0.0],
                1.25,
                1.322_875_655_532_295,
                Some(0.9),
            ),
            (&[1.0, 2.0], &[0.0, 0.0], 1.5, 1.581_138_830_084_19, None),
        ] {
            let found = evaluate(predicted, actual).expect("has customers");
            assert!((found.mae - mae).abs() < 1e-12, "{found:?}");
            assert!((found.rmse - rmse).abs() < 1e-12, "{found:?}");
            match (found.gini, gini) {
                (Some(found), Some(expected)) => {
                    assert!((found - expected).abs() < 1e-12, "{found}")
                }
                (found, expected) => assert_eq!(found, expected),
            }
        }
        assert_eq!(evaluate(&[], &[]), None);
        assert_eq!(evaluate(&[1.0], &[]), None);
    }

    #[test]
    fn the_order_of_customers_makes_no_difference() {
        let predicted = [1.0, 1.0, 2.0, 2.0, 2.0, 0.0, 1.0];
        let actual = [5.0, 0.0, 1.0, 7.0, 0.0, 0.0, 2.0];
        let reversed = |of: &[f64]| of.iter().rev().copied().collect::<Vec<_>>();
        let one = evaluate(&predicted, &actual).expect("has customers");
        let other = evaluate(&reversed(&predicted), &reversed(&actual)).expect("has customers");
        assert_eq!(one.gini, other.gini);
        assert_eq!(one.deciles, other.deciles);
    }

    #[test]
    fn frequencies_from_most_on_are_taken_together() {
        let found = by_frequency(
            &[0, 0, 2, 5, 9],
            &[1.0, 2.0, 3.0, 4.0, 6.0],
            &[0.0, 4.0, 1.0, 2.0, 8.0],
            3,
        );
        let row = |repeats, and_more, customers, predicted, actual| OfFrequency {
            repeats,
            and_more,
            customers,
            predicted,
            actual,
        };
        assert_eq!(
            found,
            [
                row(0, false, 2, 1.5, 2.0),
                row(2, false, 1, 3.0, 1.0),
                row(3, true, 2, 5.0, 5.0)
            ]
        );
    }
}
