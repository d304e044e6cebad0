//! The changelog, folded: the state as of the last commit, by hashes; and what the last output of each
//! customer, a replay and the commit records say against it.

use std::collections::BTreeMap;

use domain::change::ValueStatus;
use domain::definitions::Definitions;
use domain::event::GUEST_PREFIX;
use domain::prediction::Versions;
use domain::profile::Profile;
use domain::value;
use engine::bookkeeping::Bookkeeping;
use engine::port::{Table, TopicPartition};
use engine::valuing;
use wire::state::decode_profile;
use xxhash_rust::xxh3::xxh3_128;

use crate::chain::Chain;
use crate::changelog::{Chunks, name_of};
use crate::cursor::Cursor;
use crate::history::History;
use crate::oracle::Oracle;
use crate::report::{Finding, Outcome};
use crate::sequences::{Last, Outputs};
use crate::subject::Subject;

/// The folded changelog.
#[derive(Debug)]
pub(crate) struct Fold {
    /// Offset and hash of the newest value of each key.
    pub(crate) entries: BTreeMap<Vec<u8>, (u64, u128)>,
    /// The last bookkeeping.
    pub(crate) book: Option<(u64, Bookkeeping)>,
    /// Everything before this offset is in it.
    pub(crate) end: u64,
    /// Up to here nothing follows that is state: a takeover writes its owner record, and need not commit
    /// anything after it.
    pub(crate) reach: u64,
    /// Whether it ends with the last commit record's commit.
    pub(crate) head: Outcome,
}

impl Fold {
    /// Folds the changelog of `task` up to the commit that the commit records end with.
    pub(crate) fn read<H: History>(
        subject: &Subject,
        history: &mut H,
        chain: &Chain,
        task: u32,
    ) -> Result<Fold, H::Error> {
        let mut chunks = Chunks::open(subject, history, task)?;
        let mut fold = Fold {
            entries: BTreeMap::new(),
            book: None,
            end: chunks.bounds().begin,
            reach: chunks.bounds().begin,
            head: Outcome::Passed(0),
        };
        let mut unreadable = None;
        let mut reached = chain.commits == 0;
        let mut open = false;
        while let Some(chunk) = chunks.next(history)? {
            for kept in chunk.records {
                match kept.value {
                    Some(hash) => fold.entries.insert(kept.key, (kept.offset, hash)),
                    None => fold.entries.remove(&kept.key),
                };
                fold.end = kept.offset + 1;
            }
            open = chunk.book.is_none();
            match chunk.book {
                Some((offset, Ok(book))) => {
                    fold.end = offset + 1;
                    reached |= book.chain == chain.last;
                    fold.book = Some((offset, book));
                    if reached && chain.commits > 0 {
                        break;
                    }
                }
                Some((offset, Err(corrupt))) => {
                    fold.end = offset + 1;
                    let problem = format!("the bookkeeping cannot be read: {corrupt}");
                    unreadable = Some(Finding::new(chunks.at(), problem).offset(offset));
                }
                None => {}
            }
        }
        let beyond = match reached && chain.commits > 0 {
            true => chunks.next(history)?.and_then(|chunk| chunk.first()),
            false => None,
        };
        // Asked last: what a later commit wrote can be seen only when its commit record is there.
        let is_live = history.has_grown(&chain.at)?;
        fold.reach = match (reached, beyond) {
            (true, None) => chunks.bounds().end,
            _ => fold.end,
        };
        let beyond = beyond.filter(|_| !is_live);
        fold.head = match unreadable {
            Some(finding) => Outcome::Failed(Box::new(finding)),
            None if chain.broken.is_some() => {
                Outcome::NotCheckable("the chain of commit records is broken: see chain".to_owned())
            }
            None => match beyond {
                Some(offset) => {
                    let problem = format!(
                        "the changelog goes on behind the commit that the commit records end with: \
                         a commit record is missing at the end of {} partition {}",
                        chain.at.topic, chain.at.partition
                    );
                    let finding = Finding::new(chunks.at(), problem).offset(offset);
                    Outcome::Failed(Box::new(finding.commit(chain.last.number + 1)))
                }
                None => fold.judge(&chunks, chain, reached, open, is_live),
            },
        };
        Ok(fold)
    }

