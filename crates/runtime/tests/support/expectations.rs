//! Online Retail's values as they were worked out independently, and exported rows held against
//! them, every customer and every column. Shared with the tests of the program on Kafka.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says on its output what it skips"
)]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A row: values by column.
pub type Values = BTreeMap<String, String>;

/// The project's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder with more real data, where there is one; says SKIPPED where there is none, which is a
/// failure in CI.
pub fn shared_data(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CLVSTREAM_TEST_DATA")
        .map_or_else(|| root().join("../shared/data"), PathBuf::from);
    if folder.join("README.md").exists() {
        return Some(folder);
    }
    println!("SKIPPED {test}: no test data; set CLVSTREAM_TEST_DATA to a folder that has it");
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "test data must be there in CI"
    );
    None
}

/// A table of expected values: plain, gzip or zstd.
pub fn expected(path: &Path) -> Vec<Values> {
    let bytes = std::fs::read(path).expect("the expected values are there");
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::GzDecoder::new(&bytes[..])
            .read_to_string(&mut text)
            .expect("gzip");
    } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let plain = zstd::decode_all(&bytes[..]).expect("zstd");
        text = String::from_utf8(plain).expect("UTF-8");
    } else {
        text = String::from_utf8(bytes).expect("UTF-8");
    }
    table(&text)
}

/// The rows of a CSV table with a header.
pub fn table(text: &str) -> Vec<Values> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Vec<String> = reader
        .headers()
        .expect("a header")
        .iter()
        .map(str::to_owned)
        .collect();
    reader
        .records()
        .map(|record| {
            let record = record.expect("a row");
            names
                .iter()
                .cloned()
                .zip(record.iter().map(str::to_owned))
                .collect()
        })
        .collect()
}

/// Every customer is there with every value that is wanted, and nobody else.
pub fn assert_profiles(found: &BTreeMap<String, Values>, wanted: &[Values], label: &str) {
    assert_eq!(found.len(), wanted.len(), "customers, {label}");
    for wanted in wanted {
        let id = &wanted["CustomerID"];
        let found = found.get(id).map(as_expected);
        assert_eq!(found.as_ref(), Some(wanted), "customer {id}, {label}");
    }
}

/// Every day is there with every value that is wanted, and no other.
pub fn assert_days(found: &BTreeMap<String, Values>, wanted: &[Values], label: &str) {
    assert_eq!(found.len(), wanted.len(), "days, {label}");
    for wanted in wanted {
        let day = &wanted["day"];
        let found = found.get(day).map(day_as_expected);
        assert_eq!(found.as_ref(), Some(wanted), "day {day}, {label}");
    }
}

/// A day's row of the export in the columns of the expected tables.
fn day_as_expected(row: &Values) -> Values {
    let values = [
        ("day", row["day"].clone()),
        ("lines", row["lines"].clone()),
        ("orders", row["orders"].clone()),
        ("cancels", row["cancellations"].clone()),
        ("customers", row["customers"].clone()),
        ("gross_m", thousandths(&row["gross"])),
        ("returns_m", thousandths(&row["returns"])),
    ];
    values.map(|(name, value)| (name.to_owned(), value)).into()
}

/// Thousandths, as the expected tables have them, from an exact decimal.
fn thousandths(decimal: &str) -> String {
    let (whole, rest) = decimal.split_once('.').unwrap_or((decimal, ""));
    assert!(rest.len() <= 3, "{decimal} is finer than a thousandth");
    let digits = format!("{whole}{rest:0<3}");
    let number: i64 = digits.parse().expect("digits");
    format!("{number}.0")
}

/// A count of units as the expected tables have it.
fn units(text: &str) -> String {
    if text.contains('.') {
        text.to_owned()
    } else {
        format!("{text}.0")
    }
}

/// `2011-01-18T10:01:00.000Z` as the expected tables have it.
fn local(text: &str) -> String {
    text.strip_suffix(".000Z").unwrap_or(text).replace('T', " ")
}

/// A row of the export in the columns of the expected tables.
fn as_expected(row: &Values) -> Values {
    let mut values = Values::new();
    let mut put = |name: &str, value: String| values.insert(name.to_owned(), value);
    put("CustomerID", row["customer_id"].clone());
    for name in ["lines", "orders", "products", "last_country"] {
        put(name, row[name].clone());
    }
    put("cancel_invoices", row["refunds"].clone());
    put("units_sold", units(&row["units_sold"]));
    put("units_returned", units(&row["units_returned"]));
    put("gross_m", thousandths(&row["gross"]));
    put("returns_m", thousandths(&row["returns"]));
    put("net_m", thousandths(&row["net"]));
    for name in ["first_order", "last_order", "last_event"] {
        put(name, local(&row[name]));
    }
    for days in [7, 30, 90] {
        put(
            &format!("orders_{days}d"),
            row[&format!("orders_{days}d")].clone(),
        );
        put(
            &format!("active_days_{days}d"),
            row[&format!("active_days_{days}d")].clone(),
        );
        put(
            &format!("gross_{days}d_m"),
            thousandths(&row[&format!("gross_{days}d")]),
        );
        put(
            &format!("returns_{days}d_m"),
            thousandths(&row[&format!("returns_{days}d")]),
        );
    }
    values
}
