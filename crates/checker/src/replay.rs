//! Replays what a task consumed, by its commit records, and holds what comes of it against what the
//! topics hold (I1, I3).
//!
//! Each topic is compared by itself: the first difference in one does not keep the others from being
//! looked at. Where what a commit wrote, by its hash, is not what comes of the records that it consumed,
//! the replay ends: everything after that would differ.

use std::collections::btree_map::{BTreeMap, Entry as Known};

use engine::commit_record::{CommitRecord, Consumed};
use engine::port::{OutRecord, TopicPartition};
use wire::bin::Corrupt;

use crate::chain::{self, Chain, count_of};
use crate::changelog::Changelog;
use crate::cursor::Cursor;
use crate::history::{Entry, History};
use crate::oracle::{Input, Oracle, Write};
use crate::report::{Check, Finding, Outcome};
use crate::stream::{Own, Stream};
use crate::subject::Subject;

/// Of a commit whose records of the changelog are gone, so many ends are tried: where among the timers
/// that were due it ended is told by its hash alone.
const ENDS_TRIED: usize = 256;
/// So many are tried in any case, whatever the records of the changelog say.
const ENDS_HASHED: usize = 8;

/// What a replay came to.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) outcomes: Vec<(Check, Outcome)>,
    /// The task as it is after the last commit, if the replay came so far.
    pub(crate) oracle: Option<Oracle>,
}

/// Why a replay ends before the last commit.
enum End {
    /// Because of a counter-example.
    Found(Check, Box<Finding>),
    /// Because retention has removed what it needs.
    Removed(String),
}

/// One input.
struct Lane {
    cursor: Cursor,
    /// Nothing before this offset is to be consumed.
    next: u64,
}

struct Replay<'r, H> {
    subject: &'r Subject,
    history: &'r mut H,
    task: u32,
    oracle: Oracle,
    lanes: BTreeMap<TopicPartition, Lane>,
    streams: BTreeMap<TopicPartition, Stream>,
    changelog: Changelog,
    letters_of: Vec<String>,
    /// What the last commit consumed, or the one in which the first difference showed, as spans.
    suspects: Vec<(TopicPartition, u64, u64)>,
    /// The input whose next record had moved the clock when the last commit ended.
    peeked: Option<TopicPartition>,
    consumed: u64,
    heads: u64,
    /// Commits whose hash could not be told because their records of the changelog are gone.
    heads_skipped: u64,
}

/// Replays the commits of `task`. `progress` is told after each how many there were.
pub(crate) fn replay<H: History>(
    subject: &Subject,
    history: &mut H,
    chain: &Chain,
    task: u32,
    progress: &mut dyn FnMut(u64),
) -> Result<Replayed, H::Error> {
    let changelog = Changelog::open(subject, history, task)?;
    let trimmed = chain.trimmed_input(history)?;
    let mut letters_of: Vec<String> = chain
        .positions
        .keys()
        .map(|at| at.topic.to_string())
        .collect();
    letters_of.dedup();
    let mut replay = Replay {
        oracle: Oracle::new(task, &subject.setup),
        subject,
        history,
        task,
        lanes: BTreeMap::new(),
        streams: BTreeMap::new(),
        changelog,
        letters_of,
        suspects: Vec::new(),
        peeked: None,
        consumed: 0,
        heads: 0,
        heads_skipped: 0,
    };
    let end = match trimmed {
        Some((at, begin)) => Some(End::Removed(format!(
            "{} partition {} reaches back to offset {begin} only",
            at.topic, at.partition
        ))),
        None => replay.run(chain, progress)?,
    };
    replay.finish(end)
}

