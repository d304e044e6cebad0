//! Inputs topic by topic: what becomes of each kind of record, of own topics and mapped ones.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::types::Value as Avro;
use domain::time::TimeMs;
use proptest::prelude::*;
use serde_json::json;
use wire::mapping::{Mapping, Row};
use wire::{Decoded, Decoder, InputRecord, InputRules, Inputs, SchemaSet, currency_by_code};

/// 2024-01-02T00:00:00Z.
const NOW: TimeMs = TimeMs(1_704_153_600_000);

/// Carts of a foreign shop: one event per line, and one for the coupon.
const CARTS: &str = r#"
format = "json"
[[event]]
type = "product_added"
for_each = "lines"
when = { gift = { not_equals = true } }
[event.fields]
event_time = "{at}"
anonymous_id = "{$parent.visitor}"
product_id = "{sku}"
[[event]]
type = "page_viewed"
when = { page = { empty = false } }
[event.fields]
event_time = "{at}"
anonymous_id = "{visitor}"
url = "{page}"
"#;

/// An `orders` table behind Debezium, in Avro.
const ORDERS: &str = r#"
format = "json"
[json]
envelope = "debezium"
[[event]]
type = "order_completed"
when = { status = "paid" }
[event.fields]
event_time = "{paid_at}"
customer_id = "{customer_id}"
order_id = "{id}"
total = "{total}"
[[event]]
type = "order_cancelled"
operations = ["delete"]
[event.fields]
event_time = { time = "{$ts_ms}", format = "epoch_ms" }
order_id = "{$key}"
"#;

const ENVELOPE: &str = r#"{
  "type": "record", "name": "Envelope", "namespace": "erp.public.orders", "fields": [
    {"name": "before", "default": null, "type": ["null", {"type": "record", "name": "Value", "fields": [
      {"name": "id", "type": "long"},
      {"name": "customer_id", "type": ["null", "string"]},
      {"name": "status", "type": "string"},
      {"name": "paid_at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
      {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}}
    ]}]},
    {"name": "after", "default": null, "type": ["null", "Value"]},
    {"name": "op", "type": "string"},
    {"name": "ts_ms", "type": ["null", "long"]}
  ]}"#;

const ENVELOPE_ID: u32 = 7_001;

fn mapping(text: &str) -> Arc<Mapping> {
    match Mapping::parse("m.toml", text) {
        Ok(mapping) => Arc::new(mapping),
        Err(problems) => panic!("{problems:?}"),
    }
}

fn decoder() -> Decoder {
    let rules = InputRules::new(currency_by_code("EUR", None).unwrap());
    let extra = vec![(ENVELOPE_ID, ENVELOPE.to_owned())];
    Decoder::new(rules, &SchemaSet::with_extra(extra).unwrap()).unwrap()
}

fn inputs() -> Inputs {
    let mapped = BTreeMap::from([
        ("erp.carts".to_owned(), mapping(CARTS)),
        ("erp.orders".to_owned(), mapping(ORDERS)),
    ]);
    Inputs::new(decoder(), mapped).unwrap()
}

fn decode(inputs: &Inputs, topic: &str, value: Option<&[u8]>) -> Decoded {
    inputs.decode(&InputRecord {
        topic,
        partition: 2,
        offset: 7,
        timestamp: NOW,
        key: Some(b"k-1"),
        value,
    })
}

/// What a record is, in a line: its events' types and ids, and what was rejected.
fn told(decoded: Decoded) -> String {
    let (events, rejection) = match decoded {
        Decoded::Ignored => return "ignored".to_owned(),
        Decoded::Event(event) => (vec![*event], None),
        Decoded::Several(events, rejection) => {
            assert!(events.len() + usize::from(rejection.is_some()) > 1);
            (events, rejection)
        }
        Decoded::Rejected(rejection) => (Vec::new(), Some(rejection)),
    };
    let events = events
        .iter()
        .map(|event| format!("{} {}", event.body.type_name(), event.id));
    let rejections = rejection.iter().map(|rejection| {
        let more = rejection.message.split(" (the first").nth(1);
        format!("{}{}", rejection.class, more.unwrap_or_default())
    });
    events.chain(rejections).collect::<Vec<_>>().join(", ")
}

