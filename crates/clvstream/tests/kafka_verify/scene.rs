//! A deployment, what `verify` says of it, and of copies in which something was damaged.

use std::process::Stdio;

use fleet::{App, until};
use kafkatest::Broker;
use serde_json::Value;

use crate::copy::{self, Contents, Damage, Target};

const TEST: &str = "verify on Kafka";

/// The exit code of `verify`, and what it says.
fn verify(app: &App, instance: &str) -> (i32, Value) {
    let mut command = app.command(instance, &["verify", "--json"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let code = output.status.code().unwrap();
    let said = serde_json::from_slice(&output.stdout);
    let Ok(said) = said else {
        panic!("exit {code}: {}", String::from_utf8_lossy(&output.stderr));
    };
    (code, said)
}

fn checks(said: &Value) -> impl Iterator<Item = &Value> {
    let tasks = said["tasks"].as_array().unwrap().iter();
    tasks.flat_map(|task| task["checks"].as_array().unwrap())
}

fn failures(said: &Value) -> Vec<String> {
    let failed = checks(said).filter(|check| check["outcome"] == "failed");
    let line = |check: &Value| {
        let found = &check["finding"];
        format!(
            "{}: {} partition {} offset {}: {}",
            check["check"].as_str().unwrap(),
            found["topic"].as_str().unwrap(),
            found["partition"],
            found["offset"],
            found["problem"].as_str().unwrap()
        )
    };
    failed.map(line).collect()
}

fn consumed(said: &Value) -> u64 {
    let tasks = said["tasks"].as_array().unwrap().iter();
    tasks.map(|task| task["records"].as_u64().unwrap()).sum()
}

/// An application whose service has consumed everything and gone; it was verified meanwhile.
fn deployment(broker: &Broker) -> App {
    let settings = [
        "partitions=2",
        "commit.max_batch=50",
        "commit.interval=20ms",
        "kafka.create_topics=true",
    ];
    let app = App::new(
        env!("CARGO_BIN_EXE_clvstream"),
        broker.bootstrap(),
        "verified",
        &settings,
    );
    app.run("loader", &["simulate", "--events", "300"]);
    let trouble = copy::add_trouble(broker, &app.id);
    let mut service = app.start("one");
    until("everything is consumed", || {
        let (code, said) = verify(&app, "looking");
        assert_eq!(failures(&said), Vec::<String>::new(), "beside the service");
        assert_eq!(code, 0);
        (consumed(&said) >= 300 + trouble).then_some(())
    });
    assert!(service.terminate().success());
    app
}

/// An application, and what its topics hold. Where a partition begins with a marker and no record, as
/// after a transaction that was aborted before it had sent any, it cannot be copied: then another one.
fn copyable(broker: &Broker) -> (App, Contents) {
    for _ in 0..3 {
        let app = deployment(broker);
        let contents = Contents::of(broker, &app.id);
        if contents.is_copyable() {
            return (app, contents);
        }
    }
    panic!("no deployment can be copied");
}

/// Verifies a deployment, an honest copy of it, and copies in which `cases` happened to a topic.
pub(crate) fn try_copies(cases: &[(&str, Damage)]) {
    let (Some(broker), Some(other)) = (Broker::start(TEST), Broker::start(TEST)) else {
        return;
    };
    let (app, contents) = copyable(&broker);
    let (code, said) = verify(&app, "one");
    assert_eq!((code, failures(&said)), (0, Vec::new()), "{said:#}");
    for check in checks(&said) {
        assert_eq!(check["outcome"], "passed", "{check}");
    }
    let target = Target::new(&other, &app.id);
    for topic in contents.topics() {
        target.write(topic, &contents.records(topic));
    }
    target.commit(&contents.committed);
    let copied = app.on(other.bootstrap());
    let (code, said) = verify(&copied, "looking");
    assert_eq!((code, failures(&said)), (0, Vec::new()), "{said:#}");
    for check in checks(&said).filter(|check| check["check"] != "state") {
        assert_eq!(check["outcome"], "passed", "an honest copy: {check}");
    }
    for (name, damage) in cases {
        let topic = format!("{}.{name}", app.id);
        let mut records = contents.records(&topic);
        let place = copy::damage(&mut records, &topic, *damage);
        target.write(&topic, &records);
        target.commit(&contents.committed);
        let (code, said) = verify(&copied, "looking");
        let found = failures(&said);
        assert_eq!(code, 4, "{damage:?} {place}");
        let named = found.iter().any(|line| line.contains(&place));
        assert!(named, "{damage:?} {place}: {found:#?}");
        target.write(&topic, &contents.records(&topic));
        target.commit(&contents.committed);
    }
}