impl<H: History> Replay<'_, H> {
    fn run(
        &mut self,
        chain: &Chain,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Option<End>, H::Error> {
        let mut commits = Cursor::open(self.history, chain.at.clone())?;
        let mut done = 0;
        while let Some(entry) = commits.pop(self.history)? {
            let record = match chain::decode(&chain.at, &entry) {
                Ok(record) => record,
                Err(finding) => return Ok(Some(End::Found(Check::Chain, finding))),
            };
            if let Some(end) = self.commit(&chain.at, entry.offset, &record)? {
                return Ok(Some(end));
            }
            done += 1;
            progress(done);
        }
        Ok(None)
    }

    /// One commit: what it consumed, what it wrote.
    fn commit(
        &mut self,
        at: &TopicPartition,
        offset: u64,
        record: &CommitRecord,
    ) -> Result<Option<End>, H::Error> {
        let number = record.head.number;
        let mut taken = match self.take(at, offset, record)? {
            Ok(taken) => taken,
            Err(end) => return Ok(Some(end)),
        };
        for (index, count) in &record.consumed.order {
            let Some((input, _)) = record.consumed.positions.get(*index as usize) else {
                continue;
            };
            for _ in 0..*count {
                let next = taken.get_mut(input).and_then(|records| records.next());
                let Some(entry) = next else {
                    continue;
                };
                let place = (*index, entry.offset);
                let is_seen = !record.consumed.quarantined.contains(&place);
                if let Err(finding) = self.consume(input, entry, is_seen, number) {
                    return Ok(Some(End::Found(Check::Consumed, finding)));
                }
            }
        }
        // Where nothing was consumed since, the clock stands there already.
        let goes_on = record.consumed.order.is_empty() && record.consumed.peeked == self.peeked;
        if let Some(peeked) = &record.consumed.peeked
            && !goes_on
            && let Some(end) = self.peek(peeked, number)?
        {
            return Ok(Some(end));
        }
        self.peeked.clone_from(&record.consumed.peeked);
        if !self.differs() {
            self.suspect(&record.consumed);
        }
        let told = self.oracle.tell_clock();
        let (writes, is_as_written) = match self.find_end(record, &told) {
            Ok(end) => end,
            Err(corrupt) => {
                let finding = Finding::new(at, corrupt.to_string()).offset(offset);
                return Ok(Some(End::Found(
                    Check::Commits,
                    Box::new(finding.commit(number)),
                )));
            }
        };
        let said = std::mem::take(&mut self.oracle.said);
        for expected in said.iter().chain(&told) {
            self.expect(expected, number)?;
        }
        self.oracle.commit();
        let stood = self.changelog.failed.is_none();
        self.changelog.expect(self.history, &self.oracle, &writes)?;
        // The bookkeeping is in no hash: what it says may be right, and what was consumed altered.
        if let Some(finding) = self.changelog.failed.take() {
            let explained = match stood && is_as_written == Some(true) {
                true => format!(
                    "{}; or one of the records that the commit consumed was altered: {}",
                    finding.problem,
                    self.suspects()
                ),
                false => finding.problem.clone(),
            };
            self.changelog.failed = Some(Finding {
                problem: explained,
                ..finding
            });
        }
        match is_as_written {
            Some(true) => self.heads += 1,
            None => self.heads_skipped += 1,
            Some(false) => {
                let finding = self.misfit(at, offset, number);
                return Ok(Some(End::Found(Check::Commits, Box::new(finding))));
            }
        }
        Ok(None)
    }

    /// The records that a commit consumed, by input: those from its last position to the new one.
    #[expect(
        clippy::type_complexity,
        reason = "named where it is used, and nowhere else"
    )]
    fn take(
        &mut self,
        commits: &TopicPartition,
        offset: u64,
        record: &CommitRecord,
    ) -> Result<Result<BTreeMap<TopicPartition, std::vec::IntoIter<Entry>>, End>, H::Error> {
        let (consumed, number) = (&record.consumed, record.head.number);
        let mut taken = BTreeMap::new();
        for (index, (input, position)) in (0_u32..).zip(&consumed.positions) {
            let count = count_of(consumed, index);
            let lane = self.lane(input)?;
            let from = lane.next;
            let mut records = Vec::new();
            while let Some(entry) = self.next_of(input, *position)? {
                records.push(entry);
            }
            let last = records.last().map(|last| last.offset + 1);
            let found = records.len() as u64;
            if found == count && last == Some(*position) {
                self.consumed += count;
                taken.insert(input.clone(), records.into_iter());
                continue;
            }
            let problem = match last {
                _ if found < count => format!(
                    "the commit consumed {count} records of it up to offset {position}, and {found} \
                     are there: {}",
                    if count - found == 1 {
                        "one is missing"
                    } else {
                        "some are missing"
                    }
                ),
                _ if found > count => format!(
                    "the commit consumed {count} records of it up to offset {position}, and {found} \
                     are there: {}",
                    if found - count == 1 {
                        "one is too many"
                    } else {
                        "some are too many"
                    }
                ),
                _ => format!(
                    "the last record that the commit consumed of it should stand at offset {}",
                    position - 1
                ),
            };
            let problem = format!(
                "{problem}; or the commit record was altered: {} partition {} offset {offset}",
                commits.topic, commits.partition
            );
            let finding = Finding::new(input, problem).offset(from).until(*position);
            return Ok(Err(End::Found(
                Check::Consumed,
                Box::new(finding.commit(number)),
            )));
        }
        Ok(Ok(taken))
    }

    fn lane(&mut self, input: &TopicPartition) -> Result<&mut Lane, H::Error> {
        Ok(match self.lanes.entry(input.clone()) {
            Known::Occupied(lane) => lane.into_mut(),
            Known::Vacant(new) => {
                let cursor = Cursor::open(self.history, input.clone())?;
                let next = cursor.bounds.begin;
                new.insert(Lane { cursor, next })
            }
        })
    }

    fn next_of(&mut self, input: &TopicPartition, until: u64) -> Result<Option<Entry>, H::Error> {
        let Some(lane) = self.lanes.get_mut(input) else {
            return Ok(None);
        };
        let entry = lane.cursor.pop_before(self.history, until)?;
        lane.next = lane.next.max(until);
        Ok(entry)
    }

    fn consume(
        &mut self,
        at: &TopicPartition,
        entry: Entry,
        is_seen: bool,
        number: u64,
    ) -> Result<(), Box<Finding>> {
        let offset = entry.offset;
        let is_routed = self.subject.is_routed(at);
        let input = match is_seen {
            true => Input::decode(&self.subject.inputs, at, &entry, is_routed),
            false => Ok(Input::quarantined()),
        };
        let done = input.and_then(|input| {
            self.oracle.fire_all()?;
            self.oracle.look_at(at, &input);
            self.oracle.fire_all()?;
            self.oracle.consume(at, entry, input)
        });
        done.map_err(|corrupt| {
            let problem = format!("the record cannot have been consumed: {corrupt}");
            Box::new(Finding::new(at, problem).offset(offset).commit(number))
        })
    }

    /// The clock goes on to a record that is not consumed yet.
    fn peek(&mut self, at: &TopicPartition, number: u64) -> Result<Option<End>, H::Error> {
        self.lane(at)?;
        let Some(lane) = self.lanes.get_mut(at) else {
            return Ok(None);
        };
        let next = lane.next;
        let Some(entry) = lane.cursor.peek(self.history)?.cloned() else {
            let problem = "the commit had looked at the next record, which is missing";
            let finding = Finding::new(at, problem).offset(next).commit(number);
            return Ok(Some(End::Found(Check::Consumed, Box::new(finding))));
        };
        let is_routed = self.subject.is_routed(at);
        let input = Input::decode(&self.subject.inputs, at, &entry, is_routed);
        let done = input.and_then(|input| {
            self.oracle.fire_all()?;
            self.oracle.look_at(at, &input);
            Ok(())
        });
        Ok(done.err().map(|corrupt| {
            let problem = format!("the commit had looked at this record: {corrupt}");
            let finding = Finding::new(at, problem).offset(entry.offset);
            End::Found(Check::Consumed, Box::new(finding.commit(number)))
        }))
    }

    /// Fires the timers that fired before the commit ended: as many as give what it wrote, by its
    /// hash. Answers the writes to the state, and whether the hash is that of the commit record; `None`
    /// where that cannot be told.
    fn find_end(
        &mut self,
        record: &CommitRecord,
        told: &[OutRecord],
    ) -> Result<(Vec<Write>, Option<bool>), Corrupt> {
        let body = record.consumed.body();
        let changelog = self.subject.changelog(self.task);
        let mut second_best = None;
        let mut tried = 0;
        loop {
            let exact = self.changelog.exact(record.head.number);
            // Cheap to ask: what does not fit by numbers need not be hashed. A record of the changelog
            // may be missing or too many.
            let may_be = exact.is_none_or(|(keys, book)| {
                keys.abs_diff(self.oracle.changed_keys()) <= 1
                    && book.counts == self.oracle.book.counts
            });
            let is_exact = exact.is_some();
            let is_last = !self.oracle.has_due();
            if may_be || is_last || tried < ENDS_HASHED {
                tried += 1;
                let writes = self.oracle.writes();
                let head = self.oracle.head(&body, told, &changelog, &writes);
                if head == record.head {
                    self.oracle.book.chain = head;
                    return Ok((writes, Some(true)));
                }
                if !is_exact && !is_last && tried > ENDS_TRIED {
                    self.oracle.book.chain = record.head;
                    return Ok((writes, None));
                }
                if is_exact && second_best.is_none() && self.changelog.is(&writes) {
                    second_best = Some((self.oracle.clone(), writes, head));
                } else if is_last {
                    second_best.get_or_insert_with(|| (self.oracle.clone(), writes, head));
                }
            }
            if !self.oracle.fire_one()? {
                break;
            }
        }
        // No end fits: the one that the changelog has, or else the last one.
        let mut found = Vec::new();
        if let Some((oracle, writes, head)) = second_best {
            self.oracle = oracle;
            self.oracle.book.chain = head;
            found = writes;
        }
        Ok((found, Some(false)))
    }

    fn expect(&mut self, expected: &OutRecord, number: u64) -> Result<(), H::Error> {
        self.stream(&expected.target)?;
        match self.streams.get_mut(&expected.target) {
            Some(stream) => stream.expect(self.history, expected, number),
            None => Ok(()),
        }
    }

    fn stream(&mut self, at: &TopicPartition) -> Result<(), H::Error> {
        if self.streams.contains_key(at) {
            return Ok(());
        }
        let own = match self.check_of(at) {
            Check::Routed => Own::RoutedBy(self.task),
            Check::DeadLetters => Own::LettersOf(self.letters_of.clone()),
            _ => Own::All,
        };
        let stream = Stream::open(self.history, at.clone(), own, self.subject.naming)?;
        self.streams.insert(at.clone(), stream);
        Ok(())
    }

    fn check_of(&self, at: &TopicPartition) -> Check {
        let topics = &self.subject.setup.topics;
        match &at.topic {
            topic if *topic == topics.routed => Check::Routed,
            topic if *topic == topics.dead_letters => Check::DeadLetters,
            _ => Check::Outputs,
        }
    }

    fn differs(&self) -> bool {
        self.changelog.failed.is_some() || self.streams.values().any(|s| s.failed.is_some())
    }

    /// What a commit consumed, and looked at, explains a difference that shows now.
    fn suspect(&mut self, consumed: &Consumed) {
        let mut suspects = Vec::new();
        for (index, (input, position)) in (0_u32..).zip(&consumed.positions) {
            let from = position.saturating_sub(count_of(consumed, index));
            suspects.push((input.clone(), from, *position));
        }
        if let Some(peeked) = &consumed.peeked {
            let next = self.lanes.get(peeked).map_or(0, |lane| lane.next);
            suspects.push((peeked.clone(), next, next + 1));
        }
        // Timers alone explain nothing: what was consumed before them does.
        if !suspects.is_empty() {
            self.suspects = suspects;
        }
    }

    fn suspects(&self) -> String {
        let span = |(input, from, until): &(TopicPartition, u64, u64)| {
            let last = until.saturating_sub(1);
            let offsets = match last > *from {
                true => format!("offsets {from} to {last}"),
                false => format!("offset {last}"),
            };
            format!("{} partition {} {offsets}", input.topic, input.partition)
        };
        let spans: Vec<String> = self.suspects.iter().map(span).collect();
        spans.join(", ")
    }

    /// What a commit wrote is not what comes of the records that it consumed.
    fn misfit(&self, at: &TopicPartition, offset: u64, number: u64) -> Finding {
        let Some((input, from, until)) = self.suspects.first().filter(|_| self.differs()) else {
            let problem = "the commit record was altered, or what the commit wrote was another: its \
                           hash is not that of what comes of the records that it consumed";
            return Finding::new(at, problem).offset(offset).commit(number);
        };
        let problem = format!(
            "what the commit wrote is not what comes of the records that it consumed: one of these \
             was altered since, or the commit is not this program's: {}",
            self.suspects()
        );
        let finding = Finding::new(input, problem).offset(*from).until(*until);
        finding.commit(number)
    }

    fn finish(mut self, end: Option<End>) -> Result<Replayed, H::Error> {
        if end.is_none() {
            self.expect_ends()?;
        }
        let rest = match &end {
            None => None,
            Some(End::Found(check, finding)) => {
                let commit = finding.commit.unwrap_or_default();
                Some(format!("the replay ended at commit {commit}: see {check}"))
            }
            Some(End::Removed(why)) => Some(format!("no replay: {why}")),
        };
        // What was found before it was known that there is no replay is worth nothing.
        let is_void = matches!(end, Some(End::Removed(_)));
        let outcome = |failed: Option<Finding>, passed: u64| match (failed, &rest) {
            (_, Some(why)) if is_void => Outcome::NotCheckable(why.clone()),
            (Some(finding), _) => Outcome::Failed(Box::new(finding)),
            (None, Some(why)) => Outcome::NotCheckable(why.clone()),
            (None, None) => Outcome::Passed(passed),
        };
        let found = |check| match &end {
            Some(End::Found(of, finding)) if *of == check => Some(finding.as_ref().clone()),
            _ => None,
        };
        let mut outcomes = vec![
            (
                Check::Consumed,
                outcome(found(Check::Consumed), self.consumed),
            ),
            (Check::Commits, outcome(found(Check::Commits), self.heads)),
            (
                Check::Changelog,
                outcome(self.changelog.failed.take(), self.changelog.matched),
            ),
        ];
        for check in [Check::Outputs, Check::DeadLetters, Check::Routed] {
            let all = std::mem::take(&mut self.streams);
            let (of_check, others) = all
                .into_iter()
                .partition(|(at, _)| self.check_of(at) == check);
            self.streams = others;
            let of_check: BTreeMap<TopicPartition, Stream> = of_check;
            let matched = of_check.values().map(|stream| stream.matched).sum();
            let removed = of_check
                .values()
                .find_map(|stream| stream.not_checkable.clone());
            let failed = of_check.into_values().find_map(|stream| stream.failed);
            let outcome = match (outcome(failed, matched), removed) {
                (Outcome::Passed(_), Some(why)) => Outcome::NotCheckable(why),
                (outcome, _) => outcome,
            };
            outcomes.push((check, outcome));
        }
        if self.heads_skipped > 0
            && let Some((_, outcome @ Outcome::Passed(_))) = outcomes
                .iter_mut()
                .find(|(check, _)| *check == Check::Commits)
        {
            *outcome = Outcome::NotCheckable(format!(
                "the changelog of {} commits is compacted, and too many timers fell due at once to \
                 tell their ends; the hashes of {} others are right",
                self.heads_skipped, self.heads
            ));
        }
        Ok(Replayed {
            outcomes,
            oracle: end.is_none().then_some(self.oracle),
        })
    }

    /// Nothing stands behind what the last commit wrote, unless commits go on. Whether they do is asked
    /// last: what a later commit wrote can be seen only when its commit record is there.
    fn expect_ends(&mut self) -> Result<(), H::Error> {
        let topics = &self.subject.setup.topics;
        let mut all = self.subject.outputs(self.task).concat();
        all.push(Subject::partition(&topics.dead_letters, self.task));
        let others = (0..self.subject.setup.tasks).filter(|other| *other != self.task);
        all.extend(others.map(|other| Subject::partition(&topics.routed, other)));
        for at in &all {
            self.stream(at)?;
        }
        let mut beyond = Vec::new();
        for (at, stream) in &mut self.streams {
            let stood = stream.failed.is_none();
            stream.expect_end(self.history)?;
            if stood && stream.failed.is_some() {
                beyond.push(at.clone());
            }
        }
        let stood = self.changelog.failed.is_none();
        self.changelog.expect_end();
        let goes_on = stood && self.changelog.failed.is_some();
        let commits = self.subject.commits(self.task);
        if (goes_on || !beyond.is_empty()) && self.history.has_grown(&commits)? {
            for at in &beyond {
                if let Some(stream) = self.streams.get_mut(at) {
                    stream.failed = None;
                }
            }
            if goes_on {
                self.changelog.failed = None;
            }
        }
        Ok(())
    }
}
