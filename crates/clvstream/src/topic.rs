//! Looking into the embedded log from outside the engine, also while a service works on it: opening
//! a view of it, finding topics, showing records.

use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use config::Config;
use engine::port::{TopicName, TopicPartition};
use eventlog::{EventLogError, LogView, StoredRecord};
use runtime::deployment::{input_rules, schemas_of};
use serde_json::{Value, json};
use store::Shared;
use wire::{Decoder, InputRules};

use crate::error::CliError;

/// Records, and bytes, of a partition that are read at a time.
const CHUNK: (usize, usize) = (500, 4 << 20);
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

/// The topic that `name` means, with or without the application's prefix, and its partitions.
///
/// # Errors
/// There is none.
pub fn find_topic(
    log: &LogView,
    config: &Config,
    name: &str,
) -> Result<(TopicName, u32), CliError> {
    let topics = log.topics();
    let prefixed = format!("{}.{name}", config.application_id);
    let named = |wanted: &str| topics.iter().find(|topic| &*topic.name == wanted);
    match named(&prefixed).or_else(|| named(name)) {
        Some(topic) => Ok((Arc::clone(&topic.name), topic.partitions)),
        None => Err(CliError::failure(format!("there is no topic {name}"))
            .hint("`clvstream topics` lists those that there are")),
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
#[derive(Debug)]
pub struct Cursors(Vec<(TopicPartition, u64)>);

impl Cursors {
    /// Begins at `from` in each of `partitions`.
    ///
    /// # Errors
    /// There is no such partition.
    pub fn open(
        log: &LogView,
        topic: &TopicName,
        partitions: Range<u32>,
        from: Start,
    ) -> Result<Cursors, CliError> {
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
        partitions
            .map(cursor)
            .collect::<Result<_, _>>()
            .map(Cursors)
    }

    /// The next records of every partition, in the order in which they were written. None: there
    /// are no more for now.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn next_chunk(&mut self, log: &LogView) -> Result<Vec<StoredRecord>, CliError> {
        let mut chunk = Vec::new();
        for (source, next) in &mut self.0 {
            let (records, bytes) = CHUNK;
            let read = log.read(source, *next, records, bytes).map_err(log_error)?;
            if let Some(last) = read.last() {
                *next = last.record.offset + 1;
            }
            chunk.extend(read);
        }
        chunk.sort_by_key(|stored| {
            let record = &stored.record;
            (record.timestamp, record.source.partition, record.offset)
        });
        Ok(chunk)
    }
}

/// Makes records readable, whatever they hold.
#[derive(Debug)]
pub struct Reader {
    decoder: Decoder,
}

impl Reader {
    /// A reader of everything that the project's own schemas and the configured ones describe.
    ///
    /// # Errors
    /// A configured schema cannot be read or used.
    pub fn new(config: &Config) -> Result<Reader, CliError> {
        // What is in the log was let in: to be shown, it need not be within the limits again.
        let rules = InputRules {
            max_value_bytes: usize::MAX,
            ..input_rules(config, config.currency)
        };
        let schemas = schemas_of(config)?;
        let decoder = Decoder::new(rules, &schemas).map_err(CliError::failure)?;
        Ok(Reader { decoder })
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
