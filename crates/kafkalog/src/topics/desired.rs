//! What an application's topics should be like.

use std::time::Duration;

use engine::topics::Topics;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
const MIB: u64 = 1 << 20;

/// What a record needs beyond its value: key, headers, framing.
const OVERHEAD_BYTES: u64 = 64 << 10;
/// The most that one customer's state is expected to take.
const LARGEST_STATE_BYTES: u64 = 8 * MIB;

/// What the topics follow from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Desired {
    /// Prefix of all names, also of the group and of transactional ids.
    pub application: String,
    /// N: partitions of the internal topics of which each task has one, and of inputs that are made.
    pub partitions: u32,
    /// Partitions of every output. They stay when N is changed, so that the outputs of each customer stay
    /// in one partition.
    pub outputs: u32,
    /// How often N has been changed.
    pub generation: u32,
    /// Replicas of every topic; `None`: three, or as many as there are brokers.
    pub replication: Option<u32>,
    /// The application's own input topics, without its prefix.
    pub inputs: Vec<String>,
    /// Topics of others that are read, by their full names. They are never created or changed.
    pub foreign: Vec<String>,
    /// How long records are kept.
    pub retention: TopicRetention,
    /// The longest value that is taken in, in bytes.
    pub max_value_bytes: u64,
}

/// How long records are kept; `None`: for ever.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicRetention {
    /// The application's own input topics.
    pub inputs: Option<Duration>,
    /// `clv.updates`
    pub clv_updates: Option<Duration>,
    /// `lifecycle.transitions`
    pub lifecycle_transitions: Option<Duration>,
    /// `segment.changes`
    pub segment_changes: Option<Duration>,
    /// `dlq`
    pub dead_letters: Option<Duration>,
}

/// What a topic is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Purpose {
    /// An input of the application's own.
    Input,
    /// An input that belongs to others.
    Foreign,
    /// Read by subscribers.
    Output,
    /// Models that were fitted.
    Models,
    /// Dead letters.
    DeadLetters,
    /// Routed events, changelog, commits.
    Internal,
    /// The deployment's identity and load marks.
    Marks,
}

impl Purpose {
    /// One word for tables and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Input => "input",
            Purpose::Foreign => "foreign",
            Purpose::Output => "output",
            Purpose::Models => "models",
            Purpose::DeadLetters => "dead letters",
            Purpose::Internal | Purpose::Marks => "internal",
        }
    }

    /// Whether the number of partitions has to be the one of the specification.
    #[must_use]
    pub fn has_fixed_partitions(self) -> bool {
        match self {
            Purpose::Input | Purpose::Foreign => false,
            Purpose::Output
            | Purpose::Models
            | Purpose::DeadLetters
            | Purpose::Internal
            | Purpose::Marks => true,
        }
    }
}

/// One topic as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicSpec {
    /// Its full name.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Its partitions; of an input, the number that it is created with.
    pub partitions: u32,
    /// Its replicas.
    pub replication: u32,
    /// Its settings, by Kafka's names.
    pub settings: Vec<Setting>,
}

/// A setting of a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Kafka's name of it.
    pub name: &'static str,
    /// The value.
    pub value: String,
    /// Which other values will do.
    pub rule: Rule,
}

/// Which values of a setting will do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// This one only.
    Exactly,
    /// This one and larger ones.
    AtLeast,
}

impl Setting {
    /// Whether `actual` will do.
    #[must_use]
    pub fn accepts(&self, actual: &str) -> bool {
        let numbers = actual
            .parse::<f64>()
            .ok()
            .zip(self.value.parse::<f64>().ok());
        match (self.rule, numbers) {
            (Rule::AtLeast, Some((actual, wanted))) => actual >= wanted,
            // Brokers may write 0.2 as 0.20.
            (_, Some((actual, wanted))) => actual.total_cmp(&wanted).is_eq(),
            (_, None) => actual.trim() == self.value,
        }
    }
}

