//! The queries of dashboard and rules, against a real Prometheus that scrapes a real run.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use domain::time::TimeMs;
use engine::port::{OutRecord, TopicPartition};
use eventlog::{EmbeddedLog, Options};
use serde_json::Value;
use store::Shared;

use super::common::{clvstream, folder};
use super::dashboard::{self, list};
use super::process::{Process, Samples, until};
use super::prometheus::{Prometheus, free_address, program};
use super::{repository, skipped};

/// Queries that find nothing in a run where nothing goes wrong, by the panel's title or the alert's name,
/// and why.
const RIGHTLY_EMPTY: [(&str, &str); 7] = [
    ("Restore: share done", "nothing is being restored"),
    ("ClvstreamRestoreStuck", "every task has an owner"),
    ("Standby lag", NO_STANDBYS),
    ("ClvstreamStandbyLags", NO_STANDBYS),
    ("Time of a fit", "no model is fitted"),
    (
        "Phases of a commit, p99",
        "the embedded log has no transactions of Kafka",
    ),
    (
        "Instance started",
        "the one instance started before it was scraped",
    ),
];

const NO_STANDBYS: &str = "the embedded log has no standbys";
/// A family without series until something is kept warm.
const OF_STANDBYS: &str = "clvstream_standby_lag_records";

/// Enough for some seconds of work, so that Prometheus sees the counters move.
const EVENTS: u64 = 1_500_000;
/// From the first scrape until every query has found something. The bad record is the last one, and a machine
/// that has much else to do takes minutes to come to it.
const PATIENCE: Duration = Duration::from_secs(300);

/// A query and whether it has to find something.
struct Wanted {
    from: String,
    query: String,
}

/// As Grafana would send it.
fn filled_in(query: &str) -> String {
    let query = query
        .replace("$__rate_interval", "1m")
        .replace("$job", "clvstream")
        .replace("$instance", ".+");
    assert!(!query.contains('$'), "{query}");
    query
}

/// An alert's condition as a number, 0 or 1, which finds something whether it holds or not.
fn as_number(condition: &str) -> String {
    let mut number = condition.to_owned();
    for comparison in ["==", "!=", ">", "<", ">=", "<="] {
        let plain = format!(" {comparison} ");
        number = number.replace(&plain, &format!(" {comparison} bool "));
    }
    assert_ne!(number, condition, "an alert that compares nothing");
    number
}

/// What the rules ask for, as Prometheus has read them.
fn of_rules(prometheus: &Prometheus) -> Vec<Wanted> {
    let rules = prometheus.api("rules");
    let rules = list(&rules["groups"])
        .iter()
        .flat_map(|group| list(&group["rules"]));
    let wanted = |rule: &Value| {
        let query = rule["query"].as_str().unwrap();
        Wanted {
            from: rule["name"].as_str().unwrap().to_owned(),
            query: if rule["type"] == "alerting" {
                as_number(query)
            } else {
                query.to_owned()
            },
        }
    };
    rules.map(wanted).collect()
}

/// A record that is no event, at the end of an input topic.
fn append_bad_record(folder: &Path) {
    let log = folder.join("clvstream-data/log");
    let log = EmbeddedLog::open(&log, Options::default(), &Shared::new(64 << 20)).unwrap();
    let record = OutRecord {
        target: TopicPartition {
            topic: Arc::from("clvstream.orders"),
            partition: 0,
        },
        key: Some(b"c1".to_vec()),
        value: Some(b"{".to_vec()),
        headers: Vec::new(),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = TimeMs(i64::try_from(now.as_millis()).unwrap());
    log.append(&[record], now, &[]).unwrap();
}

/// Asks again and again until every query has found something other than not-a-number; answers those
/// that never did.
fn unanswered(prometheus: &Prometheus, mut wanted: Vec<Wanted>) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        wanted.retain(|one| {
            let found = prometheus.query(&one.query);
            !found.iter().any(|(_, value)| !value.is_nan())
        });
        if wanted.is_empty() || Instant::now() > deadline {
            let left = wanted.into_iter();
            return left
                .map(|one| format!("{}: {}", one.from, one.query))
                .collect();
        }
        std::thread::park_timeout(Duration::from_millis(200));
    }
}

