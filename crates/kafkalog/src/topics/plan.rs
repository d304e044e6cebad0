//! What there is to do, from what should be and what is there. Pure.

use std::collections::BTreeMap;
use std::fmt;

use super::desired::{Desired, Purpose, Rule, TopicSpec, desired, with_overhead};

/// What is there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Actual {
    /// The cluster's id.
    pub cluster: String,
    /// Its brokers.
    pub brokers: u32,
    /// The topics among those asked for that there are, by name.
    pub topics: BTreeMap<String, ActualTopic>,
}

/// A topic that is there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ActualTopic {
    /// The id that it got when it was created.
    pub id: String,
    /// Its partitions.
    pub partitions: u32,
    /// Replicas of the partition that has the fewest.
    pub replication: u32,
    /// Settings in force, by Kafka's names; `None`: they may not be seen.
    pub settings: Option<BTreeMap<String, String>>,
}

impl ActualTopic {
    /// The largest record that it takes, in bytes, if that may be seen.
    #[must_use]
    pub fn max_message_bytes(&self) -> Option<u64> {
        self.number("max.message.bytes")
    }

    /// For how long it keeps tombstones once it is compacted, in milliseconds, if that may be seen.
    #[must_use]
    pub fn delete_retention_ms(&self) -> Option<u64> {
        self.number("delete.retention.ms")
    }

    fn number(&self, setting: &str) -> Option<u64> {
        self.settings.as_ref()?.get(setting)?.parse().ok()
    }
}

/// What there is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Every topic of the application, and those of others that it reads.
    pub topics: Vec<PlannedTopic>,
}

/// One topic, and what there is to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedTopic {
    /// As it should be. Of a topic of others, partitions and replication are those that it has.
    pub spec: TopicSpec,
    /// As it is; `None`: it is not there.
    pub actual: Option<ActualTopic>,
    /// Settings to change. Of a topic that is to be created there are none.
    pub changes: Vec<Change>,
    /// What `apply` cannot put right.
    pub problems: Vec<Problem>,
}

impl PlannedTopic {
    /// Whether it is to be created.
    #[must_use]
    pub fn is_created(&self) -> bool {
        self.actual.is_none() && self.problems.is_empty()
    }
}

/// A setting to change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Kafka's name of it.
    pub setting: &'static str,
    /// The value in force.
    pub from: String,
    /// The value that it gets.
    pub to: String,
}

/// What somebody else has to put right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// An internal topic or an output has another number of partitions than N.
    Partitions {
        /// What it has.
        actual: u32,
        /// N.
        wanted: u32,
    },
    /// It has fewer replicas than it should. It works, with less protection.
    Replication {
        /// What it has.
        actual: u32,
        /// What it should have.
        wanted: u32,
    },
    /// Its settings may not be seen, so they may be wrong.
    SettingsHidden,
    /// It was recorded, and is gone or another one.
    Recreated(Recreated),
    /// It belongs to others, and is not there.
    ForeignMissing,
}

impl Problem {
    /// Whether the application cannot work with it.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            Problem::Partitions { .. } | Problem::Recreated(_) | Problem::ForeignMissing => true,
            Problem::Replication { .. } | Problem::SettingsHidden => false,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Problem::Partitions { .. } => {
                "the number of partitions is fixed at the first start: set `partitions` to what is there; `clvstream repartition --to N` changes it"
            }
            Problem::Replication { .. } => "`kafka-reassign-partitions` adds replicas",
            Problem::SettingsHidden => "the user needs DescribeConfigs on the topic",
            Problem::Recreated(_) => Recreated::ADVICE,
            Problem::ForeignMissing => {
                "a topic without the application's prefix belongs to others, who make it, and let the user read it"
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Partitions { actual, wanted } => {
                write!(f, "has {actual} partitions and must have {wanted}")
            }
            Problem::Replication { actual, wanted } => {
                write!(f, "has {actual} of {wanted} replicas")
            }
            Problem::SettingsHidden => f.write_str("its settings may not be seen"),
            Problem::Recreated(recreated) => recreated.fmt(f),
            Problem::ForeignMissing => f.write_str("is not there, or may not be seen"),
        }
    }
}

