//! The schemas by which commands read records: the project's, the configured ones, and those of the
//! registry, which are waited for.

use std::thread;
use std::time::{Duration, Instant};

use config::Config;
use registry::{Lookup, Registry};
use runtime::configured::{registry_settings, schemas_of};
use wire::{Decoder, InputRules, SharedSchemas};

use crate::error::CliError;

/// How often it is looked whether the registry has answered.
const LOOK: Duration = Duration::from_millis(10);

/// Schemas by their ids.
#[derive(Debug)]
pub struct Schemas {
    known: SharedSchemas,
    registry: Option<Registry>,
    patience: Duration,
}

impl Schemas {
    /// The schemas that the configuration leads to.
    ///
    /// # Errors
    /// A configured schema cannot be read, or the registry's settings are no good.
    pub fn of(config: &Config) -> Result<Schemas, CliError> {
        let own = schemas_of(config)?;
        let Some(configured) = &config.registry else {
            return Ok(Schemas {
                known: SharedSchemas::closed(&own).map_err(CliError::failure)?,
                registry: None,
                patience: Duration::ZERO,
            });
        };
        let settings = registry_settings(configured)?;
        Ok(Schemas {
            known: SharedSchemas::open(&own).map_err(CliError::failure)?,
            registry: Some(Registry::new(&settings).map_err(CliError::failure)?),
            patience: settings.timeout,
        })
    }

    /// A decoder that reads with them.
    #[must_use]
    pub fn decoder(&self, rules: InputRules) -> Decoder {
        Decoder::with_schemas(rules, self.known.clone())
    }

    /// Sees to it that the schema that `value` names is known, if anybody has it.
    ///
    /// # Errors
    /// The registry does not answer, with the reason.
    pub fn fetch(&self, value: Option<&[u8]>) -> Result<(), String> {
        let Some(registry) = &self.registry else {
            return Ok(());
        };
        let Some([0, id @ ..]) = value.and_then(|v| v.first_chunk::<5>()) else {
            return Ok(());
        };
        let id = u32::from_be_bytes(*id);
        let started = Instant::now();
        while !self.known.knows(id) {
            match registry.lookup(id) {
                Lookup::Known(schema) => {
                    // What cannot be used is said of each record that names it.
                    let _ = self.known.learn(id, &schema);
                    return Ok(());
                }
                Lookup::Unusable(reason) => {
                    self.known.refuse(id, &reason);
                    return Ok(());
                }
                Lookup::Unknown => {
                    self.known
                        .note_missing(id, "the schema registry does not have it");
                    return Ok(());
                }
                Lookup::Pending { last_error, .. } if started.elapsed() > self.patience => {
                    let why = last_error.as_deref().unwrap_or("no answer");
                    return Err(format!(
                        "schema {id} cannot be fetched from the registry: {why}"
                    ));
                }
                Lookup::Pending { .. } => thread::park_timeout(LOOK),
            }
        }
        Ok(())
    }
}
