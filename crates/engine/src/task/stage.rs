//! What a task has to say: outputs, dead letters and routed records collected while it consumes,
//! and all of it as one [`Staged`] with the state writes and the positions.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::change::Change;
use domain::event::Text;
use domain::orders::DayTotals;
use domain::prediction::ModelParameters;
use domain::time::TimeMs;
use wire::routed::Routed;
use wire::state::{day_key, encode_day, encode_model, model_key};
use wire::{Envelope, OutputTopic, Rejection, dead_letter_headers, partition_of};

use super::Task;
use crate::bookkeeping;
use crate::commit_record::{CommitRecord, Consumed};
use crate::port::{OutRecord, Record, Staged, Table, TopicName, TopicPartition, Write};

/// A task tells the others of every such part of the grace that it has come further: more often would
/// help nobody, and with many tasks there are many to tell.
const CLOCK_STEPS: i64 = 8;

/// What has been consumed and has to be said since the last commit.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<OutRecord>,
    pub(super) timers: BTreeMap<Vec<u8>, bool>,
    /// By lane.
    positions: BTreeMap<usize, u64>,
    /// Lanes in the order of consumption, and how many records of each.
    order: Vec<(usize, u64)>,
    /// Lanes and offsets of records that went to the dead letters unseen.
    quarantined: Vec<(usize, u64)>,
    pub(super) changes: Vec<Change>,
    /// Models of value that have come into force, or are done with.
    pub(super) models: BTreeMap<u32, Option<ModelParameters>>,
}

impl Batch {
    /// The record of `lane` at `offset` is consumed.
    pub(super) fn consumed(&mut self, lane: usize, offset: u64) {
        self.positions.insert(lane, offset + 1);
        match self.order.last_mut() {
            Some((last, count)) if *last == lane => *count += 1,
            _ => self.order.push((lane, 1)),
        }
    }

    /// The record of `lane` at `offset`, just consumed, was not looked at.
    pub(super) fn quarantined(&mut self, lane: usize, offset: u64) {
        self.quarantined.push((lane, offset));
    }
}

impl Task {
    /// Sends an event on to its owner.
    pub(super) fn forward(&mut self, partition: u32, key: &Text, value: Vec<u8>) {
        self.batch.records.push(OutRecord {
            target: self.target(&self.setup.topics.routed, partition),
            key: Some(key.as_bytes().to_vec()),
            value: Some(value),
            headers: Vec::new(),
        });
    }

    /// Numbers what changed about a profile and writes it to its topics; `changes` is empty then.
    pub(super) fn tell(&mut self, key: &Text, changes: &mut Vec<Change>) {
        let Some(profile) = self.profiles.get_mut(key) else {
            return;
        };
        let partition = match self.setup.outputs == self.setup.tasks {
            true => self.id,
            false => partition_of(key.as_bytes(), self.setup.outputs),
        };
        for change in changes.iter_mut() {
            let sequence = profile.number(change);
            let envelope = Envelope {
                customer: key,
                sequence,
                incarnation: 0,
                application: &self.setup.application,
                currency: self.setup.definitions.currency,
            };
            let (topic, value, headers) = self.setup.encoder.encode(&envelope, change);
            let topics = &self.setup.topics;
            let name = match topic {
                OutputTopic::ClvUpdates => &topics.clv_updates,
                OutputTopic::LifecycleTransitions => &topics.lifecycle_transitions,
                OutputTopic::SegmentChanges => &topics.segment_changes,
            };
            self.book.counts.outputs += 1;
            self.batch.records.push(OutRecord {
                target: TopicPartition {
                    topic: Arc::clone(name),
                    partition,
                },
                key: Some(key.as_bytes().to_vec()),
                value: Some(value),
                headers,
            });
        }
        changes.clear();
    }

    /// Passes a record that cannot be used on, with the reason.
    pub(super) fn dead_letter(&mut self, rejection: &Rejection, record: Record) {
        self.book.counts.dead_lettered += 1;
        let headers = dead_letter_headers(
            &record.source.topic,
            record.source.partition,
            record.offset,
            rejection,
        );
        self.batch.records.push(OutRecord {
            target: self.target(
                &self.setup.topics.dead_letters,
                self.id % self.setup.outputs.max(1),
            ),
            key: record.key,
            value: record.value,
            headers,
        });
    }

    fn target(&self, topic: &TopicName, partition: u32) -> TopicPartition {
        TopicPartition {
            topic: Arc::clone(topic),
            partition,
        }
    }

