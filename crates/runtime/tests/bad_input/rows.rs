//! Rows of files that cannot be read or mapped, between good ones.

use std::path::Path;

use domain::time::DAY_MS;
use runtime::Deployment;
use runtime::load::{Delivery, Files, Loaded, load};
use runtime::workers::Shared;
use wire::mapping::Mapping;

use crate::support::{TestResult, instant, process, rows};
use crate::{RECORD_TIME, dead_letters, headers, open};

/// What is expected of a row: `Ok`, or its class and a part of the message.
type Expected = Result<(), (&'static str, &'static str)>;

const ORDERS: &str = r#"
format = "csv"

[time]
format = "%Y-%m-%d %H:%M:%S"

[[event]]
type = "order_completed"

[event.fields]
event_time = "{placed}"
customer_id = "{customer}"
order_id = "{order}"
total = "{total}"
channel = { lookup = "{source}", in = { w = "web", s = "shop" } }
"#;

const HEADER: &[u8] = b"order,customer,placed,total,source";

/// Bad rows; a good one is put after each.
fn orders() -> Vec<(Vec<u8>, Expected)> {
    let long = format!("18,{},2024-03-01 10:00:00,20.00,w", "erika".repeat(60));
    let bad: [(&[u8], (&str, &str)); 18] = [
        (b"1,erika", ("malformed_row", "2 values")),
        (
            b"2,erika,2024-03-01 10:00:00,1,000.00,w",
            ("malformed_row", "6 values"),
        ),
        (
            b"3,\"erika,2024-03-01 10:00:00,20.00,w",
            ("malformed_row", "quote"),
        ),
        (
            b"4,\"er\"ika,2024-03-01 10:00:00,20.00,w",
            ("malformed_row", "closing quote"),
        ),
        (
            b"5,erik\xe4,2024-03-01 10:00:00,20.00,w",
            ("not_utf8", "iconv"),
        ),
        (
            b"6,erika,01/03/2024,20.00,w",
            ("time_malformed", "event_time"),
        ),
        (
            b"7,erika,1970-01-01 00:00:00,20.00,w",
            ("event_time_before_limit", "1990"),
        ),
        (
            b"8,erika,2999-01-01 00:00:00,20.00,w",
            ("event_time_in_future", "2999"),
        ),
        (
            b"9,erika,2024-03-01 10:00:00,twenty,w",
            ("amount_malformed", "total"),
        ),
        (
            b"10,erika,2024-03-01 10:00:00,19.999,w",
            ("amount_precision", "3 decimals"),
        ),
        (
            b"11,erika,2024-03-01 10:00:00,1000000000000000,w",
            ("amount_out_of_range", "1000000000.00"),
        ),
        (
            b"12,erika,2024-03-01 10:00:00,-5,w",
            ("amount_negative", "total"),
        ),
        (
            b",erika,2024-03-01 10:00:00,20.00,w",
            ("missing_field", "order_id"),
        ),
        (b"14,erika,,20.00,w", ("missing_field", "event_time")),
        (
            b"15,erika,2024-03-01 10:00:00,,w",
            ("missing_field", "no value"),
        ),
        (
            b"16,anon:erika,2024-03-01 10:00:00,20.00,w",
            ("reserved_key_prefix", "anon:"),
        ),
        (
            b"17,erika,2024-03-01 10:00:00,20.00,erika",
            ("mapping_failed", "lookup"),
        ),
        (long.as_bytes(), ("id_too_long", "256")),
    ];
    let mut all = Vec::new();
    for (number, (row, why)) in bad.into_iter().enumerate() {
        all.push((row.to_vec(), Err(why)));
        let good = format!(
            "g{number},c{},2024-03-{:02} 10:00:00,20.50,s",
            number % 5,
            number + 1
        );
        all.push((good.into_bytes(), Ok(())));
    }
    all
}

const VISITS: &str = r#"
format = "jsonl"

[time]
format = "epoch_ms"

[[event]]
type = "product_viewed"
for_each = "events"

[event.fields]
event_time = "{ts}"
customer_id = "{$parent.who}"
product_id = "{sku}"
price = "{price}"
"#;

