//! The simulated Kafka does as Kafka does.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::rc::Rc;
use std::sync::Arc;

use domain::time::TimeMs;
use engine::group::Change;
use engine::port::TopicPartition;
use sim::cluster::partition::{Content, Fate, Writer};
use sim::cluster::{Cluster, Membership, Offset, Patience, Refusal, SCAN, TRANSACTION_TIMEOUT};
use sim::time::Moment;
use sim::trace::Trace;

const PATIENCE: Patience = Patience {
    session: 6_000,
    poll: 15_000,
};
const NOBODY: Membership = Membership {
    member: None,
    generation: -1,
};

fn at(topic: &str) -> TopicPartition {
    TopicPartition {
        topic: Arc::from(topic),
        partition: 0,
    }
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::new(1, 4, PATIENCE, Trace::default());
    cluster.create(at("a"), false);
    cluster.create(at("b"), false);
    cluster.create(at("log"), true);
    cluster
}

fn later(cluster: &mut Cluster, ms: u64) {
    let to = Moment(cluster.now().0 + ms);
    cluster.advance(to);
}

/// Begins as `name`, however long that takes.
fn init(cluster: &mut Cluster, name: &str) -> Writer {
    for _ in 0..1_000 {
        if let Ok(begun) = cluster.init(name) {
            return begun;
        }
        later(cluster, 10);
    }
    panic!("{name} cannot begin");
}

fn put(
    cluster: &mut Cluster,
    writer: Writer,
    topic: &str,
    key: &str,
    value: Option<&str>,
) -> Result<u64, Refusal> {
    let content = Content {
        key: Some(key.as_bytes().to_vec()),
        value: value.map(|value| value.as_bytes().to_vec()),
        headers: Vec::new(),
    };
    let now = cluster.wall_clock();
    cluster.produce(writer, &at(topic), now, Rc::new(content))
}

/// What a reader of committed records gets.
fn read(cluster: &Cluster, topic: &str) -> Vec<(u64, String)> {
    let partition = cluster.partition(&at(topic)).expect("a partition");
    let stable = partition.stable_end();
    let visible = partition
        .history()
        .iter()
        .filter(|r| r.offset < stable && r.is_visible());
    let text = |value: &Option<Vec<u8>>| {
        String::from_utf8(value.clone().unwrap_or_default()).expect("text")
    };
    visible
        .map(|r| (r.offset, text(&r.content.value)))
        .collect()
}

#[test]
fn a_transaction_is_read_once_it_is_committed_and_marked_and_what_is_behind_it_waits() {
    let mut cluster = cluster();
    let one = init(&mut cluster, "one");
    let two = init(&mut cluster, "two");
    assert_eq!(put(&mut cluster, one, "a", "k", Some("first")), Ok(0));
    assert_eq!(put(&mut cluster, two, "a", "k", Some("second")), Ok(1));
    cluster.end(two, true).expect("a commit");
    later(&mut cluster, 1_000);
    assert_eq!(read(&cluster, "a"), [], "the first one holds it back");
    cluster.end(one, false).expect("an abort");
    later(&mut cluster, 1_000);
    assert_eq!(read(&cluster, "a"), [(1, "second".to_owned())]);
    let fates: Vec<Fate> = cluster
        .partition(&at("a"))
        .expect("a partition")
        .history()
        .iter()
        .map(|r| r.fate)
        .collect();
    let expected = [Fate::Aborted, Fate::Committed, Fate::Marker, Fate::Marker];
    assert_eq!(fates, expected, "markers take offsets");
}

#[test]
fn markers_land_one_by_one_after_the_decision() {
    let mut cluster = cluster();
    let one = init(&mut cluster, "one");
    for topic in ["a", "b"] {
        put(&mut cluster, one, topic, "k", Some("v")).expect("a record");
    }
    cluster.end(one, true).expect("a commit");
    assert_eq!((read(&cluster, "a"), read(&cluster, "b")), (vec![], vec![]));
    let again = put(&mut cluster, one, "a", "k", Some("w"));
    let concurrent = Err(Refusal::Retriable("concurrent transactions"));
    assert_eq!(again, concurrent, "not before the last marker");
    assert_eq!(cluster.end(one, true), Ok(()), "asked again");
    later(&mut cluster, 1_000);
    assert_eq!(read(&cluster, "a").len() + read(&cluster, "b").len(), 2);
    assert_eq!(put(&mut cluster, one, "a", "k", Some("w")), Ok(2));
}

