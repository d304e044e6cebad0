//! The shop that all simulated instances work for: its topics, its definitions, its codecs.

use std::sync::Arc;

use domain::definitions::Definitions;
use domain::event::Event;
use engine::port::TopicPartition;
use engine::task::Setup;
use engine::topics::Topics;
use wire::{
    Decoder, Encoder, Format, InputRules, Inputs, OutputEncoder, SchemaSet, SharedSchemas,
    currency_by_code,
};

/// Number of tasks, and of partitions of every topic.
pub const TASKS: u32 = 8;
/// The inputs.
pub const INPUTS: [&str; 2] = ["clickstream", "orders"];

/// The shop.
pub struct Shop {
    /// What every task is told.
    pub setup: Arc<Setup>,
    rules: InputRules,
    schemas: SharedSchemas,
    encoder: Encoder,
}

/// The simulation itself cannot be set up: never to be seen with the schemas that are embedded.
#[derive(Debug, thiserror::Error)]
#[error("the simulation cannot be set up: {0}")]
pub struct SetupError(String);

impl Shop {
    /// The shop, with the presets.
    ///
    /// # Errors
    /// A schema is missing, which a test excludes.
    pub fn open() -> Result<Shop, SetupError> {
        let failed = |e: &dyn ToString| SetupError(e.to_string());
        let schemas = SchemaSet::embedded().map_err(|e| failed(&e))?;
        let currency = currency_by_code("USD", None).ok_or_else(|| failed(&"no currency"))?;
        let encoder = OutputEncoder::new(Format::Avro, &schemas).map_err(|e| failed(&e))?;
        Ok(Shop {
            setup: Arc::new(Setup {
                application: "shop".into(),
                tasks: TASKS,
                outputs: TASKS,
                topics: Topics::of("shop"),
                definitions: Arc::new(Definitions::preset(currency)),
                encoder,
            }),
            rules: InputRules::new(currency),
            schemas: SharedSchemas::closed(&schemas).map_err(|e| failed(&e))?,
            encoder: Encoder::new(currency, &schemas).map_err(|e| failed(&e))?,
        })
    }

    /// What decodes the inputs of one worker.
    #[must_use]
    pub fn inputs(&self) -> Inputs {
        self.decoder().into()
    }

    /// A decoder, which reads outputs too.
    #[must_use]
    pub fn decoder(&self) -> Decoder {
        Decoder::with_schemas(self.rules.clone(), self.schemas.clone())
    }

    /// An event as an input record has it.
    #[must_use]
    pub fn encoded(&self, event: &Event) -> Vec<u8> {
        // A schema is embedded for every type of event; without one, the record is a bad one.
        self.encoder.encode(event, Format::Avro).unwrap_or_default()
    }

    /// The partitions that `task` reads, that of `internal.routed` last.
    #[must_use]
    pub fn inputs_of(&self, task: u32) -> Vec<TopicPartition> {
        let inputs = INPUTS.into_iter().map(|topic| TopicPartition {
            topic: Arc::from(topic),
            partition: task,
        });
        inputs.chain([self.routed_of(task)]).collect()
    }

    /// The partition of `internal.routed` that `task` reads.
    #[must_use]
    pub fn routed_of(&self, task: u32) -> TopicPartition {
        TopicPartition {
            topic: Arc::clone(&self.setup.topics.routed),
            partition: task,
        }
    }

    /// Every partition of every topic, with whether it is compacted.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, bool)> {
        let topics = &self.setup.topics;
        let own = topics.outputs().into_iter().cloned().chain([
            Arc::clone(&topics.dead_letters),
            Arc::clone(&topics.routed),
            Arc::clone(&topics.changelog),
            Arc::clone(&topics.commits),
        ]);
        let inputs = INPUTS.into_iter().map(Arc::from);
        let changelog = Arc::clone(&topics.changelog);
        own.chain(inputs).flat_map(move |topic| {
            let is_compacted = topic == changelog;
            (0..TASKS).map(move |partition| {
                let topic = Arc::clone(&topic);
                (TopicPartition { topic, partition }, is_compacted)
            })
        })
    }
}
