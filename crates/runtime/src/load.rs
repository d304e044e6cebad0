//! Loading: from foreign files, or any stream of events, into the input topics.
//!
//! Invariant: a load is exactly once. How far it has come is written to the log in the same atomic
//! append as the records, under the load's own name, so that a load that was killed goes on where
//! it stopped, and one that is done is not done again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use domain::event::Event;
use domain::time::TimeMs;
use engine::port::{OutRecord, TopicName, TopicPartition};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use source::{RowReader, SourceError};
use traffic::{Disorder, Timed};
use wire::mapping::Mapping;
use wire::routed::Routed;
use wire::{Encoder, Format, Rejection, dead_letter_headers, partition_of};

use crate::control::controls;
use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::log;
use crate::workers::{Shared, wall_clock};

/// Items of one append.
const BATCH: usize = 5_000;
/// How often it is looked whether everything is consumed.
const LOOK: Duration = Duration::from_millis(200);

/// What is to be loaded, one after the other.
#[derive(Clone, PartialEq, Debug)]
pub enum Item {
    /// An event for an input topic, without the application's prefix.
    Event(Arc<str>, Box<Event>),
    /// A row that is no event: for the dead letters.
    Rejected {
        /// The file.
        file: String,
        /// The row's number, from 1.
        row: u64,
        /// Its bytes.
        raw: Vec<u8>,
        /// Why.
        rejection: Rejection,
    },
}

/// What a load did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Loaded {
    /// Events appended to input topics, in this run.
    pub events: u64,
    /// Rows sent to the dead letters, in this run.
    pub rejected: u64,
    /// Items left out, because an earlier run had loaded them.
    pub skipped: u64,
    /// Events later than the end of the load, left out.
    pub after_end: u64,
}

/// How far a load has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Mark {
    /// The end that an earlier run of this load was given, and reached: what lies before it is
    /// loaded.
    done_to: Option<i64>,
    /// The end of the run under way.
    end: i64,
    /// Items of that run that are loaded.
    items: u64,
    /// Whether that run is complete.
    complete: bool,
}

/// How a load is to be delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Seed of disorder.
    pub seed: u64,
    /// Events come out of order by up to this, in milliseconds.
    pub shuffle_within_ms: i64,
    /// So many of a thousand events come twice.
    pub duplicate_per_mille: u32,
    /// Events up to this instant are loaded, and stream time advances to it.
    pub until: Option<TimeMs>,
    /// What the events are keyed by.
    pub key_by: KeyBy,
}

/// What events are keyed by: it decides their partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum KeyBy {
    /// Their customer or visitor: every event comes to its owner directly.
    #[default]
    Owner,
    /// Their order, where they are about one: its owner gets them by way of `internal.routed`.
    Order,
}

impl Delivery {
    /// In order, once, all of it.
    pub const PLAIN: Delivery = Delivery {
        seed: 0,
        shuffle_within_ms: 0,
        duplicate_per_mille: 0,
        until: None,
        key_by: KeyBy::Owner,
    };

    /// Whether stream time can advance to the end with the last event: where events may have to pass
    /// through `internal.routed` they must have done so before, and [`finish`] sees to it.
    fn ends_at_once(&self, deployment: &Deployment) -> bool {
        deployment.log.embedded().is_some() && self.key_by == KeyBy::Owner
    }

    fn is_disordered(&self) -> bool {
        self.shuffle_within_ms > 0 || self.duplicate_per_mille > 0
    }
}

/// Told now and then how far a load has come: items so far.
pub type OnProgress<'a> = &'a mut dyn FnMut(u64);

