//! Bytes to domain and back: input records (Avro in Confluent wire format, JSON, mapped foreign
//! data), output records, dead letters and state bytes.
//!
//! Invariants: nothing here reads a clock or a file; no input, however malformed, panics, recurses
//! without bound or allocates more than a small multiple of its own size; what cannot become a valid
//! event becomes a [`Rejection`], which is data for the dead-letter topic and not an error.

pub mod input;
pub mod rejection;
pub mod rules;

mod decimal;

pub use input::event_from_json;
pub use rejection::{Rejection, RejectionClass};
pub use rules::{InputRules, currency_by_code};