#[test]
fn what_becomes_of_a_record() {
    let inputs = inputs();
    let line = |sku: &str, at: &str| format!("{{\"sku\":{sku},\"at\":{at}}}");
    let (a, b, bad) = (
        line("\"a\"", "\"2024-01-01T10:00:00Z\""),
        line("\"b\"", "\"2024-01-01T09:00:00Z\""),
        line("\"c\"", "\"yesterday\""),
    );
    let gift = "{\"gift\":true}";
    let cart = |lines: &[&str]| {
        let lines = lines.join(",");
        format!("{{\"visitor\":\"v\",\"lines\":[{lines}]}}")
    };
    let own = "{\"type\":\"page_viewed\",\"event_id\":\"e\",\"event_time\":\"2024-01-01T00:00:00Z\",\
               \"anonymous_id\":\"v\"}";
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    let added = "product_added erp.carts:2:7:1";
    let cases: [(&str, Option<String>, String); 17] = [
        ("shop.clickstream", Some(own.into()), "page_viewed e".into()),
        ("shop.clickstream", None, "tombstone".into()),
        (
            "shop.clickstream",
            Some(cart(&[&a])),
            "missing_field".into(),
        ),
        ("erp.carts", Some(cart(&[&a])), format!("{added}:1")),
        (
            "erp.carts",
            Some(cart(&[&a, &b])),
            format!("{added}:2, {added}:1"),
        ),
        (
            "erp.carts",
            Some(cart(&[&a, gift, &bad, &b])),
            format!("{added}:4, {added}:1, time_malformed"),
        ),
        (
            "erp.carts",
            Some(cart(&[&bad, &a, &bad])),
            format!("{added}:2, time_malformed of 2 faults in this row)"),
        ),
        (
            "erp.carts",
            Some(cart(&[&bad, &bad, &bad])),
            "time_malformed of 3 faults in this row)".into(),
        ),
        (
            "erp.carts",
            Some("{\"visitor\":\"v\",\"page\":\"/\",\"at\":\"2024-01-01\"}".into()),
            "page_viewed erp.carts:2:7:2".into(),
        ),
        ("erp.carts", Some(cart(&[])), "ignored".into()),
        ("erp.carts", Some(cart(&[gift, gift])), "ignored".into()),
        ("erp.carts", Some("{}".into()), "ignored".into()),
        ("erp.carts", None, "ignored".into()),
        ("erp.carts", Some(String::new()), "empty_value".into()),
        ("erp.carts", Some("[1,2]".into()), "wrong_type".into()),
        ("erp.carts", Some(deep), "too_deep".into()),
        (
            "erp.carts",
            Some("\0\0\0\u{27}\u{f}".into()),
            "unknown_schema".into(),
        ),
    ];
    for (topic, value, expected) in cases {
        let value = value.as_deref();
        let decoded = decode(&inputs, topic, value.map(str::as_bytes));
        assert_eq!(told(decoded), expected, "{topic} {value:?}");
    }
}

fn row(status: &str) -> Avro {
    Avro::Union(
        1,
        Box::new(Avro::Record(vec![
            ("id".into(), Avro::Long(17)),
            (
                "customer_id".into(),
                Avro::Union(1, Box::new(Avro::String("c-1".into()))),
            ),
            ("status".into(), Avro::String(status.into())),
            (
                "paid_at".into(),
                Avro::Union(1, Box::new(Avro::TimestampMicros(1_704_103_200_123_456))),
            ),
            (
                "total".into(),
                Avro::Decimal(apache_avro::Decimal::from(1_999_i32.to_be_bytes())),
            ),
        ])),
    )
}

fn change(op: &str, before: Option<Avro>, after: Option<Avro>) -> Vec<u8> {
    let none = || Avro::Union(0, Box::new(Avro::Null));
    let event = Avro::Record(vec![
        ("before".into(), before.unwrap_or_else(none)),
        ("after".into(), after.unwrap_or_else(none)),
        ("op".into(), Avro::String(op.into())),
        (
            "ts_ms".into(),
            Avro::Union(1, Box::new(Avro::Long(1_704_110_400_000))),
        ),
    ]);
    framed(ENVELOPE, event)
}

/// `value` in Confluent's wire format.
fn framed(schema: &str, value: Avro) -> Vec<u8> {
    let schema = Schema::parse_str(schema).unwrap();
    let mut bytes = vec![0];
    bytes.extend(ENVELOPE_ID.to_be_bytes());
    let writer = apache_avro::writer::datum::GenericDatumWriter::builder(&schema).build();
    bytes.extend(writer.unwrap().write_value_to_vec(value).unwrap());
    bytes
}

