//! The properties of librdkafka: which there are, which of them may be set, and why others may not.
//!
//! Invariants:
//! - A name that librdkafka does not have is refused here, not when the client is made.
//! - No property that exactly-once rests on, and none that carries a password, can be set.

use crate::problem::nearest;
use crate::setting::Wrong;

/// Which client has a property.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Both,
    Consumer,
    Producer,
}

/// The client that has the property, if librdkafka knows it.
pub(crate) fn side_of(name: &str) -> Option<Side> {
    let sides = [
        (BOTH, Side::Both),
        (CONSUMER, Side::Consumer),
        (PRODUCER, Side::Producer),
    ];
    let mut sides = sides.into_iter();
    sides.find_map(|(names, side)| names.contains(&name).then_some(side))
}

/// The name that a property has in librdkafka's own table, where it was written by an alias.
pub(crate) fn canonical(name: &str) -> &str {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    alias.map_or(name, |(_, canonical)| canonical)
}

/// Whether the property can be set for clients of `side` (`Both`: for those that have it).
pub(crate) fn check(side: Side, name: &str, value: &str) -> Result<(), Wrong> {
    if let Some((_, reason)) = REFUSED.iter().find(|(pattern, _)| matches(pattern, name)) {
        return Err(match reason {
            Reason::Key(key) => {
                Wrong::new("it has a key of its own").hint(format!("set `{key}` instead"))
            }
            Reason::Because(reason) => Wrong::new(*reason),
        });
    }
    let Some(of) = side_of(name) else {
        let known = [BOTH, CONSUMER, PRODUCER].concat().into_iter();
        let settable = known.filter(|name| REFUSED.iter().all(|(p, _)| !matches(p, name)));
        let wrong = Wrong::new(format!("librdkafka {VERSION} has no such property"));
        return Err(match nearest(name, settable) {
            Some(near) => wrong.hint(format!("did you mean `{near}`?")),
            None => wrong,
        });
    };
    match (side, of) {
        (Side::Consumer, Side::Producer) => {
            return Err(Wrong::new("it is a property of producers")
                .hint("set it in `kafka.producer_properties`"));
        }
        (Side::Producer, Side::Consumer) => {
            return Err(Wrong::new("it is a property of consumers")
                .hint("set it in `kafka.consumer_properties`"));
        }
        _ => {}
    }
    // Above five, retries of an idempotent producer could no longer be put in order.
    if canonical(name) == IN_FLIGHT && !value.trim().parse().is_ok_and(|n| (1..=5).contains(&n)) {
        return Err(Wrong::new(format!(
            "{value} is outside 1 to 5, within which a broker can tell a repeated batch from a new one"
        )));
    }
    Ok(())
}

/// `pattern` is a name, or the beginning or end of names, with a star for the rest.
fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => name.ends_with(end),
        (None, Some(start)) => name.starts_with(start),
        (None, None) => name == pattern,
    }
}

