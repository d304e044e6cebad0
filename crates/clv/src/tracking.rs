//! Tracking: how many repeat orders a cohort is expected to have placed by a day, from each customer's first
//! order on and with nothing else known of them.
//!
//! Held against what came, week by week, this shows whether a model follows the course of a cohort and not only
//! its total, as Fader, Hardie and Lee (2005) do. Days and counts in, orders out: who the customers are is
//! not known here.

use domain::time::Day;

use crate::history::History;
use crate::model::OrderModel;

/// Repeat orders to expect until the end of each of `days`, in all, of so many customers by the day of their first
/// order. The parameters of the model are in days.
///
/// It is the sum of unconditional expectations, E[X(t)] of a customer who has just placed a first order: one
/// for each number of days that occurs, whatever the number of customers.
#[must_use]
pub fn expected_until(model: &OrderModel, firsts: &[(Day, u32)], days: &[Day]) -> Vec<f64> {
    let since = |first: Day, day: Day| usize::try_from(day.0.saturating_sub(first.0)).unwrap_or(0);
    let longest = firsts
        .iter()
        .flat_map(|(first, _)| days.iter().map(|day| since(*first, *day)));
    let new = History::new(0, 0.0, 0.0);
    let after: Vec<f64> = (0..=longest.max().unwrap_or(0))
        .map(|t| model.expected_orders(&new, t as f64))
        .collect();
    let until = |day: &Day| {
        let of =
            |(first, customers): &(Day, u32)| f64::from(*customers) * after[since(*first, *day)];
        firsts.iter().map(of).sum()
    };
    days.iter().map(until).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beta_geometric::{BetaGeometric, Variant};
    use crate::pareto::ParetoNbd;

    /// What the sample of CDNOW is fitted by, in days.
    fn models() -> [OrderModel; 3] {
        let beta_geometric = |variant, r, alpha: f64, a, b| {
            OrderModel::BetaGeometric(BetaGeometric {
                variant,
                r,
                alpha: alpha * 7.0,
                a,
                b,
            })
        };
        [
            beta_geometric(Variant::Bg, 0.24259, 4.41360, 0.79292, 2.42591),
            beta_geometric(Variant::Mbg, 0.52484, 6.18309, 0.89136, 1.61400),
            OrderModel::Pareto(ParetoNbd {
                r: 0.55328,
                alpha: 10.57768 * 7.0,
                s: 0.60624,
                beta: 11.66874 * 7.0,
            }),
        ]
    }

    #[test]
    fn every_customer_counts_from_the_first_order_on() {
        for model in models() {
            let one = |t: f64| model.expected_orders(&History::new(0, 0.0, 0.0), t);
            let found = expected_until(
                &model,
                &[(Day(10), 2), (Day(40), 3)],
                &[Day(5), Day(10), Day(40), Day(80)],
            );
            let expected = [0.0, 0.0, 2.0 * one(30.0), 2.0 * one(70.0) + 3.0 * one(40.0)];
            for (found, expected) in found.into_iter().zip(expected) {
                assert!(
                    (found - expected).abs() <= 1e-12 * expected,
                    "{found}, not {expected}"
                );
            }
            assert_eq!(expected_until(&model, &[], &[Day(1)]), [0.0]);
            assert_eq!(expected_until(&model, &[(Day(1), 1)], &[]), []);
        }
    }

    /// The textbook's closed forms (BG/NBD: Fader, Hardie and Lee 2005; Pareto/NBD: Schmittlein et al. 1987), which are good enough at a year: BG/NBD by the series of ₂F₁, with z = t/(α + t).
    #[test]
    fn a_year_of_a_new_customer_is_that_of_the_closed_forms() {
        let [bg, _, pareto] = models();
        let (r, alpha, a, b) = (0.24259, 4.41360, 0.79292, 2.42591);
        let t = 52.0;
        let z = t / (alpha + t);
        let (mut term, mut sum) = (1.0, 1.0);
        for n in 0..20_000 {
            let n = f64::from(n);
            term *= (r + n) * (b + n) / ((a + b - 1.0 + n) * (n + 1.0)) * z;
            sum += term;
        }
        let of_bg = (a + b - 1.0) / (a - 1.0) * (1.0 - libm::pow(alpha / (alpha + t), r) * sum);
        let (r, alpha, s, beta) = (0.55328, 10.57768, 0.60624, 11.66874);
        let of_pareto =
            r * beta / (alpha * (s - 1.0)) * (1.0 - libm::pow(beta / (beta + t), s - 1.0));
        for (model, expected) in [(bg, of_bg), (pareto, of_pareto)] {
            let found = expected_until(&model, &[(Day(0), 1)], &[Day(364)])[0];
            assert!(
                (found / expected - 1.0).abs() < 1e-9,
                "{found}, not {expected}"
            );
        }
    }
}
