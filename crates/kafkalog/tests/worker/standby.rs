//! What standbys and whoever looks on need of a real broker: changelogs that are followed, positions that
//! are told, members that are seen from outside.

use std::collections::BTreeMap;

use domain::time::TimeMs;
use engine::port::TopicPartition;
use kafkalog::{Follower, KafkaLogError, Onlooker, Standing, Told};
use kafkatest::Broker;
use rdkafka::producer::{BaseProducer, Producer};

use crate::shop::{PATIENCE, Shop, at, send, sole_worker, until};

/// Writes numbers in one transaction, which is left open.
fn write(producer: &BaseProducer, target: &TopicPartition, numbers: std::ops::Range<u64>) {
    producer.begin_transaction().unwrap();
    for number in numbers {
        send(producer, target, &number.to_string());
    }
    producer.flush(PATIENCE).unwrap();
}

/// Follows until there are `count` records and the end is reached; answers offsets and numbers.
fn follow(follower: &mut Follower, task: u32, count: usize) -> Vec<(u64, u64)> {
    let mut seen = Vec::new();
    until("the changelog is followed to its end", || {
        let taken = follower.take::<KafkaLogError>(task, 3, |record| {
            let number = std::str::from_utf8(record.value.unwrap()).unwrap();
            assert_eq!(record.at.partition, task);
            seen.push((record.offset, number.parse().unwrap()));
            Ok(())
        });
        taken.unwrap();
        let followed = follower.followed(task).unwrap();
        (seen.len() >= count && followed.has_caught_up).then_some(())
    });
    assert_eq!(seen.len(), count, "{seen:?}");
    seen
}

#[test]
fn a_changelog_is_followed_and_followed_anew_from_where_it_is_said() {
    let Some(broker) = Broker::shared("a_changelog_is_followed") else {
        return;
    };
    let shop = Shop::new(broker, "follower", 2, &[1]);
    let target = at(&shop.topics.changelog, 1);
    let (owner, zombie) = (
        shop.producer(Some("owner"), PATIENCE),
        shop.producer(Some("zombie"), PATIENCE),
    );
    write(&owner, &target, 0..5);
    owner.commit_transaction(PATIENCE).unwrap();
    write(&zombie, &target, 100..103);
    zombie.abort_transaction(PATIENCE).unwrap();
    write(&owner, &target, 5..9);
    owner.commit_transaction(PATIENCE).unwrap();

    let mut follower = shop.cluster("a").follower().unwrap();
    assert_eq!(follower.followed(1), None);
    follower.follow(target.clone(), 0).unwrap();
    let seen = follow(&mut follower, 1, 9);
    let numbers: Vec<u64> = seen.iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, (0..9).collect::<Vec<_>>());
    // Nine records, three that count for nothing, a marker for each transaction.
    let followed = follower.followed(1).unwrap();
    assert_eq!((followed.next, followed.behind), (15, 0));

    // What is open is behind, and no record before it is committed.
    write(&owner, &target, 9..11);
    until("more is known to be there", || {
        let taken = follower.take::<KafkaLogError>(1, 10, |_| panic!("it is not committed"));
        assert_eq!(taken.unwrap(), 0);
        (follower.followed(1)?.behind == 2).then_some(())
    });
    owner.commit_transaction(PATIENCE).unwrap();
    let more = follow(&mut follower, 1, 2);
    assert_eq!(more, [(15, 9), (16, 10)]);

    // Another one had it meanwhile.
    follower.leave(1);
    assert_eq!(follower.followed(1), None);
    assert_eq!(
        follower
            .take::<KafkaLogError>(1, 10, |_| panic!("it is left"))
            .unwrap(),
        0
    );
    follower.follow(target, seen[3].0).unwrap();
    let again = follow(&mut follower, 1, 8);
    assert_eq!(again, [&seen[3..], &more].concat());
}

#[test]
fn what_an_instance_tells_of_its_standbys_everybody_hears() {
    let Some(broker) = Broker::shared("what_an_instance_tells_of_its_standbys") else {
        return;
    };
    let shop = Shop::new(broker, "told", 3, &[1]);
    let (a, onlooker) = (shop.cluster("pod-a"), shop.cluster("onlooker"));
    assert_eq!(onlooker.told_by("pod-a", 3).unwrap(), BTreeMap::new());
    let follower = a.follower().unwrap();
    let changelog = &shop.topics.changelog;
    for (standing, next, now) in [(Standing::Filling, 3, 70), (Standing::Warm, 17, 80)] {
        let standbys = BTreeMap::from([(0, (Standing::Closed, 0)), (2, (standing, next))]);
        follower.tell(changelog, &standbys, TimeMs(now)).unwrap();
        let told = |standing, next| Told {
            standing,
            next,
            since: TimeMs(now),
        };
        let wanted = BTreeMap::from([(0, told(Standing::Closed, 0)), (2, told(standing, next))]);
        until("it is told", || {
            follower.serve();
            (onlooker.told_by("pod-a", 3).unwrap() == wanted).then_some(())
        });
    }
    assert_eq!(onlooker.told_by("pod-b", 3).unwrap(), BTreeMap::new());
}

#[test]
fn who_has_which_task_is_seen_from_outside() {
    let Some(broker) = Broker::shared("who_has_which_task_is_seen") else {
        return;
    };
    let shop = Shop::new(broker, "onlooker", 2, &[1]);
    let settings = shop.settings("onlooker");
    let onlooker = Onlooker::of(&settings.application, &settings.producer).unwrap();
    let before = onlooker.members().unwrap();
    assert!(before.members.is_empty() && !before.is_stable, "{before:?}");
    let cluster = shop.cluster("pod-0");
    let worker = sole_worker(&shop, &cluster, "p1");
    let members = onlooker.members().unwrap();
    assert!(members.is_stable);
    let [member] = members.members.as_slice() else {
        panic!("{members:?}");
    };
    assert_eq!((member.instance.as_str(), member.worker), ("pod-0", 0));
    assert_eq!(member.tasks, [0, 1]);
    // The owner records, each with its marker.
    let changelogs = [0, 1].map(|task| at(&shop.topics.changelog, task));
    let ends = onlooker.ends(&changelogs).unwrap();
    assert_eq!(ends, changelogs.clone().map(|at| (at, 2)).into());
    let starts = onlooker.starts(&changelogs).unwrap();
    assert_eq!(starts, changelogs.map(|at| (at, 0)).into());
    assert_eq!(onlooker.ends(&[]).unwrap(), BTreeMap::new());
    drop(worker);
    until("the worker has left", || {
        onlooker.members().unwrap().members.is_empty().then_some(())
    });
}
