//! A task's changelog beside what the replay says should be there, commit by commit.
//!
//! Each commit's records end with the bookkeeping, which holds the commit's head. Where the log
//! compacts, the beginning of a changelog is a snapshot: of each key the newest record as of the first
//! bookkeeping that is left, except of those that commits after it wrote again. From there on
//! everything is there.
//!
//! Of values the hashes are kept: a snapshot is as large as the state.

use std::collections::{BTreeMap, BTreeSet};

use engine::bookkeeping::Bookkeeping;
use engine::port::{Table, TopicPartition};
use xxhash_rust::xxh3::xxh3_128;

use crate::cursor::Cursor;
use crate::history::{Bounds, History};
use crate::oracle::{Oracle, Write};
use crate::report::Finding;
use crate::subject::{Naming, Subject, book_key, is_state};

/// A record of the changelog, bookkeeping excepted.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) offset: u64,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<u128>,
}

/// The records of one commit, or a snapshot.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) records: Vec<Kept>,
    /// Where the bookkeeping stands, and what it says; without it the changelog ends in between.
    pub(crate) book: Option<(u64, Result<Bookkeeping, String>)>,
}

/// Reads a changelog chunk by chunk.
#[derive(Debug)]
pub(crate) struct Chunks {
    cursor: Cursor,
}

impl Chunks {
    pub(crate) fn open<H: History>(
        subject: &Subject,
        history: &mut H,
        task: u32,
    ) -> Result<Chunks, H::Error> {
        let cursor = Cursor::open(history, subject.changelog(task))?;
        Ok(Chunks { cursor })
    }

    pub(crate) fn at(&self) -> &TopicPartition {
        &self.cursor.at
    }

    pub(crate) fn bounds(&self) -> Bounds {
        self.cursor.bounds
    }

    /// The records up to the next bookkeeping; `None` at the end.
    pub(crate) fn next<H: History>(&mut self, history: &mut H) -> Result<Option<Chunk>, H::Error> {
        let book_key = book_key();
        let mut records = Vec::new();
        while let Some(entry) = self.cursor.pop(history)? {
            let key = entry.key.unwrap_or_default();
            if key == book_key {
                let bytes = entry.value.unwrap_or_default();
                let book = Bookkeeping::decode(&bytes).map_err(|corrupt| corrupt.to_string());
                let book = Some((entry.offset, book));
                return Ok(Some(Chunk { records, book }));
            }
            if is_state(&key) {
                records.push(Kept {
                    offset: entry.offset,
                    key,
                    value: entry.value.as_deref().map(xxh3_128),
                });
            }
        }
        Ok((!records.is_empty()).then_some(Chunk {
            records,
            book: None,
        }))
    }
}

/// The changelog during a replay.
#[derive(Debug)]
pub(crate) struct Changelog {
    chunks: Chunks,
    /// What comes next.
    chunk: Option<Chunk>,
    naming: Naming,
    /// Whether the commit of the first bookkeeping is still looked for.
    aligning: bool,
    compacted: bool,
    /// A snapshot misses these keys, which a commit after it has to write.
    owed: BTreeSet<Vec<u8>>,
    previous: Option<Bookkeeping>,
    pub(crate) matched: u64,
    pub(crate) failed: Option<Finding>,
}

impl Changelog {
    pub(crate) fn open<H: History>(
        subject: &Subject,
        history: &mut H,
        task: u32,
    ) -> Result<Changelog, H::Error> {
        let mut chunks = Chunks::open(subject, history, task)?;
        let chunk = chunks.next(history)?;
        Ok(Changelog {
            chunks,
            chunk,
            naming: subject.naming,
            aligning: true,
            compacted: subject.compacted,
            owed: BTreeSet::new(),
            previous: None,
            matched: 0,
            failed: None,
        })
    }

    /// Whether what comes next is what the commit `number`, and nothing else, wrote; then, how many
    /// keys, and what it says of itself.
    pub(crate) fn exact(&self, number: u64) -> Option<(usize, &Bookkeeping)> {
        if self.failed.is_some() || (self.aligning && (self.compacted || number > 1)) {
            return None;
        }
        let chunk = self.chunk.as_ref()?;
        match &chunk.book {
            Some((_, Ok(book))) if book.chain.number == number => Some((chunk.records.len(), book)),
            _ => None,
        }
    }

    /// Whether what comes next is `writes`.
    pub(crate) fn is(&self, writes: &[Write]) -> bool {
        let Some(chunk) = &self.chunk else {
            return false;
        };
        chunk.records.len() == writes.len()
            && chunk
                .records
                .iter()
                .zip(writes)
                .all(|(kept, write)| kept.is(write))
    }

