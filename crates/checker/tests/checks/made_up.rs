//! Small histories made by hand: what each finding says.

use checker::{Check, Entry, Naming, Outcome, check};
use domain::event::Event;
use domain::time::MINUTE_MS;

use crate::histories::{at, names, subject, topics_of};
use crate::support::events::{START, order, view};
use crate::support::rig::Rig;
use crate::topics::{Damage, Topics};

/// Three customers, six commits, one task.
fn history() -> Topics {
    let mut rig = Rig::new(1);
    let later = |minutes| START.plus(minutes * MINUTE_MS);
    let events: [Event; 6] = [
        order("ann", "o1", later(0), 1_000),
        view("e1", "bob", later(1)),
        order("ann", "o2", later(2), 500),
        order("eve", "o3", later(3), 70),
        order("bob", "o4", later(4), 900),
        view("e2", "ann", later(5)),
    ];
    for event in &events {
        rig.send(event);
        rig.run(100);
    }
    topics_of(&rig, 1)
}

/// What each failed check says after `damage`.
fn told(damage: impl Fn(&mut Topics)) -> Vec<String> {
    let mut topics = history();
    damage(&mut topics);
    let Ok(report) = check(&subject(1, false), &mut topics, 0, None, &mut |_| {});
    let failures = report.failures();
    failures
        .map(|(check, finding)| format!("{check}: {finding}"))
        .collect()
}

fn damaged(topic: &str, nth: usize, damage: Damage) -> Vec<String> {
    let topic = at(topic, 0);
    told(|topics| assert!(topics.damage(&topic, nth, damage, 40)))
}

#[test]
fn an_undamaged_history_says_nothing() {
    assert_eq!(told(|_| {}), Vec::<String>::new());
}

#[test]
fn the_chain_names_what_is_missing_twice_or_altered() {
    let commits = names().commits;
    let says = |nth, damage| damaged(&commits, nth, damage).remove(0);
    assert_eq!(
        says(2, Damage::Removed),
        "chain: shop.internal.commits partition 0 offset 3 (commit 4): the record of commit 4 follows \
         that of commit 2: that of commit 3 is missing"
    );
    assert_eq!(
        says(2, Damage::Doubled),
        "chain: shop.internal.commits partition 0 offset 3 (commit 3): a record of commit 3 follows that \
         of commit 3: it stands here twice, or not in its place"
    );
    assert_eq!(
        says(0, Damage::Removed),
        "chain: shop.internal.commits partition 0 offset 1 (commit 2): the first commit record is none \
         of a first commit: those before it are missing"
    );
}

#[test]
fn an_output_is_named_with_its_sequence_and_without_the_customer() {
    let clv = names().clv_updates;
    let says = |nth, damage| damaged(&clv, nth, damage);
    let ann = Naming::Hashed.name(b"ann");
    assert_eq!(
        says(1, Damage::Removed)[0],
        format!(
            "outputs: shop.clv.updates partition 0 offset 2 (commit 3, customer {ann}, sequence 2): the \
             record that should stand before this offset is missing"
        )
    );
    assert_eq!(
        says(1, Damage::Doubled),
        [
            format!(
                "outputs: shop.clv.updates partition 0 offset 2 (commit 4, customer {ann}, sequence 2): \
                 the record stands here twice"
            ),
            format!(
                "sequences: shop.clv.updates partition 0 offset 2 (customer {ann}, sequence 2): its \
                 number stands here twice"
            ),
            "counts: shop.internal.changelog partition 0 offset 18: the task counted 12 outputs, and \
             there are 13"
                .to_owned(),
        ]
    );
    for line in [Damage::Removed, Damage::Doubled, Damage::Value]
        .map(|d| says(1, d))
        .concat()
    {
        assert!(!line.contains("ann"), "{line}");
    }
}

#[test]
fn a_customer_is_named_where_that_is_asked_for() {
    let mut topics = history();
    assert!(topics.damage(&at(&names().clv_updates, 0), 1, Damage::Value, 40));
    let mut subject = subject(1, false);
    subject.naming = Naming::Clear;
    let Ok(report) = check(&subject, &mut topics, 0, None, &mut |_| {});
    let (_, finding) = report.failures().next().expect("a failure");
    assert_eq!(finding.key.as_deref(), Some("ann"));
}

#[test]
fn an_input_is_named_by_the_span_that_it_was_consumed_in() {
    let missing = &damaged("orders", 1, Damage::Removed)[0];
    let expected = "consumed: orders partition 0 offset 1 (commit 3): the commit consumed 1 records of it \
                    up to offset 2, and 0 are there: one is missing";
    assert!(missing.starts_with(expected), "{missing}");
    let altered = &damaged("orders", 1, Damage::Value)[0];
    let expected = "commits: orders partition 0 offset 1 (commit 3): what the commit wrote is not what \
                    comes of the records that it consumed: one of these was altered since";
    assert!(altered.starts_with(expected), "{altered}");
}

#[test]
fn a_record_that_no_commit_wrote_is_found_behind_the_last_one() {
    let found = told(|topics| {
        let letters = at(&names().dead_letters, 0);
        let entry = Entry {
            offset: 0,
            timestamp: START,
            key: None,
            value: Some(b"?".to_vec()),
            headers: vec![("clv_topic".to_owned(), b"orders".to_vec())],
        };
        let loaded = Entry {
            offset: 1,
            headers: vec![("clv_topic".to_owned(), b"orders.csv".to_vec())],
            ..entry.clone()
        };
        topics.partitions.insert(letters, vec![entry, loaded]);
    });
    assert_eq!(
        found[0],
        "dead_letters: shop.dlq partition 0 offset 0: no commit wrote this record"
    );
    assert!(
        found[1].ends_with("the task counted 0 dead letters, and there are 1"),
        "{found:?}"
    );
}

#[test]
fn an_empty_application_passes() {
    let mut topics = Topics::default();
    let Ok(report) = check(&subject(1, true), &mut topics, 0, None, &mut |_| {});
    assert_eq!(report.failures().count(), 0);
    assert_eq!(report.outcome(Check::Chain), Some(&Outcome::Passed(0)));
}
