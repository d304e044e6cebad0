//! Numbers that look random and come from a seed.

use std::time::Duration;

/// PCG's generator, for shares.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers of a test, or of a part of one, under a seed.
    #[must_use]
    pub fn new(seed: u64, part: u64) -> Random {
        Random(seed.wrapping_mul(1_000_003).wrapping_add(part))
    }

    /// From 0 up to, but not including, 1.
    pub fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1_u64 << 24) as f64
    }

    /// From 0 up to, but not including, `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.share() * n as f64) as usize
    }

    /// A time between two.
    pub fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        shortest + longest.saturating_sub(shortest).mul_f64(self.share())
    }

    /// Puts things into another order.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for left in (1..things.len()).rev() {
            let other = self.below(left + 1);
            things.swap(left, other);
        }
    }

    /// Lets a random time pass: what follows is to hit anything that may go on meanwhile.
    pub fn pass(&mut self, longest: Duration) {
        std::thread::sleep(longest.mul_f64(self.share()));
    }
}
