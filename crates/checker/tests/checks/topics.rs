//! Topics in memory, as a history, and what can happen to them.

use std::collections::BTreeMap;
use std::convert::Infallible;

use checker::{Bounds, Committed, Entry, History};
use engine::port::TopicPartition;

/// What topics hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topics {
    pub(crate) partitions: BTreeMap<TopicPartition, Vec<Entry>>,
    /// First offsets that retention has left.
    pub(crate) begins: BTreeMap<TopicPartition, u64>,
    /// Whether commits go on.
    pub(crate) live: bool,
    /// The group's offsets, if it keeps any.
    pub(crate) committed: Option<Committed>,
}

/// What happens to one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Damage {
    /// It is gone, and its offset is a gap.
    Removed,
    /// It stands there twice; what follows moves on.
    Doubled,
    /// A byte of its value differs.
    Value,
    /// A byte of its key differs.
    Key,
    /// A byte of one of its headers differs.
    Header,
}

impl Topics {
    pub(crate) fn records(&self, at: &TopicPartition) -> &[Entry] {
        self.partitions.get(at).map_or(&[], Vec::as_slice)
    }

    /// Does `damage` to the `nth` record of `at`, at `place` of what is altered; answers whether there
    /// was something to damage.
    pub(crate) fn damage(
        &mut self,
        at: &TopicPartition,
        nth: usize,
        damage: Damage,
        place: usize,
    ) -> bool {
        let Some(records) = self.partitions.get_mut(at) else {
            return false;
        };
        let flip = |bytes: Option<&mut Vec<u8>>| match bytes {
            Some(bytes) if !bytes.is_empty() => {
                let length = bytes.len();
                bytes[place % length] ^= 0x15;
                true
            }
            _ => false,
        };
        match damage {
            Damage::Removed => {
                records.remove(nth);
                true
            }
            Damage::Doubled => {
                let again = records[nth].clone();
                records.insert(nth, again);
                records[nth + 1..]
                    .iter_mut()
                    .for_each(|record| record.offset += 1);
                true
            }
            Damage::Value => flip(records[nth].value.as_mut()),
            Damage::Key => flip(records[nth].key.as_mut()),
            Damage::Header => {
                let headers = &mut records[nth].headers;
                let count = headers.len().max(1);
                flip(headers.get_mut(place % count).map(|(_, value)| value))
            }
        }
    }

    /// Retention removes everything before `offset`.
    pub(crate) fn trim(&mut self, at: &TopicPartition, offset: u64) {
        if let Some(records) = self.partitions.get_mut(at) {
            records.retain(|record| record.offset >= offset);
        }
        self.begins.insert(at.clone(), offset);
    }

    /// Compaction removes what later records of the same key before `until` supersede.
    pub(crate) fn compact(&mut self, at: &TopicPartition, until: u64) {
        let Some(records) = self.partitions.get_mut(at) else {
            return;
        };
        let mut newest = BTreeMap::new();
        for record in records.iter().filter(|record| record.offset < until) {
            newest.insert(record.key.clone(), record.offset);
        }
        records.retain(|record| {
            newest
                .get(&record.key)
                .is_none_or(|offset| *offset <= record.offset)
        });
    }
}

impl History for Topics {
    type Error = Infallible;

    fn bounds(&mut self, at: &TopicPartition) -> Result<Bounds, Infallible> {
        let end = self.records(at).last().map_or(0, |last| last.offset + 1);
        let begin = self.begins.get(at).copied().unwrap_or(0);
        Ok(Bounds {
            begin,
            end: end.max(begin),
        })
    }

    fn read(
        &mut self,
        at: &TopicPartition,
        from: u64,
        max: usize,
    ) -> Result<Vec<Entry>, Infallible> {
        let records = self.records(at);
        let first = records.partition_point(|record| record.offset < from);
        // A few at a time, so that pages matter.
        Ok(records[first..].iter().take(max.min(7)).cloned().collect())
    }

    fn committed(&mut self, _: u32, _: &[TopicPartition]) -> Result<Option<Committed>, Infallible> {
        Ok(self.committed.clone())
    }

    fn has_grown(&mut self, _: &TopicPartition) -> Result<bool, Infallible> {
        Ok(self.live)
    }
}
