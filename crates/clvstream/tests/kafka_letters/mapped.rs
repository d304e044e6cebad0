//! Topics of others, read as they are beside the application's own: by the service, and by
//! `clvstream mapping check` and `clvstream tail` while it runs.

use std::time::{SystemTime, UNIX_EPOCH};

use fleet::{App, Instance, until};
use kafkatest::Broker;
use serde_json::{Value, json};

use crate::PROGRAM;
use crate::avro;
use crate::fake::Fake;
use crate::raw::{Raw, create, produce, read_committed};
use crate::tables::profiles;

/// For the topic in Avro, whose field names are the vocabulary's own but for the note.
const AVRO_MAPPING: &str = r#"
format = "json"

[money]
currency = "EUR"

[[event]]
type = "order_completed"

[event.fields]
event_time = "{event_time}"
customer_id = "{customer_id}"
order_id = "{order_id}"
total = "{total}"
"#;

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

fn put(broker: &Broker, topic: &str, partition: u32, values: &[Vec<u8>]) {
    let raw = values.iter().map(|value| Raw {
        topic: topic.to_owned(),
        partition,
        key: None,
        value: Some(value.clone()),
        timestamp: now(),
    });
    produce(broker, &raw.collect::<Vec<_>>());
}

/// A change of a row as Debezium tells it.
fn change(op: &str, before: Value, after: Value) -> Vec<u8> {
    let source = json!({ "ts_ms": now() });
    let change = json!({ "op": op, "before": before, "after": after, "source": source });
    json!({ "schema": {}, "payload": change })
        .to_string()
        .into()
}

fn row(id: u32, customer: &str, status: &str, total: &str) -> Value {
    json!({
        "id": id, "status": status, "customer_id": customer, "total": total, "discount": null,
        "coupon": null, "sales_channel": 2, "paid_at": (now() - 60_000) * 1_000,
    })
}

/// A basket in Avro's JSON encoding, of 9.99 EUR.
fn basket(number: &str, customer: &str) -> Vec<u8> {
    json!({
        "uuid": number, "placed": {"long": now() - 60_000}, "number": {"string": number},
        "customer": {"string": customer}, "newsletter": null, "device": null, "coupon": null,
        "utm": null,
        "basket": {"Basket": {"rebate": null, "items": {"array": [
            {"sku": "s1", "category": null, "pieces": {"int": 3}, "cents": 333, "gift": null},
        ]}}},
    })
    .to_string()
    .into()
}

fn outcome(instance: &Instance, outcome: &str) -> u64 {
    instance.metric(&format!("clvstream_records_total{{outcome=\"{outcome}\"}}")) as u64
}

