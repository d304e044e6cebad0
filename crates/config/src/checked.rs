//! Every key: its kind, default, bounds and meaning, and the value that it gives.

mod kafka;
mod model;
mod together;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use domain::money::{Currency, Minor};
use domain::time::TimeMs;

use crate::reader::Reader;
use crate::setting::{Auto, Forever, Iso, OneOf, Or, Setting, Size, Wrong};
use crate::types::{
    Clv, Commit, Config, Format, Http, Input, Level, Limits, LogFormat, Logging, Retention, State,
    Time,
};
use crate::units::Decimal;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Sums saturate only after nine thousand orders at this amount, in accounting units.
const LARGEST_ORDER: Minor = Minor(1_000_000_000_000_000);

/// Reads every key. The order is that of the reference page.
pub(crate) fn read(reader: &mut Reader<'_>) -> Config {
    let mut top = reader.section("", "");
    let application_id = top.checked(
        "application_id",
        "clvstream".to_owned(),
        "Prefix of topics, and the unit of tenancy. Letters, digits, `.`, `_` and `-`.",
        |id| name_is_valid("an application id", id),
    );
    let data_dir = top.get(
        "data_dir",
        PathBuf::from("./clvstream-data"),
        "Folder of the embedded log and of state; relative to the working directory.",
    );
    let partitions = top.checked(
        "partitions",
        4_u32,
        "Partitions of every internal topic, and so the number of tasks, 1 to 1024. Chosen at the first start and recorded; on Kafka `clvstream repartition` changes it.",
        within(1, 1024),
    );
    let Or(workers, _) = top.checked(
        "workers",
        Or::<u32, Auto>::word(),
        "Worker threads; `\"auto\"` is one per core, at most one per partition.",
        |workers: &Or<u32, Auto>| {
            workers
                .0
                .map_or(Ok(()), |n| within(1, partitions)(&n))
                .map_err(|wrong| {
                    wrong.hint(format!(
                        "there are {partitions} partitions, and a partition has one worker"
                    ))
                })
        },
    );
    let standby = top.checked(
        "standby",
        0_u32,
        "On Kafka: so many other instances keep a copy of each task's state warm, 0 to 8: they follow its changelog, so that one that takes over has only the end of it to read. Give all instances the same number.",
        within(0, 8),
    );
    let OneOf(format) = top.get(
        "format",
        OneOf(Format::Avro),
        "How output records are written.",
    );
    let currency = read_currency(reader);
    let config = Config {
        application_id,
        data_dir,
        partitions,
        workers,
        standby,
        format,
        currency,
        input: read_input(reader),
        kafka: kafka::read_kafka(reader),
        registry: kafka::read_registry(reader),
        limits: read_limits(reader, currency),
        time: read_time(reader),
        commit: read_commit(reader),
        state: read_state(reader),
        retention: read_retention(reader),
        clv: read_clv(reader, currency),
        http: read_http(reader),
        model: model::read_model(reader),
        logging: read_logging(reader),
    };
    together::check(reader, &config);
    config
}

fn read_currency(reader: &mut Reader<'_>) -> Currency {
    let mut section = reader.section(
        "currency",
        "The shop's currency. Amounts in another one are dead-lettered.",
    );
    let code = section.checked("code", "USD".to_owned(), "ISO 4217 code.", |code| {
        match iso_currency::Currency::from_code(code) {
            Some(_) => Ok(()),
            None => Err(
                Wrong::new(format!("{code:?} is not an ISO 4217 currency code"))
                    .hint("write three capital letters, such as \"EUR\""),
            ),
        }
    });
    let iso = iso_currency::Currency::from_code(&code);
    let iso_decimals = iso.and_then(iso_currency::Currency::exponent).unwrap_or(0);
    let Or(decimals, _) = section.checked(
        "decimals",
        Or::<u32, Iso>::word(),
        "Decimals of the accounting unit, up to 6, where prices are finer than the currency's own minor unit; `\"iso\"` is that minor unit.",
        |decimals: &Or<u32, Iso>| {
            let lowest = u32::from(iso_decimals);
            decimals.0.map_or(Ok(()), |n| within(lowest, 6)(&n)).map_err(|wrong| {
                wrong.hint(format!("{code} itself has {lowest}"))
            })
        },
    );
    let mut bytes = *b"USD";
    // Three letters, as the check above found; on a refused code the default stands.
    if let Ok(three) = <[u8; 3]>::try_from(code.as_bytes()) {
        bytes = three;
    }
    Currency {
        code: bytes,
        decimals: decimals.map_or(iso_decimals as u8, |n| n as u8),
    }
}

