//! The mappings that the project ships, on the real data that they are for.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it skips, in its helpers too"
)]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use domain::event::{Body, Event};
use domain::money::{Minor, Units};
use domain::time::TimeMs;
use source::{MappingCheck, RowReader, mapping_check};
use wire::mapping::Mapping;
use wire::{InputRules, currency_by_code};

/// Later than all of the data.
const NOW: TimeMs = TimeMs(1_800_000_000_000);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The file `name` of the shared test data; where it is missing, a line that says so.
fn shared(test: &str, name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CLVSTREAM_TEST_DATA")
        .map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{test} needs {name} in CLVSTREAM_TEST_DATA"
    );
    println!("SKIPPED {test}: no {name} in CLVSTREAM_TEST_DATA");
    None
}

fn mapping(name: &str) -> Mapping {
    let path = root().join("mappings").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    Mapping::parse(name, &text).unwrap_or_else(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    })
}

fn dollars() -> InputRules {
    InputRules::new(currency_by_code("USD", None).unwrap())
}

/// Every event of the file, none of whose rows may be rejected or ignored.
fn events(mapping: &Mapping, path: &Path) -> Vec<(u64, String, Event)> {
    let rules = mapping.rules_override(&dollars());
    let mut reader = RowReader::open(path, mapping).unwrap();
    let mut events = Vec::new();
    while let Some(row) = reader.next() {
        let row = row.unwrap();
        let outcomes = reader.apply(&row, mapping, NOW, &rules);
        assert!(!outcomes.is_empty(), "row {} is ignored", row.row);
        for outcome in outcomes {
            let mapped = outcome.unwrap_or_else(|r| panic!("row {}: {r}", row.row));
            events.push((row.row, mapped.topic.to_owned(), mapped.event));
        }
    }
    let progress = reader.progress();
    assert_eq!(
        Some(progress.read()),
        progress.total(),
        "all of the file was read"
    );
    events
}

fn check(mapping: &Mapping, path: &Path) -> MappingCheck {
    let reader = RowReader::open(path, mapping).unwrap();
    mapping_check(
        mapping,
        reader,
        &mapping.rules_override(&dollars()),
        NOW,
        None,
    )
}

fn ids_are_distinct(events: &[(u64, String, Event)]) {
    let mut ids: Vec<&str> = events.iter().map(|(_, _, e)| e.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), events.len());
}

/// Orders, customers, total, units.
fn totals(events: &[(u64, String, Event)]) -> (usize, usize, i64, i64) {
    let mut customers: Vec<&str> = Vec::new();
    let (mut total, mut units) = (Minor::ZERO, Units::default());
    for (_, topic, event) in events {
        assert_eq!(topic, "orders");
        let Body::OrderCompleted(order) = &event.body else {
            panic!("an order is expected");
        };
        total += order.total.unwrap();
        for line in &order.lines {
            units += line.quantity;
        }
        customers.extend(event.customer_id.as_deref());
    }
    customers.sort_unstable();
    customers.dedup();
    (events.len(), customers.len(), total.0, units.0 / 1000)
}

#[test]
fn cdnow_sample_gives_every_order() {
    let Some(path) = shared("cdnow_sample_gives_every_order", "cdnow_sample.csv.zst") else {
        return;
    };
    let events = events(&mapping("cdnow_sample.toml"), &path);
    ids_are_distinct(&events);
    let (orders, customers, cents, _) = totals(&events);
    assert_eq!((orders, customers, cents), (6_919, 2_357, 24_409_194));
}

#[test]
fn cdnow_as_shipped_gives_every_order() {
    let path = root().join("data/cdnow/CDNOW_master.txt.zst");
    let events = events(&mapping("cdnow.toml"), &path);
    ids_are_distinct(&events);
    let (orders, customers, cents, _) = totals(&events);
    assert_eq!((orders, customers, cents), (69_659, 23_570, 250_031_563));
    let (row, _, first) = &events[0];
    assert_eq!((*row, first.customer_id.as_deref()), (1, Some("00001")));
    assert_eq!(first.time.to_string(), "1997-01-01T00:00:00.000Z");
}

/// Per day: lines, orders, cancellations, customers, gross, returns.
type Days = BTreeMap<String, (u64, u64, u64, u64, i64, i64)>;

fn expected_days(path: &Path) -> Days {
    let text = std::fs::read_to_string(path).unwrap();
    let number = |s: &str| s.strip_suffix(".0").unwrap_or(s).parse::<i64>().unwrap();
    let day = |line: &str| {
        let v: Vec<&str> = line.split(',').collect();
        let count = |at: usize| u64::try_from(number(v[at])).unwrap();
        let counts = (count(1), count(2), count(3), count(4));
        (
            v[0].to_owned(),
            (
                counts.0,
                counts.1,
                counts.2,
                counts.3,
                number(v[5]),
                number(v[6]),
            ),
        )
    };
    text.lines().skip(1).map(day).collect()
}

