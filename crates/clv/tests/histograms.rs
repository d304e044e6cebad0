//! Histograms: merging, bytes, and fits from them against fits from customers.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use clv::beta_geometric::Variant;
use clv::fit::{Cell, FitOptions, SpendGroup, fit_beta_geometric, fit_gamma_gamma, fit_pareto};
use clv::histogram::{
    BytesError, OrderHistogram, SpendHistogram, SpendSums, decode_count, encode_count,
};
use domain::money::Minor;
use domain::purchases::{Purchases, Statistics};
use domain::time::Day;
use proptest::prelude::*;
use support::cdnow::{day, master};
use support::off;

fn statistics() -> impl Strategy<Value = Statistics> {
    (
        0..40_u32,
        -3..20_000_i32,
        0..900_i32,
        -500..9_000_000_000_i64,
    )
        .prop_map(|(repeats, first, lasted, spent)| Statistics {
            repeats,
            first: Day(first),
            last: Day(first + lasted),
            spent: Minor(spent),
        })
}

fn of(all: &[Statistics]) -> (OrderHistogram, SpendHistogram) {
    let mut both = (OrderHistogram::default(), SpendHistogram::default());
    for one in all {
        both.0.add(one);
        both.1.add(one);
    }
    both
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_partitioning_in_any_order_gives_the_same(
        all in prop::collection::vec(statistics(), 0..60),
        parts in 1..5_usize,
    ) {
        let whole = of(&all);
        let mut orders = OrderHistogram::default();
        let mut spend = SpendHistogram::default();
        for part in (0..parts).rev() {
            let of_part: Vec<_> = all.iter().rev().skip(part).step_by(parts).copied().collect();
            let (o, s) = of(&of_part);
            orders.merge(&o);
            spend.merge(&s);
        }
        prop_assert_eq!(orders.customers(), all.len() as i64);
        prop_assert_eq!((orders, spend), whole);
    }

    #[test]
    fn who_is_taken_out_leaves_no_trace(
        kept in prop::collection::vec(statistics(), 0..20),
        gone in prop::collection::vec(statistics(), 0..20),
    ) {
        let (mut orders, mut spend) = of(&gone);
        for one in &kept {
            orders.add(one);
            spend.add(one);
        }
        for one in &gone {
            orders.remove(one);
            spend.replace(Some(one), None);
        }
        prop_assert_eq!((orders, spend), of(&kept));
    }

    #[test]
    fn no_bytes_are_read_but_what_would_be_written(mut bytes in prop::collection::vec(any::<u8>(), 0..12), of_ours: bool) {
        if of_ours {
            bytes.insert(0, encode_count(0)[0]);
        }
        if let Ok(count) = decode_count(&bytes) {
            prop_assert_eq!(encode_count(count), bytes.clone());
        }
        if let Ok(sums) = SpendSums::decode(&bytes) {
            prop_assert_eq!(sums.encode(), bytes);
        }
    }
}

#[test]
fn damaged_bytes_are_told_apart_from_other_versions() {
    // The version, and two times seven bits.
    let bytes = encode_count(5_000);
    assert_eq!(bytes.len(), 3);
    assert_eq!(
        decode_count(&bytes[..2]),
        Err(BytesError::Damaged { at: 2 })
    );
    // Of the three numbers of a group one is there.
    assert_eq!(
        SpendSums::decode(&bytes),
        Err(BytesError::Damaged { at: 3 })
    );
    assert_eq!(decode_count(&[]), Err(BytesError::Version { found: None }));
    assert_eq!(
        decode_count(&bytes[1..]),
        Err(BytesError::Version {
            found: Some(bytes[1])
        })
    );
}

/// All of CDNOW until 1997-09-30.
fn cdnow() -> Vec<Statistics> {
    let end = day("1997-09-30");
    master()
        .values()
        .filter_map(|purchases| {
            let mut taken = Purchases::default();
            for (day, net) in purchases.range(..=end) {
                taken.add_order(*day, *net);
            }
            taken.statistics()
        })
        .collect()
}

#[test]
fn fits_from_the_histogram_are_fits_from_the_customers() {
    let all = cdnow();
    assert_eq!(all.len(), 23_570);
    let (orders, spend) = of(&all);
    let now = f64::from(day("1997-09-30").0);
    let rows: Vec<Cell> = all
        .iter()
        .map(|s| Cell {
            repeats: f64::from(s.repeats),
            recency: f64::from(s.last.0 - s.first.0),
            age: now - f64::from(s.first.0),
            weight: 1.0,
        })
        .collect();
    let options = FitOptions::default();
    for variant in [Variant::Bg, Variant::Mbg] {
        let one = fit_beta_geometric(variant, &rows, &options).expect("fits");
        let other = fit_beta_geometric(variant, &orders.cells(now), &options).expect("fits");
        println!(
            "{variant:?}: {} cells of {} customers",
            other.cells, other.customers
        );
        assert_eq!(one.customers, other.customers);
        for (one, other) in one.estimates.iter().zip(&other.estimates) {
            let error = off(other.value, one.value);
            assert!(error < 1e-6, "{variant:?} {}: off by {error:e}", one.name);
        }
    }
    let one = fit_pareto(&rows, &options).expect("fits");
    let other = fit_pareto(&orders.cells(now), &options).expect("fits");
    for (one, other) in one.estimates.iter().zip(&other.estimates) {
        assert!(off(other.value, one.value) < 1e-6, "Pareto {}", one.name);
    }
    let groups: Vec<_> = all
        .iter()
        .filter_map(|s| SpendGroup::single(s.repeats, s.spent.0 as f64 / 100.0))
        .collect();
    let one = fit_gamma_gamma(&groups, &options).expect("fits");
    let other = fit_gamma_gamma(&spend.groups(100.0), &options).expect("fits");
    println!(
        "spend: {} groups of {} customers",
        other.cells, other.customers
    );
    for (one, other) in one.estimates.iter().zip(&other.estimates) {
        let error = off(other.value, one.value);
        println!("{} off by {error:e}", one.name);
        assert!(error < 1e-6, "Gamma-Gamma {}: off by {error:e}", one.name);
    }
    assert!((one.ln_likelihood - other.ln_likelihood).abs() < 1e-3);
}
