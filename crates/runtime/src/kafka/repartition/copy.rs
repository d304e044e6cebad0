//! Writing what the old tasks have to where the new ones have it: profiles ahead, some at a time; and, with
//! the transaction that makes the new tasks begin, what is folded from all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::port::{OutRecord, StateReader, Table, TopicName, TopicPartition};
use engine::repartition::{self, Kept};
use engine::topics::Topics;
use failpoint::Point;
use kafkalog::HandOver;

use super::Progress;
use super::hands::Hands;
use super::written::{PLAN, Plan};
use crate::deployment::{IDENTITY, Identity};
use crate::error::RuntimeError;

/// How many entries one scan of a store yields.
const SCAN: usize = 4_096;
/// A transaction has about so many bytes, and stays far below the time that it may be open.
const BATCH_BYTES: usize = 8 << 20;

/// What was copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Copied {
    /// Profiles of all tasks.
    pub(super) profiles: u64,
}

impl Hands<'_> {
    /// Copies the profiles of the tasks that are not copied yet.
    pub(super) fn copy(
        &mut self,
        mut plan: Plan,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<Copied, RuntimeError> {
        let application = &self.deployment.config.application_id;
        let topics = Topics::of_generation(application, plan.generation);
        let mut copied = Copied { profiles: 0 };
        for task in 0..plan.from {
            let done = plan.copied.len() as u32;
            tell(Progress::Copying(done, plan.from, copied.profiles));
            let is_copied = plan.copied.contains(&task);
            let mut records = Vec::new();
            let mut bytes = 0;
            let mut from = Some(Vec::new());
            while let Some(key) = from.take() {
                self.look_after_group()?;
                let entries = self.scan(task, &key)?;
                if entries.len() == SCAN {
                    from = entries
                        .last()
                        .map(|(key, _)| [key, [0].as_slice()].concat());
                }
                copied.profiles += entries.len() as u64;
                if is_copied {
                    continue;
                }
                for (key, value) in entries {
                    bytes += key.len() + value.len();
                    records.push(profile(&topics.changelog, plan.to, &key, &value));
                }
                if bytes >= BATCH_BYTES && from.is_some() {
                    self.log.write_ahead(&records, None)?;
                    tell(Progress::Copying(done, plan.from, copied.profiles));
                    records.clear();
                    bytes = 0;
                }
            }
            if !is_copied {
                plan.copied.push(task);
                let mark = serde_json::to_vec(&plan).map_err(RuntimeError::Identity)?;
                self.log.write_ahead(&records, Some((PLAN, mark)))?;
                failpoint::reach(Point::Copying);
            }
        }
        Ok(copied)
    }

    fn scan(&mut self, task: u32, from: &[u8]) -> Result<Vec<engine::port::Entry>, RuntimeError> {
        let owned = self.member.owned().iter();
        let found = owned.into_iter().find(|owned| owned.task.id() == task);
        match found {
            Some(owned) => Ok(owned.store.scan(Table::Profiles, from, SCAN)?),
            None => Err(super::joined_by_others()),
        }
    }

    /// Makes the new tasks begin. Answers how many days they know.
    pub(super) fn hand_over(
        &mut self,
        inputs: &[(TopicName, u32)],
        topics: &Topics,
        identity: &Identity,
    ) -> Result<u64, RuntimeError> {
        self.look_after_group()?;
        let to = identity.partitions;
        let mut old_books = Vec::new();
        let mut old_kept = Vec::new();
        for owned in self.member.owned() {
            old_books.push(owned.task.bookkeeping().clone());
            old_kept.push(Kept::read(&owned.store)?);
        }
        let books = repartition::bookkeeping(&old_books, to, inputs);
        let kept = repartition::kept(&old_kept, to);
        let positions = self.positions(inputs)?;
        let mut records = Vec::new();
        let mut heads = BTreeMap::new();
        for ((task, book), kept) in (0..).zip(books).zip(&kept) {
            let own = positions.iter().filter(|(at, _)| at.partition % to == task);
            let begun = repartition::beginning(topics, task, book, kept, own.cloned().collect());
            records.extend(begun.records);
            let routed = TopicPartition {
                topic: Arc::clone(&topics.routed),
                partition: task,
            };
            heads.insert(routed, begun.head);
        }
        let identity_bytes = serde_json::to_vec(identity).map_err(RuntimeError::Identity)?;
        self.log.hand_over(&HandOver {
            records: &records,
            marks: &[(IDENTITY, Some(identity_bytes)), (PLAN, None)],
            generation: identity.generation,
            heads: &heads,
        })?;
        Ok(kept.iter().map(|kept| kept.days.len() as u64).sum())
    }

    /// Where the inputs have been consumed to, those that have.
    fn positions(
        &self,
        inputs: &[(TopicName, u32)],
    ) -> Result<Vec<(TopicPartition, u64)>, RuntimeError> {
        let all = inputs.iter().flat_map(|(topic, partitions)| {
            (0..*partitions).map(|partition| TopicPartition {
                topic: Arc::clone(topic),
                partition,
            })
        });
        let positions = self.cluster.positions(&all.collect::<Vec<_>>())?;
        let known = positions.into_iter();
        Ok(known
            .filter_map(|(at, position)| Some((at, position?)))
            .collect())
    }
}

fn profile(changelog: &TopicName, to: u32, key: &[u8], value: &[u8]) -> OutRecord {
    OutRecord {
        target: TopicPartition {
            topic: Arc::clone(changelog),
            partition: repartition::owner(key, to),
        },
        key: Some(Table::Profiles.full_key(key)),
        value: Some(value.to_vec()),
        headers: Vec::new(),
    }
}
