//! `topics` and `tail` on a log that another program has written.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{clvstream, folder};
use domain::time::TimeMs;
use engine::port::{OutRecord, TopicName, TopicPartition};
use eventlog::{Cleanup, EmbeddedLog, Options};
use store::Shared;

const NOON: TimeMs = TimeMs(1_300_017_600_000);

fn record(topic: &TopicName, partition: u32, value: &[u8]) -> OutRecord {
    OutRecord {
        target: TopicPartition {
            topic: Arc::clone(topic),
            partition,
        },
        key: Some(format!("c{partition}").into_bytes()),
        value: Some(value.to_vec()),
        headers: vec![("ce_type", b"order".to_vec())],
    }
}

/// Two partitions of orders, three records in the first and one in the second; a dead letter.
fn write_log(folder: &Path) {
    let path = folder.join("clvstream-data").join("log");
    std::fs::create_dir_all(&path).unwrap();
    let log = EmbeddedLog::open(&path, Options::default(), &Shared::new(64 << 20)).unwrap();
    let (orders, dlq): (TopicName, TopicName) = ("clvstream.orders".into(), "clvstream.dlq".into());
    let week = Duration::from_secs(7 * 86_400);
    let for_a_week = Cleanup::Delete {
        retention_ms: Some(week.as_millis().try_into().unwrap()),
        retention_bytes: None,
    };
    log.ensure_topic(&orders, 2, for_a_week).unwrap();
    log.ensure_topic(&dlq, 1, Cleanup::Keep).unwrap();
    for (minute, value) in ["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"].iter().enumerate() {
        let now = NOON.plus(60_000 * i64::try_from(minute).unwrap());
        log.append(&[record(&orders, 0, value.as_bytes())], now, &[])
            .unwrap();
    }
    let between = NOON.plus(90_000);
    log.append(&[record(&orders, 1, b"{\"n\":4}")], between, &[])
        .unwrap();
    log.append(&[record(&dlq, 0, b"a;b\x1b[31m")], between, &[])
        .unwrap();
}

