//! The cluster as the whole application sees it: topics, ends, committed positions.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use domain::time::TimeMs;
use engine::port::TopicPartition;
use engine::topics::Topics;
use engine::trial::Beside;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::context::Plain;
use crate::error::KafkaLogError;
use crate::settings::{Isolation, Settings};

/// librdkafka's own limit of a message.
const LARGEST_MESSAGE: u64 = 1_000_000_000;
/// Begins what stands beside the position of a task whose work went over to other topics.
const MOVED: &str = "moved to generation ";
/// By how much a clock is taken to be behind at first, in milliseconds.
const MINUTE: i64 = 60_000;
/// How long a request may take.
const REQUEST: Duration = Duration::from_secs(10);
/// After which time a question that cannot be answered yet is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// A cluster, and one application on it.
pub struct Cluster {
    settings: Settings,
    topics: Topics,
    /// Sees committed records, and committed positions once they are stable.
    committed: BaseConsumer<Plain>,
    /// Sees the true ends of partitions.
    uncommitted: BaseConsumer<Plain>,
    sizes: OnceLock<Sizes>,
}

/// How large what is written may be, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// A record that is no dead letter.
    pub record: u64,
    /// A dead letter. One that is larger holds the beginning of its value.
    pub dead_letter: u64,
}

impl Cluster {
    /// Connects to an application whose number of tasks has never been changed, or of which only what
    /// all generations share is of interest.
    ///
    /// # Errors
    /// The properties are refused, or the cluster does not answer.
    pub fn connect(settings: Settings) -> Result<Arc<Cluster>, KafkaLogError> {
        Cluster::connect_to(settings, 0)
    }

    /// Connects to the topics of `generation`: as often as the number of tasks has been changed.
    ///
    /// # Errors
    /// The properties are refused, or the cluster does not answer.
    pub fn connect_to(settings: Settings, generation: u32) -> Result<Arc<Cluster>, KafkaLogError> {
        let make = |isolation| {
            BaseConsumer::from_config_and_context(&settings.reader(isolation), Plain)
                .map_err(KafkaLogError::Client)
        };
        let cluster = Cluster {
            topics: Topics::of_generation(&settings.application, generation),
            committed: make(Isolation::Committed)?,
            uncommitted: make(Isolation::Uncommitted)?,
            settings,
            sizes: OnceLock::new(),
        };
        cluster.partitions_of(None)?;
        Ok(Arc::new(cluster))
    }

    /// How to reach it.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The application's topics.
    #[must_use]
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Says how large what is written may be; the first word holds. Properties of producers that
    /// have `message.max.bytes` come before it.
    pub fn writes_up_to(&self, sizes: Sizes) {
        let _ = self.sizes.set(sizes);
    }

    fn sizes(&self) -> Sizes {
        self.sizes.get().copied().unwrap_or(Sizes {
            record: 8 << 20,
            dead_letter: 1_000_000,
        })
    }

    /// The largest record that producers take.
    pub(crate) fn largest_record(&self) -> u64 {
        let Sizes {
            record,
            dead_letter,
        } = self.sizes();
        let set = self.settings.producer_limit();
        set.unwrap_or(record.max(dead_letter).min(LARGEST_MESSAGE))
    }

    /// Dead letters of more bytes are cut.
    pub(crate) fn longest_dead_letter(&self) -> usize {
        let longest = self.sizes().dead_letter.min(self.largest_record());
        usize::try_from(longest).unwrap_or(usize::MAX)
    }

    /// Number of partitions by topic: of `topic`, or of every topic there is.
    fn partitions_of(&self, topic: Option<&str>) -> Result<BTreeMap<String, u32>, KafkaLogError> {
        let metadata = self.uncommitted.fetch_metadata(topic, REQUEST);
        let metadata = metadata.map_err(|e| self.unreachable("asking for its topics", e))?;
        let topics = metadata.topics().iter();
        let existing = topics.filter(|t| t.error().is_none());
        Ok(existing
            .map(|t| (t.name().to_owned(), t.partitions().len() as u32))
            .collect())
    }

