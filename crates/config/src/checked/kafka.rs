//! The keys of `[kafka]`, `[kafka.security]` and `[registry]`.

use std::path::PathBuf;
use std::time::Duration;

use super::{DAY, HOUR, MINUTE, SECOND, name_is_valid, within, within_time};
use crate::kafka::{Kafka, Mechanism, Profile, Protocol, Registry, Security};
use crate::properties::{self, Side};
use crate::reader::{Reader, Section};
use crate::secret::SecretSource;
use crate::setting::{Auto, Brokers, Forever, OneOf, Optional, Or, Wrong};

/// `None`: there is no Kafka, and the embedded log is used.
pub(super) fn read_kafka(reader: &mut Reader<'_>) -> Option<Kafka> {
    let mut section = reader.section(
        "kafka",
        "The Kafka cluster. Without `bootstrap` clvstream runs on its embedded log, and nothing of this section counts.",
    );
    let Optional(mut bootstrap) = section.get(
        "bootstrap",
        Optional::<Brokers>(None),
        "Brokers to begin with, `host:port` each: `\"kafka-1:9092,kafka-2:9092\"`. Empty: the embedded log.",
    );
    if let Some(Err(wrong)) = bootstrap.as_ref().map(brokers_are_valid) {
        section.refuse(&["bootstrap"], wrong);
    }
    if section.is_written() && !section.is_set("bootstrap") {
        section.refuse(
            &["bootstrap"],
            Wrong::new("there is a section [kafka], and it names no brokers").hint(
                "write `bootstrap = \"localhost:9092\"`, or `bootstrap = \"\"` for the embedded log",
            ),
        );
        // Refused as it is, but what else is wrong with the section is to be found.
        bootstrap = Some(Brokers(Vec::new()));
    }
    let Or(instance, _) = section.checked(
        "instance",
        Or::<String, Auto>::word(),
        "Name of this process, different for each of the application: part of the transactional ids `<application>-<instance>-<worker>`. `\"auto\"`: the host's name and a hash of `data_dir`.",
        |instance| match &instance.0 {
            Some(name) => name_is_valid("an instance's name", name),
            None => Ok(()),
        },
    );
    let static_membership = section.get(
        "static_membership",
        false,
        "Whether a process that comes back within `session_timeout` keeps its tasks without a rebalance. One that leaves for good then keeps them for as long. Needs `instance`.",
    );
    let OneOf(profile) = section.get(
        "profile",
        OneOf(Profile::Balanced),
        "What the clients are tuned for. `linger.ms`: 0, 5, 50; `fetch.wait.max.ms`: 20, 100, 100; `fetch.message.max.bytes`: 1 MiB, 1 MiB, 4 MiB. All of them: `batch.size` 1 MiB, `compression.type` lz4, `queued.min.messages` 20000 and `queued.max.messages.kbytes` 4096 a partition.",
    );
    let kafka = Kafka {
        bootstrap: Vec::new(),
        instance,
        static_membership,
        profile,
        session_timeout: section.checked(
            "session_timeout",
            10 * SECOND,
            "A process that the cluster does not hear of for this long loses its tasks to the others. Brokers allow 6 s to 30 min unless told otherwise.",
            within_time(SECOND, 30 * MINUTE),
        ),
        max_poll_interval: section.checked(
            "max_poll_interval",
            5 * MINUTE,
            "A worker that makes no progress for this long loses its tasks, although its process is alive.",
            within_time(SECOND, DAY),
        ),
        transaction_timeout: section.checked(
            "transaction_timeout",
            10 * SECOND,
            "A transaction that is open for longer is aborted by the broker. The transaction of a process that died holds back readers, and its successor, for as long.",
            within_time(SECOND, 15 * MINUTE),
        ),
        max_task_idle: section.checked(
            "max_task_idle",
            SECOND,
            "How long a task waits for an input that has records of which none is fetched yet, before it goes on with the others.",
            within_time(Duration::ZERO, HOUR),
        ),
        input_check: section.checked(
            "input_check",
            30 * SECOND,
            "How often input topics are looked at for new partitions.",
            within_time(SECOND, HOUR),
        ),
        create_topics: section.get(
            "create_topics",
            true,
            "Whether missing topics of the application are created at the start. Where that is somebody else's task: `clvstream topics plan`.",
        ),
        replication: section
            .checked(
                "replication",
                Or::<u32, Auto>::word(),
                "Replicas of the topics that are created; `\"auto\"` is three, or as many as there are brokers.",
                |replicas: &Or<u32, Auto>| {
                    replicas.0.map_or(Ok(()), |n| within(1, i16::MAX as u32)(&n))
                },
            )
            .0
            // In range, as was just checked.
            .map(|replicas| replicas as u16),
        properties: section.properties(
            "properties",
            "Properties of librdkafka 2.12.1, for every client that has them: `{ \"client.rack\" = \"eu-1a\" }`. Those that exactly-once rests on are refused.",
            |name, value| properties::check(Side::Both, name, value),
        ),
        consumer_properties: section.properties(
            "consumer_properties",
            "The same, for consumers alone; on top of `properties`.",
            |name, value| properties::check(Side::Consumer, name, value),
        ),
        producer_properties: section.properties(
            "producer_properties",
            "The same, for producers alone; on top of `properties`.",
            |name, value| properties::check(Side::Producer, name, value),
        ),
        security: read_security(reader),
    };
    bootstrap.map(|Brokers(bootstrap)| Kafka { bootstrap, ..kafka })
}

