//! Fits to made-up customers: parameters found again within their errors, boundaries named, too little refused.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use clv::beta_geometric::{BetaGeometric, Variant};
use clv::fit::{
    Boundary, Cell, Estimate, FitError, FitOptions, SpendGroup, fit_beta_geometric,
    fit_gamma_gamma, fit_pareto,
};
use clv::gamma_gamma::GammaGamma;
use support::off;
use support::simulate::draws;

/// Customers of a model, in days, whose first orders are spread over half a year.
fn customers(model: &BetaGeometric, count: u32, seed: u64) -> Vec<Cell> {
    let mut random = draws(seed);
    let mut times = Vec::new();
    (0..count)
        .map(|i| {
            let age = 200.0 + f64::from(i % 180);
            random.customer(model, age, &mut times);
            Cell {
                repeats: times.len() as f64,
                recency: times.last().copied().unwrap_or(0.0),
                age,
                weight: 1.0,
            }
        })
        .collect()
}

/// How many standard errors an estimate is off, on the scale of its logarithm.
fn errors_off(estimate: &Estimate, truth: f64) -> f64 {
    let error = estimate.ln_error.expect("has an error");
    (estimate.value / truth).ln().abs() / error
}

#[test]
fn parameters_are_found_again_within_their_errors() {
    let mut squares = 0.0;
    let mut count = 0.0;
    for (seed, variant) in [
        (1, Variant::Bg),
        (2, Variant::Mbg),
        (3, Variant::Mbg),
        (4, Variant::Bg),
    ] {
        let model = BetaGeometric {
            variant,
            r: 0.8,
            alpha: 40.0,
            a: 1.2,
            b: 3.0,
        };
        let cells = customers(&model, 30_000, seed);
        let fitted = fit_beta_geometric(variant, &cells, &FitOptions::default()).expect("fits");
        assert_eq!(fitted.boundaries, []);
        for (estimate, truth) in fitted.estimates.iter().zip([0.8, 40.0, 1.2, 3.0]) {
            let off = errors_off(estimate, truth);
            assert!(off < 4.0, "{estimate:?}, {off} errors from {truth}");
            squares += off * off;
            count += 1.0;
        }
    }
    // Neither much larger nor much smaller than chance makes them.
    let mean = squares / count;
    assert!((0.3..2.5).contains(&mean), "{mean}");
}

#[test]
fn spend_is_found_again_within_its_errors() {
    let truth = GammaGamma {
        p: 4.0,
        q: 5.0,
        v: 60.0,
    };
    let mut random = draws(9);
    let groups: Vec<_> = (0..20_000)
        .filter_map(|i| {
            let rate = random.gamma(truth.q) / truth.v;
            let orders = 1 + i % 6;
            let total = (0..orders).map(|_| random.gamma(truth.p) / rate).sum();
            SpendGroup::single(orders, total)
        })
        .collect();
    let fitted = fit_gamma_gamma(&groups, &FitOptions::default()).expect("fits");
    for (estimate, truth) in fitted.estimates.iter().zip([4.0, 5.0, 60.0]) {
        assert!(errors_off(estimate, truth) < 4.0, "{estimate:?}");
    }
    let mean = fitted.model.population_spend();
    assert!(off(mean, truth.population_spend()) < 0.02, "{mean}");
}

#[test]
fn where_nobody_drops_out_the_boundary_is_found_and_named() {
    let model = BetaGeometric {
        variant: Variant::Mbg,
        r: 0.7,
        alpha: 60.0,
        a: 0.0,
        b: 1.0,
    };
    let cells = customers(&model, 4_000, 16);
    let options = FitOptions::default();
    for variant in [Variant::Mbg, Variant::Bg] {
        let fitted = fit_beta_geometric(variant, &cells, &options).expect("fits");
        assert!(
            fitted.boundaries.contains(&Boundary::NobodyDropsOut),
            "{fitted:?}"
        );
        assert!(fitted.model.is_valid());
        assert!(errors_off(&fitted.estimates[0], 0.7) < 4.0);
        assert!(errors_off(&fitted.estimates[1], 60.0) < 4.0);
        // What lies at the boundary has no standard error.
        assert_eq!(fitted.estimates[2].ln_error, None);
    }
    let fitted = fit_pareto(&cells, &options).expect("fits");
    assert!(
        fitted.boundaries.contains(&Boundary::NobodyDropsOut),
        "{fitted:?}"
    );
    assert!(errors_off(&fitted.estimates[0], 0.7) < 4.0);
}

#[test]
fn where_all_order_at_one_rate_the_boundary_is_found_and_named() {
    let model = BetaGeometric {
        variant: Variant::Mbg,
        r: 1e6,
        alpha: 5e7,
        a: 1.0,
        b: 4.0,
    };
    // Orders spread less than those of one rate would be, as of subscribers.
    let cells: Vec<Cell> = customers(&model, 4_000, 12)
        .into_iter()
        .map(|c| Cell {
            repeats: c.repeats.min((c.recency / 50.0).ceil()),
            ..c
        })
        .collect();
    let fitted = fit_beta_geometric(Variant::Mbg, &cells, &FitOptions::default()).expect("fits");
    assert!(
        fitted.boundaries.contains(&Boundary::SameRate),
        "{fitted:?}"
    );
    let wait = fitted.model.alpha / fitted.model.r;
    assert!((50.0..75.0).contains(&wait), "{wait}");
    assert_eq!(fitted.estimates[0].ln_error, None);
}

