//! What is accepted, what is refused, and in which words.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use config::{Config, Level, LoadError, Promote, parse};
use domain::money::Minor;
use domain::prediction::Family;

fn accept(source: &str) -> Config {
    parse("shop.toml", source, &[]).unwrap().config
}

fn problems(source: &str) -> String {
    parse("shop.toml", source, &[]).unwrap_err().to_string()
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let config = accept("");
    assert_eq!(config.partitions, 4);
    assert_eq!(config.workers, None);
    assert_eq!(config.currency.to_string(), "USD");
    assert_eq!(config.currency.decimals, 2);
    assert_eq!(config.limits.max_order_amount, Minor(100_000_000_000));
    assert!(config.http.listen.ip().is_loopback());
}

#[test]
fn every_kind_of_value_is_read() {
    let config = accept(
        r#"
        application_id = "shop.eu-1"
        partitions = 0x10
        workers = 2
        format = "json"
        [currency]
        code = "GBP"
        decimals = 3
        [input]
        topics = ["orders", "visits"]
        [input.schemas]
        17 = "schemas/erp.avsc"
        [limits]
        earliest_event_time = 2001-01-01T00:00:00Z
        max_order_amount = "2500.5"
        [time]
        grace = "3d"
        [retention]
        clv_updates = "forever"
        inputs = "1d12h"
        [clv]
        expected_lifetime_years = 5
        [model]
        refit = "7d"
        holdout = "13w"
        promote = "never"
        [logging]
        level = "debug"
        "#,
    );
    assert_eq!(config.partitions, 16);
    assert_eq!(config.workers, Some(2));
    assert_eq!(config.currency.decimals, 3);
    assert_eq!(config.input.schemas[&17].as_os_str(), "schemas/erp.avsc");
    assert_eq!(config.limits.max_order_amount, Minor(2_500_500));
    assert_eq!(config.limits.earliest_event_time.0, 978_307_200_000);
    assert_eq!(config.time.grace, Duration::from_secs(3 * 86_400));
    assert_eq!(config.retention.clv_updates, None);
    assert_eq!(config.retention.inputs, Some(Duration::from_secs(129_600)));
    assert!((config.clv.expected_lifetime_years - 5.0).abs() < f64::EPSILON);
    assert_eq!(config.model.refit, Some(Duration::from_secs(7 * 86_400)));
    assert_eq!(config.model.holdout, Some(Duration::from_secs(91 * 86_400)));
    assert_eq!(config.model.promote, Promote::Never);
    assert_eq!(config.model.family, Family::MbgNbd);
    assert_eq!(config.logging.level, Level::Debug);
}

