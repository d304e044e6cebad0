//! The engine on a log and stores in memory: scripts with their expected outputs, and properties.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

#[path = "../support/mod.rs"]
mod support;

mod boundaries;
mod crashes;
mod generate;
mod golden;
mod mapped;
mod member;
mod partitions;
mod scripts;
mod silence;
mod timers;
mod values;