/// The topics of an application on a cluster of `brokers`, without those of others.
#[must_use]
pub fn desired(settings: &Desired, brokers: u32) -> Vec<TopicSpec> {
    let names = Topics::of_generation(&settings.application, settings.generation);
    let kept = &settings.retention;
    let replication = settings.replication.unwrap_or(brokers.clamp(1, 3));
    let spec = |name: &str, purpose, own: Vec<Setting>| TopicSpec {
        name: name.to_owned(),
        purpose,
        partitions: match purpose {
            Purpose::Models | Purpose::Marks => 1,
            Purpose::Output | Purpose::DeadLetters => settings.outputs,
            _ => settings.partitions,
        },
        replication,
        settings: common(replication).into_iter().chain(own).collect(),
    };
    let input = with_overhead(settings.max_value_bytes);
    // A record that is passed on gets headers, and may have filled its topic's limit.
    let passed_on = with_overhead(input);
    let with_size = |mut own: Vec<Setting>, bytes| {
        own.push(at_least("max.message.bytes", bytes));
        own
    };
    let inputs = settings.inputs.iter().map(|name| {
        let own = with_size(deleted_after(kept.inputs), input);
        spec(&settings.input_name(name), Purpose::Input, own)
    });
    let outputs = [
        (&names.clv_updates, kept.clv_updates),
        (&names.lifecycle_transitions, kept.lifecycle_transitions),
        (&names.segment_changes, kept.segment_changes),
    ];
    let outputs = outputs.map(|(name, time)| spec(name, Purpose::Output, deleted_after(time)));
    let dead_letters = with_size(deleted_after(kept.dead_letters), passed_on);
    let state = with_overhead(settings.max_value_bytes.max(LARGEST_STATE_BYTES));
    let rest = [
        spec(&names.models, Purpose::Models, compacted()),
        spec(&names.dead_letters, Purpose::DeadLetters, dead_letters),
        spec(
            &names.routed,
            Purpose::Internal,
            with_size(purged(), passed_on),
        ),
        spec(
            &names.commits,
            Purpose::Internal,
            deleted_after(kept.inputs),
        ),
        spec(
            &names.changelog,
            Purpose::Internal,
            with_size(compacted(), state),
        ),
        spec(&names.marks, Purpose::Marks, compacted()),
    ];
    inputs.chain(outputs).chain(rest).collect()
}

impl Desired {
    /// The full name of an own input topic.
    #[must_use]
    pub fn input_name(&self, input: &str) -> String {
        format!("{}.{input}", self.application)
    }
}

/// The size of a record around something of `bytes`.
pub(super) fn with_overhead(bytes: u64) -> u64 {
    bytes.saturating_add(OVERHEAD_BYTES)
}

/// Acknowledged means kept: with three replicas, by two at least.
fn common(replication: u32) -> Vec<Setting> {
    let in_sync = if replication >= 3 { 2_u32 } else { 1 };
    vec![
        exactly("min.insync.replicas", in_sync),
        exactly("unclean.leader.election.enable", false),
    ]
}

/// Records carry the clock of their writer: a broker's would differ between replays of a batch.
fn writers_clock() -> Setting {
    exactly("message.timestamp.type", "CreateTime")
}

/// Records carry the clock of the brokers, which compact by it: what was deleted is forgotten by that clock,
/// and whoever asks since when may not be misled by a writer whose own was wrong.
fn brokers_clock() -> Setting {
    exactly("message.timestamp.type", "LogAppendTime")
}

fn deleted_after(time: Option<Duration>) -> Vec<Setting> {
    let ms = time.map_or("-1".to_owned(), |time| time.as_millis().to_string());
    vec![
        writers_clock(),
        exactly("cleanup.policy", "delete"),
        exactly("retention.ms", ms),
    ]
}

/// Kept without limit; who has consumed it purges it. Small segments, as only whole ones are freed.
fn purged() -> Vec<Setting> {
    vec![
        writers_clock(),
        exactly("cleanup.policy", "delete"),
        exactly("retention.ms", -1),
        exactly("retention.bytes", -1),
        exactly("segment.bytes", 64 * MIB),
    ]
}

/// Compacted, and soon: the segment that is written to is never cleaned, so it has to end by time and
/// by size. A tombstone stays for a week, which is how old a local state may be to catch up with it.
fn compacted() -> Vec<Setting> {
    vec![
        brokers_clock(),
        exactly("cleanup.policy", "compact"),
        exactly("max.compaction.lag.ms", DAY_MS),
        exactly("segment.ms", 6 * HOUR_MS),
        exactly("segment.bytes", 128 * MIB),
        exactly("delete.retention.ms", 7 * DAY_MS),
        exactly("min.cleanable.dirty.ratio", 0.2),
    ]
}

fn exactly(name: &'static str, value: impl ToString) -> Setting {
    Setting {
        name,
        value: value.to_string(),
        rule: Rule::Exactly,
    }
}

