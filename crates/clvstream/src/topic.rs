//! Looking into topics from outside the engine, also while a service works on them: finding them in
//! the embedded log or on Kafka, reading and showing records.

mod kafka;

use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use config::Config;
use engine::port::{TopicName, TopicPartition};
use eventlog::{EventLogError, LogView, StoredRecord};
use kafkalog::Cluster;
use runtime::configured::input_rules;
use serde_json::{Value, json};
use store::Shared;
use wire::{Decoder, InputRules};

use crate::error::CliError;
use crate::schemas::Schemas;
use crate::shutdown::Shutdown;

/// Records, and bytes, of a partition that are read at a time.
const CHUNK: (usize, usize) = (500, 4 << 20);
/// How long to wait before looking for more.
const PATIENCE: Duration = Duration::from_millis(200);
/// Memory that looking into a log may take.
const MEMORY: usize = 64 << 20;

/// Opens a view of the log in the configured data folder, which must be there.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn open_log(config: &Config) -> Result<LogView, CliError> {
    let path = config.data_dir.join("log");
    if !path.is_dir() {
        let folder = config.data_dir.display();
        return Err(
            CliError::failure(format!("there is no log in {folder}")).hint(
                "`clvstream replay` or `clvstream run` makes one; `data_dir` names another folder",
            ),
        );
    }
    LogView::open(&path, &Shared::new(MEMORY)).map_err(log_error)
}

/// A failure of the log; its messages say what to do.
pub fn log_error(error: EventLogError) -> CliError {
    CliError::failure(error)
}

/// Topics that can be looked into.
pub enum Topics {
    /// Those of the embedded log.
    Embedded(Box<LogView>),
    /// Those of a cluster.
    Kafka(Arc<Cluster>),
}

impl Topics {
    /// Those of the configured log, which must be there.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn open(config: &Config) -> Result<Topics, CliError> {
        match &config.kafka {
            Some(settings) => kafka::connect(config, settings).map(Topics::Kafka),
            None => Ok(Topics::Embedded(Box::new(open_log(config)?))),
        }
    }

    /// The topic that `name` means, with or without the application's prefix, and its partitions.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, config: &Config, name: &str) -> Result<(TopicName, u32), CliError> {
        let topics: BTreeMap<String, u32> = match self {
            Topics::Embedded(log) => {
                let topics = log.topics().into_iter();
                topics.map(|t| (t.name.to_string(), t.partitions)).collect()
            }
            Topics::Kafka(cluster) => kafka::topics(cluster)?,
        };
        let prefixed = format!("{}.{name}", config.application_id);
        let found = [prefixed.as_str(), name]
            .into_iter()
            .find_map(|name| topics.get_key_value(name));
        match found {
            Some((name, partitions)) => Ok((Arc::from(name.as_str()), *partitions)),
            None => Err(CliError::failure(format!("there is no topic {name}"))
                .hint("`clvstream topics` lists those that there are")),
        }
    }

    /// Waits until there may be more.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn wait(&mut self, shutdown: &Shutdown) -> Result<(), CliError> {
        match self {
            Topics::Embedded(log) => {
                while !log.catch_up().map_err(log_error)? && !shutdown.wait(PATIENCE) {}
                Ok(())
            }
            // Reading waits.
            Topics::Kafka(_) => Ok(()),
        }
    }
}

/// Where to begin in each partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// At this offset, or at the first one that is kept.
    Offset(u64),
    /// That many records before the end.
    Last(u64),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Start, String> {
        let wrong =
            || "write `beginning`, an offset such as 1500, or -10 for the last ten".to_owned();
        if text == "beginning" {
            return Ok(Start::Offset(0));
        }
        match text.strip_prefix('-') {
            Some(last) => last.parse().map(Start::Last).map_err(|_| wrong()),
            None => text.parse().map(Start::Offset).map_err(|_| wrong()),
        }
    }
}

/// Partitions of a topic, and how far each has been read.
pub struct Cursors(Inner);

enum Inner {
    Embedded(Vec<(TopicPartition, u64)>),
    Kafka(kafka::Cursors),
}

impl Cursors {
    /// Begins at `from` in each of `partitions`; to `follow` is to go on with what will come.
    ///
    /// # Errors
    /// There is no such partition.
    pub fn open(
        topics: &Topics,
        topic: &TopicName,
        partitions: Range<u32>,
        from: Start,
        follow: bool,
    ) -> Result<Cursors, CliError> {
        let log = match topics {
            Topics::Embedded(log) => log,
            Topics::Kafka(cluster) => {
                let cursors = kafka::Cursors::open(cluster, topic, partitions, from, follow)?;
                return Ok(Cursors(Inner::Kafka(cursors)));
            }
        };
        let cursor = |partition| {
            let source = TopicPartition {
                topic: topic.clone(),
                partition,
            };
            let start = log.start_offset(&source).map_err(log_error)?;
            let end = log.end_offset(&source).map_err(log_error)?;
            let next = match from {
                Start::Offset(offset) => offset.max(start),
                Start::Last(records) => end.saturating_sub(records).max(start),
            };
            Ok((source, next))
        };
        let cursors = partitions.map(cursor).collect::<Result<_, CliError>>()?;
        Ok(Cursors(Inner::Embedded(cursors)))
    }

