//! A deployment on Kafka: connecting, its topics, and what was chosen at its first start.

mod administration;
pub mod repartition;
mod session;
mod source;
mod standby;
mod stores;
mod work;

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::{Config, Kafka, Loaded};
use domain::money::Currency;
use engine::port::TopicName;
use kafkalog::topics::{self, Create, Desired, Purpose, TopicRetention, TopicState};
use kafkalog::{Cluster, KafkaLogError, Marks, Settings, Sizes, Stopping};
use rustc_hash::FxHasher;

use crate::deployment::{Deployment, IDENTITY, Identity, identify};
use crate::error::RuntimeError;

pub use administration::Administration;
pub(crate) use work::run;

/// How long to go on trying to reach the cluster.
const PATIENCE: Duration = Duration::from_secs(30);
/// After which time it is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long processes that start at once may take to agree.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// How long a process that was ended by another one waits for what that one writes.
const TRUSTED_FOR: Duration = Duration::from_secs(3);
/// How often it looks.
const GLANCE: Duration = Duration::from_millis(50);

/// What a deployment on Kafka begins with.
pub(crate) struct Opened {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) identity: Identity,
    /// Number of partitions of every input.
    pub(crate) inputs: BTreeMap<TopicName, u32>,
    /// For how long the changelog keeps tombstones, if that may be seen.
    pub(crate) tombstones: Option<Duration>,
}

/// For how long a changelog keeps tombstones that was made as it should be.
pub(crate) const TOMBSTONES: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Connects, sees to the topics, and finds or writes down what was chosen at the first start. Waits a
/// while for brokers that do not answer: they may be starting too.
pub(crate) fn open(
    loaded: &Loaded,
    kafka: &Kafka,
    currency: Option<Currency>,
) -> Result<Opened, RuntimeError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match try_open(loaded, kafka, currency) {
            Err(error) if error.is_passing() && Instant::now() < deadline => {
                tracing::warn!("{error}; trying again");
                std::thread::park_timeout(AGAIN);
            }
            opened => return opened,
        }
    }
}

fn try_open(
    loaded: &Loaded,
    kafka: &Kafka,
    currency: Option<Currency>,
) -> Result<Opened, RuntimeError> {
    let config = &loaded.config;
    let (cluster, mut marks) = connect(config, kafka)?;
    let admin = topics::TopicAdmin::connect(&admin_properties(kafka)?)?;
    repartition::refuse_unfinished(&marks)?;
    let known = marks.remove(IDENTITY);
    let (identity, _) = identify(known.as_deref(), loaded, currency)?;
    let create = match kafka.create_topics {
        true => Create::Missing,
        false => Create::Nothing,
    };
    let wanted = desired(config, kafka, &identity);
    let states = admin.ensure(&wanted, &identity.topics, create)?;
    cluster.writes_up_to(sizes(&wanted, &states));
    let identity = write_down(&cluster, loaded, currency, &states)?;
    Ok(Opened {
        cluster,
        identity,
        inputs: inputs(&states),
        tombstones: tombstones(&states),
    })
}

/// Connects to the topics of the tasks that there are, and reads what is written down about the
/// application; nothing before its first start.
fn connect(config: &Config, kafka: &Kafka) -> Result<(Arc<Cluster>, Marks), RuntimeError> {
    let cluster = Cluster::connect(settings(config, kafka)?)?;
    let marks = match cluster.partition_counts()?.get(&*cluster.topics().marks) {
        Some(_) => cluster.marks()?,
        None => Marks::new(),
    };
    match generation_in(&marks)? {
        0 => Ok((cluster, marks)),
        generation => {
            let settings = settings(config, kafka)?;
            Ok((Cluster::connect_to(settings, generation)?, marks))
        }
    }
}

/// Of which generation the tasks are.
fn generation_in(marks: &Marks) -> Result<u32, RuntimeError> {
    let Some(known) = marks.get(IDENTITY) else {
        return Ok(0);
    };
    let identity: Identity = serde_json::from_slice(known).map_err(RuntimeError::Identity)?;
    Ok(identity.generation)
}

/// Whether the tasks of `generation` are those that there are, and stay so for now.
pub(crate) fn tasks_are_there(marks: &Marks, generation: u32) -> bool {
    let is_theirs = generation_in(marks).is_ok_and(|of| of == generation);
    is_theirs && repartition::refuse_unfinished(marks).is_ok()
}

