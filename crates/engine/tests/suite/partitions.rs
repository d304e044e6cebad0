//! However many tasks there are and wherever an event was first read: the same profiles, the same
//! days, and every record accounted for (I7).

use std::collections::BTreeMap;

use domain::event::Event;
use domain::orders::DayTotals;
use domain::profile::View;
use domain::time::{DAY_MS, Day, MINUTE_MS};
use proptest::prelude::*;
use wire::partition_of;
use wire::routed::Routed;

use crate::generate::{delivered, shop};
use crate::support::events::{START, order, view};
use crate::support::rig::Rig;

/// Which partition an event is sent to.
#[derive(Clone, Copy, Debug)]
enum Keyed {
    /// Its owner's.
    Rightly,
    /// Another one, the same for all events of a customer: another partitioner.
    Otherwise,
    /// Any: by the event's id.
    Anyhow,
}

type Settled = (BTreeMap<String, View>, BTreeMap<Day, DayTotals>);

fn settle(tasks: u32, keyed: Keyed, arrivals: &[Event], budget: usize) -> Settled {
    let mut rig = Rig::new(tasks);
    for event in arrivals {
        let partition = match keyed {
            Keyed::Rightly => rig.owner_of(event),
            Keyed::Otherwise => {
                let key = event.owner().expect("an owner").key();
                partition_of(format!("other {key}").as_bytes(), tasks)
            }
            Keyed::Anyhow => partition_of(event.id.as_bytes(), tasks),
        };
        rig.send_to(partition, event);
    }
    rig.run(budget);
    let last = arrivals.iter().map(|e| e.time).max().unwrap_or_default();
    rig.control_all(&Routed::EndOfReplay {
        until: last.plus(400 * DAY_MS),
    });
    rig.run(budget);
    account(&rig, arrivals.len());
    (rig.views(), rig.days())
}

/// I7: every record that was read has become something, exactly once.
fn account(rig: &Rig, sent: usize) {
    let counts = rig.counts();
    let routed: usize = rig
        .log
        .topic(&rig.topics().routed)
        .map(|(_, records)| records.len())
        .sum();
    assert_eq!(counts.consumed(), (sent + routed) as u64, "{counts:?}");
    assert_eq!(
        counts.applied + counts.late + counts.deduplicated,
        sent as u64,
        "{counts:?}"
    );
    let outputs = rig.outputs();
    let said: usize = outputs.values().map(Vec::len).sum();
    assert_eq!(counts.outputs + counts.dead_lettered, said as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_number_of_tasks_makes_no_difference(events in shop(7, 120), budget in 1..40_usize) {
        let one = settle(1, Keyed::Rightly, &events, 100_000);
        for tasks in [4, 16] {
            for keyed in [Keyed::Rightly, Keyed::Otherwise, Keyed::Anyhow] {
                let many = settle(tasks, keyed, &events, budget);
                prop_assert_eq!(&many, &one, "{} tasks, keyed {:?}", tasks, keyed);
            }
        }
    }

    /// Orders are exact at any lateness, so wherever and whenever they are read.
    #[test]
    fn books_and_days_are_exact_however_scattered(
        events in shop(5, 100), seed in any::<u64>(), budget in 1..40_usize,
    ) {
        let facts: Vec<Event> =
            events.into_iter().filter(|e| e.body.is_order_fact()).collect();
        let books = |settled: &Settled| -> Vec<_> {
            settled.0.iter().map(|(who, view)| (who.clone(), view.book.clone())).collect()
        };
        let one = settle(1, Keyed::Rightly, &facts, 100_000);
        let arrivals = delivered(&facts, seed);
        for tasks in [1, 4, 16] {
            let many = settle(tasks, Keyed::Anyhow, &arrivals, budget);
            prop_assert_eq!(books(&many), books(&one), "{} tasks", tasks);
            prop_assert_eq!(&many.1, &one.1, "{} tasks", tasks);
        }
    }
}

#[test]
fn who_is_told_to_wait_for_no_other_still_goes_by_all_of_its_inputs() {
    let (early, late) = (
        view("ada", "v-1", START.plus(MINUTE_MS)),
        view("ada", "v-2", START.plus(2 * DAY_MS)),
    );
    let mut rig = Rig::new(2);
    let own = rig.owner_of(&early);
    rig.send(&view("ada", "v-0", START));
    rig.send(&order("ada", "o-0", START, 1_000));
    rig.run(100);
    // The orders flow on; one partition does, and the clicks come late by the wall clock.
    rig.control(own, &Routed::Alone);
    rig.send(&order("ada", "o-1", START.plus(DAY_MS), 1_000));
    rig.run(100);
    rig.send(&early);
    rig.send(&late);
    rig.run(100);
    let counts = rig.counts();
    assert_eq!((counts.late, counts.applied), (0, 5), "{counts:?}");
}
