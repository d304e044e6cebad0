//! How many events per second one task takes, from Avro bytes to Avro bytes, on one core: a log that
//! hands out records made beforehand and a store in memory, so that nothing but the engine counts.
//!
//! `cargo run --release -p engine --example throughput [EVENTS [RECORDS_PER_COMMIT [model]]]`; with `model`, one of
//! customer value is in force from the first event on.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "it measures time and says it"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use domain::definitions::Definitions;
use domain::prediction::{Family, ModelParameters, SpendParameters};
use domain::time::TimeMs;
use engine::port::{
    CommitError, Committed, Entry, LogError, Read, Record, Staged, StateError, StateReader,
    StateStore, Table, TopicPartition, WorkerLog,
};
use engine::task::{Setup, Task};
use engine::topics::Topics;
use engine::trial::Place;
use engine::worker::{Owned, Worker};
use traffic::{ShopConfig, ShopTraffic};
use wire::routed::Routed;
use wire::{Decoder, Encoder, Format, InputRules, OutputEncoder, SchemaSet, currency_by_code};

/// Hands out what it was made with, and forgets what it is given.
#[derive(Default)]
struct Feed {
    inputs: BTreeMap<TopicPartition, (Vec<Record>, usize)>,
    bytes: usize,
}

impl WorkerLog for Feed {
    fn read(&mut self, source: &TopicPartition, max: usize) -> Result<Read, LogError> {
        let Some((records, at)) = self.inputs.get_mut(source) else {
            return Ok(Read::CaughtUp);
        };
        let read: Vec<Record> = records[*at..].iter().take(max).cloned().collect();
        *at += read.len();
        Ok(read.into())
    }

    fn commit(&mut self, staged: Vec<Staged>) -> Result<Vec<Committed>, CommitError> {
        let len = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        for record in staged.iter().flat_map(|s| &s.records) {
            self.bytes += len(&record.key) + len(&record.value);
        }
        Ok(staged.into_iter().map(|s| s.into_committed(0)).collect())
    }

    fn trying(&mut self, _: &[u32], _: Option<&Place>) -> Result<(), CommitError> {
        Ok(())
    }
}

/// State in memory.
#[derive(Default)]
struct Maps([BTreeMap<Vec<u8>, Arc<[u8]>>; Table::ALL.len()]);

impl StateReader for Maps {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Arc<[u8]>>, StateError> {
        Ok(self.0[table as usize - 1].get(key).cloned())
    }

    fn multi_get(
        &self,
        table: Table,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Arc<[u8]>>>, StateError> {
        keys.iter().map(|key| self.get(table, key)).collect()
    }

    fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
        let range = self.0[table as usize - 1].range(from.to_vec()..);
        Ok(range
            .take(limit)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect())
    }
}

impl StateStore for Maps {
    fn apply(&mut self, committed: Committed) -> Result<(), StateError> {
        for write in committed.delta {
            let table = &mut self.0[write.table as usize - 1];
            match write.value {
                Some(value) => table.insert(write.key, value),
                None => table.remove(&write.key),
            };
        }
        Ok(())
    }
}

/// That of CDNOW, with its spend.
const MODEL: ModelParameters = ModelParameters {
    version: 1,
    family: Family::MbgNbd,
    r: 0.525,
    alpha: 43.28,
    a: 0.891,
    b: 1.614,
    spend: Some(SpendParameters {
        p: 6.25,
        q: 3.744,
        v: 15.44,
    }),
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let events: u64 = args.next().map_or(Ok(1_000_000), |a| a.parse())?;
    let per_commit: usize = args.next().map_or(Ok(10_000), |a| a.parse())?;
    let with_model = args.next().as_deref() == Some("model");
    let currency = currency_by_code("USD", None).ok_or("no such currency")?;
    let schemas = SchemaSet::embedded()?;
    let setup = Arc::new(Setup {
        application: "shop".into(),
        tasks: 1,
        outputs: 1,
        topics: Topics::of("shop"),
        definitions: Arc::new(Definitions::preset(currency)),
        encoder: OutputEncoder::new(Format::Avro, &schemas)?,
    });
    let mut log = fill(events, &Encoder::new(currency, &schemas)?)?;
    let source = |topic: &str| TopicPartition {
        topic: topic.into(),
        partition: 0,
    };
    let mut inputs: Vec<_> = log.inputs.keys().cloned().collect();
    let routed = source(&setup.topics.routed);
    inputs.push(routed.clone());
    if with_model {
        let promotion = Record {
            source: routed.clone(),
            offset: 0,
            timestamp: TimeMs(0),
            key: None,
            value: Some(Routed::Model(MODEL).encode()),
        };
        log.inputs.insert(routed, (vec![promotion], 0));
    }
    let store = Maps::default();
    let task = Task::open(0, setup.clone(), inputs, &store)?;
    let decoder = Decoder::new(InputRules::new(currency), &schemas)?;
    let owned = vec![Owned { task, store }];
    let mut worker = Worker::new(owned, decoder, setup.topics.routed.clone());

    let start = Instant::now();
    while worker.process(&mut log, per_commit)?.steps > 0 {
        worker.commit(&mut log)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let counts = worker.counts();
    let rate = counts.consumed() as f64 / seconds;
    println!("{rate:.0} events/s over {seconds:.2} s: {counts:?}");
    let profiles = &worker.owned()[0].store.0[Table::Profiles as usize - 1];
    let size: usize = profiles.values().map(|v| v.len()).sum();
    println!(
        "{} profiles of {} bytes on average, {} MB written",
        profiles.len(),
        size / profiles.len().max(1),
        log.bytes / 1_000_000
    );
    Ok(())
}

/// A shop's traffic: orders, cancellations and refunds in one topic, the rest in another.
fn fill(events: u64, encoder: &Encoder) -> Result<Feed, Box<dyn std::error::Error>> {
    let small = ShopConfig {
        days: 120,
        ..ShopConfig::default()
    };
    let config = small.sized_for(events).map_err(|e| format!("{e:?}"))?;
    let mut feed = Feed::default();
    let traffic = ShopTraffic::new(&config).map_err(|e| format!("{e:?}"))?;
    for event in traffic.take(usize::try_from(events)?) {
        let topic = ["clicks", "orders"][usize::from(event.body.is_order_fact())];
        let source = TopicPartition {
            topic: topic.into(),
            partition: 0,
        };
        let (records, _) = feed.inputs.entry(source.clone()).or_default();
        records.push(Record {
            source,
            offset: records.len() as u64,
            timestamp: event.time,
            key: event.owner().map(|owner| owner.key().as_bytes().to_vec()),
            value: Some(encoder.encode(&event, Format::Avro)?),
        });
    }
    Ok(feed)
}
