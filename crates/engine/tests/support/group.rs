//! A group in memory: it says what a test tells it to say, refuses claims on demand, and hands over
//! changelogs as slowly as a test wants. And a process with a disk, where stores come from.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use domain::time::TimeMs;
use engine::group::{
    Change, ChangelogReader, ChangelogRecord, ClaimError, Claimed, MemberLog, Passing,
    RestorableStore, Span, Stores,
};
use engine::port::{
    CommitError, Committed, Entry, LogError, Read, Staged, StateError, StateReader, StateStore,
    Table, TopicName, TopicPartition, WorkerLog,
};

use engine::trial::Place;

use super::map_store::MapStore;
use super::memory_log::{MemoryLog, Stored};

/// Key of an owner record in its table.
pub(crate) const OWNER: &[u8] = b"owner";

/// What is wrong with the group, if anything is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Trouble {
    pub(crate) is_passing: bool,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("injected")
    }
}

impl Passing for Trouble {
    fn is_passing(&self) -> bool {
        self.is_passing
    }
}

/// What a claim comes to, other than success.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    NotNow,
    Failed(Trouble),
}

/// The log as a member sees it.
pub(crate) struct GroupLog {
    pub(crate) log: MemoryLog,
    changelog: TopicName,
    changes: VecDeque<Result<Change, Trouble>>,
    refusals: VecDeque<Refusal>,
    /// Changelog records that a reader hands over at a time.
    pub(crate) pace: usize,
    /// The record at which the process dies, which shows as an error here.
    pub(crate) deadly: Option<Place>,
    /// How often it died.
    deaths: usize,
    /// How often the group was served.
    pub(crate) polls: usize,
    /// Somebody else has claimed the tasks since, and written to them, and compaction has taken away
    /// what of their own tables is superseded.
    pub(crate) is_superseded: bool,
    /// What reading may be asked for.
    readable: BTreeSet<TopicPartition>,
}

impl GroupLog {
    pub(crate) fn new(log: MemoryLog, changelog: TopicName) -> GroupLog {
        GroupLog {
            log,
            changelog,
            changes: VecDeque::new(),
            refusals: VecDeque::new(),
            pace: usize::MAX,
            deadly: None,
            deaths: 0,
            polls: 0,
            is_superseded: false,
            readable: BTreeSet::new(),
        }
    }

    /// The next look after the group tells of this.
    pub(crate) fn tell(&mut self, change: Change) {
        self.changes.push_back(Ok(change));
    }

    /// The next look after the group fails.
    pub(crate) fn fail(&mut self, trouble: Trouble) {
        self.changes.push_back(Err(trouble));
    }

    /// The next claim is refused.
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        self.refusals.push_back(refusal);
    }

    /// Claims succeed again.
    pub(crate) fn forget_refusals(&mut self) {
        self.refusals.clear();
    }

    /// A process dies, and what it was reading is forgotten with it.
    pub(crate) fn crash(&mut self) {
        self.deaths += 1;
        self.log.process = format!("process {}", self.deaths);
        self.log.rewind();
        self.log.forget_faults();
        self.changes.clear();
        self.readable.clear();
    }

    pub(crate) fn changelog_of(&self, task: u32) -> TopicPartition {
        TopicPartition {
            topic: self.changelog.clone(),
            partition: task,
        }
    }

    /// Owner records of a task.
    pub(crate) fn claims_of(&self, task: u32) -> usize {
        let owner = Table::Meta.full_key(OWNER);
        let records = self.log.records(&self.changelog_of(task)).iter();
        records
            .filter(|r| r.key.as_deref() == Some(&owner[..]))
            .count()
    }
}

impl WorkerLog for GroupLog {
    fn read(&mut self, source: &TopicPartition, max: usize) -> Result<Read, LogError> {
        assert!(
            self.readable.contains(source),
            "{source:?} is read and not claimed"
        );
        self.log.read(source, max)
    }

    fn commit(&mut self, staged: Vec<Staged>) -> Result<Vec<Committed>, CommitError> {
        self.log.commit(staged)
    }

    fn trying(&mut self, tasks: &[u32], place: Option<&Place>) -> Result<(), CommitError> {
        self.log.trying(tasks, place)?;
        if place.is_some() && place == self.deadly.as_ref() && !self.log.is_quarantined(place) {
            return Err(CommitError::Halt("dead".to_owned()));
        }
        Ok(())
    }
}

impl MemberLog for GroupLog {
    type Error = Trouble;
    type Changelog = Tail;

    fn poll(&mut self) -> Result<Vec<Change>, Trouble> {
        self.polls += 1;
        let changes: Vec<Change> = self.changes.drain(..).collect::<Result<_, _>>()?;
        for change in &changes {
            if let Change::Revoked(tasks) | Change::Lost(tasks) = change {
                self.readable.retain(|at| !tasks.contains(&at.partition));
            }
        }
        Ok(changes)
    }

