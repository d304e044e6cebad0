//! What a task keeps about itself: its clock and what became of every record (I7).
//!
//! Both are state like any other: in the store, in the changelog, and restored from there.

use std::collections::BTreeMap;

use domain::event::Text;
use domain::time::TimeMs;
use wire::bin::Corrupt;
use wire::meta::{MetaReader, MetaWriter};

use crate::chain::Head;
use crate::clock::{ClockSource, StreamClock};

/// Version of the format; those before are still read.
const VERSION: u8 = 4;

/// Key of the bookkeeping in its table.
pub const KEY: &[u8] = b"task";

/// What became of the records that a task consumed. Records in = the sum of all of these, where a
/// forwarded one counts again at its owner, less what was split off: a record that a mapping makes
/// several of counts each of its events, and once more if others of it were rejected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Taken in, in its place.
    pub applied: u64,
    /// Taken in, but later than the grace.
    pub late: u64,
    /// Known already.
    pub deduplicated: u64,
    /// Sent to the dead-letter topic.
    pub dead_lettered: u64,
    /// Sent on to their owner.
    pub forwarded: u64,
    /// Control records.
    pub control: u64,
    /// Records that no rule of their topic's mapping is for.
    pub ignored: u64,
    /// Parts of records beyond the first of each. Taken off the sum.
    pub split_off: u64,
    /// Changes written to output topics. Not part of the sum.
    pub outputs: u64,
}

impl Counts {
    /// Every count with its name.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("applied", self.applied),
            ("late", self.late),
            ("deduplicated", self.deduplicated),
            ("dead_lettered", self.dead_lettered),
            ("forwarded", self.forwarded),
            ("control", self.control),
            ("ignored", self.ignored),
            ("split_off", self.split_off),
            ("outputs", self.outputs),
        ]
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Counts) {
        self.applied += other.applied;
        self.late += other.late;
        self.deduplicated += other.deduplicated;
        self.dead_lettered += other.dead_lettered;
        self.forwarded += other.forwarded;
        self.control += other.control;
        self.ignored += other.ignored;
        self.split_off += other.split_off;
        self.outputs += other.outputs;
    }

    /// What has come on top of `earlier`, an earlier state of the same counts.
    #[must_use]
    pub fn since(&self, earlier: &Counts) -> Counts {
        Counts {
            applied: self.applied.saturating_sub(earlier.applied),
            late: self.late.saturating_sub(earlier.late),
            deduplicated: self.deduplicated.saturating_sub(earlier.deduplicated),
            dead_lettered: self.dead_lettered.saturating_sub(earlier.dead_lettered),
            forwarded: self.forwarded.saturating_sub(earlier.forwarded),
            control: self.control.saturating_sub(earlier.control),
            ignored: self.ignored.saturating_sub(earlier.ignored),
            split_off: self.split_off.saturating_sub(earlier.split_off),
            outputs: self.outputs.saturating_sub(earlier.outputs),
        }
    }

    /// Records consumed: the sum of what can become of them, each counted once.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        let parts = self.applied
            + self.late
            + self.deduplicated
            + self.dead_lettered
            + self.forwarded
            + self.control
            + self.ignored;
        parts.saturating_sub(self.split_off)
    }
}

/// The bookkeeping of one task.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bookkeeping {
    /// Its clock.
    pub clock: StreamClock,
    /// Its counts since the first record.
    pub counts: Counts,
    /// The tasks that it has forwarded to, and the time that it last told each: their clocks wait
    /// for it, after a restart as before.
    pub fed: BTreeMap<u32, TimeMs>,
    /// The head of its chain of commits.
    pub chain: Head,
    /// While profiles go over to a new model in the background: the key of the last that was looked at, empty
    /// before the first.
    pub rescored: Option<Text>,
}

impl Bookkeeping {
    /// That of a task, one of `tasks`, before its first record.
    #[must_use]
    pub fn first(tasks: u32) -> Bookkeeping {
        let mut book = Bookkeeping::default();
        book.meet_anew(tasks);
        book
    }

    /// What comes next may be forwarded by others, or may not.
    pub fn meet_anew(&mut self, tasks: u32) {
        self.fed.clear();
        if tasks > 1 {
            self.clock.hold();
        }
    }

