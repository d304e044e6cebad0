//! One seed, from its beginning to what is wrong with it.

use std::sync::Arc;

use crate::check;
use crate::cluster::Violation;
use crate::faults::Coverage;
use crate::mutants::Mutation;
use crate::shop::Shop;
use crate::world::{Plan, run};

/// Faults in a seed, at least.
pub const FAULTS: u64 = 20;

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was seen that must not be; the first is the first that was found.
    pub violations: Vec<Violation>,
    /// Faults that happened.
    pub coverage: Coverage,
    /// The trace's hash.
    pub hash: u64,
    /// How long it took, in virtual milliseconds.
    pub virtual_ms: u64,
    /// Transactions committed, and aborted.
    pub transactions: (u64, u64),
    /// How often tasks were dealt out.
    pub rebalances: u64,
    /// Models that were promoted, and those of them that came among the records of the load.
    pub promoted: (u64, u64),
}

/// Runs a seed and checks what it leaves behind.
#[must_use]
pub fn examine(seed: u64, mutation: Option<Mutation>, prints: bool, shop: &Arc<Shop>) -> Report {
    let plan = Plan {
        seed,
        faults: FAULTS,
        is_calm: false,
        mutation,
        prints,
    };
    let ran = run(plan, shop);
    let mut violations = ran.violations().to_vec();
    violations.extend(check::all(&ran, shop));
    if violations.is_empty() && ran.is_complete {
        violations.extend(check::against_oracle(&ran, shop));
    }
    if violations.is_empty() && ran.is_complete {
        let calm = Plan {
            faults: 0,
            is_calm: true,
            mutation: None,
            prints: false,
            ..plan
        };
        let calm = run(calm, shop);
        violations.extend(check::against_calm(&ran, &calm, shop));
    }
    let ended = |how: bool| {
        let all = ran.cluster.transactions().iter();
        all.filter(|t| t.committed == Some(how)).count() as u64
    };
    Report {
        seed,
        violations,
        coverage: ran.coverage.clone(),
        hash: ran.cluster.trace.hash(),
        virtual_ms: ran.cluster.now().0,
        transactions: (ended(true), ended(false)),
        rebalances: ran.cluster.rebalances(),
        promoted: ran.promotions.counts(),
    }
}