    /// Everything since the last commit, as one whole; `None` when nothing was consumed and no
    /// timer fired.
    pub fn stage(&mut self) -> Option<Staged> {
        if self.batch.order.is_empty() && self.batch.timers.is_empty() {
            return None;
        }
        self.tell_clock();
        let mut batch = std::mem::take(&mut self.batch);
        let mut delta = self.delta(&batch);
        for write in delta.iter().filter(|w| w.table.is_logged()) {
            batch.records.push(self.changelog(write));
        }
        let consumed = self.consumed(&batch);
        let previous = self.book.chain;
        let head = previous.after(&consumed.body(), batch.records.iter());
        self.book.chain = head;
        let book = Write {
            table: Table::Meta,
            key: bookkeeping::KEY.to_vec(),
            value: Some(Arc::from(self.book.encode().as_slice())),
        };
        batch.records.push(self.changelog(&book));
        delta.push(book);
        let positions = consumed.positions.clone();
        let commit = CommitRecord {
            previous,
            head,
            consumed,
        };
        batch.records.push(OutRecord {
            target: self.target(&self.setup.topics.commits, self.id),
            key: None,
            value: Some(commit.encode()),
            headers: Vec::new(),
        });
        Some(Staged {
            task: self.id,
            records: batch.records,
            delta,
            positions,
            head,
        })
    }

    fn changelog(&self, write: &Write) -> OutRecord {
        OutRecord {
            target: self.target(&self.setup.topics.changelog, self.id),
            key: Some(write.table.full_key(&write.key)),
            value: write.value.as_ref().map(|v| v.to_vec()),
            headers: Vec::new(),
        }
    }

    fn consumed(&self, batch: &Batch) -> Consumed {
        let lanes: Vec<usize> = batch.positions.keys().copied().collect();
        let place = |lane: &usize| lanes.iter().position(|l| l == lane).unwrap_or_default();
        let position = |(lane, next): (&usize, &u64)| (self.inbox.source(*lane).clone(), *next);
        let run = |(lane, count): &(usize, u64)| (place(lane) as u32, *count);
        Consumed {
            positions: batch.positions.iter().map(position).collect(),
            order: batch.order.iter().map(run).collect(),
            quarantined: batch
                .quarantined
                .iter()
                .map(|(lane, offset)| (place(lane) as u32, *offset))
                .collect(),
            peeked: self.next_lane.map(|lane| self.inbox.source(lane).clone()),
        }
    }

    /// Tells the other tasks how far this one has come, where that is noticeably further than they know:
    /// their clocks wait for it.
    fn tell_clock(&mut self) {
        let time = self.book.clock.input_time;
        let step = self.setup.definitions.grace_ms / CLOCK_STEPS;
        let mut fed = std::mem::take(&mut self.book.fed);
        for (partition, told) in &mut fed {
            let is_news = *told == TimeMs::MIN || time.since(*told) >= step;
            if *told < time && is_news {
                *told = time;
                self.say_clock(*partition, time);
            }
        }
        self.book.fed = fed;
    }

    /// Tells another task where this one is.
    pub(super) fn say_clock(&mut self, partition: u32, upstream_time: TimeMs) {
        let clock = Routed::Clock {
            from: self.id,
            upstream_time,
        };
        self.batch.records.push(OutRecord {
            target: self.target(&self.setup.topics.routed, partition),
            key: None,
            value: Some(clock.encode()),
            headers: Vec::new(),
        });
    }

    /// The state writes of a batch, sorted by table and key, but for the bookkeeping, which comes last.
    fn delta(&mut self, batch: &Batch) -> Vec<Write> {
        let mut delta = self.profiles.take_writes();
        delta.reserve(batch.timers.len() + 8);
        for (key, armed) in &batch.timers {
            delta.push(Write {
                table: Table::Timers,
                key: key.clone(),
                value: armed.then(|| Arc::from([].as_slice())),
            });
        }
        for (day, totals) in std::mem::take(&mut self.days) {
            // A day on which nothing is left (the one fact of it turned out to be of another day) is
            // no day of the shop.
            let is_day = totals != DayTotals::default();
            delta.push(Write {
                table: Table::Days,
                key: day_key(day).to_vec(),
                value: is_day.then(|| Arc::from(encode_day(&totals).as_slice())),
            });
        }
        delta.extend(self.cells.take_writes());
        for (version, model) in &batch.models {
            delta.push(Write {
                table: Table::Models,
                key: model_key(*version).to_vec(),
                value: model.as_ref().map(|model| Arc::from(encode_model(model))),
            });
        }
        delta
    }
}
