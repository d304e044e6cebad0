//! What was chosen at a deployment's first start: application id, number of partitions, currency.
//!
//! It is recorded in the log and holds from then on: a configuration that says otherwise is refused, one that
//! says nothing follows.

use std::collections::BTreeMap;

use config::Loaded;
use domain::money::Currency;
use serde::{Deserialize, Serialize};

use crate::error::RuntimeError;

/// Name of the log's mark that holds what was chosen at the first start.
pub(crate) const IDENTITY: &str = "deployment";

/// What was chosen at the first start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) application: String,
    pub(crate) partitions: u32,
    pub(crate) currency: String,
    pub(crate) decimals: u8,
    /// On Kafka: tells this deployment from any other that had its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) incarnation: String,
    /// On Kafka: the ids of its topics, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) topics: BTreeMap<String, String>,
    /// On Kafka: how often the number of tasks has been changed since.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) generation: u32,
    /// Number of partitions of every output, where that is not the number of tasks any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) outputs: Option<u32>,
    /// What `incarnation` was before the number of tasks was changed, each time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) former: Vec<String>,
}

impl Identity {
    /// What amounts are in.
    pub(crate) fn currency(&self) -> Currency {
        Currency {
            code: <[u8; 3]>::try_from(self.currency.as_bytes()).unwrap_or(*b"XXX"),
            decimals: self.decimals,
        }
    }

    /// Number of partitions of every output.
    pub(crate) fn outputs(&self) -> u32 {
        self.outputs.unwrap_or(self.partitions)
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What was chosen at the first start, or is chosen now; answers too whether it is new.
///
/// # Errors
/// What is configured contradicts it.
pub(crate) fn identify(
    known: Option<&[u8]>,
    loaded: &Loaded,
    currency: Option<Currency>,
) -> Result<(Identity, bool), RuntimeError> {
    let config = &loaded.config;
    let Some(known) = known else {
        let wanted = if loaded.is_set("currency", "code") {
            config.currency
        } else {
            currency.unwrap_or(config.currency)
        };
        let identity = Identity {
            application: config.application_id.clone(),
            partitions: config.partitions,
            currency: wanted.as_str().to_owned(),
            decimals: wanted.decimals,
            incarnation: String::new(),
            topics: BTreeMap::new(),
            generation: 0,
            outputs: None,
            former: Vec::new(),
        };
        return Ok((identity, true));
    };
    let identity: Identity = serde_json::from_slice(known).map_err(RuntimeError::Identity)?;
    let fixed = |what, chosen: String, wanted: String| RuntimeError::Fixed {
        what,
        chosen,
        wanted,
        place: match &config.kafka {
            Some(_) => format!("of application {:?}", config.application_id),
            None => format!("in {}", config.data_dir.display()),
        },
    };
    if identity.application != config.application_id {
        let wanted = config.application_id.clone();
        return Err(fixed("application_id", identity.application, wanted));
    }
    if loaded.is_set("", "partitions") && identity.partitions != config.partitions {
        return Err(RuntimeError::OtherPartitions {
            recorded: identity.partitions,
            wanted: config.partitions,
            is_on_kafka: config.kafka.is_some(),
        });
    }
    let describe = |code: &str, decimals: u8| format!("{code} with {decimals} decimals");
    let chosen = describe(&identity.currency, identity.decimals);
    let set = loaded.is_set("currency", "code") || loaded.is_set("currency", "decimals");
    let wanted = [set.then_some(config.currency), currency];
    for wanted in wanted.into_iter().flatten() {
        let wanted = describe(wanted.as_str(), wanted.decimals);
        if wanted != chosen {
            return Err(fixed("currency", chosen, wanted));
        }
    }
    Ok((identity, false))
}
