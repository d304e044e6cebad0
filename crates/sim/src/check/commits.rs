//! I3, I7 and I8 commit by commit: what a commit record says was consumed, what the positions say, what
//! the bookkeeping counts, and what was written, are one.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::bookkeeping::{self, Bookkeeping, Counts};
use engine::chain::Head;
use engine::commit_record::CommitRecord;
use engine::port::{Table, TopicPartition};

use super::owners::is_owner;
use super::{Found, committed, place, violated, words};
use crate::cluster::partition::{Fate, Stored};
use crate::cluster::{Offset, Violation};
use crate::shop::{Shop, TASKS};
use crate::world::Ran;

/// What one transaction wrote for one task.
#[derive(Default)]
struct Work<'c> {
    commit: Option<&'c Stored>,
    book: Option<&'c Stored>,
    outputs: u64,
    dead_letters: u64,
}

/// By task and transaction.
type Works<'c> = BTreeMap<(u32, u64), Work<'c>>;

pub(super) fn whole(ran: &Ran, shop: &Arc<Shop>) -> Found {
    let topics = &shop.setup.topics;
    let works = collect(ran, shop)?;
    for ((task, transaction), work) in &works {
        if work.commit.is_none() {
            let what = format!(
                "transaction {transaction} wrote for task {task} and has no commit record of it"
            );
            return violated("I3", what);
        }
    }
    for task in 0..TASKS {
        let commits = place(&topics.commits, task);
        let mut consumed: BTreeMap<TopicPartition, u64> = BTreeMap::new();
        let mut before = Bookkeeping::default();
        let mut chain = Head::default();
        for record in committed(&ran.cluster, &commits) {
            let transaction = record.writer.map_or(0, |w| w.transaction);
            let Some(work) = works.get(&(task, transaction)) else {
                continue;
            };
            let commit = commit_of(record, &commits)?;
            let book = book_of(work, record, &commits)?;
            if (commit.previous, commit.head) != (chain, book.chain) {
                let what = format!(
                    "a commit goes from {} to {}, after one to {chain}, and its changelog says {}: {}",
                    commit.previous,
                    commit.head,
                    book.chain,
                    words(&commits, record)
                );
                return violated("I3", what);
            }
            chain = commit.head;
            let spans = spans(ran, record, &commits, commit, &mut consumed)?;
            let delta = book.counts.since(&before.counts);
            counted(&delta, spans, work, record, &commits)?;
            if book.clock.stream_time < before.clock.stream_time {
                let what = format!(
                    "stream time of task {task} went from {} back to {}: {}",
                    before.clock.stream_time,
                    book.clock.stream_time,
                    words(&commits, record)
                );
                return violated("I8", what);
            }
            before = book;
        }
    }
    Ok(())
}

/// What each transaction wrote for each task, except for who only claimed it.
fn collect<'c>(ran: &'c Ran, shop: &Arc<Shop>) -> Result<Works<'c>, Violation> {
    let topics = &shop.setup.topics;
    let mut works = Works::new();
    for task in 0..TASKS {
        let mut each = |topic: &Arc<str>, take: &mut dyn FnMut(&mut Work<'c>, &'c Stored)| {
            for record in committed(&ran.cluster, &place(topic, task)) {
                let transaction = record.writer.map_or(0, |w| w.transaction);
                if !is_owner(record.content.key.as_deref()) {
                    take(works.entry((task, transaction)).or_default(), record);
                }
            }
        };
        for topic in topics.outputs() {
            each(topic, &mut |work, _| work.outputs += 1);
        }
        each(&topics.dead_letters, &mut |work, _| work.dead_letters += 1);
        let mut twice = None;
        each(&topics.commits, &mut |work, record| {
            if work.commit.replace(record).is_some() {
                twice = Some(record);
            }
        });
        if let Some(record) = twice {
            let at = place(&topics.commits, task);
            let what = format!("a commit has two records of a task: {}", words(&at, record));
            return violated("I3", what);
        }
        let book = Table::Meta.full_key(bookkeeping::KEY);
        each(&topics.changelog, &mut |work, record| {
            if record.content.key.as_ref() == Some(&book) {
                work.book = Some(record);
            }
        });
    }
    Ok(works)
}