    fn judge(
        &self,
        chunks: &Chunks,
        chain: &Chain,
        reached: bool,
        open: bool,
        is_live: bool,
    ) -> Outcome {
        if chain.commits == 0 {
            return match (&self.book, chain.bounds.begin) {
                (Some((offset, book)), 0) => {
                    let problem = format!(
                        "the changelog is that of {} commits, and there are no commit records in {} \
                         partition {}",
                        book.chain.number, chain.at.topic, chain.at.partition
                    );
                    Outcome::Failed(Box::new(Finding::new(chunks.at(), problem).offset(*offset)))
                }
                (Some(_), _) => {
                    Outcome::NotCheckable("retention has removed the commit records".to_owned())
                }
                (None, _) => Outcome::Passed(0),
            };
        }
        if reached && !open {
            return Outcome::Passed(1);
        }
        let last = chain.last.number;
        let (offset, found) = match &self.book {
            Some((offset, book)) => (*offset, book.chain.number),
            None => (self.end, 0),
        };
        if found > last && is_live {
            let why = "commits go on, and the changelog of the last one that was looked at is \
                       compacted already";
            return Outcome::NotCheckable(why.to_owned());
        }
        let problem = match found {
            _ if open => "the changelog ends in the middle of a commit".to_owned(),
            found if found < last => format!(
                "the changelog ends with commit {found}, and the commit records with commit {last}: \
                 what the commits wrote to the changelog is missing"
            ),
            found if found > last => format!(
                "the changelog ends with commit {found}, and the commit records with commit {last}: \
                 some are missing at the end of {} partition {}",
                chain.at.topic, chain.at.partition
            ),
            _ => {
                "the bookkeeping does not have the head of the last commit record: one of the two \
                  was altered"
                    .to_owned()
            }
        };
        let finding = Finding::new(chunks.at(), problem).offset(offset);
        Outcome::Failed(Box::new(finding.commit(last)))
    }

    /// Against the state of a replay.
    pub(crate) fn against(&self, subject: &Subject, chain: &Chain, oracle: &Oracle) -> Outcome {
        let at = subject.changelog(task_of(chain));
        let mut found = self.entries.iter().peekable();
        let failed = |offset: Option<u64>, key: &[u8], problem: &str| {
            let finding = Finding {
                offset,
                ..Finding::new(&at, problem)
            };
            Outcome::Failed(Box::new(finding.key(name_of(subject.naming, key))))
        };
        for (key, value) in oracle.state() {
            match found.next() {
                Some((known, (offset, hash))) if *known == key => {
                    if *hash != xxh3_128(&value) {
                        return failed(Some(*offset), &key, "the newest value is not a replay's");
                    }
                }
                Some((other, (offset, _))) if *other < key => {
                    return failed(Some(*offset), other, "a replay has no such state");
                }
                _ => return failed(None, &key, "a replay has state that the changelog has not"),
            }
        }
        if let Some((key, (offset, _))) = found.next() {
            return failed(Some(*offset), key, "a replay has no such state");
        }
        match &self.book {
            Some((offset, book)) if *book != oracle.book => {
                let problem = "the newest bookkeeping is not a replay's";
                failed(Some(*offset), &[], problem)
            }
            _ => Outcome::Passed(self.entries.len() as u64),
        }
    }

