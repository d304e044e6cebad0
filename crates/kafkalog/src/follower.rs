//! Follows changelogs, committed records only, for as long as they are to be followed; and tells how
//! far it is, as positions that the instance's own group commits, so that everybody can see it.
//!
//! Invariants:
//! - A follower waits for nothing: what is at hand is taken, positions are sent and not awaited.
//! - The records of a partition come in order and each once, from the offset on that was asked for.
//!
//! It does not decide what is followed, and knows nothing of stores.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::time::TimeMs;
use engine::group::ChangelogRecord;
use engine::port::TopicPartition;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::cluster::{Cluster, list_of};
use crate::context::Plain;
use crate::error::{KafkaLogError, words};
use crate::native::{PartitionQueue, Taken};

/// How long other instances' positions may take to be told.
const ANSWER: Duration = Duration::from_secs(5);

/// A partition that is followed.
struct Lane {
    at: TopicPartition,
    queue: PartitionQueue<Plain>,
    next: u64,
    /// Its end was reached since it is followed.
    has_caught_up: bool,
}

/// How far a changelog is followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Followed {
    /// Everything before this offset was taken.
    pub next: u64,
    /// Offsets that are not, as of the broker's last answer. Those of transactions' markers and of open
    /// transactions count.
    pub behind: u64,
    /// Whether its end was reached since it is followed.
    pub has_caught_up: bool,
}

/// What an instance says of a standby.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It has had the whole changelog, and follows it.
    Warm,
    /// It has not had it all yet.
    Filling,
    /// The instance does not keep it any more.
    Closed,
}

/// What an instance told of the standby of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told {
    /// What it is.
    pub standing: Standing,
    /// The changelog offset that it has come to.
    pub next: u64,
    /// When that was, by the instance's clock.
    pub since: TimeMs,
}

/// Follows changelogs.
pub struct Follower {
    consumer: Arc<BaseConsumer<Plain>>,
    lanes: BTreeMap<u32, Lane>,
}

impl Cluster {
    /// A follower that has nothing to follow yet.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn follower(&self) -> Result<Follower, KafkaLogError> {
        let consumer = BaseConsumer::from_config_and_context(&self.settings().follower(), Plain)
            .map_err(KafkaLogError::Client)?;
        Ok(Follower {
            consumer: Arc::new(consumer),
            lanes: BTreeMap::new(),
        })
    }

    /// What `instance` has told of its standbys last, by task, of `tasks` tasks.
    ///
    /// # Errors
    /// The cluster does not answer, or it may not be asked.
    pub fn told_by(
        &self,
        instance: &str,
        tasks: u32,
    ) -> Result<BTreeMap<u32, Told>, KafkaLogError> {
        let config = self.settings().asking_of(instance);
        let asking: BaseConsumer<Plain> =
            BaseConsumer::from_config_and_context(&config, Plain).map_err(KafkaLogError::Client)?;
        let changelog = &self.topics().changelog;
        let mut list = TopicPartitionList::with_capacity(tasks as usize);
        for task in 0..tasks {
            list.add_partition(changelog, task.cast_signed());
        }
        let answered = asking
            .committed_offsets(list, ANSWER)
            .map_err(|e| self.unreachable("asking for the positions of standbys", e))?;
        let told = answered.elements().into_iter().filter_map(|element| {
            let task = u32::try_from(element.partition()).ok()?;
            let Offset::Offset(next) = element.offset() else {
                return None;
            };
            let (standing, since) = Standing::parse(element.metadata())?;
            let next = u64::try_from(next).ok()?;
            let told = Told {
                standing,
                next,
                since,
            };
            Some((task, told))
        });
        Ok(told.collect())
    }
}

impl Follower {
    /// Follows the changelog of a task from offset `from` on.
    ///
    /// # Errors
    /// There is no such partition, or librdkafka refuses.
    pub fn follow(&mut self, at: TopicPartition, from: u64) -> Result<(), KafkaLogError> {
        let queue = PartitionQueue::new(&self.consumer, &at.topic, at.partition, None)
            .ok_or_else(|| KafkaLogError::UnknownTopic(at.topic.to_string()))?;
        // The queue first, so that no record goes elsewhere.
        self.consumer
            .incremental_assign(&list_of(&[(at.clone(), from)])?)
            .map_err(|e| KafkaLogError::failed("following a changelog", e))?;
        let lane = Lane {
            queue,
            next: from,
            has_caught_up: false,
            at,
        };
        self.lanes.insert(lane.at.partition, lane);
        Ok(())
    }

