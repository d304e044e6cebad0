//! Histories and parameters at the ends of their ranges, in all models: finite, sensible, and as documented in
//! docs/models.md.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use clv::beta_geometric::{BetaGeometric, Variant};
use clv::gamma_gamma::GammaGamma;
use clv::history::{Crossing, History};
use clv::pareto::ParetoNbd;
use clv::scorer::{Horizon, Scorer};
use domain::money::Minor;
use domain::purchases::Purchases;
use domain::time::Day;
use proptest::prelude::*;
use support::off;

/// CDNOW, in days and cents.
const MBG: BetaGeometric = BetaGeometric {
    variant: Variant::Mbg,
    r: 0.52484,
    alpha: 43.28163,
    a: 0.89136,
    b: 1.614,
};
const BG: BetaGeometric = BetaGeometric {
    variant: Variant::Bg,
    r: 0.24259,
    alpha: 30.8952,
    a: 0.79292,
    b: 2.42591,
};
const PARETO: ParetoNbd = ParetoNbd {
    r: 0.55328,
    alpha: 74.04376,
    s: 0.60624,
    beta: 81.68118,
};
const SPEND: GammaGamma = GammaGamma {
    p: 6.2496,
    q: 3.7442,
    v: 1544.35,
};

/// Everything that is said of a customer, by all three models; fails where it is not finite or out of its range.
fn check(history: &History, spent: f64) -> [f64; 3] {
    let mut p_alive = [0.0; 3];
    for (model, alive) in [BG, MBG].into_iter().zip(&mut p_alive) {
        *alive = model.p_alive(history);
        let scorer = Scorer::new(
            model,
            Some(SPEND),
            Horizon::of(365.0).discounted(0.1, 365.25),
        )
        .expect("in range");
        let score = scorer.score(history, spent);
        let value = score.value.expect("has a model of spend");
        for part in [
            score.orders,
            value.spend,
            value.expected,
            value.low,
            value.high,
        ] {
            assert!(part.is_finite() && part >= 0.0, "{score:?}");
        }
        assert!(value.low <= value.high, "{score:?}");
        assert!((0.0..=1.0).contains(&score.p_order) && score.p_order <= score.p_alive);
        assert!(model.ln_likelihood(history).is_finite());
        let lifetime = model.discounted_lifetime_orders(history, 0.0003);
        assert!(lifetime.is_finite() && lifetime >= score.orders * 0.8);
    }
    p_alive[2] = PARETO.p_alive(history);
    assert!(PARETO.ln_likelihood(history).is_finite());
    for part in [
        PARETO.expected_orders(history, 365.0),
        PARETO.discounted_lifetime_orders(history, 0.0003),
        PARETO.p_order_within(history, 30.0),
    ] {
        assert!(part.is_finite() && part >= 0.0, "{part}");
    }
    for alive in p_alive {
        assert!((0.0..=1.0).contains(&alive));
    }
    p_alive
}

#[test]
fn a_customer_of_today_is_what_the_population_is() {
    let [bg, mbg, pareto] = check(&History::new(0, 0.0, 0.0), 0.0);
    assert_eq!((bg, pareto), (1.0, 1.0));
    // The first order may have been the last: b/(a+b).
    assert!(off(mbg, 1.614 / (0.89136 + 1.614)) < 1e-14);
    assert_eq!(SPEND.expected_spend(0.0, 0.0), SPEND.population_spend());
}

#[test]
fn refunds_beyond_the_spend_leave_the_least_that_the_model_knows() {
    let mut purchases = Purchases::default();
    purchases.add_order(Day(100), Minor(2_000));
    purchases.add_order(Day(120), Minor(3_000));
    purchases.refund(Day(120), Minor(9_000));
    let statistics = purchases.statistics().expect("ordered");
    assert_eq!(statistics.spent, Minor(-6_000));
    let spend = SPEND.expected_spend(1.0, -6_000.0);
    assert_eq!(spend, SPEND.expected_spend(1.0, 0.0));
    assert!(spend > 0.0 && spend < SPEND.population_spend());
    check(&History::of(&statistics, 200.0), -6_000.0);
}

