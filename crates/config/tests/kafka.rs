//! `[kafka]`, `[kafka.security]`, `[registry]` and foreign topics: what is accepted, what is
//! refused, and in which words.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use config::{Config, Mechanism, Profile, Protocol, SecretSource, parse};

fn accept(source: &str) -> Config {
    parse("shop.toml", source, &[]).unwrap().config
}

fn problems(source: &str) -> String {
    parse("shop.toml", source, &[]).unwrap_err().to_string()
}

#[test]
fn without_brokers_the_embedded_log_is_used() {
    for source in ["", "[kafka]\nbootstrap = \"\"\nsession_timeout = \"20s\"\n"] {
        let config = accept(source);
        assert_eq!(config.kafka, None);
        assert_eq!(config.registry, None);
    }
    // Ten times this is beyond the transaction timeout, of which there is none.
    assert_eq!(accept("commit.interval = \"10s\"").kafka, None);
}

const EVERYTHING: &str = r#"
    standby = 2
    [input]
    topics = []
    mapped = { "erp.orders" = "mappings/erp.toml", "clicks" = "mappings/clicks.toml" }
    [kafka]
    bootstrap = "kafka-1:9092, [::1]:9093"
    instance = "shop-0"
    static_membership = true
    profile = "throughput"
    session_timeout = "6s"
    max_poll_interval = "2m"
    transaction_timeout = "30s"
    max_task_idle = "0s"
    input_check = "1m"
    create_topics = false
    replication = 2
    consumer_properties = { "check.crcs" = true }
    [kafka.properties]
    client.rack = "eu-1a"
    "socket.nagle.disable" = false
    [kafka.producer_properties]
    linger.ms = 2.5
    [kafka.security]
    protocol = "sasl_ssl"
    sasl_mechanism = "SCRAM-SHA-256"
    username = "shop"
    password_env = "SHOP_PASSWORD"
    ssl_ca = "ca.pem"
    ssl_certificate = "shop.pem"
    ssl_key = "shop.key"
    ssl_key_password_file = "/run/secrets/key"
    [registry]
    url = "https://registry.example.com:8081/schemas/"
    username = "reader"
    password_file = "/run/secrets/registry"
    timeout = "2s"
    give_up_after = "1h"
    "#;

#[test]
fn everything_is_read() {
    let config = accept(EVERYTHING);
    assert_eq!(config.standby, 2);
    assert!(config.input.topics.is_empty());
    assert_eq!(
        config.input.mapped["erp.orders"].as_os_str(),
        "mappings/erp.toml"
    );
    let kafka = config.kafka.unwrap();
    assert_eq!(kafka.bootstrap, ["kafka-1:9092", "[::1]:9093"]);
    assert_eq!(kafka.instance.as_deref(), Some("shop-0"));
    assert!(kafka.static_membership && !kafka.create_topics);
    assert_eq!(kafka.profile, Profile::Throughput);
    assert_eq!(kafka.session_timeout, Duration::from_secs(6));
    assert_eq!(kafka.max_poll_interval, Duration::from_secs(120));
    assert_eq!(kafka.transaction_timeout, Duration::from_secs(30));
    assert_eq!(kafka.max_task_idle, Duration::ZERO);
    assert_eq!(kafka.input_check, Duration::from_secs(60));
    assert_eq!(kafka.replication, Some(2));
    assert_eq!(kafka.properties["client.rack"], "eu-1a");
    assert_eq!(kafka.properties["socket.nagle.disable"], "false");
    assert_eq!(kafka.consumer_properties["check.crcs"], "true");
    assert_eq!(kafka.producer_properties["linger.ms"], "2.5");
    let security = kafka.security;
    assert_eq!(security.protocol, Protocol::SaslSsl);
    assert_eq!(security.sasl_mechanism, Some(Mechanism::ScramSha256));
    assert_eq!(security.username.as_deref(), Some("shop"));
    assert_eq!(
        security.password,
        Some(SecretSource::Env("SHOP_PASSWORD".to_owned()))
    );
    assert_eq!(
        security.ssl_key_password,
        Some(SecretSource::File("/run/secrets/key".into()))
    );
    assert_eq!(security.ssl_key, Some("shop.key".into()));
    let registry = config.registry.unwrap();
    assert_eq!(registry.url, "https://registry.example.com:8081/schemas");
    assert_eq!(registry.give_up_after, Some(Duration::from_secs(3_600)));
    assert_eq!(registry.refresh_unknown, Duration::from_secs(60));
}

