//! An application as its log says that it is: for those who look on. Nothing is opened, recorded or
//! consumed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use config::{Config, Loaded};
use domain::event::Text;
use engine::task::Setup;
use engine::topics::Topics;
use eventlog::LogView;
use kafkalog::Cluster;
use wire::{Decoder, InputRules, Inputs, OutputEncoder, SchemaSet};

use crate::configured::{definitions_of, format_of, input_rules, read_mapping, schemas_of};
use crate::deployment::{IDENTITY, Identity, identify, input_name};
use crate::error::RuntimeError;

/// What holds for every task of an application.
#[derive(Debug)]
pub struct Outline {
    /// The configuration, with what was chosen at the first start.
    pub config: Config,
    /// What every task needs to know.
    pub setup: Arc<Setup>,
    /// How input is validated.
    pub rules: InputRules,
    /// Tells the application's state from any other's.
    pub incarnation: Vec<u8>,
}

impl Outline {
    /// That of the application in an embedded log; `None` before its first start.
    ///
    /// # Errors
    /// The log cannot be read, or the configuration contradicts what was chosen at the first start.
    pub fn in_log(loaded: &Loaded, log: &LogView) -> Result<Option<Outline>, RuntimeError> {
        let known = log.mark(IDENTITY)?;
        let outline = Outline::recorded(loaded, known)?;
        Ok(outline.map(|outline| Outline {
            incarnation: log.incarnation().to_vec(),
            ..outline
        }))
    }

    /// That of the application on a cluster; `None` before its first start.
    ///
    /// # Errors
    /// The cluster does not answer, or the configuration contradicts what was chosen at the first start.
    pub fn on(loaded: &Loaded, cluster: &Cluster) -> Result<Option<Outline>, RuntimeError> {
        let known = match cluster.partition_counts()?.get(&*cluster.topics().marks) {
            Some(_) => cluster.marks()?.remove(IDENTITY),
            None => None,
        };
        Outline::recorded(loaded, known)
    }

    fn recorded(loaded: &Loaded, known: Option<Vec<u8>>) -> Result<Option<Outline>, RuntimeError> {
        let (identity, is_new) = identify(known.as_deref(), loaded, None)?;
        if is_new {
            return Ok(None);
        }
        let config = loaded.config.clone();
        let schemas = schemas_of(&config)?;
        Outline::of(config, &identity, &schemas).map(Some)
    }

    pub(crate) fn of(
        mut config: Config,
        identity: &Identity,
        schemas: &SchemaSet,
    ) -> Result<Outline, RuntimeError> {
        config.partitions = identity.partitions;
        let currency = identity.currency();
        let rules = input_rules(&config, currency);
        config.limits.max_order_amount = rules.max_amount;
        config.currency = currency;
        let setup = Setup {
            application: Text::new(&config.application_id),
            tasks: config.partitions,
            outputs: identity.outputs(),
            topics: Topics::of_generation(&config.application_id, identity.generation),
            definitions: Arc::new(definitions_of(&config)),
            encoder: OutputEncoder::new(format_of(&config), schemas)?,
        };
        Ok(Outline {
            config,
            setup: Arc::new(setup),
            rules,
            incarnation: identity.incarnation.clone().into_bytes(),
        })
    }

    /// What reads the inputs, by `decoder` where no mapping does.
    ///
    /// # Errors
    /// A mapping cannot be read or does not fit.
    pub fn inputs(&self, decoder: Decoder) -> Result<Inputs, RuntimeError> {
        readers(&self.config, decoder)
    }

    /// The full names of the input topics.
    #[must_use]
    pub fn input_topics(&self) -> Vec<String> {
        let own = self.config.input.topics.iter();
        let own = own.map(|topic| input_name(&self.config.application_id, topic).to_string());
        own.chain(self.config.input.mapped.keys().cloned())
            .collect()
    }

    /// Where the state of `task` is kept on this machine.
    #[must_use]
    pub fn state_dir(&self, task: u32) -> PathBuf {
        state_dir(&self.config, task)
    }
}

/// Mapped topics by their mappings, the others by `decoder`.
pub(crate) fn readers(config: &Config, decoder: Decoder) -> Result<Inputs, RuntimeError> {
    let mut mapped = BTreeMap::new();
    for (topic, path) in &config.input.mapped {
        let mapping = read_mapping(path)?;
        mapped.insert(topic.clone(), Arc::new(mapping));
    }
    Ok(Inputs::new(decoder, mapped)?)
}

pub(crate) fn state_dir(config: &Config, task: u32) -> PathBuf {
    config.data_dir.join("state").join(task.to_string())
}