    fn claim(
        &mut self,
        tasks: &[(u32, Vec<TopicPartition>)],
    ) -> Result<Vec<Claimed>, ClaimError<Trouble>> {
        match self.refusals.pop_front() {
            Some(Refusal::NotNow) => return Err(ClaimError::NotNow("injected".to_owned())),
            Some(Refusal::Failed(trouble)) => return Err(ClaimError::Failed(trouble)),
            None => {}
        }
        let mut claimed = Vec::new();
        for (task, inputs) in tasks {
            let at = self.changelog_of(*task);
            let owner = Stored {
                timestamp: TimeMs(0),
                key: Some(Table::Meta.full_key(OWNER)),
                value: Some(b"member".to_vec()),
                headers: Vec::new(),
            };
            self.log.append(&at, owner);
            for input in inputs {
                self.log.read_from_committed(input);
                self.readable.insert(input.clone());
            }
            let changelog_end = self.log.records(&at).len() as u64;
            let by = self.log.process.clone();
            let beside = self.log.beside.entry(*task).or_default();
            *beside = beside.claimed(&by);
            claimed.push(Claimed {
                task: *task,
                changelog_end,
                beside: beside.clone(),
            });
        }
        Ok(claimed)
    }

    fn changelog(&mut self, spans: Vec<Span>) -> Result<Tail, Trouble> {
        let mut left = VecDeque::new();
        for span in spans {
            let records = self.log.records(&span.at).iter().zip(0..);
            for (record, offset) in records {
                let table = record.key.as_deref().and_then(Table::split);
                if self.is_superseded && table.is_some_and(|(table, _)| table == Table::Meta) {
                    continue;
                }
                if (span.from..span.until).contains(&offset) {
                    left.push_back((span.at.clone(), offset, record.clone()));
                }
            }
        }
        Ok(Tail {
            left,
            pace: self.pace,
        })
    }

    fn settle(&mut self) -> Result<(), CommitError> {
        self.log.commit(Vec::new()).map(|_| ())
    }
}

/// What is left of changelogs to be read.
pub(crate) struct Tail {
    left: VecDeque<(TopicPartition, u64, Stored)>,
    pace: usize,
}

impl ChangelogReader for Tail {
    type Error = Trouble;

    fn read<E: From<Trouble>>(
        &mut self,
        _: Duration,
        each: &mut dyn FnMut(ChangelogRecord<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        for _ in 0..self.pace {
            let Some((at, offset, record)) = self.left.pop_front() else {
                break;
            };
            each(ChangelogRecord {
                at: &at,
                offset,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
            })?;
        }
        Ok(self.left.is_empty())
    }
}

/// What survives the processes: the last checkpoint of every store.
pub(crate) type Disk = Rc<RefCell<BTreeMap<u32, MapStore>>>;

/// Where a process gets its stores from.
#[derive(Default)]
pub(crate) struct Process {
    disk: Disk,
    open: RefCell<BTreeSet<u32>>,
    /// How often a store was opened.
    pub(crate) opened: Cell<usize>,
}

impl Process {
    pub(crate) fn on(disk: &Disk) -> Process {
        Process {
            disk: Rc::clone(disk),
            ..Process::default()
        }
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Another worker of this process has the store of `task` open.
    pub(crate) fn hold(&self, task: u32) {
        assert!(self.open.borrow_mut().insert(task));
    }

    /// It has closed it.
    pub(crate) fn let_go(&self, task: u32) {
        assert!(self.open.borrow_mut().remove(&task));
    }

    pub(crate) fn open(&self) -> Vec<u32> {
        self.open.borrow().iter().copied().collect()
    }
}

impl Stores for Process {
    type Store = DiskStore;
    type Error = StateError;

    fn open(&self, task: u32) -> Result<Option<DiskStore>, StateError> {
        if !self.open.borrow_mut().insert(task) {
            return Ok(None);
        }
        self.opened.set(self.opened.get() + 1);
        let store = self.disk.borrow().get(&task).cloned().unwrap_or_default();
        Ok(Some(DiskStore {
            task,
            store,
            disk: Rc::clone(&self.disk),
        }))
    }

    fn close(&self, task: u32, store: DiskStore) -> Result<(), StateError> {
        assert_eq!(store.task, task);
        self.let_go(task);
        Ok(())
    }
}

/// A store of which the disk keeps the last checkpoint.
pub(crate) struct DiskStore {
    task: u32,
    pub(crate) store: MapStore,
    disk: Disk,
}

impl StateReader for DiskStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Arc<[u8]>>, StateError> {
        self.store.get(table, key)
    }

    fn multi_get(
        &self,
        table: Table,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Arc<[u8]>>>, StateError> {
        self.store.multi_get(table, keys)
    }

    fn scan(&self, table: Table, from: &[u8], limit: usize) -> Result<Vec<Entry>, StateError> {
        self.store.scan(table, from, limit)
    }
}

impl StateStore for DiskStore {
    fn apply(&mut self, committed: Committed) -> Result<(), StateError> {
        self.store.apply(committed)
    }

    /// As if it were marked, and removed by whoever opens it next.
    fn condemn(&mut self, _: &str) {
        self.disk.borrow_mut().remove(&self.task);
    }
}

impl RestorableStore for DiskStore {
    fn position(&self) -> u64 {
        self.store.tables().position()
    }

    fn restore(&mut self, offset: u64, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        self.store.restore(offset, key, value);
        Ok(())
    }

    fn mark_restored(&mut self, end: u64) -> Result<(), StateError> {
        assert_eq!(
            self.position(),
            end,
            "restored to another place than the end"
        );
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), StateError> {
        let kept = self.store.clone();
        self.disk.borrow_mut().insert(self.task, kept);
        Ok(())
    }
}