#[test]
fn defaults() {
    let config = accept("kafka.bootstrap = [\"a:1\"]\nregistry.url = \"http://b:2\"");
    let kafka = config.kafka.unwrap();
    assert_eq!((kafka.instance, kafka.replication), (None, None));
    assert_eq!(kafka.profile, Profile::Balanced);
    assert_eq!(kafka.session_timeout, Duration::from_secs(10));
    assert_eq!(kafka.security.protocol, Protocol::Plaintext);
    assert!(kafka.create_topics && !kafka.static_membership);
    let registry = config.registry.unwrap();
    assert_eq!(registry.give_up_after, None);
    assert_eq!(registry.timeout, Duration::from_secs(5));
}

#[test]
fn the_embedded_log_has_no_standbys() {
    let problems = |source: &str| parse("shop.toml", source, &[]).unwrap_err().to_string();
    insta::assert_snapshot!(problems("partitions = 2\nstandby = 1\n"), @r"
    the configuration has a problem
      shop.toml:2:11: `standby`: the embedded log has one process, and no other to stand by (set `kafka.bootstrap`, or leave `standby` out)
    ");
    assert_eq!(accept("standby = 0").standby, 0);
    assert_eq!(accept("").standby, 0);
}

#[test]
fn what_is_shown_reads_back_the_same() {
    for source in [EVERYTHING, "kafka.bootstrap = 'a:1'", ""] {
        let loaded = parse("shop.toml", source, &[]).unwrap();
        let again = parse("shown.toml", &loaded.to_toml(), &[]).unwrap();
        assert_eq!(again.config, loaded.config);
    }
}

#[test]
fn all_problems_are_reported_at_once_with_their_places() {
    let source = r#"[commit]
interval = "2s"
[input]
topics = ["orders"]
mapped = { "clvstream.clv.updates" = "a.toml", "a b" = "b.toml" }
[kafka]
bootstrap = ["kafka-1", "kafka-2:9092"]
instance = "a/b"
static_membership = true
session_timeout = "10m"
replication = 0
profil = "balanced"
properties.client.rack = ["eu"]
[kafka.consumer_properties]
enable.auto.commit = true
linger.ms = 5
heartbeat.interval.ms = 3000
fetch.wait.max = 20
[kafka.producer_properties]
"max.in.flight" = 6
socket.timeout.ms = 60000
[kafka.security]
sasl_mechanism = "GSSAPI"
username = "shop"
password = "hunter2"
password_env = "${SHOP_PASSWORD}"
ssl_certificate = "shop.pem"
[kafka.securty]
protocol = "ssl"
[registry]
url = "registry:8081"
password_file = "secret"
"#;
    insta::assert_snapshot!(problems(source), @r#"
    the configuration has 24 problems
      shop.toml:2:12: `commit.interval`: the transaction timeout, "10s", is less than ten times the commit interval, "2s": a slow commit would be aborted (raise `kafka.transaction_timeout`, or lower `commit.interval`)
      shop.toml:5:10: `input.mapped`: a topic's name cannot contain ' ' (use letters, digits, `.`, `_` and `-`)
      shop.toml:5:10: `input.mapped`: "clvstream.clv.updates" is a topic of this application (an input topic of its own is named in `input.topics`, as "clv.updates")
      shop.toml:7:13: `kafka.bootstrap`: "kafka-1" has no port (write host and port, such as "kafka-1:9092" or "[::1]:9092")
      shop.toml:8:12: `kafka.instance`: an instance's name cannot contain '/' (use letters, digits, `.`, `_` and `-`)
      shop.toml:9:21: `kafka.static_membership`: a membership that outlives the process needs a name that does (set `kafka.instance`, to a different name in every process)
      shop.toml:10:19: `kafka.session_timeout`: the longest interval between polls, "5m", is less than the session timeout, "10m"
      shop.toml:11:15: `kafka.replication`: 0 is outside 1 to 32767
      shop.toml:12:1: unknown key `kafka.profil` (did you mean `profile`?)
      shop.toml:13:26: `kafka.properties.client.rack`: expected a string, a number or a boolean, found an array
      shop.toml:15:22: `kafka.consumer_properties.enable.auto.commit`: offsets are committed in the transaction, with what came of the records
      shop.toml:16:13: `kafka.consumer_properties.linger.ms`: it is a property of producers (set it in `kafka.producer_properties`)
      shop.toml:18:18: `kafka.consumer_properties.fetch.wait.max`: librdkafka 2.12.1 has no such property (did you mean `fetch.wait.max.ms`?)
      shop.toml:19:1: `kafka.producer_properties`: `socket.timeout.ms` cannot be more than `kafka.transaction_timeout`
      shop.toml:20:19: `kafka.producer_properties.max.in.flight`: 6 is outside 1 to 5, within which a broker can tell a repeated batch from a new one
      shop.toml:23:18: `kafka.security.sasl_mechanism`: "GSSAPI" is not one of `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`
      shop.toml:24:12: `kafka.security.username`: it is not used with protocol "plaintext" (set `kafka.security.protocol` to "sasl_ssl")
      shop.toml:25:1: unknown key `kafka.security.password` (passwords do not stand in the configuration: name the place of this one with `password_file` or `password_env`)
      shop.toml:26:16: `kafka.security.password_env`: this is not the name of an environment variable (write the name alone, such as "KAFKA_PASSWORD", and put the password in the variable)
      shop.toml:27:19: `kafka.security.ssl_certificate`: it is not used with protocol "plaintext" (set `kafka.security.protocol` to "ssl")
      shop.toml:27:19: `kafka.security.ssl_certificate`: a certificate and its private key go together (set both `ssl_certificate` and `ssl_key`)
      shop.toml:28:8: unknown key `kafka.securty` (did you mean `security`?)
      shop.toml:31:7: `registry.url`: "registry:8081" does not begin with http:// or https:// (write it like "http://registry:8081" or "https://example.com/registry")
      shop.toml:32:17: `registry.password_file`: there is a password without a user (set `username`)
    "#);
}

/// One row per property that is refused: table, name, value, message.
#[test]
fn refused_properties() {
    for (table, name, value, message) in [
        (
            "properties",
            "isolation.level",
            "'read_uncommitted'",
            "only committed records may be read",
        ),
        (
            "properties",
            "transactional.id",
            "'a'",
            "by which a predecessor is fenced",
        ),
        (
            "producer_properties",
            "enable.idempotence",
            "false",
            "stands there twice",
        ),
        (
            "producer_properties",
            "acks",
            "1",
            "can be lost after its commit",
        ),
        (
            "properties",
            "request.required.acks",
            "1",
            "can be lost after its commit",
        ),
        (
            "properties",
            "enable.auto.offset.store",
            "true",
            "offsets are committed in the transaction",
        ),
        (
            "properties",
            "offset.store.method",
            "'file'",
            "offsets are committed in the transaction",
        ),
        ("properties", "max.in.flight", "6", "6 is outside 1 to 5"),
        (
            "properties",
            "max.in.flight.requests.per.connection",
            "'x'",
            "x is outside 1 to 5",
        ),
        (
            "properties",
            "group.id",
            "'a'",
            "it is the `application_id`",
        ),
        (
            "properties",
            "group.protocol",
            "'consumer'",
            "cooperative-sticky",
        ),
        (
            "properties",
            "partition.assignment.strategy",
            "'range'",
            "cooperative-sticky",
        ),
        (
            "properties",
            "auto.offset.reset",
            "'latest'",
            "a position that is lost has to stop the task",
        ),
        (
            "properties",
            "enable.partition.eof",
            "true",
            "wrong position",
        ),
        ("properties", "partitioner", "'random'", "murmur2"),
        (
            "properties",
            "queuing.strategy",
            "'lifo'",
            "have to keep their order",
        ),
        (
            "properties",
            "message.timeout.ms",
            "1",
            "`kafka.transaction_timeout`",
        ),
        ("properties", "retries", "0", "`kafka.transaction_timeout`"),
        (
            "properties",
            "delivery.report.only.error",
            "true",
            "waits for the report",
        ),
        (
            "properties",
            "allow.auto.create.topics",
            "true",
            "`kafka.create_topics`",
        ),
        (
            "properties",
            "api.version.request",
            "false",
            "protocol versions",
        ),
        ("properties", "plugin.library.paths", "'x'", "other code"),
        ("properties", "test.mock.num.brokers", "3", "an imitation"),
        ("properties", "rebalance_cb", "'x'", "by code alone"),
        (
            "properties",
            "sasl.kerberos.principal",
            "'x'",
            "Kerberos is not built in",
        ),
        (
            "properties",
            "sasl.oauthbearer.client.secret",
            "'hunter2'",
            "OAUTHBEARER is not built in",
        ),
        (
            "properties",
            "bootstrap.servers",
            "'a:1'",
            "(set `kafka.bootstrap` instead)",
        ),
        (
            "properties",
            "session.timeout.ms",
            "1",
            "(set `kafka.session_timeout` instead)",
        ),
        (
            "properties",
            "max.poll.interval.ms",
            "1",
            "(set `kafka.max_poll_interval` instead)",
        ),
        (
            "properties",
            "transaction.timeout.ms",
            "1",
            "(set `kafka.transaction_timeout` instead)",
        ),
        (
            "properties",
            "group.instance.id",
            "'a'",
            "(set `kafka.static_membership` instead)",
        ),
        (
            "properties",
            "security.protocol",
            "'ssl'",
            "(set `kafka.security.protocol` instead)",
        ),
        (
            "properties",
            "sasl.password",
            "'hunter2'",
            "(set `kafka.security.password_file` instead)",
        ),
        (
            "properties",
            "ssl.key.password",
            "'hunter2'",
            "(set `kafka.security.ssl_key_password_file` instead)",
        ),
        (
            "properties",
            "ssl.key.pem",
            "'hunter2'",
            "(set `kafka.security.ssl_key` instead)",
        ),
        (
            "consumer_properties",
            "batch.size",
            "1",
            "(set it in `kafka.producer_properties`)",
        ),
        (
            "producer_properties",
            "fetch.min.bytes",
            "1",
            "(set it in `kafka.consumer_properties`)",
        ),
        (
            "properties",
            "fetch.mim.bytes",
            "1",
            "no such property (did you mean `fetch.min.bytes`?)",
        ),
        (
            "properties",
            "frobnicate",
            "1",
            "librdkafka 2.12.1 has no such property",
        ),
        (
            "properties",
            "client.rack",
            "[]",
            "expected a string, a number or a boolean, found an array",
        ),
        (
            "consumer_properties",
            "fetch.max.bytes",
            "1000",
            "`fetch.max.bytes` has to be `message.max.bytes` (1000000 unless set)",
        ),
        (
            "consumer_properties",
            "receive.message.max.bytes",
            "1000",
            "`fetch.max.bytes` and 512 bytes",
        ),
        (
            "properties",
            "linger.ms",
            "10000",
            "`linger.ms` has to be less than",
        ),
        (
            "properties",
            "reconnect.backoff.ms",
            "2001",
            "cannot be more than `reconnect.backoff.max.ms`",
        ),
    ] {
        let text = problems(&format!(
            "kafka.bootstrap = 'a:1'\nkafka.{table}.\"{name}\" = {value}"
        ));
        assert!(text.contains("problem\n  shop.toml:2:"), "{name}: {text}");
        assert!(text.contains(&format!("`kafka.{table}")), "{name}: {text}");
        assert!(
            text.contains(name) && text.contains(message),
            "{name}: {text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }
}

/// One row per configuration that is refused: its lines beside the brokers, place, message.
#[test]
fn refused_values() {
    for (lines, key, message) in [
        ("standby = 9", "standby", "9 is outside 0 to 8"),
        ("kafka.instance = ''", "kafka.instance", "cannot be empty"),
        (
            "kafka.session_timeout = '999ms'",
            "kafka.session_timeout",
            "is outside \"1s\" to \"30m\"",
        ),
        (
            "kafka.session_timeout = '6m'",
            "kafka.session_timeout",
            "\"5m\", is less than the session timeout, \"6m\"",
        ),
        (
            "kafka.max_poll_interval = '9s'",
            "kafka.max_poll_interval",
            "\"9s\", is less than the session timeout, \"10s\"",
        ),
        (
            "kafka.transaction_timeout = '16m'",
            "kafka.transaction_timeout",
            "is outside \"1s\" to \"15m\"",
        ),
        (
            "commit.interval = '1001ms'",
            "commit.interval",
            "the transaction timeout, \"10s\", is less than ten times",
        ),
        (
            "commit.interval = '1s'\nkafka.transaction_timeout = '9s'",
            "kafka.transaction_timeout",
            "less than ten times the commit interval, \"1s\"",
        ),
        (
            "kafka.static_membership = true",
            "kafka.static_membership",
            "(set `kafka.instance`",
        ),
        (
            "kafka.replication = 32768",
            "kafka.replication",
            "is outside 1 to 32767",
        ),
        (
            "kafka.profile = 'fast'",
            "kafka.profile",
            "is not one of `low_latency`, `balanced`, `throughput`",
        ),
        (
            "kafka.properties = 5",
            "kafka.properties",
            "found an integer",
        ),
        (
            "kafka.security.protocol = 'tls'",
            "kafka.security.protocol",
            "is not one of",
        ),
        (
            "[kafka.security]\nprotocol = 'sasl_ssl'\nsasl_mechanism = 'PLAIN'\nusername = 'a'",
            "kafka.security.protocol",
            "\"sasl_ssl\" needs `password_file` or `password_env`",
        ),
        (
            "kafka.security.username = 'a'",
            "kafka.security.username",
            "(set `kafka.security.protocol` to \"sasl_ssl\")",
        ),
        (
            "kafka.security.ssl_ca = 'a'",
            "kafka.security.ssl_ca",
            "(set `kafka.security.protocol` to \"ssl\")",
        ),
        (
            "[kafka.security]\nprotocol = 'ssl'\nssl_key = 'a'",
            "kafka.security.ssl_key",
            "go together",
        ),
        (
            "[kafka.security]\nprotocol = 'ssl'\nssl_key_password_env = 'A'",
            "kafka.security.ssl_key_password_env",
            "(set `ssl_key`)",
        ),
        (
            "[registry]\nurl = 'http://a'\nusername = 'a'\npassword_file = 'a'\npassword_env = 'A'",
            "registry.password_env",
            "stands in `password_file` already",
        ),
        (
            "registry.timeout = '1s'",
            "registry.url",
            "does not say where the registry is",
        ),
        (
            "registry.url = 'ftp://a'",
            "registry.url",
            "does not begin with http:// or https://",
        ),
        (
            "registry.url = 'http://'",
            "registry.url",
            "has no valid host",
        ),
        (
            "registry.url = 'http://a:0/x'",
            "registry.url",
            "has no port of 1 to 65535",
        ),
        ("registry.url = 'http://a?b'", "registry.url", "has a query"),
        (
            "registry.url = 'http://a:hunter2@b'",
            "registry.url",
            "a user stands in the URL",
        ),
        (
            "[registry]\nurl = 'http://a'\nusername = 'a'",
            "registry.username",
            "without a password",
        ),
        (
            "[registry]\nurl = 'http://a'\npassword_env = 'A'",
            "registry.password_env",
            "without a user",
        ),
        (
            "[registry]\nurl = 'http://a'\nssl_ca = 'a'",
            "registry.ssl_ca",
            "with https://",
        ),
        (
            "input.mapped = { 'a b' = 'x' }",
            "input.mapped",
            "cannot contain ' '",
        ),
        (
            "input.mapped = { 'clvstream.orders' = 'x' }",
            "input.mapped",
            "in `input.topics`, as \"orders\"",
        ),
    ] {
        let text = problems(&format!("kafka.bootstrap = 'a:1'\n{lines}"));
        assert!(
            text.starts_with("the configuration has a problem\n"),
            "{lines}: {text}"
        );
        assert!(text.contains(&format!("`{key}`: ")), "{lines}: {text}");
        assert!(text.contains(message), "{lines}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    for (source, message) in [
        ("kafka.bootstrap = 'a'", "\"a\" has no port"),
        ("kafka.bootstrap = 'a:b'", "has no port of 1 to 65535"),
        ("kafka.bootstrap = 'a:1,'", "\"\" has no port"),
        ("kafka.bootstrap = ':1'", "is not host and port"),
        (
            "kafka.bootstrap = 'ssl://a:1'",
            "leave the protocol to `kafka.security.protocol`",
        ),
        ("kafka.bootstrap = []", "there is no broker in the list"),
        (
            "kafka.bootstrap = 9092",
            "expected an array of strings, or a string with commas",
        ),
        ("kafka.instance = 'a'", "it names no brokers"),
        (
            "input.mapped = { orders = 'x' }",
            "there are foreign topics on Kafka alone",
        ),
    ] {
        let text = problems(source);
        assert!(
            text.starts_with("the configuration has a problem\n"),
            "{source}: {text}"
        );
        assert!(text.contains(message), "{source}: {text}");
    }
}

#[test]
fn overrides_set_single_properties_and_do_not_repeat_passwords() {
    let source = "kafka.bootstrap = 'a:1'\n[kafka.properties]\nclient.rack = 'x'\nlinger.ms = 5\n";
    let set = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        parse("shop.toml", source, &overrides)
    };
    let config = set(&["kafka.properties.linger.ms=7", "kafka.bootstrap=b:2,c:3"]);
    let kafka = config.unwrap().config.kafka.unwrap();
    assert_eq!(kafka.bootstrap, ["b:2", "c:3"]);
    assert_eq!(kafka.properties["linger.ms"], "7");
    assert_eq!(kafka.properties["client.rack"], "x");
    // An empty list of brokers goes back to the embedded log.
    assert_eq!(set(&["kafka.bootstrap="]).unwrap().config.kafka, None);
    let text = set(&[
        "kafka.security.password=hunter2",
        "kafka.properties.sasl.password=hunter2",
        "registry.url=http://a:hunter2@b",
    ])
    .unwrap_err()
    .to_string();
    assert!(!text.contains("hunter2"), "{text}");
    insta::assert_snapshot!(text, @r#"
    the configuration has 3 problems
      --set kafka.security.password=…: unknown key `kafka.security.password` (passwords do not stand in the configuration: name the place of this one with `password_file` or `password_env`)
      --set kafka.properties.sasl.password=…: `kafka.properties.sasl.password`: it has a key of its own (set `kafka.security.password_file` instead)
      --set registry.url=…: `registry.url`: a user stands in the URL (use `username`, and `password_file` or `password_env`)
    "#);
}
