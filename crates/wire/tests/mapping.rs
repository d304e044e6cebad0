//! Mapping files: what each says, and what is said of a wrong one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it skips, in its helpers too"
)]

use domain::time::TimeMs;
use serde_json::{Value, json};
use wire::mapping::{Mapping, Origin, Row, RowContext};
use wire::{InputRules, currency_by_code};

const NOW: TimeMs = TimeMs(1_800_000_000_000);

fn parse(text: &str) -> Mapping {
    Mapping::parse("m.toml", text).unwrap_or_else(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{}\nin\n{text}", lines.join("\n"))
    })
}

fn problems(text: &str) -> Vec<String> {
    match Mapping::parse("m.toml", text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn rules() -> InputRules {
    InputRules::new(currency_by_code("EUR", None).unwrap())
}

/// What `mapping` makes of `value` as record 7 of partition 2 of topic `foreign`.
fn apply(mapping: &Mapping, value: &Value) -> Vec<Result<Value, String>> {
    let context = RowContext {
        origin: Origin::Topic {
            topic: "foreign",
            partition: 2,
            offset: 7,
            key: Some(b"k-1"),
        },
        record_time: NOW,
    };
    let outcomes = mapping.apply(&Row::Json(value), &context, &rules());
    outcomes
        .into_iter()
        .map(|o| o.map(|m| m.json).map_err(|r| r.to_string()))
        .collect()
}

/// A mapping of one order with the field `total` made by `total`, and `extra` in front.
fn order(extra: &str, total: &str) -> String {
    format!(
        "format = \"json\"\n{extra}\n[[event]]\ntype = \"order_completed\"\n[event.fields]\n\
         event_time = \"{{at}}\"\norder_id = \"{{id}}\"\ntotal = {total}\n"
    )
}

#[test]
fn expressions_make_exact_values() {
    let row = json!({
        "at": "2024-01-01", "id": 1, "n": "3", "price": "0.07", "neg": "-12.340", "float": 0.1,
        "kind": "b", "null": null, "empty": "", "nested": {"x": 5, "list": [1, 2.5]}, "dotted.x": "9",
        "id17": "17850.0", "word": "many", "big": 1e20, "flag": true,
    });
    let cases: [(&str, Result<Value, &str>); 29] = [
        ("\"{n}\"", Ok(json!("3"))),
        ("\"{neg}\"", Err("amount_negative")),
        ("{ abs = \"{neg}\" }", Ok(json!("12.34"))),
        ("{ negate = \"{neg}\" }", Ok(json!("12.34"))),
        ("{ product = [\"{n}\", \"{price}\"] }", Ok(json!("0.21"))),
        ("{ product = [\"{n}\", \"{price}\", 100] }", Ok(json!("21"))),
        ("{ sum = [\"{float}\", 0.2] }", Ok(json!("0.3"))),
        (
            "{ sum = [\"{float}\", { negate = 0.05 }] }",
            Ok(json!("0.05")),
        ),
        ("{ round = 1.005, to = 2 }", Ok(json!("1.01"))),
        ("{ integer = \"{id17}\" }", Ok(json!("17850"))),
        ("{ integer = \"{float}\" }", Err("not a whole number")),
        (
            "{ coalesce = [\"{null}\", \"{empty}\", \"{gone}\", \"{n}\"] }",
            Ok(json!("3")),
        ),
        (
            "{ coalesce = [\"{null}\", \"{gone}\"] }",
            Err("missing_field"),
        ),
        (
            "{ lookup = \"{kind}\", in = { a = 1, b = 2.50 } }",
            Ok(json!("2.5")),
        ),
        (
            "{ lookup = \"{kind}\", in = { a = 1 }, otherwise = \"{n}\" }",
            Ok(json!("3")),
        ),
        (
            "{ lookup = \"{kind}\", in = { a = 1 } }",
            Err("mapping_failed: event 1 (order_completed), total: the value is not in the lookup"),
        ),
        (
            "{ lookup = \"{gone}\", in = { a = 1 }, otherwise = 4 }",
            Err("missing_field"),
        ),
        ("\"{nested.x}\"", Ok(json!("5"))),
        ("\"{nested.list.1}\"", Ok(json!("2.5"))),
        ("\"{nested}\"", Err("wrong_type")),
        ("\"{dotted.x}\"", Ok(json!("9"))),
        ("\"{n}.{id}\"", Ok(json!("3.1"))),
        ("\"{n}{gone}\"", Err("missing_field")),
        (
            "\"{word}\"",
            Err(
                "amount_malformed: event 1 (order_completed), total: the value is no plain decimal number",
            ),
        ),
        ("\"{big}\"", Err("wrong_type")),
        ("\"{flag}\"", Err("amount_malformed")),
        ("\"{$offset}\"", Ok(json!("7"))),
        ("\"{$row}\"", Err("missing_field")),
        ("1_000.50", Ok(json!("1000.5"))),
    ];
    for (total, expected) in cases {
        let made = apply(&parse(&order("", total)), &row);
        match (&made[..], expected) {
            ([Ok(event)], Ok(value)) => assert_eq!(event["total"], value, "{total}"),
            ([Err(found)], Err(part)) => assert!(found.contains(part), "{total}: {found}"),
            other => panic!("{total}: {other:?}"),
        }
    }
}

#[test]
fn conditions_choose_rows() {
    let row = json!({"s": "Cabc", "n": 5, "t": "5.0", "e": "", "f": false, "o": {"p": "q"}});
    let cases = [
        ("{ s = \"Cabc\" }", true),
        ("{ s = [\"x\", \"Cabc\"] }", true),
        ("{ s = { equals = \"c\" } }", false),
        ("{ s = { not_equals = \"c\" } }", true),
        ("{ s = { starts_with = \"C\" } }", true),
        ("{ s = { starts_with = [\"A\", \"B\"] } }", false),
        ("{ s = { ends_with = \"bc\", contains = \"ab\" } }", true),
        ("{ e = { empty = true } }", true),
        ("{ gone = { empty = false } }", false),
        ("{ gone = { not_equals = 1 } }", true),
        ("{ gone = { lt = 1 } }", false),
        ("{ n = 5.00, t = 5 }", true),
        ("{ t = \"5\" }", false),
        ("{ n = { gt = 4.9, le = 5 } }", true),
        ("{ n = { lt = 5 } }", false),
        ("{ f = false }", true),
        ("{ \"o.p\" = \"q\" }", true),
        ("{ \"{o.p}\" = { one_of = [\"q\"] } }", true),
        ("{ any = [{ n = 1 }, { s = \"Cabc\" }] }", true),
        ("{ all = [{ n = 5 }, { not = { s = \"x\" } }] }", true),
        ("{ not = { n = 5, s = \"x\" } }", true),
        ("{ s = \"Cabc\", n = 6 }", false),
    ];
    for (when, expected) in cases {
        let text = format!(
            "format = \"json\"\n[[event]]\ntype = \"cart_viewed\"\nwhen = {when}\n[event.fields]\n\
             event_time = \"{{$record_time}}\"\nanonymous_id = \"{{s}}\"\n"
        );
        let made = apply(&parse(&text), &row);
        assert_eq!(made.len(), usize::from(expected), "{when}: {made:?}");
    }
    let text = order("", "1").replace(
        "[event.fields]",
        "when = { s = { gt = 1 } }\n[event.fields]",
    );
    let made = apply(&parse(&text), &row);
    let found = made[0].as_ref().unwrap_err();
    assert!(
        found.contains("when: condition on `s`"),
        "a text is not silently no number: {found}"
    );
}

#[test]
fn an_event_without_an_id_takes_its_place() {
    let one = parse(&order("", "1"));
    let row = json!({"at": "2024-01-01", "id": 1});
    assert_eq!(
        apply(&one, &row)[0].as_ref().unwrap()["event_id"],
        "foreign:2:7"
    );
    let rule = order("", "1").replace("format = \"json\"\n", "");
    let two = parse(&(order("", "1") + &rule));
    let ids: Vec<Value> = apply(&two, &row)
        .into_iter()
        .map(|e| e.unwrap()["event_id"].clone())
        .collect();
    assert_eq!(ids, ["foreign:2:7:1", "foreign:2:7:2"]);
    let same = order("", "1").replace("total = 1", "total = 1\nevent_id = \"{id}\"");
    let clash = parse(&(same.clone() + &same.replace("format = \"json\"\n", "")));
    let made = apply(&clash, &row);
    assert!(
        made[0].is_ok() && made[1].as_ref().unwrap_err().contains("same row"),
        "{made:?}"
    );
}

#[test]
fn notation_missing_texts_and_currency() {
    let extra = "missing = [\"\", \"NULL\"]\n[numbers]\ndecimal_separator = \",\"\nthousands_separator = \".\"\n[money]\ncurrency = \"eur\"";
    let mapping = parse(&order(extra, "{ coalesce = [\"{a}\", \"{b}\"] }"));
    let row = json!({"at": "2024-01-01", "id": 1, "a": "NULL", "b": "1.234,50"});
    let event = apply(&mapping, &row)[0].clone().unwrap();
    assert_eq!(
        (&event["total"], &event["currency"]),
        (&json!("1234.5"), &json!("EUR"))
    );
    let number = json!({"at": "2024-01-01", "id": 1, "a": 1234.5});
    assert_eq!(
        apply(&mapping, &number)[0].clone().unwrap()["total"],
        "1234.5"
    );
    let pounds = parse(&order("[money]\ncurrency = \"GBP\"\ndecimals = 3", "1"));
    let changed = pounds.rules_override(&rules());
    assert_eq!(
        (changed.currency.as_str(), changed.currency.decimals),
        ("GBP", 3)
    );
    assert_eq!(changed.max_amount.0, 1_000_000_000_000);
    assert_eq!(mapping.rules_override(&rules()), rules());
}

fn shipped(name: &str) -> Mapping {
    let path = format!("{}/../../mappings/{name}", env!("CARGO_MANIFEST_DIR"));
    parse(&std::fs::read_to_string(path).unwrap())
}

#[test]
fn debezium_changes_become_orders_and_cancellations() {
    let mapping = shipped("example_debezium_orders.toml");
    let change = |op: &str, before: Value, after: Value| json!({"op": op, "before": before, "after": after, "source": {"ts_ms": 1_704_189_845_000_i64}, "ts_ms": 1});
    let row = |status: &str| {
        json!({"id": 17, "status": status, "customer_id": "c-1", "total": "99.90", "discount": null,
               "coupon": null, "sales_channel": 2, "paid_at": 1_704_067_200_000_000_i64})
    };
    let kind = |value: &Value| -> Vec<String> {
        let made = apply(&mapping, value).into_iter();
        made.map(|e| e.map_or_else(|e| e, |e| e["type"].as_str().unwrap().to_owned()))
            .collect()
    };
    let cases = [
        (change("c", Value::Null, row("new")), vec![]),
        (
            change("r", Value::Null, row("paid")),
            vec!["order_completed"],
        ),
        (
            change("u", row("new"), row("paid")),
            vec!["order_completed"],
        ),
        (
            change("u", row("paid"), row("cancelled")),
            vec!["order_cancelled"],
        ),
        (
            change("u", Value::Null, row("cancelled")),
            vec!["order_cancelled"],
        ),
        (change("u", row("cancelled"), row("cancelled")), vec![]),
        (
            change("d", row("paid"), Value::Null),
            vec!["order_cancelled"],
        ),
        (
            json!({"schema": {}, "payload": change("d", row("new"), Value::Null)}),
            vec!["order_cancelled"],
        ),
        (Value::Null, vec![]),
        (json!({"schema": {}, "payload": null}), vec![]),
        (change("t", Value::Null, Value::Null), vec![]),
    ];
    for (value, expected) in cases {
        assert_eq!(kind(&value), expected, "{value}");
    }
    let event = apply(&mapping, &change("c", Value::Null, row("paid")))[0]
        .clone()
        .unwrap();
    assert_eq!(event["event_time"], json!(1_704_067_200_000_i64));
    assert_eq!(
        (&event["channel"], &event["total"]),
        (&json!("app"), &json!("99.9"))
    );
    for bad in [
        json!({"id": 1}),
        change("x", row("paid"), row("paid")),
        change("d", Value::Null, Value::Null),
    ] {
        assert!(
            apply(&mapping, &bad)[0]
                .as_ref()
                .unwrap_err()
                .contains("mapping_failed"),
            "{bad}"
        );
    }
}

#[test]
fn avro_unions_are_taken_off() {
    let mapping = shipped("example_avro_unions.toml");
    let value = json!({
        "uuid": "u-1", "placed": {"long": 1_704_067_200_000_i64}, "number": {"string": "A1"},
        "customer": null, "newsletter": {"shop.Newsletter": {"recipient": {"string": "c-9"}}},
        "device": {"string": "d-1"}, "coupon": null, "utm": null,
        "basket": {"Basket": {"rebate": {"double": -1.5}, "items": {"array": [
            {"sku": "s1", "category": null, "pieces": {"int": 3}, "cents": 333, "gift": {"boolean": false}},
            {"sku": "s2", "category": {"string": "x"}, "pieces": {"int": 1}, "cents": 1, "gift": {"boolean": true}},
            {"sku": "s3", "category": {"string": "x"}, "pieces": {"int": 1}, "cents": 250, "gift": null},
        ]}}},
    });
    let event = apply(&mapping, &value)[0].clone().unwrap();
    let expected = json!({
        "type": "order_completed", "event_id": "u-1", "event_time": 1_704_067_200_000_i64,
        "customer_id": "c-9", "anonymous_id": "d-1", "order_id": "A1", "discount": "1.5",
        "currency": "EUR",
        "products": [
            {"line_id": "1", "product_id": "s1", "quantity": "3", "amount": "9.99"},
            {"line_id": "3", "product_id": "s3", "category": "x", "quantity": "1", "amount": "2.5"},
        ],
    });
    assert_eq!(event, expected);
    let mut other = value;
    other["basket"]["Basket"]["items"]["array"][1]["gift"] = json!(null);
    other["basket"]["Basket"]["items"]["array"][1]["pieces"] = json!("few");
    let found = apply(&mapping, &other)[0].clone().unwrap_err();
    assert!(found.contains("products: element 2: amount:"), "{found}");
}

#[test]
fn every_problem_is_reported_with_its_place() {
    let text = r#"format = "csvv"
colour = 1
[time]
zone = "Europe/Londn"
format = "%Y-%m"
[money]
currency = "EUX"
[[event]]
type = "order_complete"
[event.fields]
x = 1
[[event]]
type = "order_completed"
when = { "a.b" = { start_with = "x" }, c = { gt = "x" } }
[event.fields]
event_tme = "{at}"
order_id = "id"
customer_id = "{cust"
products = [{ product_id = "{sku}", quantity = { multiply = ["{a}", 2] } }]
total = { lookup = "{x}", inn = {} }
coupon = "{$rwo}"
channel = { product = ["{x}"] }
"#;
    let expected = [
        "m.toml:1:10: unknown `format`: `csvv`; did you mean `csv`?",
        "m.toml:2:1: unknown key of a mapping: `colour`; known are ",
        "m.toml:4:8: unknown time zone: `Europe/Londn`; did you mean `Europe/London`?",
        "m.toml:5:10: the time pattern `%Y-%m` does not say which day it is",
        "m.toml:7:12: `EUX` is no currency of ISO 4217",
        "m.toml:9:8: unknown type of event: `order_complete`; did you mean `order_completed`?",
        "m.toml:14:20: unknown test: `start_with`; did you mean `starts_with`?",
        "m.toml:14:51: `gt` takes a number",
        "m.toml:15:1: `order_completed` needs `event_time`",
        "m.toml:16:1: unknown field of `order_completed`: `event_tme`; did you mean `event_time`?",
        "m.toml:17:12: `order_id` would be the same for every row: did you mean `{id}`?",
        "m.toml:18:15: a brace that is not closed",
        "m.toml:19:13: a line needs `amount` or `price`",
        "m.toml:19:50: unknown operator: `multiply`; known are ",
        "m.toml:20:9: `lookup` needs `in`",
        "m.toml:20:27: unknown key of `lookup`: `inn`; did you mean `in`?",
        "m.toml:21:10: unknown built-in: `$rwo`; did you mean `$row`?",
        "m.toml:22:23: `product` takes a list of at least two expressions",
    ];
    let found = problems(text);
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nis not\n{expected}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn what_would_go_wrong_later_is_refused_now() {
    let fields = |kind: &str, fields: &str| {
        format!(
            "format = \"json\"\n[[event]]\ntype = \"{kind}\"\n[event.fields]\nevent_time = \"{{t}}\"\n{fields}\n"
        )
    };
    let csv = |extra: &str| order(extra, "1").replace("\"json\"", "\"csv\"");
    let line = "product_id = \"{p}\", amount = \"{a}\"";
    let cases = [
        (String::new(), "`format` is missing"),
        ("format = ".to_owned(), "m.toml:1:"),
        ("format = \"json\"".to_owned(), "at least one `[[event]]`"),
        ("format = \"json\"\n[event]\n".to_owned(), "double brackets"),
        (
            fields("page_viewed", ""),
            "needs `customer_id` or `anonymous_id`",
        ),
        (
            fields("order_completed", "order_id = \"{o}\""),
            "needs `products`, `total` or `subtotal`",
        ),
        (
            fields("order_refunded", "refund_id = \"{o}\""),
            "needs `products` or `amount`",
        ),
        (
            fields("order_completed", "order_id = \"{o}\"\ntotal = \"amount\""),
            "did you mean `{amount}`",
        ),
        (
            fields(
                "order_completed",
                "order_id = \"{o}\"\npartial = true\ntotal = 1",
            ),
            "needs `products`",
        ),
        (
            fields(
                "order_completed",
                &format!("order_id = \"{{o}}\"\npartial = true\nproducts = [{{ {line} }}]"),
            ),
            "need `line_id`",
        ),
        (
            fields(
                "order_completed",
                &format!(
                    "order_id = \"{{o}}\"\npartial = true\nproducts = [{{ line_id = \"1\", {line} }}]"
                ),
            ),
            "taken for repetitions",
        ),
        (
            fields(
                "order_completed",
                &format!(
                    "order_id = \"{{o}}\"\nproducts = {{ each = \"i\", lines = {{ {line} }} }}"
                ),
            ),
            "did you mean `line`",
        ),
        (
            fields("cart_viewed", "customer_id = \"{$parent.x}\""),
            "there is no `$parent` here",
        ),
        (
            fields("cart_viewed", "customer_id = \"{$item}\""),
            "only inside `for_each`",
        ),
        (
            fields("cart_viewed", "customer_id = \"{$before.x}\""),
            "envelope = \"debezium\"",
        ),
        (
            fields("cart_viewed", "customer_id = \"{}\""),
            "names no field",
        ),
        (fields("cart_viewed", "customer_id = []"), "not a list"),
        (order("[csv]\nheader = true", "1"), "says nothing where"),
        (csv("[csv]\ndelimiter = \"ab\""), "one character"),
        (csv("[csv]\nheader = false"), "columns are named here"),
        (csv("[csv]\ncolumns = [\"a\", \"a\"]"), "named twice"),
        (
            order("[json]\nenvelope = \"debezum\"", "1"),
            "did you mean `debezium`",
        ),
        (order("[money]\ndecimals = 2", "1"), "needs `currency`"),
        (
            order("[money]\ncurrency = \"EUR\"\ndecimals = 9", "1"),
            "from 0 to 6",
        ),
        (
            order("[numbers]\nthousands_separator = \".\"", "1"),
            "are the same",
        ),
        (order("", "{ round = 1, to = 99 }"), "from 0 to 6"),
        (order("", "2024-01-01"), "an operator"),
    ];
    for (text, expected) in cases {
        let found = problems(&text);
        assert!(
            found.iter().any(|p| p.contains(expected)),
            "{expected}: {found:#?}\n{text}"
        );
    }
}

#[test]
fn a_mapping_is_identified_by_its_text() {
    let (a, b) = (parse(&order("", "1")), parse(&order("", "2")));
    assert_eq!(a.id(), parse(&order("", "1")).id());
    assert_ne!(a.id(), b.id());
    assert_eq!(a.id().len(), 32);
    assert_eq!(shipped("visits.toml").topics(), ["clickstream", "orders"]);
}

/// Every TOML block of the reference that holds a whole mapping is one.
#[test]
fn the_examples_of_the_reference_are_mappings() {
    let path = format!("{}/../../docs/mappings.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("```toml\n").skip(1);
    let blocks = blocks.filter_map(|b| b.split_once("\n```")).map(|(b, _)| b);
    let whole: Vec<&str> = blocks.filter(|b| b.contains("[[event]]")).collect();
    assert!(whole.len() >= 3, "{}", whole.len());
    for block in whole {
        parse(block);
    }
}
