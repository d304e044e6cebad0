//! Changing the number of tasks of a deployment on Kafka, while its service is stopped.
//!
//! The new tasks get topics of their own, of the next generation. What the old tasks have is copied there;
//! then one transaction makes the new ones begin, where the old ones stood. Until then nothing has
//! happened to the old ones, and after it nothing of theirs is used. docs/repartition.md tells the steps
//! and what is true if the process dies at each.
//!
//! Invariants:
//! - What is on its way is consumed by the old tasks first, as a service would: everything that was routed,
//!   and nothing of the inputs.
//! - Every step may be done again. Copies are taken for done only while the heads of the old tasks' chains
//!   are those that were copied; otherwise all is copied anew, to topics of another generation.
//! - While it is not finished no service starts. One that started before is a member of the group, and
//!   then it is refused; one that joins meanwhile ends it, and nothing has happened.

mod copy;
mod hands;
mod written;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::{Kafka, Loaded};
use engine::port::TopicName;
use engine::topics::Topics;
use failpoint::Point;
use kafkalog::topics::{Create, TopicAdmin};
use kafkalog::{Appender, Cluster, Stopping};

use self::copy::Copied;
use self::hands::Hands;
use super::{admin_properties, connect, desired, inputs, is_changelog, sizes};
use crate::deployment::{Deployment, IDENTITY, Identity, identify, memory_of};
use crate::error::RuntimeError;
use crate::log::Log;
use crate::observe::Observers;
use crate::workers::{Shared, wall_clock};

pub(super) use written::refuse_unfinished;
use written::{PLAN, Plan};

/// How much longer than a session lasts the members that died are waited for.
const GONE_WITHIN: Duration = Duration::from_secs(3);
/// How often it is looked whether they are gone.
const LOOK: Duration = Duration::from_millis(200);
/// The largest number of tasks, as in the configuration.
pub const LARGEST: u32 = 1024;

/// A deployment whose number of tasks may be changed.
pub struct Repartition {
    loaded: Loaded,
    kafka: Kafka,
    cluster: Arc<Cluster>,
    admin: TopicAdmin,
    identity: Identity,
    inputs: BTreeMap<TopicName, u32>,
    plan: Option<Plan>,
}

/// What there is, and what would be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outlook {
    /// The application.
    pub application: String,
    /// The number of tasks that there is.
    pub from: u32,
    /// What it is being changed to, if that was begun and is not finished.
    pub unfinished: Option<u32>,
    /// Partitions of each output, which stay.
    pub outputs: u32,
    /// The input topics, and their partitions, which stay.
    pub inputs: Vec<(String, u32)>,
    /// The topics of the tasks that there are.
    pub topics: Vec<String>,
    /// Who is in the group.
    pub members: Vec<String>,
    /// Routed records that are not consumed yet.
    pub routed: u64,
    /// Topics that nobody uses any more, of earlier numbers of tasks or of changes that were given up.
    pub unused: Vec<String>,
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// So many members of the group are waited for: they may have died.
    Waiting(usize),
    /// The old tasks' state is being brought up to date: so many of so many offsets.
    Restoring(u64, u64),
    /// What was routed is consumed: so many records are left.
    Draining(u64),
    /// So many of so many old tasks are copied; and so many profiles in this run.
    Copying(u32, u32, u64),
    /// The new tasks begin.
    Switching,
}

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// The number of tasks that there was.
    pub from: u32,
    /// The number that there is.
    pub to: u32,
    /// Profiles of all tasks.
    pub profiles: u64,
    /// Days of all tasks.
    pub days: u64,
    /// The topics of the new tasks.
    pub topics: Vec<String>,
    /// The topics of the old ones, which nobody uses any more.
    pub unused: Vec<String>,
}

fn refused(what: impl Into<String>) -> RuntimeError {
    RuntimeError::Repartition(what.into())
}

impl Repartition {
    /// Looks at what there is; changes nothing. The configuration may have either number of tasks.
    ///
    /// # Errors
    /// The cluster does not answer, or there is no such deployment.
    pub fn of(loaded: &Loaded, kafka: &Kafka) -> Result<Repartition, RuntimeError> {
        let (cluster, marks) = connect(&loaded.config, kafka)?;
        let Some(known) = marks.get(IDENTITY) else {
            return Err(refused(format!(
                "there is no application {:?} here: before its first start `partitions` may be any number",
                loaded.config.application_id
            )));
        };
        let recorded: Identity = serde_json::from_slice(known).map_err(RuntimeError::Identity)?;
        let mut loaded = loaded.clone();
        loaded.config.partitions = recorded.partitions;
        let (identity, _) = identify(Some(known), &loaded, None)?;
        let admin = TopicAdmin::connect(&admin_properties(kafka)?)?;
        let wanted = desired(&loaded.config, kafka, &identity);
        let states = admin.ensure(&wanted, &identity.topics, Create::Nothing)?;
        cluster.writes_up_to(sizes(&wanted, &states));
        Ok(Repartition {
            plan: Plan::in_marks(&marks)?,
            inputs: inputs(&states),
            kafka: kafka.clone(),
            loaded,
            cluster,
            admin,
            identity,
        })
    }

