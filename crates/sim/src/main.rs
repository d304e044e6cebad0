//! Temporary.
use std::sync::Arc;
fn main() {
    let shop = Arc::new(sim::shop::Shop::open().unwrap());
    let from: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let n: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let mut cov = sim::faults::Coverage::default();
    for seed in from..from+n {
        let r = sim::seed::examine(seed, None, n == 1, &shop);
        println!("{} {} faults, {} ms, {:?} txns, {} rebalances, hash {:x} {:?}", seed, r.coverage.total(), r.virtual_ms, r.transactions, r.rebalances, r.hash, r.violations);
        cov.add(&r.coverage);
    }
}