fn at_least(name: &'static str, value: u64) -> Setting {
    Setting {
        name,
        value: value.to_string(),
        rule: Rule::AtLeast,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A shop with two inputs of its own and one of others.
    pub(in crate::topics) fn shop() -> Desired {
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        Desired {
            application: "shop".to_owned(),
            partitions: 4,
            outputs: 4,
            generation: 0,
            replication: None,
            inputs: vec!["orders".to_owned(), "clickstream".to_owned()],
            foreign: vec!["erp.orders".to_owned()],
            retention: TopicRetention {
                inputs: days(7),
                clv_updates: days(30),
                lifecycle_transitions: days(30),
                segment_changes: None,
                dead_letters: days(90),
            },
            max_value_bytes: 1 << 20,
        }
    }

    fn value<'a>(specs: &'a [TopicSpec], topic: &str, setting: &str) -> Option<&'a str> {
        let spec = specs.iter().find(|spec| spec.name == topic)?;
        let setting = spec.settings.iter().find(|s| s.name == setting)?;
        Some(&setting.value)
    }

    #[test]
    fn every_topic_of_the_application_is_there_and_none_of_others() {
        let specs = desired(&shop(), 3);
        let listed: Vec<_> = specs
            .iter()
            .map(|spec| (spec.name.as_str(), spec.partitions, spec.purpose))
            .collect();
        assert_eq!(
            listed,
            [
                ("shop.orders", 4, Purpose::Input),
                ("shop.clickstream", 4, Purpose::Input),
                ("shop.clv.updates", 4, Purpose::Output),
                ("shop.lifecycle.transitions", 4, Purpose::Output),
                ("shop.segment.changes", 4, Purpose::Output),
                ("shop.clv.models", 1, Purpose::Models),
                ("shop.dlq", 4, Purpose::DeadLetters),
                ("shop.internal.routed", 4, Purpose::Internal),
                ("shop.internal.commits", 4, Purpose::Internal),
                ("shop.internal.changelog", 4, Purpose::Internal),
                ("shop.internal.marks", 1, Purpose::Marks),
            ]
        );
    }

    #[test]
    fn replicas_follow_the_number_of_brokers() {
        for (set, brokers, replication, in_sync) in [
            (None, 1, 1, "1"),
            (None, 2, 2, "1"),
            (None, 3, 3, "2"),
            (None, 9, 3, "2"),
            (Some(2), 9, 2, "1"),
            (Some(5), 9, 5, "2"),
        ] {
            let shop = Desired {
                replication: set,
                ..shop()
            };
            let specs = desired(&shop, brokers);
            for spec in &specs {
                assert_eq!(spec.replication, replication, "{}", spec.name);
                let found = value(&specs, &spec.name, "min.insync.replicas");
                assert_eq!(found, Some(in_sync), "{}", spec.name);
            }
        }
    }

    #[test]
    fn what_state_is_restored_from_is_compacted_and_the_rest_is_not() {
        let specs = desired(&shop(), 3);
        for spec in &specs {
            let compacted = matches!(
                spec.name.as_str(),
                "shop.internal.changelog" | "shop.internal.marks" | "shop.clv.models"
            );
            let policy = if compacted { "compact" } else { "delete" };
            assert_eq!(
                value(&specs, &spec.name, "cleanup.policy"),
                Some(policy),
                "{}",
                spec.name
            );
            let unclean = value(&specs, &spec.name, "unclean.leader.election.enable");
            assert_eq!(unclean, Some("false"), "{}", spec.name);
        }
        let of = |topic, setting| value(&specs, topic, setting);
        assert_eq!(of("shop.orders", "retention.ms"), Some("604800000"));
        assert_eq!(of("shop.segment.changes", "retention.ms"), Some("-1"));
        assert_eq!(of("shop.internal.routed", "retention.ms"), Some("-1"));
        assert_eq!(of("shop.internal.changelog", "retention.ms"), None);
        assert_eq!(
            of("shop.internal.changelog", "delete.retention.ms"),
            Some("604800000")
        );
        let largest = (1 << 20) + 2 * (64 << 10);
        for topic in ["shop.dlq", "shop.internal.routed"] {
            assert_eq!(
                of(topic, "max.message.bytes"),
                Some(largest.to_string().as_str())
            );
        }
    }

    #[test]
    fn a_setting_accepts_what_means_the_same() {
        assert!(exactly("a", 0.2).accepts("0.20"));
        assert!(!exactly("a", 0.2).accepts("0.5"));
        assert!(exactly("a", "compact").accepts("compact"));
        assert!(!exactly("a", "compact").accepts("compact,delete"));
        assert!(exactly("a", -1).accepts("-1"));
        assert!(at_least("a", 10).accepts("11"));
        assert!(!at_least("a", 10).accepts("9"));
        assert!(!at_least("a", 10).accepts(""));
    }
}
