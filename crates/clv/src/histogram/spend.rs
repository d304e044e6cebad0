//! What Gamma-Gamma needs of all customers: by repeat purchases and magnitude of their total, how many, what they
//! came to, and the sum of logarithms.
//!
//! A group covers less than a hundredth of its amount. What its width costs is taken back by the sum of logarithms
//! (`SpendGroup`), so that a fit from groups differs from one from customers by some 1e-9.

use std::collections::BTreeMap;

use domain::money::Minor;
use domain::purchases::Statistics;

use crate::fit::SpendGroup;

/// Leading binary digits of an amount, the first included, that tell groups apart.
const DIGITS: u32 = 8;
/// A logarithm is kept as a whole number of 2⁻⁴⁰.
const LN_UNIT: f64 = (1_u64 << 40) as f64;

/// Sums over the customers of a group, whole numbers all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Sums {
    pub(super) customers: i64,
    /// Of totals, in minor units.
    pub(super) total: i128,
    /// Of ln(total in minor units), in units of 2⁻⁴⁰.
    pub(super) ln_total: i128,
}

impl Sums {
    /// Adds `other`, as often as `by` says.
    pub(super) fn add(&mut self, other: &Sums, by: i64) {
        self.customers += by * other.customers;
        self.total += i128::from(by) * other.total;
        self.ln_total += i128::from(by) * other.ln_total;
    }
}

/// Where a customer counts, and what he brings; `None` without a repeat purchase that came to more than nothing.
pub(super) fn of_customer(statistics: &Statistics) -> Option<(Key, Sums)> {
    let Minor(total) = statistics.spent;
    if statistics.repeats == 0 || total <= 0 {
        return None;
    }
    let sums = Sums {
        customers: 1,
        total: i128::from(total),
        ln_total: libm::rint(libm::log(total as f64) * LN_UNIT) as i128,
    };
    Some((key(statistics.repeats, total.unsigned_abs()), sums))
}

/// Repeat purchases, how many binary digits of the total were taken off to leave eight, and those: in the order of
/// totals.
pub(super) type Key = (u32, u32, u16);

/// Repeat customers by number and total of their repeat purchases.
///
/// Who has no repeat purchase, or none that came to more than nothing, is not in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SpendHistogram {
    pub(super) groups: BTreeMap<Key, Sums>,
}

impl SpendHistogram {
    /// Counts a customer.
    pub fn add(&mut self, statistics: &Statistics) {
        self.count(statistics, 1);
    }

    /// Takes a customer out.
    pub fn remove(&mut self, statistics: &Statistics) {
        self.count(statistics, -1);
    }

    /// Moves a customer from what he was to what he is; `None` for no order that counts.
    pub fn replace(&mut self, before: Option<&Statistics>, after: Option<&Statistics>) {
        let of = |s: Option<&Statistics>| s.map(|s| (s.repeats, s.spent));
        if of(before) == of(after) {
            return;
        }
        if let Some(statistics) = before {
            self.count(statistics, -1);
        }
        if let Some(statistics) = after {
            self.count(statistics, 1);
        }
    }

    fn count(&mut self, statistics: &Statistics, by: i64) {
        if let Some((key, sums)) = of_customer(statistics) {
            self.put_group(key, &sums, by);
        }
    }

    pub(super) fn merge_group(&mut self, key: Key, sums: &Sums) {
        self.put_group(key, sums, 1);
    }

    fn put_group(&mut self, key: Key, sums: &Sums, by: i64) {
        let group = self.groups.entry(key).or_default();
        group.add(sums, by);
        if *group == Sums::default() {
            self.groups.remove(&key);
        }
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &SpendHistogram) {
        for (key, sums) in &other.groups {
            self.merge_group(*key, sums);
        }
    }

    /// Customers in it.
    #[must_use]
    pub fn customers(&self) -> i64 {
        self.groups.values().map(|g| g.customers).sum()
    }

    /// Distinct groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The groups for a fit, money in units of `minor_per_unit` minor ones.
    #[must_use]
    pub fn groups(&self, minor_per_unit: f64) -> Vec<SpendGroup> {
        let ln_unit = libm::log(minor_per_unit);
        let with_customers = self.groups.iter().filter(|(_, sums)| sums.customers > 0);
        with_customers
            .map(|(&(repeats, _, _), sums)| {
                let customers = sums.customers as f64;
                SpendGroup {
                    orders: f64::from(repeats),
                    weight: customers,
                    total: sums.total as f64 / minor_per_unit,
                    ln_total: sums.ln_total as f64 / LN_UNIT - customers * ln_unit,
                }
            })
            .collect()
    }
}

fn key(repeats: u32, total: u64) -> Key {
    let off = (u64::BITS - total.leading_zeros()).saturating_sub(DIGITS);
    (repeats, off, (total >> off) as u16)
}