#[test]
fn avro_change_events_become_orders() {
    let inputs = inputs();
    let of = |bytes: &[u8]| decode(&inputs, "erp.orders", Some(bytes));
    let Decoded::Event(order) = of(&change("u", Some(row("new")), Some(row("paid")))) else {
        panic!("one event");
    };
    assert_eq!(order.time.to_string(), "2024-01-01T10:00:00.123Z");
    let domain::event::Body::OrderCompleted(fact) = &order.body else {
        panic!("an order");
    };
    assert_eq!(
        (fact.order_id.as_str(), order.id.as_str()),
        ("17", "erp.orders:2:7:1")
    );
    let cases = [
        (change("c", None, Some(row("new"))), "ignored"),
        (
            change("d", Some(row("paid")), None),
            "order_cancelled erp.orders:2:7:2",
        ),
        (change("t", None, None), "ignored"),
        (change("u", None, None), "mapping_failed"),
        (change("x", None, Some(row("paid"))), "mapping_failed"),
    ];
    for (bytes, expected) in cases {
        assert_eq!(told(of(&bytes)), expected);
    }
    let whole = change("c", None, Some(row("paid")));
    for cut in 5..whole.len() {
        assert_eq!(told(of(&whole[..cut])), "truncated", "cut at {cut}");
    }
}

/// The first block in `language` below `heading` of the reference.
fn documented(heading: &str, language: &str) -> String {
    let path = format!("{}/../../docs/mappings.md", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(path).unwrap();
    let section = page.split_once(&format!("\n{heading}\n")).unwrap().1;
    let block = section.split_once(&format!("```{language}\n")).unwrap().1;
    block.split_once("\n```").unwrap().0.to_owned()
}

#[test]
fn the_examples_of_live_topics_are_as_the_reference_says() {
    let debezium = mapping(&documented("## Change events (Debezium)", "toml"));
    let change = documented("### Example: a table by Debezium, in JSON", "json");
    let avro = "### Example: records in Avro";
    let schema = documented(avro, "json");
    let carts = mapping(&documented(avro, "toml"));
    let mapped = BTreeMap::from([
        ("erp.public.orders".to_owned(), debezium),
        ("web.carts".to_owned(), carts),
    ]);
    let rules = InputRules::new(currency_by_code("EUR", None).unwrap());
    let extra = vec![(ENVELOPE_ID, schema.clone())];
    let decoder = Decoder::new(rules, &SchemaSet::with_extra(extra).unwrap()).unwrap();
    let inputs = Inputs::new(decoder, mapped).unwrap();

    let later = |topic, value: &[u8]| {
        inputs.decode(&InputRecord {
            topic,
            partition: 2,
            offset: 7,
            timestamp: NOW.plus(365 * domain::time::DAY_MS),
            key: None,
            value: Some(value),
        })
    };
    let order = "order_completed erp.public.orders:2:7:1";
    assert_eq!(told(later("erp.public.orders", change.as_bytes())), order);
    let wrapped = format!("{{\"schema\": {{}}, \"payload\": {change}}}");
    assert_eq!(told(later("erp.public.orders", wrapped.as_bytes())), order);

    let item = |sku: &str, pieces| {
        Avro::Record(vec![
            ("sku".into(), Avro::String(sku.into())),
            ("pieces".into(), Avro::Int(pieces)),
            (
                "price".into(),
                Avro::Decimal(apache_avro::Decimal::from(1_999_i32.to_be_bytes())),
            ),
        ])
    };
    let cart = Avro::Record(vec![
        ("visitor".into(), Avro::String("v".into())),
        ("customer".into(), Avro::Union(0, Box::new(Avro::Null))),
        ("at".into(), Avro::TimestampMillis(NOW.0)),
        (
            "added".into(),
            Avro::Array(vec![item("a", 1), item("b", 2)]),
        ),
    ]);
    let Decoded::Several(events, None) = later("web.carts", &framed(&schema, cart)) else {
        panic!("two events");
    };
    assert!(
        events
            .iter()
            .all(|event| event.time == NOW && event.customer_id.is_none())
    );
    let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["web.carts:2:7:1", "web.carts:2:7:2"]);
}

