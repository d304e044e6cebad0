//! Dead letters that their topic would not take: they hold the beginning of the value, and say so.
//!
//! Nothing that comes in may stop the service, whatever its size: an input's limit holds for
//! compressed batches, so that a record may be of any size, and limits of topics change.

use engine::port::OutRecord;
use wire::output::VALUE_BYTES_HEADER;

/// What is kept of a value that is too long.
const KEPT: usize = 64 << 10;
/// What a record takes beyond its key, value and headers, at most, when it is alone in its batch.
const FRAMING: usize = 1 << 10;

/// The bytes that a record may take on its way, at most.
pub(crate) fn size_of(record: &OutRecord) -> usize {
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers = record.headers.iter();
    let headers = headers.map(|(name, value)| name.len() + value.len() + 10);
    FRAMING + length(&record.key) + length(&record.value) + headers.sum::<usize>()
}

/// A dead letter with the beginning of its value, and the value's length in a header. A record of such
/// a size stays where the other headers say.
pub(crate) fn cut(record: &OutRecord) -> OutRecord {
    let value = record.value.as_deref().unwrap_or_default();
    let mut headers = record.headers.clone();
    headers.push((VALUE_BYTES_HEADER, value.len().to_string().into_bytes()));
    let beginning = |bytes: &[u8]| bytes[..bytes.len().min(KEPT)].to_vec();
    OutRecord {
        target: record.target.clone(),
        key: record.key.as_deref().map(beginning),
        value: record.value.as_deref().map(beginning),
        headers,
    }
}

#[cfg(test)]
mod tests {
    use engine::port::TopicPartition;

    use super::*;

    #[test]
    fn what_is_cut_says_so() {
        let record = OutRecord {
            target: TopicPartition {
                topic: "shop.dlq".into(),
                partition: 3,
            },
            key: Some(b"k".to_vec()),
            value: Some(vec![b'x'; 200_000]),
            headers: vec![("clv_offset", b"7".to_vec())],
        };
        assert!(size_of(&record) > 200_000);
        let cut = cut(&record);
        assert!(size_of(&cut) < 70_000);
        assert_eq!(cut.value, Some(vec![b'x'; 65_536]));
        assert_eq!((cut.key, cut.target), (record.key, record.target));
        let expected: [engine::port::Header; 2] = [
            ("clv_offset", b"7".to_vec()),
            ("clv_value_bytes", b"200000".to_vec()),
        ];
        assert_eq!(cut.headers, expected);
    }
}
