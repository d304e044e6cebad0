//! A worker on a real broker: what its commits hold, where reading stands after each outcome, and
//! who has which task while workers come and go.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measures"
)]

mod appending;
mod scaling;
mod shop;
mod standby;

use std::time::{Duration, Instant};

use engine::chain::Head;
use engine::group::{Change, MemberLog, Span};
use engine::port::{CommitError, Read, Table, WorkerLog};
use kafkalog::{Fencing, KafkaLogError, KafkaWorker, OWNER_KEY, Settings};
use kafkatest::Broker;
use rdkafka::producer::Producer;
use shop::{
    PATIENCE, SMALL, Shop, at, await_assigned, claim_all, join, numbers, out, read, send,
    sole_worker, staged, until,
};

/// What a reader of committed records sees of one task: outputs, changelog, position.
fn visible(shop: &Shop, source: &engine::port::TopicPartition) -> (usize, usize, Option<u64>) {
    let of = |topic| shop.committed(topic, shop.n).concat().len();
    let positions = shop
        .cluster("reader")
        .positions(std::slice::from_ref(source));
    let position = positions.unwrap().remove(source).unwrap();
    (
        of(&shop.topics.clv_updates),
        of(&shop.topics.changelog),
        position,
    )
}

#[test]
fn a_commit_is_there_as_a_whole_and_an_aborted_one_not_at_all() {
    let Some(broker) = Broker::shared("a_commit_is_there_as_a_whole") else {
        return;
    };
    let shop = Shop::new(broker, "whole", 1, &[1]);
    let source = at(&shop.inputs[0].0, 0);
    shop.append(&source, 0, 500);
    let cluster = shop.cluster("a");
    let mut worker = sole_worker(&shop, &cluster, "a1");
    // The owner record.
    assert_eq!(visible(&shop, &source), (0, 1, Some(0)));
    let first = read(&mut worker, &source, 10, 10);
    assert_eq!(numbers(&first), (0..10).collect::<Vec<_>>());
    // Nothing of it is there before it is committed.
    assert_eq!(visible(&shop, &source), (0, 1, Some(0)));
    let outputs = |n: usize, what: &str| {
        let target = at(&shop.topics.clv_updates, 0);
        (0..n)
            .map(|_| out(target.clone(), what))
            .collect::<Vec<_>>()
    };
    let committed = worker.commit(vec![staged(&shop, 0, &first, outputs(3, "first"))]);
    let end = committed.unwrap()[0].changelog_end;
    assert_eq!(visible(&shop, &source), (3, 2, Some(10)));
    // Owner record, marker, record: behind it is where a restore would begin.
    assert_eq!(end, 3);

    // The broker refuses a record without a key in a compacted topic.
    let second = read(&mut worker, &source, 100, 33);
    let mut refused = outputs(5, "refused");
    refused[4].target = at(&shop.topics.changelog, 0);
    refused[4].key = None;
    let failed = worker.commit(vec![staged(&shop, 0, &second, refused)]);
    assert!(matches!(failed, Err(CommitError::Abort(_))), "{failed:?}");
    assert_eq!(visible(&shop, &source), (3, 2, Some(10)));

    // The same records come again, once, in order; then all others. The broker may not follow the
    // producer's count of what it refused: then once more.
    let mut aborts = 0;
    until("it is committed", || {
        let again = read(&mut worker, &source, 490, 77);
        assert_eq!(numbers(&again), (10..500).collect::<Vec<_>>());
        let offsets: Vec<u64> = again.iter().map(|r| r.offset).collect();
        assert_eq!(offsets, (10..500).collect::<Vec<_>>());
        match worker.commit(vec![staged(&shop, 0, &again, outputs(4, "second"))]) {
            Ok(_) => Some(()),
            Err(CommitError::Abort(what)) => {
                println!("aborted again: {what}");
                aborts += 1;
                assert!(aborts < 5, "{what}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    });
    assert_eq!(visible(&shop, &source), (7, 3, Some(500)));
    let written = shop.committed(&shop.topics.clv_updates, 1).concat();
    assert_eq!(
        written,
        ["first"; 3]
            .iter()
            .chain(&["second"; 4])
            .copied()
            .collect::<Vec<_>>()
    );
}

#[test]
fn positions_behind_the_markers_of_transactions_are_settled() {
    let Some(broker) = Broker::shared("positions_behind_markers_are_settled") else {
        return;
    };
    let shop = Shop::new(broker, "settled", 2, &[2, 1]);
    let loads = shop.producer(Some("load"), PATIENCE);
    let (first, second) = (at(&shop.inputs[0].0, 0), at(&shop.inputs[1].0, 0));
    for (aborted, target) in [(false, &first), (true, &first), (true, &second)] {
        loads.begin_transaction().unwrap();
        for number in 0..5 {
            send(&loads, target, &number.to_string());
        }
        loads.flush(PATIENCE).unwrap();
        match aborted {
            true => loads.abort_transaction(PATIENCE).unwrap(),
            false => loads.commit_transaction(PATIENCE).unwrap(),
        }
    }
    let cluster = shop.cluster("a");
    let mut worker = sole_worker(&shop, &cluster, "a1");
    let records = read(&mut worker, &first, 5, 3);
    assert_eq!(numbers(&records), [0, 1, 2, 3, 4]);
    worker
        .commit(vec![staged(&shop, 0, &records, Vec::new())])
        .unwrap();
    let mut all = shop.all_inputs();
    all.extend((0..shop.n).map(|task| at(&shop.topics.routed, task)));
    until("every position is at the partition's end", || {
        assert_eq!(worker.poll().unwrap(), []);
        for source in &all {
            assert_eq!(worker.read(source, 10).unwrap().records(), []);
        }
        worker.settle().unwrap();
        cluster.lag(&all).unwrap().is_empty().then_some(())
    });
    let (_, end) = cluster.bounds(&first).unwrap();
    assert_eq!(end, 12);
    assert_eq!(cluster.positions(&all).unwrap()[&first], Some(12));
    assert_eq!(worker.lag(0), (0, None));
}

#[test]
fn the_head_of_a_chain_stands_beside_the_positions_and_comes_back_with_them() {
    let Some(broker) = Broker::shared("the_head_of_a_chain_stands_beside_the_positions") else {
        return;
    };
    let shop = Shop::new(broker, "heads", 2, &[2]);
    let orders = at(&shop.inputs[0].0, 1);
    shop.append(&orders, 0, 3);
    let cluster = shop.cluster("a");
    let claimed = |nonce| {
        let mut worker = join(&cluster, nonce);
        let mut claimed = claim_all(&shop, &mut worker);
        claimed.sort_by_key(|one| one.task);
        let heads: Vec<_> = claimed.iter().map(|one| one.beside.head).collect();
        (worker, heads)
    };
    let (mut worker, heads) = claimed("first");
    assert_eq!(heads, [None, None], "nothing was committed");
    let records = read(&mut worker, &orders, 3, 3);
    let head = Head {
        number: 1,
        hash: 77 << 90,
    };
    let mut work = staged(&shop, 1, &records, Vec::new());
    work.head = head;
    let _committed = worker.commit(vec![work]).unwrap();
    drop(worker);
    // Also from one that only took over, and from one that brought positions behind the marker of
    // somebody's transaction.
    for nonce in ["second", "third"] {
        let (mut worker, heads) = claimed(nonce);
        assert_eq!(heads, [None, Some(head)], "{nonce}");
        let clock = shop.producer(Some("clock"), PATIENCE);
        clock.begin_transaction().unwrap();
        send(&clock, &at(&shop.topics.routed, 1), "aborted");
        clock.flush(PATIENCE).unwrap();
        clock.abort_transaction(PATIENCE).unwrap();
        let routed = [at(&shop.topics.routed, 1)];
        until("the position is behind the marker", || {
            assert_eq!(worker.poll().unwrap(), []);
            assert_eq!(worker.read(&routed[0], 10).unwrap().records(), []);
            worker.settle().unwrap();
            cluster.lag(&routed).unwrap().is_empty().then_some(())
        });
    }
    assert_eq!(claimed("fourth").1, [None, Some(head)]);
}

#[test]
fn a_takeover_waits_for_an_open_transaction_of_an_earlier_owner() {
    let Some(broker) = Broker::shared("a_takeover_waits_for_an_open_transaction") else {
        return;
    };
    let shop = Shop::new(broker, "takeover", 1, &[1]);
    let changelog = at(&shop.topics.changelog, 0);
    // What an owner leaves that died in its commit.
    let earlier = shop.producer(Some("earlier-0"), Duration::from_secs(5));
    earlier.begin_transaction().unwrap();
    send(&earlier, &changelog, "of the dead");
    earlier.flush(PATIENCE).unwrap();

    let cluster = shop.cluster("a");
    let mut worker = join(&cluster, "a1");
    let claimed = claim_all(&shop, &mut worker);
    assert_eq!(claimed[0].task, 0);
    let span = Span {
        at: changelog,
        from: 0,
        until: claimed[0].changelog_end,
    };
    assert_eq!(span.until, 2, "the owner record stands behind the other");
    let mut reader = cluster.reader(vec![span]).unwrap();
    let mut seen = Vec::new();
    let mut turn = |budget| {
        let read = reader.read::<KafkaLogError>(budget, |record| {
            seen.push((record.offset, record.key.unwrap().to_vec()));
            Ok(())
        });
        read.unwrap()
    };
    let began = Instant::now();
    assert!(!turn(Duration::from_millis(100)), "the transaction is open");
    until("the broker has ended it", || {
        turn(Duration::from_millis(100)).then_some(())
    });
    println!("the changelog was readable after {:?}", began.elapsed());
    assert_eq!(seen, [(1, Table::Meta.full_key(OWNER_KEY))]);
    // Whoever had it open cannot commit it any more.
    assert!(earlier.commit_transaction(PATIENCE).is_err());
}

#[test]
fn commits_on_an_idle_broker_are_measured() {
    let Some(broker) = Broker::start("commits_on_an_idle_broker_are_measured") else {
        return;
    };
    let shop = Shop::new(&broker, "speed", 4, &[4]);
    let cluster = shop.cluster("a");
    for task in 0..4 {
        shop.append(&at(&shop.inputs[0].0, task), 0, 2_000);
    }
    let mut worker = sole_worker(&shop, &cluster, "a1");
    for pause in [Duration::from_millis(50), Duration::ZERO] {
        measure(&shop, &mut worker, pause);
    }
}

/// Commits again and again, `pause` after each other, and prints how long it takes.
fn measure(shop: &Shop, worker: &mut KafkaWorker, pause: Duration) {
    let mut phases = Vec::new();
    for turn in 0..100 {
        let next = Instant::now() + pause;
        while Instant::now() < next {
            assert_eq!(worker.poll().unwrap(), []);
            worker.wait(next.saturating_duration_since(Instant::now()));
        }
        let mut work = Vec::new();
        for task in 0..4 {
            let records = read(worker, &at(&shop.inputs[0].0, task), 10, 10);
            let target = at(&shop.topics.clv_updates, task);
            let outputs = records.iter().map(|_| out(target.clone(), "output"));
            work.push(staged(shop, task, &records, outputs.collect()));
        }
        let began = Instant::now();
        let committed = worker.commit(work).unwrap();
        assert_eq!(committed.len(), 4);
        // The first ones find the coordinator and the partitions' leaders.
        if turn >= 20 {
            phases.push((began.elapsed(), worker.phases()));
        }
    }
    phases.sort_by_key(|(total, _)| *total);
    for (name, at) in [("p50", 40), ("p90", 72), ("p99", 79)] {
        let (total, phases) = phases[at];
        println!("commit, {pause:?} after the one before: {name} {total:?}, {phases:?}");
    }
    assert_eq!(phases.len(), 80);
}

#[test]
fn a_record_that_is_too_large_halts_and_names_its_topic() {
    let Some(broker) = Broker::shared("a_record_that_is_too_large_halts") else {
        return;
    };
    for (limit, size) in [(20 * SMALL, 2 * SMALL), (SMALL / 2, SMALL)] {
        let shop = Shop::new(broker, "large", 1, &[1]);
        let source = at(&shop.inputs[0].0, 0);
        shop.append(&source, 0, 10);
        let mut settings = shop.settings("a");
        let largest = ("message.max.bytes".to_owned(), limit.to_string());
        settings.producer.push(largest);
        settings.transaction_timeout = Duration::from_secs(2);
        let cluster = kafkalog::Cluster::connect(settings).unwrap();
        let mut worker = sole_worker(&shop, &cluster, "a1");
        let records = read(&mut worker, &source, 10, 10);
        let mut large = out(at(&shop.topics.segment_changes, 0), "");
        // Not to be made smaller by compression.
        let mut state = 1_u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        });
        large.value = Some(noise.take(size).collect());
        let failed = worker.commit(vec![staged(&shop, 0, &records, vec![large])]);
        let Err(CommitError::Halt(said)) = failed else {
            panic!("limit {limit}: {failed:?}");
        };
        assert!(
            said.contains(&*shop.topics.segment_changes) && said.contains("message.max.bytes"),
            "{said}"
        );
        // The process ends, and the broker its transaction.
        drop(worker);
        until("nothing of it is there", || {
            let positions = cluster.positions(std::slice::from_ref(&source)).ok()?;
            assert_eq!(positions[&source], Some(0));
            Some(())
        });
        assert_eq!(visible(&shop, &source), (0, 1, Some(0)));
    }
}

#[test]
fn reading_tells_its_end_only_when_everything_was_handed_out() {
    let Some(broker) = Broker::shared("reading_tells_its_end") else {
        return;
    };
    let shop = Shop::new(broker, "reading", 1, &[1, 1]);
    let source = |input: usize| at(&shop.inputs[input].0, 0);
    shop.append(&source(0), 0, 3_000);
    let cluster = shop.cluster("a");
    let mut worker = sole_worker(&shop, &cluster, "a1");

    let mut seen = Vec::new();
    until("everything was handed out", || {
        assert_eq!(worker.poll().unwrap(), []);
        match worker.read(&source(0), 100).unwrap() {
            Read::Records(records) => {
                assert!((1..=100).contains(&records.len()));
                seen.extend(numbers(&records));
                None
            }
            Read::CaughtUp => {
                assert_eq!(seen.len(), 3_000, "the end, before everything was read");
                Some(())
            }
            Read::NotYet => None,
        }
    });
    assert_eq!(seen, (0..3_000).collect::<Vec<_>>());
    // An input without records is at its end too.
    until("the end of an input without records", || {
        assert_eq!(worker.poll().unwrap(), []);
        let read = worker.read(&source(1), 100).unwrap();
        assert!(!matches!(read, Read::Records(_)), "{read:?}");
        (read == Read::CaughtUp).then_some(())
    });
    // What comes later is read later.
    shop.append(&source(0), 3_000, 1);
    assert_eq!(numbers(&read(&mut worker, &source(0), 1, 10)), [3_000]);

    let foreign = at(&shop.topics.clv_updates, 0);
    let refused = worker.read(&foreign, 1).unwrap_err().to_string();
    assert!(
        refused.contains("not one of this worker's inputs"),
        "{refused}"
    );
}

#[test]
fn an_input_whose_next_record_does_not_come_is_waited_for_a_while() {
    let Some(broker) = Broker::shared("an_input_whose_next_record_does_not_come") else {
        return;
    };
    let shop = Shop::new(broker, "idle", 1, &[1]);
    let source = at(&shop.inputs[0].0, 0);
    let loads = shop.producer(Some("load"), PATIENCE);
    loads.begin_transaction().unwrap();
    send(&loads, &source, "7");
    loads.flush(PATIENCE).unwrap();
    let settings = Settings {
        max_task_idle: Duration::from_secs(1),
        ..shop.settings("a")
    };
    let cluster = kafkalog::Cluster::connect(settings).unwrap();
    let mut worker = sole_worker(&shop, &cluster, "a1");
    let began = Instant::now();
    until("it goes on without the record", || {
        assert_eq!(worker.poll().unwrap(), []);
        let read = worker.read(&source, 100).unwrap();
        assert!(!matches!(read, Read::Records(_)), "{read:?}");
        (read == Read::CaughtUp).then_some(())
    });
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    loads.commit_transaction(PATIENCE).unwrap();
    assert_eq!(numbers(&read(&mut worker, &source, 1, 10)), [7]);
}

#[test]
fn a_second_process_with_the_same_id_ends_the_first_and_is_named() {
    let Some(broker) = Broker::shared("a_second_process_with_the_same_id") else {
        return;
    };
    let shop = Shop::new(broker, "twins", 1, &[1]);
    let source = at(&shop.inputs[0].0, 0);
    shop.append(&source, 0, 10);
    let cluster = shop.cluster("twin");
    let mut first = sole_worker(&shop, &cluster, "first");
    let records = read(&mut first, &source, 10, 10);
    let mut second = join(&cluster, "second");
    let failed = first.commit(vec![staged(&shop, 0, &records, Vec::new())]);
    let Err(CommitError::Fenced(said)) = failed else {
        panic!("{failed:?}");
    };
    assert!(said.starts_with("duplicate_id: "), "{said}");
    assert_eq!(first.take_fencing(), Some(Fencing::DuplicateId));
    assert_eq!(first.take_fencing(), None);
    let replaced = KafkaWorker::check_not_replaced(&cluster, 0, "first").unwrap_err();
    assert!(
        matches!(replaced, KafkaLogError::Duplicate { .. }),
        "{replaced}"
    );
    assert!(
        replaced.to_string().contains("kafka.instance"),
        "{replaced}"
    );
    KafkaWorker::check_not_replaced(&cluster, 0, "second").unwrap();
    // The other goes on, with the records that the first did not commit.
    drop(first);
    claim_all(&shop, &mut second);
    let records = read(&mut second, &source, 10, 10);
    assert_eq!(numbers(&records), (0..10).collect::<Vec<_>>());
    second
        .commit(vec![staged(&shop, 0, &records, Vec::new())])
        .unwrap();
}

#[test]
fn a_worker_that_stood_still_commits_nothing() {
    let Some(broker) = Broker::shared("a_worker_that_stood_still_commits_nothing") else {
        return;
    };
    let shop = Shop::new(broker, "still", 1, &[1]);
    let source = at(&shop.inputs[0].0, 0);
    shop.append(&source, 0, 10);
    let settings = Settings {
        max_poll_interval: Duration::from_secs(2),
        session_timeout: Duration::from_secs(2),
        ..shop.settings("still")
    };
    let cluster = kafkalog::Cluster::connect(settings).unwrap();
    let mut still = sole_worker(&shop, &cluster, "still-1");
    let records = read(&mut still, &source, 10, 10);
    // It is heard of no more; another one is assigned its task.
    let others = shop.cluster("other");
    let mut other = join(&others, "other-1");
    let tasks = await_assigned(&mut other, 1);
    assert_eq!(tasks, [0]);
    let failed = still.commit(vec![staged(&shop, 0, &records, Vec::new())]);
    let Err(CommitError::Fenced(said)) = failed else {
        panic!("{failed:?}");
    };
    assert!(said.starts_with("zombie: "), "{said}");
    assert_eq!(still.take_fencing(), Some(Fencing::Zombie));
    assert_eq!(visible(&shop, &source), (0, 1, Some(0)));
    // It learns of its loss, and has nothing more to read.
    until("it is told", || {
        let changes = still.poll().unwrap();
        changes.contains(&Change::Lost(vec![0])).then_some(())
    });
    assert_eq!(still.assignment().count(), 0);
}

#[test]
fn a_session_timeout_that_the_broker_does_not_allow_is_named() {
    let Some(broker) = Broker::shared("a_session_timeout_that_is_not_allowed") else {
        return;
    };
    let shop = Shop::new(broker, "session", 1, &[1]);
    let settings = Settings {
        session_timeout: Duration::from_secs(3_600),
        max_poll_interval: Duration::from_secs(3_600),
        ..shop.settings("a")
    };
    let cluster = kafkalog::Cluster::connect(settings).unwrap();
    let mut worker = join(&cluster, "a1");
    let refused = until("the broker refuses", || worker.poll().err());
    assert!(
        refused.to_string().contains("kafka.session_timeout"),
        "{refused}"
    );
}
