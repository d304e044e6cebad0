//! The inputs of a task during a replay, each read on from what the commit before has consumed.
//!
//! Invariant: what a commit consumed of an input are all records from where the commit before ended to its
//! position, as many as it says, and the last of them stands right before that.

use std::collections::btree_map::{BTreeMap, Entry as Known};
use std::vec::IntoIter;

use engine::commit_record::CommitRecord;
use engine::port::TopicPartition;

use crate::chain::count_of;
use crate::cursor::Cursor;
use crate::history::{Entry, History};
use crate::report::Finding;

/// What a commit consumed of each input, in its order.
pub(super) type Taken = BTreeMap<TopicPartition, IntoIter<Entry>>;

/// One input.
struct Lane {
    cursor: Cursor,
    /// Nothing before this offset is to be consumed.
    next: u64,
}

/// All inputs that have been consumed from, or looked at.
#[derive(Default)]
pub(super) struct Lanes(BTreeMap<TopicPartition, Lane>);

impl Lanes {
    fn at<H: History>(
        &mut self,
        history: &mut H,
        input: &TopicPartition,
    ) -> Result<&mut Lane, H::Error> {
        Ok(match self.0.entry(input.clone()) {
            Known::Occupied(lane) => lane.into_mut(),
            Known::Vacant(new) => {
                let cursor = Cursor::open(history, input.clone())?;
                let next = cursor.bounds.begin;
                new.insert(Lane { cursor, next })
            }
        })
    }

    /// Where an input is read on.
    pub(super) fn next(&self, input: &TopicPartition) -> u64 {
        self.0.get(input).map_or(0, |lane| lane.next)
    }

    /// The next record of an input, which stays where it is.
    pub(super) fn peek<H: History>(
        &mut self,
        history: &mut H,
        input: &TopicPartition,
    ) -> Result<Option<Entry>, H::Error> {
        let lane = self.at(history, input)?;
        Ok(lane.cursor.peek(history)?.cloned())
    }

    /// Takes the records that a commit consumed. Its record stands at `offset` of `commits`.
    pub(super) fn take<H: History>(
        &mut self,
        history: &mut H,
        commits: &TopicPartition,
        offset: u64,
        record: &CommitRecord,
    ) -> Result<Result<Taken, Box<Finding>>, H::Error> {
        let consumed = &record.consumed;
        let mut taken = Taken::new();
        for (index, (input, position)) in (0_u32..).zip(&consumed.positions) {
            let lane = self.at(history, input)?;
            let from = lane.next;
            let mut records = Vec::new();
            while let Some(entry) = lane.cursor.pop_before(history, *position)? {
                records.push(entry);
            }
            lane.next = from.max(*position);
            if let Some(problem) = misfit(&records, count_of(consumed, index), *position) {
                let problem = format!(
                    "{problem}; or the commit record was altered: {} partition {} offset {offset}",
                    commits.topic, commits.partition
                );
                let finding = Finding::new(input, problem).offset(from).until(*position);
                return Ok(Err(Box::new(finding.commit(record.head.number))));
            }
            taken.insert(input.clone(), records.into_iter());
        }
        Ok(Ok(taken))
    }
}

/// Why `records` are not the `count` up to `position` that the commit consumed, if they are not.
fn misfit(records: &[Entry], count: u64, position: u64) -> Option<String> {
    let found = records.len() as u64;
    if found != count {
        let what = match (found < count, found.abs_diff(count)) {
            (true, 1) => "one is missing",
            (true, _) => "some are missing",
            (false, 1) => "one is too many",
            (false, _) => "some are too many",
        };
        return Some(format!(
            "the commit consumed {count} records of it up to offset {position}, and {found} are \
             there: {what}"
        ));
    }
    let last = records.last().map(|last| last.offset + 1);
    (last != Some(position)).then(|| {
        format!(
            "the last record that the commit consumed of it should stand at offset {}",
            position - 1
        )
    })
}
