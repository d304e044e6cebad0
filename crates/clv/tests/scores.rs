//! Scores: equal to the models' own answers, intervals that hold as many as they say, sensible at the extremes.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use clv::beta_geometric::{BetaGeometric, Variant};
use clv::gamma_gamma::GammaGamma;
use clv::history::History;
use clv::scorer::{Horizon, Scorer};
use clv::simulate::Draws;
use support::off;
use support::simulate::draws;

const MODELS: [BetaGeometric; 4] = [
    // CDNOW in days.
    BetaGeometric {
        variant: Variant::Mbg,
        r: 0.52484,
        alpha: 43.28,
        a: 0.89136,
        b: 1.614,
    },
    BetaGeometric {
        variant: Variant::Bg,
        r: 0.24259,
        alpha: 30.9,
        a: 0.79292,
        b: 2.42591,
    },
    // Nobody drops out; a frequent, uniform crowd.
    BetaGeometric {
        variant: Variant::Mbg,
        r: 0.8,
        alpha: 60.0,
        a: 0.0,
        b: 1.0,
    },
    BetaGeometric {
        variant: Variant::Mbg,
        r: 9.0,
        alpha: 120.0,
        a: 1.0,
        b: 12.0,
    },
];
const SPEND: GammaGamma = GammaGamma {
    p: 6.2496,
    q: 3.7442,
    v: 15.4435,
};

fn horizon() -> Horizon {
    Horizon::of(365.0).discounted(0.1, 365.25)
}

const HISTORIES: [(u32, f64, f64); 12] = [
    (0, 0.0, 0.0),
    (0, 0.0, 30.0),
    (0, 0.0, 400.0),
    (1, 20.0, 25.0),
    (1, 20.0, 300.0),
    (2, 200.0, 250.0),
    (5, 100.0, 110.0),
    (12, 350.0, 360.0),
    (40, 390.0, 400.0),
    (100, 700.0, 702.0),
    (127, 900.0, 1_000.0),
    (250, 900.0, 1_000.0),
];

#[test]
fn scores_are_the_models_answers_to_nine_digits() {
    for model in MODELS {
        let scorer = Scorer::new(model, Some(SPEND), horizon()).expect("in range");
        for (x, recency, age) in HISTORIES {
            let history = History::new(x, recency, age);
            let spent = 30.0 * f64::from(x);
            let score = scorer.score(&history, spent);
            let value = score.value.expect("has a model of spend");
            let Horizon { time, discount, .. } = horizon();
            let spend = SPEND.expected_spend(f64::from(x), spent);
            for (what, found, expected) in [
                ("p_alive", score.p_alive, model.p_alive(&history)),
                (
                    "p_order",
                    score.p_order,
                    model.p_order_within(&history, time),
                ),
                (
                    "orders",
                    score.orders,
                    model.expected_orders(&history, time),
                ),
                ("spend", value.spend, spend),
                (
                    "value",
                    value.expected,
                    spend * model.discounted_orders(&history, time, discount),
                ),
            ] {
                let error = off(found, expected);
                assert!(
                    error < 1e-9,
                    "{model:?} {history:?}: {what} {found} {expected} {error:e}"
                );
            }
        }
    }
}

/// Of simulated customers with a history that have not dropped out: the share whose value lies below, within and
/// above the interval, in the next year.
fn shares(
    model: &BetaGeometric,
    spend: &GammaGamma,
    history: &History,
    spent: f64,
    interval: (f64, f64),
    random: &mut Draws<impl FnMut() -> f64>,
) -> [f64; 3] {
    const CUSTOMERS: u32 = 20_000;
    let Horizon { time, discount, .. } = horizon();
    let x = f64::from(history.repeats());
    let stayed = model.b
        + x
        + if model.variant == Variant::Mbg {
            1.0
        } else {
            0.0
        };
    let p_alive = model.p_alive(history);
    let mut counts = [0.0; 3];
    let mut times = Vec::new();
    for _ in 0..CUSTOMERS {
        let mut value = 0.0;
        if random.uniform() <= p_alive {
            let rate = random.gamma(model.r + x) / (model.alpha + history.age());
            let dropout = if model.a == 0.0 {
                0.0
            } else {
                random.beta(model.a, stayed)
            };
            let of_spend = random.gamma(spend.q + spend.p * x) / (spend.v + spent);
            random.orders(rate, dropout, time, &mut times);
            for at in &times {
                value += (-discount * at).exp() * random.gamma(spend.p) / of_spend;
            }
        }
        counts[if value < interval.0 {
            0
        } else {
            1 + usize::from(value > interval.1)
        }] += 1.0;
    }
    counts.map(|c| c / f64::from(CUSTOMERS))
}

