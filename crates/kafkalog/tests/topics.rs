//! Topics on a real broker: what is created is what was planned, and what is in the way is named.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kafkalog::topics::{
    AclState, Cluster, Create, Desired, Problem, Purpose, TopicRetention, TopicState, TopicsError,
};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const DAY: Duration = Duration::from_secs(86_400);

fn bootstrap(test: &str) -> Option<String> {
    let found = std::env::var("CLVSTREAM_TEST_BOOTSTRAP").ok();
    if found.is_none() {
        let reason = "CLVSTREAM_TEST_BOOTSTRAP is not set";
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{test}: {reason}");
        println!("SKIPPED {test}: {reason}");
    }
    found
}

fn connect(bootstrap: &str) -> Cluster {
    Cluster::connect(&[("bootstrap.servers".to_owned(), bootstrap.to_owned())]).unwrap()
}

/// A shop that no other test knows.
fn shop(test: &str) -> Desired {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Desired {
        application: format!("topics-{test}-{}-{}", std::process::id(), now.as_nanos()),
        partitions: 3,
        replication: None,
        inputs: vec!["orders".to_owned(), "clickstream".to_owned()],
        foreign: Vec::new(),
        retention: TopicRetention {
            inputs: Some(7 * DAY),
            clv_updates: Some(30 * DAY),
            lifecycle_transitions: Some(30 * DAY),
            segment_changes: None,
            dead_letters: Some(90 * DAY),
        },
        max_value_bytes: 2 << 20,
    }
}

fn none() -> BTreeMap<String, String> {
    BTreeMap::new()
}

fn ids(states: &[TopicState]) -> BTreeMap<String, String> {
    states
        .iter()
        .map(|state| (state.name.clone(), state.id.clone()))
        .collect()
}

#[test]
fn what_is_missing_is_named_or_made_as_planned() {
    let Some(bootstrap) = bootstrap("what_is_missing_is_named_or_made_as_planned") else {
        return;
    };
    let cluster = connect(&bootstrap);
    let shop = shop("create");
    let refused = cluster.ensure(&shop, &none(), Create::Nothing).unwrap_err();
    let TopicsError::Missing(missing) = &refused else {
        panic!("{refused}");
    };
    assert_eq!(missing.len(), 10);
    assert!(refused.to_string().contains("`clvstream topics apply`"));

    let made = cluster.ensure(&shop, &none(), Create::Missing).unwrap();
    assert_eq!(made.len(), 10);
    for state in &made {
        let partitions = if state.purpose == Purpose::Marks { 1 } else { 3 };
        assert_eq!(state.partitions, partitions, "{}", state.name);
        assert_eq!(state.id.len(), 22, "{} is a UUID in base64", state.id);
    }
    let distinct: std::collections::BTreeSet<_> = ids(&made).into_values().collect();
    assert_eq!(distinct.len(), 10);
    let dead_letters = made.iter().find(|state| state.purpose == Purpose::DeadLetters);
    let room = dead_letters.unwrap().max_message_bytes.unwrap();
    assert_eq!(room, (2 << 20) + 2 * (64 << 10));

    // The broker took every setting, and as it was meant.
    let plan = cluster.plan(&shop, &none()).unwrap();
    assert!(plan.is_done(), "{plan:#?}");
    let recorded = ids(&made);
    assert_eq!(cluster.ensure(&shop, &recorded, Create::Nothing).unwrap(), made);
}

#[test]
fn instances_that_start_at_once_agree() {
    let Some(bootstrap) = bootstrap("instances_that_start_at_once_agree") else {
        return;
    };
    let shop = shop("race");
    let start = || connect(&bootstrap).ensure(&shop, &none(), Create::Missing);
    let states = thread::scope(|scope| {
        let instances: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        let states = instances.into_iter().map(|one| one.join().unwrap().unwrap());
        states.collect::<Vec<_>>()
    });
    for state in &states {
        assert_eq!(state, &states[0]);
    }
}

