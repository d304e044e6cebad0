//! `clvstream model` on a deployment on real Kafka, beside the instances that work on it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and says on its output what it skips"
)]

#[path = "../model_support/mod.rs"]
mod model_support;

use std::process::Command;

use fleet::App;
use kafkatest::Broker;
use model_support::{Sample, args_of, assert_equal, holdout, root, without_rejected};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clvstream");

/// What a call without a deployment says, as JSON.
fn from_file(args: &[&str]) -> Value {
    let output = Command::new(PROGRAM)
        .args(args)
        .current_dir(root())
        .env_clear()
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn cdnow_from_a_deployment_on_kafka_is_cdnow_from_the_file() {
    let name = "cdnow_from_a_deployment_on_kafka_is_cdnow_from_the_file";
    let (Some(broker), Some(sample)) = (Broker::shared(name), Sample::cdnow(name)) else {
        return;
    };
    let app = App::new(PROGRAM, broker.bootstrap(), "models", &["partitions=3"]);
    let mut instance = app.start("i0");
    instance.wait_ready();
    app.run(
        "loader",
        &[
            "replay",
            "--quiet",
            "--mapping",
            sample.mapping,
            &sample.file,
        ],
    );
    let histories = |name: &str| {
        let file = app.folder.path().join(name);
        (format!("--histories={}", file.display()), file)
    };
    let (option, file) = histories("file.csv");
    let args = ["model", "fit", "--json", &option];
    let wanted = from_file(&[&args[..], &args_of(&sample)].concat());
    let wanted_table = std::fs::read_to_string(file).unwrap();
    let (option, file) = histories("stream.csv");
    let found = app.run("reader", &["model", "fit", "--json", "--quiet", &option]);
    let found: Value = serde_json::from_str(&found).unwrap();
    let found_table = std::fs::read_to_string(file).unwrap();
    assert_equal(&found_table, &wanted_table, sample.customers);
    assert_eq!(found, without_rejected(wanted));
    let evaluate = holdout(&sample);
    let evaluate: Vec<&str> = evaluate.iter().map(String::as_str).collect();
    let found = app.run("reader", &[&evaluate[..], &["--quiet"]].concat());
    let found: Value = serde_json::from_str(&found).unwrap();
    let wanted = from_file(&[&evaluate[..], &args_of(&sample)].concat());
    assert_eq!(found, without_rejected(wanted));
    assert!(instance.is_running(), "{}", instance.log());
    let status = instance.terminate();
    assert!(status.success(), "{status}: {}", instance.log());
}
