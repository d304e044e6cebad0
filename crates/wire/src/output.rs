//! Changes to the bytes and headers of the output topics, and the headers of dead letters.
//!
//! Headers follow CloudEvents 1.0 for Kafka in binary mode. Invariant: bytes are a function of the
//! change and its envelope alone.

mod record;

use domain::change::{Change, What};
use domain::money::Currency;

use self::record::Sink;
use crate::decoder::MAGIC;
use crate::encoder::Format;
use crate::rejection::Rejection;
use crate::schema_set::{SchemaError, SchemaSet};

/// A header of a record: name and value.
pub type Header = (&'static str, Vec<u8>);

/// The topics that changes go to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum OutputTopic {
    /// Changes of value.
    ClvUpdates,
    /// Changes of stage.
    LifecycleTransitions,
    /// Changes of segment.
    SegmentChanges,
}

impl OutputTopic {
    /// Every topic.
    pub const ALL: [OutputTopic; 3] = [
        OutputTopic::ClvUpdates,
        OutputTopic::LifecycleTransitions,
        OutputTopic::SegmentChanges,
    ];

    /// The topic of a change.
    #[must_use]
    pub fn of(what: &What) -> OutputTopic {
        match what {
            What::Clv(_) => OutputTopic::ClvUpdates,
            What::Stage(_) => OutputTopic::LifecycleTransitions,
            What::Segment(_) => OutputTopic::SegmentChanges,
        }
    }

    /// The name, without the application's prefix.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            OutputTopic::ClvUpdates => "clv.updates",
            OutputTopic::LifecycleTransitions => "lifecycle.transitions",
            OutputTopic::SegmentChanges => "segment.changes",
        }
    }

    /// `ce_type`.
    fn event_type(self) -> &'static str {
        match self {
            OutputTopic::ClvUpdates => "clvstream.clv.updated",
            OutputTopic::LifecycleTransitions => "clvstream.lifecycle.transitioned",
            OutputTopic::SegmentChanges => "clvstream.segment.changed",
        }
    }

    /// The record's folder in `schemas/`.
    fn record(self) -> &'static str {
        match self {
            OutputTopic::ClvUpdates => "output/clv_updates",
            OutputTopic::LifecycleTransitions => "output/lifecycle_transitions",
            OutputTopic::SegmentChanges => "output/segment_changes",
        }
    }
}

/// What surrounds a change: whose it is, and its place among that customer's changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope<'a> {
    /// The profile's key.
    pub customer: &'a str,
    /// From 1 without gaps per topic, customer and incarnation.
    pub sequence: u64,
    /// How often the profile began anew.
    pub incarnation: u32,
    /// The application: `ce_source`.
    pub application: &'a str,
    /// The shop's currency.
    pub currency: Currency,
}

/// Id and name of one output schema.
#[derive(Clone, Debug)]
struct Target {
    id: u32,
    /// `ce_dataschema`.
    data_schema: String,
}

/// Encodes changes in one format.
#[derive(Clone, Debug)]
pub struct OutputEncoder {
    format: Format,
    /// In the order of [`OutputTopic::ALL`].
    targets: [Target; 3],
}

impl OutputEncoder {
    /// An encoder for the newest output schemas of `schemas`.
    ///
    /// # Errors
    /// A schema is missing, which a test excludes.
    pub fn new(format: Format, schemas: &SchemaSet) -> Result<OutputEncoder, SchemaError> {
        let target = |topic: OutputTopic| {
            let record = topic.record();
            let found = schemas.newest(record);
            let missing = || SchemaError::Ids(format!("no schema is embedded for {record}"));
            let (id, version, schema) = found.ok_or_else(missing)?;
            let name = schema.name().map(|name| name.fullname(None));
            let data_schema = format!("{}/v{version}", name.unwrap_or_default());
            Ok(Target { id, data_schema })
        };
        let [clv, stage, segment] = OutputTopic::ALL;
        Ok(OutputEncoder {
            format,
            targets: [target(clv)?, target(stage)?, target(segment)?],
        })
    }

    /// Topic, value and headers of `change`.
    #[must_use]
    pub fn encode(
        &self,
        envelope: &Envelope<'_>,
        change: &Change,
    ) -> (OutputTopic, Vec<u8>, Vec<Header>) {
        let topic = OutputTopic::of(&change.what);
        let target = &self.targets[topic as usize];
        let value = match self.format {
            Format::Avro => {
                let mut out = Vec::with_capacity(256);
                out.push(MAGIC);
                out.extend_from_slice(&target.id.to_be_bytes());
                let mut sink = record::Avro(out);
                record::write(&mut sink, envelope, change);
                sink.0
            }
            Format::Json => {
                let mut sink = record::Json(Vec::with_capacity(512));
                sink.nested("", |sink| record::write(sink, envelope, change));
                sink.0
            }
        };
        (topic, value, self.headers(topic, target, envelope, change))
    }

    fn headers(
        &self,
        topic: OutputTopic,
        target: &Target,
        envelope: &Envelope<'_>,
        change: &Change,
    ) -> Vec<Header> {
        let Envelope {
            customer,
            sequence,
            incarnation,
            application,
            ..
        } = envelope;
        let id = format!("{}/{customer}/{incarnation}/{sequence}", topic.as_str());
        let content_type: &[u8] = match self.format {
            Format::Avro => b"application/avro",
            Format::Json => b"application/json",
        };
        vec![
            ("ce_specversion", b"1.0".to_vec()),
            ("ce_id", id.into_bytes()),
            ("ce_type", topic.event_type().as_bytes().to_vec()),
            ("ce_source", application.as_bytes().to_vec()),
            ("ce_time", change.as_of.to_string().into_bytes()),
            ("ce_dataschema", target.data_schema.as_bytes().to_vec()),
            ("content-type", content_type.to_vec()),
        ]
    }
}

/// The header of a dead letter that names the class of its rejection.
pub const ERROR_CLASS_HEADER: &str = "clv_error_class";

/// Header of a dead letter that holds the beginning of its value only: the length of the whole.
pub const VALUE_BYTES_HEADER: &str = "clv_value_bytes";

/// The headers of a dead letter; its value is the input's bytes, untouched.
#[must_use]
pub fn dead_letter_headers(
    source_topic: &str,
    partition: u32,
    offset: u64,
    rejection: &Rejection,
) -> Vec<Header> {
    vec![
        ("clv_topic", source_topic.as_bytes().to_vec()),
        ("clv_partition", partition.to_string().into_bytes()),
        ("clv_offset", offset.to_string().into_bytes()),
        (
            ERROR_CLASS_HEADER,
            rejection.class.as_str().as_bytes().to_vec(),
        ),
        ("clv_error_message", rejection.message.as_bytes().to_vec()),
    ]
}
