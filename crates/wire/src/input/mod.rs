//! Input records to domain events, and back.
//!
//! JSON, Avro and mappings all fill the slots of one [`builder::EventBuilder`]; only its `finish`
//! makes an [`domain::event::Event`], so that every event was validated by the same rules however it
//! came in.

pub mod builder;
mod convert;
mod json;
pub mod slot;
pub(crate) mod view;

pub(crate) use convert::uuid_text;
pub use json::event_from_json;
