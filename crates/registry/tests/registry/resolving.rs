//! A log whose records wait for their schemas.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::time::TimeMs;
use engine::port::{
    CommitError, Committed, LogError, Read, Record, Staged, TopicPartition, WorkerLog,
};
use engine::trial::Place;
use registry::{Held, Resolving, Settings};
use serde_json::json;
use wire::{Decoder, InputRules, RejectionClass, SchemaSet, SharedSchemas, currency_by_code};

use crate::fake::{Fake, Reply, not_found};
use crate::{Client, settings};

/// A log of values that are numbered by their offsets; every commit fails.
#[derive(Debug, Default)]
struct Script {
    partitions: BTreeMap<TopicPartition, Vec<Option<Vec<u8>>>>,
    reading: BTreeMap<TopicPartition, usize>,
    reads: usize,
}

impl WorkerLog for Script {
    fn read(&mut self, source: &TopicPartition, max: usize) -> Result<Read, LogError> {
        self.reads += 1;
        let from = self.reading.entry(source.clone()).or_default();
        let values = self.partitions[source].iter().skip(*from).take(max);
        let records: Vec<Record> = values
            .zip(*from as u64..)
            .map(|(value, offset)| Record {
                source: source.clone(),
                offset,
                timestamp: TimeMs(0),
                key: None,
                value: value.clone(),
            })
            .collect();
        *from += records.len();
        Ok(records.into())
    }

    fn commit(&mut self, _: Vec<Staged>) -> Result<Vec<Committed>, CommitError> {
        self.reading.clear();
        Err(CommitError::Abort("as told".to_owned()))
    }

    fn trying(&mut self, _: &[u32], _: Option<&Place>) -> Result<(), CommitError> {
        Ok(())
    }
}

fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition {
        topic: topic.into(),
        partition,
    }
}

/// A value of the schema `id`, a text without characters.
fn framed(id: u32) -> Option<Vec<u8>> {
    Some([&[0], &id.to_be_bytes()[..], &[0]].concat())
}

struct Rig {
    client: Client,
    schemas: SharedSchemas,
    log: Resolving<Script>,
}

impl Rig {
    fn new(
        settings: &Settings,
        give_up_after: Option<Duration>,
        partitions: Vec<(TopicPartition, Vec<Option<Vec<u8>>>)>,
    ) -> Rig {
        let client = Client::new(settings);
        let schemas = SharedSchemas::open(&SchemaSet::embedded().unwrap()).unwrap();
        let script = Script {
            partitions: partitions.into_iter().collect(),
            ..Script::default()
        };
        let log = Resolving::new(
            script,
            Arc::clone(&client.registry),
            schemas.clone(),
            BTreeSet::from(["events".into()]),
            give_up_after,
        );
        Rig {
            client,
            schemas,
            log,
        }
    }

    /// Offsets read, or the other two answers.
    fn read(&mut self, source: &TopicPartition, max: usize) -> Result<Vec<u64>, &'static str> {
        match self.log.read(source, max).unwrap() {
            Read::Records(records) => Ok(records.iter().map(|r| r.offset).collect()),
            Read::CaughtUp => Err("caught up"),
            Read::NotYet => Err("not yet"),
        }
    }

    /// Reads until there is something else than "not yet".
    fn read_on(&mut self, source: &TopicPartition, max: usize) -> Result<Vec<u64>, &'static str> {
        let log = &mut self.log;
        self.client
            .wait_for(|| match log.read(source, max).unwrap() {
                Read::Records(records) => Some(Ok(records.iter().map(|r| r.offset).collect())),
                Read::CaughtUp => Some(Err("caught up")),
                Read::NotYet => None,
            })
    }

    /// Why a value of schema `id` is rejected.
    fn rejection(&self, id: u32) -> String {
        let rules = InputRules::new(currency_by_code("USD", None).unwrap());
        let decoder = Decoder::with_schemas(rules, self.schemas.clone());
        let rejection = decoder.to_json(&framed(id).unwrap()).unwrap_err();
        assert_eq!(rejection.class, RejectionClass::UnknownSchema);
        rejection.message
    }
}

