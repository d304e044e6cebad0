//! The state of tasks: tables over RocksDB behind a write-back cache, and an in-memory twin.
//!
//! One [`TaskStore`] holds the state of one task in one RocksDB. Committed writes go into a cache
//! in front of it and reach RocksDB in large sorted batches, each together with the changelog
//! offset up to which it is complete.
//!
//! Invariants:
//! - What RocksDB holds, after whatever crash, is exactly the fold of the changelog up to the
//!   position stored with it: data and position are one atomic write, and flushes keep their order.
//!   Restoring from [`TaskStore::position`] therefore converges, and nothing is ever wiped.
//! - Only committed writes get in: the sole ways in are a [`engine::port::Committed`] and a record
//!   of the changelog.
//! - A dirty entry leaves the cache only by way of RocksDB.
//! - A store in which damage was found is never opened again: not by this process, not by the next.
//!
//! What is not here: no clock (the caller says what time it is) and no thread of its own.

mod bulk;
mod cache;
mod damage;
mod error;
mod memory;
mod overlay;
pub mod rocks;
mod seen;
mod tails;
mod task;
mod view;

pub use error::StoreError;
pub use memory::MemoryStore;
pub use rocks::Shared;
pub use task::{Checkpoint, Derive, TaskStore};
pub use view::{StoreView, ViewEntry};
