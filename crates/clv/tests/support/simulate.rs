//! Draws from a seed.

use clv::simulate::Draws;
use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64;

pub fn draws(seed: u64) -> Draws<impl FnMut() -> f64> {
    let mut source = Pcg64::seed_from_u64(seed);
    Draws::new(move || ((source.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64)
}