    /// A commit wrote `writes` and then the bookkeeping that `oracle` has now. Its state is as of
    /// that commit.
    pub(crate) fn expect<H: History>(
        &mut self,
        history: &mut H,
        oracle: &Oracle,
        writes: &[Write],
    ) -> Result<(), H::Error> {
        if self.failed.is_some() {
            return Ok(());
        }
        let number = oracle.book.chain.number;
        let Some(chunk) = &self.chunk else {
            let problem = "the changelog ends before what this commit wrote";
            let end = self.chunks.bounds().end;
            self.fail(end, None, problem.to_owned(), number);
            return Ok(());
        };
        let its_own = match &chunk.book {
            Some((_, Ok(book))) => book.chain.number,
            // It is of this commit or of a later one: what it has to say of itself is damaged.
            _ => number,
        };
        let may_be_compacted = self.aligning && self.compacted;
        if may_be_compacted && its_own > number {
            return Ok(());
        }
        // What the first commit wrote may be superseded in part, too.
        let is_snapshot = may_be_compacted && its_own == number && !self.is(writes);
        match is_snapshot {
            true => self.check_snapshot(oracle, number),
            false => self.check_commit(writes, oracle, number),
        }
        self.aligning = false;
        self.previous = Some(oracle.book.clone());
        if self.failed.is_none() {
            let chunk = self.chunk.take();
            self.matched += chunk.map_or(0, |chunk| chunk.records.len() as u64 + 1);
            self.chunk = self.chunks.next(history)?;
            if !self.owed.is_empty() {
                let written = self.chunk.iter().flat_map(|chunk| &chunk.records);
                written.for_each(|kept| {
                    self.owed.remove(&kept.key);
                });
            }
        }
        Ok(())
    }

    /// Nothing was committed any more.
    pub(crate) fn expect_end(&mut self) {
        if self.failed.is_some() {
            return;
        }
        if let Some(key) = self.owed.pop_first() {
            let problem = "the newest record of a key is missing";
            let finding = Finding::new(self.chunks.at(), problem);
            self.failed = Some(finding.key(self.name(&key)));
            return;
        }
        let Some(chunk) = &self.chunk else {
            return;
        };
        let first = chunk
            .records
            .first()
            .map(|kept| (kept.offset, Some(kept.key.clone())));
        let book = chunk.book.as_ref().map(|(offset, _)| (*offset, None));
        let Some((offset, key)) = first.or(book) else {
            return;
        };
        let problem = match self.aligning {
            true => "no commit wrote the bookkeeping that this part of the changelog ends with",
            false => "no commit wrote this record",
        };
        let finding = Finding::new(self.chunks.at(), problem).offset(offset);
        self.failed = Some(finding.key(key.and_then(|key| self.name(&key))));
    }

    /// The records of one commit, each in its place.
    fn check_commit(&mut self, writes: &[Write], oracle: &Oracle, number: u64) {
        let Some(chunk) = &self.chunk else {
            return;
        };
        let mut found = chunk.records.iter().peekable();
        let mut wanted = writes.iter().peekable();
        loop {
            let problem = match (found.peek(), wanted.peek()) {
                (Some(kept), Some(write)) if kept.is(write) => {
                    found.next();
                    wanted.next();
                    continue;
                }
                (None, None) => break,
                (Some(kept), Some(write)) if kept.key == write.0 => {
                    let problem = "the record was altered: its value differs";
                    (kept.offset, kept.key.clone(), problem)
                }
                (Some(kept), wanted) if wanted.is_none_or(|write| kept.key < write.0) => {
                    let again = writes.iter().any(|write| kept.is(write));
                    let problem = match wanted {
                        _ if again => "the record stands here twice",
                        None if chunk.is_after(number) => {
                            "the bookkeeping that should stand before this offset is missing"
                        }
                        _ => "no commit wrote this record here",
                    };
                    (kept.offset, kept.key.clone(), problem)
                }
                (kept, Some(write)) => {
                    let end = chunk
                        .book
                        .as_ref()
                        .map_or(self.chunks.bounds().end, |b| b.0);
                    let offset = kept.map_or(end, |kept| kept.offset);
                    let problem = "the record that should stand before this offset is missing";
                    (offset, write.0.clone(), problem)
                }
                (Some(_), None) => break,
            };
            let (offset, key, problem) = problem;
            return self.fail(offset, Some(&key), problem.to_owned(), number);
        }
        self.check_book(oracle, number);
    }

