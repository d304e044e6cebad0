//! Value so far and by formula (R01, R03, R04, R05), from an order book's statistics.

use crate::change::{Formula, Historic, ValueStatus};
use crate::definitions::Definitions;
use crate::money::Minor;
use crate::orders::OrderStats;
use crate::time::DAY_MS;

/// Days in a year, leap years evened out.
const DAYS_PER_YEAR: f64 = 365.25;
/// Observed lifetime from which on a customer's own frequency counts. Two orders a minute apart are
/// no half a million orders a year.
const OWN_FREQUENCY_FROM_MS: i64 = 28 * DAY_MS;

/// What was earned so far: gross − discounts − refunds − cancellations, with tax and shipping where
/// the definitions count them as revenue.
#[must_use]
pub fn historic(stats: &OrderStats, definitions: &Definitions) -> Historic {
    let mut net = stats.net();
    if definitions.include_tax {
        net += stats.tax;
    }
    if definitions.include_shipping {
        net += stats.shipping;
    }
    let costs = |each: Minor, count: u32| Minor(each.0.saturating_mul(i64::from(count)));
    let cost_to_serve = costs(definitions.cost_per_order, stats.orders)
        + costs(definitions.cost_per_refund, stats.refund_count);
    Historic {
        gross: stats.gross,
        discounts: stats.discounts,
        refunds: stats.refunds,
        cancelled: stats.cancelled,
        net,
        cost_to_serve,
        margin: stats.cogs.map(|cogs| net - cogs - cost_to_serve),
    }
}

/// Average order value × orders per year × lifetime in years (R03).
///
/// With the observed lifetime of a customer with several orders this is what the orders that count
/// came to in all, which is the check in the tests: frequency is orders per year of observed
/// lifetime, so the years cancel. The prospective value takes the configured lifetime instead,
/// never less than the customer's own; once the relation has ended (R04) there is nothing to expect,
/// and it is what the orders that count came to. One order, or several within less than four weeks, has no
/// frequency of its own: the population's stands in, and the result says so.
#[must_use]
pub fn formula(
    stats: &OrderStats,
    status: ValueStatus,
    definitions: &Definitions,
) -> Option<Formula> {
    let (first, last) = (stats.first?, stats.last?);
    let kept = stats.gross - stats.cancelled;
    let orders = f64::from(stats.orders);
    let average = kept.0 as f64 / orders;
    let observed_years = last.since(first) as f64 / (DAY_MS as f64 * DAYS_PER_YEAR);
    let frequency_is_own = stats.orders >= 2 && last.since(first) >= OWN_FREQUENCY_FROM_MS;
    let orders_per_year = if frequency_is_own {
        orders / observed_years
    } else {
        definitions.population_orders_per_year
    };
    let (expected_years, prospective) = match status {
        ValueStatus::Final => (observed_years, kept),
        ValueStatus::Interim => {
            let years = definitions.expected_lifetime_years.max(observed_years);
            (years, round(average * orders_per_year * years))
        }
    };
    Some(Formula {
        average_order_value: round(average),
        orders_per_year,
        observed_years,
        expected_years,
        prospective,
        frequency_is_own,
    })
}

/// To the nearest minor unit, half to even; beyond the range of amounts, to its end.
fn round(amount: f64) -> Minor {
    Minor(amount.round_ties_even() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;
    use crate::time::TimeMs;

    fn definitions() -> Definitions {
        Definitions::preset(Currency {
            code: *b"USD",
            decimals: 2,
        })
    }

    fn stats(orders: u32, gross: i64, days: i64) -> OrderStats {
        OrderStats {
            orders,
            gross: Minor(gross),
            first: Some(TimeMs(0)),
            last: Some(TimeMs(days * DAY_MS)),
            ..OrderStats::default()
        }
    }

    #[test]
    fn r03_with_the_observed_lifetime_the_formula_is_the_gross_of_repeaters() {
        for (orders, gross, days) in [(2, 5906, 28), (3, 7402, 213), (40, 123_456_789, 700)] {
            let formula = formula(
                &stats(orders, gross, days),
                ValueStatus::Interim,
                &definitions(),
            )
            .expect("has orders");
            assert!(formula.frequency_is_own);
            let observed = formula.average_order_value.0 as f64
                * formula.orders_per_year
                * formula.observed_years;
            // The average is rounded to a minor unit, which every order may carry half of.
            assert!((observed - gross as f64).abs() <= f64::from(orders) / 2.0 + 1e-6);
        }
    }

    #[test]
    fn r03_one_order_takes_the_population_s_frequency_and_says_so() {
        let formula = formula(&stats(1, 10_000, 0), ValueStatus::Interim, &definitions())
            .expect("has an order");
        assert!(!formula.frequency_is_own);
        assert_eq!(formula.prospective, Minor(45_000)); // 100.00 × 1.5 a year × 3 years
    }

    #[test]
    fn r03_orders_minutes_apart_make_no_frequency() {
        let mut hasty = stats(2, 20_000, 0);
        hasty.last = Some(TimeMs(60_000));
        let formula = formula(&hasty, ValueStatus::Interim, &definitions()).expect("has orders");
        assert!(!formula.frequency_is_own);
        assert_eq!(formula.prospective, Minor(45_000));
    }

    #[test]
    fn r03_a_longer_observed_lifetime_wins_over_the_expected_one() {
        let formula = formula(
            &stats(5, 50_000, 3653),
            ValueStatus::Interim,
            &definitions(),
        )
        .expect("has orders");
        assert!(formula.expected_years > 10.0);
        assert_eq!(formula.prospective, Minor(50_000));
    }

    #[test]
    fn r04_once_the_relation_has_ended_nothing_more_is_expected() {
        let ended = formula(&stats(5, 50_000, 100), ValueStatus::Final, &definitions());
        let ended = ended.expect("has orders");
        assert_eq!(ended.prospective, Minor(50_000));
        assert!(ended.expected_years < 1.0);
    }

    #[test]
    fn no_order_that_counts_has_no_formula() {
        assert_eq!(
            formula(&OrderStats::default(), ValueStatus::Interim, &definitions()),
            None
        );
    }

    #[test]
    fn r05_margin_is_absent_until_a_cost_is_known() {
        let mut with_cost = stats(2, 10_000, 10);
        with_cost.refunds = Minor(1_000);
        assert_eq!(historic(&with_cost, &definitions()).margin, None);
        with_cost.cogs = Some(Minor(4_000));
        let historic = historic(&with_cost, &definitions());
        assert_eq!(historic.net, Minor(9_000));
        assert_eq!(historic.margin, Some(Minor(5_000)));
    }

    #[test]
    fn r05_orders_and_refunds_cost_to_serve() {
        let definitions = Definitions {
            cost_per_order: Minor(350),
            cost_per_refund: Minor(600),
            ..definitions()
        };
        let served = OrderStats {
            refunds: Minor(1_000),
            refund_count: 1,
            cogs: Some(Minor(4_000)),
            ..stats(2, 10_000, 10)
        };
        let historic = historic(&served, &definitions);
        assert_eq!(historic.net, Minor(9_000));
        assert_eq!(historic.cost_to_serve, Minor(1_300));
        assert_eq!(historic.margin, Some(Minor(3_700)));
    }
}