/// What was written down, or is to be written, as it is now; answers too whether it is new.
fn current(
    cluster: &Cluster,
    loaded: &Loaded,
    currency: Option<Currency>,
) -> Result<(Identity, bool), RuntimeError> {
    let mut marks = cluster.marks()?;
    repartition::refuse_unfinished(&marks)?;
    let (identity, is_new) = identify(marks.remove(IDENTITY).as_deref(), loaded, currency)?;
    if identity.generation != cluster.topics().generation {
        let what = "the number of tasks was changed at this moment";
        return Err(KafkaLogError::Restart(what.to_owned()).into());
    }
    Ok((identity, is_new))
}

/// How large what is written may be. Dead letters may be as large as their topic takes them; those
/// of larger records are cut.
fn sizes(wanted: &Desired, states: &[TopicState]) -> Sizes {
    let size = |is: fn(Purpose) -> bool| {
        let sizes = states.iter().filter(|s| is(s.purpose));
        sizes.filter_map(|s| s.max_message_bytes).max()
    };
    let inputs = size(|p| matches!(p, Purpose::Input | Purpose::Foreign));
    // Settings that may not be seen are taken for those that the topic would have been made with.
    let specified = wanted.max_value_bytes + (128 << 10);
    let taken = size(|p| p == Purpose::DeadLetters).unwrap_or(specified);
    if inputs.is_some_and(|largest| largest > taken) {
        tracing::warn!(
            input_bytes = inputs,
            dead_letter_bytes = taken,
            "inputs take larger records than the topic of dead letters, which will hold the \
             beginnings of those: `clvstream topics apply` raises its max.message.bytes"
        );
    }
    Sizes {
        // An accepted record may be routed, and a customer's state goes to the changelog.
        record: (wanted.max_value_bytes + (64 << 10)).max(8 << 20),
        dead_letter: taken,
    }
}

/// Settles what was chosen. Of several that start at once the last one to take the transactional id
/// decides, and has ended the work of those before it; they follow once it has written.
fn write_down(
    cluster: &Arc<Cluster>,
    loaded: &Loaded,
    currency: Option<Currency>,
    states: &[TopicState],
) -> Result<Identity, RuntimeError> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    // Until when another process is trusted to write, rather than ended in turn.
    let mut follows_until = Instant::now();
    loop {
        let (mut identity, is_new) = current(cluster, loaded, currency)?;
        if !is_new && !note(&mut identity, states) {
            return Ok(identity);
        }
        if Instant::now() < follows_until {
            std::thread::park_timeout(GLANCE);
            continue;
        }
        match decide(cluster, loaded, currency, states) {
            Err(RuntimeError::Kafka(KafkaLogError::Superseded(_))) if Instant::now() < deadline => {
                follows_until = Instant::now() + TRUSTED_FOR;
            }
            decided => return decided,
        }
    }
}

/// Ends the work of whoever is at it by taking the transactional id, reads again what was written
/// before that, and writes.
fn decide(
    cluster: &Arc<Cluster>,
    loaded: &Loaded,
    currency: Option<Currency>,
    states: &[TopicState],
) -> Result<Identity, RuntimeError> {
    let never: Stopping = Arc::new(|| false);
    let mut appender = cluster.appender("setup", never)?;
    let (mut identity, is_new) = current(cluster, loaded, currency)?;
    if note(&mut identity, states) || is_new {
        let bytes = serde_json::to_vec(&identity).map_err(RuntimeError::Identity)?;
        appender.append(&[], &[(IDENTITY, bytes)])?;
    }
    Ok(identity)
}

/// Adds the ids of topics that are not known yet; answers whether there were any.
fn note(identity: &mut Identity, states: &[TopicState]) -> bool {
    let mut noted = false;
    for state in states {
        let known = identity.topics.contains_key(&state.name);
        if !known {
            identity.topics.insert(state.name.clone(), state.id.clone());
            noted = true;
        }
        // Whoever makes the changelog anew has another deployment.
        if identity.incarnation.is_empty() && is_changelog(state) {
            identity.incarnation.clone_from(&state.id);
            noted = true;
        }
    }
    noted
}

fn is_changelog(state: &TopicState) -> bool {
    // With the number of the generation behind it, if it is a later one.
    state.name.contains(".internal.changelog")
}

fn tombstones(states: &[TopicState]) -> Option<Duration> {
    let changelog = states.iter().find(|s| is_changelog(s))?;
    changelog.delete_retention_ms.map(Duration::from_millis)
}

fn inputs(states: &[TopicState]) -> BTreeMap<TopicName, u32> {
    let is_input = |s: &&TopicState| matches!(s.purpose, Purpose::Input | Purpose::Foreign);
    let inputs = states.iter().filter(is_input);
    inputs
        .map(|s| (TopicName::from(s.name.as_str()), s.partitions))
        .collect()
}

