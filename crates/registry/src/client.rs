//! One request at a time: HTTP to the registry, and what its answers mean.
//!
//! Invariant: answers are read up to a limit and within the settings' timeout.

use std::collections::BTreeSet;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::{Response, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use wire::schema_set::SchemaText;

use crate::settings::Settings;

/// The longest answer that is read: a schema within the limits of `wire`, escaped as JSON text.
const MAX_ANSWER: u64 = 2 << 20;
/// How many schemas one may refer to, also by way of others.
const MAX_REFERENCES: usize = 128;
/// How many bytes of an answer an error repeats.
const MAX_QUOTE: usize = 200;

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
const ACCEPT: &str = "application/vnd.schemaregistry.v1+json, application/json";

/// The registry's own codes for what it does not have.
pub(crate) const SUBJECT_NOT_FOUND: u32 = 40_401;
pub(crate) const VERSION_NOT_FOUND: u32 = 40_402;
const SCHEMA_NOT_FOUND: u32 = 40_403;

/// The registry cannot be used, or does not do what it is asked for; the message says what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RegistryError {
    /// The settings are no good.
    #[error("{0}")]
    Settings(String),
    /// The file of authorities cannot be read.
    #[error("cannot read {}: {message}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// No answer: down, slow, or not to be trusted.
    #[error("no answer from the schema registry: {0}")]
    Unreachable(String),
    /// It refused.
    #[error("the schema registry answered {status}{}: {message}", code_text(*code))]
    Refused {
        /// HTTP status.
        status: u16,
        /// The registry's own code, if the answer has one.
        code: Option<u32>,
        /// What it said.
        message: String,
    },
    /// Something that is no registry answered, or one of another kind.
    #[error("no answer of a schema registry ({0}): check its url")]
    Garbage(String),
}

fn code_text(code: Option<u32>) -> String {
    code.map_or_else(String::new, |code| format!(" (code {code})"))
}

/// What the registry says about an id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Schema(SchemaText),
    /// There is a schema, but none to read with.
    Unusable(String),
    Unknown,
}

#[derive(Deserialize)]
struct SchemaAnswer {
    schema: String,
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
    references: Option<Vec<Reference>>,
}

#[derive(Deserialize)]
struct Reference {
    subject: String,
    version: i64,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error_code: u32,
    message: Option<String>,
}

/// Asks the registry.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    url: String,
    authorization: Option<String>,
}

impl Client {
    pub(crate) fn new(settings: &Settings) -> Result<Client, RegistryError> {
        let url = settings.url.trim_end_matches('/').to_owned();
        let rest = url
            .strip_prefix("http://")
            .or_else(|| url.strip_prefix("https://"));
        let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
        match authority {
            Some(authority) if authority.contains('@') => {
                let message = "the schema registry's url holds credentials: name user and \
                               password in settings of their own";
                return Err(RegistryError::Settings(message.to_owned()));
            }
            Some(authority) if !authority.is_empty() => {}
            _ => {
                return Err(RegistryError::Settings(format!(
                    "{url} is no url of a schema registry: it begins with http:// or https://"
                )));
            }
        }
        let roots = match &settings.ssl_ca {
            Some(path) => authorities(path)?,
            None => RootCerts::PlatformVerifier,
        };
        let tls = TlsConfig::builder()
            .provider(TlsProvider::NativeTls)
            .root_certs(roots)
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(settings.timeout))
            .http_status_as_error(false)
            .max_redirects(3)
            // A registry is within reach: what the environment says about browsing is not for it.
            .proxy(None)
            .user_agent(concat!("clvstream/", env!("CARGO_PKG_VERSION")))
            .accept(ACCEPT)
            .build()
            .new_agent();
        let authorization = settings.credentials.as_ref().map(|(user, password)| {
            let pair = BASE64.encode(format!("{user}:{password}"));
            format!("Basic {pair}")
        });
        Ok(Client {
            agent,
            url,
            authorization,
        })
    }

    /// The schema with the id `id`, and those that it refers to.
    pub(crate) fn schema(&self, id: u32) -> Result<Answer, RegistryError> {
        // The API has signed ids: what is beyond them no registry knows, and the answer would be
        // that of a wrong address.
        if i32::try_from(id).is_err() {
            return Ok(Answer::Unknown);
        }
        let answer: SchemaAnswer = match self.get(&format!("/schemas/ids/{id}")) {
            Ok(answer) => answer,
            Err(RegistryError::Refused {
                code: Some(SCHEMA_NOT_FOUND),
                ..
            }) => return Ok(Answer::Unknown),
            Err(error) => return Err(error),
        };
        match answer.schema_type.as_deref() {
            None | Some("AVRO") => {}
            Some(other) => {
                let other = quote(other);
                return Ok(Answer::Unusable(format!(
                    "it is of type {other}, and only Avro is read"
                )));
            }
        }
        let Some(references) = self.references(answer.references.unwrap_or_default())? else {
            return Ok(Answer::Unusable(format!(
                "it refers to more than {MAX_REFERENCES} schemas, or to too long ones"
            )));
        };
        Ok(Answer::Schema(SchemaText {
            text: answer.schema,
            references,
        }))
    }

    /// The texts of `references`, each after those that it refers to itself; none if they are too
    /// many or too long.
    fn references(&self, references: Vec<Reference>) -> Result<Option<Vec<String>>, RegistryError> {
        enum Step {
            Fetch(Reference),
            Done(String),
        }
        let mut steps: Vec<Step> = references.into_iter().map(Step::Fetch).rev().collect();
        let mut seen = BTreeSet::new();
        let mut texts = Vec::new();
        let mut left = MAX_ANSWER;
        while let Some(step) = steps.pop() {
            let Reference { subject, version } = match step {
                Step::Done(text) => {
                    texts.push(text);
                    continue;
                }
                Step::Fetch(reference) => reference,
            };
            if !seen.insert((subject.clone(), version)) {
                continue;
            }
            if seen.len() > MAX_REFERENCES {
                return Ok(None);
            }
            // A subject that was deleted is still referred to.
            let subject = path_segment(&subject);
            let path = format!("/subjects/{subject}/versions/{version}?deleted=true");
            let answer: SchemaAnswer = self.get(&path)?;
            match left.checked_sub(answer.schema.len() as u64) {
                Some(after) => left = after,
                None => return Ok(None),
            }
            steps.push(Step::Done(answer.schema));
            let further = answer.references.unwrap_or_default().into_iter();
            steps.extend(further.map(Step::Fetch).rev());
        }
        Ok(Some(texts))
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, RegistryError> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        answer(request.call())
    }

    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, RegistryError> {
        let mut request = self.agent.post(format!("{}{path}", self.url));
        request = request.header(header::CONTENT_TYPE, CONTENT_TYPE);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        answer(request.send(body.to_string()))
    }
}