/// A topic that was recorded, and is gone or another one of the same name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recreated {
    /// Its name.
    pub topic: String,
    /// The id that it had.
    pub recorded: String,
    /// The id that it has; `None`: it is gone.
    pub actual: Option<String>,
}

impl fmt::Display for Recreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recorded = &self.recorded;
        match &self.actual {
            Some(actual) => write!(
                f,
                "was deleted and made again (id {recorded} is now {actual})"
            ),
            None => write!(f, "was deleted (id {recorded})"),
        }
    }
}

impl Recreated {
    pub(super) const ADVICE: &'static str = "offsets and state refer to records that are gone: take another `application_id` and load the history again";
}

/// The recorded topics that are gone, or others of the same name. `actual` has the ids by name.
#[must_use]
pub fn recreated(
    recorded: &BTreeMap<String, String>,
    actual: &BTreeMap<String, String>,
) -> Vec<Recreated> {
    recorded
        .iter()
        .filter(|(topic, id)| actual.get(*topic) != Some(id))
        .map(|(topic, id)| Recreated {
            topic: topic.clone(),
            recorded: id.clone(),
            actual: actual.get(topic).cloned(),
        })
        .collect()
}

/// What there is to do. `recorded` has the ids of topics as the deployment wrote them down, by name.
#[must_use]
pub fn plan(wanted: &Desired, recorded: &BTreeMap<String, String>, actual: &Actual) -> Plan {
    let ids = actual.topics.iter();
    let ids = ids
        .map(|(name, topic)| (name.clone(), topic.id.clone()))
        .collect();
    let recreated: BTreeMap<String, Recreated> = recreated(recorded, &ids)
        .into_iter()
        .map(|recreated| (recreated.topic.clone(), recreated))
        .collect();
    let specs = desired(wanted, actual.brokers).into_iter();
    let dead_letters = with_overhead(largest_input(wanted, actual));
    let own = specs.map(|mut spec| {
        if spec.purpose == Purpose::DeadLetters {
            raise(&mut spec, "max.message.bytes", dead_letters);
        }
        let found = actual.topics.get(&spec.name);
        planned(spec, found)
    });
    let foreign = wanted.foreign.iter();
    let foreign = foreign.map(|name| foreign_topic(name, actual.topics.get(name)));
    let mut topics: Vec<PlannedTopic> = own.chain(foreign).collect();
    for topic in &mut topics {
        if let Some(recreated) = recreated.get(&topic.spec.name) {
            topic.problems.push(Problem::Recreated(recreated.clone()));
        }
    }
    Plan { topics }
}

impl Plan {
    /// Whether everything is as it should be.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let done = |topic: &PlannedTopic| {
            !topic.is_created() && topic.changes.is_empty() && topic.problems.is_empty()
        };
        self.topics.iter().all(done)
    }

    /// Topics to create.
    pub fn created(&self) -> impl Iterator<Item = &PlannedTopic> {
        self.topics.iter().filter(|topic| topic.is_created())
    }

    /// Topics whose settings are to be changed.
    pub fn changed(&self) -> impl Iterator<Item = &PlannedTopic> {
        self.topics.iter().filter(|topic| !topic.changes.is_empty())
    }

    /// Problems with which the application cannot work, with the topic's name.
    pub fn fatal(&self) -> impl Iterator<Item = (&str, &Problem)> {
        self.topics.iter().flat_map(|topic| {
            let fatal = topic.problems.iter().filter(|problem| problem.is_fatal());
            fatal.map(|problem| (topic.spec.name.as_str(), problem))
        })
    }
}

/// The largest record that the inputs take: what is too large for us is dead-lettered all the same.
fn largest_input(wanted: &Desired, actual: &Actual) -> u64 {
    let own = wanted.inputs.iter().map(|input| wanted.input_name(input));
    own.chain(wanted.foreign.iter().cloned())
        .filter_map(|name| actual.topics.get(&name)?.max_message_bytes())
        .fold(with_overhead(wanted.max_value_bytes), u64::max)
}

fn raise(spec: &mut TopicSpec, name: &str, bytes: u64) {
    let setting = spec
        .settings
        .iter_mut()
        .find(|setting| setting.name == name);
    if let Some(setting) = setting.filter(|setting| setting.rule == Rule::AtLeast) {
        setting.value = bytes.to_string();
    }
}

