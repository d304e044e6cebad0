//! What is asked for by hand: registering schemas, and whether they may be. These calls wait.

use serde::Deserialize;
use serde_json::json;

use crate::client::{
    Client, RegistryError, SUBJECT_NOT_FOUND, VERSION_NOT_FOUND, path_segment, quote,
};
use crate::settings::Settings;

/// The subjects of a registry.
#[derive(Debug)]
pub struct Subjects {
    client: Client,
}

/// Whether a schema may be the next version of a subject.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Compatibility {
    /// The subject has no version yet.
    New,
    /// It may.
    Compatible,
    /// It may not; the registry's reasons, if it gives any.
    Incompatible(Vec<String>),
}

#[derive(Deserialize)]
struct Registered {
    id: u32,
}

#[derive(Deserialize)]
struct Checked {
    is_compatible: bool,
    #[serde(default)]
    messages: Vec<String>,
}

impl Subjects {
    /// The subjects of the registry of `settings`; asks nothing yet.
    ///
    /// # Errors
    /// The settings are no good.
    pub fn new(settings: &Settings) -> Result<Subjects, RegistryError> {
        let client = Client::new(settings)?;
        Ok(Subjects { client })
    }

    /// Makes the Avro schema `schema` a version of `subject`, unless it is one already. Its id.
    ///
    /// # Errors
    /// The registry does not take it (409: not compatible), or does not answer.
    pub fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        let path = format!("/subjects/{}/versions", path_segment(subject));
        let body = json!({"schema": schema, "schemaType": "AVRO"});
        let registered: Registered = self.client.post(&path, &body)?;
        Ok(registered.id)
    }

    /// Whether the Avro schema `schema` may follow the newest version of `subject`.
    ///
    /// # Errors
    /// The registry cannot say, or does not answer.
    pub fn check_compatibility(
        &self,
        subject: &str,
        schema: &str,
    ) -> Result<Compatibility, RegistryError> {
        let subject = path_segment(subject);
        let path = format!("/compatibility/subjects/{subject}/versions/latest?verbose=true");
        let body = json!({"schema": schema, "schemaType": "AVRO"});
        match self.client.post::<Checked>(&path, &body) {
            Ok(checked) if checked.is_compatible => Ok(Compatibility::Compatible),
            Ok(checked) => {
                let messages = checked.messages.iter().map(|message| quote(message));
                Ok(Compatibility::Incompatible(messages.collect()))
            }
            Err(RegistryError::Refused {
                code: Some(SUBJECT_NOT_FOUND | VERSION_NOT_FOUND),
                ..
            }) => Ok(Compatibility::New),
            Err(error) => Err(error),
        }
    }
}
