//! Random numbers and the few distributions that traffic needs, the same on every platform.
//!
//! Ranges come from integer arithmetic. Logarithms and powers come from `libm`, because those of
//! the platform differ in their last bit; addition, multiplication, division and square root are
//! exact by IEEE 754.

use rand_core::RngCore;
use rand_pcg::Pcg64Mcg;

/// A seeded source of random numbers.
pub(crate) struct Random(Pcg64Mcg);

/// Scrambles 64 bits (the finaliser of SplitMix64), so that near seeds give unrelated streams.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A 64-bit hash of text (FNV-1a, scrambled), fixed for ever.
pub(crate) fn hash_text(text: &str) -> u64 {
    let fnv = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(fnv)
}

impl Random {
    /// The stream of that number under a seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Random {
        let low = mix(seed ^ mix(stream));
        let high = mix(low ^ seed.rotate_left(32));
        Random(Pcg64Mcg::new((u128::from(high) << 64) | u128::from(low)))
    }

    /// From 0 up to, not including, `end`; 0 where `end` is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// From `low` up to and including `high`, which is not less.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below(high.abs_diff(low) + 1) as i64
    }

    /// True in `per_mille` of a thousand cases.
    pub(crate) fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < u64::from(per_mille)
    }

    /// An index of `weights`, each as likely as its weight. They must not all be 0.
    pub(crate) fn weighted(&mut self, weights: &[u32]) -> usize {
        let total = weights.iter().copied().map(u64::from).sum();
        pick(weights, self.below(total))
    }

    /// Uniform in the open interval (0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.0.next_u64() >> 12) as f64 + 0.5) * (1.0 / (1_u64 << 52) as f64)
    }

    /// Exponential with mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -libm::log(self.unit())
    }

    /// Exponential milliseconds with that mean, at most twenty times it.
    pub(crate) fn wait_ms(&mut self, mean_ms: i64) -> i64 {
        (self.exponential().min(20.0) * mean_ms as f64) as i64
    }

    /// Standard normal, by Marsaglia's polar method.
    fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let square = x * x + y * y;
            if square < 1.0 && square > 0.0 {
                return x * (-2.0 * libm::log(square) / square).sqrt();
            }
        }
    }

    /// Gamma with that shape > 0 and scale 1 (Marsaglia and Tsang, 2000).
    pub(crate) fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = libm::pow(self.unit(), 1.0 / shape);
            return self.gamma(shape + 1.0) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let base = 1.0 + c * x;
            let v = base * base * base;
            if v > 0.0 && libm::log(self.unit()) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return d * v;
            }
        }
    }

    /// Beta with those parameters > 0, in thousandths.
    pub(crate) fn beta_per_mille(&mut self, a: f64, b: f64) -> u32 {
        let (x, y) = (self.gamma(a), self.gamma(b));
        let sum = x + y;
        // Both can underflow to 0 for tiny parameters.
        if sum > 0.0 {
            (1000.0 * x / sum) as u32
        } else {
            0
        }
    }
}

/// The index of `weights` in whose share `point` lies.
pub(crate) fn pick(weights: &[u32], point: u64) -> usize {
    let mut left = point;
    for (index, &weight) in weights.iter().enumerate() {
        let weight = u64::from(weight);
        if left < weight {
            return index;
        }
        left -= weight;
    }
    weights.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(n: u32, mut draw: impl FnMut() -> f64) -> f64 {
        (0..n).map(|_| draw()).sum::<f64>() / f64::from(n)
    }

    #[test]
    fn the_first_numbers_of_a_stream_never_change() {
        let mut random = Random::new(42, 7);
        let drawn: Vec<u64> = (0..3).map(|_| random.below(1_000_000)).collect();
        assert_eq!(drawn, GOLDEN);
        assert_ne!(
            Random::new(42, 8).below(u64::MAX),
            Random::new(42, 7).below(u64::MAX)
        );
    }

    const GOLDEN: [u64; 3] = [494_379, 358_088, 746_418];

    #[test]
    fn distributions_have_their_means() {
        let mut random = Random::new(1, 1);
        assert!((mean(200_000, || random.exponential()) - 1.0).abs() < 0.01);
        for shape in [0.3, 0.8, 1.0, 4.5] {
            let found = mean(200_000, || random.gamma(shape));
            assert!((found / shape - 1.0).abs() < 0.02, "shape {shape}: {found}");
        }
        let beta = mean(200_000, || f64::from(random.beta_per_mille(0.8, 2.4)));
        assert!((beta - 249.5).abs() < 3.0, "{beta}");
        let dice = mean(200_000, || random.between(1, 6) as f64);
        assert!((dice - 3.5).abs() < 0.02, "{dice}");
        let share = mean(200_000, || f64::from(u8::from(random.chance(125))));
        assert!((share - 0.125).abs() < 0.004, "{share}");
    }

    #[test]
    fn picks_follow_the_weights() {
        let picks: Vec<usize> = (0..6).map(|point| pick(&[1, 0, 3, 2], point)).collect();
        assert_eq!(picks, [0, 2, 2, 2, 3, 3]);
        assert_eq!(pick(&[1, 1], 99), 1);
    }
}
