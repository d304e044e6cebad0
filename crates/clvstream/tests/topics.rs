//! `clvstream topics` as it is called, on a real broker.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{clvstream, folder};
use kafkatest::Broker;
use serde_json::Value;

#[test]
fn the_embedded_log_has_nothing_to_plan() {
    let here = folder(&[]);
    insta::assert_snapshot!(clvstream(here.path(), &["topics", "plan"]), @r"
    exit 2
    -- stdout
    -- stderr
    error: the embedded log makes its topics by itself: there is nothing to plan
    hint: `kafka.bootstrap` names a Kafka cluster
    ");
    insta::assert_snapshot!(clvstream(here.path(), &["topics", "apply", "--acls"]), @r"
    exit 2
    -- stdout
    -- stderr
    error: the following required arguments were not provided:
      --principal <TYPE:NAME>

    Usage: clvstream topics apply --acls --principal <TYPE:NAME>

    For more information, try '--help'.
    ");
}

#[test]
fn topics_are_planned_made_and_checked() {
    let Some(broker) = Broker::own("topics_are_planned_made_and_checked") else {
        return;
    };
    let config = format!(
        "application_id = \"shop\"\npartitions = 2\n\
         [input]\ntopics = [\"orders\"]\n\
         [kafka]\nbootstrap = \"{}\"\n",
        broker.bootstrap()
    );
    let here = folder(&[("shop.toml", &config)]);
    let run = |args: &[&str]| {
        clvstream(
            here.path(),
            &[&["-c", "shop.toml", "topics"], args].concat(),
        )
    };
    insta::assert_snapshot!(run(&["plan"]), @r"
    exit 0
    -- stdout
    TOPIC                       PARTITIONS  REPLICAS  TO DO
    shop.orders                          2         1  create
    shop.clv.updates                     2         1  create
    shop.lifecycle.transitions           2         1  create
    shop.segment.changes                 2         1  create
    shop.clv.models                      1         1  create
    shop.dlq                             2         1  create
    shop.internal.routed                 2         1  create
    shop.internal.commits                2         1  create
    shop.internal.changelog              2         1  create
    shop.internal.marks                  1         1  create

    10 to create.
    -- stderr
    ");
    assert!(run(&["plan", "--exit-code"]).starts_with("exit 3\n"));
    let applied = run(&["apply"]);
    assert!(
        applied.starts_with("exit 0\n") && applied.contains("\nDone.\n"),
        "{applied}"
    );
    let left = run(&["plan", "--exit-code"]);
    assert!(
        left.starts_with("exit 0\n") && left.contains("\nNothing to do.\n"),
        "{left}"
    );
    insta::assert_snapshot!(run(&[]), @r"
    exit 0
    -- stdout
    TOPIC                       PARTITIONS  RECORDS  CLEANUP
    shop.orders                          2        0  deleted after 7d
    shop.clv.updates                     2        0  deleted after 30d
    shop.lifecycle.transitions           2        0  deleted after 30d
    shop.segment.changes                 2        0  deleted after 30d
    shop.clv.models                      1        0  compacted
    shop.dlq                             2        0  deleted after 90d
    shop.internal.routed                 2        0  kept
    shop.internal.commits                2        0  deleted after 7d
    shop.internal.changelog              2        0  compacted
    shop.internal.marks                  1        0  compacted
    -- stderr
    ");
    insta::assert_snapshot!(run(&["plan", "--set", "retention.dead_letters=30d"]), @r"
    exit 0
    -- stdout
    TOPIC                       PARTITIONS  REPLICAS  TO DO
    shop.orders                          2         1  none
    shop.clv.updates                     2         1  none
    shop.lifecycle.transitions           2         1  none
    shop.segment.changes                 2         1  none
    shop.clv.models                      1         1  none
    shop.dlq                             2         1  retention.ms: 7776000000 → 2592000000
    shop.internal.routed                 2         1  none
    shop.internal.commits                2         1  none
    shop.internal.changelog              2         1  none
    shop.internal.marks                  1         1  none

    1 to change.
    -- stderr
    ");
    let other = run(&["plan", "--set", "partitions=3"]);
    assert!(other.starts_with("exit 1\n"), "{other}");
    assert!(
        other.contains("has 2 partitions and must have 3"),
        "{other}"
    );
    let plan = json(
        here.path(),
        &["-c", "shop.toml", "topics", "plan", "--json"],
    );
    assert_eq!(plan["nothing_to_do"], true);
    assert_eq!(plan["topics"].as_array().unwrap().len(), 10);
    assert_eq!(plan["topics"][0]["actual"]["partitions"], 2);
}

fn json(folder: &Path, args: &[&str]) -> Value {
    let said = clvstream(folder, args);
    let (_, after) = said.split_once("-- stdout\n").unwrap();
    let (stdout, _) = after.split_once("-- stderr").unwrap();
    serde_json::from_str(stdout).unwrap()
}
