//! Bytes to domain and back: input records (Avro in Confluent wire format, JSON, mapped foreign
//! data), output records, dead letters and state bytes.
//!
//! Invariants: nothing here reads a clock or a file; no input, however malformed, panics, recurses
//! without bound or allocates more than a small multiple of its own size; what cannot become a valid
//! event becomes a [`Rejection`], which is data for the dead-letter topic and not an error.

pub mod bin;
pub mod decoder;
pub mod encoder;
pub mod input;
pub mod inputs;
pub mod mapping;
pub mod meta;
pub mod output;
pub mod partition;
pub mod rejection;
pub mod routed;
pub mod rules;
pub mod schema_set;
pub mod state;

mod avro;
mod bin_event;
mod decimal;

pub use decoder::{Decoder, SharedSchemas};
pub use encoder::{Encoder, Format};
pub use input::event_from_json;
pub use inputs::{Decoded, InputRecord, Inputs, UnfitMapping};
pub use output::{Envelope, OutputEncoder, OutputTopic, dead_letter_headers};
pub use partition::{murmur2, partition_of};
pub use rejection::{Rejection, RejectionClass};
pub use rules::{InputRules, currency_by_code};
pub use schema_set::{SchemaError, SchemaSet, SchemaText};
