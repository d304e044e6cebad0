//! Customers as a fit sees them: cells with weights, their distinct times and counts, and pools of them.

use super::{FitError, FitOptions};

/// So many customers with one history.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cell {
    /// Days with a repeat order.
    pub repeats: f64,
    /// Time from first to last order.
    pub recency: f64,
    /// Time from the first order to now.
    pub age: f64,
    /// Customers.
    pub weight: f64,
}

/// From so many cells on, starts are searched from on pools of them.
const POOL_FROM: usize = 2_000;
/// Parts of the range of ages, and of that of recency over age, that a pool covers.
const PARTS: f64 = 14.0;

/// Cells with what they have in common taken out.
#[derive(Debug)]
pub(super) struct Sample {
    /// Sorted by count, so that cells of one count follow each other.
    pub(super) cells: Vec<Indexed>,
    /// Distinct counts and the customers with each.
    pub(super) counts: Vec<(f64, f64)>,
    /// Distinct times, ages and recencies alike.
    pub(super) times: Vec<f64>,
    /// Customers.
    pub(super) customers: f64,
    /// The longest age.
    pub(super) longest: f64,
    /// Repeat orders over time, of all customers.
    pub(super) rate: f64,
}

/// A cell by its places among counts and times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Indexed {
    pub(super) count: u32,
    pub(super) recency: u32,
    pub(super) age: u32,
    pub(super) weight: f64,
}

impl Sample {
    /// Takes in cells, or says why they are too little.
    pub(super) fn new(cells: &[Cell], options: &FitOptions) -> Result<Sample, FitError> {
        let sum = |of: &dyn Fn(&Cell) -> f64| cells.iter().map(of).sum::<f64>();
        let customers = sum(&|c| c.weight) as u64;
        let repeaters = sum(&|c| if c.repeats > 0.0 { c.weight } else { 0.0 }) as u64;
        if customers < options.min_customers.max(1) {
            return Err(FitError::FewCustomers {
                customers,
                needed: options.min_customers.max(1),
            });
        }
        if repeaters == 0 {
            return Err(FitError::NoRepeatOrders { customers });
        }
        if repeaters < options.min_repeaters {
            return Err(FitError::FewRepeaters {
                repeaters,
                customers,
                needed: options.min_repeaters,
            });
        }
        let time = sum(&|c| c.age * c.weight);
        if time <= 0.0 {
            return Err(FitError::NoTime { customers });
        }
        let rate = sum(&|c| c.repeats * c.weight) / time;
        Ok(Sample::of(cells, rate))
    }

    fn of(cells: &[Cell], rate: f64) -> Sample {
        let counts = distinct(cells.iter().map(|c| c.repeats));
        let times = distinct(cells.iter().flat_map(|c| [c.recency, c.age]));
        let mut weights: Vec<(f64, f64)> = counts.iter().map(|&x| (x, 0.0)).collect();
        let mut indexed: Vec<Indexed> = cells
            .iter()
            .filter(|c| c.weight > 0.0)
            .map(|c| Indexed {
                count: place(&counts, c.repeats),
                recency: place(&times, c.recency),
                age: place(&times, c.age),
                weight: c.weight,
            })
            .collect();
        indexed.sort_unstable_by_key(|c| (c.count, c.recency, c.age));
        for cell in &indexed {
            weights[cell.count as usize].1 += cell.weight;
        }
        Sample {
            customers: indexed.iter().map(|c| c.weight).sum(),
            longest: cells.iter().fold(0.0, |m, c| c.age.max(m)),
            cells: indexed,
            counts: weights,
            times,
            rate,
        }
    }

    /// Cells of like counts, ages and recencies as one with their means, where there are many; good to search
    /// on, not to end on.
    pub(super) fn pooled(&self) -> Option<Sample> {
        if self.cells.len() < POOL_FROM {
            return None;
        }
        let mut pools = std::collections::BTreeMap::<[u32; 3], Cell>::new();
        for cell in &self.cells {
            let repeats = self.counts[cell.count as usize].0;
            let (recency, age) = (
                self.times[cell.recency as usize],
                self.times[cell.age as usize],
            );
            let part = |share: f64| libm::floor(share * PARTS) as u32;
            let of_age = if age > 0.0 { recency / age } else { 0.0 };
            let key = [
                // Single counts up to 12, then a quarter of an octave at a time.
                if repeats <= 12.0 {
                    repeats as u32
                } else {
                    libm::round(4.0 * libm::log2(repeats)) as u32
                },
                part(age / self.longest),
                part(of_age),
            ];
            let pool = pools.entry(key).or_insert(Cell {
                repeats: 0.0,
                recency: 0.0,
                age: 0.0,
                weight: 0.0,
            });
            pool.repeats += repeats * cell.weight;
            pool.recency += recency * cell.weight;
            pool.age += age * cell.weight;
            pool.weight += cell.weight;
        }
        let means: Vec<Cell> = pools
            .into_values()
            .map(|p| Cell {
                repeats: p.repeats / p.weight,
                recency: p.recency / p.weight,
                age: p.age / p.weight,
                weight: p.weight,
            })
            .collect();
        Some(Sample::of(&means, self.rate))
    }
}

fn distinct(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut all: Vec<f64> = values.collect();
    all.sort_unstable_by(f64::total_cmp);
    all.dedup();
    all
}

fn place(sorted: &[f64], value: f64) -> u32 {
    sorted.partition_point(|v| *v < value) as u32
}
