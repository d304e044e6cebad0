//! Looks at an application from outside, all the time: whether its tasks get on, and whether
//! transactions end.
//!
//! A task gets on when its committed positions do. It stands still when they do not although records
//! wait for it; for how long is counted from when nothing was disturbed any more. While the cluster
//! does not answer, nothing is known.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::port::TopicPartition;
use fleet::{Pending, places};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::inputs::PARTITIONS;

const INPUTS: [&str; 6] = [
    "internal.routed",
    "clickstream",
    "orders",
    "care",
    "loyalty",
    "marketing",
];
const PAUSE: Duration = Duration::from_millis(250);
/// How long a question may take.
const REQUEST: Duration = Duration::from_secs(5);

/// Asks a cluster about a group that it is not in. Positions need not be stable: under load some
/// transaction is open nearly always, and whoever waits until there is none sees nothing meanwhile.
pub(crate) struct Onlooker(BaseConsumer);

impl Onlooker {
    pub(crate) fn of(bootstrap: &str, application: &str) -> Onlooker {
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", application)
            .set("isolation.level", "read_uncommitted")
            .create();
        Onlooker(consumer.expect("a client for looking on"))
    }

    /// The committed positions, in the order of `partitions`.
    fn positions(&self, partitions: &[TopicPartition]) -> KafkaResult<Vec<Option<u64>>> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for at in partitions {
            list.add_partition(&at.topic, at.partition.cast_signed());
        }
        let answered = self.0.committed_offsets(list, REQUEST)?;
        let position = |at: &TopicPartition| {
            let found = answered.find_partition(&at.topic, at.partition.cast_signed());
            let Some(found) = found else { return Ok(None) };
            found.error()?;
            Ok(match found.offset() {
                Offset::Offset(offset) => u64::try_from(offset).ok(),
                _ => None,
            })
        };
        partitions.iter().map(position).collect()
    }

    fn bounds(&self, at: &TopicPartition) -> KafkaResult<(u64, u64)> {
        let asked = (self.0).fetch_watermarks(&at.topic, at.partition.cast_signed(), REQUEST);
        if asked.is_err() {
            // After the loss of a broker it may hold that there is no such partition.
            let _ = self.0.fetch_metadata(Some(&at.topic), REQUEST);
        }
        let (start, end) = asked?;
        let offset = |offset: i64| u64::try_from(offset).unwrap_or(0);
        Ok((offset(start), offset(end)))
    }
}

/// What is seen of an application.
#[derive(Debug)]
pub(crate) struct Watch {
    inputs: Vec<TopicPartition>,
    seen: Mutex<Seen>,
    over: AtomicBool,
}

#[derive(Debug)]
struct Seen {
    tasks: Vec<Task>,
    /// By task: where an open transaction begins on its changelog, and since when.
    open: Vec<Option<(i64, Instant)>>,
    /// Since when nothing is disturbed; `None`: something is.
    calm_since: Option<Instant>,
    longest_pause: Duration,
    longest_open: Duration,
    /// Where something waits.
    inputs: Vec<Input>,
    /// Why the last question was not answered, if it was not.
    unanswered: Option<String>,
}

/// The sum of a task's positions, and how many records wait for it.
type Standing = (u64, u64);

/// An input in which records wait.
#[derive(Clone, Debug)]
struct Input {
    at: TopicPartition,
    position: u64,
    end: u64,
}

#[derive(Clone, Copy, Debug)]
struct Task {
    /// Sum of its committed positions.
    position: u64,
    /// Records that wait for it.
    waiting: u64,
    /// When it last got on, or had nothing to do.
    got_on: Instant,
    /// When it first did since nothing is disturbed.
    resumed: Option<Instant>,
}

impl Watch {
    pub(crate) fn new(application: &str) -> Watch {
        let task = Task {
            position: 0,
            waiting: 0,
            got_on: Instant::now(),
            resumed: None,
        };
        let inputs = INPUTS.iter();
        Watch {
            inputs: inputs
                .flat_map(|topic| places(application, topic, PARTITIONS))
                .collect(),
            seen: Mutex::new(Seen {
                tasks: vec![task; PARTITIONS as usize],
                open: vec![None; PARTITIONS as usize],
                calm_since: None,
                longest_pause: Duration::ZERO,
                longest_open: Duration::ZERO,
                inputs: Vec::new(),
                unanswered: None,
            }),
            over: AtomicBool::new(false),
        }
    }

