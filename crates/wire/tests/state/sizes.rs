//! How large profiles are: the aims are those of a shop with 100 million customers.

use domain::event::{Body, Event};

use crate::profiles::{bytes, definitions, grow, shop};

/// Mean and 90th percentile.
fn measure(what: &str, mut sizes: Vec<usize>) -> (usize, usize) {
    assert!(sizes.len() >= 30, "{what}: {} are too few", sizes.len());
    sizes.sort_unstable();
    let mean = sizes.iter().sum::<usize>() / sizes.len();
    let high = sizes[sizes.len() * 9 / 10];
    println!(
        "{what}: {} profiles, mean {mean}, median {}, 90 % ≤ {high}, largest {}",
        sizes.len(),
        sizes[sizes.len() / 2],
        sizes[sizes.len() - 1]
    );
    (mean, high)
}

#[test]
fn profiles_are_as_small_as_they_are_meant_to_be() {
    let definitions = definitions();
    let (mut visitors, mut waiting) = (Vec::new(), Vec::new());
    let (mut regulars, mut buyers) = (Vec::new(), Vec::new());
    for (key, events) in shop(7, 2_000, 3 * 365, 0) {
        let mut unsettled = 0;
        let grown = grow(&events, &definitions, |p| unsettled = bytes(p).len());
        let size = bytes(&grown).len();
        let sessions = grown.live.behaviour.totals.sessions;
        let orders = grown.live.stats().orders;
        if key.starts_with("anon:") && sessions == 1 && orders == 0 {
            visitors.push(size);
            waiting.push(unsettled);
        }
        if (8..=12).contains(&orders) {
            regulars.push(size);
            let events: Vec<Event> = events.into_iter().filter(of_order).collect();
            buyers.push(bytes(&grow(&events, &definitions, |_| {})).len());
        }
    }
    let visitor = measure("visitor of one session", visitors);
    let waiting = measure("the same, while its events are pending", waiting);
    let buyer = measure("about ten orders, no browsing", buyers);
    let regular = measure("about ten orders, fifty days of browsing", regulars);
    // The aims.
    assert!(visitor.1 <= 200, "{visitor:?}");
    assert!(buyer.0 <= 600, "{buyer:?}");
    // What these customers, who browse every week, take beyond it.
    assert!(regular.0 <= 700, "{regular:?}");
    assert!(waiting.0 <= 350, "{waiting:?}");
}

/// Whether a shop without a website would know of the event.
fn of_order(event: &Event) -> bool {
    event.body.is_order_fact() || matches!(event.body, Body::OrderDelivered { .. })
}