#[test]
fn whoever_takes_an_id_fences_the_one_before_and_ends_its_transaction() {
    let mut cluster = cluster();
    let old = init(&mut cluster, "id");
    put(&mut cluster, old, "a", "k", Some("old")).expect("a record");
    let new = init(&mut cluster, "id");
    assert!(new.epoch > old.epoch);
    let late = put(&mut cluster, old, "a", "k", Some("late"));
    assert!(
        matches!(late, Err(Refusal::Fenced(_) | Refusal::Abortable(_))),
        "{late:?}"
    );
    let ended = cluster.end(old, true);
    assert!(matches!(ended, Err(Refusal::Fenced(_))), "{ended:?}");
    put(&mut cluster, new, "a", "k", Some("new")).expect("a record");
    cluster.end(new, true).expect("a commit");
    later(&mut cluster, 1_000);
    let values: Vec<_> = read(&cluster, "a").into_iter().map(|(_, v)| v).collect();
    assert_eq!(values, ["new"]);
}

#[test]
fn a_transaction_that_is_open_for_too_long_is_ended_and_its_producer_fenced() {
    let mut cluster = cluster();
    let one = init(&mut cluster, "one");
    put(&mut cluster, one, "a", "k", Some("v")).expect("a record");
    later(&mut cluster, TRANSACTION_TIMEOUT + SCAN + 1_000);
    let partition = cluster.partition(&at("a")).expect("a partition");
    assert_eq!(
        partition.stable_end(),
        partition.end(),
        "nothing is held back"
    );
    let ended = cluster.end(one, true);
    assert!(matches!(ended, Err(Refusal::Fenced(_))), "{ended:?}");
    assert_eq!(read(&cluster, "a"), []);
}

fn offset(next: u64) -> Offset {
    Offset { next, beside: None }
}

#[test]
fn positions_are_unstable_until_their_marker_and_gone_with_an_abort() {
    let mut cluster = cluster();
    let one = init(&mut cluster, "one");
    for (commit, next, expected) in [(false, 5, None), (true, 7, Some(offset(7)))] {
        let positions = [(at("a"), offset(next))];
        let sent = cluster.send_offsets(one, &positions, NOBODY);
        assert_eq!(sent, Ok(()), "without a member nobody asks");
        let unstable = cluster.position(&at("a"), true);
        assert!(
            matches!(unstable, Err(Refusal::Retriable(_))),
            "{unstable:?}"
        );
        assert_eq!(cluster.position(&at("a"), false), Ok(None), "the older one");
        cluster.end(one, commit).expect("an end");
        later(&mut cluster, 1_000);
        assert_eq!(cluster.position(&at("a"), true), Ok(expected));
    }
}

/// Polls `client` until it hears of a change.
fn change(cluster: &mut Cluster, client: u64, others: &[u64]) -> Change {
    for _ in 0..2_000 {
        if let Some(change) = cluster.poll(client).pop() {
            return change;
        }
        for other in others {
            assert_eq!(cluster.poll(*other), [], "the other has nothing to hear");
        }
        later(cluster, 10);
    }
    panic!("nothing changes for {client}");
}

#[test]
fn tasks_move_by_revocation_first_and_an_old_generation_commits_nothing() {
    let mut cluster = cluster();
    let one = cluster.subscribe();
    let Change::Assigned(all) = change(&mut cluster, one, &[]) else {
        panic!("it is alone");
    };
    assert_eq!(all.len(), 4);
    let before = cluster.membership(one);
    let two = cluster.subscribe();
    let Change::Revoked(given) = change(&mut cluster, one, &[two]) else {
        panic!("it has to share");
    };
    let Change::Assigned(taken) = change(&mut cluster, two, &[one]) else {
        panic!("its share");
    };
    assert_eq!((given.len(), taken.len()), (2, 2));
    let producer = init(&mut cluster, "one");
    let mut send = |membership| {
        let positions = [(at("a"), offset(1))];
        cluster.send_offsets(producer, &positions, membership)
    };
    assert_eq!(send(before), Err(Refusal::Abortable("illegal generation")));
    let stranger = Membership {
        member: Some(999),
        ..before
    };
    assert_eq!(send(stranger), Err(Refusal::Abortable("unknown member")));
}

