//! The application's topics for those who look after them: nothing is started, recorded or consumed.

use std::collections::BTreeMap;

use config::{Kafka, Loaded};
use kafkalog::topics::{Desired, TopicAdmin};

use super::{admin_properties, connect, desired};
use crate::deployment::{IDENTITY, identify};
use crate::error::RuntimeError;

/// A cluster, and what the application's topics on it should be like.
#[derive(Debug)]
pub struct Administration {
    /// The cluster.
    pub admin: TopicAdmin,
    /// What the topics should be like; N is the recorded one, where there is a deployment.
    pub desired: Desired,
    /// The ids of the deployment's topics, by name; empty before its first start.
    pub recorded: BTreeMap<String, String>,
}

impl Administration {
    /// Connects, and looks up what was recorded.
    ///
    /// # Errors
    /// The cluster cannot be reached, or the configuration contradicts what was recorded.
    pub fn of(loaded: &Loaded, kafka: &Kafka) -> Result<Administration, RuntimeError> {
        let config = &loaded.config;
        let admin = TopicAdmin::connect(&admin_properties(kafka)?)?;
        let (_, mut marks) = connect(config, kafka)?;
        let known = marks.remove(IDENTITY);
        let (identity, is_new) = identify(known.as_deref(), loaded, None)?;
        Ok(Administration {
            admin,
            desired: desired(config, kafka, &identity),
            recorded: match is_new {
                true => BTreeMap::new(),
                false => identity.topics,
            },
        })
    }
}