#[test]
fn a_mapping_that_is_not_for_topics_is_refused() {
    let event = "[[event]]\ntype = \"page_viewed\"\n[event.fields]\nevent_time = \"{at}\"\n";
    let cases = [
        (
            format!("format = \"json\"\n{event}customer_id = \"{{c}}\"\n"),
            vec![],
        ),
        (
            format!("format = \"csv\"\n{event}customer_id = \"{{c}}\"\n"),
            vec!["m.toml:1:1: `format = \"csv\"` is for files"],
        ),
        (
            format!(
                "format = \"json\"\n{event}customer_id = \"{{c}}\"\nevent_id = \"{{$file}}:{{$row}}\"\n"
            ),
            vec![
                "m.toml:7:12: `$file` exists only in files",
                "m.toml:7:12: `$row` exists only",
            ],
        ),
        (
            format!(
                "format = \"json\"\n[money]\ncurrency = \"USD\"\n{event}customer_id = \"{{c}}\"\n"
            ),
            vec![
                "m.toml:3:12: the mapping's amounts are in USD with 2 decimals, those of the shop in EUR",
            ],
        ),
        (
            format!(
                "format = \"json\"\n[money]\ncurrency = \"EUR\"\n{event}customer_id = \"{{c}}\"\n"
            ),
            vec![],
        ),
    ];
    for (text, expected) in cases {
        let mapped = BTreeMap::from([("erp.x".to_owned(), mapping(&text))]);
        let problems = match Inputs::new(decoder(), mapped) {
            Ok(_) => Vec::new(),
            Err(error) => {
                assert_eq!(error.topic, "erp.x");
                error.problems
            }
        };
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, expected) in problems.iter().zip(expected) {
            let problem = problem.to_string();
            assert!(problem.starts_with(expected), "{problem}");
        }
    }
}

#[test]
fn what_one_record_costs_has_a_bound() {
    // Every element of a list with every element of the list: 10¹⁰ lines if nothing stopped it.
    let text = "format = \"json\"\n[[event]]\ntype = \"order_completed\"\nfor_each = \"n\"\n\
                [event.fields]\nevent_time = \"{$record_time}\"\norder_id = \"{$item}\"\n\
                products = { each = \"$parent.n\", line = { product_id = \"p\", price = 1 } }\n";
    let mapped = BTreeMap::from([("erp.x".to_owned(), mapping(text))]);
    let inputs = Inputs::new(decoder(), mapped).unwrap();
    let value = |n: usize| json!({ "n": vec![0; n] }).to_string();
    let told_of = |n: usize| told(decode(&inputs, "erp.x", Some(value(n).as_bytes())));
    assert_eq!(
        told_of(2),
        "order_completed erp.x:2:7:1, order_completed erp.x:2:7:2"
    );
    let many = told_of(1_000);
    assert!(
        many.starts_with("order_completed erp.x:2:7:1, "),
        "{many:.60}"
    );
    assert!(many.ends_with(", too_many_lines of 901 faults in this row)"));
    assert_eq!(told_of(100_001), "too_many_lines");
}

#[test]
fn fields_that_nothing_reads_are_found() {
    let json = json!({
        "at": "2024-01-01", "visitor": "v", "page": "/", "referrer": "r", "null": null,
        "lines": [{"sku": "a", "colour": "red"}], "tags": ["a"],
        "device": {"os": "x", "screen": {"w": 1}}, "empty": {},
    });
    let envelope = json!({
        "op": "u", "source": {"db": "erp"},
        "before": {"id": 17, "status": "new", "note": "n"},
        "after": {"id": 17, "status": "paid", "paid_at": "t", "total": "1", "note": "n"},
    });
    let columns = "format = \"csv\"\n[[event]]\ntype = \"page_viewed\"\n[event.fields]\n\
                   event_time = \"{a.b}\"\ncustomer_id = \"{c}\"\n";
    let names: Vec<String> = ["a.b", "c", "d", "e"].map(str::to_owned).to_vec();
    let values = ["1", "2", "3", ""];
    let row = Row::Columns {
        names: &names,
        values: &values,
    };
    let cases: [(&str, Row<'_>, &[&str]); 3] = [
        (
            CARTS,
            Row::Json(&json),
            &["device.os", "device.screen.w", "referrer", "tags"],
        ),
        (ORDERS, Row::Json(&envelope), &["note"]),
        (columns, row, &["d"]),
    ];
    for (text, row, expected) in cases {
        let mut unread = Vec::new();
        mapping(text).unread_fields(&row, &mut |path| unread.push(path.to_owned()));
        unread.sort();
        assert_eq!(unread, expected, "{text}");
    }
}

proptest! {
    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), framed: bool) {
        let mut value = Vec::new();
        if framed {
            value.push(0);
            value.extend(ENVELOPE_ID.to_be_bytes());
        }
        value.extend(bytes);
        let inputs = inputs();
        for topic in ["erp.carts", "erp.orders"] {
            let first = decode(&inputs, topic, Some(&value));
            prop_assert_eq!(&first, &decode(&inputs, topic, Some(&value)));
        }
    }
}
