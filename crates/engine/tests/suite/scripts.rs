//! What the engine says to a few records, case by case.

use domain::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use engine::port::TopicPartition;
use wire::routed::Routed;

use crate::support::events::{START, add, order, refund, view};
use crate::support::memory_log::Fault;
use crate::support::rig::Rig;

/// Sends, runs and compares what is said.
macro_rules! script {
    ($rig:expr, [$($event:expr),* $(,)?] => $expected:expr) => {{
        $($rig.send(&$event);)*
        $rig.run(1_000);
        assert_lines(&$rig.said(), $expected);
    }};
}

/// Compares line by line; how the expectation is indented does not count.
#[track_caller]
fn assert_lines(said: &str, expected: &str) {
    let trim = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|l| l.trim().to_owned());
        lines.filter(|l| !l.is_empty()).collect()
    };
    assert_eq!(trim(said), trim(expected), "said:\n{said}");
}

#[test]
fn a_first_order() {
    let mut rig = Rig::new(1);
    script!(
        rig,
        [
            view("e1", "ann", START),
            order("ann", "o1", START.plus(MINUTE_MS), 1999),
            order("ann", "o2", START.plus(2 * MINUTE_MS), 1),
        ] => "
        ann #1 2024-01-01T00:01:00.000Z event clv 1999 by 1 orders, interim (1999)
        ann #2 2024-01-01T00:02:00.000Z event clv 2000 by 2 orders, interim (1)
        ann #1 2024-01-01T00:00:00.000Z event lifecycle6: null -> awareness, first_touch
        ann #2 2024-01-01T00:01:00.000Z event lifecycle6: awareness -> purchase, first_order, skips consideration
        ann #3 2024-01-01T00:01:00.000Z event activity: null -> new, first_order
        ann #4 2024-01-01T00:02:00.000Z event activity: new -> active, second_order"
    );
    assert_eq!(rig.log.commits, 1);
}

#[test]
fn a_duplicate_says_nothing() {
    let mut rig = Rig::new(1);
    let first = order("ann", "o1", START, 1999);
    let seen = view("e1", "ann", START.plus(1));
    rig.send(&first);
    rig.send(&seen);
    rig.run(10);
    rig.said();
    script!(rig, [first, seen] => "");
    assert_eq!((rig.counts().applied, rig.counts().deduplicated), (2, 2));
}

#[test]
fn an_order_that_comes_late_is_a_correction() {
    let mut rig = Rig::new(1);
    rig.send(&order("ann", "o2", START.plus(DAY_MS), 500));
    rig.send(&order("bob", "o9", START.plus(2 * DAY_MS), 1));
    rig.run(10);
    rig.said();
    script!(
        rig,
        [order("ann", "o1", START, 1_000)] => "
        ann #2 2024-01-02T00:00:00.000Z correction clv 1500 by 2 orders, interim (1000)
        ann #3 2024-01-02T00:00:00.000Z correction activity: new -> active, second_order, corrects #2"
    );
    assert_eq!((rig.counts().applied, rig.counts().late), (2, 1));
}

#[test]
fn out_of_order_within_the_grace_it_is_put_in_its_place() {
    let mut rig = Rig::new(1);
    rig.send(&order("ann", "o2", START.plus(5 * MINUTE_MS), 500));
    rig.run(10);
    rig.said();
    script!(
        rig,
        [order("ann", "o1", START, 1_000)] => "
        ann #2 2024-01-01T00:05:00.000Z correction clv 1500 by 2 orders, interim (1000)
        ann #3 2024-01-01T00:05:00.000Z correction activity: new -> active, events_put_in_order, corrects #2"
    );
    assert_eq!((rig.counts().late, rig.counts().applied), (0, 2));
    let profile = &rig.profiles()["ann"];
    assert_eq!(profile.pending.len(), 2);
    assert_eq!(profile.pending[0].time, START);
}

