//! Configuration: TOML text in, a checked [`Config`] or *all* of its problems out.
//!
//! Invariants:
//! - Every key is optional; the empty document is a valid configuration for the embedded log.
//! - Unknown keys and sections are refused. No problem hides another: all are reported together,
//!   each with file, line and column.
//! - A key is declared once, in `checked.rs`, with its kind, default, bounds and meaning;
//!   the reference page, [`Loaded::to_toml`] and the messages are made of that declaration.
//!
//! - No password stands in the configuration, only its place, read when a client needs it.
//!
//! What this crate does not do: look at the machine (cores, memory), open anything but the file it
//! is given (and a password's, when asked to), or talk to Kafka: it knows librdkafka's properties by
//! name.

mod checked;
mod kafka;
mod load;
mod problem;
mod properties;
mod reader;
mod reference;
mod secret;
mod setting;
mod types;
pub mod units;

pub use kafka::{Kafka, Mechanism, Profile, Protocol, Registry, Security};
pub use load::{LoadError, Loaded, load, parse};
pub use problem::{Problem, Problems};
pub use reference::reference;
pub use secret::{Secret, SecretError, SecretSource};
pub use types::{
    Clv, Commit, Config, Format, Http, Input, Level, Limits, LogFormat, Logging, Model, Promote,
    Retention, State, Time,
};
