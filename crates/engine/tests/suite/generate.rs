//! Made-up shops for properties: a few customers, every kind of event that matters here, and gaps
//! from nothing to months.

use domain::event::{Body, Event};
use domain::time::{DAY_MS, HOUR_MS, MINUTE_MS, TimeMs};
use proptest::prelude::*;

use crate::support::events::{START, add, cancel, event, order, refund, view};

/// Somewhere between the same instant and four months.
fn gap() -> impl Strategy<Value = i64> {
    prop_oneof![
        2 => Just(0),
        6 => 1..5 * MINUTE_MS,
        4 => MINUTE_MS..HOUR_MS,
        3 => HOUR_MS..3 * DAY_MS,
        1 => DAY_MS..120 * DAY_MS,
    ]
}

/// Events in time order, of `customers` customers and now and then a guest.
pub(crate) fn shop(customers: usize, most: usize) -> impl Strategy<Value = Vec<Event>> {
    let step = (0..customers + 1, 0..12_u8, gap(), 1..50_000_i64);
    proptest::collection::vec(step, 1..most).prop_map(move |steps| {
        let mut time = START;
        let mut events = Vec::new();
        for (at, (who, kind, gap, cents)) in steps.into_iter().enumerate() {
            time = time.plus(gap);
            let guest = who == customers;
            let name = if guest {
                String::new()
            } else {
                format!("c{who}")
            };
            let kind = if guest { kind % 3 + 6 } else { kind };
            events.push(make(&name, kind, at, time, cents));
        }
        events
    })
}

/// Orders are numbered by who and when, so that refunds and cancellations now and then meet one.
fn make(who: &str, kind: u8, at: usize, time: TimeMs, cents: i64) -> Event {
    let id = format!("e{at}");
    let some_order = format!("o-{who}-{}", at % 7);
    match kind {
        0..=2 => view(&id, who, time),
        3 => add(&id, who, time),
        4 => event(&id, who, time, Body::PageViewed { url: None }),
        5 => event(
            &id,
            who,
            time,
            Body::NpsAnswered {
                score: (at % 11) as u8,
            },
        ),
        6 | 7 => order(who, &format!("o-{who}-{}", at % 40), time, cents),
        8 => refund(who, &some_order, time, cents),
        9 => cancel(who, &some_order, time),
        10 => {
            let order_id = some_order.into();
            event(&id, who, time, Body::OrderDelivered { order_id })
        }
        _ => event(&id, who, time, Body::LeadCaptured),
    }
}

/// The same events as a bad network delivers them: some late, some twice.
pub(crate) fn delivered(events: &[Event], seed: u64) -> Vec<Event> {
    let mut order: Vec<(i64, usize)> = Vec::new();
    let mut random = seed | 1;
    let mut next = |bound: i64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 1) as i64 % bound
    };
    for (at, event) in events.iter().enumerate() {
        let late = match next(10) {
            0..=5 => 0,
            6..=8 => next(9 * MINUTE_MS),
            _ => next(2 * DAY_MS),
        };
        order.push((event.time.0 + late, at));
        if next(8) == 0 {
            order.push((event.time.0 + late + next(HOUR_MS), at));
        }
    }
    order.sort_unstable();
    order
        .into_iter()
        .map(|(_, at)| events[at].clone())
        .collect()
}
