//! Exact quantiles: every sample is kept and sorted.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Durations, to the microsecond.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Samples(Vec<u64>);

/// Where samples lie, in milliseconds; zeros where there were none.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Milliseconds {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Samples {
    pub(crate) fn push(&mut self, sample: Duration) {
        self.push_micros(u64::try_from(sample.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn push_micros(&mut self, sample: u64) {
        self.0.push(sample);
    }

    pub(crate) fn extend(&mut self, others: &Samples) {
        self.0.extend_from_slice(&others.0);
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    pub(crate) fn milliseconds(&self) -> Milliseconds {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        // The least sample that at least so many of a thousand do not exceed.
        let at = |per_mille: usize| {
            let rank = (sorted.len() * per_mille).div_ceil(1_000).max(1);
            sorted.get(rank - 1).map_or(0.0, |&us| us as f64 / 1e3)
        };
        let sum: u64 = sorted.iter().sum();
        Milliseconds {
            mean: sum as f64 / 1e3 / sorted.len().max(1) as f64,
            p50: at(500),
            p99: at(990),
            p999: at(999),
            max: at(1_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let of = |samples: &[u64]| {
            let mut all = Samples::default();
            for ms in samples {
                all.push(Duration::from_millis(*ms));
            }
            let found = all.milliseconds();
            [found.mean, found.p50, found.p99, found.p999, found.max]
        };
        let hundred: Vec<u64> = (1..=100).rev().collect();
        let thousand: Vec<u64> = (1..=1_000).collect();
        assert_eq!(of(&[]), [0.0; 5]);
        assert_eq!(of(&[7]), [7.0; 5]);
        assert_eq!(of(&[1, 2]), [1.5, 1.0, 2.0, 2.0, 2.0]);
        assert_eq!(of(&hundred), [50.5, 50.0, 99.0, 100.0, 100.0]);
        assert_eq!(of(&thousand), [500.5, 500.0, 990.0, 999.0, 1_000.0]);
    }
}
