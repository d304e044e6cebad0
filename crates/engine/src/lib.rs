//! The sans-IO engine: what a partition task does with records, whatever log and store are behind
//! its ports.
//!
//! No tokio, no Kafka, no RocksDB, no clock. The same code runs on the embedded log, on Kafka and
//! in simulation.
//!
//! A record's journey is [`worker::Worker::process`] and [`worker::Worker::commit`].

pub mod bookkeeping;
pub mod chain;
pub mod clock;
pub mod commit_record;
pub mod inbox;
pub mod port;
pub mod task;
mod timers;
pub mod topics;
pub mod worker;