#[test]
fn every_query_of_dashboard_and_rules_finds_something() {
    let Some(program) = program("prometheus") else {
        return skipped(
            "queries::every_query_of_dashboard_and_rules_finds_something",
            "no Prometheus here; scripts/deps-test fetches it",
        );
    };
    let here = folder(&[]);
    let here = here.path();
    let events = format!("--events={EVENTS}");
    let simulated = clvstream(here, &["simulate", &events, "--days=30"]);
    assert!(simulated.starts_with("exit 0\n"), "{simulated}");
    append_bad_record(here);

    // Prometheus first: it has to see the counters before they move.
    let address = free_address();
    let prometheus = Prometheus::start(&program, here, &address);
    let listen = format!("--set=http.listen={address}");
    let mut service = Process::start(
        here,
        &[
            "run",
            "--log-format=json",
            &listen,
            "--set=workers=1",
            "--set=state.checkpoint_interval=500ms",
        ],
    );
    service.logged("running");

    let dashboard = dashboard::load();
    let rules = of_rules(&prometheus);
    assert!(rules.len() >= 20, "{} rules", rules.len());
    let panels = dashboard::queries(&dashboard).into_iter();
    let panels = panels.map(|(from, query)| Wanted {
        from,
        query: filled_in(&query),
    });
    let (empty, mut wanted): (Vec<_>, Vec<_>) = rules
        .into_iter()
        .chain(panels)
        .partition(|one| RIGHTLY_EMPTY.iter().any(|(empty, _)| *empty == one.from));
    let titles: BTreeSet<&String> = empty.iter().map(|one| &one.from).collect();
    assert_eq!(titles.len(), RIGHTLY_EMPTY.len(), "{titles:?}");
    // They find nothing, but what they look at is there.
    for Wanted { from, query } in &empty {
        prometheus.query(query);
        let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let families = words.filter(|word| {
            ["clvstream_", "process_"]
                .iter()
                .any(|p| word.starts_with(p))
                && *word != OF_STANDBYS
        });
        wanted.extend(families.map(|family| Wanted {
            from: from.clone(),
            query: family.to_owned(),
        }));
    }
    for (variable, selected, label) in dashboard::variables(&dashboard) {
        wanted.push(Wanted {
            from: variable,
            query: filled_in(&format!("count by ({label}) ({selected})")),
        });
    }
    assert_eq!(unanswered(&prometheus, wanted), Vec::<String>::new());

    until("every rule's evaluation", || {
        let rules = prometheus.api("rules");
        let mut rules = list(&rules["groups"])
            .iter()
            .flat_map(|group| list(&group["rules"]));
        rules.all(|rule| {
            assert_ne!(rule["health"], "err", "{rule}");
            rule["health"] == "ok"
        })
    });
    // The dashboard's own numbers are the program's.
    until("the last scrape", || {
        let read = Samples::of(&address).one("clvstream_records_read_total");
        let scraped = prometheus.query("sum(clvstream_records_read_total)");
        read > EVENTS as f64 && scraped.iter().any(|(_, value)| *value == read)
    });
    assert_eq!(service.terminate(), 0);
}

#[test]
fn the_alerts_fire_when_they_should() {
    let Some(promtool) = program("promtool") else {
        return skipped(
            "queries::the_alerts_fire_when_they_should",
            "no promtool here; scripts/deps-test fetches it",
        );
    };
    let folder = repository("deploy/prometheus");
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "clvstream.rules.yml"],
        ["test", "rules", "clvstream.rules.test.yml"],
    ] {
        let output = Command::new(&promtool)
            .args(arguments)
            .current_dir(&folder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}{errors}");
    }
}

#[test]
fn every_alert_has_a_test() {
    let named = |file: &str, key: &str| -> BTreeSet<String> {
        super::deployed(file)
            .lines()
            .filter_map(|line| line.trim().strip_prefix(key))
            .map(str::to_owned)
            .collect()
    };
    let alerts = named("prometheus/clvstream.rules.yml", "- alert: ");
    let tested = named("prometheus/clvstream.rules.test.yml", "- alertname: ");
    assert!(alerts.len() > 10);
    assert_eq!(alerts, tested);
}
