//! One worker: its tasks, one log, and the journey of a record from one to the other.
//!
//! The shell around it (threads, waiting, metrics, when to commit) belongs to the binary. Here is
//! the order of things: read → decode → prefetch → apply → stage → commit → store. Only what the
//! log has committed reaches a store.
//!
//! After deaths a worker is careful ([`Worker::be_careful`]): it takes one record at a time, and tells the
//! log which one before it looks at it.

use std::collections::BTreeSet;

use domain::time::TimeMs;
use wire::routed::Routed;
use wire::{Decoded, InputRecord, Inputs, Rejection};

use crate::bookkeeping::Counts;
use crate::inbox::{Input, Waiting};
use crate::port::{
    CommitError, LogError, Read, Record, StateError, StateStore, TopicName, WorkerLog,
};
use crate::task::{Ready, Step, Task};
use crate::trial::Place;

/// How many records are read from one partition at a time.
const READ: usize = 1024;
/// For how many records a worker is careful: a process that died without a commit had not come much
/// further.
const CAREFUL_FOR: u32 = 1_000;

/// A task and its state.
#[derive(Debug)]
pub struct Owned<S> {
    /// The task.
    pub task: Task,
    /// Its state.
    pub store: S,
}

/// A worker.
#[derive(Debug)]
pub struct Worker<S> {
    owned: Vec<Owned<S>>,
    decoder: Decoder,
    /// Tasks that it has not begun to work on.
    fresh: Vec<u32>,
    /// For how many more records it is careful.
    careful: u32,
    /// The task whose turn it is then, among those that it has.
    turn: usize,
}

/// What makes records of bytes.
#[derive(Debug)]
struct Decoder {
    inputs: Inputs,
    routed: TopicName,
    /// Records that it does not look at.
    quarantined: BTreeSet<Place>,
}

/// Why a worker cannot go on as it is.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The commit did not succeed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// What one call of [`Worker::process`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Processed {
    /// Records consumed and timers fired.
    pub steps: usize,
    /// Whether every input has been read to its end.
    pub drained: bool,
    /// Whether nothing more can be done before the log has more to read.
    pub starved: bool,
}

impl<S: StateStore> Worker<S> {
    /// A worker over `owned`, whose inputs `inputs` decodes: a decoder alone where no topic is
    /// mapped. `routed` is the name of `internal.routed`.
    #[must_use]
    pub fn new(owned: Vec<Owned<S>>, inputs: impl Into<Inputs>, routed: TopicName) -> Worker<S> {
        Worker {
            owned,
            decoder: Decoder {
                inputs: inputs.into(),
                routed,
                quarantined: BTreeSet::new(),
            },
            fresh: Vec::new(),
            careful: 0,
            turn: 0,
        }
    }