    /// Follows the changelog of `task` no more.
    pub fn leave(&mut self, task: u32) {
        let Some(lane) = self.lanes.remove(&task) else {
            return;
        };
        let left = list_of(&[(lane.at.clone(), lane.next)]).and_then(|list| {
            let left = self.consumer.incremental_unassign(&list);
            left.map_err(|e| KafkaLogError::failed("leaving a changelog", e))
        });
        if let Err(error) = left {
            // What comes of it is thrown away: there is no queue that it would go to.
            tracing::debug!(task, %error, "following no more");
        }
    }

    /// Hands what is at hand of the changelog of `task` to `each`, at most `max` records; answers how
    /// many there were.
    ///
    /// # Errors
    /// It cannot be read, or `each` fails.
    pub fn take<E: From<KafkaLogError>>(
        &mut self,
        task: u32,
        max: usize,
        mut each: impl FnMut(ChangelogRecord<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        self.serve();
        let Some(lane) = self.lanes.get_mut(&task) else {
            return Ok(0);
        };
        let Lane {
            at,
            queue,
            next,
            has_caught_up,
        } = lane;
        let mut failed = None;
        let taken = queue.take(max, |taken| match taken {
            _ if failed.is_some() => {}
            Taken::Message {
                offset, key, value, ..
            } => {
                if offset >= *next {
                    let record = ChangelogRecord {
                        at,
                        offset,
                        key,
                        value,
                    };
                    failed = each(record).err();
                    *next = offset + 1;
                }
            }
            Taken::End(offset) => {
                *next = (*next).max(offset);
                *has_caught_up = true;
            }
            Taken::Error(code, text) => {
                let code = RDKafkaErrorCode::from(code);
                let what = format!("{}: {text} ({code})", words(at));
                failed = Some(KafkaLogError::failed("following", what).into());
            }
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(taken),
        }
    }

    /// How far the changelog of `task` is followed, if it is.
    #[must_use]
    pub fn followed(&self, task: u32) -> Option<Followed> {
        let lane = self.lanes.get(&task)?;
        Some(Followed {
            next: lane.next,
            behind: lane.queue.end().unwrap_or(0).saturating_sub(lane.next),
            has_caught_up: lane.has_caught_up,
        })
    }

    /// Tells everybody how the standbys of this instance are: sent, not awaited.
    ///
    /// # Errors
    /// librdkafka refuses.
    pub fn tell(
        &self,
        changelog: &str,
        standbys: &BTreeMap<u32, (Standing, u64)>,
        now: TimeMs,
    ) -> Result<(), KafkaLogError> {
        if standbys.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(standbys.len());
        for (task, (standing, next)) in standbys {
            let offset = Offset::Offset(i64::try_from(*next).unwrap_or(i64::MAX));
            list.add_partition_offset(changelog, task.cast_signed(), offset)
                .map_err(KafkaLogError::Client)?;
            if let Some(mut element) = list.find_partition(changelog, task.cast_signed()) {
                element.set_metadata(standing.words(now));
            }
        }
        let sent = self.consumer.commit(&list, CommitMode::Async);
        sent.map_err(|e| KafkaLogError::failed("telling how far standbys are", e))
    }

    /// Serves what librdkafka has to say; records do not come this way.
    pub fn serve(&self) {
        if let Some(Err(error)) = self.consumer.poll(Duration::ZERO) {
            tracing::debug!(target: "kafka", %error, "while following changelogs");
        }
    }
}

impl Standing {
    const WORDS: [(Standing, &str); 3] = [
        (Standing::Warm, "warm"),
        (Standing::Filling, "filling"),
        (Standing::Closed, "closed"),
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let found = Standing::WORDS.iter().find(|(one, _)| *one == self);
        found.map_or("", |(_, word)| word)
    }

    /// What stands beside the position: what it is, and when that was so.
    fn words(self, now: TimeMs) -> String {
        format!("{} {}", self.as_str(), now.0)
    }

    fn parse(words: &str) -> Option<(Standing, TimeMs)> {
        let (word, since) = words.split_once(' ')?;
        let (standing, _) = Standing::WORDS.iter().find(|(_, one)| *one == word)?;
        Some((*standing, TimeMs(since.parse().ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_beside_a_position_is_read_as_it_was_written() {
        for (standing, word) in Standing::WORDS {
            let words = standing.words(TimeMs(17));
            assert_eq!(words, format!("{word} 17"));
            assert_eq!(Standing::parse(&words), Some((standing, TimeMs(17))));
        }
        for words in [
            "", "warm", "warm ", "warm x", "cold 17", "17 warm", "warm 1 2",
        ] {
            assert_eq!(Standing::parse(words), None, "{words}");
        }
    }
}
