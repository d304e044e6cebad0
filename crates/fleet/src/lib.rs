//! The program on a real cluster, for tests and for the chaos suite: an [`App`] with its
//! [`Instance`]s, a [`Fleet`] of them that die and come back, [`Loader`]s beside them, and what it all
//! comes to: [`Outputs`] that subscribers see, and the [`Whole`] that two runs are compared by.
//!
//! It starts a program that its caller names; one with failpoints it finds for him. What goes wrong with a
//! process that it starts fails the test, by a panic; what is wrong with results is told as text.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a part of tests: what goes wrong here fails the test, and shows the logs"
)]

mod app;
mod load;
mod members;
mod outputs;
mod pending;
mod random;
mod whole;

pub use app::{App, Instance, PATIENCE, program_with_failpoints, project, until};
pub use load::Loader;
pub use members::{Counted, Fleet};
pub use outputs::{Kept, Outputs, connect};
pub use pending::Pending;
pub use random::Random;
pub use whole::{Whole, committed, places, retail};
