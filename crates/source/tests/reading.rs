//! What becomes of bad rows, odd files and files that end too early.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it skips, in its helpers too"
)]

use std::io::{Cursor, Write};
use std::sync::Arc;

use domain::time::TimeMs;
use proptest::prelude::*;
use source::{Content, RowReader, SourceError, TopicRecord, mapping_check, render, topic_check};
use wire::mapping::{MappedTopic, Mapping};
use wire::{Decoder, InputRules, SchemaSet, currency_by_code};

const NOW: TimeMs = TimeMs(1_800_000_000_000);

const CSV: &str = r#"
format = "csv"
[[event]]
type = "order_completed"
[event.fields]
event_time = "{at}"
customer_id = "{who}"
order_id = "{order}"
total = "{total}"
"#;

const JSON: &str = r#"
format = "jsonl"
[[event]]
type = "order_completed"
when = { kind = "order" }
[event.fields]
event_time = "{at}"
customer_id = "{who}"
order_id = "{order}"
total = "{total}"
"#;

fn mapping(text: &str) -> Mapping {
    Mapping::parse("test.toml", text).unwrap()
}

fn rules() -> InputRules {
    InputRules::new(currency_by_code("USD", None).unwrap())
}

fn open(text: &str, bytes: &[u8]) -> Result<RowReader, SourceError> {
    RowReader::from_input("test.csv", Cursor::new(bytes.to_vec()), &mapping(text))
}

/// One line per row: its number, its line, and its values or the class of its rejection.
fn rows(text: &str, bytes: &[u8]) -> Vec<String> {
    open(text, bytes)
        .unwrap()
        .map(|row| match row {
            Err(error) => error.to_string(),
            Ok(row) => {
                let content = match row.content {
                    Content::Columns(values) => values.join("|"),
                    Content::Json(value) => value.to_string(),
                    Content::Rejected(rejection) => rejection.class.to_string(),
                };
                format!("{}@{} {content}", row.row, row.line)
            }
        })
        .collect()
}

#[test]
fn a_bad_csv_row_costs_that_row_only() {
    let header = "at,who,order,total\n";
    let cases: [(&str, &[u8], &[&str]); 9] = [
        (
            "too few",
            b"1,2,3\na,b,c,d\n",
            &["1@2 malformed_row", "2@3 a|b|c|d"],
        ),
        (
            "too many",
            b"1,2,3,4,5\na,b,c,d\n",
            &["1@2 malformed_row", "2@3 a|b|c|d"],
        ),
        (
            "no utf-8",
            b"\xff,2,3,4\na,b,c,d",
            &["1@2 not_utf8", "2@3 a|b|c|d"],
        ),
        ("empty lines", b"\n\r\na,b,c,d\r\n\n", &["1@4 a|b|c|d"]),
        (
            "quoted",
            b"\"x,\"\"y\"\"\n z\",b,c,d\ne,f,g,h\n",
            &["1@2 x,\"y\"\n z|b|c|d", "2@4 e|f|g|h"],
        ),
        ("a quote inside", b"x\"y,b,c,\"\"\n", &["1@2 x\"y|b|c|"]),
        (
            "a quote that stays open",
            b"a,\"b,c,d\ne,f,g,h\ni,j,k,l\n",
            &["1@2 malformed_row", "2@3 e|f|g|h", "3@4 i|j|k|l"],
        ),
        (
            "a quote that a later row closes",
            b"a,\"b,c,d\ne,f,\"g\",h\ni,j,k,l\n",
            &["1@2 malformed_row", "2@3 e|f|g|h", "3@4 i|j|k|l"],
        ),
        (
            "text after a quote",
            b"a,\"b\"x,c,d\ne,f,g,h\n",
            &["1@2 malformed_row", "2@3 e|f|g|h"],
        ),
    ];
    for (name, body, expected) in cases {
        let bytes = [header.as_bytes(), body].concat();
        assert_eq!(rows(CSV, &bytes), expected, "{name}");
    }
}