#[test]
fn of_a_customer_whose_only_order_was_cancelled_the_models_say_nothing() {
    let mut purchases = Purchases::default();
    purchases.add_order(Day(100), Minor(2_000));
    purchases.cancel_order(Day(100), Minor(2_000));
    assert_eq!(purchases.statistics(), None);
    assert_eq!(purchases, Purchases::default());
}

#[test]
fn four_hundred_orders_in_ten_days() {
    // By day they are nine repeats; whoever counts every order has 400.
    for x in [9, 400] {
        let busy = check(&History::new(x, 10.0, 10.0), f64::from(x) * 2_000.0);
        assert!(busy.iter().all(|p| *p > 0.85), "{busy:?}");
        let gone = check(&History::new(x, 10.0, 200.0), f64::from(x) * 2_000.0);
        assert!(gone.iter().all(|p| *p < 1e-2), "{gone:?}");
    }
    let year = MBG.expected_orders(&History::new(400, 10.0, 10.0), 365.0);
    assert!(year > 100.0 && year < 7.5 * 365.0, "{year}");
}

#[test]
fn a_first_order_of_a_million_says_nothing_of_the_next_ones_value() {
    let mut purchases = Purchases::default();
    purchases.add_order(Day(100), Minor(100_000_000));
    let statistics = purchases.statistics().expect("ordered");
    assert_eq!(statistics.spent, Minor::ZERO);
    check(&History::of(&statistics, 101.0), 0.0);
    // As a repeat order it counts, and weighs less the fewer there are.
    purchases.add_order(Day(90), Minor(2_000));
    let statistics = purchases.statistics().expect("ordered");
    assert_eq!(statistics.spent, Minor(100_000_000));
    let spend = SPEND.expected_spend(1.0, 1e8);
    assert!(spend > 5e7 && spend < 1e8, "{spend}");
    check(&History::of(&statistics, 101.0), 1e8);
}

#[test]
fn times_that_cannot_be_are_brought_into_range() {
    for (found, expected) in [
        (History::new(2, 30.0, 20.0), (20.0, 20.0)),
        (History::new(2, -3.0, -1.0), (0.0, 0.0)),
        (History::new(0, 30.0, 40.0), (0.0, 40.0)),
        (History::new(3, f64::NAN, f64::NAN), (0.0, 0.0)),
    ] {
        assert_eq!((found.recency(), found.age()), expected);
    }
    check(&History::new(3, 1.0, f64::INFINITY), 5.0);
}

#[test]
fn a_threshold_is_crossed_where_the_closed_form_says() {
    let history = History::new(3, 60.0, 70.0);
    for threshold in [0.9, 0.5, 0.1, 1e-6] {
        for model in [BG, MBG] {
            let Crossing::AtAge(at) = model.crossing(&history, threshold) else {
                // Below it already, and rightly so.
                assert!(model.p_alive(&history) <= threshold);
                continue;
            };
            assert!(at > history.age());
            let there = model.p_alive(&history.at_age(at));
            assert!(off(there, threshold) < 1e-12, "{there} at {threshold}");
        }
        if let Crossing::AtAge(at) = PARETO.crossing(&history, threshold) {
            let there = PARETO.p_alive(&history.at_age(at));
            assert!(off(there, threshold) < 1e-10, "{there} at {threshold}");
        }
    }
    let once = History::new(0, 0.0, 10.0);
    assert_eq!(BG.crossing(&once, 0.5), Crossing::Never);
    assert!(matches!(MBG.crossing(&once, 0.5), Crossing::AtAge(_)));
    assert_eq!(MBG.crossing(&once, 0.9), Crossing::Already);
    let immortal = BetaGeometric { a: 0.0, ..MBG };
    assert_eq!(immortal.crossing(&history, 0.5), Crossing::Never);
}

