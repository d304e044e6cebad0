//! The models that were written down: the topic `clv.models`, one compacted partition, by version.
//!
//! In force is the latest version that was promoted. Whoever writes reads first what there is, on Kafka after
//! having ended the work of any other writer, so that no version is written twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::port::{OutRecord, TopicPartition};
use engine::topics::Topics;
use eventlog::{EmbeddedLog, LogView, StoredRecord};
use kafkalog::{Cluster, KafkaLogError, Stopping};
use wire::routed::Routed;

use super::document::{Document, Learned};
use crate::control::controls;
use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::log::{Appender, Log};
use crate::workers::wall_clock;

/// Records, and bytes, that are read at a time.
const CHUNK: (usize, usize) = (500, 4 << 20);

/// All models by version.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Archive {
    documents: BTreeMap<u32, Document>,
}

impl Archive {
    /// That of a deployment that is open.
    ///
    /// # Errors
    /// The topic cannot be read, or holds what is no model.
    pub fn of(deployment: &Deployment) -> Result<Archive, RuntimeError> {
        match &deployment.log {
            Log::Embedded(log) => Archive::in_log(log, &deployment.setup.topics),
            Log::Kafka(cluster) => Archive::on(cluster),
        }
    }

    /// That of an embedded log, which may be another process's; empty where there is no such topic yet.
    ///
    /// # Errors
    /// The topic cannot be read, or holds what is no model.
    pub fn in_view(log: &LogView, topics: &Topics) -> Result<Archive, RuntimeError> {
        let at = partition(topics);
        if log.topics().iter().all(|topic| topic.name != at.topic) {
            return Ok(Archive::default());
        }
        Archive::read(|from| Ok(log.read(&at, from, CHUNK.0, CHUNK.1)?))
    }

    fn in_log(log: &EmbeddedLog, topics: &Topics) -> Result<Archive, RuntimeError> {
        let at = partition(topics);
        Archive::read(|from| Ok(log.read(&at, from, CHUNK.0, CHUNK.1)?))
    }

    fn read(
        chunk: impl Fn(u64) -> Result<Vec<StoredRecord>, RuntimeError>,
    ) -> Result<Archive, RuntimeError> {
        let mut archive = Archive::default();
        let mut next = 0;
        loop {
            let records = chunk(next)?;
            let Some(last) = records.last() else {
                return Ok(archive);
            };
            next = last.record.offset + 1;
            for stored in &records {
                let record = &stored.record;
                archive.take(record.offset, record.value.as_deref())?;
            }
        }
    }

    /// That of a cluster; empty where there is no such topic yet.
    ///
    /// # Errors
    /// The topic cannot be read, or holds what is no model.
    pub fn on(cluster: &Cluster) -> Result<Archive, RuntimeError> {
        let at = partition(cluster.topics());
        let mut archive = Archive::default();
        if !cluster.partition_counts()?.contains_key(&*at.topic) {
            return Ok(archive);
        }
        let spans = cluster.spans_of(&[at])?;
        cluster.reader(spans)?.read_all(&|| true, |seen| {
            archive.take(seen.offset, seen.value)?;
            Ok::<(), RuntimeError>(())
        })?;
        Ok(archive)
    }

    fn take(&mut self, offset: u64, value: Option<&[u8]>) -> Result<(), RuntimeError> {
        // Nothing is ever removed by a tombstone of ours; one of somebody's else takes nothing back.
        let Some(value) = value else {
            return Ok(());
        };
        let document: Document = serde_json::from_slice(value)
            .map_err(|source| RuntimeError::Model { offset, source })?;
        self.documents.insert(document.version, document);
        Ok(())
    }

    /// All, by version.
    pub fn all(&self) -> impl Iterator<Item = &Document> {
        self.documents.values()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, version: u32) -> Option<&Document> {
        self.documents.get(&version)
    }

    /// The latest.
    #[must_use]
    pub fn newest(&self) -> Option<&Document> {
        self.documents.values().next_back()
    }

    /// The one in force.
    #[must_use]
    pub fn in_force(&self) -> Option<&Document> {
        let mut latest_first = self.documents.values().rev();
        latest_first.find(|document| document.promoted_at.is_some())
    }
}

/// Writes models down.
pub struct Scribe<'a> {
    deployment: &'a Deployment,
    appender: Appender,
    /// What there is.
    pub archive: Archive,
}

impl<'a> Scribe<'a> {
    /// Takes over from any other writer, and reads what there is.
    ///
    /// # Errors
    /// The topic cannot be read.
    pub fn new(deployment: &'a Deployment, stopping: Stopping) -> Result<Scribe<'a>, RuntimeError> {
        let appender = deployment.log.appender("models", stopping)?;
        Ok(Scribe {
            deployment,
            appender,
            archive: Archive::of(deployment)?,
        })
    }

    /// A model as the next version, to be saved or promoted.
    #[must_use]
    pub fn draft(&self, learned: Learned, note: Option<String>) -> Document {
        let last = self.archive.newest().map_or(0, |document| document.version);
        Document {
            version: last.saturating_add(1),
            created_at: wall_clock(),
            promoted_at: None,
            note,
            learned,
        }
    }

    /// Writes a model down.
    ///
    /// # Errors
    /// It was not written; on Kafka also where another writer has taken over since.
    pub fn save(&mut self, document: &Document) -> Result<(), RuntimeError> {
        self.write(document, Vec::new())
    }

    /// Puts a model into force, saved before or not: every task gets it as a control record, in the transaction that
    /// marks it. One that is
    /// not later than the version in force is written down once more as the next one, since tasks go forward only.
    ///
    /// # Errors
    /// Its parameters are of no model, or nothing was written.
    pub fn promote(&mut self, document: Document) -> Result<Document, RuntimeError> {
        let version = document.version;
        let in_force = self.archive.in_force().map_or(0, |d| d.version);
        let newest = self.archive.newest().map_or(0, |d| d.version);
        let now = wall_clock();
        let promoted = match version > in_force {
            true => Document {
                promoted_at: Some(now),
                ..document
            },
            false => Document {
                version: newest.saturating_add(1),
                created_at: now,
                promoted_at: Some(now),
                note: Some(format!("version {version} once more")),
                ..document
            },
        };
        let parameters = promoted.parameters();
        let parameters = parameters.ok_or(RuntimeError::NoModel { version })?;
        let control = Routed::Model(parameters);
        self.write(&promoted, controls(self.deployment, &control))?;
        Ok(promoted)
    }

    fn write(&mut self, document: &Document, with: Vec<OutRecord>) -> Result<(), RuntimeError> {
        let mut records = with;
        records.push(OutRecord {
            target: partition(&self.deployment.setup.topics),
            key: Some(document.version.to_string().into_bytes()),
            value: Some(serde_json::to_vec(document).map_err(RuntimeError::Identity)?),
            headers: Vec::new(),
        });
        match self.appender.append(&records, &[]) {
            Err(RuntimeError::Kafka(KafkaLogError::Superseded(_))) => {
                Err(RuntimeError::ModelsWritten)
            }
            written => {
                written?;
                self.archive
                    .documents
                    .insert(document.version, document.clone());
                Ok(())
            }
        }
    }
}

fn partition(topics: &Topics) -> TopicPartition {
    TopicPartition {
        topic: Arc::clone(&topics.models),
        partition: 0,
    }
}