    /// From now on it takes one record at a time, until it has passed as many as a process may have had
    /// before it that committed nothing. `quarantined` it does not look at.
    pub fn be_careful<'p>(&mut self, quarantined: impl Iterator<Item = &'p Place>) {
        self.careful = CAREFUL_FOR;
        self.decoder.quarantined.extend(quarantined.cloned());
    }

    /// Whether each record is to be committed before the next one is taken.
    #[must_use]
    pub fn is_careful(&self) -> bool {
        self.careful > 0
    }

    /// Its tasks and their state.
    pub fn owned(&mut self) -> &mut [Owned<S>] {
        &mut self.owned
    }

    /// Takes a task on.
    pub fn adopt(&mut self, owned: Owned<S>) {
        self.fresh.push(owned.task.id());
        self.owned.push(owned);
        self.owned.sort_by_key(|owned| owned.task.id());
    }

    /// Gives tasks up: those for which `gives_up` answers true. What they have not committed is
    /// dropped.
    pub fn release(&mut self, gives_up: impl Fn(u32) -> bool) -> Vec<Owned<S>> {
        let owned = std::mem::take(&mut self.owned);
        let (released, kept) = owned.into_iter().partition(|o| gives_up(o.task.id()));
        self.owned = kept;
        self.fresh.retain(|task| !gives_up(*task));
        released
    }

    /// Takes up to `budget` steps of each task: consumes records, oldest first, and fires timers.
    /// Nothing of it is visible before [`Worker::commit`].
    ///
    /// # Errors
    /// The log or the state cannot be read.
    pub fn process(
        &mut self,
        log: &mut dyn WorkerLog,
        budget: usize,
    ) -> Result<Processed, WorkerError> {
        if !self.fresh.is_empty() {
            log.trying(&self.fresh, None)?;
            self.fresh.clear();
        }
        if self.is_careful() {
            return self.process_carefully(log, budget);
        }
        let mut done = Processed {
            steps: 0,
            drained: true,
            starved: true,
        };
        for Owned { task, store } in &mut self.owned {
            task.inbox().look_again();
            let mut left = budget;
            loop {
                // Reading is no step: with many inputs and a small budget there would be nothing
                // left for their records.
                if left == 0 {
                    done.drained = false;
                    done.starved = false;
                    break;
                }
                let stepped = task.step(store);
                match condemning(store, stepped)? {
                    Step::Advanced => {
                        left -= 1;
                        done.steps += 1;
                    }
                    Step::Drained => break,
                    Step::Unread(lane) => {
                        let Some(records) = read(task, lane, log, READ)? else {
                            done.drained = false;
                            break;
                        };
                        put(task, store, lane, records, &self.decoder)?;
                    }
                }
            }
        }
        Ok(done)
    }

    /// One record of one task, the tasks in turn, or up to `budget` timers. The log is told of a record
    /// before it is decoded and before it is consumed, and of none before timers fire: what kills
    /// then is none.
    fn process_carefully(
        &mut self,
        log: &mut dyn WorkerLog,
        budget: usize,
    ) -> Result<Processed, WorkerError> {
        let mut done = Processed {
            steps: 0,
            drained: true,
            starved: true,
        };
        let tasks = self.owned.len();
        for at in (0..tasks).map(|n| (self.turn + n) % tasks) {
            let Owned { task, store } = &mut self.owned[at];
            task.inbox().look_again();
            let mut steps = 0;
            while steps < budget {
                let ready = task.ready(store);
                match condemning(store, ready)? {
                    Ready::Due => {
                        if steps == 0 {
                            log.trying(&[task.id()], None)?;
                        }
                        let fired = task.fire(store);
                        condemning(store, fired)?;
                        steps += 1;
                    }
                    // With timers that have fired nothing can be told: they are committed first.
                    Ready::Record(..) | Ready::Unread(_) if steps > 0 => break,
                    Ready::Record(lane, offset) => {
                        let place = place(task, lane, offset);
                        log.trying(&[task.id()], Some(&place))?;
                        let consumed = task.consume_next(lane, store);
                        condemning(store, consumed)?;
                        self.careful = self.careful.saturating_sub(1);
                        steps = 1;
                        break;
                    }
                    Ready::Drained => break,
                    Ready::Unread(lane) => {
                        let Some(records) = read(task, lane, log, 1)? else {
                            done.drained = false;
                            log.trying(&[task.id()], None)?;
                            break;
                        };
                        if let Some(record) = records.first() {
                            let place = place(task, lane, record.offset);
                            log.trying(&[task.id()], Some(&place))?;
                        }
                        put(task, store, lane, records, &self.decoder)?;
                    }
                }
            }
            if steps > 0 {
                self.turn = at + 1;
                return Ok(Processed {
                    steps,
                    drained: false,
                    starved: false,
                });
            }
        }
        Ok(done)
    }

    /// Commits everything consumed since the last commit, of all tasks at once, and applies it to
    /// their stores.
    ///
    /// # Errors
    /// After [`CommitError::Abort`] everything stands as at the last commit, and work goes on by
    /// calling [`Worker::process`] again. After any other error the worker is to be dropped.
    pub fn commit(&mut self, log: &mut dyn WorkerLog) -> Result<(), WorkerError> {
        let staged: Vec<_> = self
            .owned
            .iter_mut()
            .filter_map(|o| o.task.stage())
            .collect();
        if staged.is_empty() {
            return Ok(());
        }
        let committed = match log.commit(staged) {
            Ok(committed) => committed,
            Err(error) => {
                self.reset()?;
                return Err(error.into());
            }
        };
        for committed in committed {
            let owner = self
                .owned
                .iter_mut()
                .find(|o| o.task.id() == committed.task);
            if let Some(Owned { task, store }) = owner {
                store.apply(committed)?;
                task.committed();
            }
        }
        Ok(())
    }

    /// Drops everything that is not committed: reading stands at the committed positions again.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn reset(&mut self) -> Result<(), WorkerError> {
        for Owned { task, store } in &mut self.owned {
            let read = task.reset(store);
            condemning(store, read)?;
        }
        Ok(())
    }

    /// What became of all records so far, over its tasks.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for owned in &self.owned {
            sum.add(owned.task.counts());
        }
        sum
    }
}

