//! Looking into the embedded log from outside the engine, also while a service works on it: opening
//! a view of it, finding topics, showing records.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::Config;
use engine::port::TopicName;
use eventlog::{EventLogError, LogView, StoredRecord};
use runtime::deployment::{input_rules, schemas_of};
use serde_json::{Value, json};
use store::Shared;
use wire::{Decoder, InputRules};

use crate::error::CliError;

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