fn read_input(reader: &mut Reader<'_>) -> Input {
    let mut section = reader.section("input", "What is read.");
    let default = ["clickstream", "orders", "care", "loyalty", "marketing"];
    let topics = section.checked(
        "topics",
        default.map(str::to_owned).to_vec(),
        "Topics that events are read from.",
        topics_are_valid,
    );
    let mapped = section.get(
        "mapped",
        BTreeMap::new(),
        "Foreign topics on Kafka that are read as they are, by full name, each with the mapping file (relative to the working directory) that makes events of its records: `{ \"erp.orders\" = \"mappings/erp.toml\" }`.",
    );
    let schemas = section.checked(
        "schemas",
        BTreeMap::new(),
        "Avro schemas of writers that use their own, by the id in their records: `{ 17 = \"schemas/erp_order.avsc\" }`. Fields are found by their names.",
        |schemas: &BTreeMap<String, PathBuf>| {
            match schemas.keys().find(|id| id.parse::<u32>().is_err()) {
                None => Ok(()),
                Some(id) => Err(Wrong::new(format!("{id:?} is not a schema id"))
                    .hint("write the number that stands in the first bytes of the records")),
            }
        },
    );
    // The keys have just been checked; those of a refused table do not matter.
    let by_id = |(id, path): (String, PathBuf)| Some((id.parse().ok()?, path));
    let schemas = schemas.into_iter().filter_map(by_id).collect();
    Input {
        topics,
        mapped,
        schemas,
    }
}

fn read_limits(reader: &mut Reader<'_>, currency: Currency) -> Limits {
    let mut section = reader.section(
        "limits",
        "What is refused. A refused record goes to the dead-letter topic with its bytes and the reason.",
    );
    let earliest_event_time = section.checked(
        "earliest_event_time",
        // 1990-01-01
        TimeMs(631_152_000_000),
        "Events before this instant are refused: a date in 1970 is a clock that was never set.",
        |instant| {
            if instant.0 < 0 {
                return Err(Wrong::new(format!("{instant} is before 1970")));
            }
            Ok(())
        },
    );
    let future_bound = section.checked(
        "future_bound",
        HOUR,
        "Events later than their arrival by more than this are refused, so that a date in 2999 cannot move a clock.",
        within_time(Duration::ZERO, 366 * DAY),
    );
    let amount = section.checked(
        "max_order_amount",
        Decimal::whole(1_000_000_000),
        "Orders and refunds above this amount, in the currency's major unit, are refused.",
        |amount| match amount.in_minor(currency)? {
            Minor(0) => Err(Wrong::new("no order could be accepted")),
            minor if minor > LARGEST_ORDER => Err(Wrong::new(format!(
                "{amount} {currency} is more than sums have room for"
            ))
            .hint(format!("write at most {}", currency.format(LARGEST_ORDER)))),
            _ => Ok(()),
        },
    );
    let max_value_bytes = section.checked(
        "max_value_bytes",
        Size(1 << 20),
        "Records with a longer value are refused.",
        within(Size(1 << 10), Size(64 << 20)),
    );
    Limits {
        earliest_event_time,
        future_bound,
        max_order_amount: amount.in_minor(currency).unwrap_or(LARGEST_ORDER),
        // At most 64 MiB, as was just checked.
        max_value_bytes: max_value_bytes.0 as usize,
    }
}

fn read_time(reader: &mut Reader<'_>) -> Time {
    let mut section = reader.section("time", "Event time.");
    Time {
        grace: section.checked(
            "grace",
            10 * MINUTE,
            "How long a profile waits for events that come out of order before it settles. Orders, cancellations and refunds count exactly at any lateness.",
            within_time(Duration::ZERO, 30 * DAY),
        ),
        session_gap: section.checked(
            "session_gap",
            30 * MINUTE,
            "Inactivity that ends a session.",
            within_time(MINUTE, DAY),
        ),
        idle_after: section.checked(
            "idle_after",
            MINUTE,
            "An input without records for this long stops holding back stream time.",
            within_time(SECOND, DAY),
        ),
    }
}

