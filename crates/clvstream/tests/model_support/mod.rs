//! Orders that models are fitted to, in a file and by way of a deployment.

#![allow(unreachable_pub, reason = "shared between test crates")]
#![allow(dead_code, reason = "no test crate needs all of it")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clv::histogram::{OrderHistogram, SpendHistogram};
use domain::prediction::InForce;
use engine::worker::Owned;
use runtime::Deployment;
use runtime::models::{Books, Tables};
use runtime::workers::wall_clock;
use serde_json::Value;
use store::TaskStore;

/// The project's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Orders in a file.
pub struct Sample {
    pub mapping: &'static str,
    pub file: String,
    /// Last day of a calibration.
    pub until: &'static str,
    /// With an order that counts.
    pub customers: usize,
}

impl Sample {
    /// A tenth of CDNOW.
    pub fn cdnow(test: &str) -> Option<Sample> {
        Some(Sample {
            mapping: "mappings/cdnow_sample.toml",
            file: shared(test, "cdnow_sample.csv.zst")?,
            until: "1997-09-30",
            customers: 2_357,
        })
    }

    /// Nine months of Online Retail, with cancellations and refunds.
    pub fn online_retail(test: &str) -> Option<Sample> {
        Some(Sample {
            mapping: "mappings/online_retail.toml",
            file: shared(test, "online_retail_until_2011-08-31.csv.zst")?,
            until: "2011-05-31",
            customers: 3_317,
        })
    }
}

/// A file that does not ship; says SKIPPED where there is none, which is a failure in CI.
fn shared(test: &str, name: &str) -> Option<String> {
    let folder = std::env::var_os("CLVSTREAM_TEST_DATA")
        .map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let file = folder.join(name);
    if file.exists() {
        return Some(file.to_str().unwrap().to_owned());
    }
    println!("SKIPPED {test}: no {name} in CLVSTREAM_TEST_DATA");
    assert!(std::env::var("CI").as_deref() != Ok("true"));
    None
}

/// How the sample's file is named on the command line.
pub fn args_of(sample: &Sample) -> [&str; 3] {
    ["--mapping", sample.mapping, &sample.file]
}

/// An evaluation on what came after the calibration.
pub fn holdout(sample: &Sample) -> Vec<String> {
    let args = ["model", "evaluate", "--json", "--until", sample.until];
    args.map(str::to_owned).to_vec()
}

/// A report of files without the number of rejected rows, which a deployment does not tell.
pub fn without_rejected(mut report: Value) -> Value {
    let rejected = report.as_object_mut().unwrap().remove("rejected");
    assert!(rejected.is_some_and(|n| n.is_u64()), "files have one");
    report
}

/// A report of a fit that was made to what it should be.
pub fn taken_from(source: &str, mut report: Value) -> Value {
    let found = report.as_object_mut().unwrap().remove("taken_from");
    assert_eq!(found, Some(Value::from(source)));
    report
}

/// The deployment as this process sees it.
pub fn open(settings: &[String]) -> Deployment {
    let loaded = config::parse("test", "", settings).unwrap();
    Deployment::open(&loaded, None, wall_clock()).unwrap()
}

/// Version of the model that each task has.
pub fn versions(deployment: &Deployment) -> Vec<Option<u32>> {
    let tasks = deployment.open_all().unwrap();
    let version = |owned: &Owned<TaskStore>| {
        let definitions = owned.task.versions().current();
        definitions.model.as_ref().map(InForce::version)
    };
    tasks.iter().map(version).collect()
}

/// That the histograms which the tasks keep are those of their customers' books, cell for cell.
pub fn assert_histograms(deployment: &Deployment) {
    let tasks = deployment.open_all().unwrap();
    let mut books = Books::new(Arc::clone(&deployment.setup.definitions));
    books.add(&tasks).unwrap();
    let (mut orders, mut spend) = (OrderHistogram::default(), SpendHistogram::default());
    for (_, statistics) in books.statistics(books.present().unwrap()) {
        orders.add(&statistics);
        spend.add(&statistics);
    }
    let kept = Tables::of(&tasks).unwrap();
    assert!(kept.orders.len() > 100);
    assert_eq!(kept.orders, orders);
    assert_eq!(kept.spend, spend);
}

/// Says where two tables of so many customers differ without printing all of them.
pub fn assert_equal(found: &str, wanted: &str, customers: usize) {
    for (found, wanted) in found.lines().zip(wanted.lines()) {
        assert_eq!(found, wanted);
    }
    assert_eq!(found.lines().count(), customers + 1);
    assert_eq!(wanted.lines().count(), customers + 1);
}
