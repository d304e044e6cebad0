//! Real orders through the program on real Kafka: whatever the partitions, the keys of the input and
//! the number of instances, what comes out are the values that were worked out independently, and the
//! same table, byte for byte, as the embedded log gives.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../../../runtime/tests/support/expectations.rs"]
mod expectations;
mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use domain::money::Currency;
use expectations::{Values, assert_days, assert_profiles, expected, root, shared_data, table};
use kafkatest::Broker;
use scene::{Scene, Way};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clvstream");

const POUNDS: Currency = Currency {
    code: *b"GBP",
    decimals: 3,
};
const DOLLARS: Currency = Currency {
    code: *b"USD",
    decimals: 2,
};
const ONLINE_RETAIL: &str = "mappings/online_retail.toml";
const CDNOW: &str = "mappings/cdnow.toml";
/// Later than every order of Online Retail.
const AFTERWARDS: &str = "2011-12-31T00:00:00Z";

/// As of then.
const CDNOW_END: &str = "1998-07-01T00:00:00Z";

/// Orders, and what has to come of them.
struct Expectations {
    file: String,
    /// Tables of profiles and the instants that they are as of, in the order of time.
    instants: Vec<(String, String)>,
    days: String,
    /// What the embedded log gives in the end.
    embedded: [String; 2],
}

impl Expectations {
    fn new(file: &Path, instants: Vec<(String, String)>, days: &Path) -> Expectations {
        let file = file.display().to_string();
        Expectations {
            embedded: embedded(ONLINE_RETAIL, &file, AFTERWARDS),
            file,
            instants,
            days: days.display().to_string(),
        }
    }

    /// The slice that ships, at six instants, three of them around the edge of a window.
    fn of_slice() -> Expectations {
        let folder = root().join("tests/data/online-retail");
        let tables = folder.join("expected");
        let instants = expected(&tables.join("instants.csv"))
            .into_iter()
            .map(|row| {
                let table = tables.join(&row["file"]).display().to_string();
                (table, format!("{}Z", row["as_of"].replace(' ', "T")))
            });
        let mut instants: Vec<_> = instants.collect();
        instants.sort_by(|(_, a), (_, b)| a.cmp(b));
        let days = tables.join("daily.csv");
        Expectations::new(&folder.join("slice.csv.zst"), instants, &days)
    }

    /// Goes through all instants.
    fn check(&self, broker: &Broker, way: Way) {
        self.check_at(&self.instants, broker, way);
    }

    /// Goes to the last instant at once.
    fn check_last(&self, broker: &Broker, way: Way) {
        self.check_at(&self.instants[self.instants.len() - 1..], broker, way);
    }

    fn check_at(&self, instants: &[(String, String)], broker: &Broker, way: Way) {
        let settings = ["currency.code=GBP", "currency.decimals=3"];
        let bootstrap = broker.bootstrap();
        let mut fleet = Scene::start(bootstrap, &settings, way, ONLINE_RETAIL, &self.file);
        for (wanted, at) in instants {
            fleet.replay(at);
            let found = by("customer_id", &fleet.app.export("profiles"));
            assert_profiles(&found, &read(wanted), &format!("{way:?} at {at}"));
        }
        fleet.replay(AFTERWARDS);
        let label = format!("{way:?}");
        let days = by("day", &fleet.app.export("days"));
        assert_days(&days, &read(&self.days), &label);
        // Some of the file's lines are not where their time would have them.
        let exactly = way.key_by == "customer" && !way.disorder;
        check_end(fleet, &self.embedded, exactly, POUNDS, &label);
    }
}

/// Tables are what the embedded log gives, and every change of every customer was told once. What
/// depends on the order in which lines come is compared only where they come in the same: `exactly`.
fn check_end(fleet: Scene, embedded: &[String; 2], exactly: bool, currency: Currency, label: &str) {
    let profiles = fleet.app.export("profiles");
    if exactly {
        assert_same("profiles", &profiles, &embedded[0], label);
    } else {
        let wanted = by("customer_id", &embedded[0]);
        let found = by("customer_id", &profiles);
        assert_eq!(found.len(), wanted.len(), "customers, {label}");
        for (id, wanted) in &wanted {
            let found = without_order_of_arrival(&found[id]);
            assert_eq!(found, without_order_of_arrival(wanted), "{id}, {label}");
        }
    }
    assert_same("days", &fleet.app.export("days"), &embedded[1], label);
    let outputs = fleet.app.outputs();
    outputs.check_sequences(currency, label);
    assert_eq!(outputs.dead_letters.len(), 0, "{label}");
    let customers = by("customer_id", &profiles);
    let customers: BTreeSet<&str> = customers.keys().map(String::as_str).collect();
    assert_eq!(outputs.customers("clv.updates"), customers, "{label}");
    fleet.end();
}

