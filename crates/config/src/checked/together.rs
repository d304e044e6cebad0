//! What no key can be checked for by itself: keys that have to go together.

use std::time::Duration;

use super::topic_is_foreign;
use crate::kafka::{Kafka, Protocol, Registry, Security};
use crate::properties::canonical;
use crate::reader::Reader;
use crate::setting::{OneOf, Setting, Wrong};
use crate::types::Config;

pub(super) fn check(reader: &mut Reader<'_>, config: &Config) {
    check_input(reader, config);
    if config.kafka.is_none() && config.standby > 0 {
        let wrong = Wrong::new("the embedded log has one process, and no other to stand by")
            .hint("set `kafka.bootstrap`, or leave `standby` out");
        reader.refuse("", &["standby"], wrong);
    }
    if let Some(kafka) = &config.kafka {
        check_times(reader, kafka, config.commit.interval);
        check_properties(reader, kafka);
        if kafka.static_membership && kafka.instance.is_none() {
            let wrong = Wrong::new("a membership that outlives the process needs a name that does")
                .hint("set `kafka.instance`, to a different name in every process");
            reader.refuse("kafka", &["static_membership"], wrong);
        }
        check_security(reader, &kafka.security);
    }
    if let Some(registry) = &config.registry {
        check_registry(reader, registry);
    }
}

fn check_input(reader: &mut Reader<'_>, config: &Config) {
    let input = &config.input;
    if input.topics.is_empty() && input.mapped.is_empty() {
        let wrong = Wrong::new("there is nothing to read").hint("name at least one topic");
        reader.refuse("input", &["topics"], wrong);
    }
    if config.kafka.is_none() && !input.mapped.is_empty() {
        let wrong = Wrong::new("there are foreign topics on Kafka alone")
            .hint("set `kafka.bootstrap`, or load files with `clvstream load --mapping`");
        reader.refuse("input", &["mapped"], wrong);
    }
    for topic in input.mapped.keys() {
        if let Err(wrong) = topic_is_foreign(topic, &config.application_id) {
            reader.refuse("input", &["mapped"], wrong);
        }
    }
}

fn check_times(reader: &mut Reader<'_>, kafka: &Kafka, commit_interval: Duration) {
    let text = |time: Duration| time.literal();
    if kafka.max_poll_interval < kafka.session_timeout {
        let wrong = Wrong::new(format!(
            "the longest interval between polls, {}, is less than the session timeout, {}",
            text(kafka.max_poll_interval),
            text(kafka.session_timeout)
        ));
        reader.refuse("kafka", &["max_poll_interval", "session_timeout"], wrong);
    }
    if kafka.transaction_timeout < commit_interval * 10 {
        let wrong = Wrong::new(format!(
            "the transaction timeout, {}, is less than ten times the commit interval, {}: a slow commit would be aborted",
            text(kafka.transaction_timeout),
            text(commit_interval)
        ))
        .hint("raise `kafka.transaction_timeout`, or lower `commit.interval`");
        match reader.is_set("kafka", "transaction_timeout") {
            true => reader.refuse("kafka", &["transaction_timeout"], wrong),
            false => reader.refuse("commit", &["interval"], wrong),
        }
    }
}

