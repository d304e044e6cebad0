//! What comes in on Kafka and is not in the project's own schemas, or is no event at all: dead letters,
//! schemas of a registry, mapped topics; and what looks at topics beside a running service.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod avro;
mod bad_records;
#[expect(
    dead_code,
    reason = "the settings under which a record is accepted are tried elsewhere"
)]
#[path = "../../../runtime/tests/bad_input/cases.rs"]
mod cases;
mod commands;
#[allow(dead_code, reason = "the registry's own tests use the rest")]
#[path = "../../../registry/tests/registry/fake.rs"]
mod fake;
mod mapped;
mod raw;
mod schemas;
mod secured;
mod tables;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clvstream");
