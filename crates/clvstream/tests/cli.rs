//! The program as it is called: what it prints, and how it ends.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{clvstream, folder};

const BAD: &str = "partitions = 0\nfromat = \"json\"\n[time]\ngrace = \"10\"\n";

#[test]
fn wrong_usage() {
    let here = folder(&[]);
    let run = |args: &[&str]| clvstream(here.path(), args);
    insta::assert_snapshot!(run(&["mapping", "chek"]), @r"
    exit 2
    -- stdout
    -- stderr
    error: unrecognized subcommand 'chek'

      tip: a similar subcommand exists: 'check'

    Usage: clvstream mapping [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(run(&["mapping", "check", "orders.csv"]), @r"
    exit 2
    -- stdout
    -- stderr
    error: the following required arguments were not provided:
      --mapping <FILE>

    Usage: clvstream mapping check --mapping <FILE> <INPUT>...

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(run(&["config", "check"]), @r"
    exit 2
    -- stdout
    -- stderr
    error: there is no file to check
    hint: name one: clvstream config check FILE
    ");
    insta::assert_snapshot!(run(&["config", "show", "-v", "-q"]), @r"
    exit 2
    -- stdout
    -- stderr
    error: the argument '--verbose...' cannot be used with '--quiet...'

    Usage: clvstream config show --verbose...

    For more information, try '--help'.
    ");
    assert!(run(&[]).starts_with("exit 2\n"));
}

#[test]
fn the_number_of_tasks_of_an_embedded_log_is_fixed() {
    let here = folder(&[]);
    let run = |args: &[&str]| clvstream(here.path(), args);
    insta::assert_snapshot!(run(&["repartition", "--to", "6"]), @r"
    exit 2
    -- stdout
    -- stderr
    error: the number of tasks of an embedded log is fixed at its first start
    hint: another `data_dir` may have another number: load the inputs there anew; `kafka.bootstrap` names a Kafka cluster, where it can be changed
    ");
    assert!(run(&["run", "--drain"]).starts_with("exit 0"));
    let other = run(&["run", "--drain", "--set", "partitions=6"]);
    assert!(other.starts_with("exit 2"), "{other}");
    assert!(other.contains("this deployment has 4"), "{other}");
    for wrong in [["--to", "0"], ["--to", "1025"], ["--to", "x"]] {
        let said = run(&[&["repartition"], wrong.as_slice()].concat());
        assert!(
            said.starts_with("exit 2") && said.contains("--to <N>"),
            "{said}"
        );
    }
    let said = run(&["repartition", "--to", "6", "--abandon"]);
    assert!(said.contains("cannot be used with"), "{said}");
}

#[test]
fn a_bad_configuration_stops_every_command() {
    let here = folder(&[("shop.toml", BAD)]);
    let run = |args: &[&str]| clvstream(here.path(), args);
    insta::assert_snapshot!(run(&["config", "check", "shop.toml"]), @r#"
    exit 2
    -- stdout
    -- stderr
    error: the configuration has 3 problems
      shop.toml:1:14: `partitions`: 0 is outside 1 to 1024
      shop.toml:2:1: unknown key `fromat` (did you mean `format`?)
      shop.toml:4:9: `time.grace`: "10" has no unit (write whole numbers with a unit of ms, s, m, h, d or w, such as "10m" or "1h30m")
    hint: docs/configuration.md describes every key
    "#);
    insta::assert_snapshot!(run(&["config", "check", "shop.toml", "--json"]), @r#"
    exit 2
    -- stdout
    {
      "file": "shop.toml",
      "problems": [
        {
          "column": 14,
          "hint": null,
          "line": 1,
          "message": "`partitions`: 0 is outside 1 to 1024",
          "origin": "shop.toml"
        },
        {
          "column": 1,
          "hint": "did you mean `format`?",
          "line": 2,
          "message": "unknown key `fromat`",
          "origin": "shop.toml"
        },
        {
          "column": 9,
          "hint": "write whole numbers with a unit of ms, s, m, h, d or w, such as \"10m\" or \"1h30m\"",
          "line": 4,
          "message": "`time.grace`: \"10\" has no unit",
          "origin": "shop.toml"
        }
      ],
      "usable": false
    }
    -- stderr
    error: the configuration has problems
    "#);
    let mapping = run(&[
        "-c",
        "shop.toml",
        "mapping",
        "check",
        "-m",
        "x.toml",
        "y.csv",
    ]);
    assert!(mapping.starts_with("exit 2\n-- stdout\n-- stderr\nerror: the configuration has 3"));
    insta::assert_snapshot!(run(&["-c", "none.toml", "config", "show"]), @r"
    exit 2
    -- stdout
    -- stderr
    error: cannot read the configuration file none.toml: No such file or directory (os error 2)
    hint: --config names the file; without one, every key has its default
    ");
}

#[test]
fn a_good_configuration() {
    let here = folder(&[("shop.toml", "workers = 1\n")]);
    let run = |args: &[&str]| clvstream(here.path(), args);
    insta::assert_snapshot!(run(&["config", "check", "shop.toml"]), @r"
    exit 0
    -- stdout
    shop.toml: no problems
    -- stderr
    ");
    let shown = run(&[
        "-c",
        "shop.toml",
        "--set",
        "time.grace=3d",
        "config",
        "show",
    ]);
    assert!(shown.contains("workers = 1  # shop.toml:1\n"), "{shown}");
    assert!(
        shown.contains("grace = \"3d\"  # --set time.grace=3d\n"),
        "{shown}"
    );
    let json = run(&["-c", "shop.toml", "config", "show", "--json"]);
    assert!(json.contains("\"workers\": 1"), "{json}");
}

#[test]
fn colour_only_when_asked_for() {
    let here = folder(&[]);
    let plain = clvstream(here.path(), &["config", "check", "none.toml"]);
    assert!(!plain.contains('\u{1b}'), "{plain}");
    let coloured = clvstream(
        here.path(),
        &["--color", "always", "config", "check", "none.toml"],
    );
    assert!(coloured.contains("\u{1b}[1m\u{1b}[31merror:"), "{coloured}");
}

const MAPPING: &str = r#"
[source]
format = "csv"
"#;

#[test]
fn a_bad_mapping_is_named() {
    let here = folder(&[("broken.toml", MAPPING), ("orders.csv", "a,b\n1,2\n")]);
    let run = |args: &[&str]| clvstream(here.path(), args);
    let broken = run(&["mapping", "check", "-m", "broken.toml", "orders.csv"]);
    assert!(
        broken.starts_with("exit 2\n-- stdout\n-- stderr\nerror: the mapping has "),
        "{broken}"
    );
    assert!(
        broken.contains("\n  broken.toml:2:2: unknown key"),
        "{broken}"
    );
    insta::assert_snapshot!(run(&["mapping", "check", "-m", "none.toml", "orders.csv"]), @r"
    exit 2
    -- stdout
    -- stderr
    error: cannot read the mapping none.toml: No such file or directory (os error 2)
    ");
}

#[test]
fn a_mapping_is_tried_on_a_file() {
    let mapping = concat!(env!("CARGO_MANIFEST_DIR"), "/../../mappings/cdnow.toml");
    let good = "customer_id date number_of_cds dollar_value\n00001 19970101 1 11.77\n00002 19970112 1 12.00\n";
    let here = folder(&[
        ("good.txt", good),
        (
            "bad.txt",
            "customer_id date number_of_cds dollar_value\n00001 19970101 1 eleven\n",
        ),
    ]);
    let run = |args: &[&str]| clvstream(here.path(), args);
    insta::assert_snapshot!(run(&["mapping", "check", "-m", mapping, "good.txt"]), @r#"
    exit 0
    -- stdout
    good.txt (whole file)
      rows                                        2
        mapped                                    2
        ignored (no rule is for them)             0
        rejected                                  0
      events                                      2
        orders/order_completed                    2

    First events
      row 1  orders  order_completed  currency=USD  customer_id=00001  event_id=cdnow:1  event_time=1997-01-01T00:00:00.000Z  order_id=cdnow-1  products=[{"amount":"11.77","category":"music","line_id":"1","product_id":"cd","quantity":"1"}]  total=11.77
      row 2  orders  order_completed  currency=USD  customer_id=00002  event_id=cdnow:2  event_time=1997-01-12T00:00:00.000Z  order_id=cdnow-2  products=[{"amount":"12","category":"music","line_id":"1","product_id":"cd","quantity":"1"}]  total=12

    -- stderr
    "#);
    let bad = run(&["mapping", "check", "-m", mapping, "good.txt", "bad.txt"]);
    assert!(bad.starts_with("exit 3\n"), "{bad}");
    assert!(
        bad.contains("error: 1 of 2 files: rows were rejected, or could not be read\n"),
        "{bad}"
    );
    let missing = run(&["mapping", "check", "-m", mapping, "none.txt"]);
    assert!(missing.starts_with("exit 1\n"), "{missing}");
}

#[test]
fn the_embedded_log_has_no_status() {
    let here = folder(&[]);
    insta::assert_snapshot!(clvstream(here.path(), &["status"]), @r"
    exit 2
    -- stdout
    -- stderr
    error: the embedded log has one process, which has every task: there is nothing to show
    hint: its /readyz and /metrics say how it is (`http.listen`); `kafka.bootstrap` names a Kafka cluster
    ");
    assert!(!here.path().join("clvstream-data").exists());
}