    /// Looks until it is over.
    pub(crate) fn run(&self, onlooker: &Onlooker, pending: &Pending) {
        while !self.over.load(Ordering::Relaxed) {
            let asked = self.ask(onlooker);
            let mut seen = self.seen();
            match asked {
                Ok((tasks, inputs)) => {
                    seen.look(&tasks, Instant::now());
                    (seen.inputs, seen.unanswered) = (inputs, None);
                }
                Err(error) => seen.unanswered = Some(error.to_string()),
            }
            drop(seen);
            if let Some(firsts) = pending.firsts() {
                self.seen().transactions(&firsts, Instant::now());
            }
            std::thread::park_timeout(PAUSE);
        }
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Of each task the sum of its positions, and how many records wait for it; and the inputs in which
    /// they wait.
    fn ask(&self, onlooker: &Onlooker) -> KafkaResult<(Vec<Standing>, Vec<Input>)> {
        let mut tasks = vec![(0, 0); PARTITIONS as usize];
        let mut inputs = Vec::new();
        let positions = onlooker.positions(&self.inputs)?;
        for (at, position) in self.inputs.iter().zip(positions) {
            let (start, end) = onlooker.bounds(at)?;
            let position = position.unwrap_or(start);
            let (sum, waiting) = &mut tasks[at.partition as usize];
            *sum += position;
            *waiting += end.saturating_sub(position);
            if position < end {
                let at = at.clone();
                inputs.push(Input { at, position, end });
            }
        }
        Ok((tasks, inputs))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is disturbed from now on.
    pub(crate) fn disturbed(&self) {
        self.seen().calm_since = None;
    }

    /// Nothing is disturbed from now on.
    pub(crate) fn calm(&self) {
        self.seen().calm(Instant::now());
    }

    /// Within which time after calm every task had got on, or had nothing to do; `None`: not yet.
    pub(crate) fn recovered(&self) -> Option<Duration> {
        let seen = self.seen();
        let since = seen.calm_since?;
        let resumed: Option<Vec<_>> = seen.tasks.iter().map(|task| task.resumed).collect();
        let last = resumed?.into_iter().max()?;
        Some(last.saturating_duration_since(since))
    }

    /// The tasks that have not got on since nothing is disturbed, with the inputs in which records wait
    /// for them.
    pub(crate) fn standing(&self) -> String {
        let seen = self.seen();
        let tasks = (0_u32..).zip(&seen.tasks);
        let standing: Vec<u32> = tasks
            .filter(|(_, task)| task.resumed.is_none())
            .map(|(number, _)| number)
            .collect();
        let waiting = seen.inputs.iter();
        let waiting = waiting.filter(|input| standing.contains(&input.at.partition));
        let told: Vec<_> = waiting
            .map(|Input { at, position, end }| {
                let topic = at.topic.rsplit('.').next().unwrap_or_default();
                format!("{topic}-{} at {position} of {end}", at.partition)
            })
            .collect();
        let mut told = format!("tasks {standing:?} stand still: {}", told.join(", "));
        if let Some(why) = &seen.unanswered {
            told.push_str(&format!("; the cluster does not answer who asks: {why}"));
        }
        told
    }

    /// Records that wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.seen().tasks.iter().map(|task| task.waiting).sum()
    }

    /// The longest time for which a task stood still though nothing was disturbed.
    pub(crate) fn longest_pause(&self) -> Duration {
        self.seen().longest_pause
    }

    /// The longest time for which a transaction was open though nothing was disturbed.
    pub(crate) fn longest_open(&self) -> Duration {
        self.seen().longest_open
    }
}

impl Seen {
    fn calm(&mut self, now: Instant) {
        self.calm_since = Some(now);
        for task in &mut self.tasks {
            task.resumed = None;
        }
    }

    fn look(&mut self, tasks: &[Standing], now: Instant) {
        for (task, (position, waiting)) in self.tasks.iter_mut().zip(tasks) {
            if let Some(calm) = self.calm_since
                && task.waiting > 0
            {
                let pause = now.saturating_duration_since(task.got_on.max(calm));
                self.longest_pause = self.longest_pause.max(pause);
            }
            if *position > task.position || *waiting == 0 {
                task.got_on = now;
                if self.calm_since.is_some() {
                    task.resumed.get_or_insert(now);
                }
            }
            (task.position, task.waiting) = (*position, *waiting);
        }
    }

    fn transactions(&mut self, firsts: &[Option<i64>], now: Instant) {
        for (open, first) in self.open.iter_mut().zip(firsts) {
            *open = match (*open, first) {
                (Some((at, since)), Some(first)) if at == *first => Some((at, since)),
                (_, first) => first.map(|first| (first, now)),
            };
            if let (Some((_, since)), Some(calm)) = (*open, self.calm_since) {
                let age = now.saturating_duration_since(since.max(calm));
                self.longest_open = self.longest_open.max(age);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_pause_counts_from_when_nothing_is_disturbed_and_while_something_waits() {
        let watch = Watch::new("shop");
        let start = Instant::now();
        let look = |seconds: u32, first: (u64, u64)| {
            let mut tasks = vec![(9, 0); PARTITIONS as usize];
            tasks[0] = first;
            watch.seen().look(&tasks, start + SECOND * seconds);
        };
        look(0, (1, 5));
        look(10, (1, 5));
        assert_eq!(watch.longest_pause(), Duration::ZERO, "disturbed");
        watch.seen().calm(start + SECOND * 10);
        look(12, (1, 5));
        assert_eq!(watch.recovered(), None);
        look(13, (2, 4));
        assert_eq!(watch.recovered(), Some(SECOND * 3));
        assert_eq!(watch.longest_pause(), SECOND * 3);
        look(14, (6, 0));
        look(40, (6, 0));
        assert_eq!(watch.longest_pause(), SECOND * 3, "nothing waits");
        assert_eq!(watch.waiting(), 0);
    }

    #[test]
    fn a_transaction_is_open_for_as_long_as_it_begins_at_the_same_place() {
        let watch = Watch::new("shop");
        let start = Instant::now();
        watch.seen().calm(start);
        let look = |seconds: u32, first: Option<i64>| {
            let mut firsts = vec![None; PARTITIONS as usize];
            firsts[3] = first;
            watch.seen().transactions(&firsts, start + SECOND * seconds);
        };
        for (second, first) in [
            (1, Some(7)),
            (3, Some(7)),
            (4, Some(9)),
            (5, None),
            (9, Some(9)),
        ] {
            look(second, first);
        }
        assert_eq!(watch.longest_open(), SECOND * 2);
    }
}