    /// The bytes that stand in the store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MetaWriter::of_version(VERSION);
        out.time(self.clock.stream_time);
        out.time(self.clock.lowest);
        out.time(self.clock.input_time);
        out.time(self.clock.ticked_to);
        out.time(self.clock.closed_to);
        out.number(self.clock.sources.len() as u64);
        for (source, time) in &self.clock.sources {
            match source {
                ClockSource::Input(topic, partition) => {
                    out.number(0);
                    out.text(topic);
                    out.number(u64::from(*partition));
                }
                ClockSource::Upstream(task) => {
                    out.number(1);
                    out.number(u64::from(*task));
                }
            }
            out.time(*time);
        }
        let counts = &self.counts;
        for count in [
            counts.applied,
            counts.late,
            counts.deduplicated,
            counts.dead_lettered,
            counts.forwarded,
            counts.control,
            counts.outputs,
            counts.ignored,
            counts.split_off,
        ] {
            out.number(count);
        }
        out.number(self.fed.len() as u64);
        for (task, told) in &self.fed {
            out.number(u64::from(*task));
            out.time(*told);
        }
        out.number(u64::from(self.clock.held_for));
        self.chain.put(&mut out);
        out.number(self.rescored.iter().len() as u64);
        self.rescored.iter().for_each(|key| out.text(key));
        out.finish()
    }

    /// Reads what [`Bookkeeping::encode`] wrote.
    ///
    /// # Errors
    /// [`Corrupt`]: the bytes are damaged, or of a format that this version does not know.
    pub fn decode(bytes: &[u8]) -> Result<Bookkeeping, Corrupt> {
        let (version, mut from) = MetaReader::up_to_version(VERSION, bytes)?;
        let mut clock = StreamClock {
            stream_time: from.time()?,
            lowest: from.time()?,
            input_time: from.time()?,
            ticked_to: from.time()?,
            closed_to: from.time()?,
            ..StreamClock::default()
        };
        for _ in 0..from.number()? {
            let source = match from.number()? {
                0 => ClockSource::Input(from.text()?, from.small()?),
                1 => ClockSource::Upstream(from.small()?),
                _ => {
                    return Err(Corrupt {
                        what: "a task's bookkeeping",
                        problem: "a source of its clock is of an unknown kind",
                    });
                }
            };
            clock.sources.insert(source, from.time()?);
        }
        let mut counts = Counts {
            applied: from.number()?,
            late: from.number()?,
            deduplicated: from.number()?,
            dead_lettered: from.number()?,
            forwarded: from.number()?,
            control: from.number()?,
            outputs: from.number()?,
            ..Counts::default()
        };
        // The first version had no mapped topics.
        if version > 1 {
            counts.ignored = from.number()?;
            counts.split_off = from.number()?;
        }
        let mut fed = BTreeMap::new();
        for _ in 0..from.number()? {
            fed.insert(from.small()?, from.time()?);
        }
        // Before the third, nobody waited for first contact, and commits had no chain.
        let mut chain = Head::default();
        if version > 2 {
            clock.held_for = from.small()?;
            chain = Head::take(&mut from)?;
        }
        // Before the fourth there was no model of value.
        let mut rescored = None;
        if version > 3 {
            for _ in 0..from.number()? {
                rescored = Some(from.text()?);
            }
        }
        from.finish()?;
        Ok(Bookkeeping {
            clock,
            counts,
            fed,
            chain,
            rescored,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bookkeeping_survives_its_bytes() {
        let mut book = Bookkeeping::default();
        book.clock
            .observe(&ClockSource::Input("orders".into(), 7), TimeMs(1_000));
        book.clock.observe(&ClockSource::Upstream(2), TimeMs(-5));
        book.clock.close(TimeMs(9));
        book.clock.observe(&ClockSource::Upstream(3), TimeMs(11));
        book.clock.hold();
        book.counts.applied = 1;
        book.counts.outputs = u64::MAX;
        book.counts.ignored = 8;
        book.counts.split_off = 9;
        book.fed = BTreeMap::from([(3, TimeMs(7)), (15, TimeMs::MIN)]);
        book.chain = Head {
            number: 300,
            hash: u128::MAX - 7,
        };
        book.rescored = Some("customer-9".into());
        let bytes = book.encode();
        assert_eq!(Bookkeeping::decode(&bytes), Ok(book));
        for cut in 0..bytes.len() {
            assert!(Bookkeeping::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
