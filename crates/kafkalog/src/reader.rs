//! Reads given spans of given partitions, committed records only, each to its end.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use domain::time::TimeMs;
use engine::group::{ChangelogReader, ChangelogRecord, Span};
use engine::port::TopicPartition;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use crate::cluster::{Cluster, list_of};
use crate::context::Plain;
use crate::error::{KafkaLogError, words};
use crate::native::{MessageHeaders, PartitionQueue, Taken};
use crate::settings::Isolation;

/// How long a single wait is.
const WAIT: Duration = Duration::from_millis(50);
/// Records taken from a partition before the next one has its turn.
const TURN: usize = 1_024;

/// A record, borrowed from the client's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Where it stands.
    pub at: &'a TopicPartition,
    /// Its offset.
    pub offset: u64,
    /// When it was written.
    pub timestamp: TimeMs,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value.
    pub value: Option<&'a [u8]>,
    headers: MessageHeaders<'a>,
}

impl Seen<'_> {
    /// Its headers, in order; a header without a value has an empty one.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        self.headers.list()
    }
}

struct Lane {
    span: Span,
    queue: PartitionQueue<Plain>,
    next: u64,
}

/// Reads spans of partitions.
pub struct Reader {
    consumer: Arc<BaseConsumer<Plain>>,
    lanes: Vec<Lane>,
    /// Since when nothing has come.
    quiet_since: Instant,
}

impl Cluster {
    /// A reader of `spans`. It sees what is committed: an open transaction before the end of a span
    /// is waited for.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn reader(&self, spans: Vec<Span>) -> Result<Reader, KafkaLogError> {
        let config = self.settings().reader(Isolation::Committed);
        let consumer =
            BaseConsumer::from_config_and_context(&config, Plain).map_err(KafkaLogError::Client)?;
        let consumer = Arc::new(consumer);
        let mut lanes = Vec::new();
        for span in spans.into_iter().filter(|span| span.from < span.until) {
            let waker = Some(thread::current());
            let queue = PartitionQueue::new(&consumer, &span.at.topic, span.at.partition, waker)
                .ok_or_else(|| KafkaLogError::UnknownTopic(span.at.topic.to_string()))?;
            lanes.push(Lane {
                next: span.from,
                span,
                queue,
            });
        }
        let starts: Vec<_> = lanes.iter().map(|l| (l.span.at.clone(), l.next)).collect();
        consumer
            .assign(&list_of(&starts)?)
            .map_err(|e| KafkaLogError::failed("reading partitions", e))?;
        // Assigning forwards the partitions' queues to the consumer's, unless they were taken
        // before, as they were.
        Ok(Reader {
            consumer,
            lanes,
            quiet_since: Instant::now(),
        })
    }

    /// Everything that is in the given partitions now.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn spans_of(&self, partitions: &[TopicPartition]) -> Result<Vec<Span>, KafkaLogError> {
        let span = |at: &TopicPartition| {
            let (from, until) = self.bounds(at)?;
            Ok(Span {
                at: at.clone(),
                from,
                until,
            })
        };
        partitions.iter().map(span).collect()
    }
}

impl Reader {
    /// Hands records to `each` for up to `budget` of time, waiting for them if need be; answers
    /// whether all spans have been read to their ends.
    ///
    /// # Errors
    /// A partition cannot be read, or `each` fails.
    pub fn read<E: From<KafkaLogError>>(
        &mut self,
        budget: Duration,
        mut each: impl FnMut(Seen<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let deadline = Instant::now() + budget;
        loop {
            // Errors of the client as a whole come here; it goes on by itself.
            if let Some(Err(error)) = self.consumer.poll(Duration::ZERO) {
                tracing::debug!(target: "kafka", %error, "while reading");
            }
            let mut taken = 0;
            for lane in &mut self.lanes {
                taken += lane.take(&mut each)?;
            }
            if taken > 0 {
                self.quiet_since = Instant::now();
            }
            self.lanes.retain(|lane| lane.next < lane.span.until);
            if self.lanes.is_empty() {
                return Ok(true);
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(false);
            }
            if taken == 0 {
                thread::park_timeout(WAIT.min(deadline - now));
            }
        }
    }

    /// Reads to the ends of all spans; `going_on` is asked now and then.
    ///
    /// # Errors
    /// As [`Reader::read`]; [`KafkaLogError::Stopped`] when `going_on` says no.
    pub fn read_all<E: From<KafkaLogError>>(
        &mut self,
        going_on: &dyn Fn() -> bool,
        mut each: impl FnMut(Seen<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !self.read(Duration::from_millis(200), &mut each)? {
            if !going_on() {
                return Err(KafkaLogError::Stopped.into());
            }
        }
        Ok(())
    }

    /// For how long nothing has come.
    #[must_use]
    pub fn quiet_for(&self) -> Duration {
        self.quiet_since.elapsed()
    }
}

impl ChangelogReader for Reader {
    type Error = KafkaLogError;

    fn read<E: From<KafkaLogError>>(
        &mut self,
        budget: Duration,
        each: &mut dyn FnMut(ChangelogRecord<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        Reader::read(self, budget, |seen| {
            each(ChangelogRecord {
                at: seen.at,
                offset: seen.offset,
                key: seen.key,
                value: seen.value,
            })
        })
    }
}

impl Lane {
    fn take<E: From<KafkaLogError>>(
        &mut self,
        each: &mut impl FnMut(Seen<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let Lane { span, queue, next } = self;
        let mut failed = None;
        let taken = queue.take_with_headers(TURN, |taken, headers| match taken {
            _ if failed.is_some() => {}
            Taken::Message {
                offset,
                timestamp,
                key,
                value,
            } => {
                if offset >= *next && offset < span.until {
                    let seen = Seen {
                        at: &span.at,
                        offset,
                        timestamp: TimeMs(timestamp.max(0)),
                        key,
                        value,
                        headers,
                    };
                    failed = each(seen).err();
                }
                *next = (*next).max(offset + 1);
            }
            Taken::End(offset) => *next = (*next).max(offset),
            Taken::Error(code, text) => {
                let code = RDKafkaErrorCode::from(code);
                let what = format!("{}: {text} ({code})", words(&span.at));
                failed = Some(KafkaLogError::failed("reading", what).into());
            }
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(taken),
        }
    }
}