#[test]
fn records_wait_for_their_schema_in_order() {
    let fake = Fake::start();
    fake.schema(1, &json!({"schema": "\"string\""}));
    fake.on("GET /schemas/ids/2", Reply::Answer(500, String::new()));
    fake.schema(3, &json!({"schema": "\"string\""}));
    let json = Some(b"{}".to_vec());
    let short = Some(vec![0, 0, 0, 1]);
    let values = vec![
        json.clone(),
        framed(1),
        None,
        framed(2),
        framed(1),
        short,
        framed(3),
    ];
    let (events, others) = (at("events", 0), at("events", 1));
    let partitions = vec![
        (events.clone(), values),
        (others.clone(), vec![json, framed(1_900_000_001)]),
    ];
    let mut rig = Rig::new(&settings(&fake.url()), None, partitions);
    assert_eq!(rig.read(&events, 100), Ok(vec![0]));
    assert_eq!(rig.read_on(&events, 100), Ok(vec![1, 2]));
    assert_eq!(rig.read(&events, 100), Err("not yet"));
    // Another partition goes on, and this one is not read meanwhile.
    assert_eq!(rig.read(&others, 100), Ok(vec![0, 1]));
    assert_eq!(rig.read(&others, 100), Err("caught up"));
    rig.client.error(2, |_| true);
    let reads = rig.log.log().reads;
    assert_eq!(rig.read(&events, 100), Err("not yet"));
    assert_eq!(rig.log.log().reads, reads);
    let held: Vec<Held> = rig.log.held().collect();
    assert_eq!((held.len(), held[0].offset, held[0].id), (1, 3, 2));
    assert!(held[0].last_error.as_ref().unwrap().contains("500"));
    fake.schema(2, &json!({"schema": "\"string\""}));
    assert_eq!(rig.read_on(&events, 2), Ok(vec![3, 4]));
    assert_eq!(rig.read(&events, 1), Ok(vec![5]));
    assert_eq!(rig.read_on(&events, 100), Ok(vec![6]));
    assert_eq!(rig.read(&events, 100), Err("caught up"));
    assert_eq!(rig.log.held().count(), 0);
}

#[test]
fn only_the_topics_named_are_looked_at() {
    let fake = Fake::start();
    let routed = at("internal.routed", 0);
    let partitions = vec![(routed.clone(), vec![framed(1), framed(2)])];
    let mut rig = Rig::new(&settings(&fake.url()), None, partitions);
    assert_eq!(rig.read(&routed, 100), Ok(vec![0, 1]));
    assert!(fake.requests().is_empty());
}

#[test]
fn what_the_registry_settles_with_no_is_passed_on_to_be_rejected() {
    let fake = Fake::start();
    fake.on("GET /schemas/ids/1", not_found());
    fake.schema(
        2,
        &json!({"schema": "syntax = 3", "schemaType": "PROTOBUF"}),
    );
    fake.schema(3, &json!({"schema": "{\"type\": \"record\"}"}));
    let events = at("events", 0);
    let partitions = vec![(events.clone(), vec![framed(1), framed(2), framed(3)])];
    let settings = Settings {
        refresh_unknown: Duration::from_secs(3600),
        ..settings(&fake.url())
    };
    let mut rig = Rig::new(&settings, None, partitions);
    for offset in 0..3 {
        assert_eq!(rig.read_on(&events, 1), Ok(vec![offset]));
    }
    assert!(
        rig.rejection(1)
            .contains("the schema registry does not have it")
    );
    assert!(
        rig.rejection(2)
            .contains("schema 2 cannot be used: it is of type PROTOBUF")
    );
    assert!(
        rig.rejection(3)
            .contains("schema 3 cannot be used: it is no valid Avro")
    );
}

#[test]
fn waiting_may_have_an_end() {
    let fake = Fake::start();
    fake.on(
        "GET /schemas/ids/1",
        Reply::Answer(500, "broken".to_owned()),
    );
    let events = at("events", 0);
    let partitions = || vec![(events.clone(), vec![framed(1), framed(1)])];
    let hour = Some(Duration::from_secs(3600));
    let mut patient = Rig::new(&settings(&fake.url()), hour, partitions());
    assert_eq!(patient.read(&events, 100), Err("not yet"));
    patient.client.error(1, |_| true);
    assert_eq!(patient.read(&events, 100), Err("not yet"));
    let mut hasty = Rig::new(&settings(&fake.url()), Some(Duration::ZERO), partitions());
    let _ = hasty.client.registry.lookup(1);
    hasty.client.error(1, |_| true);
    assert_eq!(hasty.read(&events, 100), Ok(vec![0, 1]));
    let message = hasty.rejection(1);
    assert!(message.contains("given up after 0 s"), "{message}");
    assert!(message.contains("answered 500: broken"), "{message}");
}

#[test]
fn what_is_held_is_read_again_after_a_failed_commit_or_a_move() {
    let fake = Fake::start();
    fake.on("GET /schemas/ids/2", Reply::Answer(500, String::new()));
    let (events, others) = (at("events", 0), at("events", 1));
    let partitions = vec![
        (events.clone(), vec![None, framed(2), None]),
        (others.clone(), vec![framed(2)]),
    ];
    let mut rig = Rig::new(&settings(&fake.url()), None, partitions);
    assert_eq!(rig.read(&events, 100), Ok(vec![0]));
    assert_eq!(rig.read(&others, 100), Err("not yet"));
    assert!(rig.log.commit(Vec::new()).is_err());
    assert_eq!(rig.read(&events, 100), Ok(vec![0]));
    assert_eq!(rig.read(&events, 100), Err("not yet"));
    assert_eq!(rig.read(&others, 100), Err("not yet"));
    // One partition moves to its end, the other stays where it is.
    rig.log.log().reading.insert(events.clone(), 3);
    rig.log.forget(|source| source.partition == 0);
    assert_eq!(rig.read(&events, 100), Err("caught up"));
    assert_eq!(rig.read(&others, 100), Err("not yet"));
    fake.schema(2, &json!({"schema": "\"string\""}));
    assert_eq!(rig.read_on(&others, 100), Ok(vec![0]));
}
