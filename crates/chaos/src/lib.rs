//! The program on a real cluster, disturbed: instances are killed, stopped, cut off and robbed of their
//! disks, brokers are killed under them, and what comes out has to be what comes out when nobody does.
//!
//! [`Site`] is a cluster of one broker or three with a proxy before each; a [`round`](run_round) is an application
//! on it with inputs of its own, [`Fault`]s in the order of a deck, and checks at the end; [`Report`] adds
//! up. The program is a build of it with its named points armed (`crates/failpoint`).
//!
//! Everything that is chosen comes from a seed; when it happens does not, since the processes are real.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "what goes wrong with the machine ends the run; it says how it is getting on"
)]

mod blow;
mod disk;
mod fault;
mod inputs;
mod proxy;
mod report;
mod round;
mod site;
mod watch;

pub use fault::{Deck, Fault};
pub use inputs::{Inputs, KeyedBy, Wanted};
pub use report::Report;
pub use round::{Limits, run_round};
pub use site::Site;
