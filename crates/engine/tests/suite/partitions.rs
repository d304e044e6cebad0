//! However many tasks there are and wherever an event was first read: the same profiles, the same
//! days, and every record accounted for (I7).

use std::collections::{BTreeMap, BTreeSet};

use domain::event::Event;
use domain::orders::DayTotals;
use domain::profile::View;
use domain::time::{DAY_MS, Day, MINUTE_MS};
use engine::topics::Topics;
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

/// When the number of tasks is changed to which other one: after so many hundredths of the events. By then
/// the last few are in the inputs and not consumed; and one partition is far behind.
type Changes<'a> = &'a [(usize, u32)];

/// So many hundredths are not consumed.
const UNREAD: usize = 5;
/// For so many hundredths nothing comes in the partition that is behind.
const BEHIND: usize = 30;

impl Keyed {
    /// The partition of an event among so many.
    fn partition_of(self, event: &Event, partitions: u32) -> u32 {
        let key = event.owner().expect("an owner").key();
        match self {
            Keyed::Rightly => partition_of(key.as_bytes(), partitions),
            Keyed::Otherwise => partition_of(format!("other {key}").as_bytes(), partitions),
            Keyed::Anyhow => partition_of(event.id.as_bytes(), partitions),
        }
    }
}

type Settled = (BTreeMap<String, View>, BTreeMap<Day, DayTotals>);

fn settle(tasks: u32, keyed: Keyed, arrivals: &[Event], budget: usize) -> Settled {
    settle_over(tasks, &[], keyed, arrivals, budget)
}

/// The inputs keep the partitions that they began with.
fn settle_over(
    tasks: u32,
    changes: Changes<'_>,
    keyed: Keyed,
    arrivals: &[Event],
    budget: usize,
) -> Settled {
    let mut rig = Rig::new(tasks);
    if !changes.is_empty() && matches!(keyed, Keyed::Rightly) {
        // Nobody waits for contact, which does not come: each task has a clock of its own.
        rig.control_all(&Routed::Alone);
        rig.run(budget);
    }
    let mut changes = changes.iter().zip(0..).peekable();
    let mut seen = BTreeSet::new();
    let mut behind = Vec::new();
    for (at, event) in arrivals.iter().enumerate() {
        let is_after = |hundredths: usize| at * 100 >= hundredths * arrivals.len();
        if changes
            .peek()
            .is_some_and(|((after, _), _)| !is_after(*after))
        {
            rig.run(budget);
        }
        if let Some(((_, to), _)) = changes.next_if(|((after, _), _)| is_after(after + UNREAD)) {
            for (partition, event) in behind.drain(..) {
                rig.send_to(partition, event);
            }
            rig = rig.repartition(*to);
        }
        let partition = keyed.partition_of(event, tasks);
        let lags = changes.peek().is_some_and(|((after, _), change)| {
            // One that was never heard of would not be waited for.
            let which = (*change % tasks, seen.contains(&partition));
            which == (partition, true) && is_after(after.saturating_sub(BEHIND))
        });
        match lags {
            true => behind.push((partition, event)),
            false => rig.send_to(partition, event),
        }
        seen.insert(partition);
    }
    for (partition, event) in behind.drain(..) {
        rig.send_to(partition, event);
    }
    rig.run(budget);
    let last = arrivals.iter().map(|e| e.time).max().unwrap_or_default();
    rig.control_all(&Routed::EndOfReplay {
        until: last.plus(400 * DAY_MS),
    });
    rig.run(budget);
    account(&rig, arrivals.len());
    if arrivals.is_sorted_by_key(|event| event.time) {
        assert_eq!(rig.counts().late, 0, "what comes in order is not late");
    }
    (rig.views(), rig.days())
}

/// I7: every record that was read has become something, exactly once.
fn account(rig: &Rig, sent: usize) {
    let counts = rig.counts();
    let routed = |generation| -> usize {
        let topics = Topics::of_generation("shop", generation);
        let partitions = rig.log.topic(&topics.routed);
        partitions.map(|(_, records)| records.len()).sum()
    };
    let routed: usize = (0..=rig.topics().generation).map(routed).sum();
    assert_eq!(counts.consumed(), (sent + routed) as u64, "{counts:?}");
    assert_eq!(
        counts.applied + counts.late + counts.deduplicated,
        sent as u64,
        "{counts:?}"
    );
    let outputs = rig.outputs();
    let said: usize = outputs.values().map(Vec::len).sum();
    assert_eq!(counts.outputs + counts.dead_lettered, said as u64);
    for ((topic, partition), records) in &outputs {
        let mut next: BTreeMap<&[u8], u64> = BTreeMap::new();
        for record in records {
            let key = record.key.as_deref().expect("a key");
            assert_eq!(
                partition_of(key, rig.setup().outputs),
                *partition,
                "{topic}"
            );
            let next = next.entry(key).or_insert(1);
            assert_eq!(rig.json(record)["sequence"], *next, "{topic}");
            *next += 1;
        }
    }
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Also where the number of tasks is changed on the way, and changed again: the end is that of any
    /// number of tasks throughout, and outputs are numbered on without a gap.
    #[test]
    fn changing_the_number_of_tasks_on_the_way_makes_no_difference(
        events in shop(7, 120), first in 0..60_usize, then in 60..101_usize, budget in 1..40_usize,
    ) {
        let one = settle(1, Keyed::Rightly, &events, 100_000);
        for (from, to, back) in [(4, 6, 3), (6, 3, 1), (1, 4, 2), (3, 2, 5), (4, 8, 4)] {
            for keyed in [Keyed::Rightly, Keyed::Otherwise, Keyed::Anyhow] {
                let changes = [(first, to), (then, back)];
                let changed = settle_over(from, &changes, keyed, &events, budget);
                prop_assert_eq!(&changed, &one, "{} to {} to {}, keyed {:?}", from, to, back, keyed);
            }
        }
    }
}