    /// Number of partitions of every topic there is.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn partition_counts(&self) -> Result<BTreeMap<String, u32>, KafkaLogError> {
        self.partitions_of(None)
    }

    /// First offset of a partition, and the one after its last record, committed or not.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn bounds(&self, at: &TopicPartition) -> Result<(u64, u64), KafkaLogError> {
        let partition = at.partition.cast_signed();
        let bounds = patiently(|| {
            let asked = (self.uncommitted).fetch_watermarks(&at.topic, partition, REQUEST);
            if asked.is_err() {
                // After the loss of a broker librdkafka may hold that there is no such partition, until
                // it fetches metadata.
                let _ = self.uncommitted.fetch_metadata(Some(&at.topic), REQUEST);
            }
            asked
        });
        let (low, high) =
            bounds.map_err(|e| self.unreachable("asking where a partition ends", e))?;
        let offset = |offset: i64| u64::try_from(offset).unwrap_or(0);
        Ok((offset(low), offset(high)))
    }

    /// The group's committed position of each of `partitions`, `None` where there is none.
    ///
    /// # Errors
    /// The cluster does not answer, or a transaction holds the positions open for too long.
    pub fn positions(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Option<u64>>, KafkaLogError> {
        let stands = patiently(|| committed_positions(&self.committed, partitions))
            .map_err(|e| self.unreachable("asking for committed positions", e))?;
        Ok(stands.into_iter().map(|(at, s)| (at, s.next)).collect())
    }

    /// The first offset of `at` whose record was written at `time` or later; `None` if all are older.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn offset_at(
        &self,
        at: &TopicPartition,
        time: TimeMs,
    ) -> Result<Option<u64>, KafkaLogError> {
        let mut list = TopicPartitionList::new();
        let partition = at.partition.cast_signed();
        list.add_partition_offset(&at.topic, partition, Offset::Offset(time.0))
            .map_err(KafkaLogError::Client)?;
        let found = patiently(|| self.uncommitted.offsets_for_times(list.clone(), REQUEST));
        let found = found.map_err(|e| self.unreachable("asking for an offset by time", e))?;
        Ok(found.elements().first().and_then(|e| stored(e.offset())))
    }

    /// An instant after which no record of `at` was written: `time`, if that is one. A record that is
    /// later than that is passed by a minute, or by as much again.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn no_later_than(
        &self,
        at: &TopicPartition,
        time: TimeMs,
    ) -> Result<TimeMs, KafkaLogError> {
        let mut bound = time;
        let mut ahead = MINUTE;
        while self.offset_at(at, bound.plus(1))?.is_some() {
            bound = time.plus(ahead);
            ahead = ahead.saturating_mul(2);
        }
        Ok(bound)
    }

    /// Records in `inputs` that the group has not consumed, by partition; empty when it has
    /// consumed all. Positions are asked for before ends: a commit in between that consumes or
    /// forwards anything makes the two differ.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn lag(
        &self,
        inputs: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, u64>, KafkaLogError> {
        let mut lag = BTreeMap::new();
        for (at, position) in self.positions(inputs)? {
            let (start, end) = self.bounds(&at)?;
            let behind = end.saturating_sub(position.unwrap_or(start));
            if behind > 0 {
                lag.insert(at, behind);
            }
        }
        Ok(lag)
    }

    /// The members of the application's group, each by its client's name and its host. One that died is
    /// among them until its session is over.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn members(&self) -> Result<Vec<String>, KafkaLogError> {
        let group = self.settings.application.as_str();
        let listed = patiently(|| self.uncommitted.fetch_group_list(Some(group), REQUEST));
        let listed = listed.map_err(|e| self.unreachable("asking who is in the group", e))?;
        let groups = listed.groups().iter();
        let members = groups
            .filter(|found| found.name() == group)
            .flat_map(|found| found.members());
        Ok(members
            .map(|member| format!("{} on {}", member.client_id(), member.client_host()))
            .collect())
    }

    pub(crate) fn unreachable(&self, doing: &'static str, source: KafkaError) -> KafkaLogError {
        let servers = self.settings.consumer.iter();
        let mut servers = servers
            .filter(|(name, _)| name == "metadata.broker.list" || name == "bootstrap.servers");
        KafkaLogError::Unreachable {
            doing,
            bootstrap: servers.next().map(|(_, v)| v.clone()).unwrap_or_default(),
            source,
        }
    }
}

/// Asks again for as long as a topic is new, or its leader or the group's coordinator are moving.
fn patiently<T>(ask: impl Fn() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    let deadline = Instant::now() + REQUEST;
    loop {
        match ask() {
            Err(error) if is_passing(&error) && Instant::now() < deadline => {
                std::thread::park_timeout(AGAIN);
            }
            answer => return answer,
        }
    }
}

fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::FencedLeaderEpoch
                | RDKafkaErrorCode::UnknownLeaderEpoch
                | RDKafkaErrorCode::OffsetNotAvailable
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorLoadInProgress
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
        )
    )
}

/// What the group has committed of a partition.
#[derive(Clone, Default, Debug)]
pub(crate) struct Stands {
    /// The position, if there is one.
    pub(crate) next: Option<u64>,
    /// What stands beside it.
    pub(crate) beside: Beside,
    /// The generation of topics that the work of this one went over to.
    pub(crate) moved_to: Option<u32>,
}

/// What stands beside the position of a task whose work went over to `generation`.
pub(crate) fn moved_to(generation: u32) -> String {
    format!("{MOVED}{generation}")
}

/// The group's stable committed positions.
pub(crate) fn committed_positions<C: rdkafka::consumer::ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, Stands>, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for at in partitions {
        list.add_partition(&at.topic, at.partition.cast_signed());
    }
    let answered = consumer.committed_offsets(list, REQUEST)?;
    let mut positions = BTreeMap::new();
    for at in partitions {
        let partition = at.partition.cast_signed();
        let element = answered.find_partition(&at.topic, partition);
        if let Some(element) = &element {
            element.error()?;
        }
        let stands = element.map(|element| Stands {
            next: stored(element.offset()),
            beside: Beside::parse(element.metadata()).unwrap_or_default(),
            moved_to: element
                .metadata()
                .strip_prefix(MOVED)
                .and_then(|generation| generation.parse().ok()),
        });
        positions.insert(at.clone(), stands.unwrap_or_default());
    }
    Ok(positions)
}

/// A list of partitions with their offsets.
pub(crate) fn list_of(
    positions: &[(TopicPartition, u64)],
) -> Result<TopicPartitionList, KafkaLogError> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for (at, offset) in positions {
        let offset = Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
        list.add_partition_offset(&at.topic, at.partition.cast_signed(), offset)
            .map_err(KafkaLogError::Client)?;
    }
    Ok(list)
}

fn stored(offset: Offset) -> Option<u64> {
    match offset {
        Offset::Offset(offset) => u64::try_from(offset).ok(),
        _ => None,
    }
}
