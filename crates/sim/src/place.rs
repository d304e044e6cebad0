//! Where a worker of the simulated world belongs.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::mutants::Mutation;
use crate::shop::Shop;
use crate::store::{Journal, Volume};

/// Told to stop, shared by the workers of a process.
pub(crate) type Stop = Rc<Cell<bool>>;

/// Where a worker belongs, and what it shares with the world.
pub(crate) struct Place {
    pub(crate) name: String,
    /// Told apart from every other process.
    pub(crate) process: String,
    /// Whether a record can kill it.
    pub(crate) is_mortal: bool,
    pub(crate) shop: Arc<Shop>,
    pub(crate) volume: Rc<RefCell<Volume>>,
    pub(crate) journal: Journal,
    /// Its client, while it has one.
    pub(crate) client: Cell<Option<u64>>,
    pub(crate) stop: Stop,
    /// How many tasks it had, if it had nothing to do when it looked last.
    pub(crate) idle: Cell<Option<usize>>,
    /// Whether it tries a record.
    pub(crate) tries: Rc<Cell<bool>>,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) max_poll: u64,
    /// Records that a commit holds, at most; a task's turn may add to that.
    pub(crate) batch: usize,
    /// Whether it tells tasks which of their inputs are silent.
    pub(crate) tells_silence: bool,
}