#[test]
fn all_problems_are_reported_at_once_with_their_places() {
    let source = r#"application_id = "my shop"
partitons = 8
partitions = 0
workers = 9
fromat = "json"
grace = "5m"

[currency]
code = "usd"

[input]
topics = ["orders", "orders"]
schemas = { erp = "erp.avsc" }

[limits]
max_order_amount = "1.999"
max_value_bytes = 1048576

[time]
grace = "10min"
session_gap = "10s"

[comit]
interval = "100ms"

[commit]
fsync = "yes"

[http]
listen = "localhost"

[logging]
level = "inof"
"#;
    insta::assert_snapshot!(problems(source), @r#"
    the configuration has 17 problems
      shop.toml:1:18: `application_id`: an application id cannot contain ' ' (use letters, digits, `.`, `_` and `-`)
      shop.toml:2:1: unknown key `partitons` (did you mean `partitions`?)
      shop.toml:3:14: `partitions`: 0 is outside 1 to 1024
      shop.toml:4:11: `workers`: 9 is outside 1 to 4 (there are 4 partitions, and a partition has one worker)
      shop.toml:5:1: unknown key `fromat` (did you mean `format`?)
      shop.toml:6:1: unknown key `grace` (`grace` stands in section [time])
      shop.toml:9:8: `currency.code`: "usd" is not an ISO 4217 currency code (write three capital letters, such as "EUR")
      shop.toml:12:10: `input.topics`: topic "orders" stands there twice
      shop.toml:13:11: `input.schemas`: "erp" is not a schema id (write the number that stands in the first bytes of the records)
      shop.toml:16:20: `limits.max_order_amount`: 1.999 has more decimals than the accounting unit of USD (write at most 2 decimals)
      shop.toml:17:19: `limits.max_value_bytes`: expected a size, found an integer
      shop.toml:20:9: `time.grace`: "10min" has an unknown unit `min` (write whole numbers with a unit of ms, s, m, h, d or w, such as "10m" or "1h30m")
      shop.toml:21:15: `time.session_gap`: "10s" is outside "1m" to "1d"
      shop.toml:23:2: unknown section [comit] (did you mean [commit]?)
      shop.toml:27:9: `commit.fsync`: expected a boolean, found a string
      shop.toml:30:10: `http.listen`: "localhost" is not an address with a port (write an IP address and a port, such as "127.0.0.1:9464" or "[::1]:9464")
      shop.toml:33:9: `logging.level`: "inof" is not one of `error`, `warn`, `info`, `debug`, `trace` (did you mean "info"?)
    "#);
}

#[test]
fn what_is_not_toml_is_reported_with_the_rest() {
    insta::assert_snapshot!(problems("partitions = \nworkers = 0\n[time\ngrace = 5\n"), @r"
    the configuration has 4 problems
      shop.toml:1:14: string values must be quoted, expected literal string
      shop.toml:2:11: `workers`: 0 is outside 1 to 4 (there are 4 partitions, and a partition has one worker)
      shop.toml:3:6: unclosed table, expected `]`
      shop.toml:4:1: unknown section [grace]
    ");
    insta::assert_snapshot!(problems("workers = 1\nworkers = 2\n"), @r"
    the configuration has a problem
      shop.toml:2:1: duplicate key
    ");
    insta::assert_snapshot!(problems("time = 5\n[partitions]\nx = 1\n"), @r"
    the configuration has 2 problems
      shop.toml:1:8: `time` is a section, found an integer (write its keys below a line `[time]`)
      shop.toml:2:1: `partitions`: expected an integer, found a table
    ");
}

/// One row per value that is refused: key, value, message.
#[test]
fn refused_values() {
    for (key, value, message) in [
        (
            "application_id",
            "\"\"",
            "an application id cannot be empty",
        ),
        (
            "application_id",
            "\"..\"",
            "an application id cannot consist of dots",
        ),
        ("data_dir", "\"\"", "the path is empty"),
        ("partitions", "1025", "1025 is outside 1 to 1024"),
        ("partitions", "-1", "-1 is outside 0 to 4294967295"),
        ("partitions", "4.0", "expected an integer, found a float"),
        (
            "workers",
            "\"many\"",
            "expected an integer, found a string (or write \"auto\")",
        ),
        (
            "currency.decimals",
            "1",
            "1 is outside 2 to 6 (USD itself has 2)",
        ),
        (
            "currency.code",
            "\"XXQ\"",
            "\"XXQ\" is not an ISO 4217 currency code",
        ),
        ("input.topics", "[]", "there is nothing to read"),
        (
            "input.topics",
            "[1]",
            "expected an array of strings, found an integer",
        ),
        (
            "limits.max_order_amount",
            "5",
            "expected an amount as a string, found an integer",
        ),
        (
            "limits.max_order_amount",
            "\"0\"",
            "no order could be accepted",
        ),
        (
            "limits.max_order_amount",
            "\"99999999999999\"",
            "is more than sums have room for",
        ),
        (
            "limits.earliest_event_time",
            "\"1969-12-31\"",
            "is before 1970",
        ),
        (
            "limits.earliest_event_time",
            "\"soon\"",
            "\"soon\" is not an instant",
        ),
        ("time.grace", "10", "expected a duration, found an integer"),
        (
            "commit.interval",
            "\"11s\"",
            "\"11s\" is outside \"1ms\" to \"10s\"",
        ),
        (
            "state.memory_budget",
            "\"1MiB\"",
            "\"1MiB\" is outside \"64MiB\" to \"1024GiB\"",
        ),
        (
            "state.checkpoint_bytes",
            "\"lots\"",
            "\"lots\" is not a size",
        ),
        (
            "retention.inputs",
            "\"never\"",
            "\"never\" is not a duration",
        ),
        (
            "clv.expected_lifetime_years",
            "nan",
            "is outside 0.01 to 100.0",
        ),
        (
            "clv.include_tax",
            "1",
            "expected a boolean, found an integer",
        ),
        ("model.refit", "\"10m\"", "\"10m\" is outside \"1h\" to"),
        ("model.refit", "\"weekly\"", "or \"off\""),
        ("model.holdout", "\"36h\"", "a number of whole days"),
        (
            "model.promote",
            "\"always\"",
            "is not one of `not_worse`, `never`",
        ),
        ("http.listen", "\":9464\"", "is not an address with a port"),
        ("format", "\"xml\"", "\"xml\" is not one of `avro`, `json`"),
    ] {
        let text = problems(&format!("{key} = {value}"));
        assert!(
            text.starts_with("the configuration has a problem\n"),
            "{text}"
        );
        assert!(
            text.contains(&format!("`{key}`: ")),
            "{key} = {value}: {text}"
        );
        assert!(text.contains(message), "{key} = {value}: {text}");
    }
}

#[test]
fn overrides_win_and_have_their_own_place() {
    let set = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        parse(
            "shop.toml",
            "partitions = 8\n[time]\ngrace = \"1m\"\n",
            &overrides,
        )
    };
    let config = set(&[
        "partitions=16",
        "time.grace=3d",
        "data_dir=/var/lib/clvstream",
    ])
    .unwrap()
    .config;
    assert_eq!(config.partitions, 16);
    assert_eq!(config.time.grace, Duration::from_secs(3 * 86_400));
    insta::assert_snapshot!(set(&["partitions=0", "tine.grace=3d", "nonsense"]).unwrap_err(), @r"
    the configuration has 3 problems
      --set partitions=0: `partitions`: 0 is outside 1 to 1024
      --set tine.grace=3d: unknown section [tine] (did you mean [time]?)
      --set nonsense: key with no value, expected `=`
    ");
}

#[test]
fn what_is_shown_reads_back_the_same() {
    let source =
        "workers = 3\n[limits]\nmax_order_amount = \"12.50\"\n[input.schemas]\n17 = \"a b.avsc\"\n";
    let loaded = parse("shop.toml", source, &["currency.code=EUR".to_owned()]).unwrap();
    let shown = loaded.to_toml();
    assert!(shown.contains("workers = 3  # shop.toml:1\n"), "{shown}");
    assert!(
        shown.contains("code = \"EUR\"  # --set currency.code=EUR\n"),
        "{shown}"
    );
    assert!(loaded.is_set("", "workers") && loaded.is_set("currency", "code"));
    assert!(!loaded.is_set("", "partitions") && !loaded.is_set("currency", "decimals"));
    let again = parse("shown.toml", &shown, &[]).unwrap();
    assert_eq!(again.config, loaded.config);
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = config::load(Some(&folder.path().join("none.toml")), &[]).unwrap_err();
    assert!(matches!(error, LoadError::Unreadable { .. }));
    assert!(error.to_string().contains("none.toml"));
}
