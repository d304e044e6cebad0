//! The demo, as it is run: its totals are those of the data, to the row.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Runs the demo in a folder of its own and returns its summary.
fn demo(data: Option<&Path>) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_clvstream"));
    command.args(["demo", "--json", "--set"]);
    command.arg(format!("data_dir={}", folder.path().display()));
    if let Some(data) = data {
        command.arg("--data").arg(data);
    }
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn shipped() -> String {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../data/cdnow/CDNOW_master.txt.zst");
    let plain = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
    String::from_utf8(plain).unwrap()
}

fn total(members: &Value) -> u64 {
    let members = members.as_array().unwrap();
    members
        .iter()
        .map(|m| m["customers"].as_u64().unwrap())
        .sum()
}

#[test]
fn the_totals_are_those_of_all_cdnow_orders() {
    let summary = demo(None);
    assert_eq!(summary["customers"], 23_570);
    assert_eq!(summary["orders"], 69_659);
    assert_eq!(summary["gross"], 250_031_563);
    assert_eq!(
        (&summary["currency"], &summary["decimals"]),
        (&"USD".into(), &2.into())
    );
    for lifecycle in summary["lifecycles"].as_array().unwrap() {
        assert_eq!(
            total(&lifecycle["stages"]),
            23_570,
            "{}",
            lifecycle["model"]
        );
    }
    let segments = summary["segments"].as_array().unwrap();
    assert!(
        segments
            .iter()
            .any(|s| s["name"] == "loyal" && s["customers"].as_u64() > Some(0))
    );
    let values: Vec<i64> = summary["top"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["historic"].as_i64().unwrap())
        .collect();
    assert_eq!(values.len(), 10);
    assert!(values.is_sorted_by(|a, b| a >= b), "{values:?}");
    assert!(summary["processed"]["per_second"].as_f64() > Some(0.0));
}

#[test]
fn one_row_less_makes_that_row_s_difference() {
    let text = shipped();
    let mut lines: Vec<&str> = text.lines().collect();
    // A customer with a single order, so that he is missing too.
    let gone = lines.remove(1);
    let fields: Vec<&str> = gone.split_whitespace().collect();
    assert_eq!(fields, ["00001", "19970101", "1", "11.77"]);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("one_less.txt");
    std::fs::write(&data, lines.join("\n")).unwrap();
    let summary = demo(Some(&data));
    assert_eq!(summary["customers"], 23_569);
    assert_eq!(summary["orders"], 69_658);
    assert_eq!(summary["gross"], 250_031_563 - 1_177);
}