#[test]
fn topics_are_listed() {
    let here = folder(&[]);
    write_log(here.path());
    insta::assert_snapshot!(clvstream(here.path(), &["topics"]), @r"
    exit 0
    -- stdout
    TOPIC             PARTITIONS  RECORDS  CLEANUP
    clvstream.dlq              1        1  kept
    clvstream.orders           2        4  deleted after 7d
    -- stderr
    ");
    insta::assert_snapshot!(clvstream(here.path(), &["topics", "--json"]), @r#"
    exit 0
    -- stdout
    [
      {
        "cleanup": "kept",
        "partitions": 1,
        "records": 1,
        "topic": "clvstream.dlq"
      },
      {
        "cleanup": "deleted after 7d",
        "partitions": 2,
        "records": 4,
        "topic": "clvstream.orders"
      }
    ]
    -- stderr
    "#);
}

#[test]
fn records_are_shown_in_the_order_in_which_they_were_written() {
    let here = folder(&[]);
    write_log(here.path());
    let run = |args: &[&str]| clvstream(here.path(), args);
    insta::assert_snapshot!(run(&["tail", "orders"]), @r#"
    exit 0
    -- stdout
    0:0  2011-03-13T12:00:00.000Z  c0  {"n":1}
    0:1  2011-03-13T12:01:00.000Z  c0  {"n":2}
    1:0  2011-03-13T12:01:30.000Z  c1  {"n":4}
    0:2  2011-03-13T12:02:00.000Z  c0  {"n":3}
    -- stderr
    "#);
    insta::assert_snapshot!(run(&["tail", "clvstream.orders", "--from", "-1"]), @r#"
    exit 0
    -- stdout
    1:0  2011-03-13T12:01:30.000Z  c1  {"n":4}
    0:2  2011-03-13T12:02:00.000Z  c0  {"n":3}
    -- stderr
    "#);
    insta::assert_snapshot!(run(&["tail", "orders", "--from", "1", "-p", "0", "-n", "1", "--json"]), @r#"
    exit 0
    -- stdout
    {"headers":{"ce_type":"order"},"key":"c0","offset":1,"partition":0,"timestamp":"2011-03-13T12:01:00.000Z","topic":"clvstream.orders","value":{"n":2}}
    -- stderr
    "#);
    insta::assert_snapshot!(run(&["tail", "dlq"]), @r#"
    exit 0
    -- stdout
    0:0  2011-03-13T12:01:30.000Z  c0  {"hex":"613b621b5b33316d"}
    -- stderr
    "#);
}

#[test]
fn a_mapping_is_tried_on_a_topic() {
    let mapping = "format = \"json\"\n[[event]]\ntype = \"page_viewed\"\nwhen = { n = { le = 3 } }\n\
                   [event.fields]\nevent_time = \"{$record_time}\"\ncustomer_id = \"{$key}\"\n";
    let wrong = mapping.replace("{$key}", "{$file}");
    let here = folder(&[("m.toml", mapping), ("wrong.toml", &wrong)]);
    write_log(here.path());
    let run = |args: &[&str]| {
        let args = [&["mapping", "check", "--topic"], args].concat();
        clvstream(here.path(), &args)
    };
    insta::assert_snapshot!(run(&["clvstream.orders", "-m", "m.toml"]), @r"
    exit 0
    -- stdout
    clvstream.orders (to its end)
      records                                     4
        mapped                                    3
        ignored (no rule is for them)             1
        rejected                                  0
      events                                      3
        page_viewed                               3

    First events
      record 0:0  page_viewed  customer_id=c0  event_id=clvstream.orders:0:0  event_time=2011-03-13T12:00:00.000Z
      record 0:1  page_viewed  customer_id=c0  event_id=clvstream.orders:0:1  event_time=2011-03-13T12:01:00.000Z
      record 0:2  page_viewed  customer_id=c0  event_id=clvstream.orders:0:2  event_time=2011-03-13T12:02:00.000Z
    -- stderr
    ");
    let last = run(&["orders", "-m", "m.toml", "--from", "-1", "--limit", "1"]);
    assert!(
        last.contains("clvstream.orders (first records only)\n  records "),
        "{last}"
    );
    assert!(last.starts_with("exit 0\n"), "{last}");
    insta::assert_snapshot!(run(&["dlq", "-m", "m.toml"]), @r"
    exit 3
    -- stdout
    clvstream.dlq (to its end)
      records                                     1
        mapped                                    0
        ignored (no rule is for them)             0
        rejected                                  1
      events                                      0
      rejections                                  1
        wrong_magic                               1

    First rejections
      record 0:0  wrong_magic
        the value starts with byte 0x61: JSON starts with a brace, Avro in Confluent's wire format with a zero byte
        | a;b�[31m
    -- stderr
    error: clvstream.dlq: records were rejected, or could not be read
    ");
    insta::assert_snapshot!(run(&["orders", "-m", "wrong.toml"]), @r"
    exit 2
    -- stdout
    -- stderr
    error: the mapping has a problem
      wrong.toml:7:15: `$file` exists only in files: in a topic a record's place is `$topic`, `$partition` and `$offset`
    hint: docs/mappings.md describes mapping files
    ");
    insta::assert_snapshot!(run(&["orders"]), @r"
    exit 2
    -- stdout
    -- stderr
    error: no mapping is configured for the topic orders
    hint: --mapping names the file; `input.mapped` names it for the service
    ");
    insta::assert_snapshot!(run(&["nothing", "-m", "m.toml"]), @r"
    exit 1
    -- stdout
    -- stderr
    error: there is no topic nothing
    hint: `clvstream topics` lists those that there are
    ");
    let json = run(&["orders", "-m", "m.toml", "--json"]);
    assert!(json.contains("\"topic\": \"clvstream.orders\""), "{json}");
}

#[test]
fn what_is_not_there_is_named() {
    let here = folder(&[]);
    insta::assert_snapshot!(clvstream(here.path(), &["tail", "orders"]), @r"
    exit 1
    -- stdout
    -- stderr
    error: there is no log in ./clvstream-data
    hint: `clvstream replay` or `clvstream run` makes one; `data_dir` names another folder
    ");
    write_log(here.path());
    let run = |args: &[&str]| clvstream(here.path(), args);
    insta::assert_snapshot!(run(&["tail", "odrers"]), @r"
    exit 1
    -- stdout
    -- stderr
    error: there is no topic odrers
    hint: `clvstream topics` lists those that there are
    ");
    insta::assert_snapshot!(run(&["tail", "orders", "-p", "2"]), @r"
    exit 1
    -- stdout
    -- stderr
    error: topic clvstream.orders has 2 partitions, there is no partition 2
    ");
    insta::assert_snapshot!(run(&["tail", "orders", "--from", "noon"]), @r"
    exit 2
    -- stdout
    -- stderr
    error: invalid value 'noon' for '--from <WHERE>': write `beginning`, an offset such as 1500, or -10 for the last ten

    For more information, try '--help'.
    ");
}

#[test]
fn made_up_traffic_goes_to_the_log_once() {
    let here = folder(&[]);
    let run = |args: &[&str]| clvstream(here.path(), args);
    let simulate = ["simulate", "--events", "2000", "--days", "30"];
    insta::assert_snapshot!(run(&simulate), @r"
    exit 0
    -- stdout
    2,000 events
    -- stderr
    ");
    insta::assert_snapshot!(run(&simulate), @r"
    exit 0
    -- stdout
    0 events; 2,000 were there before
    -- stderr
    ");
    let topics = run(&["topics", "--json"]);
    let json = topics
        .split("-- stdout\n")
        .nth(1)
        .unwrap()
        .split("-- stderr")
        .next()
        .unwrap();
    let listed: Vec<serde_json::Value> = serde_json::from_str(json).unwrap();
    let events: u64 = ["clickstream", "orders", "care", "loyalty", "marketing"]
        .iter()
        .map(|topic| {
            let name = format!("clvstream.{topic}");
            let topic = listed.iter().find(|one| one["topic"] == *name).unwrap();
            topic["records"].as_u64().unwrap()
        })
        .sum();
    assert_eq!(events, 2000);
}
