//! The chain of a task's commit records (I3), and the positions in them (I8).

use std::collections::BTreeMap;

use engine::chain::Head;
use engine::commit_record::{CommitRecord, Consumed};
use engine::port::TopicPartition;

use crate::cursor::Cursor;
use crate::history::{Bounds, Entry, History};
use crate::report::Finding;
use crate::subject::Subject;

/// What the commit records say, taken together.
#[derive(Debug)]
pub(crate) struct Chain {
    /// Where they are.
    pub(crate) at: TopicPartition,
    pub(crate) bounds: Bounds,
    /// How many there are.
    pub(crate) commits: u64,
    /// Records that they consumed.
    pub(crate) consumed: u64,
    /// The number of the first one that is retained.
    pub(crate) first: u64,
    /// The head after the last one.
    pub(crate) last: Head,
    /// The last position of each input.
    pub(crate) positions: BTreeMap<TopicPartition, u64>,
    /// Of each input the position that the first commit to consume from it ended at, and how many
    /// records it consumed.
    firsts: BTreeMap<TopicPartition, (u64, u64)>,
    /// What is wrong with the chain.
    pub(crate) broken: Option<Finding>,
    /// What is wrong with the positions.
    pub(crate) went_back: Option<Finding>,
}

impl Chain {
    /// Reads the commit records of `task` to their end.
    pub(crate) fn read<H: History>(
        subject: &Subject,
        history: &mut H,
        task: u32,
    ) -> Result<Chain, H::Error> {
        let mut cursor = Cursor::open(history, subject.commits(task))?;
        let mut chain = Chain {
            at: cursor.at.clone(),
            bounds: cursor.bounds,
            commits: 0,
            consumed: 0,
            first: 0,
            last: Head::default(),
            positions: BTreeMap::new(),
            firsts: BTreeMap::new(),
            broken: None,
            went_back: None,
        };
        while let Some(entry) = cursor.pop(history)? {
            match decode(&chain.at, &entry) {
                Ok(record) => chain.take(entry.offset, record),
                Err(finding) => {
                    chain.broken.get_or_insert(*finding);
                }
            }
            // What stands behind a break cannot be judged.
            if chain.broken.is_some() {
                break;
            }
        }
        Ok(chain)
    }

    /// Whether it reaches back to the task's first commit.
    pub(crate) fn is_whole(&self) -> bool {
        self.first <= 1 && self.broken.is_none()
    }

    /// An input of which retention has removed what the commits consumed first.
    pub(crate) fn trimmed_input<H: History>(
        &self,
        history: &mut H,
    ) -> Result<Option<(TopicPartition, u64)>, H::Error> {
        for (input, (position, count)) in &self.firsts {
            let mut cursor = Cursor::open(history, input.clone())?;
            let begin = cursor.bounds.begin;
            if begin == 0 {
                continue;
            }
            let mut found = 0;
            while cursor.pop_before(history, *position)?.is_some() {
                found += 1;
            }
            if found < *count {
                return Ok(Some((input.clone(), begin)));
            }
        }
        Ok(None)
    }

    fn take(&mut self, offset: u64, record: CommitRecord) {
        let CommitRecord {
            previous,
            head,
            consumed,
        } = record;
        if self.commits == 0 {
            self.first = head.number;
        }
        if let Some(problem) = self.misfit(previous, head) {
            let finding = Finding::new(&self.at, problem).offset(offset);
            self.broken = Some(finding.commit(head.number));
            return;
        }
        for (index, (input, position)) in (0_u32..).zip(&consumed.positions) {
            if !self.firsts.contains_key(input) {
                let first = (*position, count_of(&consumed, index));
                self.firsts.insert(input.clone(), first);
            }
            let before = self.positions.insert(input.clone(), *position);
            if let Some(before) = before
                && *position <= before
                && self.went_back.is_none()
            {
                let problem = format!(
                    "its position in {} partition {} is {position}, and was {before} before",
                    input.topic, input.partition
                );
                let finding = Finding::new(&self.at, problem).offset(offset);
                self.went_back = Some(finding.commit(head.number));
            }
        }
        self.commits += 1;
        let runs = consumed.order.iter();
        self.consumed += runs.map(|(_, count)| count).sum::<u64>();
        self.last = head;
    }

    fn misfit(&self, previous: Head, head: Head) -> Option<String> {
        let expected = self.last.number + 1;
        if head.number != previous.number + 1 {
            return Some(format!(
                "the commit record says that it follows commit {}: it was altered",
                previous.number
            ));
        }
        if self.commits == 0 {
            if head.number > 1 && self.bounds.begin == 0 {
                let problem = "the first commit record is none of a first commit: those before it \
                               are missing";
                return Some(problem.to_owned());
            }
            let is_start = head.number > 1 || previous == Head::default();
            return (!is_start).then(|| {
                "the record of the first commit says that there was one before: it was altered"
                    .to_owned()
            });
        }
        if head == self.last || head.number < expected {
            return Some(format!(
                "a record of commit {} follows that of commit {}: it stands here twice, or not in \
                 its place",
                head.number, self.last.number
            ));
        }
        if head.number > expected {
            let missing = match head.number - expected {
                1 => format!("that of commit {expected} is missing"),
                _ => format!(
                    "those of commits {expected} to {} are missing",
                    head.number - 1
                ),
            };
            return Some(format!(
                "the record of commit {} follows that of commit {}: {missing}",
                head.number, self.last.number
            ));
        }
        (previous != self.last).then(|| {
            format!(
                "the commit record does not name the one before it, of commit {}: one of the two \
                 was altered",
                self.last.number
            )
        })
    }
}

/// How many records of the input at `index` of its positions a commit consumed.
pub(crate) fn count_of(consumed: &Consumed, index: u32) -> u64 {
    let runs = consumed.order.iter().filter(|(of, _)| *of == index);
    runs.map(|(_, count)| count).sum()
}

/// Reads a commit record.
pub(crate) fn decode(at: &TopicPartition, entry: &Entry) -> Result<CommitRecord, Box<Finding>> {
    let bytes = entry.value.as_deref().unwrap_or_default();
    let record = CommitRecord::decode(bytes).map_err(|corrupt| corrupt.to_string());
    let record = record.and_then(|record| {
        let inputs = record.consumed.positions.len() as u64;
        let is_sound = record
            .consumed
            .order
            .iter()
            .all(|(at, _)| u64::from(*at) < inputs);
        match is_sound {
            true => Ok(record),
            false => Err("it names an input that it has no position of".to_owned()),
        }
    });
    record.map_err(|problem| {
        let problem = format!("the commit record was altered: {problem}");
        Box::new(Finding::new(at, problem).offset(entry.offset))
    })
}
