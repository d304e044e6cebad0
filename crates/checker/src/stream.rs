//! One topic partition that a task writes to, beside what the replay says should be there.
//!
//! What is there is looked through in order; the first record that differs is named, as missing, twice,
//! too many or altered, and from there on the partition is not looked at any more: everything behind
//! a difference differs.

use engine::port::{OutRecord, TopicPartition};
use wire::output::VALUE_BYTES_HEADER;
use wire::routed::Routed;

use crate::cursor::Cursor;
use crate::history::{Entry, History};
use crate::report::Finding;
use crate::subject::Naming;

/// Of which records the task is the writer.
#[derive(Clone, Debug)]
pub(crate) enum Own {
    /// All.
    All,
    /// Routed ones that say so.
    RoutedBy(u32),
    /// Dead letters of these topics. Others come from loads of files.
    LettersOf(Vec<String>),
}

impl Own {
    fn wrote(&self, entry: &Entry) -> bool {
        match self {
            Own::All => true,
            Own::RoutedBy(task) => {
                let bytes = entry.value.as_deref().unwrap_or_default();
                match Routed::decode(bytes) {
                    Ok(Routed::Event { from, .. } | Routed::Clock { from, .. }) => from == *task,
                    Ok(
                        Routed::Tick { .. }
                        | Routed::EndOfReplay { .. }
                        | Routed::Idle
                        | Routed::Silent { .. }
                        | Routed::Alone
                        | Routed::Model(_)
                        | Routed::Rescore { .. },
                    ) => false,
                    // Nobody else owns up to it.
                    Err(_) => true,
                }
            }
            Own::LettersOf(topics) => {
                let source = entry.headers.iter().find(|(name, _)| name == "clv_topic");
                source.is_none_or(|(_, source)| topics.iter().any(|t| t.as_bytes() == source))
            }
        }
    }
}

/// A partition that is compared.
#[derive(Debug)]
pub(crate) struct Stream {
    cursor: Cursor,
    own: Own,
    naming: Naming,
    /// Whether the first record that retention has left is still looked for.
    aligning: bool,
    /// The last record that was as it should be.
    previous: Option<OutRecord>,
    pub(crate) matched: u64,
    pub(crate) failed: Option<Finding>,
    pub(crate) not_checkable: Option<String>,
}

impl Stream {
    pub(crate) fn open<H: History>(
        history: &mut H,
        at: TopicPartition,
        own: Own,
        naming: Naming,
    ) -> Result<Stream, H::Error> {
        let cursor = Cursor::open(history, at)?;
        let aligning = cursor.bounds.begin > 0;
        // Routed records may be equal to each other: where the retained ones begin cannot be told.
        let not_checkable = (aligning && matches!(own, Own::RoutedBy(_))).then(|| {
            format!(
                "{} is purged up to offset {}",
                words(&cursor.at),
                cursor.bounds.begin
            )
        });
        Ok(Stream {
            cursor,
            own,
            naming,
            aligning,
            previous: None,
            matched: 0,
            failed: None,
            not_checkable,
        })
    }

    fn is_over(&self) -> bool {
        self.failed.is_some() || self.not_checkable.is_some()
    }

    /// The task's next record here should be `expected`, of commit `number`.
    pub(crate) fn expect<H: History>(
        &mut self,
        history: &mut H,
        expected: &OutRecord,
        number: u64,
    ) -> Result<(), H::Error> {
        if self.is_over() {
            return Ok(());
        }
        self.skip_foreign(history)?;
        let found = self.cursor.peek(history)?;
        if found.is_some_and(|found| is_same(found, expected)) {
            self.aligning = false;
            self.matched += 1;
            self.previous = Some(expected.clone());
            self.cursor.pop(history)?;
            return Ok(());
        }
        if self.aligning {
            return Ok(());
        }
        self.failed = Some(self.difference(history, expected)?.commit(number));
        Ok(())
    }

    /// The task has no more records here.
    pub(crate) fn expect_end<H: History>(&mut self, history: &mut H) -> Result<(), H::Error> {
        if self.is_over() {
            return Ok(());
        }
        self.skip_foreign(history)?;
        let Some(found) = self.cursor.peek(history)?.cloned() else {
            return Ok(());
        };
        let problem = match &self.previous {
            _ if self.aligning => "the replay writes no such record",
            Some(previous) if is_same(&found, previous) => "the record stands here twice",
            _ => "no commit wrote this record",
        };
        self.failed = Some(self.named(&found, problem));
        Ok(())
    }

    fn skip_foreign<H: History>(&mut self, history: &mut H) -> Result<(), H::Error> {
        while let Some(next) = self.cursor.peek(history)? {
            if self.own.wrote(next) {
                break;
            }
            self.cursor.pop(history)?;
        }
        Ok(())
    }

