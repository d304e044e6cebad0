//! A cluster, and what is done to topics on it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::acls::{Acl, AclState, Granted, needed_acls};
use super::desired::{Desired, Purpose, desired};
use super::error::TopicsError;
use super::plan::{Actual, ActualTopic, Plan, PlannedTopic, plan};
use crate::native::admin::{Admin, Description, End, NewTopic, Nodes, Refusal};

/// How long a new topic may take until all of its partitions have leaders.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Names of the property that has the brokers' addresses.
const SERVERS: [&str; 2] = ["bootstrap.servers", "metadata.broker.list"];
/// A broker's setting that names what enforces access rules; empty without.
const AUTHORIZER: &str = "authorizer.class.name";
const READY_POLL: Duration = Duration::from_millis(50);

/// A cluster, for administration.
#[derive(Debug)]
pub struct TopicAdmin {
    admin: Admin,
    servers: String,
    nodes: Nodes,
}

/// What to do about topics that are not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Create {
    /// Make the application's own.
    Missing,
    /// Nothing: fail.
    Nothing,
}

/// A topic that can be worked with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicState {
    /// Its full name.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Its partitions.
    pub partitions: u32,
    /// The id that it got when it was created.
    pub id: String,
    /// The largest record that it takes, in bytes; `None`: that may not be seen.
    pub max_message_bytes: Option<u64>,
    /// For how long it keeps tombstones once it is compacted, in milliseconds; `None`: that may not be
    /// seen.
    pub delete_retention_ms: Option<u64>,
}

/// How much a topic holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Its full name.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Its partitions.
    pub partitions: u32,
    /// Offsets between its ends: transactions' markers count, as does what compaction removed.
    pub records: u64,
    /// Settings in force; `None`: they may not be seen.
    pub settings: Option<BTreeMap<String, String>>,
}

impl TopicAdmin {
    /// Connects with these librdkafka properties.
    ///
    /// # Errors
    /// The properties cannot be used, or no broker answers within 15 seconds.
    pub fn connect(properties: &[(String, String)]) -> Result<TopicAdmin, TopicsError> {
        let admin = Admin::new(properties)?;
        let servers = properties.iter().rev();
        let mut servers = servers.filter(|(name, _)| SERVERS.contains(&name.as_str()));
        let servers = servers.next().map_or("", |(_, servers)| servers).to_owned();
        let nodes = admin
            .cluster()
            .map_err(|refusal| TopicsError::refused("describe itself", &servers, refusal))?;
        Ok(TopicAdmin {
            admin,
            servers,
            nodes,
        })
    }

