//! The secured broker, as librdkafka sees it.

use std::time::Duration;

use kafkatest::{Broker, Options};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

/// Asks for the cluster's brokers with the properties for this broker, some of them changed.
fn brokers(broker: &Broker, changed: &[(&str, &str)]) -> Result<usize, String> {
    let mut config = ClientConfig::new();
    for (name, value) in broker.client_properties() {
        config.set(name, value);
    }
    for (name, value) in changed {
        config.set(*name, *value);
    }
    let consumer: BaseConsumer = config.create().map_err(|error| error.to_string())?;
    let patience = Duration::from_secs(if changed.is_empty() { 30 } else { 2 });
    let metadata = consumer.fetch_metadata(None, patience);
    metadata
        .map(|metadata| metadata.brokers().len())
        .map_err(|error| error.to_string())
}

#[test]
fn only_who_has_certificate_and_password_is_let_in() {
    let test = "only_who_has_certificate_and_password_is_let_in";
    let Some(broker) = Options::new().tls_and_sasl().start(test) else {
        return;
    };
    assert_eq!(brokers(&broker, &[]), Ok(1));
    for change in [
        ("sasl.password", "another"),
        ("ssl.ca.location", "/etc/ssl/certs/ca-certificates.crt"),
        ("security.protocol", "SASL_PLAINTEXT"),
    ] {
        let answer = brokers(&broker, &[change]);
        assert!(answer.is_err(), "{change:?}: {answer:?}");
    }

    broker.restart();
    assert_eq!(brokers(&broker, &[]), Ok(1));
}
