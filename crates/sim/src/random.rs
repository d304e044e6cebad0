//! Chance, from a seed.

use rand_core::RngCore;
use rand_pcg::Pcg64Mcg;

/// A seeded source of random numbers, the same on every platform.
#[derive(Clone, Debug)]
pub(crate) struct Random(Pcg64Mcg);

/// Scrambles 64 bits (the finaliser of SplitMix64), so that near seeds give unrelated streams.
#[must_use]
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// The stream of that number under a seed.
    #[must_use]
    pub(crate) fn new(seed: u64, stream: u64) -> Random {
        let low = mix(seed ^ mix(stream));
        let high = mix(low ^ seed.rotate_left(32));
        Random(Pcg64Mcg::new((u128::from(high) << 64) | u128::from(low)))
    }

    /// From 0 up to, not including, `end`; 0 where `end` is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// True in `per_mille` of a thousand cases.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of `items`, which are not empty.
    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }
}
