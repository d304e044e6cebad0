//! What the tests of this crate share: data folders, deployments in temporary folders, replays.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says on its output what it skips"
)]

pub mod expectations;

use std::collections::BTreeMap;
use std::path::Path;

use config::Loaded;
use domain::time::TimeMs;
use engine::worker::Owned;
use runtime::Deployment;
use runtime::export::{Profiles, Row, day_row, days, profile_row};
use runtime::load::{Delivery, Files, load};
use runtime::workers::{Observers, Shared, Until, run, wall_clock};
use store::TaskStore;
use wire::mapping::Mapping;

#[allow(unused_imports, reason = "each test binary uses its part")]
pub use expectations::{expected, root, shared_data};

pub type TestResult = Result<(), Box<dyn std::error::Error>>;

pub fn mapping(name: &str) -> Mapping {
    let path = root().join("mappings").join(name);
    let text = std::fs::read_to_string(&path).expect("the project ships its mappings");
    Mapping::parse(name, &text).expect("shipped mappings are right")
}

pub fn configured(dir: &Path, settings: &[&str]) -> Loaded {
    let mut overrides = vec![format!("data_dir={:?}", dir.display().to_string())];
    overrides.push("commit.fsync=false".to_owned());
    overrides.extend(settings.iter().map(|s| (*s).to_owned()));
    config::parse("test", "", &overrides).expect("the settings are right")
}

pub fn instant(text: &str) -> TimeMs {
    let text = text.replace(' ', "T");
    let text = if text.ends_with('Z') {
        text
    } else {
        format!("{text}Z")
    };
    let stamp: jiff::Timestamp = text.parse().expect("an instant");
    TimeMs(stamp.as_millisecond())
}

/// Loads `file` and processes it to the end.
pub fn replay(
    deployment: &Deployment,
    file: &Path,
    mapping: &Mapping,
    delivery: &Delivery,
) -> Result<engine::bookkeeping::Counts, Box<dyn std::error::Error>> {
    let shared = std::sync::Arc::new(Shared::default());
    let files = Files::open(&[file.to_owned()], mapping, delivery)?;
    let name = files.name.clone();
    let items = files.items(mapping, deployment, delivery);
    load(deployment, &name, delivery, items, &shared, &mut |_| {})?;
    process(deployment)
}

/// Processes everything that is in the inputs.
pub fn process(
    deployment: &Deployment,
) -> Result<engine::bookkeeping::Counts, Box<dyn std::error::Error>> {
    let observers = Observers {
        metrics: None,
        liveness: None,
        readiness: None,
    };
    let owned = deployment.open_all()?;
    Ok(run(
        deployment,
        owned,
        Until::Drained,
        &Shared::default(),
        &observers,
    )?)
}

pub fn open(loaded: &Loaded, mapping: &Mapping) -> Deployment {
    Deployment::open(loaded, mapping.currency(), wall_clock()).expect("a fresh folder")
}

/// Every profile's row, by customer id.
pub fn rows(
    tasks: &[Owned<TaskStore>],
    as_of: TimeMs,
) -> Result<BTreeMap<String, BTreeMap<String, String>>, Box<dyn std::error::Error>> {
    let mut rows = BTreeMap::new();
    for known in Profiles::new(tasks)? {
        if let Some(row) = profile_row(&known?, as_of) {
            let row = texts(row);
            rows.insert(row["customer_id"].clone(), row);
        }
    }
    Ok(rows)
}

/// Every day's row, by day.
pub fn day_rows(
    deployment: &Deployment,
    tasks: &[Owned<TaskStore>],
) -> Result<BTreeMap<String, BTreeMap<String, String>>, Box<dyn std::error::Error>> {
    let currency = deployment.setup.definitions.currency;
    let rows = days(tasks)?;
    let rows = rows.iter().map(|(day, totals)| {
        let row = texts(day_row(*day, totals, currency));
        (row["day"].clone(), row)
    });
    Ok(rows.collect())
}

fn texts(row: Row) -> BTreeMap<String, String> {
    row.into_iter()
        .map(|(name, value)| {
            let text = match value {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            (name, text)
        })
        .collect()
}
