//! The sans-IO engine: what a partition task does with records, whatever log and store are behind
//! its ports.
//!
//! No tokio, no Kafka, no RocksDB, no clock. The same code runs on the embedded log, on Kafka and
//! in simulation.
//!
//! A record's journey is [`worker::Worker::process`] and [`worker::Worker::commit`]. Where tasks come
//! and go, a worker is a [`member::Member`] of the group.

pub mod bookkeeping;
pub mod cells;
pub mod chain;
pub mod clock;
pub mod commit_record;
pub mod group;
pub mod inbox;
pub mod member;
pub mod port;
pub mod repartition;
pub mod silence;
pub mod task;
mod timers;
pub mod topics;
pub mod trial;
pub mod valuing;
pub mod worker;