/// What the application's topics should be like.
fn desired(config: &Config, kafka: &Kafka, identity: &Identity) -> Desired {
    let kept = &config.retention;
    Desired {
        application: config.application_id.clone(),
        partitions: identity.partitions,
        outputs: identity.outputs(),
        generation: identity.generation,
        replication: kafka.replication.map(u32::from),
        inputs: config.input.topics.clone(),
        foreign: config.input.mapped.keys().cloned().collect(),
        retention: TopicRetention {
            inputs: kept.inputs,
            clv_updates: kept.clv_updates,
            lifecycle_transitions: kept.lifecycle_transitions,
            segment_changes: kept.segment_changes,
            dead_letters: kept.dead_letters,
        },
        max_value_bytes: config.limits.max_value_bytes as u64,
    }
}

/// librdkafka properties for administration, with passwords.
///
/// # Errors
/// A password is not where it should be.
pub fn admin_properties(kafka: &Kafka) -> Result<Vec<(String, String)>, RuntimeError> {
    with_secrets(kafka, kafka.client_properties())
}

fn with_secrets(
    kafka: &Kafka,
    mut properties: Vec<(String, String)>,
) -> Result<Vec<(String, String)>, RuntimeError> {
    for (name, secret) in kafka.secret_properties()? {
        properties.push((name.to_owned(), secret.reveal().to_owned()));
    }
    Ok(properties)
}

/// How the log side is to reach the cluster.
///
/// # Errors
/// A password is not where it should be.
pub fn settings(config: &Config, kafka: &Kafka) -> Result<Settings, RuntimeError> {
    let instance = match &kafka.instance {
        Some(instance) => instance.clone(),
        None => instance_of(&config.data_dir),
    };
    Ok(Settings {
        application: config.application_id.clone(),
        instance,
        consumer: with_secrets(kafka, kafka.consumer_properties())?,
        producer: with_secrets(kafka, kafka.producer_properties())?,
        session_timeout: kafka.session_timeout,
        max_poll_interval: kafka.max_poll_interval,
        transaction_timeout: kafka.transaction_timeout,
        max_task_idle: kafka.max_task_idle,
        static_membership: kafka.static_membership,
    })
}

/// A name for this process that is the same at its next start: the host and the data directory.
fn instance_of(data_dir: &Path) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.ok().or_else(|| std::env::var("HOSTNAME").ok());
    let host = host.as_deref().map_or("host", str::trim).to_owned();
    let folder = std::fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let mut hash = FxHasher::default();
    hash.write(folder.as_os_str().as_encoded_bytes());
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let host = host.replace(|c| !allowed(c), "-");
    format!("{host}-{:08x}", hash.finish() as u32)
}

impl Deployment {
    /// Looks whether inputs have got more partitions since; answers whether any has.
    pub(crate) fn look_for_growth(&self, cluster: &Cluster) -> Result<bool, RuntimeError> {
        let counts = cluster.partition_counts()?;
        let own = self.config.input.topics.iter();
        let own = own.map(|topic| self.input_topic(topic));
        let mapped = self.config.input.mapped.keys();
        let names = own.chain(mapped.map(|topic| TopicName::from(topic.as_str())));
        let now = names.map(|name| {
            let count = counts.get(&*name).copied();
            // A topic that is not seen for a moment has not shrunk.
            let count = count.or_else(|| self.partitions_of(&name)).unwrap_or(0);
            (name, count)
        });
        Ok(self.inputs_are(now.collect()))
    }
}

/// How long a worker waits before it joins anew, the `n`th time in a row.
fn pause(n: u32) -> Duration {
    Duration::from_millis(100 << n.min(6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_to_tasks_that_are_gone_or_are_about_to_go() {
        let config = config::parse("test", "", &[]).expect("defaults");
        let (identity, _) = identify(None, &config, None).expect("a first start");
        let mut marks = Marks::new();
        assert!(
            tasks_are_there(&marks, 0),
            "before anything is written down"
        );
        let mut set = |name: &str, value: &Identity| {
            let bytes = serde_json::to_vec(value).expect("JSON");
            marks.insert(name.to_owned(), bytes);
            marks.clone()
        };
        let known = set(IDENTITY, &identity);
        assert!(tasks_are_there(&known, 0));
        assert!(!tasks_are_there(&known, 1));
        let moved = Identity {
            generation: 2,
            ..identity
        };
        let known = set(IDENTITY, &moved);
        assert!(!tasks_are_there(&known, 0));
        assert!(tasks_are_there(&known, 2));
        let begun = br#"{"from":4,"to":6,"generation":3,"open":true}"#;
        marks.insert("repartition".to_owned(), begun.to_vec());
        assert!(!tasks_are_there(&marks, 2));
    }
}
