//! Records of `internal.commits`: what each commit consumed, so that the sequence can be replayed.

use wire::bin::Corrupt;
use wire::meta::{MetaReader, MetaWriter};

use crate::port::TopicPartition;

/// The bytes of one commit's next offsets.
#[must_use]
pub fn encode(positions: &[(TopicPartition, u64)]) -> Vec<u8> {
    let mut out = MetaWriter::new();
    out.number(positions.len() as u64);
    for (source, next) in positions {
        out.text(&source.topic);
        out.number(u64::from(source.partition));
        out.number(*next);
    }
    out.finish()
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// [`Corrupt`]: the bytes are damaged, or of a format that this version does not know.
pub fn decode(bytes: &[u8]) -> Result<Vec<(TopicPartition, u64)>, Corrupt> {
    let mut from = MetaReader::new(bytes)?;
    let mut positions = Vec::new();
    for _ in 0..from.number()? {
        let topic = from.text()?;
        let source = TopicPartition {
            topic: topic.as_str().into(),
            partition: from.small()?,
        };
        positions.push((source, from.number()?));
    }
    from.finish()?;
    Ok(positions)
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
        let positions = vec![
            (source("orders", 3), 17),
            (source("clickstream", 0), u64::MAX),
        ];
        assert_eq!(decode(&encode(&positions)), Ok(positions));
        assert!(decode(&[1, 5]).is_err(), "five promised, none there");
    }
}
