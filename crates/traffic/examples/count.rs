//! Counts the events of a shop by kind: `count [EVENTS] [SEED] [CUSTOMERS]`. With `time`, the rate
//! of generation; the shop is sized for the events unless the customers are given.

use std::collections::BTreeMap;
use std::io::Write;

use traffic::{ShopConfig, ShopTraffic};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .map(|n| n.parse())
        .collect::<Result<_, _>>()?;
    let events = numbers.first().copied().unwrap_or(1_000_000);
    let mut config = ShopConfig {
        seed: numbers.get(1).copied().unwrap_or(1),
        ..ShopConfig::default()
    };
    config = match numbers.get(2) {
        Some(&customers) => ShopConfig {
            customers: u32::try_from(customers)?,
            ..config
        },
        None => config
            .sized_for(events)
            .map_err(|problems| format!("{problems:?}"))?,
    };
    let traffic = ShopTraffic::new(&config).map_err(|problems| format!("{problems:?}"))?;
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut last, mut total) = (config.start, 0_u64);
    for event in traffic.take(usize::try_from(events)?) {
        *kinds.entry(event.body.type_name()).or_default() += 1;
        last = event.time;
        total += 1;
    }
    let mut out = std::io::stdout().lock();
    for (kind, count) in kinds {
        writeln!(out, "{count:>12}  {kind}")?;
    }
    writeln!(
        out,
        "{total:>12}  events of {} customers up to {last}",
        config.customers
    )?;
    Ok(())
}