fn read_commit(reader: &mut Reader<'_>) -> Commit {
    let mut section = reader.section("commit", "When work is committed.");
    Commit {
        interval: section.checked(
            "interval",
            Duration::from_millis(100),
            "Longest time between commits while there is work.",
            within_time(Duration::from_millis(1), 10 * SECOND),
        ),
        max_batch: section.checked(
            "max_batch",
            10_000_u32,
            "Most input records in one commit of a task.",
            within(1, 1_000_000),
        ) as usize,
        fsync: section.get(
            "fsync",
            true,
            "Whether a commit of the embedded log waits for the disk. Without it a power failure can lose the last commits, as a whole; a crash of the process cannot.",
        ),
    }
}

fn read_state(reader: &mut Reader<'_>) -> State {
    let mut section = reader.section("state", "The state store.");
    State {
        checkpoint_interval: section.checked(
            "checkpoint_interval",
            15 * SECOND,
            "Longest time between checkpoints: what a restart has to replay is at most this old.",
            within_time(Duration::from_millis(100), HOUR),
        ),
        checkpoint_bytes: section
            .checked(
                "checkpoint_bytes",
                Size(64 << 20),
                "Unwritten changelog of a task at which a checkpoint falls due.",
                within(Size(64 << 10), Size(4 << 30)),
            )
            .0,
        checkpoint_total_bytes: section
            .checked(
                "checkpoint_total_bytes",
                Size(256 << 20),
                "Unwritten changelog of all tasks of the process together: where there is more, the task that has most writes a checkpoint. It is what a restart has to read, at most.",
                within(Size(64 << 10), Size(64 << 30)),
            )
            .0,
        memory_budget: section
            .checked(
                "memory_budget",
                Or::<Size, Auto>::word(),
                "Memory for caches and write buffers of the whole process; `\"auto\"` takes half of what the process may still use (its container's limit, the machine's available memory), at most 4 GiB.",
                |budget: &Or<Size, Auto>| match &budget.0 {
                    Some(size) => within(Size(64 << 20), Size(1 << 40))(size),
                    None => Ok(()),
                },
            )
            .0
            .map(|size| size.0),
    }
}

fn read_retention(reader: &mut Reader<'_>) -> Retention {
    let mut section = reader.section(
        "retention",
        "How long records are kept, by the clock at writing; `\"forever\"` is possible. The embedded log never deletes what has not been consumed. On Kafka this is the retention of the topics that clvstream creates, and a broker deletes what is due, consumed or not: keep it well above the longest standstill.",
    );
    let mut keep = |key, days: u32, doc| {
        section
            .checked(
                key,
                Or::<Duration, Forever>::value(days * DAY),
                doc,
                |kept: &Or<Duration, Forever>| match &kept.0 {
                    Some(time) => within_time(MINUTE, 36_525 * DAY)(time),
                    None => Ok(()),
                },
            )
            .0
    };
    Retention {
        inputs: keep("inputs", 7, "Input topics."),
        clv_updates: keep("clv_updates", 30, "Topic `clv.updates`."),
        lifecycle_transitions: keep(
            "lifecycle_transitions",
            30,
            "Topic `lifecycle.transitions`.",
        ),
        segment_changes: keep("segment_changes", 30, "Topic `segment.changes`."),
        dead_letters: keep("dead_letters", 90, "The dead-letter topic `dlq`."),
    }
}

fn read_clv(reader: &mut Reader<'_>, currency: Currency) -> Clv {
    let mut section = reader.section("clv", "Customer lifetime value.");
    let mut cost = |name, doc| {
        let amount = section.checked(name, Decimal::whole(0), doc, |amount| {
            match amount.in_minor(currency)? {
                minor if minor > LARGEST_ORDER => {
                    Err(Wrong::new("no order costs that much to serve"))
                }
                _ => Ok(()),
            }
        });
        amount.in_minor(currency).unwrap_or_default()
    };
    let (cost_per_order, cost_per_refund) = (
        cost(
            "cost_per_order",
            "What it costs to serve an order that was not cancelled, in the currency's major unit; taken off the margin.",
        ),
        cost(
            "cost_per_refund",
            "What it costs to handle a refund or return, in the currency's major unit; taken off the margin.",
        ),
    );
    Clv {
        expected_lifetime_years: section.checked(
            "expected_lifetime_years",
            3.0,
            "Lifetime that the formula assumes, in years of 365.25 days; a customer who has been one for longer counts with his own.",
            within(0.01, 100.0),
        ),
        population_orders_per_year: section.checked(
            "population_orders_per_year",
            1.0,
            "Orders per year assumed of a customer with a single order, whose own frequency cannot be known.",
            within(0.001, 1000.0),
        ),
        include_tax: section.get("include_tax", false, "Whether tax counts as revenue."),
        include_shipping: section.get(
            "include_shipping",
            false,
            "Whether shipping counts as revenue.",
        ),
        cost_per_order,
        cost_per_refund,
        horizon_days: section.checked(
            "horizon_days",
            365,
            "How far ahead a predicted value looks, in days.",
            within(1, 3650),
        ),
        yearly_discount: section.checked(
            "yearly_discount",
            0.0,
            "Discount of predicted revenue, a year: `0.1` is 10 %.",
            within(0.0, 1.0),
        ),
        margin_rate: section.checked(
            "margin_rate",
            1.0,
            "Share of predicted revenue that is margin; with `1.0` predictions are of revenue.",
            within(0.0, 1.0),
        ),
        epsilon: section.checked(
            "epsilon",
            0.05,
            "A predicted value that has changed by no more than this share is no update of its own.",
            within(0.0, 1.0),
        ),
        rescore_per_second: section.checked(
            "rescore_per_second",
            5_000,
            "Once a new model is in force, at most so many customers a second and task go over to it in the background.",
            within(1, 1_000_000),
        ),
    }
}

