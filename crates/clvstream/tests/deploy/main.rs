//! What `deploy/` holds: the image's parts, the compose file, and the queries of alerts and dashboard
//! against a real Prometheus that scrapes a real run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::panic, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod compose;
mod dashboard;
mod image;
mod names;
#[path = "../service/process.rs"]
#[allow(dead_code, reason = "the tests of the service use the rest")]
mod process;
mod prometheus;
mod queries;
mod runbook;

use std::path::{Path, PathBuf};

use yaml_rust2::{Yaml, YamlLoader};

/// A path of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// A file of `deploy/`.
fn deployed(path: &str) -> String {
    let path = repository("deploy").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A YAML file of `deploy/` with one document.
fn yaml(path: &str) -> Yaml {
    let documents = YamlLoader::load_from_str(&deployed(path)).unwrap();
    assert_eq!(documents.len(), 1, "{path}");
    documents.into_iter().next().unwrap()
}

/// Prometheus's rules, of all groups.
fn rules() -> Vec<Yaml> {
    let file = yaml("prometheus/clvstream.rules.yml");
    let groups = file["groups"].as_vec().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_vec().unwrap());
    rules.cloned().collect()
}

/// Says that a test cannot do its work here, which is a failure where everything must be there.
#[allow(clippy::print_stdout, reason = "the test runner reads it")]
fn skipped(test: &str, reason: &str) {
    println!("SKIPPED {test}: {reason}");
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{reason}, and in CI it must be there"
    );
}
