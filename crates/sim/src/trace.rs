//! What happened, as a hash that two runs of one seed must share, and in words for who replays one.

use std::fmt::Arguments;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::time::Moment;

/// The trace of a run.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    prints: bool,
}

impl Trace {
    /// A trace that also prints what it is told, line by line, to standard error.
    #[must_use]
    pub fn printing(prints: bool) -> Trace {
        Trace { hash: 0, prints }
    }

    /// Something happened: `what`, to whom, and one number about it.
    pub(crate) fn note(&mut self, at: Moment, what: &'static str, whom: u64, number: u64) {
        self.hash = xxh3_64_with_seed(what.as_bytes(), self.hash ^ at.0);
        self.hash = xxh3_64_with_seed(&whom.to_le_bytes(), self.hash);
        self.hash = xxh3_64_with_seed(&number.to_le_bytes(), self.hash);
        self.say(at, format_args!("{what} {whom} {number}"));
    }

    /// Words only: no part of the hash.
    #[expect(clippy::print_stderr, reason = "the trace of a replay is for people")]
    pub(crate) fn say(&self, at: Moment, words: Arguments<'_>) {
        if self.prints {
            eprintln!("{at:>12}  {words}");
        }
    }

    /// The hash so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }
}
