//! The chain of a task's commits: each one's head is a hash of the one before and of everything that it
//! wrote.
//!
//! The head stands in three places that one transaction writes: in the commit record, in the task's
//! bookkeeping (and so in its changelog), and beside its committed positions. Where they differ
//! after a restore, a transaction took effect in part. And whoever reads the commit records can tell
//! from them whether anything that was written since has been removed, doubled or altered.

use std::fmt;

use wire::bin::Corrupt;
use wire::meta::{MetaReader, MetaWriter};
use xxhash_rust::xxh3::Xxh3;

use crate::port::OutRecord;

/// Where a chain stands: after commit `number`, from 1. The default is that before the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Head {
    /// How many commits there have been.
    pub number: u64,
    /// Hash of all of them.
    pub hash: u128,
}

impl Head {
    /// The head after one more commit, which consumed what `body` says (the commit record without its
    /// heads) and wrote `records`: all but the commit record, and the bookkeeping, which hold the head.
    #[must_use]
    pub fn after<'r>(self, body: &[u8], records: impl Iterator<Item = &'r OutRecord>) -> Head {
        let number = self.number + 1;
        let mut hash = Xxh3::new();
        hash.update(&number.to_le_bytes());
        hash.update(&self.hash.to_le_bytes());
        part(&mut hash, Some(body));
        for record in records {
            part(&mut hash, Some(record.target.topic.as_bytes()));
            hash.update(&record.target.partition.to_le_bytes());
            part(&mut hash, record.key.as_deref());
            part(&mut hash, record.value.as_deref());
            hash.update(&(record.headers.len() as u64).to_le_bytes());
            for (name, value) in &record.headers {
                part(&mut hash, Some(name.as_bytes()));
                part(&mut hash, Some(value));
            }
        }
        Head {
            number,
            hash: hash.digest128(),
        }
    }

    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Head> {
        let (number, hash) = text.split_once(':')?;
        let is_canonical = hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        is_canonical.then_some(Head {
            number: number.parse().ok()?,
            hash: u128::from_str_radix(hash, 16).ok()?,
        })
    }

    pub(crate) fn put(self, out: &mut MetaWriter) {
        out.number(self.number);
        out.number((self.hash >> 64) as u64);
        out.number(self.hash as u64);
    }

    pub(crate) fn take(from: &mut MetaReader<'_>) -> Result<Head, Corrupt> {
        let number = from.number()?;
        let (high, low) = (from.number()?, from.number()?);
        Ok(Head {
            number,
            hash: u128::from(high) << 64 | u128::from(low),
        })
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:032x}", self.number, self.hash)
    }
}

/// With its length, so that nothing can move from one part to the next; nothing is not the same as empty.
fn part(hash: &mut Xxh3, bytes: Option<&[u8]>) {
    let length = bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
    hash.update(&length.to_le_bytes());
    hash.update(bytes.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::TopicPartition;

    fn record(topic: &str, key: Option<&str>, value: &str) -> OutRecord {
        OutRecord {
            target: TopicPartition {
                topic: topic.into(),
                partition: 3,
            },
            key: key.map(|k| k.as_bytes().to_vec()),
            value: Some(value.as_bytes().to_vec()),
            headers: vec![("h", value.as_bytes().to_vec())],
        }
    }

    #[test]
    fn every_difference_makes_another_head() {
        let head = |from: Head, body: &str, records: &[OutRecord]| {
            from.after(body.as_bytes(), records.iter())
        };
        let start = Head::default();
        let (one, two) = (record("t", Some("k"), "v"), record("t", Some("k"), "w"));
        let mut seen = std::collections::BTreeSet::new();
        let later = head(start, "b", std::slice::from_ref(&one));
        for other in [
            later,
            head(start, "", std::slice::from_ref(&one)),
            head(start, "b", &[]),
            head(start, "b", std::slice::from_ref(&two)),
            head(start, "b", &[one.clone(), two.clone()]),
            head(start, "b", &[two, one.clone()]),
            head(start, "b", &[one.clone(), one.clone()]),
            head(start, "b", &[record("u", Some("k"), "v")]),
            head(start, "b", &[record("t", None, "v")]),
            head(start, "b", &[record("t", Some(""), "v")]),
            head(start, "b", &[record("tk", Some(""), "v")]),
            head(later, "b", std::slice::from_ref(&one)),
        ] {
            assert!(seen.insert(other), "{other}");
        }
        assert_eq!(later, head(start, "b", &[one]), "and only a difference");
        assert_eq!(later.number, 1);
    }

    #[test]
    fn a_head_survives_its_text_and_nothing_else_is_one() {
        let head = Head {
            number: 7,
            hash: 0xab,
        };
        assert_eq!(Head::parse(&head.to_string()), Some(head));
        for text in [
            "",
            "7",
            "7:",
            "7:ab",
            ":000000000000000000000000000000ab",
            "x:y",
        ] {
            assert_eq!(Head::parse(text), None, "{text}");
        }
    }
}