/// Sees to it that a store which turned out to be damaged is not opened again.
pub(crate) fn condemning<T>(
    store: &mut impl StateStore,
    read: Result<T, StateError>,
) -> Result<T, StateError> {
    if let Err(StateError::Damaged(what)) = &read {
        store.condemn(what);
    }
    read
}

fn place(task: &mut Task, lane: usize, offset: u64) -> Place {
    Place {
        at: task.inbox().source(lane).clone(),
        offset,
    }
}

/// Up to `max` records for `lane`, none where it has come to its end; `None` as long as that has to be waited for.
fn read(
    task: &mut Task,
    lane: usize,
    log: &mut dyn WorkerLog,
    max: usize,
) -> Result<Option<Vec<Record>>, LogError> {
    Ok(match log.read(task.inbox().source(lane), max)? {
        Read::Records(records) => Some(records),
        Read::CaughtUp => Some(Vec::new()),
        Read::NotYet => None,
    })
}

/// Puts what was read for `lane` into the task's inbox, and its profiles into memory.
fn put(
    task: &mut Task,
    store: &mut impl StateStore,
    lane: usize,
    records: Vec<Record>,
    decoder: &Decoder,
) -> Result<(), WorkerError> {
    let mut waiting = Vec::with_capacity(records.len());
    for record in records {
        waiting.push(decode(decoder, record)?);
    }
    task.inbox().put(lane, waiting.into_iter());
    let fetched = task.prefetch(lane, store);
    condemning(store, fetched)?;
    Ok(())
}

fn decode(decoder: &Decoder, record: Record) -> Result<Waiting, LogError> {
    let offset = record.offset;
    if !decoder.quarantined.is_empty() {
        let place = Place {
            at: record.source.clone(),
            offset,
        };
        if decoder.quarantined.contains(&place) {
            let rejection = Rejection::quarantined();
            return Ok(Waiting {
                offset,
                time: TimeMs::MIN,
                owner: None,
                input: Input::Rejected(Box::new((rejection, record))),
            });
        }
    }
    if record.source.topic == decoder.routed {
        let bytes = record.value.as_deref().unwrap_or_default();
        let routed = Routed::decode(bytes).map_err(|corrupt| {
            LogError(format!(
                "{corrupt} at offset {offset} of {} partition {}; was it written by something else?",
                record.source.topic, record.source.partition
            ))
        })?;
        return Ok(Waiting {
            offset,
            time: routed_time(&routed),
            owner: match &routed {
                Routed::Event { event, .. } => event.owner().map(|owner| owner.key()),
                _ => None,
            },
            input: Input::Routed(routed),
        });
    }
    let decoded = decoder.inputs.decode(&InputRecord {
        topic: &record.source.topic,
        partition: record.source.partition,
        offset,
        timestamp: record.timestamp,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
    });
    let with_record = |rejection: Rejection| Box::new((rejection, record));
    let (time, owner, input) = match decoded {
        Decoded::Event(event) => (
            event.time,
            event.owner().map(|owner| owner.key()),
            Input::Event(event),
        ),
        Decoded::Several(events, rejection) => (
            events.first().map_or(TimeMs::MIN, |oldest| oldest.time),
            None,
            Input::Several(events, rejection.map(with_record)),
        ),
        Decoded::Rejected(rejection) => {
            (TimeMs::MIN, None, Input::Rejected(with_record(rejection)))
        }
        Decoded::Ignored => (TimeMs::MIN, None, Input::Ignored),
    };
    Ok(Waiting {
        offset,
        time,
        owner,
        input,
    })
}

/// Where a routed record stands among events: a control record comes after those of its instant.
fn routed_time(routed: &Routed) -> TimeMs {
    match routed {
        Routed::Event { event, .. } => event.time,
        Routed::Clock { upstream_time, .. } => *upstream_time,
        Routed::Tick { now } => *now,
        Routed::EndOfReplay { until } => *until,
        // At once: its place is among what has not come.
        Routed::Idle
        | Routed::Alone
        | Routed::Silent { .. }
        | Routed::Model(_)
        | Routed::Rescore { .. } => TimeMs::MIN,
    }
}