#[test]
fn online_retail_gives_the_days_of_the_shop() {
    let test = "online_retail_gives_the_days_of_the_shop";
    let days = "expected/online_retail_daily_until_2011-08-31.csv";
    let Some((path, days)) =
        shared(test, "online_retail_until_2011-08-31.csv.zst").zip(shared(test, days))
    else {
        return;
    };
    let events = events(&mapping("online_retail.toml"), &path);
    assert_eq!(events.len(), 320_705);
    ids_are_distinct(&events);
    let mut found = Days::new();
    let mut distinct: BTreeMap<String, [std::collections::BTreeSet<String>; 3]> = BTreeMap::new();
    for (_, _, event) in &events {
        let key = event.time.day().to_string();
        let day = found.entry(key.clone()).or_default();
        let ids = distinct.entry(key).or_default();
        day.0 += 1;
        match &event.body {
            Body::OrderCompleted(order) => {
                ids[0].insert(order.order_id.to_string());
                assert!(order.partial && order.lines.len() == 1);
                day.4 += order.lines[0].amount.0;
            }
            Body::OrderRefunded(refund) => {
                ids[1].insert(refund.refund_id.to_string());
                assert!(refund.partial && refund.amount == refund.lines[0].amount);
                day.5 += refund.amount.0;
            }
            _ => panic!("an order or a refund is expected"),
        }
        if let Some(customer) = &event.customer_id {
            ids[2].insert(customer.to_string());
        }
    }
    for (key, ids) in distinct {
        let day = found.get_mut(&key).unwrap();
        let [orders, refunds, customers] = ids.map(|set| set.len() as u64);
        (day.1, day.2, day.3) = (orders, refunds, customers);
    }
    assert_eq!(found, expected_days(&days));
}

#[test]
fn visits_give_views_and_orders() {
    let Some(path) = shared("visits_give_views_and_orders", "ga_fact_visitors.csv.zst") else {
        return;
    };
    let mapping = mapping("visits.toml");
    let all = events(&mapping, &path);
    ids_are_distinct(&all);
    let orders: Vec<_> = all
        .iter()
        .filter(|(_, topic, _)| topic == "orders")
        .cloned()
        .collect();
    assert_eq!(all.len() - orders.len(), 10_033);
    let (count, customers, cents, _) = totals(&orders);
    assert_eq!((count, customers, cents), (291, 0, 33_977_479));
    let check = check(&mapping, &path);
    assert_eq!((check.rows, check.events), (10_033, 10_324));
    assert!(check.is_clean() && check.complete);
}

#[test]
fn otto_gives_every_nested_event() {
    let Some(path) = shared(
        "otto_gives_every_nested_event",
        "otto_test_sessions.jsonl.zst",
    ) else {
        return;
    };
    let mapping = mapping("otto.toml");
    let all = events(&mapping, &path);
    ids_are_distinct(&all);
    let check = check(&mapping, &path);
    assert_eq!((check.rows, check.events), (20, 862));
    let expected = [
        ("clickstream/product_added", 52),
        ("clickstream/product_viewed", 800),
        ("orders/order_completed", 10),
    ];
    let expected = expected.map(|(name, n)| (name.to_owned(), n)).into();
    assert_eq!(check.events_by_type, expected);
    let visitor = |e: &Event| e.anonymous_id.clone();
    assert!(all.iter().all(|(_, _, e)| visitor(e).is_some()));
    // Ten things ordered, at five instants.
    let mut orders: Vec<_> = all
        .iter()
        .filter_map(|(_, _, e)| match &e.body {
            Body::OrderCompleted(o) => Some(o.order_id.clone()),
            _ => None,
        })
        .collect();
    orders.sort();
    orders.dedup();
    assert_eq!(orders.len(), 5);
}

#[test]
fn compression_changes_nothing() {
    let Some(path) = shared("compression_changes_nothing", "cdnow_sample.csv.zst") else {
        return;
    };
    let mapping = mapping("cdnow_sample.toml");
    let expected = events(&mapping, &path);
    let folder = tempfile::tempdir().unwrap();
    let mut plain = Vec::new();
    let packed = std::fs::File::open(&path).unwrap();
    zstd::Decoder::new(packed)
        .unwrap()
        .read_to_end(&mut plain)
        .unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &plain).unwrap();
    // The names say something else than the bytes: the bytes count.
    for (name, bytes) in [("a.csv.zst", plain), ("b.csv", gzip.finish().unwrap())] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(events(&mapping, &path), expected, "{name}");
    }
}
