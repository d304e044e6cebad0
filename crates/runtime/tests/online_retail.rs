//! Online Retail, replayed to instants, against values that were worked out independently: every
//! customer, every column, whatever the partitions, the order and the repetitions of delivery.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use domain::time::DAY_MS;
use runtime::load::Delivery;
use support::expectations::{assert_days, assert_profiles};
use support::{
    TestResult, configured, day_rows, expected, instant, mapping, open, replay, root, rows,
    shared_data,
};

/// One way of delivering the lines.
struct Way {
    name: &'static str,
    partitions: u32,
    shuffle_within_ms: i64,
    duplicate_per_mille: u32,
}

const WAYS: [Way; 9] = [
    way("in order", 1, 0, 0),
    way("in order", 4, 0, 0),
    way("in order", 16, 0, 0),
    way("shuffled", 1, 3 * DAY_MS, 0),
    way("shuffled", 4, 3 * DAY_MS, 0),
    way("shuffled", 16, 3 * DAY_MS, 0),
    way("shuffled and doubled", 1, 3 * DAY_MS, 50),
    way("in order, doubled", 4, 0, 50),
    way("shuffled and doubled", 16, 3 * DAY_MS, 50),
];

const fn way(name: &'static str, partitions: u32, within_ms: i64, per_mille: u32) -> Way {
    Way {
        name,
        partitions,
        shuffle_within_ms: within_ms,
        duplicate_per_mille: per_mille,
    }
}

/// Replays `data` to every instant in turn and compares everything.
fn check(
    data: &Path,
    instants: &[(String, &str)],
    daily: Option<&Path>,
    ways: &[Way],
) -> TestResult {
    let mapping = mapping("online_retail.toml");
    for way in ways {
        let dir = tempfile::tempdir()?;
        let partitions = format!("partitions={}", way.partitions);
        let deployment = open(&configured(dir.path(), &[&partitions]), &mapping);
        for (file, at) in instants {
            let as_of = instant(at);
            let delivery = Delivery {
                seed: 7,
                shuffle_within_ms: way.shuffle_within_ms,
                duplicate_per_mille: way.duplicate_per_mille,
                until: Some(as_of),
                ..Delivery::PLAIN
            };
            replay(&deployment, data, &mapping, &delivery)?;
            let tasks = deployment.open_all()?;
            let found = rows(&tasks, as_of)?;
            let wanted = expected(Path::new(file));
            let label = format!("{} over {} partitions at {at}", way.name, way.partitions);
            assert_profiles(&found, &wanted, &label);
        }
        if let Some(daily) = daily {
            replay(
                &deployment,
                data,
                &mapping,
                &Delivery {
                    seed: 7,
                    shuffle_within_ms: way.shuffle_within_ms,
                    duplicate_per_mille: way.duplicate_per_mille,
                    until: Some(instant("2011-12-31T00:00:00Z")),
                    ..Delivery::PLAIN
                },
            )?;
            check_days(
                &deployment,
                daily,
                &format!("{} over {}", way.name, way.partitions),
            )?;
        }
    }
    Ok(())
}

fn check_days(deployment: &runtime::Deployment, daily: &Path, label: &str) -> TestResult {
    let tasks = deployment.open_all()?;
    let found = day_rows(deployment, &tasks)?;
    let wanted = expected(daily);
    assert_days(&found, &wanted, label);
    Ok(())
}

/// The slice that ships, at six instants, two of them at the very edge of windows.
#[test]
fn slice_equals_the_expected_values_however_it_is_delivered() -> TestResult {
    let folder = root().join("tests/data/online-retail");
    let listed = expected(&folder.join("expected/instants.csv"));
    let mut instants: Vec<(String, &str)> = Vec::new();
    for row in &listed {
        let file = folder
            .join("expected")
            .join(&row["file"])
            .display()
            .to_string();
        instants.push((file, &row["as_of"]));
    }
    instants.sort_by_key(|(_, at)| instant(at));
    let daily = folder.join("expected/daily.csv");
    check(
        &folder.join("slice.csv.zst"),
        &instants,
        Some(&daily),
        &WAYS,
    )
}

/// The nine months of the full file.
#[test]
fn nine_months_equal_the_expected_values_however_they_are_delivered() -> TestResult {
    let Some(folder) =
        shared_data("nine_months_equal_the_expected_values_however_they_are_delivered")
    else {
        return Ok(());
    };
    let file = |name: &str| folder.join("expected").join(name).display().to_string();
    let instants = [
        (
            file("online_retail_rolling_asof_2011-03-01.csv.gz"),
            "2011-03-01T00:00:00Z",
        ),
        (
            file("online_retail_rolling_asof_2011-06-15.csv.gz"),
            "2011-06-15T12:00:00Z",
        ),
    ];
    let daily = folder.join("expected/online_retail_daily_until_2011-08-31.csv");
    let data = folder.join("online_retail_until_2011-08-31.csv.zst");
    check(&data, &instants, Some(&daily), &WAYS)
}
