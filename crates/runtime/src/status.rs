//! An application on Kafka as anybody sees it who may read its topics: who works on which task, how much
//! waits, and where tasks are kept warm. Nothing is opened, recorded or consumed, and no instance is asked:
//! it is all in the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use config::{Kafka, Loaded};
use domain::time::TimeMs;
use engine::port::{TopicName, TopicPartition};
use kafkalog::{Cluster, GroupMember, Members, Onlooker, Standing, Told};

use crate::error::RuntimeError;
use crate::kafka::{admin_properties, settings};
use crate::outline::Outline;
use crate::workers::wall_clock;

/// Instances say every few seconds how their standbys are. What is older is not known any more.
const FRESH: Duration = Duration::from_secs(30);

/// An application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// `application_id`.
    pub application: String,
    /// How many instances are configured to keep each task warm.
    pub standby: u32,
    /// Whether the group is not rebalancing: who has what may be about to change otherwise.
    pub is_stable: bool,
    /// The instances that are in the group.
    pub instances: BTreeSet<String>,
    /// Its tasks, all of them, in order.
    pub tasks: Vec<TaskStatus>,
}

/// A task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskStatus {
    /// Its number.
    pub task: u32,
    /// Who works on it, or is about to take it over.
    pub owner: Option<Owner>,
    /// Records in its inputs that are not consumed and committed yet.
    pub lag: u64,
    /// Who keeps it warm, or is about to, in the order of their names.
    pub standbys: Vec<StandbyStatus>,
}

/// Who works on a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The instance.
    pub instance: String,
    /// Its worker.
    pub worker: u32,
    /// Where it connects from.
    pub host: String,
}

/// A standby of a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StandbyStatus {
    /// The instance.
    pub instance: String,
    /// Whether it has had the whole changelog.
    pub is_warm: bool,
    /// Changelog offsets that it has yet to read, those of transactions' markers included.
    pub behind: u64,
    /// How long ago it said so, by the clocks of the two machines.
    pub age: Duration,
}

impl Status {
    /// Looks at the application; `None` before its first start.
    ///
    /// # Errors
    /// The cluster does not answer, or the configuration contradicts what was chosen at the first start.
    pub fn of(loaded: &Loaded, kafka: &Kafka) -> Result<Option<Status>, RuntimeError> {
        let cluster = Cluster::connect(settings(&loaded.config, kafka)?)?;
        let Some(outline) = Outline::on(loaded, &cluster)? else {
            return Ok(None);
        };
        let application = &outline.config.application_id;
        let onlooker = Onlooker::of(application, &admin_properties(kafka)?)?;
        let members = onlooker.members()?;
        let instances: BTreeSet<String> =
            members.members.iter().map(|m| m.instance.clone()).collect();
        let tasks = outline.config.partitions;
        let mut told = BTreeMap::new();
        for instance in &instances {
            told.insert(instance.clone(), cluster.told_by(instance, tasks)?);
        }
        let ends = changelog_ends(&cluster, &onlooker, tasks)?;
        let lag = lag(&outline, &cluster, &onlooker)?;
        let seen = Seen {
            members: &members,
            told: &told,
            ends: &ends,
            lag: &lag,
            now: wall_clock(),
        };
        Ok(Some(Status {
            application: application.clone(),
            standby: outline.config.standby,
            is_stable: members.is_stable,
            tasks: (0..tasks).map(|task| seen.task(task)).collect(),
            instances,
        }))
    }

    /// Tasks that nobody works on.
    pub fn orphans(&self) -> impl Iterator<Item = &TaskStatus> {
        self.tasks.iter().filter(|task| task.owner.is_none())
    }

    /// Tasks that fewer instances keep warm than are configured to.
    pub fn cold(&self) -> impl Iterator<Item = &TaskStatus> {
        let configured = self.standby as usize;
        let is_cold = move |task: &&TaskStatus| task.warm().count() < configured;
        self.tasks.iter().filter(is_cold)
    }
}

impl TaskStatus {
    /// Those of its standbys that have had the whole changelog.
    pub fn warm(&self) -> impl Iterator<Item = &StandbyStatus> {
        self.standbys.iter().filter(|standby| standby.is_warm)
    }
}

/// What was found in the cluster.
struct Seen<'s> {
    members: &'s Members,
    /// By instance and task.
    told: &'s BTreeMap<String, BTreeMap<u32, Told>>,
    /// Ends of changelogs, by task.
    ends: &'s BTreeMap<u32, u64>,
    /// By task.
    lag: &'s BTreeMap<u32, u64>,
    now: TimeMs,
}

impl Seen<'_> {
    fn task(&self, task: u32) -> TaskStatus {
        let mut members = self.members.members.iter();
        let owner = members.find(|member| member.tasks.contains(&task));
        let others = self.told.iter();
        // What the owner said of it, it said before it took it over.
        let others = others.filter(|(name, _)| owner.is_none_or(|o| o.instance != **name));
        let standbys = others.filter_map(|(name, told)| self.standby(task, name, told.get(&task)?));
        TaskStatus {
            task,
            lag: self.lag.get(&task).copied().unwrap_or(0),
            standbys: standbys.collect(),
            owner: owner.map(|member| {
                let GroupMember {
                    instance,
                    worker,
                    host,
                    ..
                } = member.clone();
                Owner {
                    instance,
                    worker,
                    host,
                }
            }),
        }
    }

    fn standby(&self, task: u32, instance: &str, told: &Told) -> Option<StandbyStatus> {
        let age = u64::try_from(self.now.since(told.since)).unwrap_or(0);
        let age = Duration::from_millis(age);
        if told.standing == Standing::Closed || age > FRESH {
            return None;
        }
        let end = self.ends.get(&task).copied().unwrap_or(told.next);
        Some(StandbyStatus {
            instance: instance.to_owned(),
            is_warm: told.standing == Standing::Warm,
            behind: end.saturating_sub(told.next),
            age,
        })
    }
}

