//! What a log holds, read from a copy of its files, so that looking at it recovers nothing for the
//! process that has to recover it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use domain::money::Currency;
use domain::time::TimeMs;
use engine::port::TopicPartition;
use eventlog::{EmbeddedLog, Options};
use serde_json::Value;
use store::Shared;
use wire::{Decoder, InputRules, SchemaSet};

/// The topics that subscribers read.
const OUTPUTS: [&str; 3] = [
    "clvstream.clv.updates",
    "clvstream.lifecycle.transitions",
    "clvstream.segment.changes",
];
/// What depends on where commits fall, and is nobody's output.
const BOUNDARIES: [&str; 2] = ["clvstream.internal.changelog", "clvstream.internal.commits"];
const DEAD_LETTERS: &str = "clvstream.dlq";
const ROUTED: &str = "clvstream.internal.routed";

/// A record without its place and the wall clock.
#[derive(PartialEq, Eq)]
pub(crate) struct Kept {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

impl fmt::Debug for Kept {
    /// Readable, for an assertion that fails.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &Vec<u8>| bytes.escape_ascii().to_string();
        let header = |(name, value): &(String, Vec<u8>)| format!("{name}={}", text(value));
        f.debug_struct("Kept")
            .field("key", &self.key.as_ref().map(text))
            .field("value", &self.value.as_ref().map(text))
            .field(
                "headers",
                &self.headers.iter().map(header).collect::<Vec<_>>(),
            )
            .finish()
    }
}

/// Everything in a log that is to be the same whatever happened on the way, and how far it came.
pub(crate) struct Contents {
    /// By topic and partition, in the order of offsets.
    partitions: BTreeMap<(String, u32), Vec<Kept>>,
    /// Records of inputs that are loaded.
    pub(crate) loaded: u64,
    /// Control records: the end of a replay is one for each partition.
    pub(crate) control: u64,
    /// Records of inputs that are consumed, with control records.
    pub(crate) consumed: u64,
}

impl Contents {
    /// Reads a copy of the log in `folder`, whose process is gone.
    pub(crate) fn of(folder: &Path) -> Contents {
        let copy = tempfile::tempdir().unwrap();
        let from = folder.join("clvstream-data/log");
        for entry in std::fs::read_dir(from).into_iter().flatten() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
        let options = Options {
            sync: false,
            ..Options::default()
        };
        let log = EmbeddedLog::open(copy.path(), options, &Shared::new(64 << 20)).unwrap();
        let mut contents = Contents {
            partitions: BTreeMap::new(),
            loaded: 0,
            control: 0,
            consumed: 0,
        };
        for topic in log.topics() {
            for partition in 0..topic.partitions {
                contents.take(&log, &topic.name, partition);
            }
        }
        contents
    }

    fn take(&mut self, log: &EmbeddedLog, topic: &Arc<str>, partition: u32) {
        if BOUNDARIES.contains(&&**topic) {
            return;
        }
        let source = TopicPartition {
            topic: Arc::clone(topic),
            partition,
        };
        let mut kept = Vec::new();
        loop {
            let chunk = log
                .read(&source, kept.len() as u64, 10_000, 64 << 20)
                .unwrap();
            if chunk.is_empty() {
                break;
            }
            for stored in chunk {
                let record = stored.record;
                assert_eq!(record.offset, kept.len() as u64, "a gap in {topic}");
                kept.push(Kept {
                    key: record.key,
                    value: record.value,
                    headers: stored.headers,
                });
            }
        }
        let position = log.position(partition, &source).unwrap().unwrap_or(0);
        assert!(position <= kept.len() as u64, "{topic}: consumed too much");
        self.consumed += position;
        if **topic == *ROUTED {
            self.control += kept.len() as u64;
        } else if is_input(topic) {
            self.loaded += kept.len() as u64;
        }
        self.partitions.insert((topic.to_string(), partition), kept);
    }

