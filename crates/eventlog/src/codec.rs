//! How the log lies in RocksDB: keys, and a record's bytes.
//!
//! Column family `records`: topic id (u16), partition (u32), offset (u64), all big-endian → record.
//! A record: flags, timestamp (zigzag varint), key length and key if any, headers if any (count,
//! then name and value, each with its length), and the value as the rest. Lengths are varints.
//!
//! Column family `default`, by first byte:
//! - `h` → format, incarnation
//! - `t`, topic id → partition count, clean-up, name
//! - `p`, task, topic id, partition → the next offset that the task reads there
//! - `m`, name → a mark
//! - `s`, topic id, partition → the partition's [`Bounds`]
//! - `i`, topic id, partition, offset → bytes appended to the partition before that offset

use domain::time::TimeMs;
use engine::port::OutRecord;

pub(crate) const HEAD: &[u8] = b"h";
pub(crate) const TOPIC: u8 = b't';
pub(crate) const POSITION: u8 = b'p';
const MARK: u8 = b'm';
const BOUNDS: u8 = b's';
const INDEX: u8 = b'i';

const HAS_KEY: u8 = 1;
const HAS_VALUE: u8 = 2;
const HAS_HEADERS: u8 = 4;

pub(crate) type RecordKey = [u8; 14];

pub(crate) fn record_key(topic: u16, partition: u32, offset: u64) -> RecordKey {
    let mut key = [0; 14];
    key[..2].copy_from_slice(&topic.to_be_bytes());
    key[2..6].copy_from_slice(&partition.to_be_bytes());
    key[6..].copy_from_slice(&offset.to_be_bytes());
    key
}

/// The offset in a key of `records`, or in one of the index.
pub(crate) fn offset_of(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

pub(crate) fn topic_key(topic: u16) -> [u8; 3] {
    let [a, b] = topic.to_be_bytes();
    [TOPIC, a, b]
}

pub(crate) fn position_key(task: u32, topic: u16, partition: u32) -> Vec<u8> {
    let mut key = vec![POSITION];
    key.extend_from_slice(&task.to_be_bytes());
    key.extend_from_slice(&topic.to_be_bytes());
    key.extend_from_slice(&partition.to_be_bytes());
    key
}

/// Topic id and partition of a position's key.
pub(crate) fn position_source(key: &[u8]) -> Option<(u16, u32)> {
    let (topic, partition) = key.get(5..)?.split_first_chunk()?;
    let partition = partition.try_into().ok()?;
    Some((u16::from_be_bytes(*topic), u32::from_be_bytes(partition)))
}

pub(crate) fn mark_key(name: &str) -> Vec<u8> {
    [&[MARK], name.as_bytes()].concat()
}

pub(crate) fn bounds_key(topic: u16, partition: u32) -> Vec<u8> {
    partition_key(BOUNDS, topic, partition)
}

pub(crate) fn index_key(topic: u16, partition: u32, offset: u64) -> Vec<u8> {
    let mut key = partition_key(INDEX, topic, partition);
    key.extend_from_slice(&offset.to_be_bytes());
    key
}

fn partition_key(kind: u8, topic: u16, partition: u32) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(&topic.to_be_bytes());
    key.extend_from_slice(&partition.to_be_bytes());
    key
}

pub(crate) fn parse_u64(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// What of a partition cannot be seen from the records that are left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Bounds {
    /// The first offset that retention has left.
    pub(crate) start: u64,
    /// The end when this was written; the real one is this or later.
    pub(crate) end: u64,
    /// Below this, every key stands at most once.
    pub(crate) clean_end: u64,
    /// How many records stood below `clean_end` then.
    pub(crate) clean_records: u64,
    /// Below this, tombstones may have been removed.
    pub(crate) forgotten_end: u64,
}

impl Bounds {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let fields = [
            self.start,
            self.end,
            self.clean_end,
            self.clean_records,
            self.forgotten_end,
        ];
        fields.iter().flat_map(|n| n.to_be_bytes()).collect()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Bounds> {
        let fields: [u8; 40] = bytes.try_into().ok()?;
        let mut numbers = fields.chunks_exact(8).filter_map(parse_u64);
        Some(Bounds {
            start: numbers.next()?,
            end: numbers.next()?,
            clean_end: numbers.next()?,
            clean_records: numbers.next()?,
            forgotten_end: numbers.next()?,
        })
    }
}

