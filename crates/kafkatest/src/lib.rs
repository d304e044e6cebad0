//! A real Apache Kafka for tests.
//!
//! [`Broker::start`] gives a test a broker, [`Broker::shared`] one that all tests of a binary share,
//! [`Broker::own`] one that may be killed and restarted, and [`Options`] one that is set up
//! otherwise, or several of them as a [`Cluster`]. All give `None`, and print `SKIPPED <test>: <reason>`, where Kafka cannot be had (no
//! Java, no Maven Central); with `CI=true` they panic instead.
//!
//! A broker is a process of its own, fetched and run by `scripts/kafka`. It and its folder are gone
//! when the [`Broker`] is dropped and when the test process ends, however it ends: see `process`.
//!
//! What is wrong with a broker is a failure of the test that uses it, told by a panic.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a part of tests: what goes wrong here fails the test, and SKIPPED is said by printing"
)]

mod broker;
mod cluster;
mod options;
mod ports;
mod process;
mod script;
mod wire;

pub use broker::{Broker, Proxied, unique};
pub use cluster::Cluster;
pub use options::{Options, Security};