fn visits() -> Vec<(Vec<u8>, Expected)> {
    const GOOD: &str = r#"{"ts": 1709290000000, "sku": "a", "price": 1}"#;
    const LATER: &str = r#"{"ts": 1709290060000, "sku": "b", "price": "2.50"}"#;
    let row = |who: &str, events: &[&str]| {
        let events = events.join(",");
        format!(r#"{{"who": "{who}", "events": [{events}]}}"#).into_bytes()
    };
    let several = [
        GOOD,
        r#"{"ts": 1709290000000, "sku": "erika", "price": -1}"#,
        r#"{"ts": "soon", "sku": "a", "price": 1}"#,
        LATER,
        r#"{"ts": 1709290000000, "price": 1}"#,
    ];
    vec![
        (row("c1", &[GOOD, LATER]), Ok(())),
        (
            row("c2", &several),
            Err((
                "amount_negative",
                "price is negative: only amounts and quantities of lines may be (the first of 3 faults in this row)",
            )),
        ),
        (row("c3", &[GOOD, LATER]), Ok(())),
        (b"erika".to_vec(), Err(("not_json", "column 1"))),
        (row("c4", &[LATER]), Ok(())),
        (
            br#"{"who": "erika", "events": [{"ts": 17092"#.to_vec(),
            Err(("not_json", "column")),
        ),
        (row("c1", &[r#"{"ts": 1709299000000, "sku": "c"}"#]), Ok(())),
        (
            br#"{"who": "erika", "events": "none"}"#.to_vec(),
            Err(("wrong_type", "no list")),
        ),
        (row("c3", &[r#"{"ts": 1709299000000, "sku": "c"}"#]), Ok(())),
        (b"[\"erika\"]".to_vec(), Err(("wrong_type", "object"))),
        (row("c5", &[GOOD]), Ok(())),
    ]
}

/// The row of [`visits`] with several faults, with its good events only.
fn repaired() -> Vec<u8> {
    br#"{"who": "c2", "events": [{"ts": 1709290000000, "sku": "a", "price": 1}, {"ts": 1709290060000, "sku": "b", "price": "2.50"}]}"#.to_vec()
}

fn write(path: &Path, header: Option<&[u8]>, rows: &[Vec<u8>]) -> TestResult {
    let lines: Vec<&[u8]> = header
        .into_iter()
        .chain(rows.iter().map(Vec::as_slice))
        .collect();
    let mut bytes = lines.join(b"\n".as_slice());
    bytes.push(b'\n');
    Ok(std::fs::write(path, bytes)?)
}

fn load_file(
    deployment: &Deployment,
    path: &Path,
    mapping: &Mapping,
    delivery: &Delivery,
) -> Result<Loaded, Box<dyn std::error::Error>> {
    let files = Files::open(&[path.to_owned()], mapping, delivery)?;
    let name = files.name.clone();
    let items = files.items(mapping, deployment, delivery);
    let shared = std::sync::Arc::new(Shared::default());
    Ok(load(
        deployment,
        &name,
        delivery,
        items,
        &shared,
        &mut |_| {},
    )?)
}

/// Every bad row must be one dead letter, and every good one loaded, however it is delivered.
fn check(
    file: &str,
    mapping: &str,
    header: Option<&[u8]>,
    rows_of_file: &[(Vec<u8>, Expected)],
    events: u64,
    clean: &[Vec<u8>],
) -> TestResult {
    let mapping = Mapping::parse("test.toml", mapping).expect("the mapping is right");
    let disordered = Delivery {
        seed: 7,
        shuffle_within_ms: DAY_MS,
        ..Delivery::PLAIN
    };
    for delivery in [Delivery::PLAIN, disordered] {
        let dir = tempfile::tempdir()?;
        let clean_path = dir.path().join(format!("clean-{file}"));
        write(&clean_path, header, clean)?;
        let without = open(&dir.path().join("clean"), &["partitions=4"]);
        let loaded = load_file(&without, &clean_path, &mapping, &delivery)?;
        assert_eq!((loaded.events, loaded.rejected), (events, 0));
        process(&without)?;

        let path = dir.path().join(file);
        let bytes: Vec<_> = rows_of_file
            .iter()
            .map(|(bytes, _)| bytes.clone())
            .collect();
        write(&path, header, &bytes)?;
        let bad = rows_of_file.iter().filter(|(_, e)| e.is_err()).count() as u64;
        let deployment = open(&dir.path().join("data"), &["partitions=4"]);
        let loaded = load_file(&deployment, &path, &mapping, &delivery)?;
        assert_eq!((loaded.events, loaded.rejected), (events, bad));
        let counts = process(&deployment)?;
        assert_eq!(counts.applied + counts.late, events, "{counts:?}");
        check_letters(&deployment, file, rows_of_file);
        let export = |deployment: &Deployment| -> Result<_, Box<dyn std::error::Error>> {
            rows(&deployment.open_all()?, instant(RECORD_TIME))
        };
        assert_eq!(export(&deployment)?, export(&without)?);

        // The same file again loads nothing.
        let again = load_file(&deployment, &path, &mapping, &delivery)?;
        assert_eq!((again.events, again.rejected), (0, 0));
        assert_eq!(process(&deployment)?, counts);
        check_letters(&deployment, file, rows_of_file);
    }
    Ok(())
}

fn check_letters(deployment: &Deployment, file: &str, rows_of_file: &[(Vec<u8>, Expected)]) {
    let mut letters = dead_letters(deployment);
    letters.sort_by_key(|letter| headers(letter)["clv_offset"].parse::<u64>().expect("a row"));
    let mut letters = letters.into_iter();
    for ((bytes, expected), row) in rows_of_file.iter().zip(1_u64..) {
        let Err((class, message)) = expected else {
            continue;
        };
        let letter = letters.next().expect("a dead letter for every bad row");
        let headers = headers(&letter);
        assert_eq!(headers["clv_error_class"], *class, "row {row}: {headers:?}");
        let found = &headers["clv_error_message"];
        assert!(found.contains(message), "row {row}: {found}");
        assert_eq!(headers["clv_topic"], file);
        assert_eq!(headers["clv_partition"], "0");
        assert_eq!(headers["clv_offset"], row.to_string());
        assert_eq!(letter.record.value.as_ref(), Some(bytes), "row {row}");
        assert_eq!(letter.record.key, None);
    }
    assert_eq!(letters.count(), 0);
}

#[test]
fn bad_rows_of_a_table_cost_nothing_but_themselves() -> TestResult {
    let rows = orders();
    let clean: Vec<_> = rows
        .iter()
        .filter(|(_, e)| e.is_ok())
        .map(|(b, _)| b.clone())
        .collect();
    check("orders.csv", ORDERS, Some(HEADER), &rows, 18, &clean)
}

#[test]
fn a_row_with_several_faults_is_one_dead_letter_and_its_good_events_count() -> TestResult {
    let rows = visits();
    let clean = rows
        .iter()
        .enumerate()
        .filter_map(|(at, (bytes, expected))| match at {
            1 => Some(repaired()),
            _ => expected.is_ok().then(|| bytes.clone()),
        });
    let clean: Vec<_> = clean.collect();
    check("visits.jsonl", VISITS, None, &rows, 10, &clean)
}
