//! What the tests read: reference tables of this repository, and real data beside it where it is there.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and says on its output what it skips"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub mod cdnow;
pub mod simulate;

/// The project's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of the folder with more real data, where there is one; says SKIPPED where there is none, which is
/// a failure in CI.
pub fn shared(test: &str, name: &str) -> Option<String> {
    let folder = std::env::var_os("CLVSTREAM_TEST_DATA")
        .map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(text(&path));
    }
    println!("SKIPPED {test}: no {name}; set CLVSTREAM_TEST_DATA to a folder that has it");
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "test data must be there in CI"
    );
    None
}

/// A file as text, unpacked where it is zstd.
pub fn text(path: &Path) -> String {
    let bytes =
        std::fs::read(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    let bytes = if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        zstd::decode_all(&bytes[..]).expect("zstd")
    } else {
        bytes
    };
    String::from_utf8(bytes).expect("text")
}

/// Rows of a table with a header line and no quotes.
pub fn rows(table: &str) -> Vec<BTreeMap<&str, &str>> {
    let mut lines = table.lines();
    let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
    lines
        .map(|line| header.iter().copied().zip(line.split(',')).collect())
        .collect()
}

/// How far off, relative to what is expected; absolute where that is 0.
pub fn off(found: f64, expected: f64) -> f64 {
    if found == expected {
        0.0
    } else if expected == 0.0 {
        found.abs()
    } else {
        ((found - expected) / expected).abs()
    }
}

/// A number of a table.
pub fn number(text: &str) -> f64 {
    if text == "inf" {
        return f64::INFINITY;
    }
    text.parse()
        .unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// Parameters `a|b|c|d`.
pub fn numbers<const N: usize>(text: &str) -> [f64; N] {
    let all: Vec<f64> = text.split('|').map(number).collect();
    all.try_into().expect("as many parameters as the model has")
}