fn authorities(path: &PathBuf) -> Result<RootCerts, RegistryError> {
    let unreadable = |message: String| RegistryError::Authorities {
        path: path.clone(),
        message,
    };
    let pem = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let mut authorities = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(authority)) => authorities.push(authority),
            Ok(_) => {}
            Err(error) => return Err(unreadable(error.to_string())),
        }
    }
    if authorities.is_empty() {
        let message = "it holds no certificate in PEM form";
        return Err(unreadable(message.to_owned()));
    }
    Ok(RootCerts::from(authorities))
}

fn answer<T: DeserializeOwned>(
    response: Result<Response<ureq::Body>, ureq::Error>,
) -> Result<T, RegistryError> {
    let mut response = response.map_err(failure)?;
    let status = response.status();
    let body = response.body_mut().with_config().limit(MAX_ANSWER);
    let body = body.read_to_vec().map_err(failure)?;
    if status.is_success() {
        return serde_json::from_slice(&body)
            .map_err(|error| RegistryError::Garbage(error.to_string()));
    }
    let refusal: Option<ErrorAnswer> = serde_json::from_slice(&body).ok();
    let message = refusal.as_ref().and_then(|r| r.message.as_deref());
    let message = message.map_or_else(|| quote(&String::from_utf8_lossy(&body)), quote);
    let hint = match status.as_u16() {
        401 | 403 => " (check user, password and permissions)",
        404 if refusal.as_ref().is_none_or(|r| r.error_code == 404) => " (check the url)",
        _ => "",
    };
    Err(RegistryError::Refused {
        status: status.as_u16(),
        code: refusal.map(|r| r.error_code),
        message: format!("{message}{hint}"),
    })
}

fn failure(error: ureq::Error) -> RegistryError {
    match error {
        ureq::Error::BodyExceedsLimit(limit) => {
            RegistryError::Garbage(format!("more than {limit} bytes"))
        }
        error => RegistryError::Unreachable(error.to_string()),
    }
}

/// The beginning of somebody else's text, in one line.
pub(crate) fn quote(text: &str) -> String {
    let mut line = String::new();
    for c in text.trim().chars().take(MAX_QUOTE) {
        line.push(if c.is_control() { ' ' } else { c });
    }
    line
}

/// `text` as one segment of a path.
pub(crate) fn path_segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                segment.push(char::from(byte));
            }
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked() {
        let with = |url: &str| Client::new(&Settings::new(url)).map(|client| client.url);
        assert_eq!(with("http://r:8081/base/").unwrap(), "http://r:8081/base");
        assert!(with("https://r").is_ok());
        for wrong in ["", "r:8081", "http://", "ftp://r"] {
            let error = with(wrong).unwrap_err().to_string();
            assert!(error.contains("begins with http://"), "{error}");
        }
        let error = with("http://user:secret@r:8081").unwrap_err().to_string();
        assert!(error.contains("settings of their own") && !error.contains("secret"));
    }

    #[test]
    fn subjects_are_one_segment() {
        assert_eq!(path_segment("a/b ü-value"), "a%2Fb%20%C3%BC-value");
    }

    #[test]
    fn authorities_that_are_none_are_refused() {
        let settings = |path: &str| Settings {
            ssl_ca: Some(path.into()),
            ..Settings::new("https://r")
        };
        let missing = Client::new(&settings("/nowhere.pem")).unwrap_err();
        assert!(matches!(missing, RegistryError::Authorities { .. }));
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let empty = Client::new(&settings(manifest)).unwrap_err().to_string();
        assert!(empty.contains("holds no certificate"), "{empty}");
    }
}