#[test]
fn settings_are_changed_and_those_of_others_are_kept() {
    let Some(bootstrap) = bootstrap("settings_are_changed_and_those_of_others_are_kept") else {
        return;
    };
    let cluster = connect(&bootstrap);
    let mut shop = shop("change");
    cluster.apply(&cluster.plan(&shop, &none()).unwrap()).unwrap();
    let compressed = Desired {
        retention: TopicRetention {
            clv_updates: Some(DAY),
            ..shop.retention.clone()
        },
        ..shop.clone()
    };
    shop = compressed;
    let plan = cluster.plan(&shop, &none()).unwrap();
    let changed: Vec<String> = plan
        .changed()
        .flat_map(|topic| topic.changes.iter().map(|c| format!("{} {} {}", c.setting, c.from, c.to)))
        .collect();
    assert_eq!(changed, ["retention.ms 2592000000 86400000"]);
    cluster.apply(&plan).unwrap();
    // Settings reach brokers a moment after they were taken.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let plan = cluster.plan(&shop, &none()).unwrap();
        if plan.is_done() {
            break;
        }
        assert!(Instant::now() < deadline, "{plan:#?}");
    }
    // The topic's other settings, which were set when it was created, are still there.
    let actual = cluster.actual(&shop).unwrap();
    let name = format!("{}.clv.updates", shop.application);
    let settings = actual.topics[&name].settings.as_ref().unwrap();
    assert_eq!(settings["unclean.leader.election.enable"], "false");
    assert_eq!(settings["message.timestamp.type"], "CreateTime");
}

#[test]
fn another_number_of_partitions_is_refused() {
    let Some(bootstrap) = bootstrap("another_number_of_partitions_is_refused") else {
        return;
    };
    let cluster = connect(&bootstrap);
    let shop = shop("fixed");
    cluster.ensure(&shop, &none(), Create::Missing).unwrap();
    let larger = Desired {
        partitions: 4,
        ..shop.clone()
    };
    let refused = cluster.ensure(&larger, &none(), Create::Missing).unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("has 3 partitions and must have 4"), "{said}");
    assert!(said.contains("internal.routed"), "{said}");
    assert!(!said.contains(".orders"), "inputs may have any number: {said}");
    let plan = cluster.plan(&larger, &none()).unwrap();
    assert!(cluster.apply(&plan).is_err(), "nothing is done about a part of it");
}

#[test]
fn a_topic_that_was_made_again_is_named() {
    let Some(bootstrap) = bootstrap("a_topic_that_was_made_again_is_named") else {
        return;
    };
    let cluster = connect(&bootstrap);
    let shop = shop("again");
    let made = cluster.ensure(&shop, &none(), Create::Missing).unwrap();
    let recorded = ids(&made);
    let orders = format!("{}.orders", shop.application);
    let changelog = format!("{}.internal.changelog", shop.application);
    delete(&bootstrap, &[&orders, &changelog]);
    await_gone(&cluster, &shop, 8);

    let refused = cluster.ensure(&shop, &recorded, Create::Missing).unwrap_err();
    let said = refused.to_string();
    assert!(said.contains(&format!("{changelog} was deleted (id ")), "{said}");
    await_gone(&cluster, &shop, 8);

    let again = cluster.ensure(&shop, &none(), Create::Missing).unwrap();
    let refused = cluster.ensure(&shop, &recorded, Create::Missing).unwrap_err();
    let TopicsError::Recreated(found) = refused else {
        panic!("{refused}");
    };
    let names: Vec<&str> = found.iter().map(|one| one.topic.as_str()).collect();
    assert_eq!(names, [changelog.as_str(), orders.as_str()]);
    for one in &found {
        assert_eq!(one.recorded, recorded[&one.topic]);
        assert_eq!(one.actual.as_ref(), ids(&again).get(&one.topic));
    }
}