/// Loads `items` under `name`.
///
/// # Errors
/// The log cannot be written, an item names a topic that is not read, or the load was interrupted.
pub fn load(
    deployment: &Deployment,
    name: &str,
    delivery: &Delivery,
    items: impl Iterator<Item = Result<Item, RuntimeError>>,
    shared: &Arc<Shared>,
    progress: OnProgress<'_>,
) -> Result<Loaded, RuntimeError> {
    let end = delivery.until.unwrap_or(TimeMs::MAX);
    let name = format!("load/{name}");
    // On Kafka, whoever else is at the same load has no say in it from here on.
    let mut appender = Appender::new(deployment, &name, delivery.key_by, shared)?;
    let mut mark = start(deployment, &name, end)?;
    let mut loaded = Loaded::default();
    if mark.complete {
        loaded.skipped = mark.items;
        return Ok(loaded);
    }
    let mut seen = 0;
    for item in items {
        let item = item?;
        seen += 1;
        progress(seen);
        if seen <= mark.items {
            loaded.skipped += 1;
            continue;
        }
        mark.items += 1;
        match &item {
            Item::Event(_, event) if event.time > end => loaded.after_end += 1,
            // A run with a later end goes on from where the earlier one ended.
            Item::Event(_, event) if mark.done_to.is_some_and(|to| event.time.0 <= to) => {
                loaded.skipped += 1;
            }
            Item::Rejected { .. } if mark.done_to.is_some() => loaded.skipped += 1,
            Item::Event(topic, event) => {
                appender.event(topic, event)?;
                loaded.events += 1;
            }
            Item::Rejected { .. } => {
                appender.rejected(item);
                loaded.rejected += 1;
            }
        }
        if appender.records.len() >= BATCH {
            appender.append(&name, &mark)?;
            if shared.is_stopping() {
                return Err(RuntimeError::Interrupted);
            }
        }
    }
    mark.complete = true;
    if let (Some(until), true) = (delivery.until, delivery.ends_at_once(deployment)) {
        appender
            .records
            .extend(controls(deployment, &Routed::EndOfReplay { until }));
    }
    appender.append(&name, &mark)?;
    Ok(loaded)
}

/// On Kafka, where others do the processing: waits until everything is consumed, lets stream time
/// advance to the end of the load, and waits for that to be consumed. `progress` is told how many
/// records are left.
///
/// # Errors
/// The cluster does not answer, or it was interrupted.
pub fn finish(
    deployment: &Deployment,
    name: &str,
    delivery: &Delivery,
    shared: &Arc<Shared>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), RuntimeError> {
    wait_until_consumed(deployment, shared, progress)?;
    if end(deployment, name, delivery, shared)? {
        wait_until_consumed(deployment, shared, progress)?;
    }
    Ok(())
}

/// When everything that was loaded is consumed: lets stream time advance to the end of the load,
/// unless that was done; answers whether there is something to consume now.
///
/// # Errors
/// The log cannot be written.
pub fn end(
    deployment: &Deployment,
    name: &str,
    delivery: &Delivery,
    shared: &Arc<Shared>,
) -> Result<bool, RuntimeError> {
    let Some(until) = delivery
        .until
        .filter(|_| !delivery.ends_at_once(deployment))
    else {
        return Ok(false);
    };
    let name = format!("load/{name}/ended");
    let mark = until.0.to_string().into_bytes();
    if deployment.log.mark(&name)?.as_ref() != Some(&mark) {
        let stopping = Arc::clone(shared);
        let stopping = Arc::new(move || stopping.is_stopping());
        let records = controls(deployment, &Routed::EndOfReplay { until });
        let mut appender = deployment.log.appender("controls", stopping)?;
        appender.append(&records, &[(&name, mark)])?;
    }
    Ok(true)
}

fn wait_until_consumed(
    deployment: &Deployment,
    shared: &Shared,
    progress: &mut dyn FnMut(u64),
) -> Result<(), RuntimeError> {
    loop {
        match deployment.lag() {
            Ok(0) => {
                progress(0);
                return Ok(());
            }
            Ok(left) => progress(left),
            Err(error) if error.is_passing() => tracing::warn!("{error}; asking again"),
            Err(error) => return Err(error),
        }
        if shared.wait_for_stop(LOOK) {
            return Err(RuntimeError::Interrupted);
        }
    }
}

