//! Where a batch ends makes no difference to what is said, byte for byte, nor to state.

use domain::event::Event;
use domain::time::DAY_MS;
use proptest::prelude::*;
use wire::routed::Routed;

use crate::generate::{delivered, shop};
use crate::support::events::model;
use crate::support::rig::Rig;

/// Everything is sent before anything is processed; one tick and the end of the replay go along.
fn loaded(tasks: u32, arrivals: &[Event]) -> Rig {
    let mut rig = Rig::new(tasks);
    for (at, event) in arrivals.iter().enumerate() {
        rig.send(event);
        if at % 9 == 5 {
            rig.send_bytes(
                "clicks",
                rig.owner_of(event),
                event.time,
                b"k",
                b"{\"no\": 1",
            );
        }
    }
    if let Some(last) = arrivals.iter().map(|e| e.time).max() {
        let middle = arrivals[arrivals.len() / 2].time;
        rig.control_all(&Routed::Model(model(1)));
        rig.control_all(&Routed::Tick { now: middle });
        rig.control_all(&Routed::Rescore { profiles: 2 });
        rig.control_all(&Routed::Model(model(2)));
        rig.control_all(&Routed::Rescore { profiles: 1 });
        rig.control_all(&Routed::Rescore { profiles: 3 });
        rig.control_all(&Routed::Model(model(3)));
        rig.control_all(&Routed::EndOfReplay {
            until: last.plus(200 * DAY_MS),
        });
        rig.control_all(&Routed::Rescore { profiles: 3 });
        rig.control_all(&Routed::Rescore { profiles: 100 });
        rig.control_all(&Routed::Rescore { profiles: 1 });
    }
    rig
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn batches_of_any_size_say_the_same(
        events in shop(4, 90), seed in any::<u64>(), tasks in 1..3_u32,
    ) {
        let arrivals = delivered(&events, seed);
        let mut whole = loaded(tasks, &arrivals);
        whole.run(100_000);
        for budget in [1, 2, 7, 50] {
            let mut parts = loaded(tasks, &arrivals);
            parts.run(budget);
            prop_assert_eq!(&parts.outputs(), &whole.outputs(), "{} a batch", budget);
            prop_assert_eq!(parts.state(), whole.state(), "{} a batch", budget);
        }
    }

    #[test]
    fn a_restart_after_every_batch_says_the_same(
        events in shop(4, 90), seed in any::<u64>(), budget in 1..20_usize,
    ) {
        let arrivals = delivered(&events, seed);
        let mut whole = loaded(1, &arrivals);
        whole.run(100_000);
        let mut parts = loaded(1, &arrivals);
        while parts.once(budget).expect("a commit") {
            parts.crash();
        }
        prop_assert_eq!(&parts.outputs(), &whole.outputs());
        prop_assert_eq!(parts.state(), whole.state());
    }

    /// As it is live: what is sent piece by piece, and processed whenever something is there.
    #[test]
    fn a_record_at_a_time_says_the_same_as_all_at_once(
        events in shop(4, 60), seed in any::<u64>(),
    ) {
        // One input, so that the order of consumption does not depend on what is there to be read.
        let send = |rig: &mut Rig, event: &Event| {
            let value = rig.encoded(event);
            rig.send_bytes("clicks", 0, event.time, b"k", &value);
        };
        let arrivals = delivered(&events, seed);
        let mut whole = Rig::new(1);
        arrivals.iter().for_each(|event| send(&mut whole, event));
        whole.run(100_000);
        let mut parts = Rig::new(1);
        for event in &arrivals {
            send(&mut parts, event);
            parts.run(3);
        }
        prop_assert_eq!(&parts.outputs(), &whole.outputs());
        prop_assert_eq!(parts.state(), whole.state());
    }
}

#[test]
fn an_input_without_records_does_not_use_up_the_budget() {
    let mut rig = Rig::new(1);
    let order = crate::support::events::order("ann", "o1", crate::support::events::START, 100);
    rig.send(&order); // in the second of four inputs
    rig.run(1);
    assert_eq!(rig.counts().applied, 1);
}
