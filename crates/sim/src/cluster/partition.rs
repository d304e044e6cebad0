//! One partition: records with offsets, transactions open on it, markers.
//!
//! Invariants: offsets only grow and are never given twice; a transaction's records are invisible to
//! readers of committed records until its marker stands here; nothing at or beyond the last stable
//! offset is read by them. Nothing is ever really removed: what compaction takes away is marked, so
//! that checks see all that there was.

use std::collections::BTreeMap;
use std::rc::Rc;

use domain::time::TimeMs;
use engine::port::Header;
use rustc_hash::FxHashSet;
use wire::routed::Routed;

use crate::time::Moment;

/// Who wrote a record, and in which of all transactions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Writer {
    /// Producer id.
    pub producer: u64,
    /// Epoch of the producer id.
    pub epoch: u32,
    /// Number of the transaction among all that ever were.
    pub transaction: u64,
}

/// What is known of a record's transaction at this partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// No marker yet.
    Open,
    /// Visible to all.
    Committed,
    /// Visible to nobody who reads committed records.
    Aborted,
    /// A marker: takes an offset, and is no record.
    Marker,
}

/// What a record holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Content {
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers.
    pub headers: Vec<Header>,
}

impl Content {
    /// A control record for a task.
    pub(crate) fn of(control: &Routed) -> Content {
        Content {
            key: None,
            value: Some(control.encode()),
            headers: Vec::new(),
        }
    }
}

/// A record as it stands in a partition.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its offset.
    pub offset: u64,
    /// When it was written: by the brokers' clock where its topic is compacted, else by that of its writer.
    pub timestamp: TimeMs,
    /// What it holds.
    pub content: Rc<Content>,
    /// Who wrote it, if in a transaction.
    pub writer: Option<Writer>,
    /// Whether it counts.
    pub fate: Fate,
    /// Whether compaction took it away.
    pub is_compacted: bool,
    /// When compaction came by first and left it as a tombstone: from then on its time runs.
    pub kept_since: Option<TimeMs>,
}

impl Stored {
    /// Whether a reader of committed records gets it.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        self.fate == Fate::Committed && !self.is_compacted
    }
}

#[derive(Clone, Copy, Debug)]
struct Open {
    first: u64,
    since: Moment,
}

/// A partition.
#[derive(Debug, Default)]
pub struct Partition {
    records: Vec<Stored>,
    /// By producer: the transaction that has no marker here yet.
    open: BTreeMap<u64, Open>,
    /// By producer: the newest epoch seen here.
    epochs: BTreeMap<u64, u32>,
}

impl Partition {
    /// Every record and marker that there ever was.
    #[must_use]
    pub fn history(&self) -> &[Stored] {
        &self.records
    }

    /// The offset that the next record gets.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.records.len() as u64
    }

    /// The last stable offset: nothing before it can still change.
    #[must_use]
    pub fn stable_end(&self) -> u64 {
        let first = self.open.values().map(|open| open.first).min();
        first.unwrap_or_else(|| self.end())
    }

    /// Since when the oldest transaction without a marker has been open.
    pub(super) fn open_since(&self) -> Option<Moment> {
        self.open.values().map(|open| open.since).min()
    }

    /// The newest epoch of `producer` seen here.
    pub(super) fn epoch_of(&self, producer: u64) -> u32 {
        self.epochs.get(&producer).copied().unwrap_or(0)
    }

    pub(super) fn append(
        &mut self,
        now: Moment,
        timestamp: TimeMs,
        content: Rc<Content>,
        writer: Option<Writer>,
    ) -> u64 {
        let offset = self.end();
        if let Some(writer) = writer {
            self.epochs.insert(writer.producer, writer.epoch);
            let open = Open {
                first: offset,
                since: now,
            };
            self.open.entry(writer.producer).or_insert(open);
        }
        self.records.push(Stored {
            offset,
            timestamp,
            content,
            writer,
            fate: match writer {
                Some(_) => Fate::Open,
                None => Fate::Committed,
            },
            is_compacted: false,
            kept_since: None,
        });
        offset
    }

    /// The marker that ends the writer's transaction here.
    pub(super) fn mark(&mut self, writer: Writer, timestamp: TimeMs, commit: bool) {
        let fate = match commit {
            true => Fate::Committed,
            false => Fate::Aborted,
        };
        if let Some(open) = self.open.remove(&writer.producer) {
            for record in &mut self.records[open.first as usize..] {
                let is_its = record.writer.is_some_and(|w| w.producer == writer.producer);
                if is_its && record.fate == Fate::Open {
                    record.fate = fate;
                }
            }
        }
        let epoch = self.epochs.entry(writer.producer).or_default();
        *epoch = writer.epoch.max(*epoch);
        self.records.push(Stored {
            offset: self.records.len() as u64,
            timestamp,
            content: Rc::default(),
            writer: Some(writer),
            fate: Fate::Marker,
            is_compacted: false,
            kept_since: None,
        });
    }

    /// Committed records from `from` up to, not including, `until`.
    pub(crate) fn read(&self, from: u64, until: u64) -> impl Iterator<Item = &Stored> {
        let until = until.min(self.stable_end()) as usize;
        let from = (from as usize).min(until);
        self.records[from..until].iter().filter(|r| r.is_visible())
    }

    /// Keeps the last committed record of each key, and tombstones for so many milliseconds after what they delete
    /// was taken away (KIP-534): whoever has read that has as long to read them. Takes away what was
    /// aborted. What is not stable stays as it is.
    pub(super) fn compact(&mut self, now: TimeMs, keep: u64) {
        let kept_from = now.minus(keep.cast_signed());
        let stable = self.stable_end() as usize;
        let mut keys: FxHashSet<&[u8]> = FxHashSet::default();
        let goes = self.records[..stable].iter().rev().map(|record| {
            let counts = record.fate == Fate::Committed && !record.is_compacted;
            let key = record.content.key.as_deref().unwrap_or_default();
            let is_last = counts && keys.insert(key);
            let is_old = record.kept_since.is_some_and(|since| since < kept_from);
            record.fate == Fate::Aborted || counts && (!is_last || is_old)
        });
        let goes: Vec<bool> = goes.collect();
        for (record, goes) in self.records[..stable].iter_mut().rev().zip(goes) {
            record.is_compacted |= goes;
            if record.content.value.is_none() && record.kept_since.is_none() {
                record.kept_since = Some(now);
            }
        }
    }
}
