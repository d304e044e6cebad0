//! The shipped records, good and bad. Shared with the tests on Kafka.

use std::path::Path;

use serde_json::Value;

/// When the log takes the records in.
pub(crate) const RECORD_TIME: &str = "2024-06-01T00:00:00Z";

/// One record of `tests/data/bad-input/records.jsonl`.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) topic: String,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    /// `applied`, `deduplicated`, or the class of its rejection.
    pub(crate) expect: String,
    /// Settings under which it is accepted.
    pub(crate) accepted_with: Vec<String>,
}

impl Case {
    pub(crate) fn is_bad(&self) -> bool {
        !matches!(self.expect.as_str(), "applied" | "deduplicated")
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = project.join("tests/data/bad-input/records.jsonl");
    let text = std::fs::read_to_string(path).expect("the project ships its bad records");
    text.lines().map(case).collect()
}

fn case(line: &str) -> Case {
    let record: Value = serde_json::from_str(line).expect("a line is JSON");
    let text = |name: &str| record[name].as_str().expect("a text").to_owned();
    let settings = record["accepted_with"].as_array();
    let settings = settings.into_iter().flatten().filter_map(Value::as_str);
    Case {
        name: text("name"),
        topic: text("topic"),
        key: record["key"].as_str().map(|key| key.as_bytes().to_vec()),
        value: value_of(&record["value"]),
        expect: text("expect"),
        accepted_with: settings.map(str::to_owned).collect(),
    }
}

fn value_of(value: &Value) -> Option<Vec<u8>> {
    let part = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    if value.is_null() {
        return None;
    }
    if let Some(hex) = value["hex"].as_str() {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        return Some((0..hex.len()).step_by(2).map(byte).collect());
    }
    let repeat = &value["repeat"];
    if let Some(times) = repeat["times"].as_u64() {
        let part = |name: &str| repeat[name].as_str().expect("a text").to_owned();
        let middle = part("text").repeat(usize::try_from(times).expect("small"));
        return Some(
            [part("before"), middle, part("after")]
                .concat()
                .into_bytes(),
        );
    }
    Some(part("text").into_bytes())
}