/// A tenth is to lie above the interval, and a tenth below where no more than a tenth order nothing.
#[test]
fn intervals_hold_about_eighty_in_a_hundred() {
    let mut random = draws(5);
    for model in MODELS {
        let scorer = Scorer::new(model, Some(SPEND), horizon()).expect("in range");
        for (x, recency, age) in HISTORIES {
            let history = History::new(x, recency, age);
            let spent = 30.0 * f64::from(x);
            let score = scorer.score(&history, spent);
            let value = score.value.expect("has a model of spend");
            let [below, within, above] = shares(
                &model,
                &SPEND,
                &history,
                spent,
                (value.low, value.high),
                &mut random,
            );
            let context = format!("{:?} r = {} {history:?}: {value:?}", model.variant, model.r);
            assert!(below < 0.15, "{below} lie below: {context}");
            assert!(within > 0.77, "{within} lie within: {context}");
            if score.p_order > 0.11 {
                assert!(
                    (0.06..0.13).contains(&above),
                    "{above} lie above: {context}"
                );
            } else {
                assert!(above < 0.12, "{above} lie above: {context}");
            }
            if score.p_order < 0.89 {
                assert_eq!(value.low, 0.0, "{context}");
            }
        }
    }
}

#[test]
fn what_is_out_of_range_is_not_prepared() {
    let model = MODELS[0];
    let new = |model, spend, horizon| Scorer::new(model, spend, horizon).is_some();
    assert!(new(model, Some(SPEND), horizon()));
    assert!(!new(BetaGeometric { r: 0.0, ..model }, None, horizon()));
    assert!(!new(BetaGeometric { a: -0.1, ..model }, None, horizon()));
    assert!(!new(model, Some(GammaGamma { q: 1.0, ..SPEND }), horizon()));
    for wrong in [
        Horizon::of(0.0),
        Horizon::of(f64::INFINITY),
        Horizon::of(f64::NAN),
        Horizon {
            coverage: 1.0,
            ..horizon()
        },
        Horizon {
            discount: -0.1,
            ..horizon()
        },
        Horizon {
            margin_rate: f64::NAN,
            ..horizon()
        },
    ] {
        assert!(!new(model, Some(SPEND), wrong), "{wrong:?}");
    }
}

#[test]
fn intervals_hold_where_spend_has_no_variance_too() {
    let mut random = draws(6);
    for q in [1.2, 2.0, 2.8] {
        let spend = GammaGamma { p: 1.5, q, v: 30.0 };
        let scorer = Scorer::new(MODELS[0], Some(spend), horizon()).expect("in range");
        for (x, recency, age) in [(0, 0.0, 10.0), (1, 20.0, 25.0), (3, 90.0, 100.0)] {
            let history = History::new(x, recency, age);
            let spent = 30.0 * f64::from(x);
            let value = scorer
                .score(&history, spent)
                .value
                .expect("has a model of spend");
            let interval = (value.low, value.high);
            let [below, _, above] =
                shares(&MODELS[0], &spend, &history, spent, interval, &mut random);
            assert!(
                below < 0.15 && (0.06..0.14).contains(&above),
                "{q} {x}: {value:?} {below} {above}"
            );
        }
    }
}