    /// The cluster's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.nodes.cluster
    }

    fn brokers(&self) -> u32 {
        u32::try_from(self.nodes.brokers.len()).unwrap_or(u32::MAX)
    }

    /// The topics of the application, and those of others that it reads, as they are.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses.
    pub fn actual(&self, wanted: &Desired) -> Result<Actual, TopicsError> {
        let specs = desired(wanted, self.brokers());
        let own = specs.iter().map(|spec| spec.name.as_str());
        let foreign = wanted.foreign.iter().map(String::as_str);
        let names: Vec<&str> = own.chain(foreign).collect();
        let described = self.described(&names)?;
        let there: Vec<&str> = described.keys().map(String::as_str).collect();
        let mut settings = self.settings(&there)?;
        let topics = described.iter().map(|(name, topic)| {
            let topic = ActualTopic {
                id: topic.id.clone(),
                partitions: topic.partitions,
                replication: topic.replicas,
                settings: settings.remove(name),
            };
            (name.clone(), topic)
        });
        Ok(Actual {
            cluster: self.nodes.cluster.clone(),
            brokers: self.brokers(),
            topics: topics.collect(),
        })
    }

    /// What there is to do; see [`plan`].
    ///
    /// # Errors
    /// The cluster does not answer, or refuses.
    pub fn plan(
        &self,
        wanted: &Desired,
        recorded: &BTreeMap<String, String>,
    ) -> Result<Plan, TopicsError> {
        Ok(plan(wanted, recorded, &self.actual(wanted)?))
    }

    /// Does what `plan` says, and waits until new topics can be used.
    ///
    /// # Errors
    /// The plan has fatal problems, and nothing was done; or the cluster refuses: what it took stays.
    pub fn apply(&self, plan: &Plan) -> Result<(), TopicsError> {
        if plan.fatal().next().is_some() {
            return Err(TopicsError::problems(plan.fatal()));
        }
        self.create(plan.created())?;
        let changes: Vec<(&str, Vec<(&str, &str)>)> = plan
            .changed()
            .map(|topic| {
                let changes = topic.changes.iter();
                let changes = changes.map(|change| (change.setting, change.to.as_str()));
                (topic.spec.name.as_str(), changes.collect())
            })
            .collect();
        if changes.is_empty() {
            return Ok(());
        }
        const ACTION: &str = "change settings of topics";
        let altered = self.admin.alter(&changes).map_err(self.refused(ACTION))?;
        all_done(ACTION, altered)
    }

    /// Sees to it that the application can start: every topic is there, with its partitions, and is the
    /// one that was recorded. Settings are not looked at. Several instances may do this at once.
    ///
    /// # Errors
    /// Topics are missing and not to be created, recorded ones are gone or others, partitions are not
    /// N, or the cluster refuses.
    pub fn ensure(
        &self,
        wanted: &Desired,
        recorded: &BTreeMap<String, String>,
        create: Create,
    ) -> Result<Vec<TopicState>, TopicsError> {
        let mut plan = self.plan(wanted, recorded)?;
        check(&plan)?;
        let missing: Vec<String> = plan
            .created()
            .map(|topic| topic.spec.name.clone())
            .collect();
        if !missing.is_empty() {
            match create {
                Create::Missing => self.create(plan.created())?,
                Create::Nothing => return Err(TopicsError::Missing(missing)),
            }
            // Another instance may have been faster, and with other settings.
            plan = self.plan(wanted, recorded)?;
            check(&plan)?;
        }
        let states = plan.topics.into_iter().map(|topic| {
            let name = topic.spec.name;
            match topic.actual {
                Some(actual) => Ok(TopicState {
                    name,
                    purpose: topic.spec.purpose,
                    partitions: actual.partitions,
                    max_message_bytes: actual.max_message_bytes(),
                    delete_retention_ms: actual.delete_retention_ms(),
                    id: actual.id,
                }),
                None => Err(TopicsError::Missing(vec![name])),
            }
        });
        states.collect()
    }

    /// The application's topics that are there, and those of others that it reads, with what they hold.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses.
    pub fn usage(&self, wanted: &Desired) -> Result<Vec<Usage>, TopicsError> {
        let plan = self.plan(wanted, &BTreeMap::new())?;
        let there = plan.topics.into_iter().filter_map(|topic| {
            let actual = topic.actual?;
            Some(Usage {
                name: topic.spec.name,
                purpose: topic.spec.purpose,
                partitions: actual.partitions,
                records: 0,
                settings: actual.settings,
            })
        });
        let mut there: Vec<Usage> = there.collect();
        let partitions: Vec<(&str, u32)> = there
            .iter()
            .flat_map(|topic| (0..topic.partitions).map(|p| (topic.name.as_str(), p)))
            .collect();
        if partitions.is_empty() {
            return Ok(there);
        }
        let ends = |end| {
            let offsets = self.admin.offsets(&partitions, end);
            offsets.map_err(self.refused("tell offsets"))
        };
        let (first, last) = (ends(End::First)?, ends(End::Last)?);
        for topic in &mut there {
            for partition in 0..topic.partitions {
                let key = (topic.name.clone(), partition);
                let ends = last.get(&key).zip(first.get(&key));
                let held = ends.map_or(0, |(last, first)| last.saturating_sub(*first));
                topic.records += u64::try_from(held).unwrap_or(0);
            }
        }
        Ok(there)
    }

    /// The rules that `principal` (`User:name`) needs, and which of them are there.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses.
    pub fn acls(&self, wanted: &Desired, principal: &str) -> Result<Vec<AclState>, TopicsError> {
        let rules = self.admin.acls(principal);
        let rules = rules.map_err(self.refused("show its access rules"))?;
        let without = match (self.has_authorizer()?, self.nodes.may_describe) {
            (false, _) => Some(Granted::NoAuthorizer),
            (true, false) => Some(Granted::Hidden),
            (true, true) => None,
        };
        let states = needed_acls(wanted).into_iter().map(|acl| {
            let found = || match rules.iter().any(|rule| acl.is_within(rule)) {
                true => Granted::Yes,
                false => Granted::No,
            };
            let granted = without.unwrap_or_else(found);
            AclState { acl, granted }
        });
        Ok(states.collect())
    }

    /// Without an authorizer everybody may see a broker's settings, that there is none among them.
    fn has_authorizer(&self) -> Result<bool, TopicsError> {
        let Some(broker) = self.nodes.brokers.first() else {
            return Ok(true);
        };
        match self.admin.broker_settings(*broker) {
            Ok(settings) => Ok(settings
                .get(AUTHORIZER)
                .is_none_or(|class| !class.is_empty())),
            Err(refusal) if refusal.code == Refusal::CLUSTER_UNAUTHORIZED => Ok(true),
            Err(refusal) => Err(self.refused("show a broker's settings")(refusal)),
        }
    }

    /// Adds rules for `principal`.
    ///
    /// # Errors
    /// The brokers have no authorizer, or refuse.
    pub fn grant<'a>(
        &self,
        principal: &str,
        acls: impl IntoIterator<Item = &'a Acl>,
    ) -> Result<(), TopicsError> {
        let rules: Vec<_> = acls.into_iter().map(|acl| acl.rule(principal)).collect();
        if rules.is_empty() {
            return Ok(());
        }
        let granted = self.admin.create_acls(&rules);
        granted.map_err(self.refused("add access rules"))
    }

    fn create<'a>(
        &self,
        topics: impl Iterator<Item = &'a PlannedTopic>,
    ) -> Result<(), TopicsError> {
        let topics: Vec<NewTopic<'_>> = topics
            .map(|topic| NewTopic {
                name: &topic.spec.name,
                partitions: topic.spec.partitions,
                replicas: topic.spec.replication,
                settings: topic
                    .spec
                    .settings
                    .iter()
                    .map(|setting| (setting.name, setting.value.as_str()))
                    .collect(),
            })
            .collect();
        if topics.is_empty() {
            return Ok(());
        }
        const ACTION: &str = "create topics";
        let mut created = self.admin.create(&topics).map_err(self.refused(ACTION))?;
        for result in created.values_mut() {
            // Another instance was faster, or the request was sent twice.
            if matches!(result, Err(refusal) if refusal.code == Refusal::TOPIC_EXISTS) {
                *result = Ok(());
            }
        }
        all_done(ACTION, created)?;
        self.await_leaders(&topics)
    }

    fn await_leaders(&self, topics: &[NewTopic<'_>]) -> Result<(), TopicsError> {
        let names: Vec<&str> = topics.iter().map(|topic| topic.name).collect();
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            let described = self.described(&names)?;
            let ready = |name: &&str| {
                let topic = described.get(*name);
                topic.is_some_and(|topic| topic.partitions > 0 && topic.led == topic.partitions)
            };
            let waiting = names.iter().filter(|name| !ready(name));
            let waiting: Vec<String> = waiting.map(|name| (*name).to_owned()).collect();
            if waiting.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(TopicsError::NotReady(waiting));
            }
            std::thread::sleep(READY_POLL);
        }
    }

    /// Those of the topics that there are.
    fn described(&self, names: &[&str]) -> Result<BTreeMap<String, Description>, TopicsError> {
        const ACTION: &str = "describe topics";
        let described = self.admin.topics(names).map_err(self.refused(ACTION))?;
        let mut there = BTreeMap::new();
        let mut refused = Vec::new();
        for (name, topic) in described {
            match topic {
                Ok(topic) => {
                    there.insert(name, topic);
                }
                Err(refusal) if refusal.code == Refusal::UNKNOWN_TOPIC => {}
                Err(refusal) => refused.push((name, refusal.message)),
            }
        }
        match refused.is_empty() {
            true => Ok(there),
            false => Err(TopicsError::TopicsRefused {
                action: ACTION,
                topics: refused,
            }),
        }
    }

    /// Settings of those of the topics whose settings may be seen.
    fn settings(
        &self,
        names: &[&str],
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>, TopicsError> {
        const ACTION: &str = "show settings of topics";
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let settings = self.admin.settings(names).map_err(self.refused(ACTION))?;
        let mut seen = BTreeMap::new();
        let mut refused = Vec::new();
        for (name, settings) in settings {
            match settings {
                Ok(settings) => {
                    seen.insert(name, settings);
                }
                // The broker that was asked may not know a new topic yet.
                Err(Refusal {
                    code: Refusal::TOPIC_UNAUTHORIZED | Refusal::UNKNOWN_TOPIC,
                    ..
                }) => {}
                Err(refusal) => refused.push((name, refusal.message)),
            }
        }
        match refused.is_empty() {
            true => Ok(seen),
            false => Err(TopicsError::TopicsRefused {
                action: ACTION,
                topics: refused,
            }),
        }
    }

    fn refused(&self, action: &'static str) -> impl Fn(Refusal) -> TopicsError + '_ {
        move |refusal| TopicsError::refused(action, &self.servers, refusal)
    }
}

/// What keeps the application from working, by its kind.
fn check(plan: &Plan) -> Result<(), TopicsError> {
    use super::plan::Problem;

    let (mut recreated, mut foreign) = (Vec::new(), Vec::new());
    for (topic, problem) in plan.fatal() {
        match problem {
            Problem::Recreated(found) => recreated.push(found.clone()),
            Problem::ForeignMissing => foreign.push(topic.to_owned()),
            _ => {}
        }
    }
    if !recreated.is_empty() {
        return Err(TopicsError::Recreated(recreated));
    }
    if !foreign.is_empty() {
        return Err(TopicsError::MissingForeign(foreign));
    }
    match plan.fatal().next() {
        Some(_) => Err(TopicsError::problems(plan.fatal())),
        None => Ok(()),
    }
}

fn all_done(
    action: &'static str,
    results: BTreeMap<String, Result<(), Refusal>>,
) -> Result<(), TopicsError> {
    let refused: Vec<(String, String)> = results
        .into_iter()
        .filter_map(|(topic, result)| Some((topic, result.err()?.message)))
        .collect();
    match refused.is_empty() {
        true => Ok(()),
        false => Err(TopicsError::TopicsRefused {
            action,
            topics: refused,
        }),
    }
}