    /// Every partition holds what `whole` does, byte for byte, up to some record.
    pub(crate) fn assert_begins(&self, whole: &Contents) {
        for (place, kept) in &self.partitions {
            let whole = &whole.partitions[place];
            let length = kept.len().min(whole.len());
            assert!(kept.len() <= whole.len(), "{place:?} has more records");
            assert_same(place, kept, &whole[..length]);
        }
    }

    /// Every partition holds what `other` does, byte for byte.
    pub(crate) fn assert_equals(&self, other: &Contents) {
        assert!(self.partitions.keys().eq(other.partitions.keys()));
        for (place, kept) in &self.partitions {
            let other = &other.partitions[place];
            assert_eq!(kept.len(), other.len(), "records in {place:?}");
            assert_same(place, kept, other);
        }
    }

    /// The number of records that all output topics hold. Each customer's run from 1 without gap or
    /// repetition, per topic.
    pub(crate) fn check_sequences(&self, currency: Currency) -> usize {
        let decoder = decoder(currency);
        let mut records = 0;
        for topic in OUTPUTS {
            let mut next: BTreeMap<String, u64> = BTreeMap::new();
            for kept in self.of_topic(topic) {
                let value = decoder.to_json(kept.value.as_deref().unwrap()).unwrap();
                let customer = value["customer"].as_str().unwrap();
                assert_eq!(kept.key.as_deref(), Some(customer.as_bytes()));
                assert_eq!(value["incarnation"], Value::from(0));
                let next = next.entry(customer.to_owned()).or_insert(1);
                assert_eq!(value["sequence"], Value::from(*next), "{topic}");
                *next += 1;
                records += 1;
            }
            assert!(!next.is_empty(), "{topic} is empty");
        }
        records
    }

    /// How often each event id stands in the input topics of a shop that accounts in `currency`;
    /// nothing is among the dead letters.
    pub(crate) fn input_ids(&self, currency: Currency) -> BTreeMap<String, usize> {
        assert_eq!(self.of_topic(DEAD_LETTERS).count(), 0);
        let decoder = decoder(currency);
        let mut ids = BTreeMap::new();
        let topics: BTreeSet<&str> = self.partitions.keys().map(|(t, _)| t.as_str()).collect();
        for topic in topics.into_iter().filter(|topic| is_input(topic)) {
            for kept in self.of_topic(topic) {
                let event = decoder.decode(None, kept.value.as_deref(), TimeMs::MAX);
                *ids.entry(event.unwrap().id.to_string()).or_default() += 1;
            }
        }
        ids
    }

    /// About what loading the inputs writes to the log.
    pub(crate) fn input_bytes(&self) -> u64 {
        let inputs = self.partitions.iter().filter(|((t, _), _)| is_input(t));
        let size = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        // Each record has a key of its own in the log, lengths and a timestamp.
        let record = |kept: &Kept| size(&kept.key) + size(&kept.value) + 30;
        let bytes: usize = inputs.flat_map(|(_, kept)| kept).map(record).sum();
        bytes as u64
    }

    fn of_topic(&self, topic: &str) -> impl Iterator<Item = &Kept> {
        let partitions = self.partitions.iter().filter(move |((t, _), _)| t == topic);
        partitions.flat_map(|(_, kept)| kept)
    }
}

fn is_input(topic: &str) -> bool {
    ![DEAD_LETTERS, ROUTED].contains(&topic) && !OUTPUTS.contains(&topic)
}

/// Says where two partitions differ without printing all of them.
fn assert_same(place: &(String, u32), kept: &[Kept], other: &[Kept]) {
    for (offset, (kept, other)) in kept.iter().zip(other).enumerate() {
        assert_eq!(kept, other, "{place:?}, offset {offset}");
    }
}

fn decoder(currency: Currency) -> Decoder {
    Decoder::new(InputRules::new(currency), &SchemaSet::embedded().unwrap()).unwrap()
}