    fn check_book(&mut self, oracle: &Oracle, number: u64) {
        let found = self.chunk.as_ref().and_then(|chunk| chunk.book.as_ref());
        let (offset, problem) = match found {
            Some((_, Ok(book))) if *book == oracle.book => return,
            Some((offset, Ok(book))) if Some(book) == self.previous.as_ref() => {
                (*offset, "the bookkeeping stands here twice".to_owned())
            }
            Some((offset, Ok(book))) if book.chain.number != number => (
                *offset,
                format!(
                    "the bookkeeping here is of commit {}, and that of this commit is missing",
                    book.chain.number
                ),
            ),
            Some((offset, Ok(book))) => {
                let what = difference(book, &oracle.book);
                (
                    *offset,
                    format!("the bookkeeping differs from a replay's: {what}"),
                )
            }
            Some((offset, Err(corrupt))) => {
                (*offset, format!("the bookkeeping was altered: {corrupt}"))
            }
            None => {
                let end = self.chunks.bounds().end;
                (
                    end,
                    "the bookkeeping that should stand here is missing".to_owned(),
                )
            }
        };
        self.fail(offset, None, problem, number);
    }

    /// What compaction has left: each key at most once, with its value as of this commit.
    fn check_snapshot(&mut self, oracle: &Oracle, number: u64) {
        let Some(chunk) = &self.chunk else {
            return;
        };
        let mut found: BTreeMap<&[u8], &Kept> = BTreeMap::new();
        let mut twice = None;
        for kept in &chunk.records {
            if let Some(earlier) = found.insert(&kept.key, kept) {
                twice.get_or_insert((earlier.offset, kept.key.clone()));
            }
        }
        if let Some((offset, key)) = twice {
            let problem = "a later record of the same key follows, though what stands between them \
                           is compacted, or missing: the bookkeeping of a commit is missing";
            return self.fail(offset, Some(&key), problem.to_owned(), number);
        }
        let mut owed = BTreeSet::new();
        let mut altered = None;
        for (key, value) in oracle.state() {
            match found.remove(key.as_slice()) {
                Some(kept) if kept.value == Some(xxh3_128(&value)) => {}
                Some(kept) => {
                    altered.get_or_insert((kept.offset, key));
                }
                None => {
                    owed.insert(key);
                }
            }
        }
        // Deletions may be there still.
        let foreign = found.values().find(|kept| kept.value.is_some());
        let foreign = foreign.map(|kept| (kept.offset, kept.key.clone()));
        if let Some((offset, key)) = altered {
            let problem = "the record is not what a replay has in its place: it was altered, or a \
                           later one is missing";
            return self.fail(offset, Some(&key), problem.to_owned(), number);
        }
        if let Some((offset, key)) = foreign {
            let problem = "no commit wrote this record";
            return self.fail(offset, Some(&key), problem.to_owned(), number);
        }
        self.owed = owed;
        self.check_book(oracle, number);
    }

    fn fail(&mut self, offset: u64, key: Option<&[u8]>, problem: String, number: u64) {
        let key = key.and_then(|key| self.name(key));
        let finding = Finding::new(self.chunks.at(), problem).offset(offset);
        self.failed = Some(finding.key(key).commit(number));
    }

    fn name(&self, full_key: &[u8]) -> Option<String> {
        name_of(self.naming, full_key)
    }
}

/// The customer of a record of the changelog, if it is one's.
pub(crate) fn name_of(naming: Naming, full_key: &[u8]) -> Option<String> {
    match Table::split(full_key) {
        Some((Table::Profiles, key)) => Some(naming.name(key)),
        _ => None,
    }
}

impl Chunk {
    /// The offset of its first record.
    pub(crate) fn first(&self) -> Option<u64> {
        let record = self.records.first().map(|kept| kept.offset);
        record.or(self.book.as_ref().map(|(offset, _)| *offset))
    }

    /// Whether it ends with the bookkeeping of a commit after `number`.
    fn is_after(&self, number: u64) -> bool {
        let book = self.book.as_ref().and_then(|(_, book)| book.as_ref().ok());
        book.is_some_and(|book| book.chain.number > number)
    }
}

impl Kept {
    fn is(&self, write: &Write) -> bool {
        self.key == write.0 && self.value == write.1.as_deref().map(xxh3_128)
    }
}

/// What differs between two states of the bookkeeping, in words.
fn difference(found: &Bookkeeping, replayed: &Bookkeeping) -> String {
    let counts = found
        .counts
        .named()
        .into_iter()
        .zip(replayed.counts.named());
    let mut counts = counts.filter(|(found, replayed)| found != replayed);
    if let Some(((name, found), (_, replayed))) = counts.next() {
        return format!("{name} is {found}, and {replayed} by a replay");
    }
    if found.clock != replayed.clock {
        return "its clock stands elsewhere".to_owned();
    }
    if found.fed != replayed.fed {
        return "what it has told other tasks differs".to_owned();
    }
    "its head is another".to_owned()
}