fn changelog_ends(
    cluster: &Cluster,
    onlooker: &Onlooker,
    tasks: u32,
) -> Result<BTreeMap<u32, u64>, RuntimeError> {
    let changelog = |partition| TopicPartition {
        topic: Arc::clone(&cluster.topics().changelog),
        partition,
    };
    let changelogs: Vec<_> = (0..tasks).map(changelog).collect();
    let ends = onlooker.ends(&changelogs)?;
    Ok(ends
        .into_iter()
        .map(|(at, end)| (at.partition, end))
        .collect())
}

/// What waits in the inputs of each task. Positions are asked for before ends: what is consumed in between
/// counts as waiting, and nothing else does.
fn lag(
    outline: &Outline,
    cluster: &Cluster,
    onlooker: &Onlooker,
) -> Result<BTreeMap<u32, u64>, RuntimeError> {
    let counts = cluster.partition_counts()?;
    let mut topics = outline.input_topics();
    topics.push(cluster.topics().routed.to_string());
    let mut inputs = Vec::new();
    for topic in topics {
        let count = counts.get(&topic).copied().unwrap_or(0);
        let topic = TopicName::from(topic);
        inputs.extend((0..count).map(|partition| TopicPartition {
            topic: Arc::clone(&topic),
            partition,
        }));
    }
    let positions = cluster.positions(&inputs)?;
    let untouched = positions.iter().filter(|(_, position)| position.is_none());
    let untouched: Vec<_> = untouched.map(|(at, _)| at.clone()).collect();
    let starts = onlooker.starts(&untouched)?;
    let ends = onlooker.ends(&inputs)?;
    let tasks = outline.config.partitions.max(1);
    let mut lag = BTreeMap::new();
    for (at, end) in ends {
        let position = positions.get(&at).copied().flatten();
        let position = position.or_else(|| starts.get(&at).copied());
        *lag.entry(at.partition % tasks).or_default() +=
            end.saturating_sub(position.unwrap_or(end));
    }
    Ok(lag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_news_and_what_the_owner_said_before_do_not_count() {
        let member = |instance: &str, worker, tasks: &[u32]| GroupMember {
            instance: instance.to_owned(),
            worker,
            host: "here".to_owned(),
            tasks: tasks.to_vec(),
        };
        let members = Members {
            is_stable: true,
            members: vec![
                member("a", 0, &[0]),
                member("a", 1, &[2]),
                member("b", 0, &[]),
                member("c", 0, &[]),
            ],
        };
        let told = |standing, next, seconds: i64| Told {
            standing,
            next,
            since: TimeMs(1_000_000 - 1_000 * seconds),
        };
        let (warm, filling, closed) = (Standing::Warm, Standing::Filling, Standing::Closed);
        let news = BTreeMap::from([
            ("a".to_owned(), BTreeMap::from([(0, told(warm, 80, 1))])),
            (
                "b".to_owned(),
                BTreeMap::from([
                    (0, told(warm, 90, 2)),
                    (1, told(warm, 90, 31)),
                    (2, told(closed, 90, 1)),
                ]),
            ),
            (
                "c".to_owned(),
                BTreeMap::from([(0, told(filling, 7, 30)), (2, told(warm, 101, -1))]),
            ),
        ]);
        let seen = Seen {
            members: &members,
            told: &news,
            ends: &BTreeMap::from([(0, 100), (1, 100), (2, 100)]),
            lag: &BTreeMap::from([(2, 5)]),
            now: TimeMs(1_000_000),
        };
        let status = Status {
            application: "shop".to_owned(),
            standby: 1,
            is_stable: true,
            instances: BTreeSet::new(),
            tasks: (0..3).map(|task| seen.task(task)).collect(),
        };
        let told: Vec<_> = status
            .tasks
            .iter()
            .map(|task| {
                let owner = task.owner.as_ref().map(|o| (o.instance.as_str(), o.worker));
                let standbys = task.standbys.iter();
                let standbys: Vec<_> = standbys
                    .map(|s| (s.instance.as_str(), s.is_warm, s.behind, s.age.as_secs()))
                    .collect();
                (owner, task.lag, standbys)
            })
            .collect();
        assert_eq!(
            told,
            [
                (
                    Some(("a", 0)),
                    0,
                    vec![("b", true, 10, 2), ("c", false, 93, 30)]
                ),
                (None, 0, vec![]),
                (Some(("a", 1)), 5, vec![("c", true, 0, 0)]),
            ]
        );
        let numbers = |tasks: Vec<&TaskStatus>| tasks.iter().map(|t| t.task).collect::<Vec<_>>();
        assert_eq!(numbers(status.orphans().collect()), [1]);
        assert_eq!(numbers(status.cold().collect()), [1]);
    }
}
