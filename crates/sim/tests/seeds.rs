//! Seeds of the simulation: that they pass, that each gives one run, and that checks can fail.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::sync::{Arc, OnceLock};
use std::thread;

use sim::campaign::{self, Fate};
use sim::mutants::Mutation;
use sim::seed::examine;
use sim::shop::Shop;

/// Seeds of `make test`; `make sim` runs as many as one likes.
const SEEDS: u64 = 500;

fn shop() -> &'static Arc<Shop> {
    static SHOP: OnceLock<Arc<Shop>> = OnceLock::new();
    SHOP.get_or_init(|| Arc::new(Shop::open().expect("embedded schemas")))
}

#[test]
fn five_hundred_seeds_hold_every_invariant() {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let tally = campaign::run(1..1 + SEEDS, threads, shop(), &|_| {});
    assert_eq!(tally.seeds, SEEDS);
    let failed: Vec<_> = tally.failed.iter().take(5).collect();
    assert!(
        failed.is_empty(),
        "{} seeds fail; `cargo run --release -p sim -- --seed {}` replays the first: {failed:#?}",
        tally.failed.len(),
        failed[0].seed
    );
    assert_eq!(tally.too_rare(), [], "each fault occurs in each phase");
    assert!(tally.coverage.total() >= SEEDS * sim::seed::FAULTS);
    let (promoted, among) = tally.promoted;
    assert!(
        among >= SEEDS / 2 && promoted - among >= SEEDS / 4,
        "{promoted} models, {among} among the records"
    );
}

#[test]
fn a_seed_gives_one_run_and_another_seed_another() {
    let hash = |seed| examine(seed, None, false, shop()).hash;
    for seed in [7, 77] {
        assert_eq!(hash(seed), hash(seed), "seed {seed}");
    }
    assert_ne!(hash(7), hash(77));
}

#[test]
fn every_mutation_is_caught_in_a_seed_that_passes_without_it() {
    for mutation in Mutation::ALL {
        let fate = campaign::stop(mutation, 1..200, shop());
        assert!(
            matches!(fate, Fate::Caught(_)),
            "{}: {fate:?}",
            mutation.as_str()
        );
    }
}
