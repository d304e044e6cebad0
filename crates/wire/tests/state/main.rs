//! State bytes: what is written is read again, damage is noticed, and the format stays as it is.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, in its helpers too, and says what it measured"
)]

mod damage;
mod golden;
mod profiles;
mod round_trip;
mod sizes;

#[path = "../records/events.rs"]
mod events;

use domain::time::TimeMs;

/// 2011-12-09T12:00:00Z: random events are earlier, or by an hour later at most.
const RECORD_TIME: TimeMs = TimeMs(1_323_432_000_000);
