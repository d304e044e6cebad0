//! The embedded log: durable topics in one process, on RocksDB, behind the engine's port.
//!
//! Invariants:
//! - A commit is one atomic write: outputs, changelog, routed records and the positions of all
//!   tasks in it are there together or not at all, also after `kill -9` and, with
//!   [`Options::sync`], after a power cut.
//! - Commits are durable in the order of their offsets, so a crash leaves no gap: a partition's
//!   offsets run from 0 without holes, except where compaction removed superseded records.
//! - Readers see a record only once it is as durable as it will get.
//! - Retention never removes what a task has not consumed.
//!
//! It makes no claim to be Kafka: no network, no consumer groups, no fencing between processes. A
//! second process is kept out by RocksDB's lock; it can look on through a [`LogView`].

mod codec;
mod error;
mod log;
mod open;
mod read;
mod retention;
mod topic;
mod view;
mod worker;
mod write;

pub use error::EventLogError;
pub use log::{EmbeddedLog, Options};
pub use read::StoredRecord;
pub use topic::{Cleanup, TopicInfo};
pub use view::LogView;
pub use worker::EmbeddedWorker;