fn commit_of(record: &Stored, at: &TopicPartition) -> Result<CommitRecord, Violation> {
    let bytes = record.content.value.as_deref().unwrap_or_default();
    CommitRecord::decode(bytes)
        .or_else(|corrupt| violated("I3", format!("{corrupt}: {}", words(at, record))))
}

/// How many records a commit consumed, by its record; the same positions are committed with it.
fn spans(
    ran: &Ran,
    record: &Stored,
    at: &TopicPartition,
    commit: CommitRecord,
    consumed: &mut BTreeMap<TopicPartition, u64>,
) -> Result<u64, Violation> {
    let number = record.writer.map_or(0, |w| w.transaction as usize);
    let offsets = number.checked_sub(1);
    let offsets = offsets.and_then(|at| ran.cluster.transactions().get(at));
    let offsets: BTreeMap<&TopicPartition, Offset> = offsets
        .into_iter()
        .flat_map(|transaction| &transaction.offsets)
        .map(|(at, next)| (ran.cluster.place(*at), next.clone()))
        .collect();
    let of_task = offsets
        .iter()
        .filter(|(input, _)| input.partition == at.partition);
    let beside = of_task.filter_map(|(_, offset)| offset.beside.as_ref()?.head);
    let beside: Vec<Head> = beside.collect();
    if beside != [commit.head] {
        let what = format!(
            "a commit's head is {}, and beside its positions stands {beside:?}: {}",
            commit.head,
            words(at, record)
        );
        return violated("I3", what);
    }
    let mut records = 0;
    for (input, next) in commit.consumed.positions {
        let committed = offsets.get(&input);
        // A position may be behind markers where no record follows.
        let is_same =
            committed.is_some_and(|c| c.next >= next && visible(ran, &input, next, c.next) == 0);
        if !is_same {
            let what = format!(
                "by its record a commit goes to {next} of {} {}, by its positions to {committed:?}: {}",
                input.topic,
                input.partition,
                words(at, record)
            );
            return violated("I3", what);
        }
        let from = consumed.insert(input.clone(), next).unwrap_or(0);
        if from > next {
            let what = format!(
                "a commit goes back from {from} to {next} of {} {}: {}",
                input.topic,
                input.partition,
                words(at, record)
            );
            return violated("I8", what);
        }
        records += visible(ran, &input, from, next);
    }
    Ok(records)
}

/// Records of a span that a reader of committed records gets.
fn visible(ran: &Ran, at: &TopicPartition, from: u64, until: u64) -> u64 {
    let records = ran.cluster.partition(at).map_or(&[][..], |p| p.history());
    let until = (until as usize).min(records.len());
    let span = &records[(from as usize).min(until)..until];
    span.iter().filter(|r| r.fate == Fate::Committed).count() as u64
}

fn book_of(
    work: &Work<'_>,
    record: &Stored,
    at: &TopicPartition,
) -> Result<Bookkeeping, Violation> {
    let Some(book) = work.book else {
        let what = format!(
            "a commit has no bookkeeping in the changelog: {}",
            words(at, record)
        );
        return violated("I3", what);
    };
    let bytes = book.content.value.as_deref().unwrap_or_default();
    Bookkeeping::decode(bytes)
        .or_else(|corrupt| violated("I3", format!("{corrupt}: {}", words(at, record))))
}

/// What a commit counts is what it consumed and wrote.
fn counted(
    delta: &Counts,
    spans: u64,
    work: &Work<'_>,
    record: &Stored,
    at: &TopicPartition,
) -> Found {
    let pairs = [
        ("I7", "records", delta.consumed(), spans),
        ("I3", "outputs", delta.outputs, work.outputs),
        ("I7", "dead letters", delta.dead_lettered, work.dead_letters),
    ];
    for (invariant, what, counted, found) in pairs {
        if counted != found {
            let what = format!(
                "a commit counts {counted} {what}, and there are {found}: {}",
                words(at, record)
            );
            return violated(invariant, what);
        }
    }
    Ok(())
}