#[test]
fn topics_of_others_are_read_beside_the_own_ones() {
    let test = "topics_of_others_are_read_beside_the_own_ones";
    let Some(broker) = Broker::shared(test) else {
        return;
    };
    let registry = Fake::start();
    registry.schema(4711, &avro::answer());
    let files = tempfile::tempdir().unwrap();
    let mapping = files.path().join("erp.toml");
    std::fs::write(&mapping, AVRO_MAPPING).unwrap();
    let mapping = mapping.display().to_string();

    let theirs = kafkatest::unique("shop");
    let foreign = ["rows", "baskets", "erp"].map(|name| format!("{theirs}.{name}"));
    let [changes, baskets, erp] = &foreign;
    create(broker, &[changes, baskets, erp], 3, 1 << 20);
    let mapped = format!(
        "input.mapped={{ {changes:?} = \"mappings/example_debezium_orders.toml\", \
         {baskets:?} = \"mappings/example_avro_unions.toml\", {erp:?} = {mapping:?} }}"
    );
    let settings = [
        "partitions=2",
        "currency.code=EUR",
        "input.topics=[\"orders\"]",
        &format!("registry.url={}", registry.url()),
        &mapped,
    ];
    let app = App::new(PROGRAM, broker.bootstrap(), "mapped", &settings);
    let mut instance = app.start("one");

    // Partitions that are no customer's: everything is routed to its owner.
    let debezium = [
        change("c", Value::Null, row(1, "c-1", "paid", "99.90")),
        change(
            "u",
            row(1, "c-1", "paid", "99.90"),
            row(1, "c-1", "shipped", "99.90"),
        ),
        change("r", Value::Null, row(2, "c-2", "paid", "20.00")),
        change(
            "u",
            row(2, "c-2", "paid", "20.00"),
            row(2, "c-2", "cancelled", "20.00"),
        ),
        change("c", Value::Null, row(3, "c-3", "new", "5.00")),
        change("c", Value::Null, row(4, "c-3", "paid", "a lot")),
    ];
    put(broker, changes, 2, &debezium);
    put(
        broker,
        baskets,
        0,
        &[basket("b-1", "c-1"), basket("b-2", "c-3")],
    );
    let erp_orders = ["e-1", "e-2"].map(|order| avro::order(4711, "c-1", order, 10_00, now()));
    put(broker, erp, 1, &erp_orders);
    instance.wait_ready();
    let own = json!({
        "type": "order_completed", "event_id": "own", "event_time": now(), "customer_id": "c-1",
        "order_id": "own", "total": "0.10",
    });
    put(
        broker,
        &format!("{}.orders", app.id),
        0,
        &[own.to_string().into()],
    );

    // Three of the rows' changes, two baskets, two orders in Avro, one of its own; again the first
    // row, which is the same order.
    until("everything is consumed", || {
        let ended = ["applied", "late", "deduplicated"].map(|name| outcome(&instance, name));
        (ended.iter().sum::<u64>() == 9).then_some(())
    });
    assert_eq!(outcome(&instance, "ignored"), 1);
    assert_eq!(outcome(&instance, "dead_lettered"), 1);
    let found = profiles(&app);
    let of = |customer: &str| {
        let row = &found[customer];
        ["orders", "gross", "cancelled_orders"].map(|name| row[name].clone())
    };
    assert_eq!(of("c-1"), ["5", "129.99", "0"]);
    assert_eq!(of("c-2")[2], "1");
    assert_eq!(of("c-3"), ["1", "9.99", "0"]);
    let letters = read_committed(broker, &format!("{}.dlq", app.id));
    assert_eq!(letters.len(), 1);
    assert_eq!(&letters[0].headers["clv_topic"], changes);
    assert_eq!(letters[0].headers["clv_error_class"], "amount_malformed");
    assert_eq!(letters[0].value.as_ref(), Some(&debezium[5]));

    checked(&app, &foreign);
    assert!(instance.terminate().success());
}

/// What `clvstream mapping check` and `clvstream tail` say of the same topics.
fn checked(app: &App, [changes, baskets, erp]: &[String; 3]) {
    let check = |topic: &str, more: &[&str], code: i32| {
        let args = ["mapping", "check", "--json", "--topic", topic];
        let output = app
            .command("reader", &[&args, more].concat())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}{said}");
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let found = check(changes, &[], 3);
    assert_eq!(
        (&found["rows"], &found["rejected_rows"]),
        (&json!(6), &json!(1)),
        "{found}"
    );
    let found = check(baskets, &["--from", "beginning"], 0);
    assert_eq!(found["rows"], 2, "{found}");
    let found = check(erp, &["--limit", "1"], 0);
    assert_eq!(found["rows"], 1, "{found}");
    assert!(found.to_string().contains("e-1"), "{found}");

    let shown = app.run("reader", &["tail", erp, "--json"]);
    let shown: Vec<Value> = shown
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[1]["value"]["order_id"], "e-2", "{}", shown[1]);
    assert_eq!(
        (&shown[1]["partition"], &shown[1]["offset"]),
        (&json!(1), &json!(1))
    );
}