/// A row without what a line changes differently when it comes too late for its time: sessions, what
/// is ranked by recency, and since when a stage has held.
fn without_order_of_arrival(row: &Values) -> Values {
    let depends = |name: &str| {
        name.starts_with("sessions") || name.starts_with("top_") || name.ends_with("_since")
    };
    let rest = row.iter().filter(|(name, _)| !depends(name));
    rest.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn read(table: &str) -> Vec<Values> {
    expected(Path::new(table))
}

/// Rows by the value of a column.
fn by(column: &str, csv: &str) -> BTreeMap<String, Values> {
    let rows = table(csv).into_iter();
    rows.map(|row| (row[column].clone(), row)).collect()
}

/// Says where two tables differ without printing all of them.
fn assert_same(what: &str, found: &str, wanted: &str, label: &str) {
    for (found, wanted) in found.lines().zip(wanted.lines()) {
        assert_eq!(found, wanted, "{what}, {label}");
    }
    let lines = found.lines().count();
    assert_eq!(lines, wanted.lines().count(), "rows of {what}, {label}");
    assert!(lines > 100, "{what} are few, {label}");
}

/// Profiles and days as the embedded log gives them.
fn embedded(mapping: &str, file: &str, until: &str) -> [String; 2] {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("--set=data_dir={}", folder.path().display());
    let run = |args: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(args).arg(&data).arg("--quiet");
        let output = command.current_dir(root()).env_clear().output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["replay", "--mapping", mapping, "--until", until, file]);
    ["profiles", "days"].map(|what| run(&["export", what]))
}

const fn way(partitions: u32, key_by: &'static str, instances: u32, disorder: bool) -> Way {
    Way {
        partitions,
        input: None,
        key_by,
        instances,
        disorder,
    }
}

/// One way through all instants, others to the last one at once.
fn slice_over(test: &str, thoroughly: Way, others: &[Way]) {
    let Some(broker) = Broker::shared(test) else {
        return;
    };
    let expectations = Expectations::of_slice();
    expectations.check(broker, thoroughly);
    for way in others {
        expectations.check_last(broker, *way);
    }
}

#[test]
fn the_slice_over_one_partition() {
    slice_over(
        "the_slice_over_one_partition",
        way(1, "order", 1, true),
        &[
            way(1, "customer", 1, false),
            way(1, "customer", 3, true),
            way(1, "order", 3, false),
        ],
    );
}

#[test]
fn the_slice_over_four_partitions() {
    let odd = Way {
        input: Some(6),
        ..way(4, "order", 3, false)
    };
    slice_over(
        "the_slice_over_four_partitions",
        odd,
        &[
            way(4, "customer", 1, true),
            way(4, "customer", 3, false),
            way(4, "order", 1, true),
        ],
    );
}

#[test]
fn the_slice_over_sixteen_partitions() {
    let odd = Way {
        input: Some(3),
        ..way(16, "order", 1, false)
    };
    slice_over(
        "the_slice_over_sixteen_partitions",
        way(16, "order", 3, true),
        &[
            way(16, "customer", 3, false),
            way(16, "customer", 1, true),
            odd,
        ],
    );
}

/// The nine months of the full file.
#[test]
fn nine_months_over_four_partitions() {
    const TEST: &str = "nine_months_over_four_partitions";
    let Some(folder) = shared_data(TEST) else {
        return;
    };
    let Some(broker) = Broker::shared(TEST) else {
        return;
    };
    let tables = folder.join("expected");
    let rolling = |day: &str, at: &str| {
        let table = tables.join(format!("online_retail_rolling_asof_{day}.csv.gz"));
        (table.display().to_string(), at.to_owned())
    };
    let expectations = Expectations::new(
        &folder.join("online_retail_until_2011-08-31.csv.zst"),
        vec![
            rolling("2011-03-01", "2011-03-01T00:00:00Z"),
            rolling("2011-06-15", "2011-06-15T12:00:00Z"),
        ],
        &tables.join("online_retail_daily_until_2011-08-31.csv"),
    );
    expectations.check(broker, way(4, "order", 3, false));
}

/// CDNOW in the order of time: everything is the same by whatever way it comes.
#[test]
fn cdnow_gives_the_same_table_every_way() {
    let Some(broker) = Broker::shared("cdnow_gives_the_same_table_every_way") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.txt");
    std::fs::write(&file, cdnow_by_time()).unwrap();
    let file = file.display().to_string();
    let embedded = embedded(CDNOW, &file, CDNOW_END);
    assert_eq!(by("customer_id", &embedded[0]).len(), 23_570);
    let days = by("day", &embedded[1]);
    let sum = |column: &str| {
        let values = days.values().map(|row| row[column].replace('.', ""));
        values.map(|v| v.parse::<u64>().unwrap()).sum::<u64>()
    };
    assert_eq!((sum("orders"), sum("gross")), (69_659, 250_031_563));
    for way in [
        way(1, "customer", 1, false),
        way(4, "order", 3, false),
        way(16, "order", 3, false),
    ] {
        let mut fleet = Scene::start(broker.bootstrap(), &[], way, CDNOW, &file);
        fleet.replay(CDNOW_END);
        check_end(fleet, &embedded, true, DOLLARS, &format!("{way:?}"));
    }
}

/// The rows of CDNOW, which come by customer, in the order of their dates.
fn cdnow_by_time() -> String {
    let packed = std::fs::read(root().join("data/cdnow/CDNOW_master.txt.zst")).unwrap();
    let text = String::from_utf8(zstd::decode_all(&packed[..]).unwrap()).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    let mut rows: Vec<&str> = rows.lines().collect();
    rows.sort_by_key(|row| row.split_whitespace().nth(1).unwrap());
    format!("{header}\n{}\n", rows.join("\n"))
}