fn start(deployment: &Deployment, name: &str, end: TimeMs) -> Result<Mark, RuntimeError> {
    let known: Option<Mark> = match deployment.log.mark(name)? {
        Some(bytes) => Some(serde_json::from_slice(&bytes).map_err(RuntimeError::Identity)?),
        None => None,
    };
    Ok(match known {
        Some(mark) if mark.end == end.0 => mark,
        Some(mark) if mark.complete => Mark {
            done_to: Some(mark.end.max(mark.done_to.unwrap_or(i64::MIN))),
            end: end.0,
            items: 0,
            complete: false,
        },
        // The run that was under way had another end: what it loaded is not known by time, so it
        // is completed first.
        Some(mark) => {
            return Err(RuntimeError::LoadUnderWay {
                end: TimeMs(mark.end),
            });
        }
        None => Mark {
            end: end.0,
            ..Mark::default()
        },
    })
}

/// Collects the records of one append.
struct Appender<'a> {
    deployment: &'a Deployment,
    log: log::Appender,
    key_by: KeyBy,
    encoder: Encoder,
    format: Format,
    topics: FxHashMap<Arc<str>, TopicName>,
    records: Vec<OutRecord>,
}

impl<'a> Appender<'a> {
    fn new(
        deployment: &'a Deployment,
        name: &str,
        key_by: KeyBy,
        shared: &Arc<Shared>,
    ) -> Result<Appender<'a>, RuntimeError> {
        let topics = deployment.config.input.topics.iter();
        let shared = Arc::clone(shared);
        let id = format!("load-{:016x}", xxhash_rust::xxh3::xxh3_64(name.as_bytes()));
        Ok(Appender {
            deployment,
            log: (deployment.log).appender(&id, Arc::new(move || shared.is_stopping()))?,
            key_by,
            encoder: deployment.encoder()?,
            format: deployment.format(),
            topics: topics
                .map(|topic| (Arc::from(topic.as_str()), deployment.input_topic(topic)))
                .collect(),
            records: Vec::with_capacity(BATCH),
        })
    }

    fn event(&mut self, topic: &Arc<str>, event: &Event) -> Result<(), RuntimeError> {
        let Some(name) = self.topics.get(topic) else {
            return Err(RuntimeError::UnknownTopic {
                topic: topic.to_string(),
            });
        };
        let order = match self.key_by {
            KeyBy::Owner => None,
            KeyBy::Order => event.body.order_id().cloned(),
        };
        let key = order.or_else(|| event.owner().map(|owner| owner.key()));
        let key = key.unwrap_or_default();
        let partitions = self.deployment.partitions_of(name);
        let partitions = partitions.unwrap_or(self.deployment.config.partitions);
        let partition = partition_of(key.as_bytes(), partitions);
        self.records.push(OutRecord {
            target: TopicPartition {
                topic: Arc::clone(name),
                partition,
            },
            key: Some(key.as_bytes().to_vec()),
            value: Some(self.encoder.encode(event, self.format)?),
            headers: Vec::new(),
        });
        Ok(())
    }

    fn rejected(&mut self, item: Item) {
        let Item::Rejected {
            file,
            row,
            raw,
            rejection,
        } = item
        else {
            return;
        };
        let partition = partition_of(&raw, self.deployment.setup.outputs);
        self.records.push(OutRecord {
            target: TopicPartition {
                topic: Arc::clone(&self.deployment.setup.topics.dead_letters),
                partition,
            },
            key: None,
            value: Some(raw),
            headers: dead_letter_headers(&file, 0, row, &rejection),
        });
    }

    fn append(&mut self, name: &str, mark: &Mark) -> Result<(), RuntimeError> {
        let mark = serde_json::to_vec(mark).map_err(RuntimeError::Identity)?;
        self.log.append(&self.records, &[(name, mark)])?;
        self.records.clear();
        Ok(())
    }
}

/// The files of one load: its items and its name.
pub struct Files {
    /// Names the load: the same files under the same mapping, delivered the same way.
    pub name: String,
    readers: Vec<RowReader>,
}

