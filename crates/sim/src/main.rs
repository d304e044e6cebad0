//! Temporary.
use std::sync::Arc;
fn main() {
    let shop = Arc::new(sim::shop::Shop::open().unwrap());
    let from: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let n: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    if std::env::var("MUT").is_ok() {
        for m in sim::mutants::Mutation::ALL { if let Ok(w) = std::env::var("ONLY") { if format!("{m:?}") != w { continue; } }
            let mut hist = Vec::new();
            for seed in from..from+n {
                let r = sim::seed::examine(seed, Some(m), false, &shop);
                if let Some(v) = r.violations.first() { hist.push((seed, v.clone())); }
            }
            println!("{:?}: {} of {n}; first {:?}", m, hist.len(), hist.first());
        }
        return;
    }
    let mut cov = sim::faults::Coverage::default();
    for seed in from..from+n {
        let r = sim::seed::examine(seed, None, n == 1, &shop);
        if !r.violations.is_empty() {
        println!("{} {} faults, {} ms, {:?} txns, {} rebalances, hash {:x} {:?}", seed, r.coverage.total(), r.virtual_ms, r.transactions, r.rebalances, r.hash, r.violations);
        }
        cov.add(&r.coverage);
    }
    for f in sim::faults::Fault::ALL { print!("{:20}", f); for p in sim::faults::Phase::ALL { print!("{:6}", cov.of(f,p)); } println!(); }
}