    /// What is there instead of `expected`.
    fn difference<H: History>(
        &mut self,
        history: &mut H,
        expected: &OutRecord,
    ) -> Result<Finding, H::Error> {
        let Some(found) = self.cursor.pop(history)? else {
            let problem = "the record that should be here, the last one, is missing";
            let end = self.cursor.bounds.end;
            return Ok(self.expected_at(expected, end, problem));
        };
        if let Some(previous) = &self.previous
            && is_same(&found, previous)
        {
            return Ok(self.named(&found, "the record stands here twice"));
        }
        self.skip_foreign(history)?;
        let next = self.cursor.peek(history)?;
        if next.is_some_and(|next| is_same(next, expected)) {
            return Ok(self.named(&found, "no commit wrote this record"));
        }
        if let Some(what) = alteration(&found, expected) {
            return Ok(self.named(&found, &format!("the record was altered: {what}")));
        }
        let problem = "the record that should stand before this offset is missing";
        Ok(self.expected_at(expected, found.offset, problem))
    }

    /// Names a record that is there.
    fn named(&self, found: &Entry, problem: &str) -> Finding {
        let key = found.key.as_deref().map(|key| self.naming.name(key));
        let id = found.headers.iter().find(|(name, _)| name == "ce_id");
        let sequence = id.and_then(|(_, id)| sequence_of(id));
        let finding = Finding::new(&self.cursor.at, problem).offset(found.offset);
        finding.key(key).sequence(sequence)
    }

    /// Names a record that is not there, before `offset`.
    fn expected_at(&self, expected: &OutRecord, offset: u64, problem: &str) -> Finding {
        let key = expected.key.as_deref().map(|key| self.naming.name(key));
        let id = expected.headers.iter().find(|(name, _)| *name == "ce_id");
        let sequence = id.and_then(|(_, id)| sequence_of(id));
        let finding = Finding::new(&self.cursor.at, problem).offset(offset);
        finding.key(key).sequence(sequence)
    }
}

/// Byte for byte; a dead letter that was too long for its topic by its beginning.
fn is_same(found: &Entry, expected: &OutRecord) -> bool {
    let headers = |found: &[(String, Vec<u8>)]| {
        found.len() == expected.headers.len()
            && found
                .iter()
                .zip(&expected.headers)
                .all(|(f, e)| f.0 == e.0 && f.1 == e.1)
    };
    if found.key == expected.key && found.value == expected.value && headers(&found.headers) {
        return true;
    }
    let Some(((name, length), rest)) = found.headers.split_last() else {
        return false;
    };
    let begins = |found: &Option<Vec<u8>>, expected: &Option<Vec<u8>>| match (found, expected) {
        (Some(found), Some(expected)) => expected.starts_with(found),
        (found, expected) => found == expected,
    };
    let whole = expected.value.as_ref().map_or(0, Vec::len);
    name == VALUE_BYTES_HEADER
        && *length == whole.to_string().into_bytes()
        && begins(&found.value, &expected.value)
        && begins(&found.key, &expected.key)
        && headers(rest)
}

/// What was altered about a record, if `found` is `expected` for the rest.
fn alteration(found: &Entry, expected: &OutRecord) -> Option<&'static str> {
    let same_headers = found.headers.len() == expected.headers.len()
        && found
            .headers
            .iter()
            .zip(&expected.headers)
            .all(|(f, e)| f.0 == e.0 && f.1 == e.1);
    let differ = [
        found.key != expected.key,
        found.value != expected.value,
        !same_headers,
    ];
    match differ {
        [true, false, false] => Some("its key differs"),
        [false, true, false] => Some("its value differs"),
        [false, false, true] => Some("its headers differ"),
        // Records without headers are told apart by their key.
        _ if found.headers.is_empty() || expected.headers.is_empty() => None,
        _ if identity(&found.headers) == identity(&expected.headers) => Some("its bytes differ"),
        _ => None,
    }
}

/// What tells outputs, and dead letters, apart.
fn identity<N: AsRef<str>>(headers: &[(N, Vec<u8>)]) -> Vec<&[u8]> {
    let names = ["ce_id", "clv_topic", "clv_partition", "clv_offset"];
    let of = |name| {
        headers
            .iter()
            .find(move |(known, _)| known.as_ref() == name)
    };
    let found = names.into_iter().filter_map(of);
    found.map(|(_, value)| value.as_slice()).collect()
}

fn sequence_of(ce_id: &[u8]) -> Option<u64> {
    let id = std::str::from_utf8(ce_id).ok()?;
    id.rsplit_once('/')?.1.parse().ok()
}

fn words(at: &TopicPartition) -> String {
    format!("{} partition {}", at.topic, at.partition)
}
