//! The command line: what can be typed, what each command does, and how failures are told.
//!
//! Invariants: results go to standard output, everything else to standard error; what `--json`
//! prints is for machines and has no colour; every failure says what to do about it where that is
//! not obvious, and ends with a documented exit code.

pub mod cli;
pub mod cmd;
pub mod error;
pub mod logging;
pub mod program;
pub mod reference;
pub mod render;
pub mod schemas;
pub mod session;
pub mod shutdown;
pub mod topic;