#[test]
fn a_bad_json_line_costs_that_line_only() {
    let body = b"{\"a\":1}\n{\"a\":\n\n\xff\n[1]\n{\"a\":1}{}\n{\"a\":2}";
    let expected = [
        "1@1 {\"a\":1}",
        "2@2 not_json",
        "3@4 not_utf8",
        "4@5 [1]",
        "5@6 not_json",
        "6@7 {\"a\":2}",
    ];
    assert_eq!(rows(JSON, body), expected);
}

#[test]
fn an_overlong_line_is_one_rejected_row() {
    let mut bytes = b"at,who,order,total\n1,2,3,4\n".to_vec();
    bytes.extend(std::iter::repeat_n(b'x', 11 * 1024 * 1024));
    bytes.extend(b"\n5,6,7,8\n");
    assert_eq!(
        rows(CSV, &bytes),
        ["1@2 1|2|3|4", "2@3 too_large", "3@4 5|6|7|8"]
    );
    let long = open(CSV, &bytes).unwrap().nth(1).unwrap().unwrap();
    assert_eq!(long.raw.len(), 64 * 1024);
}

#[test]
fn rows_keep_their_bytes() {
    let bytes = b"\xef\xbb\xbfat,who,order,total\r\n1,\"2\r\n2\",3,4\r\nbad\xff\r\n";
    let raw: Vec<Vec<u8>> = open(CSV, bytes).unwrap().map(|r| r.unwrap().raw).collect();
    assert_eq!(raw, [&b"1,\"2\r\n2\",3,4"[..], b"bad\xff"]);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[test]
fn a_truncated_file_is_an_error_after_its_good_rows() {
    let mut plain = b"at,who,order,total\n".to_vec();
    for n in 0..50_000_u64 {
        let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        plain.extend(format!("2024-01-01,{scattered},{n},1\n").bytes());
    }
    for packed in [gzip(&plain), zstd::encode_all(&plain[..], 3).unwrap()] {
        let complete: Vec<_> = open(CSV, &packed).unwrap().map(Result::unwrap).collect();
        assert_eq!(complete.len(), 50_000);
        let cut = &packed[..packed.len() * 2 / 3];
        let mut good = 0;
        let mut error = None;
        for row in open(CSV, cut).unwrap() {
            match row {
                Ok(row) => {
                    assert!(error.is_none());
                    assert_eq!(row, complete[good]);
                    good += 1;
                }
                Err(found) => error = Some(found.to_string()),
            }
        }
        assert!(good > 10_000, "{good}");
        let error = error.unwrap();
        assert!(
            error.contains("truncated") && error.contains(&good.to_string()),
            "{error}"
        );
    }
}

#[test]
fn an_open_quote_before_a_truncated_end_costs_no_good_row() {
    let mut plain = b"at,who,order,total\na,\"b,c,d\n".to_vec();
    for n in 0..5_000_u64 {
        let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        plain.extend(format!("1,{scattered},{n},1\n").bytes());
    }
    let packed = gzip(&plain);
    let found = rows(CSV, &packed[..packed.len() / 2]);
    let (last, good) = found.split_last().unwrap();
    assert!(last.contains("truncated"), "{last}");
    assert_eq!(good[0], "1@2 malformed_row");
    assert!(good.len() > 1_000, "{}", good.len());
    assert!(good[1..].iter().all(|row| row.ends_with("|1")));
}

#[test]
fn two_packed_files_one_after_the_other_are_one() {
    let (first, second) = (b"at,who,order,total\n1,2,3,4\n", b"5,6,7,8\n");
    let expected = ["1@2 1|2|3|4", "2@3 5|6|7|8"];
    assert_eq!(rows(CSV, &[gzip(first), gzip(second)].concat()), expected);
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    assert_eq!(rows(CSV, &[zstd(first), zstd(second)].concat()), expected);
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let cases: [(&[u8], &str); 7] = [
        (b"", "empty"),
        (b"PK\x03\x04rest", "zip"),
        (b"BZh91AY", "bzip2"),
        (b"\xff\xfea\0t\0", "UTF-16"),
        (b"at,who,who,total\n", "two columns are named `who`"),
        (
            b"at,whom,order,total\n",
            "test.toml:7:15: unknown column of the file: `who`; did you mean `whom`?",
        ),
        (b"at;who;order;total\n", "unknown column"),
    ];
    for (bytes, expected) in cases {
        let error = open(CSV, bytes).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let missing = RowReader::open(std::path::Path::new("no/such.csv"), &mapping(CSV));
    assert!(matches!(missing, Err(SourceError::Open { .. })));
}

#[test]
fn whitespace_and_other_delimiters() {
    let with = |csv: &str| CSV.replace("[[event]]", &format!("[csv]\n{csv}\n[[event]]"));
    let whitespace = with("delimiter = \"whitespace\"");
    assert_eq!(
        rows(
            &whitespace,
            b" at  who order\ttotal\r\n 1 2  3 \"4 \n1 2 3\n"
        ),
        ["1@2 1|2|3|\"4", "2@3 malformed_row"]
    );
    let named = with(
        "header = false\ndelimiter = \";\"\nquote = \"'\"\ncolumns = [\"at\", \"who\", \"order\", \"total\"]",
    );
    assert_eq!(rows(&named, b"1;'2;2';3;\"\n"), ["1@1 1|2;2|3|\""]);
    let renamed = with("columns = [\"at\", \"who\", \"order\", \"total\"]");
    assert_eq!(rows(&renamed, b"a,b,c,d\n1,2,3,4\n"), ["1@2 1|2|3|4"]);
    assert!(open(&renamed, b"a,b,c\n").is_err());
    let tabs = with("delimiter = \"tab\"");
    assert_eq!(
        rows(&tabs, b"at\twho\torder\ttotal\n1,0\t2\t\t4\n"),
        ["1@2 1,0|2||4"]
    );
}

fn checked(limit: Option<u64>) -> source::MappingCheck {
    let lines = [
        r#"{"kind":"order","at":"2024-01-01","who":"a","order":"1","total":"12.50"}"#,
        r#"{"kind":"visit"}"#,
        r#"{"kind":"order","at":"soon","who":"secret-name","order":"2","total":"1"}"#,
        "{",
        r#"{"kind":"order","at":"2024-01-02","who":"b","order":3,"total":0.1}"#,
    ];
    let mapping = mapping(JSON);
    let input = Cursor::new(lines.join("\n").into_bytes());
    let reader = RowReader::from_input("test.jsonl", input, &mapping).unwrap();
    mapping_check(&mapping, reader, &rules(), NOW, limit)
}

#[test]
fn a_check_counts_every_outcome_and_shows_the_first() {
    let check = checked(None);
    let counts = (
        check.rows,
        check.mapped_rows,
        check.ignored_rows,
        check.rejected_rows,
    );
    assert_eq!(counts, (5, 2, 1, 2));
    assert!(check.complete && !check.is_clean());
    let classes: Vec<(&str, u64)> = check
        .rejections_by_class
        .iter()
        .map(|(c, n)| (c.as_str(), *n))
        .collect();
    assert_eq!(classes, [("not_json", 1), ("time_malformed", 1)]);
    assert_eq!(check.mapped[0].event["total"], "12.5");
    assert_eq!(check.mapped[1].event["total"], "0.1");
    assert!(!check.rejected[0].message.contains("secret-name"));
    let first = checked(Some(2));
    assert_eq!((first.rows, first.complete), (2, false));
}

#[test]
fn a_check_is_shown_as_tables_and_as_json() {
    let check = checked(None);
    let mut out = Vec::new();
    render(&check, false, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    for expected in [
        "test.jsonl (whole file)",
        "orders/order_completed",
        "row 1  orders  order_completed",
        "event_time=2024-01-01T00:00:00.000Z",
        "row 3 (line 3)  time_malformed",
        "event 1 (order_completed), event_time: the value is no time in the mapping's format",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    let mut out = Vec::new();
    render(&check, true, &mut out).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(json["events"], 2);
    assert_eq!(json["file"], "test.jsonl");
    assert_eq!(json["rejected"][1]["class"], "not_json");
    assert_eq!(json["rejected"][1]["line"], 4);
}

/// What the mapping of the test above makes of the records of a topic.
fn topic_checked(limit: Option<u64>, broken: bool) -> source::MappingCheck {
    let values = [
        Some(
            r#"{"kind":"order","at":"2024-01-01","who":"a","order":"1","total":"1","new":{"x":1}}"#,
        ),
        Some(r#"{"kind":"visit","who":"b","new":{"x":2,"y":3},"old":null}"#),
        None,
        Some(r#"{"kind":"order","at":"soon","who":"c","order":"2","total":"1"}"#),
        Some("{"),
    ];
    let records = (0..).zip(values).map(|(offset, value)| {
        Ok(TopicRecord {
            partition: 3,
            offset,
            timestamp: NOW,
            key: None,
            value: value.map(|text| text.as_bytes().to_vec()),
        })
    });
    let mapped = MappedTopic::new(Arc::new(mapping(JSON)), &rules());
    let decoder = Decoder::new(rules(), &SchemaSet::embedded().unwrap()).unwrap();
    let end = broken.then_some(Err("the broker is away"));
    topic_check(&mapped, "erp.orders", records.chain(end), &decoder, limit)
}

#[test]
fn a_topic_is_checked_like_a_file() {
    let check = topic_checked(None, false);
    let counts = (
        check.rows,
        check.mapped_rows,
        check.ignored_rows,
        check.rejected_rows,
    );
    assert_eq!(counts, (5, 1, 2, 2));
    assert!(check.complete && !check.is_clean());
    let unread: Vec<(&str, u64)> = check
        .unread_fields
        .iter()
        .map(|(name, rows)| (name.as_str(), *rows))
        .collect();
    assert_eq!(unread, [("new.x", 2), ("new.y", 1)]);
    assert_eq!(check.mapped[0].event["event_id"], "erp.orders:3:0");
    assert!(topic_checked(Some(3), true).is_clean());
    let broken = topic_checked(None, true);
    assert_eq!(broken.error.as_deref(), Some("the broker is away"));
    assert!(!broken.complete && !broken.is_clean());

    let mut out = Vec::new();
    render(&check, false, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    for expected in [
        "erp.orders (to its end)",
        "record 3:0  order_completed",
        "record 3:3  time_malformed",
        "Fields that the mapping does not name\n  new.x  in 2 rows\n  new.y  in 1 rows",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    let mut out = Vec::new();
    render(&check, true, &mut out).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(
        (&json["topic"], &json["file"]),
        (&"erp.orders".into(), &serde_json::Value::Null)
    );
    assert_eq!(json["rejected"][0]["offset"], 3);
}

proptest! {
    /// Whatever stands between good rows, each good row after a line's end comes out, and no byte
    /// stops the reading.
    #[test]
    fn no_bytes_stop_the_reading(junk in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = b"at,who,order,total\n".to_vec();
        // No line's end of its own, and no quote: what a quoted value takes in is its own test.
        bytes.extend(junk.iter().filter(|b| !b"\n\"".contains(b)));
        bytes.extend(b"\nA,B,C,D\n");
        let last = open(CSV, &bytes).unwrap().last().unwrap().unwrap();
        let good: Vec<String> = ["A", "B", "C", "D"].map(str::to_owned).into();
        prop_assert_eq!(last.content, Content::Columns(good));
    }

    #[test]
    fn any_bytes_end(junk in proptest::collection::vec(any::<u8>(), 0..300)) {
        let bytes = [b"at,who,order,total\n", &junk[..]].concat();
        let rows: Vec<_> = open(CSV, &bytes).unwrap().collect();
        let lines = junk.split(|b| *b == b'\n').count();
        prop_assert!(rows.len() <= lines);
        prop_assert!(rows.iter().all(Result::is_ok));
    }
}
