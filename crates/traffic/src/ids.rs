//! Identifiers: short enough to be stored inline (23 bytes), told apart by kind and by seed.

use domain::event::Text;
use smol_str::SmolStr;

use crate::random::mix;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Digits that a number is padded to, so that ids of one kind mostly sort as they were made.
const MIN_DIGITS: usize = 7;

/// Makes the ids of one run. Runs with different seeds (below 2^20, always; above, nearly always)
/// make different ids, so that two can be loaded into one log.
#[derive(Clone, Copy)]
pub(crate) struct Ids {
    tag: [u8; 4],
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Ids {
        let bits = if seed < 1 << 20 { seed } else { mix(seed) };
        let mut tag = [0; 4];
        for (place, digit) in tag.iter_mut().rev().enumerate() {
            *digit = ALPHABET[(bits >> (5 * place) & 31) as usize];
        }
        Ids { tag }
    }

    /// `<kind><tag>-<number>`, the number with at least seven digits.
    pub(crate) fn make(&self, kind: u8, number: u64) -> Text {
        let mut bytes = [0_u8; 26];
        let mut at = bytes.len();
        let mut rest = number;
        while rest > 0 || bytes.len() - at < MIN_DIGITS {
            at -= 1;
            bytes[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        at -= 1;
        bytes[at] = b'-';
        at -= self.tag.len();
        bytes[at..at + self.tag.len()].copy_from_slice(&self.tag);
        at -= 1;
        bytes[at] = kind;
        // Only ASCII was written.
        SmolStr::new(std::str::from_utf8(&bytes[at..]).unwrap_or_default())
    }
}

/// All 64 bits as 13 characters.
pub(crate) fn base32(bits: u64) -> String {
    (0..13)
        .rev()
        .map(|place| char::from(ALPHABET[(bits >> (5 * place) & 31) as usize]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_distinct() {
        let ids = Ids::new(33);
        assert_eq!(ids.make(b'e', 0), "e0011-0000000");
        assert_eq!(ids.make(b'o', 123_456_789), "o0011-123456789");
        assert_eq!(ids.make(b'e', u64::MAX), "e0011-18446744073709551615");
        assert!(!ids.make(b'e', 99_999_999_999_999_999).is_heap_allocated());
        assert_ne!(
            Ids::new(1 << 40).make(b'e', 0),
            Ids::new(2 << 40).make(b'e', 0)
        );
        assert_eq!(base32(u64::MAX), "fzzzzzzzzzzzz");
        assert_eq!(base32(31), "000000000000z");
    }
}