    /// What there is, and what would be done.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn outlook(&self) -> Result<Outlook, RuntimeError> {
        let names = self.inputs.iter();
        let names = names.map(|(name, partitions)| (name.to_string(), *partitions));
        Ok(Outlook {
            application: self.identity_application().to_owned(),
            from: self.identity.partitions,
            unfinished: self.plan.as_ref().filter(|p| p.open).map(|plan| plan.to),
            outputs: self.identity.outputs(),
            inputs: names.collect(),
            topics: named(self.cluster.topics()),
            members: self.cluster.members()?,
            routed: self.deployment()?.lag()?,
            unused: self.unused()?,
        })
    }

    fn identity_application(&self) -> &str {
        &self.loaded.config.application_id
    }

    /// Changes the number of tasks to `to`, or goes on with it.
    ///
    /// # Errors
    /// It cannot be done, or not to its end: what to do is said, and doing it again goes on.
    pub fn run(
        self,
        to: u32,
        shared: &Arc<Shared>,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<Done, RuntimeError> {
        self.check(to)?;
        self.wait_until_alone(shared, tell)?;
        let plan = self.begin(to)?;
        failpoint::reach(Point::Planned);
        let data_dir = &self.loaded.config.data_dir;
        std::fs::create_dir_all(data_dir).map_err(|e| RuntimeError::folder(data_dir, e))?;
        let deployment = self.deployment()?;
        let nobody = Observers::default();
        let mut hands = Hands::join(&deployment, &self.cluster, &nobody, shared)?;
        hands.take_over(tell)?;
        hands.drain(tell)?;
        let plan = plan.for_heads(hands.heads());
        let identity = self.make_topics(&plan)?;
        let copied = hands.copy(plan, tell)?;
        failpoint::reach(Point::Copied);
        tell(Progress::Switching);
        let done = self.switch(&mut hands, &copied, &identity)?;
        failpoint::reach(Point::Switched);
        hands.leave()?;
        Ok(done)
    }

    /// Gives up what was begun: the tasks stay as they are.
    ///
    /// # Errors
    /// Nothing was begun, or the cluster does not answer.
    pub fn abandon(self) -> Result<(), RuntimeError> {
        let plan = self.plan.as_ref().filter(|plan| plan.open);
        let Some(plan) = plan else {
            return Err(refused("no change of the number of tasks is under way"));
        };
        // Its number is not used again: some of its topics may be filled.
        let given_up = Plan {
            open: false,
            ..plan.clone()
        };
        self.write(&given_up)
    }

    /// Deletes the topics that nobody uses any more; answers which.
    ///
    /// # Errors
    /// A change is not finished, or the cluster does not permit it.
    pub fn delete_unused(&self) -> Result<Vec<String>, RuntimeError> {
        if let Some(plan) = self.plan.as_ref().filter(|plan| plan.open) {
            return Err(RuntimeError::Repartitioning {
                from: plan.from,
                to: plan.to,
            });
        }
        let unused = self.unused()?;
        self.cluster.delete_topics(&unused)?;
        Ok(unused)
    }

    fn check(&self, to: u32) -> Result<(), RuntimeError> {
        let from = self.identity.partitions;
        match self.plan.as_ref().filter(|plan| plan.open) {
            Some(plan) if plan.to != to => Err(RuntimeError::Repartitioning { from, to: plan.to }),
            None if to == from => Err(refused(format!("there are {from} tasks already"))),
            _ => Ok(()),
        }
    }

    /// Waits until nobody is in the group. Who died, as this command may have before, stays in it
    /// until its session is over.
    fn wait_until_alone(
        &self,
        shared: &Shared,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<(), RuntimeError> {
        let patience = self.kafka.session_timeout + GONE_WITHIN;
        let deadline = Instant::now() + patience;
        let mut is_told = false;
        loop {
            let members = self.cluster.members()?;
            if members.is_empty() {
                return Ok(());
            }
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(
                    members = members.join(", "),
                    seconds = patience.as_secs(),
                    "waiting for members of the group to be gone, as they are if they have died"
                );
            }
            if Instant::now() > deadline {
                return Err(refused(format!(
                    "the service is running: {}. Stop every instance of application {:?}, then run this \
                     again; nothing was changed",
                    members.join(", "),
                    self.identity_application()
                )));
            }
            tell(Progress::Waiting(members.len()));
            if shared.wait_for_stop(LOOK) {
                return Err(RuntimeError::Interrupted);
            }
        }
    }

    /// Writes down what is to be done, unless it is: from then on no service starts.
    fn begin(&self, to: u32) -> Result<Plan, RuntimeError> {
        if let Some(plan) = self.plan.as_ref().filter(|plan| plan.open) {
            return Ok(plan.clone());
        }
        let given_up = self.plan.as_ref().map_or(0, |plan| plan.generation);
        let plan = Plan {
            from: self.identity.partitions,
            to,
            generation: self.identity.generation.max(given_up) + 1,
            open: true,
            heads: Vec::new(),
            copied: Vec::new(),
        };
        self.write(&plan)?;
        Ok(plan)
    }

    fn write(&self, plan: &Plan) -> Result<(), RuntimeError> {
        let never: Stopping = Arc::new(|| false);
        let mut appender: Appender = self.cluster.appender("setup", never)?;
        let bytes = serde_json::to_vec(plan).map_err(RuntimeError::Identity)?;
        Ok(appender.append(&[], &[(PLAN, bytes)])?)
    }

    /// The old tasks, as they are to work on what was routed to them: without inputs.
    fn deployment(&self) -> Result<Deployment, RuntimeError> {
        let config = self.loaded.config.clone();
        let shared = memory_of(&config);
        let log = Log::Kafka(Arc::clone(&self.cluster));
        let incarnation = self.identity.incarnation.clone().into_bytes();
        let none = BTreeMap::new();
        Deployment::with(config, log, &self.identity, incarnation, none, shared)
    }

    /// The deployment as it will be, but for the ids of its topics.
    fn identity_of(&self, plan: &Plan) -> Identity {
        let mut identity = self.identity.clone();
        identity.outputs = Some(self.identity.outputs());
        identity.partitions = plan.to;
        identity.generation = plan.generation;
        identity.former.push(self.identity.incarnation.clone());
        let old = self.cluster.topics().of_tasks();
        identity
            .topics
            .retain(|name, _| old.iter().all(|old| ***old != **name));
        identity
    }

    /// Makes the new tasks' topics, where they are not there; answers the deployment as it will be.
    fn make_topics(&self, plan: &Plan) -> Result<Identity, RuntimeError> {
        let mut identity = self.identity_of(plan);
        let wanted = desired(&self.loaded.config, &self.kafka, &identity);
        let states = self
            .admin
            .ensure(&wanted, &identity.topics, Create::Missing)?;
        for state in states {
            if is_changelog(&state) {
                identity.incarnation.clone_from(&state.id);
            }
            identity.topics.insert(state.name, state.id);
        }
        Ok(identity)
    }

    fn switch(
        &self,
        hands: &mut Hands<'_>,
        copied: &Copied,
        identity: &Identity,
    ) -> Result<Done, RuntimeError> {
        let inputs: Vec<(TopicName, u32)> = self
            .inputs
            .iter()
            .map(|(name, partitions)| (Arc::clone(name), *partitions))
            .collect();
        let topics = Topics::of_generation(self.identity_application(), identity.generation);
        let days = hands.hand_over(&inputs, &topics, identity)?;
        Ok(Done {
            from: self.identity.partitions,
            to: identity.partitions,
            profiles: copied.profiles,
            days,
            unused: named(self.cluster.topics()),
            topics: named(&topics),
        })
    }

    /// Topics of generations that are not, or not any more, the application's.
    fn unused(&self) -> Result<Vec<String>, RuntimeError> {
        let there = self.cluster.partition_counts()?;
        let planned = self.plan.as_ref();
        let open = planned.filter(|plan| plan.open).map(|plan| plan.generation);
        let last = planned.map_or(0, |plan| plan.generation);
        let generations = 0..=last.max(self.identity.generation);
        let is_unused =
            |generation: &u32| *generation != self.identity.generation && Some(*generation) != open;
        let names = generations.filter(is_unused).flat_map(|generation| {
            named(&Topics::of_generation(
                self.identity_application(),
                generation,
            ))
        });
        Ok(names.filter(|name| there.contains_key(name)).collect())
    }
}

fn named(topics: &Topics) -> Vec<String> {
    topics.of_tasks().map(|name| name.to_string()).to_vec()
}

/// This start of this process, told apart from every other.
fn nonce() -> String {
    format!("{}-{}", std::process::id(), wall_clock().0)
}

/// Where this process stands in the way of nobody but its own earlier starts.
fn joined_by_others() -> RuntimeError {
    refused(
        "another instance has joined the group meanwhile: stop it, then run this again; nothing was changed",
    )
}
