//! The transaction coordinator: who may write under a transactional id, and how transactions end.
//!
//! Invariants: an id has one epoch at a time, and only who knows it is obeyed; an end is decided
//! before any marker is written, and never changes; until the last marker stands, nothing new begins
//! under the id. An older epoch is fenced before its open transaction is aborted.

use std::collections::BTreeSet;

use crate::cluster::Offset;
use crate::cluster::partition::Writer;
use crate::time::Moment;

/// Why a broker did not do as it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Not now: the same may be asked again.
    Retriable(&'static str),
    /// The epoch is over.
    Fenced(&'static str),
    /// The transaction has to be aborted.
    Abortable(&'static str),
    /// Neither: the client cannot say what has become of it.
    Unclassified(&'static str),
}

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

/// A transaction, for those who look at it afterwards.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Who wrote it.
    pub writer: Writer,
    /// Whether it was committed, once that is decided.
    pub committed: Option<bool>,
    /// When that was decided.
    pub decided: Moment,
    /// The positions in it, by number of the partition.
    pub offsets: Vec<(usize, Offset)>,
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
