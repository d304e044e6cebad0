//! Replays what a task consumed, by its commit records, and holds what comes of it against what the
//! topics hold (I1, I3).
//!
//! Each topic is compared by itself: the first difference in one does not keep the others from being
//! looked at. Where what a commit wrote, by its hash, is not what comes of the records that it consumed,
//! the replay ends: everything after that would differ.

mod end;
mod lanes;
mod suspects;
mod verdict;
mod written;

use engine::commit_record::CommitRecord;
use engine::port::{OutRecord, TopicPartition};
use wire::bin::Corrupt;

use crate::chain::{self, Chain};
use crate::changelog::Changelog;
use crate::cursor::Cursor;
use crate::history::{Entry, History};
use crate::oracle::{Input, Oracle, Write};
use crate::report::{Check, Finding, Outcome};
use crate::subject::Subject;
use end::Fit;
use lanes::Lanes;
use suspects::{Span, Suspects};
use written::Written;

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

struct Replay<'r, H> {
    subject: &'r Subject,
    history: &'r mut H,
    task: u32,
    oracle: Oracle,
    lanes: Lanes,
    written: Written<'r>,
    changelog: Changelog,
    suspects: Suspects,
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
    let mut replay = Replay {
        oracle: Oracle::new(task, &subject.setup),
        subject,
        history,
        task,
        lanes: Lanes::default(),
        written: Written::new(subject, chain, task),
        changelog,
        suspects: Suspects::default(),
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
        if let Err(finding) = self.consume_all(at, offset, record)? {
            return Ok(Some(End::Found(Check::Consumed, finding)));
        }
        if !self.differs() {
            self.suspects.follow(&record.consumed, &self.lanes);
        }
        let told = self.oracle.tell_clock();
        let (writes, fit) = match self.find_end(record, &told) {
            Ok(end) => end,
            Err(corrupt) => {
                let finding = Finding::new(at, corrupt.to_string()).offset(offset);
                let finding = Box::new(finding.commit(number));
                return Ok(Some(End::Found(Check::Commits, finding)));
            }
        };
        self.compare(&told, &writes, fit, number)?;
        match fit {
            Fit::Same => self.heads += 1,
            Fit::Untold => self.heads_skipped += 1,
            Fit::Other => {
                let finding = self.misfit(at, offset, number);
                return Ok(Some(End::Found(Check::Commits, Box::new(finding))));
            }
        }
        Ok(None)
    }

    /// What a commit consumed, in its order, and what it looked at then.
    fn consume_all(
        &mut self,
        at: &TopicPartition,
        offset: u64,
        record: &CommitRecord,
    ) -> Result<Result<(), Box<Finding>>, H::Error> {
        let (consumed, number) = (&record.consumed, record.head.number);
        let mut taken = match self.lanes.take(self.history, at, offset, record)? {
            Ok(taken) => taken,
            Err(finding) => return Ok(Err(finding)),
        };
        for (index, count) in &consumed.order {
            let Some((input, _)) = consumed.positions.get(*index as usize) else {
                continue;
            };
            for _ in 0..*count {
                let next = taken.get_mut(input).and_then(|records| records.next());
                let Some(entry) = next else {
                    continue;
                };
                let place = (*index, entry.offset);
                let is_seen = !consumed.quarantined.contains(&place);
                if let Err(finding) = self.consume(input, entry, is_seen, number) {
                    return Ok(Err(finding));
                }
                self.consumed += 1;
            }
        }
        // Where nothing was consumed since, the clock stands there already.
        let goes_on = consumed.order.is_empty() && consumed.peeked == self.peeked;
        if let Some(peeked) = &consumed.peeked
            && !goes_on
            && let Err(finding) = self.peek(peeked, number)?
        {
            return Ok(Err(finding));
        }
        self.peeked.clone_from(&consumed.peeked);
        Ok(Ok(()))
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
    fn peek(
        &mut self,
        at: &TopicPartition,
        number: u64,
    ) -> Result<Result<(), Box<Finding>>, H::Error> {
        let Some(entry) = self.lanes.peek(self.history, at)? else {
            let problem = "the commit had looked at the next record, which is missing";
            let finding = Finding::new(at, problem).offset(self.lanes.next(at));
            return Ok(Err(Box::new(finding.commit(number))));
        };
        let is_routed = self.subject.is_routed(at);
        let input = Input::decode(&self.subject.inputs, at, &entry, is_routed);
        let done = input.and_then(|input| {
            self.oracle.fire_all()?;
            self.oracle.look_at(at, &input);
            Ok(())
        });
        Ok(done.map_err(|corrupt: Corrupt| {
            let problem = format!("the commit had looked at this record: {corrupt}");
            let finding = Finding::new(at, problem).offset(entry.offset);
            Box::new(finding.commit(number))
        }))
    }

    /// What a commit said, `told` other tasks and wrote to the state, against what is there.
    fn compare(
        &mut self,
        told: &[OutRecord],
        writes: &[Write],
        fit: Fit,
        number: u64,
    ) -> Result<(), H::Error> {
        let said = std::mem::take(&mut self.oracle.said);
        for expected in said.iter().chain(told) {
            self.written.expect(self.history, expected, number)?;
        }
        self.oracle.commit();
        let stood = self.changelog.failed.is_none();
        self.changelog.expect(self.history, &self.oracle, writes)?;
        // The bookkeeping is in no hash: what it says may be right, and what was consumed altered.
        if stood
            && fit == Fit::Same
            && let Some(finding) = &mut self.changelog.failed
        {
            finding.problem = format!(
                "{}; or one of the records that the commit consumed was altered: {}",
                finding.problem, self.suspects
            );
        }
        Ok(())
    }

    fn differs(&self) -> bool {
        self.changelog.failed.is_some() || self.written.differs()
    }

    /// What a commit wrote is not what comes of the records that it consumed.
    fn misfit(&self, at: &TopicPartition, offset: u64, number: u64) -> Finding {
        let suspect = self.suspects.first().filter(|_| self.differs());
        let Some(Span { input, from, until }) = suspect else {
            let problem = "the commit record was altered, or what the commit wrote was another: its \
                           hash is not that of what comes of the records that it consumed";
            return Finding::new(at, problem).offset(offset).commit(number);
        };
        let problem = format!(
            "what the commit wrote is not what comes of the records that it consumed: one of these \
             was altered since, or the commit is not this program's: {}",
            self.suspects
        );
        let finding = Finding::new(input, problem).offset(*from).until(*until);
        finding.commit(number)
    }
}
