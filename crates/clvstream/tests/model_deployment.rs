//! `clvstream model` on an embedded deployment: what the pipeline keeps of customers gives what their orders in
//! files give.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and says on its output what it skips"
)]

#[path = "model_support/mod.rs"]
mod model_support;

use std::path::Path;
use std::process::Command;

use model_support::{Sample, args_of, assert_equal, holdout, root, without_rejected};
use serde_json::Value;

/// Standard output of a call in the project's root, which has to end well.
fn run(data: Option<&Path>, args: &[&str]) -> String {
    let (code, said, errors) = outcome(data, args);
    assert_eq!(code, 0, "{args:?}: {said}{errors}");
    said
}

/// How a call ends, its output and its errors.
fn outcome(data: Option<&Path>, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clvstream"));
    command
        .args(args)
        .arg("--quiet")
        .current_dir(root())
        .env_clear();
    if let Some(data) = data {
        command.arg(format!("--set=data_dir={}", data.display()));
    }
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let code = output.status.code().unwrap();
    (code, text(&output.stdout), text(&output.stderr))
}

fn json(data: Option<&Path>, args: &[&str]) -> Value {
    serde_json::from_str(&run(data, args)).unwrap()
}

/// Loads the sample, and holds histories, fits and evaluation against those from the file.
fn assert_as_from_the_file(sample: &Sample) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let load = ["replay", "--mapping", sample.mapping, &sample.file];
    run(Some(&data), &load);
    let written = |data: Option<&Path>, name: &str, of: &[&str]| {
        let file = folder.path().join(name);
        let file = format!("--histories={}", file.display());
        let found = json(data, &[&["model", "fit", "--json", &file], of].concat());
        let table = std::fs::read_to_string(folder.path().join(name)).unwrap();
        (found, table)
    };
    let (from_file, wanted) = written(None, "file.csv", &args_of(sample));
    let (from_stream, found) = written(Some(&data), "stream.csv", &[]);
    assert_equal(&found, &wanted, sample.customers);
    assert_eq!(from_stream, without_rejected(from_file));
    let evaluate = holdout(sample);
    let evaluate: Vec<&str> = evaluate.iter().map(String::as_str).collect();
    let from_stream = json(Some(&data), &evaluate);
    let from_file = json(None, &[&evaluate[..], &args_of(sample)].concat());
    assert_eq!(from_stream, without_rejected(from_file));
    // Earlier ends too, where orders that come later are none yet.
    let early = ["model", "fit", "--json", "--as-of", sample.until];
    let from_stream = json(Some(&data), &early);
    let from_file = json(None, &[&early[..], &args_of(sample)].concat());
    assert_eq!(from_stream, without_rejected(from_file));
}

#[test]
fn cdnow_from_an_embedded_deployment_is_cdnow_from_the_file() {
    let name = "cdnow_from_an_embedded_deployment_is_cdnow_from_the_file";
    let Some(sample) = Sample::cdnow(name) else {
        return;
    };
    assert_as_from_the_file(&sample);
}

#[test]
fn online_retail_with_cancellations_and_refunds_is_the_same_from_an_embedded_deployment() {
    let name =
        "online_retail_with_cancellations_and_refunds_is_the_same_from_an_embedded_deployment";
    let Some(sample) = Sample::online_retail(name) else {
        return;
    };
    assert_as_from_the_file(&sample);
}

#[test]
fn mapping_and_input_go_together() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, said) = outcome(
        Some(folder.path()),
        &["model", "fit", "--mapping", "mappings/cdnow.toml"],
    );
    assert_eq!(code, 2);
    assert!(
        said.contains("--mapping says how files are read, and no file is named"),
        "{said}"
    );
    let (code, _, said) = outcome(
        Some(folder.path()),
        &["model", "evaluate", "--until", "1997-09-30", "orders.csv"],
    );
    assert_eq!(code, 2);
    assert!(
        said.contains("files are named, and no --mapping says how they are read"),
        "{said}"
    );
    let (code, _, said) = outcome(Some(folder.path()), &["model", "fit"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("no customer of the deployment has an order"),
        "{said}"
    );
}
