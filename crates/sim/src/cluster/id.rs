//! A transactional id: who may write under it, and where its transaction stands.
//!
//! Invariants: an id has one epoch at a time, and only who knows it is obeyed; until the last marker of a
//! transaction stands, nothing new begins under the id.

use std::collections::BTreeSet;

use super::Refusal;
use super::partition::Writer;
use crate::time::Moment;

/// Where a transactional id stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// No transaction is open.
    Empty,
    /// One is.
    Open,
    /// One has been decided, and so many markers are still to be written.
    Ending { left: usize },
}

/// A transactional id.
#[derive(Clone, Debug)]
pub(super) struct Id {
    pub(super) name: String,
    pub(super) writer: Writer,
    pub(super) stage: Stage,
    /// How the last transaction ended, if by request of the present epoch.
    pub(super) last: Option<bool>,
    pub(super) since: Moment,
    pub(super) partitions: BTreeSet<usize>,
    pub(super) has_offsets: bool,
}

impl Id {
    pub(super) fn new(name: String, producer: u64) -> Id {
        Id {
            name,
            writer: Writer {
                producer,
                epoch: 0,
                transaction: 0,
            },
            stage: Stage::Empty,
            last: None,
            since: Moment::default(),
            partitions: BTreeSet::new(),
            has_offsets: false,
        }
    }

    /// Whether `epoch` is the present one.
    pub(super) fn check(&self, epoch: u32) -> Result<(), Refusal> {
        match epoch == self.writer.epoch {
            true => Ok(()),
            false => Err(Refusal::Fenced("the producer's epoch is over")),
        }
    }

    /// Before something is added to a transaction of `epoch`.
    pub(super) fn may_add(&self, epoch: u32) -> Result<(), Refusal> {
        self.check(epoch)?;
        match self.stage {
            Stage::Ending { .. } => Err(Refusal::Retriable("concurrent transactions")),
            Stage::Empty | Stage::Open => Ok(()),
        }
    }

    /// What the end of the present transaction means, `None` where it is to be decided now.
    pub(super) fn may_end(&self, epoch: u32, commit: bool) -> Result<Option<()>, Refusal> {
        self.check(epoch)?;
        match self.stage {
            Stage::Open => Ok(None),
            Stage::Ending { .. } | Stage::Empty if self.last == Some(commit) => Ok(Some(())),
            Stage::Ending { .. } | Stage::Empty => {
                Err(Refusal::Unclassified("no transaction is open"))
            }
        }
    }
}