    /// The next records of every partition, in the order in which they were written. None: there
    /// are no more for now.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn next_chunk(&mut self, topics: &Topics) -> Result<Vec<StoredRecord>, CliError> {
        let mut chunk = match (&mut self.0, topics) {
            (Inner::Embedded(cursors), Topics::Embedded(log)) => embedded_chunk(cursors, log)?,
            (Inner::Kafka(cursors), _) => cursors.next_chunk()?,
            (Inner::Embedded(_), Topics::Kafka(_)) => Vec::new(),
        };
        chunk.sort_by_key(|stored| {
            let record = &stored.record;
            (record.timestamp, record.source.partition, record.offset)
        });
        Ok(chunk)
    }
}

fn embedded_chunk(
    cursors: &mut [(TopicPartition, u64)],
    log: &LogView,
) -> Result<Vec<StoredRecord>, CliError> {
    let mut chunk = Vec::new();
    for (source, next) in cursors {
        let (records, bytes) = CHUNK;
        let read = log.read(source, *next, records, bytes).map_err(log_error)?;
        if let Some(last) = read.last() {
            *next = last.record.offset + 1;
        }
        chunk.extend(read);
    }
    Ok(chunk)
}

/// Makes records readable, whatever they hold.
#[derive(Debug)]
pub struct Reader {
    decoder: Decoder,
    /// `None`: the registry does not answer.
    schemas: Option<Schemas>,
}

impl Reader {
    /// A reader of everything that the project's own schemas, the configured ones and the registry's
    /// describe.
    ///
    /// # Errors
    /// A configured schema cannot be read or used.
    pub fn new(config: &Config) -> Result<Reader, CliError> {
        // What is in the log was let in: to be shown, it need not be within the limits again.
        let rules = InputRules {
            max_value_bytes: usize::MAX,
            ..input_rules(config, config.currency)
        };
        let schemas = Schemas::of(config)?;
        Ok(Reader {
            decoder: schemas.decoder(rules),
            schemas: Some(schemas),
        })
    }

    /// Fetches the schemas that `records` name from the registry; without an answer, they are shown
    /// as bytes from then on.
    pub fn fetch_schemas(&mut self, records: &[StoredRecord]) {
        for stored in records {
            let Some(schemas) = &self.schemas else {
                return;
            };
            if let Err(why) = schemas.fetch(stored.record.value.as_deref()) {
                tracing::warn!("{why}");
                self.schemas = None;
            }
        }
    }

    /// A record's value: as JSON where it is Avro or JSON, else as text, else in hexadecimal.
    #[must_use]
    pub fn value(&self, value: Option<&[u8]>) -> Value {
        match value {
            None => Value::Null,
            Some(bytes) => self
                .decoder
                .to_json(bytes)
                .unwrap_or_else(|_| text_or_hex(bytes)),
        }
    }

    /// A record as one JSON object.
    #[must_use]
    pub fn record(&self, stored: &StoredRecord) -> Value {
        let record = &stored.record;
        let headers: BTreeMap<&str, Value> = stored
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), text_or_hex(value)))
            .collect();
        json!({
            "topic": &*record.source.topic,
            "partition": record.source.partition,
            "offset": record.offset,
            "timestamp": record.timestamp.to_string(),
            "key": record.key.as_deref().map(text_or_hex),
            "headers": headers,
            "value": self.value(record.value.as_deref()),
        })
    }
}

fn text_or_hex(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(is_binary) => Value::from(text),
        _ => json!({ "hex": bytes.iter().map(|b| format!("{b:02x}")).collect::<String>() }),
    }
}

fn is_binary(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\r' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_begin() {
        assert_eq!("beginning".parse(), Ok(Start::Offset(0)));
        assert_eq!("1500".parse(), Ok(Start::Offset(1500)));
        assert_eq!("-10".parse(), Ok(Start::Last(10)));
        for text in ["", "-", "end", "--1", "1.5"] {
            assert!(text.parse::<Start>().is_err(), "{text}");
        }
    }

    #[test]
    fn values_are_shown_as_what_they_are() {
        let config = config::load(None, &[]).unwrap().config;
        let reader = Reader::new(&config).unwrap();
        let shown = |bytes: &[u8]| reader.value(Some(bytes));
        assert_eq!(reader.value(None), Value::Null);
        assert_eq!(
            shown(b"{\"type\":\"page_viewed\"}"),
            json!({ "type": "page_viewed" })
        );
        assert_eq!(shown(b"a;b\n"), json!("a;b\n"));
        assert_eq!(shown(&[0, 0xff, 1]), json!({ "hex": "00ff01" }));
        assert_eq!(shown(b"\x01"), json!({ "hex": "01" }));
    }
}
