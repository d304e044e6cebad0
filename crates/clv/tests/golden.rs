//! Two tables that others worked out in 40 and 120 digits, outside of this repository: `expected/` of the
//! shared test data.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use clv::beta_geometric::{BetaGeometric, Variant};
use clv::gamma_gamma::GammaGamma;
use clv::history::History;
use clv::pareto::ParetoNbd;
use support::{number, numbers, off, rows, shared};

const DAYS_PER_WEEK: f64 = 7.0;

#[test]
fn a_hundred_customers_of_cdnow_are_exact_to_nine_digits() {
    let name = "a_hundred_customers_of_cdnow_are_exact_to_nine_digits";
    let Some(table) = shared(name, "expected/cdnow_sample_golden_100.csv") else {
        return;
    };
    // As published, rounded (Fader, Hardie and Lee 2005; Fader and Hardie 2013): in weeks and dollars.
    let bg = BetaGeometric {
        variant: Variant::Bg,
        r: 0.243,
        alpha: 4.414,
        a: 0.793,
        b: 2.426,
    };
    let pareto = ParetoNbd {
        r: 0.553,
        alpha: 10.578,
        s: 0.606,
        beta: 11.669,
    };
    let spend = GammaGamma {
        p: 6.25,
        q: 3.74,
        v: 15.44,
    };
    let mut checked = 0;
    for row in rows(&table) {
        let x: u32 = row["x"].parse().expect("a whole number");
        let history = History::new(
            x,
            number(row["t_x_days"]) / DAYS_PER_WEEK,
            number(row["T_days"]) / DAYS_PER_WEEK,
        );
        let orders = f64::from(x);
        // The table's totals are of cents, its means of ten decimals.
        let total = (orders * number(row["zbar"]) * 100.0).round() / 100.0;
        let mean_spend = spend.expected_spend(orders, total);
        let within = |weeks: f64| bg.expected_orders(&history, weeks);
        let year = mean_spend * clv::value::by_periods(within, 4.345, 12, 0.01);
        for (column, found) in [
            ("bg_p_alive", bg.p_alive(&history)),
            ("bg_exp_39w", bg.expected_orders(&history, 39.0)),
            ("gg_exp_avg", mean_spend),
            ("clv_12m_1pct_weekfactor4.345", year),
            ("pn_p_alive", pareto.p_alive(&history)),
            ("pn_exp_39w", pareto.expected_orders(&history, 39.0)),
            ("bg_loglik", bg.ln_likelihood(&history)),
        ] {
            let expected = number(row[column]);
            assert!(
                off(found, expected) < 1e-9,
                "customer {}: {column} is {found}, expected {expected}",
                row["id"]
            );
            checked += 1;
        }
    }
    assert_eq!(checked, 700);
}

#[test]
fn extreme_histories_are_exact_to_eight_digits() {
    let name = "extreme_histories_are_exact_to_eight_digits";
    let Some(table) = shared(name, "expected/clv_model_edges.csv") else {
        return;
    };
    let mut checked = 0;
    for row in rows(&table) {
        let history = History::new(
            row["x"].parse().expect("a whole number"),
            number(row["t_x"]),
            number(row["T"]),
        );
        let time = number(row["t"]);
        let [first, second, third, fourth] = numbers(row["params"]);
        let found = if row["model"] == "paretonbd" {
            let model = ParetoNbd {
                r: first,
                alpha: second,
                s: third,
                beta: fourth,
            };
            [
                model.p_alive(&history),
                model.expected_orders(&history, time),
                model.ln_likelihood(&history),
            ]
        } else {
            let variant = match row["model"] {
                "bgnbd" => Variant::Bg,
                "mbgnbd" => Variant::Mbg,
                other => panic!("no model {other}"),
            };
            let model = BetaGeometric {
                variant,
                r: first,
                alpha: second,
                a: third,
                b: fourth,
            };
            [
                model.p_alive(&history),
                model.expected_orders(&history, time),
                model.ln_likelihood(&history),
            ]
        };
        for (column, found) in ["p_alive", "exp_purchases", "loglik"]
            .into_iter()
            .zip(found)
        {
            if row[column].is_empty() {
                continue;
            }
            let expected = number(row[column]);
            assert!(off(found, expected) < 1e-8, "{row:?}: {column} is {found}");
            checked += 1;
        }
    }
    assert!(checked > 250, "only {checked} values");
}