#[test]
fn a_penalty_draws_logarithms_together() {
    let model = BetaGeometric {
        variant: Variant::Mbg,
        r: 0.7,
        alpha: 60.0,
        a: 0.0,
        b: 1.0,
    };
    let cells = customers(&model, 2_000, 13);
    let options = FitOptions {
        l2: 0.01,
        ..FitOptions::default()
    };
    let fitted = fit_beta_geometric(Variant::Mbg, &cells, &options).expect("fits");
    assert_eq!(fitted.boundaries, []);
    assert!(fitted.model.a > 0.01, "{fitted:?}");
    assert!(fitted.estimates.iter().all(|e| e.ln_error.is_some()));
}

fn cell(repeats: f64, recency: f64, age: f64, weight: f64) -> Cell {
    Cell {
        repeats,
        recency,
        age,
        weight,
    }
}

#[test]
fn too_little_is_refused_with_what_to_do() {
    let options = FitOptions::default();
    let fit = |cells: &[Cell]| {
        let one = fit_beta_geometric(Variant::Mbg, cells, &options).expect_err("too little");
        let other = fit_pareto(cells, &options).expect_err("too little");
        assert_eq!(one, other);
        one
    };
    for (cells, expected, message) in [
        (
            vec![],
            FitError::FewCustomers {
                customers: 0,
                needed: 100,
            },
            "0 customers are too few to fit from: wait for 100, or lower the minimum",
        ),
        (
            vec![cell(0.0, 0.0, 40.0, 60.0), cell(1.0, 4.0, 40.0, 39.0)],
            FitError::FewCustomers {
                customers: 99,
                needed: 100,
            },
            "99 customers are too few to fit from: wait for 100, or lower the minimum",
        ),
        (
            vec![cell(0.0, 0.0, 40.0, 5_000.0)],
            FitError::NoRepeatOrders { customers: 5_000 },
            "none of 5000 customers has ordered again: there is nothing to learn a rate from yet",
        ),
        (
            vec![cell(0.0, 0.0, 40.0, 5_000.0), cell(1.0, 4.0, 40.0, 3.0)],
            FitError::FewRepeaters {
                repeaters: 3,
                customers: 5_003,
                needed: 20,
            },
            "3 of 5003 customers ordered again, which is too few: wait for 20, or lower the minimum",
        ),
        (
            vec![cell(0.0, 0.0, 0.0, 200.0), cell(1.0, 0.0, 0.0, 30.0)],
            FitError::NoTime { customers: 230 },
            "no time has passed since the first order of any of 230 customers: fit as of a later day",
        ),
    ] {
        let error = fit(&cells);
        assert_eq!(error, expected);
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn spend_without_a_mean_is_refused() {
    let options = FitOptions::default();
    assert_eq!(
        fit_gamma_gamma(&[], &options),
        Err(FitError::FewSpenders {
            spenders: 0,
            needed: 20
        })
    );
    // Refunded or free: not known to have spent anything.
    assert_eq!(SpendGroup::single(3, 0.0), None);
    assert_eq!(SpendGroup::single(3, -5.0), None);
    assert_eq!(SpendGroup::single(0, 0.0), None);
    let wide = GammaGamma {
        p: 3.0,
        q: 0.6,
        v: 10.0,
    };
    let mut random = draws(21);
    let groups: Vec<_> = (0..5_000)
        .filter_map(|_| {
            let rate = random.gamma(wide.q) / wide.v;
            SpendGroup::single(2, random.gamma(wide.p) / rate + random.gamma(wide.p) / rate)
        })
        .collect();
    match fit_gamma_gamma(&groups, &options) {
        Err(FitError::NoMeanSpend { q }) => assert!((q - 0.6).abs() < 0.1, "{q}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn everyone_alike_is_fitted_too() {
    // One cell only: nothing to tell customers apart by.
    let options = FitOptions::default();
    let cells = [cell(4.0, 80.0, 100.0, 1_000.0)];
    for variant in [Variant::Bg, Variant::Mbg] {
        let fitted = fit_beta_geometric(variant, &cells, &options).expect("fits");
        assert!(
            fitted.model.is_valid() && !fitted.boundaries.is_empty(),
            "{fitted:?}"
        );
    }
    let fitted = fit_pareto(&cells, &options).expect("fits");
    assert!(
        fitted.model.is_valid() && !fitted.boundaries.is_empty(),
        "{fitted:?}"
    );
    let groups = [SpendGroup {
        orders: 2.0,
        weight: 50.0,
        total: 1_000.0,
        ln_total: 50.0 * 20_f64.ln(),
    }];
    let fitted = fit_gamma_gamma(&groups, &options).expect("fits");
    assert!(
        fitted.boundaries.contains(&Boundary::SameSpend),
        "{fitted:?}"
    );
    assert!(off(fitted.model.population_spend(), 10.0) < 1e-3);
}