/// A stored record, borrowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct View<'a> {
    pub(crate) timestamp: TimeMs,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    headers: &'a [u8],
    header_count: u64,
}

impl<'a> View<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<View<'a>> {
        let (flags, mut rest) = bytes.split_first()?;
        if flags & !(HAS_KEY | HAS_VALUE | HAS_HEADERS) != 0 {
            return None;
        }
        let timestamp = TimeMs(unzigzag(take_varint(&mut rest)?));
        let key = match flags & HAS_KEY {
            0 => None,
            _ => Some(take_bytes(&mut rest)?),
        };
        let header_count = match flags & HAS_HEADERS {
            0 => 0,
            _ => take_varint(&mut rest)?,
        };
        let headers = rest;
        for _ in 0..header_count {
            take_bytes(&mut rest)?;
            take_bytes(&mut rest)?;
        }
        let headers = &headers[..headers.len() - rest.len()];
        let value = (flags & HAS_VALUE != 0).then_some(rest);
        Some(View {
            timestamp,
            key,
            value,
            headers,
            header_count,
        })
    }

    pub(crate) fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let mut rest = self.headers;
        let one = |_| {
            let name = String::from_utf8_lossy(take_bytes(&mut rest)?).into_owned();
            Some((name, take_bytes(&mut rest)?.to_vec()))
        };
        (0..self.header_count).map_while(one).collect()
    }
}

/// Appends the bytes of `record`, taken in at `now`.
pub(crate) fn encode(out: &mut Vec<u8>, record: &OutRecord, now: TimeMs) {
    let mut flags = 0;
    flags |= if record.key.is_some() { HAS_KEY } else { 0 };
    flags |= if record.value.is_some() { HAS_VALUE } else { 0 };
    flags |= if record.headers.is_empty() {
        0
    } else {
        HAS_HEADERS
    };
    out.push(flags);
    put_varint(out, zigzag(now.0));
    if let Some(key) = &record.key {
        put_bytes(out, key);
    }
    if !record.headers.is_empty() {
        put_varint(out, record.headers.len() as u64);
        for (name, value) in &record.headers {
            put_bytes(out, name.as_bytes());
            put_bytes(out, value);
        }
    }
    if let Some(value) = &record.value {
        out.extend_from_slice(value);
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::port::TopicPartition;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_survives_its_encoding(
            timestamp in any::<i64>(),
            key in any::<Option<Vec<u8>>>(),
            value in any::<Option<Vec<u8>>>(),
            headers in proptest::collection::vec(any::<Vec<u8>>(), 0..4),
        ) {
            let record = OutRecord {
                target: TopicPartition { topic: "t".into(), partition: 0 },
                key,
                value,
                headers: headers.into_iter().map(|value| ("name", value)).collect(),
            };
            let mut bytes = Vec::new();
            encode(&mut bytes, &record, TimeMs(timestamp));
            let view = View::parse(&bytes).unwrap();
            prop_assert_eq!(view.timestamp, TimeMs(timestamp));
            prop_assert_eq!(view.key, record.key.as_deref());
            prop_assert_eq!(view.value, record.value.as_deref());
            let expected: Vec<_> = record
                .headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            prop_assert_eq!(view.headers(), expected);
        }

        #[test]
        fn damaged_bytes_are_refused_and_never_panic(bytes in any::<Vec<u8>>()) {
            if let Some(view) = View::parse(&bytes) {
                view.headers();
            }
        }
    }

    #[test]
    fn a_record_in_2026_costs_eight_bytes_besides_key_and_value() {
        let record = OutRecord {
            target: TopicPartition {
                topic: "t".into(),
                partition: 0,
            },
            key: Some(b"customer".to_vec()),
            value: Some(vec![7; 100]),
            headers: Vec::new(),
        };
        let mut bytes = Vec::new();
        encode(&mut bytes, &record, TimeMs(1_795_000_000_000));
        assert_eq!(bytes.len(), 8 + 100 + 8);
    }

    #[test]
    fn bounds_survive_their_encoding() {
        let bounds = Bounds {
            start: 1,
            end: u64::MAX,
            clean_end: 3,
            clean_records: 4,
            forgotten_end: 5,
        };
        assert_eq!(Bounds::parse(&bounds.to_bytes()), Some(bounds));
        assert_eq!(Bounds::parse(&[0; 39]), None);
    }
}