#[test]
fn a_customer_is_at_risk_when_others_move_the_clock() {
    let mut rig = Rig::new(1);
    let due = START.plus(180 * DAY_MS);
    rig.send(&order("ann", "o1", START, 1_000));
    rig.send(&order("bob", "o2", due.minus(DAY_MS), 1_000));
    rig.run(10);
    rig.said();
    script!(
        rig,
        [order("bob", "o3", due.plus(10 * MINUTE_MS).minus(1), 1_000)] => "
        bob #2 2024-06-29T00:09:59.999Z event clv 2000 by 2 orders, interim (1000)
        bob #3 2024-06-29T00:09:59.999Z event activity: new -> active, second_order"
    );
    // A millisecond later it is out of the grace, and comes before what moved the clock.
    script!(
        rig,
        [order("bob", "o4", due.plus(10 * MINUTE_MS), 1_000)] => "
        bob #3 2024-06-29T00:10:00.000Z event clv 3000 by 3 orders, interim (1000)
        ann #4 2024-06-29T00:00:00.000Z timer activity: new -> at_risk, no_order_for_l
        ann #2 2024-06-29T00:00:00.000Z timer exited second_purchase_window"
    );
}

#[test]
fn the_end_of_a_replay_closes_the_grace() {
    let mut rig = Rig::new(1);
    let until = START.plus(HOUR_MS);
    rig.send(&add("e1", "ann", START));
    rig.run(10);
    rig.said();
    rig.control_all(&Routed::EndOfReplay {
        until: until.minus(1),
    });
    script!(rig, [] => "");
    rig.control_all(&Routed::EndOfReplay { until });
    script!(rig, [] => "ann #1 2024-01-01T01:00:00.000Z timer entered cart_abandoner");
    // What comes now is late, were it only by nothing.
    script!(rig, [view("e2", "ann", until)] => "");
    assert_eq!((rig.counts().late, rig.counts().control), (1, 2));
}

#[test]
fn a_tick_moves_the_clock_of_an_idle_shop() {
    let mut rig = Rig::new(1);
    rig.send(&add("e1", "ann", START));
    rig.run(10);
    rig.said();
    let due = START.plus(HOUR_MS);
    rig.control_all(&Routed::Tick {
        now: due.plus(10 * MINUTE_MS),
    });
    script!(rig, [] => "ann #1 2024-01-01T01:00:00.000Z timer entered cart_abandoner");
    assert_eq!(rig.counts().control, 1);
}

#[test]
fn a_dead_letter_goes_out_as_it_came() {
    let mut rig = Rig::new(1);
    rig.send_bytes("orders", 0, START, b"\x01key", b"{\"type\": \"order_comp");
    rig.send(&order("ann", "o1", START, 100));
    rig.log.next_commit(Some(Fault::Abort));
    assert!(rig.once(10).is_err());
    assert_lines(&rig.said(), "");
    script!(
        rig,
        [] => r#"
        ann #1 2024-01-01T00:00:00.000Z event clv 100 by 1 orders, interim (100)
        dead Some("\u{1}key") Some("{\"type\": \"order_comp")
          clv_topic: orders
          clv_partition: 0
          clv_offset: 0
          clv_error_class: not_json
          clv_error_message: the value ends early at line 1, column 20
        ann #1 2024-01-01T00:00:00.000Z event lifecycle6: null -> purchase, first_order, skips awareness, skips consideration
        ann #2 2024-01-01T00:00:00.000Z event activity: null -> new, first_order"#
    );
    let counts = rig.counts();
    assert_eq!((counts.dead_lettered, counts.applied), (1, 1));
    // Its position went out with it, and once.
    let told: Vec<_> = rig
        .commits(0)
        .into_iter()
        .map(|record| (record.consumed.positions, record.consumed.order))
        .collect();
    let orders = TopicPartition {
        topic: "orders".into(),
        partition: 0,
    };
    assert_eq!(told, [(vec![(orders, 2)], vec![(0, 2)])]);
}

#[test]
fn a_guest_order_counts_in_the_days_and_says_nothing() {
    let mut rig = Rig::new(1);
    rig.send(&order("", "o1", START, 1_000));
    rig.send(&refund("", "o1", START.plus(DAY_MS), 400));
    rig.control_all(&Routed::EndOfReplay {
        until: START.plus(900 * DAY_MS),
    });
    script!(rig, [] => "");
    let days: Vec<_> = rig
        .days()
        .into_iter()
        .map(|(day, t)| {
            (
                day.to_string(),
                t.orders,
                t.customers,
                t.gross.0,
                t.returns.0,
            )
        })
        .collect();
    assert_eq!(
        days,
        [
            ("2024-01-01".to_owned(), 1, 0, 1_000, 0),
            ("2024-01-02".to_owned(), 0, 0, 0, 400),
        ]
    );
    assert_eq!(rig.counts().outputs, 0);
}

