//! Records of `internal.commits`: what each commit consumed and in which order, so that the sequence
//! can be replayed, and the chain of heads that says whether anything is missing.

use wire::bin::Corrupt;
use wire::meta::{MetaReader, MetaWriter};

use crate::chain::Head;
use crate::port::TopicPartition;

/// Version of the format; the first one had positions only, and was never released.
const VERSION: u8 = 2;

/// What one commit of one task consumed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Consumed {
    /// Next offset to read, for every input that the commit consumed from.
    pub positions: Vec<(TopicPartition, u64)>,
    /// The order in which records were consumed, in runs: which of `positions`, and how many records.
    /// The offsets of the records of one input go up, with gaps where nothing is visible.
    pub order: Vec<(u32, u64)>,
    /// Records among them that were not looked at, because processes had died of them: which of
    /// `positions`, and the offset. They went to the dead letters.
    pub quarantined: Vec<(u32, u64)>,
    /// The input whose next record had moved the clock, and was not consumed any more. What falls due
    /// by that has fired, or fires in commits that follow.
    pub peeked: Option<TopicPartition>,
}

/// One commit of one task.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CommitRecord {
    /// The head before it.
    pub previous: Head,
    /// The head after it.
    pub head: Head,
    /// What it consumed.
    pub consumed: Consumed,
}

impl Consumed {
    /// The bytes that go into the head.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut out = MetaWriter::of_version(VERSION);
        self.put(&mut out);
        out.finish()
    }

    fn put(&self, out: &mut MetaWriter) {
        let source = |out: &mut MetaWriter, source: &TopicPartition| {
            out.text(&source.topic);
            out.number(u64::from(source.partition));
        };
        out.number(self.positions.len() as u64);
        for (input, next) in &self.positions {
            source(out, input);
            out.number(*next);
        }
        out.number(self.order.len() as u64);
        let inputs = self.positions.len() as u64;
        for (input, count) in &self.order {
            // One number, and for most runs one byte.
            out.number((count - 1) * inputs + u64::from(*input));
        }
        let has_quarantined = !self.quarantined.is_empty();
        out.number(u64::from(self.peeked.is_some()) | u64::from(has_quarantined) << 1);
        if let Some(peeked) = &self.peeked {
            source(out, peeked);
        }
        if has_quarantined {
            out.number(self.quarantined.len() as u64);
            for (input, offset) in &self.quarantined {
                out.number(u64::from(*input));
                out.number(*offset);
            }
        }
    }

    fn take(from: &mut MetaReader<'_>) -> Result<Consumed, Corrupt> {
        let source = |from: &mut MetaReader<'_>| {
            Ok::<_, Corrupt>(TopicPartition {
                topic: from.text()?.as_str().into(),
                partition: from.small()?,
            })
        };
        let mut consumed = Consumed::default();
        let inputs = from.number()?;
        for _ in 0..inputs {
            let input = source(from)?;
            consumed.positions.push((input, from.number()?));
        }
        for _ in 0..from.number()? {
            let run = from.number()?;
            // Without inputs there is no run; what says so is damaged, and ends below.
            let inputs = inputs.max(1);
            let input = (run % inputs) as u32;
            consumed.order.push((input, run / inputs + 1));
        }
        let parts = from.number()?;
        if parts & 1 > 0 {
            consumed.peeked = Some(source(from)?);
        }
        if parts & 2 > 0 {
            for _ in 0..from.number()? {
                consumed.quarantined.push((from.small()?, from.number()?));
            }
        }
        Ok(consumed)
    }
}

impl CommitRecord {
    /// The record's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MetaWriter::of_version(VERSION);
        self.consumed.put(&mut out);
        self.previous.put(&mut out);
        self.head.put(&mut out);
        out.finish()
    }

    /// Reads what [`CommitRecord::encode`] wrote.
    ///
    /// # Errors
    /// [`Corrupt`]: the bytes are damaged, or of a format that this version does not know.
    pub fn decode(bytes: &[u8]) -> Result<CommitRecord, Corrupt> {
        let (version, mut from) = MetaReader::up_to_version(VERSION, bytes)?;
        if version != VERSION {
            return Err(Corrupt {
                what: "a commit record",
                problem: "it is of an unknown format version",
            });
        }
        let record = CommitRecord {
            consumed: Consumed::take(&mut from)?,
            previous: Head::take(&mut from)?,
            head: Head::take(&mut from)?,
        };
        from.finish()?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_record_survives_its_bytes() {
        let source = |topic: &str, partition| TopicPartition {
            topic: topic.into(),
            partition,
        };
        let consumed = Consumed {
            positions: vec![
                (source("orders", 3), 17),
                (source("clickstream", 0), u64::MAX),
            ],
            order: vec![(1, 1), (0, 300), (1, 2)],
            quarantined: vec![(1, 5), (0, 16)],
            peeked: Some(source("orders", 3)),
        };
        let seen = Consumed {
            quarantined: Vec::new(),
            ..consumed.clone()
        };
        let unpeeked = Consumed {
            peeked: None,
            ..consumed.clone()
        };
        for consumed in [consumed, seen, unpeeked, Consumed::default()] {
            let record = CommitRecord {
                previous: Head { number: 8, hash: 5 },
                head: Head {
                    number: 9,
                    hash: u128::MAX - 1,
                },
                consumed,
            };
            let bytes = record.encode();
            assert_eq!(CommitRecord::decode(&bytes), Ok(record));
            for cut in 0..bytes.len() {
                assert!(CommitRecord::decode(&bytes[..cut]).is_err(), "cut at {cut}");
            }
        }
    }
}