impl Files {
    /// Opens `paths` to be mapped by `mapping`.
    ///
    /// # Errors
    /// A file cannot be opened or does not fit the mapping.
    pub fn open(
        paths: &[PathBuf],
        mapping: &Mapping,
        delivery: &Delivery,
    ) -> Result<Files, SourceError> {
        let mut readers = Vec::new();
        let mut name = mapping.id().to_owned();
        for path in paths {
            let reader = RowReader::open(path, mapping)?;
            name.push_str(&format!("/{}:{}", reader.name(), size_of(path)));
            readers.push(reader);
        }
        if delivery.is_disordered() {
            let Delivery {
                seed,
                shuffle_within_ms,
                duplicate_per_mille,
                ..
            } = delivery;
            name.push_str(&format!(
                "/{seed}:{shuffle_within_ms}:{duplicate_per_mille}"
            ));
        }
        Ok(Files { name, readers })
    }

    /// What the files hold, in their order or in that of `delivery`.
    pub fn items<'a>(
        self,
        mapping: &'a Mapping,
        deployment: &'a Deployment,
        delivery: &Delivery,
    ) -> Box<dyn Iterator<Item = Result<Item, RuntimeError>> + 'a> {
        let rules = mapping.rules_override(&deployment.rules);
        let rows = self.readers.into_iter().flat_map(move |mut reader| {
            let rules = rules.clone();
            let mut pending: VecDeque<Result<Item, RuntimeError>> = VecDeque::new();
            std::iter::from_fn(move || {
                loop {
                    if let Some(item) = pending.pop_front() {
                        return Some(item);
                    }
                    match reader.next()? {
                        Err(error) => return Some(Err(error.into())),
                        Ok(row) => {
                            let mut rejections = Vec::new();
                            for outcome in reader.apply(&row, mapping, wall_clock(), &rules) {
                                match outcome {
                                    Ok(mapped) => pending.push_back(Ok(Item::Event(
                                        mapped.topic.into(),
                                        Box::new(mapped.event),
                                    ))),
                                    Err(rejection) => rejections.push(rejection),
                                }
                            }
                            pending.extend(Rejection::of_row(rejections).map(|rejection| {
                                Ok(Item::Rejected {
                                    file: reader.name().to_owned(),
                                    row: row.row,
                                    raw: row.raw,
                                    rejection,
                                })
                            }));
                        }
                    }
                }
            })
        });
        if delivery.is_disordered() {
            Box::new(disorder(rows, delivery))
        } else {
            Box::new(rows)
        }
    }
}

fn size_of(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.len())
}

/// Displaces the events of `items`; what is not an event passes as soon as it is read.
fn disorder<I: Iterator<Item = Result<Item, RuntimeError>>>(
    items: I,
    delivery: &Delivery,
) -> impl Iterator<Item = Result<Item, RuntimeError>> + use<I> {
    let aside: Rc<RefCell<VecDeque<Result<Item, RuntimeError>>>> = Rc::default();
    let put_aside = Rc::clone(&aside);
    let events = items.filter_map(move |item| match item {
        Ok(Item::Event(topic, event)) => Some(Addressed(topic, event)),
        other => {
            put_aside.borrow_mut().push_back(other);
            None
        }
    });
    let mut events = Disorder::new(
        events,
        delivery.seed,
        delivery.shuffle_within_ms,
        delivery.duplicate_per_mille,
    );
    let mut next: Option<Addressed> = None;
    std::iter::from_fn(move || {
        // Reading on for the next event is what puts things aside; they go before it.
        next = next.take().or_else(|| events.next());
        let passed = aside.borrow_mut().pop_front();
        passed.or_else(|| {
            next.take()
                .map(|Addressed(topic, event)| Ok(Item::Event(topic, event)))
        })
    })
}

/// An event and the topic that it is for.
#[derive(Clone)]
struct Addressed(Arc<str>, Box<Event>);

impl Timed for Addressed {
    fn time(&self) -> TimeMs {
        self.1.time
    }
}