#[test]
fn parameters_at_the_ends_of_their_ranges() {
    let history = History::new(30, 200.0, 300.0);
    for end in [1e-290, 1e-30, 1e-9, 1e6] {
        for model in [
            BetaGeometric { r: end, ..MBG },
            BetaGeometric { alpha: end, ..MBG },
            BetaGeometric { a: end, ..MBG },
            BetaGeometric { b: end, ..MBG },
        ] {
            assert!(model.is_valid());
            let alive = model.p_alive(&history);
            assert!((0.0..=1.0).contains(&alive), "{model:?}");
            assert!(model.expected_orders(&history, 30.0) >= 0.0, "{model:?}");
        }
        for model in [
            ParetoNbd { r: end, ..PARETO },
            ParetoNbd {
                alpha: end,
                ..PARETO
            },
            ParetoNbd { s: end, ..PARETO },
            ParetoNbd {
                beta: end,
                ..PARETO
            },
        ] {
            assert!(model.expected_orders(&history, 30.0) >= 0.0, "{model:?}");
            assert!(model.p_order_within(&history, 30.0) >= 0.0, "{model:?}");
            assert!(model.is_valid());
        }
    }
}

#[test]
fn parameters_beyond_them_are_no_model() {
    for wrong in [0.0, -1.0, 1e30, f64::INFINITY, f64::NAN] {
        assert!(!BetaGeometric { r: wrong, ..MBG }.is_valid());
        assert!(!BetaGeometric { b: wrong, ..MBG }.is_valid());
        assert!(!ParetoNbd { r: wrong, ..PARETO }.is_valid());
        assert!(!GammaGamma { p: wrong, ..SPEND }.is_valid());
        assert!(!GammaGamma { q: wrong, ..SPEND }.is_valid());
    }
    assert!(BetaGeometric { a: 0.0, ..MBG }.is_valid());
    assert!(ParetoNbd { s: 0.0, ..PARETO }.is_valid());
    assert!(!GammaGamma { q: 1.0, ..SPEND }.is_valid());
}

fn positive() -> impl Strategy<Value = f64> {
    (-6.0..6.0_f64).prop_map(f64::exp)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn answers_are_finite_in_range_and_monotone(
        (r, alpha, a, b) in (positive(), positive(), positive(), positive()),
        (x, recency, since, time) in (0..500_u32, 0.0..500.0_f64, 0.0..500.0_f64, 0.001..500.0_f64),
        is_bg in any::<bool>(),
    ) {
        let variant = if is_bg { Variant::Bg } else { Variant::Mbg };
        let model = BetaGeometric { variant, r, alpha, a, b };
        let pareto = ParetoNbd { r, alpha, s: a, beta: b };
        let history = History::new(x, recency, recency + since);
        prop_assert!(model.ln_likelihood(&history).is_finite());
        prop_assert!(pareto.ln_likelihood(&history).is_finite());
        let orders = model.expected_orders(&history, time);
        let any = model.p_order_within(&history, time);
        prop_assert!(any <= orders * (1.0 + 1e-12) && any <= model.p_alive(&history));
        // Nobody orders faster than his rate, alive or not.
        let most = (r + f64::from(x)) / (alpha + history.age()) * time;
        prop_assert!(orders <= most * (1.0 + 1e-12));
        prop_assert!(orders <= model.expected_orders(&history, 1.1 * time));
        prop_assert!(model.discounted_orders(&history, time, 0.01) <= orders * (1.0 + 1e-12));
        prop_assert!(model.p_alive(&history.at_age(history.age() + 1.0)) <= model.p_alive(&history));
        let orders = pareto.expected_orders(&history, time);
        let any = pareto.p_order_within(&history, time);
        prop_assert!(any <= orders * (1.0 + 1e-12) && any <= pareto.p_alive(&history) * (1.0 + 1e-12));
        prop_assert!(orders <= most * (1.0 + 1e-12));
        prop_assert!(pareto.discounted_orders(&history, time, 0.01) <= orders * (1.0 + 1e-12));
    }

    #[test]
    fn an_order_is_due_when_it_is_as_likely_as_asked(x in 0..50_u32, recency in 1.0..100.0_f64, level in 0.01..0.6_f64) {
        let history = History::new(x, recency, recency + 3.0);
        for model in [BG, MBG] {
            match model.order_due_within(&history, level) {
                Some(time) => prop_assert!(off(model.p_order_within(&history, time), level) < 1e-10),
                None => prop_assert!(model.p_alive(&history) <= level),
            }
        }
        match PARETO.order_due_within(&history, level) {
            Some(time) => prop_assert!(off(PARETO.p_order_within(&history, time), level) < 1e-9),
            None => prop_assert!(PARETO.p_order_within(&history, 1e9) <= level),
        }
    }
}
