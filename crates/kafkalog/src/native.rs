//! What librdkafka can do and its Rust wrapper does not offer: batches from one partition's queue,
//! producing with a topic's handle, committing a transaction without the wrapper's polling, and
//! some requests of administrators.
//!
//! The only module (with its submodules) in which `unsafe` is allowed. Invariant: everything that
//! is handed out borrows from, or keeps alive, what it points into; no pointer leaves the module.
#![allow(
    unsafe_code,
    reason = "calls librdkafka directly; each block states why it holds"
)]

pub(crate) mod admin;
mod commit;
mod partition_queue;
mod producing;

pub(crate) use commit::{TransactionError, commit_transaction};
pub(crate) use partition_queue::{MessageHeaders, PartitionQueue, Taken};
pub(crate) use producing::{ProduceError, TopicHandle, produce};