enum Reason {
    /// It has a key of its own: this one.
    Key(&'static str),
    Because(&'static str),
}
use Reason::{Because, Key};

/// The version whose table stands below.
const VERSION: &str = "2.12.1";

const IN_FLIGHT: &str = "max.in.flight.requests.per.connection";

const OFFSETS: Reason =
    Because("offsets are committed in the transaction, with what came of the records");
const ORDER: Reason = Because("records of a partition have to keep their order");
const DELIVERY: Reason = Because(
    "a record is sent again for as long as its transaction lasts, which `kafka.transaction_timeout` bounds",
);
const PLACE: Reason =
    Because("records are placed by murmur2 of the profile, on which the ownership of tasks rests");
const ASSIGNMENT: Reason =
    Because("tasks are handed over by a protocol of their own, which rests on cooperative-sticky");
const VERSIONS: Reason =
    Because("transactions need the protocol versions that the brokers themselves name");
const IN_CODE: Reason = Because("it can be set by code alone");
const FOREIGN_CODE: Reason = Because("it would load other code into the path of records");
const NO_KERBEROS: Reason = Because("Kerberos is not built in; PLAIN and SCRAM are");
const NO_OAUTH: Reason = Because("OAUTHBEARER is not built in; PLAIN and SCRAM are");
const EVENTS: Reason = Because("clvstream decides which of the client's events it takes in");

/// What cannot be set. The first row that matches gives the reason.
const REFUSED: &[(&str, Reason)] = &[
    // The guarantee.
    ("enable.auto.commit", OFFSETS),
    ("auto.commit.enable", OFFSETS),
    ("auto.commit.interval.ms", OFFSETS),
    ("enable.auto.offset.store", OFFSETS),
    ("offset.store.*", OFFSETS),
    (
        "isolation.level",
        Because("only committed records may be read: an aborted one has never been"),
    ),
    (
        "transactional.id",
        Because(
            "it is made of the application, the instance and the worker, by which a predecessor is fenced",
        ),
    ),
    (
        "enable.idempotence",
        Because("without it a record that is sent again stands there twice"),
    ),
    (
        "acks",
        Because("a record that not all replicas have can be lost after its commit"),
    ),
    (
        "request.required.acks",
        Because("a record that not all replicas have can be lost after its commit"),
    ),
    (
        "enable.gapless.guarantee",
        Because("a batch that fails ends its transaction, which is then aborted as a whole"),
    ),
    (
        "queue.buffering.backpressure.threshold",
        Because("an idempotent producer has it at 1"),
    ),
    ("message.send.max.retries", DELIVERY),
    ("retries", DELIVERY),
    ("message.timeout.ms", DELIVERY),
    ("delivery.timeout.ms", DELIVERY),
    ("queuing.strategy", ORDER),
    ("msg_order_cmp", ORDER),
    (
        "delivery.report.only.error",
        Because("a commit waits for the report of each of its records"),
    ),
    ("partitioner", PLACE),
    ("partitioner_cb", PLACE),
    ("group.id", Because("it is the `application_id`")),
    ("group.protocol", ASSIGNMENT),
    ("group.protocol.type", ASSIGNMENT),
    ("group.remote.assignor", ASSIGNMENT),
    ("partition.assignment.strategy", ASSIGNMENT),
    (
        "auto.offset.reset",
        Because(
            "a position that is lost has to stop the task: skipping or repeating would go unseen",
        ),
    ),
    (
        "enable.partition.eof",
        Because("librdkafka 2.12.1 can report a wrong position with it"),
    ),
    (
        "topic.blacklist",
        Because("a topic that the client hides would be missing without notice"),
    ),
    (
        "allow.auto.create.topics",
        Because(
            "a topic that brokers create by themselves has their number of partitions, not the application's; `kafka.create_topics` creates them as they have to be",
        ),
    ),
    ("api.version.request", VERSIONS),
    ("api.version.fallback.ms", VERSIONS),
    ("broker.version.fallback", VERSIONS),
    ("plugin.library.paths", FOREIGN_CODE),
    ("interceptors", FOREIGN_CODE),
    (
        "test.mock.*",
        Because("it replaces the cluster by an imitation"),
    ),
    ("enabled_events", EVENTS),
    ("log.queue", EVENTS),
    (
        "internal.termination.signal",
        Because("the signal would reach the whole process"),
    ),
    (
        "builtin.features",
        Because("it says what librdkafka was built with"),
    ),
    // Those with keys of their own.
    ("bootstrap.servers", Key("kafka.bootstrap")),
    ("metadata.broker.list", Key("kafka.bootstrap")),
    ("session.timeout.ms", Key("kafka.session_timeout")),
    ("max.poll.interval.ms", Key("kafka.max_poll_interval")),
    ("transaction.timeout.ms", Key("kafka.transaction_timeout")),
    ("group.instance.id", Key("kafka.static_membership")),
    ("security.protocol", Key("kafka.security.protocol")),
    ("sasl.mechanism", Key("kafka.security.sasl_mechanism")),
    ("sasl.mechanisms", Key("kafka.security.sasl_mechanism")),
    ("sasl.username", Key("kafka.security.username")),
    ("sasl.password", Key("kafka.security.password_file")),
    ("ssl.ca.location", Key("kafka.security.ssl_ca")),
    ("ssl.ca.pem", Key("kafka.security.ssl_ca")),
    ("ssl_ca", Key("kafka.security.ssl_ca")),
    (
        "ssl.certificate.location",
        Key("kafka.security.ssl_certificate"),
    ),
    ("ssl.certificate.pem", Key("kafka.security.ssl_certificate")),
    ("ssl_certificate", Key("kafka.security.ssl_certificate")),
    ("ssl.keystore.*", Key("kafka.security.ssl_certificate")),
    (
        "ssl.key.password",
        Key("kafka.security.ssl_key_password_file"),
    ),
    ("ssl.key.*", Key("kafka.security.ssl_key")),
    ("ssl_key", Key("kafka.security.ssl_key")),
    // What is not built in, and what is no text.
    ("sasl.kerberos.*", NO_KERBEROS),
    ("sasl.oauthbearer.*", NO_OAUTH),
    ("enable.sasl.oauthbearer.unsecure.jwt", NO_OAUTH),
    ("https.ca.*", NO_OAUTH),
    ("*_cb", IN_CODE),
    ("opaque", IN_CODE),
    ("default_topic_conf", IN_CODE),
    ("ssl_engine_callback_data", IN_CODE),
];

/// Second names, where both can be set.
const ALIASES: &[(&str, &str)] = &[
    ("bootstrap.servers", "metadata.broker.list"),
    ("compression.type", "compression.codec"),
    ("linger.ms", "queue.buffering.max.ms"),
    ("max.in.flight", IN_FLIGHT),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("sasl.mechanism", "sasl.mechanisms"),
];

/// Of every client.
const BOTH: &[&str] = &[
    "allow.auto.create.topics",
    "api.version.fallback.ms",
    "api.version.request",
    "api.version.request.timeout.ms",
    "background_event_cb",
    "bootstrap.servers",
    "broker.address.family",
    "broker.address.ttl",
    "broker.version.fallback",
    "builtin.features",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "closesocket_cb",
    "connect_cb",
    "connections.max.idle.ms",
    "debug",
    "default_topic_conf",
    "enable.metrics.push",
    "enable.random.seed",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "enable.ssl.certificate.verification",
    "enabled_events",
    "error_cb",
    "https.ca.location",
    "https.ca.pem",
    "interceptors",
    "internal.termination.signal",
    "log.connection.close",
    "log.queue",
    "log.thread.name",
    "log_cb",
    "log_level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.copy.max.bytes",
    "message.max.bytes",
    "metadata.broker.list",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "oauthbearer_token_refresh_cb",
    "opaque",
    "open_cb",
    "plugin.library.paths",
    "receive.message.max.bytes",
    "reconnect.backoff.jitter.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "resolve_cb",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.kerberos.keytab",
    "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.principal",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.assertion.algorithm",
    "sasl.oauthbearer.assertion.claim.aud",
    "sasl.oauthbearer.assertion.claim.exp.seconds",
    "sasl.oauthbearer.assertion.claim.iss",
    "sasl.oauthbearer.assertion.claim.jti.include",
    "sasl.oauthbearer.assertion.claim.nbf.seconds",
    "sasl.oauthbearer.assertion.claim.sub",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.grant.type",
    "sasl.oauthbearer.metadata.authentication.type",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "socket.blocking.max.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "socket_cb",
    "ssl.ca.certificate.stores",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.certificate.verify_cb",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.endpoint.identification.algorithm",
    "ssl.engine.id",
    "ssl.engine.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.providers",
    "ssl.sigalgs.list",
    "ssl_ca",
    "ssl_certificate",
    "ssl_engine_callback_data",
    "ssl_key",
    "statistics.interval.ms",
    "stats_cb",
    "throttle_cb",
    "topic.blacklist",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.cnt",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
];

/// Of consumers.
const CONSUMER: &[&str] = &[
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "check.crcs",
    "consume.callback.max.messages",
    "consume_cb",
    "coordinator.query.interval.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "offset.store.method",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "offset_commit_cb",
    "partition.assignment.strategy",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "rebalance_cb",
    "session.timeout.ms",
];

/// Of producers.
const PRODUCER: &[&str] = &[
    "acks",
    "batch.num.messages",
    "batch.size",
    "compression.codec",
    "compression.level",
    "compression.type",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "dr_cb",
    "dr_msg_cb",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "linger.ms",
    "message.send.max.retries",
    "message.timeout.ms",
    "msg_order_cmp",
    "partitioner",
    "partitioner_cb",
    "produce.offset.report",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queuing.strategy",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "sticky.partitioning.linger.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_is_listed_once() {
        let mut all = [BOTH, CONSUMER, PRODUCER].concat();
        let listed = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!((listed, all.len()), (190, 190));
    }

    #[test]
    fn every_reason_and_every_alias_is_about_a_property() {
        let all = [BOTH, CONSUMER, PRODUCER].concat();
        for (pattern, _) in REFUSED {
            // Those of the mock cluster are left out of librdkafka's own table.
            let is_one = all.iter().any(|name| matches(pattern, name));
            assert!(is_one || *pattern == "test.mock.*", "{pattern}");
        }
        for (alias, canonical) in ALIASES {
            assert_eq!(side_of(alias), side_of(canonical), "{alias}");
            assert!(side_of(alias).is_some(), "{alias}");
        }
    }

    #[test]
    fn nothing_that_can_be_set_carries_a_password_or_a_callback() {
        for name in [BOTH, CONSUMER, PRODUCER].concat() {
            if check(Side::Both, name, "1").is_ok() {
                let secret = ["password", "secret", "passphrase", ".pem", "_cb"];
                assert!(secret.iter().all(|word| !name.contains(word)), "{name}");
            }
        }
    }
}