#[test]
fn topics_of_others_are_looked_at_and_never_made() {
    let Some(bootstrap) = bootstrap("topics_of_others_are_looked_at_and_never_made") else {
        return;
    };
    let cluster = connect(&bootstrap);
    let mut shop = shop("foreign");
    let foreign = format!("{}-erp", shop.application);
    shop.foreign = vec![foreign.clone()];
    for _ in 0..2 {
        let refused = cluster.ensure(&shop, &none(), Create::Missing).unwrap_err();
        let TopicsError::MissingForeign(missing) = refused else {
            panic!("{refused}");
        };
        assert_eq!(missing, [foreign.clone()]);
    }
    let plan = cluster.plan(&shop, &none()).unwrap();
    let last = plan.topics.last().unwrap();
    assert_eq!(last.problems, [Problem::ForeignMissing]);
}

#[test]
fn usage_counts_records_of_every_partition() {
    let Some(bootstrap) = bootstrap("usage_counts_records_of_every_partition") else {
        return;
    };
    let cluster = connect(&bootstrap);
    let shop = shop("usage");
    assert!(cluster.usage(&shop).unwrap().is_empty());
    cluster.ensure(&shop, &none(), Create::Missing).unwrap();
    let orders = format!("{}.orders", shop.application);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &bootstrap);
    let producer: BaseProducer = config.create().unwrap();
    for partition in [0, 1, 1, 2, 2, 2] {
        let record = BaseRecord::to(&orders).partition(partition).key("k").payload("v");
        producer.send(record).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    let usage = cluster.usage(&shop).unwrap();
    let records: Vec<u64> = usage.iter().map(|topic| topic.records).collect();
    assert_eq!(records, [6, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn without_an_authorizer_there_is_no_access_to_grant() {
    let Some(bootstrap) = bootstrap("without_an_authorizer_there_is_no_access_to_grant") else {
        return;
    };
    let cluster = connect(&bootstrap);
    let shop = shop("open");
    let states = cluster.acls(&shop, "User:clv").unwrap();
    assert!(states.iter().all(|state| state.granted.is_none()));
    let acls = states.iter().map(|state| &state.acl);
    let refused = cluster.grant("User:clv", acls).unwrap_err();
    assert!(matches!(refused, TopicsError::NoAuthorizer), "{refused}");
}

#[test]
fn access_is_granted_once() {
    let Ok(bootstrap) = std::env::var("TOPICS_ACL") else {
        return;
    };
    let cluster = connect(&bootstrap);
    let mut shop = shop("granted");
    shop.foreign = vec!["erp.orders".to_owned()];
    let granted = |states: &[AclState]| -> Vec<bool> {
        states.iter().map(|state| state.granted.unwrap()).collect()
    };
    let states = cluster.acls(&shop, "User:clv").unwrap();
    assert_eq!(granted(&states), [false; 9]);
    let (first, _) = states.split_at(3);
    cluster.grant("User:clv", first.iter().map(|state| &state.acl)).unwrap();
    cluster.grant("User:clv", states.iter().map(|state| &state.acl)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let states = cluster.acls(&shop, "User:clv").unwrap();
        if granted(&states) == [true; 9] {
            break;
        }
        assert!(Instant::now() < deadline, "{states:#?}");
    }
    let others = cluster.acls(&shop, "User:another").unwrap();
    assert_eq!(granted(&others), [false; 9]);
}

#[test]
fn a_cluster_that_is_not_there_is_said_to_be_unreachable() {
    let properties = [("bootstrap.servers".to_owned(), "127.0.0.1:1".to_owned())];
    let refused = Cluster::connect(&properties).unwrap_err();
    let said = refused.to_string();
    assert!(matches!(refused, TopicsError::Unreachable { .. }), "{said}");
    assert!(said.contains("127.0.0.1:1") && said.contains("Connection refused"), "{said}");
}

fn await_gone(cluster: &Cluster, shop: &Desired, left: usize) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while cluster.actual(shop).unwrap().topics.len() != left {
        assert!(Instant::now() < deadline);
    }
}

fn delete(bootstrap: &str, topics: &[&str]) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let options = AdminOptions::new();
    for deleted in block_on(admin.delete_topics(topics, &options)).unwrap() {
        deleted.unwrap();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