fn planned(spec: TopicSpec, actual: Option<&ActualTopic>) -> PlannedTopic {
    let (mut changes, mut problems) = (Vec::new(), Vec::new());
    if let Some(actual) = actual {
        if spec.purpose.has_fixed_partitions() && actual.partitions != spec.partitions {
            problems.push(Problem::Partitions {
                actual: actual.partitions,
                wanted: spec.partitions,
            });
        }
        if actual.replication < spec.replication {
            problems.push(Problem::Replication {
                actual: actual.replication,
                wanted: spec.replication,
            });
        }
        match &actual.settings {
            Some(settings) => changes.extend(differences(&spec, settings)),
            None => problems.push(Problem::SettingsHidden),
        }
    }
    PlannedTopic {
        spec,
        actual: actual.cloned(),
        changes,
        problems,
    }
}

/// Settings that will not do. What the broker does not know is left alone.
fn differences(spec: &TopicSpec, actual: &BTreeMap<String, String>) -> Vec<Change> {
    let changes = spec.settings.iter().filter_map(|setting| {
        let value = actual.get(setting.name)?;
        (!setting.accepts(value)).then(|| Change {
            setting: setting.name,
            from: value.clone(),
            to: setting.value.clone(),
        })
    });
    changes.collect()
}

fn foreign_topic(name: &str, actual: Option<&ActualTopic>) -> PlannedTopic {
    PlannedTopic {
        spec: TopicSpec {
            name: name.to_owned(),
            purpose: Purpose::Foreign,
            partitions: actual.map_or(0, |topic| topic.partitions),
            replication: actual.map_or(0, |topic| topic.replication),
            settings: Vec::new(),
        },
        actual: actual.cloned(),
        changes: Vec::new(),
        problems: match actual {
            Some(_) => Vec::new(),
            None => vec![Problem::ForeignMissing],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::desired::tests::shop;
    use super::*;

    /// A cluster of `brokers` on which everything is as it should be.
    fn in_order(brokers: u32) -> Actual {
        let there = |spec: TopicSpec| {
            let settings = spec.settings.iter();
            let settings = settings.map(|s| (s.name.to_owned(), s.value.clone()));
            let topic = ActualTopic {
                id: format!("id of {}", spec.name),
                partitions: spec.partitions,
                replication: spec.replication,
                settings: Some(settings.collect()),
            };
            (spec.name, topic)
        };
        let foreign = ActualTopic {
            id: "id of erp.orders".to_owned(),
            partitions: 12,
            replication: brokers,
            settings: None,
        };
        let own = desired(&shop(), brokers).into_iter().map(there);
        Actual {
            cluster: "test".to_owned(),
            brokers,
            topics: own.chain([("erp.orders".to_owned(), foreign)]).collect(),
        }
    }

    fn none() -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn alter(actual: &mut Actual, topic: &str, change: impl FnOnce(&mut ActualTopic)) {
        change(actual.topics.get_mut(topic).unwrap());
    }

    fn set(actual: &mut Actual, topic: &str, setting: &str, value: &str) {
        alter(actual, topic, |topic| {
            let settings = topic.settings.as_mut().unwrap();
            settings.insert(setting.to_owned(), value.to_owned());
        });
    }

    fn problems(plan: &Plan) -> Vec<(&str, String)> {
        let topics = plan.topics.iter();
        let problems = topics.flat_map(|topic| {
            let problems = topic.problems.iter();
            problems.map(|problem| (topic.spec.name.as_str(), problem.to_string()))
        });
        problems.collect()
    }

    #[test]
    fn nothing_is_to_be_done_where_all_is_in_order() {
        for brokers in [1, 2, 3, 12] {
            let plan = plan(&shop(), &none(), &in_order(brokers));
            assert!(plan.is_done(), "{plan:?}");
        }
    }

    #[test]
    fn an_empty_cluster_gets_every_topic_but_those_of_others() {
        let empty = Actual {
            brokers: 1,
            ..Actual::default()
        };
        let plan = plan(&shop(), &none(), &empty);
        assert_eq!(plan.created().count(), 11);
        let foreign = "is not there, or may not be seen";
        assert_eq!(problems(&plan), [("erp.orders", foreign.to_owned())]);
        assert_eq!(plan.fatal().count(), 1);
    }

    #[test]
    fn settings_that_will_not_do_are_changed_and_others_are_not() {
        let mut actual = in_order(3);
        set(&mut actual, "shop.clv.updates", "retention.ms", "604800000");
        set(&mut actual, "shop.clv.updates", "compression.type", "zstd");
        set(&mut actual, "shop.dlq", "max.message.bytes", "99999999");
        let plan = plan(&shop(), &none(), &actual);
        let changed: Vec<_> = plan.changed().collect();
        assert_eq!(changed.len(), 1);
        let change = Change {
            setting: "retention.ms",
            from: "604800000".to_owned(),
            to: "2592000000".to_owned(),
        };
        assert_eq!(changed[0].spec.name, "shop.clv.updates");
        assert_eq!(changed[0].changes, [change]);
        assert!(problems(&plan).is_empty());
    }

    #[test]
    fn dead_letters_have_room_for_the_largest_record_of_any_input() {
        let mut actual = in_order(1);
        let larger = BTreeMap::from([("max.message.bytes".to_owned(), "10000000".to_owned())]);
        alter(&mut actual, "erp.orders", |topic| {
            topic.settings = Some(larger)
        });
        let plan = plan(&shop(), &none(), &actual);
        let changed: Vec<_> = plan.changed().collect();
        assert_eq!(changed.len(), 1);
        assert_eq!(changed[0].spec.name, "shop.dlq");
        assert_eq!(
            changed[0].changes[0].to,
            (10_000_000 + (64 << 10)).to_string()
        );
    }

    #[test]
    fn n_is_fixed_for_what_we_write_and_free_for_what_we_read() {
        for (topic, is_problem) in [
            ("shop.orders", false),
            ("erp.orders", false),
            ("shop.clv.updates", true),
            ("shop.dlq", true),
            ("shop.internal.routed", true),
            ("shop.internal.marks", true),
        ] {
            let mut actual = in_order(1);
            alter(&mut actual, topic, |topic| topic.partitions = 7);
            let plan = plan(&shop(), &none(), &actual);
            assert_eq!(plan.fatal().count(), usize::from(is_problem), "{topic}");
        }
        let mut actual = in_order(1);
        alter(&mut actual, "shop.internal.routed", |topic| {
            topic.partitions = 7
        });
        let plan = plan(&shop(), &none(), &actual);
        let said = "has 7 partitions and must have 4";
        assert_eq!(problems(&plan), [("shop.internal.routed", said.to_owned())]);
    }

    #[test]
    fn too_few_replicas_and_hidden_settings_are_said_and_stop_nothing() {
        let mut actual = in_order(3);
        alter(&mut actual, "shop.dlq", |topic| topic.replication = 1);
        alter(&mut actual, "shop.orders", |topic| topic.settings = None);
        let plan = plan(&shop(), &none(), &actual);
        let hidden = "its settings may not be seen";
        let few = "has 1 of 3 replicas";
        let expected = [
            ("shop.orders", hidden.to_owned()),
            ("shop.dlq", few.to_owned()),
        ];
        assert_eq!(problems(&plan), expected);
        assert_eq!(plan.fatal().count(), 0);
        assert!(!plan.is_done());
    }

    #[test]
    fn a_recorded_topic_that_is_gone_or_another_is_named_and_not_created() {
        let mut actual = in_order(1);
        let recorded: BTreeMap<String, String> = actual
            .topics
            .iter()
            .map(|(name, topic)| (name.clone(), topic.id.clone()))
            .collect();
        assert!(plan(&shop(), &recorded, &actual).is_done());
        alter(&mut actual, "shop.orders", |topic| {
            topic.id = "new".to_owned()
        });
        actual.topics.remove("shop.internal.changelog");
        let plan = plan(&shop(), &recorded, &actual);
        assert_eq!(plan.created().count(), 0);
        let expected = [
            (
                "shop.orders",
                "was deleted and made again (id id of shop.orders is now new)".to_owned(),
            ),
            (
                "shop.internal.changelog",
                "was deleted (id id of shop.internal.changelog)".to_owned(),
            ),
        ];
        assert_eq!(problems(&plan), expected);
        assert_eq!(plan.fatal().count(), 2);
    }
}
