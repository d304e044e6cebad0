//! Avro binary, read straight from bytes by a plan that is compiled once per writer schema.
//!
//! Invariants: every read is checked against the bytes left; lengths and counts are checked before
//! anything is allocated for them; nesting is bounded by the caller's limit.

mod bytes;
mod json;
mod plan;
mod run;
pub(crate) mod write;

pub(crate) use bytes::AvroBytes;
pub(crate) use plan::Plan;
