//! The application from outside: which instances there are, which tasks each of their workers has, where
//! partitions end. Whoever looks takes no part in the group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::port::TopicPartition;
use engine::topics::Topics;

use crate::error::KafkaLogError;
use crate::native::admin::{Admin, DescribedGroup, DescribedMember, End};

/// How long the brokers may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

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
        let group = self.admin.group(&self.application, ANSWER);
        let group = group.map_err(|e| KafkaLogError::failed("looking at the group", e))?;
        Ok(group.map_or_else(Members::default, |group| {
            members(&self.application, &self.routed, group)
        }))
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
        // One that has been assigned nothing yet has no bytes.
        let assigned = assigned(&member.assignment).unwrap_or_default().into_iter();
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

/// Topics and partitions of an assignment as consumers' protocol has it, in its first version or any later
/// one: a version, then topics with their partitions, all big-endian with counts before them.
fn assigned(bytes: &[u8]) -> Option<Vec<(String, u32)>> {
    fn number(rest: &mut &[u8]) -> Option<i32> {
        let (bytes, behind) = rest.split_first_chunk()?;
        *rest = behind;
        Some(i32::from_be_bytes(*bytes))
    }
    fn short(rest: &mut &[u8]) -> Option<i16> {
        let (bytes, behind) = rest.split_first_chunk()?;
        *rest = behind;
        Some(i16::from_be_bytes(*bytes))
    }
    let mut rest = bytes;
    short(&mut rest)?;
    let mut assigned = Vec::new();
    for _ in 0..number(&mut rest)? {
        let length = usize::try_from(short(&mut rest)?).ok()?;
        let (topic, behind) = rest.split_at_checked(length)?;
        rest = behind;
        let topic = std::str::from_utf8(topic).ok()?;
        for _ in 0..number(&mut rest)? {
            let partition = u32::try_from(number(&mut rest)?).ok()?;
            assigned.push((topic.to_owned(), partition));
        }
    }
    Some(assigned)
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

    /// An assignment of version 0 with these partitions, each as a topic of its own, and bytes of the
    /// assignor's behind them.
    fn bytes(assigned: &[(&str, u32)]) -> Vec<u8> {
        let mut bytes = vec![0, 0];
        bytes.extend((assigned.len() as u32).to_be_bytes());
        for (topic, partition) in assigned {
            bytes.extend((topic.len() as u16).to_be_bytes());
            bytes.extend(topic.as_bytes());
            bytes.extend([0, 0, 0, 1]);
            bytes.extend(partition.to_be_bytes());
        }
        bytes.extend([0xff; 4]);
        bytes
    }

    #[test]
    fn an_assignment_is_read_whole_or_not_at_all() {
        // As Kafka 4.1 sent it: two partitions of one topic, no bytes of the assignor's.
        let seen = b"\0\x03\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x05\0\0\0\x01\xff\xff\xff\xff";
        let wanted = Some(vec![("t".to_owned(), 5), ("t".to_owned(), 1)]);
        assert_eq!(assigned(seen), wanted);
        assert_eq!(assigned(&bytes(&[])), Some(Vec::new()));
        let whole = bytes(&[("orders", 7), ("t", 2)]);
        let end = whole.len() - 4;
        assert!(assigned(&whole[..end]).is_some());
        for cut in 0..end {
            assert_eq!(assigned(&whole[..cut]), None, "{cut}");
        }
        let mut negative = bytes(&[("t", 2)]);
        negative[13] = 0xff;
        assert_eq!(assigned(&negative), None);
    }

    #[test]
    fn members_are_told_by_their_client_ids_and_tasks_by_one_topic() {
        let member = |client_id: &str, assigned: &[(&str, u32)]| DescribedMember {
            client_id: client_id.to_owned(),
            host: "/10.0.0.7".to_owned(),
            assignment: bytes(assigned),
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
