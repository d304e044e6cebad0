//! The application from outside: which instances there are, which tasks each of their workers has, where
//! partitions end. Whoever looks takes no part in the group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::port::TopicPartition;
use engine::topics::Topics;

use crate::error::KafkaLogError;
use crate::native::admin::{Admin, DescribedGroup, DescribedMember, End, Refusal};

/// How long the group's coordinator may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Codes of the protocol: there is no such group, or none yet.
const NO_GROUP: [i32; 2] = [69, 24];

/// A look at an application.
#[derive(Debug)]
pub struct Onlooker {
    admin: Admin,
    application: String,
    routed: String,
}

/// The group as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Members {
    /// Whether members have what they are to have: no rebalance is under way.
    pub is_stable: bool,
    /// Its members, in the order of instances and workers.
    pub members: Vec<GroupMember>,
}

/// A member of the group: a worker of an instance.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct GroupMember {
    /// The instance's name.
    pub instance: String,
    /// Its number among the instance's workers.
    pub worker: u32,
    /// Where it connects from.
    pub host: String,
    /// The tasks that it has, or is about to take over.
    pub tasks: Vec<u32>,
}

impl Onlooker {
    /// With librdkafka properties of a client that neither consumes nor produces. It does not wait for
    /// the cluster.
    ///
    /// # Errors
    /// The properties are refused.
    pub fn of(
        application: &str,
        properties: &[(String, String)],
    ) -> Result<Onlooker, KafkaLogError> {
        Ok(Onlooker {
            admin: Admin::new(properties).map_err(KafkaLogError::Client)?,
            application: application.to_owned(),
            routed: Topics::of(application).routed.to_string(),
        })
    }

    /// The members that there are now; none where nobody has ever joined.
    ///
    /// # Errors
    /// The cluster does not answer, or it may not be asked.
    pub fn members(&self) -> Result<Members, KafkaLogError> {
        match self.admin.group(&self.application, ANSWER) {
            Ok(group) => Ok(members(&self.application, &self.routed, group)),
            Err(Refusal { code, .. }) if NO_GROUP.contains(&code) => Ok(Members::default()),
            Err(refusal) => Err(KafkaLogError::failed("looking at the group", refusal)),
        }
    }

    /// The offset after the last record of each of `partitions`, committed or not.
    ///
    /// # Errors
    /// The cluster does not answer, or it may not be asked.
    pub fn ends(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, u64>, KafkaLogError> {
        self.offsets(partitions, End::Last)
    }

    /// The first offset of each of `partitions`.
    ///
    /// # Errors
    /// The cluster does not answer, or it may not be asked.
    pub fn starts(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, u64>, KafkaLogError> {
        self.offsets(partitions, End::First)
    }

    fn offsets(
        &self,
        partitions: &[TopicPartition],
        end: End,
    ) -> Result<BTreeMap<TopicPartition, u64>, KafkaLogError> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let asked: Vec<(&str, u32)> = partitions
            .iter()
            .map(|at| (&*at.topic, at.partition))
            .collect();
        let found = self.admin.offsets(&asked, end);
        let found = found.map_err(|e| KafkaLogError::failed("asking where partitions end", e))?;
        let known = found
            .into_iter()
            .filter_map(|((topic, partition), offset)| {
                let at = TopicPartition {
                    topic: Arc::from(topic),
                    partition,
                };
                Some((at, u64::try_from(offset).ok()?))
            });
        Ok(known.collect())
    }
}

fn members(application: &str, routed: &str, group: DescribedGroup) -> Members {
    let member = |member: DescribedMember| {
        let (instance, worker) = whose(application, &member.client_id)?;
        let assigned = member.assigned.into_iter();
        let mut tasks: Vec<u32> = assigned
            .filter(|(topic, _)| topic == routed)
            .map(|(_, task)| task)
            .collect();
        tasks.sort_unstable();
        Some(GroupMember {
            instance,
            worker,
            host: member.host.trim_start_matches('/').to_owned(),
            tasks,
        })
    };
    let mut members: Vec<_> = group.members.into_iter().filter_map(member).collect();
    members.sort();
    Members {
        is_stable: group.is_stable,
        members,
    }
}

/// Instance and worker by a member's client id, which is its transactional id.
fn whose(application: &str, client_id: &str) -> Option<(String, u32)> {
    let rest = client_id.strip_prefix(application)?.strip_prefix('-')?;
    let (instance, worker) = rest.rsplit_once('-')?;
    Some((instance.to_owned(), worker.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_told_by_their_client_ids_and_tasks_by_one_topic() {
        let member = |client_id: &str, assigned: &[(&str, u32)]| DescribedMember {
            client_id: client_id.to_owned(),
            host: "/10.0.0.7".to_owned(),
            assigned: assigned
                .iter()
                .map(|(topic, n)| ((*topic).to_owned(), *n))
                .collect(),
        };
        let group = DescribedGroup {
            is_stable: true,
            members: vec![
                member("shop-eu-pod-1-0", &[("shop-eu.internal.routed", 3)]),
                member("shop-eu-pod-0-1", &[]),
                member(
                    "shop-eu-pod-0-0",
                    &[
                        ("shop-eu.internal.routed", 2),
                        ("shop-eu.orders", 7),
                        ("shop-eu.internal.routed", 0),
                    ],
                ),
                // Of others that use the same group by mistake.
                member("rdkafka", &[("shop-eu.internal.routed", 1)]),
            ],
        };
        let found = members("shop-eu", "shop-eu.internal.routed", group);
        let told: Vec<_> = found
            .members
            .iter()
            .map(|m| (m.instance.as_str(), m.worker, m.tasks.as_slice()))
            .collect();
        assert_eq!(
            told,
            [
                ("pod-0", 0, [0, 2].as_slice()),
                ("pod-0", 1, &[]),
                ("pod-1", 0, &[3])
            ]
        );
        assert!(found.is_stable);
        assert_eq!(found.members[0].host, "10.0.0.7");
    }
}
