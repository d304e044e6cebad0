//! Special functions and models against values of high-precision arithmetic (`tests/data/clv/make.py`), over
//! all histories and parameters that it has.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;

use clv::beta_geometric::{BetaGeometric, Variant};
use clv::history::History;
use clv::pareto::ParetoNbd;
use clv::special;
use support::{number, numbers, off, root, rows, text};

#[test]
fn special_functions_are_exact_to_twelve_digits() {
    let table = text(&root().join("tests/data/clv/special.csv"));
    let mut worst = (0.0, String::new());
    let mut checked = 0;
    for row in rows(&table) {
        let arg = |name: &str| number(row[name]);
        let found = match row["function"] {
            "ln_gamma" => special::ln_gamma(arg("first")),
            "digamma" => special::digamma(arg("first")),
            "trigamma" => special::trigamma(arg("first")),
            "ln_gamma_ratio" => special::ln_gamma_ratio(arg("first"), arg("second")),
            "ln_beta" => special::ln_beta(arg("first"), arg("second")),
            "scaled_expint" => special::scaled_expint(arg("first"), arg("second")),
            "normal_quantile" => special::normal_quantile(arg("first")),
            other => panic!("no function {other}"),
        };
        let expected = arg("value");
        // Near a zero of a function digits of the value are digits of its argument.
        let error = off(found, expected).min((found - expected).abs() * 10.0);
        checked += 1;
        if error > 1e-12 {
            println!("{row:?}: {found:e}, off by {error:e}");
        }
        if error > worst.0 {
            worst = (error, format!("{row:?}: {found:e}"));
        }
    }
    println!("{checked} values, worst {:e} at {}", worst.0, worst.1);
    assert!(checked > 300, "only {checked} values");
    assert!(worst.0 < 1e-12, "off by {:e}: {}", worst.0, worst.1);
}

fn found(row: &BTreeMap<&str, &str>) -> f64 {
    let history = History::new(
        row["x"].parse().expect("a whole number"),
        number(row["t_x"]),
        number(row["T"]),
    );
    let time = || number(row["t"]);
    let discount = || number(row["discount"]);
    if row["model"] == "pareto" {
        let [r, alpha, s, beta] = numbers(row["params"]);
        let model = ParetoNbd { r, alpha, s, beta };
        return match row["what"] {
            "ln_likelihood" => model.ln_likelihood(&history),
            "p_alive" => model.p_alive(&history),
            "expected_orders" => model.expected_orders(&history, time()),
            "p_order_within" => model.p_order_within(&history, time()),
            "discounted_orders" => model.discounted_orders(&history, time(), discount()),
            other => panic!("no quantity {other}"),
        };
    }
    let [r, alpha, a, b] = numbers(row["params"]);
    let variant = match row["model"] {
        "bg" => Variant::Bg,
        "mbg" => Variant::Mbg,
        other => panic!("no model {other}"),
    };
    let model = BetaGeometric {
        variant,
        r,
        alpha,
        a,
        b,
    };
    match row["what"] {
        "ln_likelihood" => model.ln_likelihood(&history),
        "p_alive" => model.p_alive(&history),
        "expected_orders" => model.expected_orders(&history, time()),
        "p_order_within" => model.p_order_within(&history, time()),
        "discounted_orders" => model.discounted_orders(&history, time(), discount()),
        other => panic!("no quantity {other}"),
    }
}

#[test]
fn models_are_exact_to_nine_digits_over_all_histories_and_parameters() {
    let table = text(&root().join("tests/data/clv/models.csv"));
    let mut worst: BTreeMap<String, (f64, String)> = BTreeMap::new();
    let mut checked = 0;
    for row in rows(&table) {
        let expected = number(row["value"]);
        let found = found(&row);
        checked += 1;
        // Below the range of normal numbers there are no nine digits.
        let error = if expected.abs() < 1e-300 {
            (found - expected).abs()
        } else {
            off(found, expected)
        };
        assert!(found.is_finite(), "{row:?}: {found}");
        let entry = worst
            .entry(format!("{} {}", row["model"], row["what"]))
            .or_default();
        if error >= entry.0 {
            *entry = (error, format!("{row:?}: {found:e}"));
        }
    }
    for (what, (error, row)) in &worst {
        println!("{what}: worst {error:e} at {row}");
    }
    assert!(checked > 2500, "only {checked} values");
    for (what, (error, row)) in worst {
        assert!(error < 1e-9, "{what} is off by {error:e}: {row}");
    }
}