#[test]
fn whoever_stands_still_for_too_long_has_lost_its_tasks_when_it_goes_on() {
    let mut cluster = cluster();
    let (one, two) = (cluster.subscribe(), cluster.subscribe());
    let Change::Assigned(had) = change(&mut cluster, one, &[]) else {
        panic!("its share");
    };
    change(&mut cluster, two, &[one]);
    let before = cluster.membership(one);
    cluster.pause(one);
    let mut gained = Vec::new();
    for _ in 0..1_000 {
        later(&mut cluster, 10);
        for change in cluster.poll(two) {
            if let Change::Assigned(tasks) = change {
                gained.extend(tasks);
            }
        }
    }
    assert_eq!(gained, had, "the other has them");
    let producer = init(&mut cluster, "one");
    let positions = [(at("a"), offset(1))];
    let zombie = cluster.send_offsets(producer, &positions, before);
    assert_eq!(zombie, Err(Refusal::Abortable("unknown member")));
    cluster.resume(one);
    assert_eq!(change(&mut cluster, one, &[]), Change::Lost(had));
}

#[test]
fn compaction_keeps_the_last_of_each_key_and_offsets_as_they_are() {
    let mut cluster = cluster();
    let one = init(&mut cluster, "one");
    for (key, value) in [
        ("x", Some("1")),
        ("y", Some("2")),
        ("x", Some("3")),
        ("y", None),
    ] {
        put(&mut cluster, one, "log", key, value).expect("a record");
    }
    cluster.end(one, true).expect("a commit");
    later(&mut cluster, 25_000);
    let kept = |cluster: &Cluster| read(cluster, "log");
    let (three, tombstone) = ((2, "3".to_owned()), (3, String::new()));
    assert_eq!(
        kept(&cluster),
        [three.clone(), tombstone],
        "a tombstone stays a while"
    );
    later(&mut cluster, 60_000);
    assert_eq!(kept(&cluster), [three]);
    assert!(cluster.wall_clock() > TimeMs(0));
}

#[test]
fn a_compacted_topic_goes_by_the_brokers_clock_and_others_by_the_writers() {
    let mut cluster = cluster();
    let writer = init(&mut cluster, "one");
    let ahead = cluster.wall_clock().plus(60_000);
    for topic in ["a", "log"] {
        let content = Rc::new(Content::default());
        let produced = cluster.produce(writer, &at(topic), ahead, content);
        produced.expect("the transaction takes it");
    }
    let now = cluster.wall_clock();
    let found = |topic: &str, time| cluster.offset_at(&at(topic), time).expect("it answers");
    assert_eq!(found("a", ahead), Some(0));
    assert_eq!(found("log", now), Some(0));
    assert_eq!(found("log", now.plus(1)), None);
}

#[test]
fn nothing_is_answered_in_bad_weather() {
    let mut cluster = cluster();
    let one = init(&mut cluster, "one");
    put(&mut cluster, one, "a", "k", Some("v")).expect("a record");
    let until = Moment(cluster.now().0 + 5_000);
    cluster.weather.break_coordinator(until);
    let ended = cluster.end(one, true);
    assert!(matches!(ended, Err(Refusal::Retriable(_))), "{ended:?}");
    assert!(
        put(&mut cluster, one, "a", "k", Some("w")).is_ok(),
        "known to the broker"
    );
    cluster.weather.break_broker(until);
    assert!(put(&mut cluster, one, "a", "k", Some("x")).is_err());
    later(&mut cluster, 6_000);
    assert_eq!(cluster.end(one, true), Ok(()));
    later(&mut cluster, 1_000);
    assert_eq!(read(&cluster, "a").len(), 2);
}