fn read_security(reader: &mut Reader<'_>) -> Security {
    let mut section = reader.section(
        "kafka.security",
        "Encryption and authentication. Passwords stand in files or in environment variables, never here.",
    );
    let OneOf(protocol) = section.get(
        "protocol",
        OneOf(Protocol::Plaintext),
        "How brokers are talked to.",
    );
    let Optional(mechanism) = section.get(
        "sasl_mechanism",
        Optional::<OneOf<Mechanism>>(None),
        "How the user is authenticated.",
    );
    let Optional(username) =
        section.get("username", Optional::<String>(None), "The user, for SASL.");
    let password = read_secret(
        &mut section,
        ["password_file", "password_env"],
        [
            "File that holds the user's password.",
            "Environment variable that holds the user's password.",
        ],
    );
    let mut file = |key, doc| section.get(key, Optional::<PathBuf>(None), doc).0;
    let ssl_ca = file(
        "ssl_ca",
        "File or folder of the certificates (PEM) that those of brokers are checked by; without it, the system's.",
    );
    let ssl_certificate = file("ssl_certificate", "This client's certificate (PEM).");
    let ssl_key = file("ssl_key", "Private key (PEM) of this client's certificate.");
    let ssl_key_password = read_secret(
        &mut section,
        ["ssl_key_password_file", "ssl_key_password_env"],
        [
            "File that holds the private key's password.",
            "Environment variable that holds the private key's password.",
        ],
    );
    Security {
        protocol,
        sasl_mechanism: mechanism.map(|OneOf(mechanism)| mechanism),
        username,
        password,
        ssl_ca,
        ssl_certificate,
        ssl_key,
        ssl_key_password,
    }
}

/// `None`: there is no registry.
pub(super) fn read_registry(reader: &mut Reader<'_>) -> Option<Registry> {
    let mut section = reader.section(
        "registry",
        "The schema registry, by Confluent's HTTP interface. It is asked for the schemas of records by writers other than clvstream.",
    );
    let Optional(mut url) = section.get(
        "url",
        Optional::<String>(None),
        "Where it is: `\"http://registry:8081\"`. Empty: there is none.",
    );
    if let Some(Err(wrong)) = url.as_deref().map(url_is_valid) {
        section.refuse(&["url"], wrong);
    }
    if section.is_written() && !section.is_set("url") {
        section.refuse(
            &["url"],
            Wrong::new("there is a section [registry], and it does not say where the registry is")
                .hint("write `url = \"http://localhost:8081\"`, or `url = \"\"` for none"),
        );
        // Refused as it is, but what else is wrong with the section is to be found.
        url = Some(String::new());
    }
    let Optional(username) = section.get(
        "username",
        Optional::<String>(None),
        "The user, where the registry asks for one.",
    );
    let password = read_secret(
        &mut section,
        ["password_file", "password_env"],
        [
            "File that holds the user's password.",
            "Environment variable that holds the user's password.",
        ],
    );
    let Optional(ssl_ca) = section.get(
        "ssl_ca",
        Optional::<PathBuf>(None),
        "File of the certificates (PEM) that the registry's is checked by; without it, the system's.",
    );
    let registry = Registry {
        url: String::new(),
        username,
        password,
        ssl_ca,
        timeout: section.checked(
            "timeout",
            5 * SECOND,
            "Longest time for a request.",
            within_time(Duration::from_millis(100), 5 * MINUTE),
        ),
        give_up_after: section
            .checked(
                "give_up_after",
                Or::<Duration, Forever>::word(),
                "Records whose schema is not known wait while the registry is down. After this long they are dead-lettered instead.",
                |after: &Or<Duration, Forever>| match &after.0 {
                    Some(time) => within_time(SECOND, 366 * DAY)(time),
                    None => Ok(()),
                },
            )
            .0,
        refresh_unknown: section.checked(
            "refresh_unknown",
            MINUTE,
            "A schema id that the registry did not know is asked for again after this.",
            within_time(SECOND, DAY),
        ),
    };
    let url = url.map(|url| url.trim_end_matches('/').to_owned());
    url.map(|url| Registry { url, ..registry })
}

