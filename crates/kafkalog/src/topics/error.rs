//! How work on topics fails, and what to do about it.

use super::plan::{Problem, Recreated};
use crate::native::admin::Refusal;

/// Work on topics failed.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// librdkafka does not take the properties.
    #[error("the kafka properties cannot be used: {0}")]
    Properties(#[from] rdkafka::error::KafkaError),
    /// The cluster does not answer.
    #[error(
        "no answer from the kafka cluster at {servers}: {reason}; check the address, and that the brokers run and can be reached"
    )]
    Unreachable {
        /// The addresses that were tried.
        servers: String,
        /// What the connection says.
        reason: String,
    },
    /// The cluster refused a request as a whole.
    #[error("the kafka cluster refused to {action}: {reason}")]
    Refused {
        /// What was asked for.
        action: &'static str,
        /// The broker's words.
        reason: String,
    },
    /// The cluster refused something for some topics.
    #[error("the kafka cluster refused to {action}{}", listed(.topics))]
    TopicsRefused {
        /// What was asked for.
        action: &'static str,
        /// Topics and the broker's words.
        topics: Vec<(String, String)>,
    },
    /// Topics that there have to be are not there.
    #[error(
        "missing on the kafka cluster: {}; `clvstream topics apply` makes them, `clvstream topics plan` shows it first",
        .0.join(", ")
    )]
    Missing(Vec<String>),
    /// Topics of others that there have to be are not there.
    #[error(
        "missing on the kafka cluster: {}; {}",
        .0.join(", "),
        Problem::ForeignMissing.advice()
    )]
    MissingForeign(Vec<String>),
    /// Topics were deleted, and perhaps made again, after the deployment recorded them.
    #[error("topics are not those that were recorded{}\n{}", recreated_lines(.0), Recreated::ADVICE)]
    Recreated(Vec<Recreated>),
    /// Topics are there, and as they cannot be used.
    #[error("the topics cannot be used{}\n{}", listed(.topics), .advice.join("; "))]
    Problems {
        /// Topics, and what is in the way.
        topics: Vec<(String, String)>,
        /// What to do about it.
        advice: Vec<&'static str>,
    },
    /// Topics were created, and the cluster does not show them.
    #[error("the kafka cluster has no leaders yet for {}; try again, or look at the brokers' logs", .0.join(", "))]
    NotReady(Vec<String>),
    /// There is no access control to work on.
    #[error(
        "the brokers have no authorizer, so there is no access control to write to; `authorizer.class.name` of the brokers turns it on"
    )]
    NoAuthorizer,
}

impl TopicsError {
    pub(super) fn refused(action: &'static str, servers: &str, refusal: Refusal) -> TopicsError {
        match refusal.code {
            Refusal::SECURITY_DISABLED => TopicsError::NoAuthorizer,
            Refusal::TIMED_OUT => TopicsError::Unreachable {
                servers: servers.to_owned(),
                reason: refusal.message,
            },
            _ => TopicsError::Refused {
                action,
                reason: refusal.message,
            },
        }
    }

    pub(super) fn problems<'a>(
        problems: impl Iterator<Item = (&'a str, &'a Problem)>,
    ) -> TopicsError {
        let (mut topics, mut advice) = (Vec::new(), Vec::new());
        for (topic, problem) in problems {
            topics.push((topic.to_owned(), problem.to_string()));
            if !advice.contains(&problem.advice()) {
                advice.push(problem.advice());
            }
        }
        TopicsError::Problems { topics, advice }
    }
}

fn listed(topics: &[(String, String)]) -> String {
    topics
        .iter()
        .map(|(topic, reason)| format!("\n  {topic}: {reason}"))
        .collect()
}

fn recreated_lines(topics: &[Recreated]) -> String {
    topics
        .iter()
        .map(|recreated| format!("\n  {}: {recreated}", recreated.topic))
        .collect()
}
