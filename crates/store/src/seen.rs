//! Which keys a restore has brought in: a Bloom filter. What it has not seen need not be looked for in
//! RocksDB. Once it is full it has seen everything, and every key is looked for.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

/// Bits of one key all lie in one line of the processor's cache.
const LINE: usize = 512;
const WORDS: usize = LINE / 64;
/// Bits set for a key.
const BITS: u32 = 4;

/// See the module's header.
pub(crate) struct Seen {
    hasher: DefaultHashBuilder,
    lines: Vec<[u64; WORDS]>,
}

impl Seen {
    /// Of about `bytes`. It serves for as many keys as it has bytes, and a little longer.
    pub(crate) fn new(bytes: usize) -> Seen {
        let lines = (bytes / (LINE / 8)).max(1);
        Seen {
            hasher: DefaultHashBuilder::default(),
            lines: vec![[0; WORDS]; lines],
        }
    }

    /// Takes note of `key`; answers whether it may have been seen before.
    pub(crate) fn insert(&mut self, key: &[u8]) -> bool {
        let hash = self.hasher.hash_one(key);
        // The upper half says which line, parts of the lower half which bits.
        let line = ((hash >> 32) * self.lines.len() as u64) >> 32;
        let Some(line) = self.lines.get_mut(line as usize) else {
            return true;
        };
        let mut was_there = true;
        for number in 0..BITS {
            let bit = (hash >> (number * 8)) as usize % 256 + 256 * (number as usize % 2);
            let mask = 1 << (bit % 64);
            was_there &= line[bit / 64] & mask != 0;
            line[bit / 64] |= mask;
        }
        was_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_known_and_little_else_until_it_is_full() {
        const KEYS: u32 = 50_000;
        let mut seen = Seen::new(KEYS as usize);
        let false_alarms = (0..KEYS).filter(|n| seen.insert(&n.to_be_bytes())).count();
        assert!(false_alarms < KEYS as usize / 20, "{false_alarms}");
        assert!((0..KEYS).all(|n| seen.insert(&n.to_be_bytes())));
        (KEYS..40 * KEYS).for_each(|n| {
            seen.insert(&n.to_be_bytes());
        });
        let known = (50 * KEYS..51 * KEYS).filter(|n| seen.insert(&n.to_be_bytes()));
        assert!(
            known.count() > KEYS as usize * 9 / 10,
            "a full one has seen all"
        );
    }
}