    /// Against the last output of each customer.
    pub(crate) fn against_outputs<H: History>(
        &self,
        subject: &Subject,
        history: &mut H,
        chain: &Chain,
        outputs: &mut Outputs,
    ) -> Result<Outcome, H::Error> {
        let at = subject.changelog(task_of(chain));
        let versions = match self.versions(subject, history, &at)? {
            Ok(versions) => versions,
            Err(finding) => return Ok(Outcome::Failed(Box::new(finding))),
        };
        let mut cursor = Cursor::open(history, at.clone())?;
        let mut looked_at = 0;
        while let Some(entry) = cursor.pop_before(history, self.end)? {
            let key = entry.key.unwrap_or_default();
            let is_newest = self
                .entries
                .get(&key)
                .is_some_and(|known| known.0 == entry.offset);
            let Some((Table::Profiles, customer)) = Table::split(&key).filter(|_| is_newest) else {
                continue;
            };
            // Guests are no customers, and nothing is told about them.
            if customer.starts_with(GUEST_PREFIX.as_bytes()) {
                continue;
            }
            let bytes = entry.value.unwrap_or_default();
            let problem = match decode_profile(&bytes, &versions) {
                Ok(profile) => {
                    let under = versions.under(profile.model);
                    let definitions = under.unwrap_or(versions.current());
                    let last = outputs.last.remove(&xxh3_128(customer));
                    let last = last.unwrap_or_default();
                    looked_at += 1;
                    misfit(&profile, &last, definitions, outputs.trimmed)
                }
                Err(corrupt) => Some(corrupt.to_string()),
            };
            if let Some(problem) = problem {
                let finding = Finding::new(&at, problem).offset(entry.offset);
                let name = Some(subject.naming.name(customer));
                return Ok(Outcome::Failed(Box::new(finding.key(name))));
            }
        }
        if outputs.last.values().next().is_some() {
            let problem = "there are outputs of a customer of whom there is no state";
            return Ok(Outcome::Failed(Box::new(Finding::new(&at, problem))));
        }
        Ok(Outcome::Passed(looked_at))
    }

    /// The definitions under each model of value that profiles stand under.
    fn versions<H: History>(
        &self,
        subject: &Subject,
        history: &mut H,
        at: &TopicPartition,
    ) -> Result<Result<Versions, Finding>, H::Error> {
        let is_model = |key: &[u8]| matches!(Table::split(key), Some((Table::Models, _)));
        let mut models = Vec::new();
        let mut newest = None;
        for (_, (offset, _)) in self.entries.iter().filter(|(key, _)| is_model(key)) {
            let mut found = history.read(at, *offset, 1)?;
            models.extend(found.pop().and_then(|entry| entry.value));
            newest = Some(*offset);
        }
        let models = models.iter().map(Vec::as_slice);
        let versions = valuing::versions_of(models, &subject.setup.definitions);
        Ok(versions.map_err(|corrupt| {
            let finding = Finding::new(at, corrupt.to_string());
            Finding {
                offset: newest,
                ..finding
            }
        }))
    }
}

fn task_of(chain: &Chain) -> u32 {
    chain.at.partition
}

/// In what the state and the last outputs of a customer differ.
fn misfit(
    profile: &Profile,
    last: &Last,
    definitions: &Definitions,
    trimmed: bool,
) -> Option<String> {
    let topics = ["clv.updates", "lifecycle.transitions", "segment.changes"];
    for ((topic, last), next) in topics
        .into_iter()
        .zip(last.sequence)
        .zip(profile.next_sequence)
    {
        let is_gone = trimmed && last == 0;
        if last + 1 != next && !is_gone {
            let there = match last {
                0 => "there is none".to_owned(),
                last => format!("it is number {last}"),
            };
            return Some(match next - 1 {
                0 => format!("by the state there is no output in {topic}, and {there}"),
                told => {
                    format!("by the state the last output in {topic} is number {told}, and {there}")
                }
            });
        }
    }
    let view = &profile.live;
    if let Some(said) = last.value {
        let historic = value::historic(view.stats(), definitions);
        let is_final = view.value_status(definitions) == ValueStatus::Final;
        if said != (historic.net.0, u64::from(view.stats().orders), is_final) {
            return Some("the last output's value is not that of the state".to_owned());
        }
    }
    for state in &view.stages {
        let said = last.stages.iter().find(|(model, ..)| *model == state.model);
        let is = (state.stage, u64::from(state.cycle));
        if said.map_or(!trimmed, |(_, stage, cycle)| (*stage, *cycle) != is) {
            return Some("the last transition is not to the stage of the state".to_owned());
        }
    }
    for (segment, is_member) in &last.segments {
        if view.segments.iter().any(|m| m.segment == *segment) != *is_member {
            return Some("the last change of a segment is not that of the state".to_owned());
        }
    }
    let is_told =
        |m: &domain::profile::Membership| last.segments.iter().any(|(s, _)| *s == m.segment);
    if !trimmed && !view.segments.iter().all(is_told) {
        return Some("a membership of the state was never told".to_owned());
    }
    None
}
