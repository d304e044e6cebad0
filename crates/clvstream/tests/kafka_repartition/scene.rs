//! Applications whose number of tasks is changed, and what is looked at.

use std::os::unix::process::ExitStatusExt as _;

use fleet::{App, program_with_failpoints};
use kafkatest::Broker;
use serde_json::Value;

/// Many commits; whoever is dead is found out soon. Four tasks, as nothing says otherwise.
pub(crate) const SETTINGS: [&str; 6] = [
    "workers=2",
    "commit.interval=20ms",
    "commit.max_batch=50",
    "kafka.session_timeout=2s",
    "kafka.transaction_timeout=2s",
    "kafka.max_task_idle=1m",
];
/// The exit code of `verify` that finds nothing wrong.
const SOUND: i32 = 0;
const KILLED: i32 = 9;

/// The command is killed at a point.
#[track_caller]
pub(crate) fn dies_at(app: &App, to: u32, points: &str) {
    let to = to.to_string();
    let mut command = app.command("a", &["repartition", "--to", &to]);
    let output = command.env("FAILPOINTS", points).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.signal(), Some(KILLED), "{points}: {said}");
}

/// The command does it, or has done it before it died.
#[track_caller]
pub(crate) fn repartition(app: &App, to: u32) {
    let to = to.to_string();
    app.run("a", &["repartition", "--json", "--to", &to]);
    let plan = app.run("a", &["repartition", "--dry-run", "--json", "--to", &to]);
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["nothing_to_do"], true, "{plan}");
}

/// What a command that is refused says.
#[track_caller]
pub(crate) fn refusal(app: &App, instance: &str, args: &[&str]) -> String {
    let (status, said, log) = app.outcome(instance, args);
    assert!(!status.success(), "{args:?} was not refused: {said}{log}");
    log
}

#[track_caller]
pub(crate) fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "not {part:?}:\n{said}");
    }
}

/// An application with so many tasks from the start, that has worked off the loads one after the other.
pub(crate) fn drained(broker: &Broker, tasks: u32, loads: &[&[&str]]) -> App {
    let partitions = format!("partitions={tasks}");
    let settings = [SETTINGS.as_slice(), &[partitions.as_str()]].concat();
    let app = App::new(
        program_with_failpoints(),
        broker.bootstrap(),
        "throughout",
        &settings,
    );
    for load in loads {
        app.run("a", load);
        app.run("a", &["run", "--drain"]);
    }
    app
}

/// Nothing is wrong, and of each task it is looked whether it is so.
#[track_caller]
pub(crate) fn verified(app: &App, instance: &str) {
    let output = app
        .command(instance, &["verify", "--json"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(SOUND), "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    for task in said["tasks"].as_array().unwrap() {
        let outcome = |name: &str| {
            let checks = task["checks"].as_array().unwrap();
            let check = checks.iter().find(|check| check["check"] == name);
            check.map(|check| check["outcome"].as_str().unwrap().to_owned())
        };
        for name in [
            "chain",
            "sequences",
            "head",
            "last_outputs",
            "committed",
            "positions",
        ] {
            assert_eq!(outcome(name).as_deref(), Some("passed"), "{name}: {task}");
        }
        assert_ne!(outcome("outputs").as_deref(), Some("passed"), "{task}");
    }
}

/// Names of the topics of an application.
pub(crate) fn topics(app: &App) -> Vec<String> {
    let cluster = fleet::connect(app.bootstrap(), &app.id);
    let names = cluster.partition_counts().unwrap().into_keys();
    let prefix = format!("{}.", app.id);
    names.filter(|name| name.starts_with(&prefix)).collect()
}

/// All profiles as of an instant after everything, wherever stream time stands.
pub(crate) fn in_the_end(app: &App) -> String {
    app.run("reader", &["export", "profiles", "--as-of=2024-06-01"])
}

/// Of two exports the first line that differs is told.
#[track_caller]
pub(crate) fn assert_same(export: &str, wanted: &str, when: &str) {
    let mut pairs = export.lines().zip(wanted.lines());
    if let Some((line, wanted)) = pairs.find(|(line, wanted)| line != wanted) {
        panic!("{when}:\n{line}\ninstead of\n{wanted}");
    }
    assert_eq!(export.len(), wanted.len(), "{when}");
}