fn read_http(reader: &mut Reader<'_>) -> Http {
    let mut section = reader.section("http", "The HTTP server: `/metrics`, `/livez`, `/readyz`.");
    Http {
        listen: section.get(
            "listen",
            SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)),
            "Address and port. Nothing is protected by a password: beyond loopback, let only the monitoring reach it.",
        ),
    }
}

fn read_logging(reader: &mut Reader<'_>) -> Logging {
    let mut section = reader.section("logging", "Logs, on standard error.");
    Logging {
        level: section
            .get(
                "level",
                OneOf(Level::Info),
                "Least severe level that is written; `-v` and `-q` move it.",
            )
            .0,
        format: section
            .get("format", OneOf(LogFormat::Text), "Shape of a log line.")
            .0,
    }
}

fn within<T: PartialOrd + Setting + Copy>(
    lowest: T,
    highest: T,
) -> impl FnOnce(&T) -> Result<(), Wrong> {
    move |value| {
        if *value >= lowest && *value <= highest {
            return Ok(());
        }
        Err(Wrong::new(format!(
            "{} is outside {} to {}",
            value.literal(),
            lowest.literal(),
            highest.literal()
        )))
    }
}

fn within_time(lowest: Duration, highest: Duration) -> impl FnOnce(&Duration) -> Result<(), Wrong> {
    within(lowest, highest)
}

/// Short enough for Kafka with what is put before and behind it.
const LONGEST_NAME: usize = 100;

/// Kafka's own limit.
const LONGEST_TOPIC: usize = 249;

fn name_is_valid(what: &str, name: &str) -> Result<(), Wrong> {
    name_is_valid_up_to(LONGEST_NAME, what, name)
}

/// A topic that is not the application's: its own are read by their names without the prefix, and
/// its outputs are no inputs.
fn topic_is_foreign(topic: &str, application_id: &str) -> Result<(), Wrong> {
    name_is_valid_up_to(LONGEST_TOPIC, "a topic's name", topic)?;
    let prefix = format!("{application_id}.");
    match topic.strip_prefix(&prefix) {
        Some(own) => Err(
            Wrong::new(format!("{topic:?} is a topic of this application")).hint(format!(
                "an input topic of its own is named in `input.topics`, as {own:?}"
            )),
        ),
        None => Ok(()),
    }
}

fn name_is_valid_up_to(longest: usize, what: &str, name: &str) -> Result<(), Wrong> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() {
        return Err(Wrong::new(format!("{what} cannot be empty")));
    }
    if name.len() > longest {
        return Err(Wrong::new(format!(
            "{what} has at most {longest} characters"
        )));
    }
    if name.chars().all(|c| c == '.') {
        return Err(Wrong::new(format!("{what} cannot consist of dots")));
    }
    match name.chars().find(|c| !allowed(*c)) {
        Some(bad) => Err(Wrong::new(format!("{what} cannot contain {bad:?}"))
            .hint("use letters, digits, `.`, `_` and `-`")),
        None => Ok(()),
    }
}

fn topics_are_valid(topics: &Vec<String>) -> Result<(), Wrong> {
    let mut seen = BTreeSet::new();
    for topic in topics {
        name_is_valid("a topic's name", topic)?;
        if !seen.insert(topic) {
            return Err(Wrong::new(format!("topic {topic:?} stands there twice")));
        }
    }
    Ok(())
}