#[test]
fn a_day_that_loses_its_only_fact_is_gone() {
    let mut rig = Rig::new(1);
    rig.send(&order("ann", "o1", START, 1_000));
    rig.send(&refund("ann", "o1", START.plus(2 * DAY_MS), 400));
    rig.run(1);
    assert_eq!(rig.days().len(), 2);
    // The same refund, told differently: of two versions the earlier one counts.
    rig.send(&refund("ann", "o1", START.plus(DAY_MS), 400));
    rig.run(1);
    let days: Vec<_> = rig.days().into_keys().map(|d| d.to_string()).collect();
    assert_eq!(days, ["2024-01-01", "2024-01-02"]);
}

/// A customer of task `of` among `tasks`.
fn customer(of: u32, tasks: u32) -> String {
    (0..)
        .map(|n| format!("c{n}"))
        .find(|name| wire::partition_of(name.as_bytes(), tasks) == of)
        .expect("a customer")
}

#[test]
fn an_event_at_the_wrong_task_goes_to_its_owner() {
    let mut rig = Rig::new(2);
    let other = customer(1, 2);
    rig.send_to(0, &order(&other, "o1", START, 700));
    rig.run(10);
    let counts = rig.counts();
    assert_eq!(
        (counts.forwarded, counts.applied, counts.control),
        (1, 1, 0)
    );
    let partitions: Vec<u32> = rig.outputs().keys().map(|(_, p)| *p).collect();
    assert!(partitions.iter().all(|p| *p == 1), "{partitions:?}");
    // The owner's clock goes by the one that forwards.
    assert_eq!(rig.book(1).clock.stream_time, START);
    // Which says how far it is also when it has nothing to forward.
    rig.send_to(0, &order(&customer(0, 2), "o2", START.plus(DAY_MS), 700));
    rig.run(10);
    assert_eq!(rig.book(1).clock.stream_time, START.plus(DAY_MS));
    assert_eq!(rig.counts().control, 1);
}

#[test]
fn who_was_forwarded_to_is_told_the_time_after_a_restart_too() {
    let mut rig = Rig::new(2);
    rig.send_to(0, &order(&customer(1, 2), "o1", START, 700));
    rig.run(10);
    rig.crash();
    rig.send_to(0, &order(&customer(0, 2), "o2", START.plus(DAY_MS), 700));
    rig.run(10);
    assert_eq!(rig.book(1).clock.stream_time, START.plus(DAY_MS));
}

#[test]
fn tasks_that_forward_to_each_other_do_not_hold_each_other_up() {
    let mut rig = Rig::new(2);
    for hour in 0..4 {
        let time = START.plus(hour * HOUR_MS);
        for task in 0..2 {
            let other = customer(1 - task, 2);
            rig.send_to(task, &order(&other, &format!("o{hour}-{task}"), time, 700));
        }
        rig.run(10);
        assert_eq!(rig.book(0).clock.stream_time, time);
        assert_eq!(rig.book(1).clock.stream_time, time);
    }
    assert_eq!(rig.counts().control, 0, "nobody had to be told");
}

#[test]
fn a_task_that_is_new_to_another_takes_its_clock_back() {
    // Task 1 is a day ahead when it first hears of task 0's customers.
    let mut rig = Rig::new(2);
    let theirs = customer(1, 2);
    rig.send_to(1, &view("e0", &theirs, START.plus(DAY_MS)));
    rig.run(10);
    let far = (0..)
        .map(|n| format!("far{n}"))
        .find(|name| wire::partition_of(name.as_bytes(), 2) == 1)
        .expect("a customer");
    rig.said();
    // A cart that is abandoned for less than an hour: no timer may come between.
    rig.send_to(0, &add("e1", &far, START));
    rig.run(10);
    rig.send_to(0, &order(&far, "o1", START.plus(30 * MINUTE_MS), 700));
    rig.run(10);
    let lines = rig.said();
    assert!(!lines.contains("timer"), "{lines}");
    assert_eq!(rig.counts().late, 0);
}