/// A password's place, by one of two keys.
fn read_secret(
    section: &mut Section<'_, '_>,
    [file_key, env_key]: [&'static str; 2],
    [file_doc, env_doc]: [&'static str; 2],
) -> Option<SecretSource> {
    let Optional(file) = section.get(file_key, Optional::<PathBuf>(None), file_doc);
    let Optional(variable) = section.checked(
        env_key,
        Optional::<String>(None),
        env_doc,
        |variable: &Optional<String>| variable.0.as_deref().map_or(Ok(()), variable_is_valid),
    );
    if file.is_some() && variable.is_some() {
        section.refuse(
            &[env_key],
            Wrong::new(format!("the password stands in `{file_key}` already"))
                .hint("keep one of the two"),
        );
    }
    let file = file.map(SecretSource::File);
    file.or(variable.map(SecretSource::Env))
}

fn brokers_are_valid(brokers: &Brokers) -> Result<(), Wrong> {
    if brokers.0.is_empty() {
        return Err(
            Wrong::new("there is no broker in the list").hint("write `\"\"` for the embedded log")
        );
    }
    brokers
        .0
        .iter()
        .try_for_each(|broker| broker_is_valid(broker))
}

fn broker_is_valid(broker: &str) -> Result<(), Wrong> {
    let hint = "write host and port, such as \"kafka-1:9092\" or \"[::1]:9092\"";
    if broker.contains("://") {
        return Err(Wrong::new(format!("{broker:?} is not host and port"))
            .hint("leave the protocol to `kafka.security.protocol`"));
    }
    let Some((host, port)) = broker.rsplit_once(':') else {
        return Err(Wrong::new(format!("{broker:?} has no port")).hint(hint));
    };
    if !host_is_valid(host) {
        return Err(Wrong::new(format!("{broker:?} is not host and port")).hint(hint));
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err(Wrong::new(format!("{broker:?} has no port of 1 to 65535")).hint(hint)),
    }
}

/// A name, an IPv4 address, or an IPv6 address in brackets.
fn host_is_valid(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    if let Some(address) = inner {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !host.is_empty() && host.chars().all(allowed)
}

/// The message does not repeat a URL that has a password in it.
fn url_is_valid(url: &str) -> Result<(), Wrong> {
    if url.contains('@') {
        return Err(Wrong::new("a user stands in the URL")
            .hint("use `username`, and `password_file` or `password_env`"));
    }
    let wrong = |what: &str| {
        Wrong::new(format!("{url:?} {what}"))
            .hint("write it like \"http://registry:8081\" or \"https://example.com/registry\"")
    };
    let rest = url.strip_prefix("http://");
    let Some(rest) = rest.or_else(|| url.strip_prefix("https://")) else {
        return Err(wrong("does not begin with http:// or https://"));
    };
    if rest.contains(['?', '#']) {
        return Err(wrong(
            "has a query or a fragment, which is no part of an address",
        ));
    }
    if rest.contains(|c: char| !c.is_ascii_graphic()) {
        return Err(wrong("has a character that is not allowed in a URL"));
    }
    let authority = rest
        .split_once('/')
        .map_or(rest, |(authority, _)| authority);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, "80"),
    };
    if !host_is_valid(host) {
        return Err(wrong("has no valid host"));
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err(wrong("has no port of 1 to 65535")),
    }
}

/// The message does not repeat the text: it may be the password itself.
fn variable_is_valid(name: &str) -> Result<(), Wrong> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.chars().all(allowed) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(());
    }
    Err(
        Wrong::new("this is not the name of an environment variable").hint(
            "write the name alone, such as \"KAFKA_PASSWORD\", and put the password in the variable",
        ),
    )
}
