//! Checks what the topics of an application hold against what they should hold: behind the command
//! `clvstream verify`, and in simulation.
//!
//! Pure: no Kafka, no RocksDB, no clock. Its input is a [`History`], what the topics hold of committed
//! records. Per task it verifies
//! - I1: a replay of what was consumed, by an oracle written without the engine's task, gives the
//!   outputs, dead letters, routed records and changelog that are there, byte for byte, and the state;
//! - I2: outputs are numbered without gap or repetition;
//! - I3: commits are chained, and what each wrote is all there;
//! - I4: a store and the changelog from its position on give the folded changelog;
//! - I7: every record is counted once; I8: positions never go back.
//!
//! Invariants: a check passes only if it has looked at something that could have been otherwise; what
//! cannot be told, because retention has removed it or commits go on, is said to be not checkable, with
//! the reason. Of each check the first counter-example is named; no customer is named in clear unless
//! that is asked for. Partitions are streamed: what is kept in memory is the state of one task, and
//! what one commit consumed and wrote.

mod chain;
mod changelog;
mod check;
mod cursor;
mod fold;
mod history;
mod oracle;
mod replay;
mod report;
mod sequences;
mod state;
mod stream;
mod subject;

pub use check::{Progress, check};
pub use history::{Bounds, Committed, Entry, History};
pub use report::{Check, Finding, Outcome, Report};
pub use state::{StoreContents, StoreEntry};
pub use subject::{Naming, Subject};
