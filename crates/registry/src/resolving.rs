//! A worker's log whose records can be decoded: those with a schema that is not known yet wait.
//!
//! Invariants: a partition's records keep their order; what is held back of a partition is at most
//! one read; nothing more is read of it meanwhile. After a failed commit reading stands at the
//! committed positions, and what was held back will be read again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use engine::port::{
    CommitError, Committed, LogError, Read, Record, Staged, TopicName, TopicPartition, WorkerLog,
};
use engine::trial::Place;
use wire::decoder::SharedSchemas;

use crate::ids::Lookup;
use crate::service::Registry;

/// A log that holds records back until their schemas are known.
#[derive(Debug)]
pub struct Resolving<L> {
    log: L,
    registry: Arc<Registry>,
    schemas: SharedSchemas,
    /// Topics in Confluent's wire format.
    topics: BTreeSet<TopicName>,
    give_up_after: Option<Duration>,
    held: BTreeMap<TopicPartition, VecDeque<Record>>,
}

/// A partition that waits for a schema.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The partition.
    pub source: TopicPartition,
    /// The offset of the record that waits first.
    pub offset: u64,
    /// The schema's id.
    pub id: u32,
    /// For how long it has been asked for.
    pub waited: Duration,
    /// What the last request came to, if it failed.
    pub last_error: Option<Arc<str>>,
}

impl<L: WorkerLog> Resolving<L> {
    /// `log`, of whose `topics` the records are held back until `schemas`, which decoders read
    /// with, has theirs from `registry`. Records whose schema could not be fetched for
    /// `give_up_after` are passed on, to be rejected; without it they wait for ever.
    #[must_use]
    pub fn new(
        log: L,
        registry: Arc<Registry>,
        schemas: SharedSchemas,
        topics: BTreeSet<TopicName>,
        give_up_after: Option<Duration>,
    ) -> Resolving<L> {
        Resolving {
            log,
            registry,
            schemas,
            topics,
            give_up_after,
            held: BTreeMap::new(),
        }
    }

    /// The log itself. Whoever makes it read from elsewhere calls [`Resolving::forget`] as well.
    pub fn log(&mut self) -> &mut L {
        &mut self.log
    }

    /// Drops what is held back of the partitions for which `is_moved` answers true: they are given up,
    /// or read from elsewhere.
    pub fn forget(&mut self, is_moved: impl Fn(&TopicPartition) -> bool) {
        self.held.retain(|source, _| !is_moved(source));
    }

    /// The partitions that wait at the moment, and what for.
    pub fn held(&self) -> impl Iterator<Item = Held> + '_ {
        self.held.iter().filter_map(|(source, records)| {
            let first = records.front()?;
            let id = schema_id(first)?;
            match self.registry.lookup(id) {
                Lookup::Pending { waited, last_error } => Some(Held {
                    source: source.clone(),
                    offset: first.offset,
                    id,
                    waited,
                    last_error,
                }),
                _ => None,
            }
        })
    }

    /// Whether it is settled what becomes of `record`; then decoders know as much.
    fn is_settled(&self, record: &Record) -> bool {
        let Some(id) = schema_id(record) else {
            return true;
        };
        if self.schemas.knows(id) {
            return true;
        }
        match self.registry.lookup(id) {
            Lookup::Known(schema) => {
                if let Err(error) = self.schemas.learn(id, &schema) {
                    tracing::warn!("records are rejected: {error}");
                }
                true
            }
            Lookup::Unusable(reason) => {
                tracing::warn!("records are rejected: schema {id}: {reason}");
                self.schemas.refuse(id, &reason);
                true
            }
            Lookup::Unknown => {
                let reason = "the schema registry does not have it: register the producer's \
                              schema there, and send the record again";
                self.schemas.note_missing(id, reason);
                true
            }
            Lookup::Pending { waited, last_error } => {
                let gives_up = self.give_up_after.is_some_and(|after| waited >= after);
                if gives_up {
                    let error = last_error.as_deref().unwrap_or("no answer yet");
                    let waited = waited.as_secs();
                    let reason = format!("given up after {waited} s: {error}");
                    self.schemas.note_missing(id, &reason);
                }
                gives_up
            }
        }
    }

    /// The first of `records`, up to one that has to wait or to `max`; the rest is held back.
    fn pass(&mut self, source: &TopicPartition, mut records: VecDeque<Record>, max: usize) -> Read {
        let settled = records.iter().take(max);
        let settled = settled.take_while(|record| self.is_settled(record)).count();
        let rest = records.split_off(settled);
        if !rest.is_empty() {
            self.held.insert(source.clone(), rest);
        }
        if records.is_empty() {
            return Read::NotYet;
        }
        Read::Records(records.into())
    }
}

impl<L: WorkerLog> WorkerLog for Resolving<L> {
    fn read(&mut self, source: &TopicPartition, max: usize) -> Result<Read, LogError> {
        if let Some(records) = self.held.remove(source) {
            return Ok(self.pass(source, records, max));
        }
        let read = self.log.read(source, max)?;
        Ok(match read {
            Read::Records(records) if self.topics.contains(&source.topic) => {
                self.pass(source, records.into(), max)
            }
            read => read,
        })
    }

    fn commit(&mut self, staged: Vec<Staged>) -> Result<Vec<Committed>, CommitError> {
        let result = self.log.commit(staged);
        if result.is_err() {
            self.held.clear();
        }
        result
    }

    fn trying(&mut self, tasks: &[u32], place: Option<&Place>) -> Result<(), CommitError> {
        let result = self.log.trying(tasks, place);
        if result.is_err() {
            self.held.clear();
        }
        result
    }
}

/// The schema that `record` names, if it is in Confluent's wire format.
fn schema_id(record: &Record) -> Option<u32> {
    match record.value.as_deref()?.first_chunk::<5>()? {
        [0, a, b, c, d] => Some(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}
