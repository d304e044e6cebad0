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
use std::time::{Duration, Instant};

use domain::time::TimeMs;
use kafkalog::topics::{
    AclState, Create, Desired, Granted, Problem, Purpose, TopicAdmin, TopicRetention, TopicState,
    TopicsError, needed_acls,
};
use kafkalog::{Cluster, Onlooker, Settings, Standing};
use kafkatest::{Broker, Options, unique};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

const DAY: Duration = Duration::from_secs(86_400);

fn connect(broker: &Broker) -> TopicAdmin {
    TopicAdmin::connect(&properties(broker)).unwrap()
}

fn properties(broker: &Broker) -> Vec<(String, String)> {
    let properties = broker.client_properties().into_iter();
    properties
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// A shop that no other test knows.
fn shop(test: &str) -> Desired {
    Desired {
        application: unique(&format!("topics-{test}")),
        partitions: 3,
        outputs: 3,
        generation: 0,
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
    let Some(broker) = Broker::shared("what_is_missing_is_named_or_made_as_planned") else {
        return;
    };
    let cluster = connect(broker);
    let shop = shop("create");
    let refused = cluster.ensure(&shop, &none(), Create::Nothing).unwrap_err();
    let TopicsError::Missing(missing) = &refused else {
        panic!("{refused}");
    };
    assert_eq!(missing.len(), 11);
    assert!(refused.to_string().contains("`clvstream topics apply`"));

    let made = cluster.ensure(&shop, &none(), Create::Missing).unwrap();
    assert_eq!(made.len(), 11);
    for state in &made {
        let partitions = match state.purpose {
            Purpose::Marks | Purpose::Models => 1,
            _ => 3,
        };
        assert_eq!(state.partitions, partitions, "{}", state.name);
        assert_eq!(state.id.len(), 22, "{} is a UUID in base64", state.id);
    }
    let distinct: std::collections::BTreeSet<_> = ids(&made).into_values().collect();
    assert_eq!(distinct.len(), 11);
    let dead_letters = made
        .iter()
        .find(|state| state.purpose == Purpose::DeadLetters);
    let room = dead_letters.unwrap().max_message_bytes.unwrap();
    assert_eq!(room, (2 << 20) + 2 * (64 << 10));

    // The broker took every setting, and as it was meant.
    let plan = cluster.plan(&shop, &none()).unwrap();
    assert!(plan.is_done(), "{plan:#?}");
    let recorded = ids(&made);
    assert_eq!(
        cluster.ensure(&shop, &recorded, Create::Nothing).unwrap(),
        made
    );
}

#[test]
fn instances_that_start_at_once_agree() {
    let Some(broker) = Broker::shared("instances_that_start_at_once_agree") else {
        return;
    };
    let shop = shop("race");
    let start = || connect(broker).ensure(&shop, &none(), Create::Missing);
    let states = thread::scope(|scope| {
        let instances: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        let states = instances
            .into_iter()
            .map(|one| one.join().unwrap().unwrap());
        states.collect::<Vec<_>>()
    });
    for state in &states {
        assert_eq!(state, &states[0]);
    }
}

#[test]
fn settings_are_changed_and_those_of_others_are_kept() {
    let Some(broker) = Broker::shared("settings_are_changed_and_those_of_others_are_kept") else {
        return;
    };
    let cluster = connect(broker);
    let mut shop = shop("change");
    cluster
        .apply(&cluster.plan(&shop, &none()).unwrap())
        .unwrap();
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
        .flat_map(|topic| {
            topic
                .changes
                .iter()
                .map(|c| format!("{} {} {}", c.setting, c.from, c.to))
        })
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
    let Some(broker) = Broker::shared("another_number_of_partitions_is_refused") else {
        return;
    };
    let cluster = connect(broker);
    let shop = shop("fixed");
    cluster.ensure(&shop, &none(), Create::Missing).unwrap();
    let larger = Desired {
        partitions: 4,
        outputs: 4,
        ..shop.clone()
    };
    let refused = cluster
        .ensure(&larger, &none(), Create::Missing)
        .unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("has 3 partitions and must have 4"), "{said}");
    assert!(said.contains("internal.routed"), "{said}");
    assert!(
        !said.contains(".orders"),
        "inputs may have any number: {said}"
    );
    let plan = cluster.plan(&larger, &none()).unwrap();
    assert!(
        cluster.apply(&plan).is_err(),
        "nothing is done about a part of it"
    );
}

#[test]
fn a_topic_that_was_made_again_is_named() {
    let Some(broker) = Broker::shared("a_topic_that_was_made_again_is_named") else {
        return;
    };
    let cluster = connect(broker);
    let shop = shop("again");
    let made = cluster.ensure(&shop, &none(), Create::Missing).unwrap();
    let recorded = ids(&made);
    let orders = format!("{}.orders", shop.application);
    let changelog = format!("{}.internal.changelog", shop.application);
    delete(broker, &[&orders, &changelog]);
    await_gone(&cluster, &shop, 9);

    let refused = cluster
        .ensure(&shop, &recorded, Create::Missing)
        .unwrap_err();
    let said = refused.to_string();
    assert!(
        said.contains(&format!("{changelog}: was deleted (id ")),
        "{said}"
    );
    await_gone(&cluster, &shop, 9);

    let again = cluster.ensure(&shop, &none(), Create::Missing).unwrap();
    let refused = cluster
        .ensure(&shop, &recorded, Create::Missing)
        .unwrap_err();
    let TopicsError::Recreated(found) = refused else {
        panic!("{refused}");
    };
    let names: Vec<&str> = found.iter().map(|one| one.topic.as_str()).collect();
    assert_eq!(names, [orders.as_str(), changelog.as_str()]);
    for one in &found {
        assert_eq!(one.recorded, recorded[&one.topic]);
        assert_eq!(one.actual.as_ref(), ids(&again).get(&one.topic));
    }
}

#[test]
fn topics_of_others_are_looked_at_and_never_made() {
    let test = "topics_of_others_are_looked_at_and_never_made";
    let careless = Options::new().property("auto.create.topics.enable", "true");
    let Some(broker) = careless.start(test) else {
        return;
    };
    let cluster = connect(&broker);
    let mut shop = shop("foreign");
    let foreign = format!("{}-erp", shop.application);
    shop.foreign = vec![foreign.clone()];
    for _ in 0..2 {
        let refused = cluster.ensure(&shop, &none(), Create::Missing).unwrap_err();
        let TopicsError::MissingForeign(missing) = refused else {
            panic!("{refused}");
        };
        assert_eq!(missing, std::slice::from_ref(&foreign));
    }
    let plan = cluster.plan(&shop, &none()).unwrap();
    let last = plan.topics.last().unwrap();
    assert_eq!(last.problems, [Problem::ForeignMissing]);
}

#[test]
fn usage_counts_records_of_every_partition() {
    let Some(broker) = Broker::shared("usage_counts_records_of_every_partition") else {
        return;
    };
    let cluster = connect(broker);
    let shop = shop("usage");
    assert!(cluster.usage(&shop).unwrap().is_empty());
    cluster.ensure(&shop, &none(), Create::Missing).unwrap();
    let orders = format!("{}.orders", shop.application);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap());
    let producer: BaseProducer = config.create().unwrap();
    for partition in [0, 1, 1, 2, 2, 2] {
        let record = BaseRecord::to(&orders)
            .partition(partition)
            .key("k")
            .payload("v");
        producer.send(record).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    let usage = cluster.usage(&shop).unwrap();
    let records: Vec<u64> = usage.iter().map(|topic| topic.records).collect();
    assert_eq!(records, [6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn without_an_authorizer_there_is_no_access_to_grant() {
    let Some(broker) = Broker::shared("without_an_authorizer_there_is_no_access_to_grant") else {
        return;
    };
    let cluster = connect(broker);
    let shop = shop("open");
    let states = cluster.acls(&shop, "User:clv").unwrap();
    assert!(
        states
            .iter()
            .all(|state| state.granted == Granted::NoAuthorizer)
    );
    let acls = states.iter().map(|state| &state.acl);
    let refused = cluster.grant("User:clv", acls).unwrap_err();
    assert!(matches!(refused, TopicsError::NoAuthorizer), "{refused}");
}

#[test]
fn access_is_granted_where_it_is_enforced() {
    let test = "access_is_granted_where_it_is_enforced";
    let enforced = enforced("User:ANONYMOUS");
    let Some(broker) = enforced.start(test) else {
        return;
    };
    let cluster = connect(&broker);
    let mut shop = shop("granted");
    shop.foreign = vec!["erp.orders".to_owned()];
    let granted = |principal| -> Vec<Granted> {
        let states = cluster.acls(&shop, principal).unwrap();
        states.iter().map(|state| state.granted).collect()
    };
    assert_eq!(granted("User:clv"), [Granted::No; 9]);
    let needed = cluster.acls(&shop, "User:clv").unwrap();
    let acls =
        |states: &[AclState]| -> Vec<_> { states.iter().map(|state| state.acl.clone()).collect() };
    cluster.grant("User:clv", &acls(&needed[..3])).unwrap();
    // What is there already does no harm.
    cluster.grant("User:clv", &acls(&needed)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while granted("User:clv") != [Granted::Yes; 9] {
        assert!(Instant::now() < deadline, "{:#?}", granted("User:clv"));
    }
    assert_eq!(granted("User:another"), [Granted::No; 9]);
}

#[test]
fn a_principal_with_the_needed_access_gets_along_with_it() {
    let test = "a_principal_with_the_needed_access_gets_along_with_it";
    let enforced = enforced("User:ANONYMOUS").tls_and_sasl();
    let Some(broker) = enforced.start(test) else {
        return;
    };
    let plain = [("bootstrap.servers".to_owned(), plain_port(&broker))];
    let administrator = TopicAdmin::connect(&plain).unwrap();
    let user = broker.security().unwrap().user;
    let shop = shop("allowed");
    let principal = format!("User:{user}");
    let needed = needed_acls(&shop);

    // Without access nothing is shown, and nothing is taken for missing.
    let cluster = connect(&broker);
    let refused = cluster.ensure(&shop, &none(), Create::Missing).unwrap_err();
    let said = refused.to_string();
    assert!(
        said.contains("refused to describe topics") && said.contains("authorization"),
        "{said}"
    );

    administrator.grant(&principal, &needed).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let made = loop {
        match cluster.ensure(&shop, &none(), Create::Missing) {
            Ok(made) => break made,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    assert!(made.iter().all(|state| state.max_message_bytes.is_some()));
    work_in_a_transaction(&broker, &shop);
    stand_by(&broker, &shop);
    assert!(
        cluster
            .usage(&shop)
            .unwrap()
            .iter()
            .any(|topic| topic.records > 0)
    );
    let states = cluster.acls(&shop, &principal).unwrap();
    assert!(
        states.iter().all(|state| state.granted == Granted::Hidden),
        "{states:?}"
    );

    // Settings are for those who administer the cluster.
    let other = Desired {
        max_value_bytes: 4 << 20,
        ..shop
    };
    let refused = cluster
        .apply(&cluster.plan(&other, &none()).unwrap())
        .unwrap_err();
    let said = refused.to_string();
    assert!(
        said.contains("refused to change settings") && said.contains("uthoriz"),
        "{said}"
    );
}

/// A broker that lets nobody but `administrator` do what is not granted.
fn enforced(administrator: &str) -> Options {
    let standard = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
    Options::new()
        .property("authorizer.class.name", standard)
        .property("super.users", administrator)
}

/// Where a secured broker can be reached without security: that stands in its folder, beside the
/// certificate.
fn plain_port(broker: &Broker) -> String {
    let folder = broker.security().unwrap().ca.parent().unwrap();
    let properties = std::fs::read_to_string(folder.join("server.properties")).unwrap();
    let (_, after) = properties.split_once("listeners=PLAINTEXT://").unwrap();
    after.split(',').next().unwrap().to_owned()
}

/// What the service does: produce and commit offsets in a transaction, and read.
fn work_in_a_transaction(broker: &Broker, shop: &Desired) {
    let mut config = ClientConfig::new();
    config.extend(properties(broker));
    let consumer: BaseConsumer = config
        .clone()
        .set("group.id", &shop.application)
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    let id = format!("{}-instance-0", shop.application);
    let producer: BaseProducer = config.set("transactional.id", id).create().unwrap();
    let patience = Duration::from_secs(30);
    producer.init_transactions(patience).unwrap();
    producer.begin_transaction().unwrap();
    let routed = format!("{}.internal.routed", shop.application);
    producer
        .send(BaseRecord::to(&routed).partition(0).key("k").payload("v"))
        .unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(&routed, 0, Offset::Offset(0))
        .unwrap();
    let group = consumer.group_metadata().unwrap();
    producer
        .send_offsets_to_transaction(&offsets, &group, patience)
        .unwrap();
    producer.commit_transaction(patience).unwrap();

    consumer.assign(&offsets).unwrap();
    let record = consumer.poll(patience).unwrap().unwrap();
    assert_eq!(record.payload(), Some(&b"v"[..]));
    let committed = consumer
        .committed_offsets(offsets.clone(), patience)
        .unwrap();
    assert_eq!(committed.elements()[0].offset(), Offset::Offset(0));

    let admin: AdminClient<DefaultClientContext> = {
        config.remove("transactional.id");
        config
    }
    .create()
    .unwrap();
    let mut consumed = TopicPartitionList::new();
    consumed
        .add_partition_offset(&routed, 0, Offset::Offset(1))
        .unwrap();
    let purged = block_on(admin.delete_records(&consumed, &AdminOptions::new())).unwrap();
    purged.elements()[0].error().unwrap();
}

/// What standbys do, and whoever asks for them: tell positions, look at them and at the group.
fn stand_by(broker: &Broker, shop: &Desired) {
    let settings = Settings {
        application: shop.application.clone(),
        instance: "pod-0".to_owned(),
        consumer: properties(broker),
        producer: properties(broker),
        session_timeout: Duration::from_secs(10),
        max_poll_interval: Duration::from_secs(60),
        transaction_timeout: Duration::from_secs(10),
        max_task_idle: Duration::ZERO,
        static_membership: false,
    };
    let onlooker = Onlooker::of(&shop.application, &settings.producer).unwrap();
    assert!(onlooker.members().unwrap().members.is_empty());
    let cluster = Cluster::connect(settings).unwrap();
    let follower = cluster.follower().unwrap();
    let standbys = BTreeMap::from([(1, (Standing::Warm, 7))]);
    let changelog = &cluster.topics().changelog;
    follower.tell(changelog, &standbys, TimeMs(80)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while cluster.told_by("pod-0", 3).unwrap().len() != 1 {
        assert!(Instant::now() < deadline);
        follower.serve();
    }
}

#[test]
fn a_cluster_that_is_not_there_is_said_to_be_unreachable() {
    let properties = [("bootstrap.servers".to_owned(), "127.0.0.1:1".to_owned())];
    let refused = TopicAdmin::connect(&properties).unwrap_err();
    let said = refused.to_string();
    assert!(matches!(refused, TopicsError::Unreachable { .. }), "{said}");
    assert!(
        said.contains("127.0.0.1:1") && said.contains("Connection refused"),
        "{said}"
    );
}

fn await_gone(cluster: &TopicAdmin, shop: &Desired, left: usize) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while cluster.actual(shop).unwrap().topics.len() != left {
        assert!(Instant::now() < deadline);
    }
}

fn delete(broker: &Broker, topics: &[&str]) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap());
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