/// What librdkafka demands of properties together. It would say so when the client is made, which
/// is later than the check of a configuration.
fn check_properties(reader: &mut Reader<'_>, kafka: &Kafka) {
    let consumer = kafka.consumer_properties();
    let producer = kafka.producer_properties();
    let number = |properties: &[(String, String)], name: &str| -> Option<f64> {
        let name = canonical(name);
        let found = properties.iter().find(|(known, _)| known == name);
        found.and_then(|(_, value)| value.trim().parse().ok())
    };
    let of_consumer = |name| number(&consumer, name);
    let of_producer = |name| number(&producer, name);
    let session = kafka.session_timeout.as_millis() as f64;
    let transaction = kafka.transaction_timeout.as_millis() as f64;
    let consumer_tables = ["consumer_properties", "properties"];
    let producer_tables = ["producer_properties", "properties"];
    let received = of_consumer("receive.message.max.bytes");
    for (tables, broken, message) in [
        (
            consumer_tables,
            of_consumer("heartbeat.interval.ms").is_some_and(|n| n >= session),
            "`heartbeat.interval.ms` has to be less than `kafka.session_timeout`",
        ),
        (
            consumer_tables,
            of_consumer("fetch.max.bytes") < of_consumer("message.max.bytes").or(Some(1e6)),
            "`fetch.max.bytes` has to be `message.max.bytes` (1000000 unless set) or more",
        ),
        (
            consumer_tables,
            received.is_some() && received < of_consumer("fetch.max.bytes").map(|n| n + 512.0),
            "`receive.message.max.bytes` has to be `fetch.max.bytes` and 512 bytes or more",
        ),
        (
            producer_tables,
            of_producer("socket.timeout.ms").is_some_and(|n| n > transaction + 100.0),
            "`socket.timeout.ms` cannot be more than `kafka.transaction_timeout`",
        ),
        (
            producer_tables,
            of_producer("linger.ms").is_some_and(|n| n >= transaction),
            "`linger.ms` has to be less than `kafka.transaction_timeout`",
        ),
        (
            producer_tables,
            of_producer("reconnect.backoff.ms") > of_producer("reconnect.backoff.max.ms"),
            "`reconnect.backoff.ms` cannot be more than `reconnect.backoff.max.ms`, which is 2000 unless set",
        ),
    ] {
        if broken {
            reader.refuse("kafka", &tables, Wrong::new(message));
        }
    }
}

fn check_security(reader: &mut Reader<'_>, security: &Security) {
    let section = "kafka.security";
    let protocol = security.protocol;
    let mut refuse = |keys: &[&str], wrong| reader.refuse(section, keys, wrong);
    let unused = |with: &str| {
        Wrong::new(format!(
            "it is not used with protocol {}",
            OneOf(protocol).literal()
        ))
        .hint(format!("set `kafka.security.protocol` to {with}"))
    };
    let has_user = [
        ("sasl_mechanism", security.sasl_mechanism.is_some()),
        ("username", security.username.is_some()),
        ("password_file", security.password.is_some()),
    ];
    let with_sasl = OneOf(Protocol::SaslSsl).literal();
    for (key, is_there) in has_user {
        let keys: &[&str] = match key {
            "password_file" => &["password_file", "password_env"],
            _ => &[key],
        };
        match (protocol.has_sasl(), is_there) {
            (true, false) => {
                let names: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
                refuse(
                    &["protocol"],
                    Wrong::new(format!(
                        "{} needs {}",
                        OneOf(protocol).literal(),
                        names.join(" or ")
                    )),
                );
            }
            (false, true) => refuse(keys, unused(&with_sasl)),
            _ => {}
        }
    }
    let has_tls = [
        ("ssl_ca", security.ssl_ca.is_some()),
        ("ssl_certificate", security.ssl_certificate.is_some()),
        ("ssl_key", security.ssl_key.is_some()),
    ];
    let with_tls = match protocol.has_sasl() {
        true => with_sasl,
        false => OneOf(Protocol::Ssl).literal(),
    };
    for (key, _) in has_tls.iter().filter(|(_, is_there)| *is_there) {
        if !protocol.has_ssl() {
            refuse(&[key], unused(&with_tls));
        }
    }
    if security.ssl_certificate.is_some() != security.ssl_key.is_some() {
        refuse(
            &["ssl_certificate", "ssl_key"],
            Wrong::new("a certificate and its private key go together")
                .hint("set both `ssl_certificate` and `ssl_key`"),
        );
    }
    if security.ssl_key_password.is_some() && security.ssl_key.is_none() {
        refuse(
            &["ssl_key_password_file", "ssl_key_password_env"],
            Wrong::new("there is no private key that it could be the password of")
                .hint("set `ssl_key`"),
        );
    }
}

fn check_registry(reader: &mut Reader<'_>, registry: &Registry) {
    let mut refuse = |keys: &[&str], wrong| reader.refuse("registry", keys, wrong);
    match (&registry.username, &registry.password) {
        (Some(_), None) => refuse(
            &["username"],
            Wrong::new("there is a user without a password")
                .hint("set `password_file` or `password_env`"),
        ),
        (None, Some(_)) => refuse(
            &["password_file", "password_env"],
            Wrong::new("there is a password without a user").hint("set `username`"),
        ),
        _ => {}
    }
    if registry.ssl_ca.is_some() && registry.url.starts_with("http://") {
        refuse(
            &["ssl_ca"],
            Wrong::new("the connection is not encrypted").hint("write the URL with https://"),
        );
    }
}
