//! Any writer schema: random ones, with random values, written by another Avro library, read by
//! ours, and compared with what the schema's values mean as JSON.
//!
//! A record's fields come in any order, as any type that fits or does not, in unions, under named
//! types that are referred to again, between fields of no concern to us.

use std::collections::BTreeMap;

use apache_avro::types::Value as Avro;
use apache_avro::{Decimal, Schema, Uuid};
use domain::time::TimeMs;
use serde_json::{Map, Value, json};
use wire::{Decoder, SchemaSet, event_from_json};

use crate::{RECORD_TIME, oracle, rules};

/// SplitMix64: the same schemas and values on every run and machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index + 1));
        }
    }
}

const TYPES: [&str; 6] = [
    "product_viewed",
    "product_added",
    "order_completed",
    "order_cancelled",
    "order_refunded",
    "nps_answered",
];

/// Makes schemas.
struct Writer<'r> {
    random: &'r mut Random,
    names: usize,
    /// Named types that later fields may refer to.
    defined: Vec<String>,
}

impl Writer<'_> {
    fn name(&mut self) -> String {
        self.names += 1;
        format!("Type{}", self.names)
    }

    fn record(&mut self, fields: Vec<(&str, Value)>) -> Value {
        let fields: Vec<Value> = fields
            .into_iter()
            .map(|(name, schema)| json!({"name": name, "type": schema}))
            .collect();
        json!({"type": "record", "name": self.name(), "fields": fields})
    }

    /// A type that no field of ours has to fit.
    fn extra(&mut self, depth: usize) -> Value {
        if depth < 3 && self.random.chance(40) {
            return match self.random.below(4) {
                0 => json!({"type": "array", "items": self.extra(depth + 1)}),
                1 => json!({"type": "map", "values": self.extra(depth + 1)}),
                2 => json!(["null", "string", {"type": "array", "items": "long"}]),
                _ => {
                    let first = self.extra(depth + 1);
                    let second = self.extra(depth + 1);
                    let record = self.record(vec![("event_id", first), ("other", second)]);
                    self.defined
                        .push(record["name"].as_str().unwrap().to_owned());
                    record
                }
            };
        }
        if !self.defined.is_empty() && self.random.chance(30) {
            return json!(self.random.pick(&self.defined));
        }
        let name = self.name();
        let plain = [
            json!("null"),
            json!("boolean"),
            json!("int"),
            json!("long"),
            json!("float"),
            json!("double"),
            json!("bytes"),
            json!("string"),
            json!({"type": "fixed", "name": name, "size": 3}),
            json!({"type": "enum", "name": name, "symbols": ["A", "B", "C"]}),
            json!({"type": "int", "logicalType": "date"}),
            json!({"type": "long", "logicalType": "timestamp-nanos"}),
            json!({"type": "long", "logicalType": "local-timestamp-millis"}),
            json!({"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4}),
        ];
        self.random.pick(&plain)
    }

    /// `plain`, now and then in a union, now and then something else altogether.
    fn wrapped(&mut self, plain: Value) -> Value {
        match self.random.below(40) {
            0 => json!({"type": "array", "items": "long"}),
            1 => self.record(vec![("inner", json!("string"))]),
            2..=15 => json!(["null", plain]),
            16..=18 => json!([plain, "null"]),
            _ => plain,
        }
    }

    fn id(&mut self) -> Value {
        let name = self.name();
        let plain = [
            json!("string"),
            json!("string"),
            json!("int"),
            json!("long"),
            json!("bytes"),
            json!({"type": "string", "logicalType": "uuid"}),
            json!({"type": "enum", "name": name, "symbols": ["A", "B"]}),
        ];
        let plain = self.random.pick(&plain);
        self.wrapped(plain)
    }

    fn number(&mut self) -> Value {
        let plain = [
            json!("string"),
            json!("int"),
            json!("long"),
            json!("float"),
            json!("double"),
            json!({"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}),
            json!({"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4}),
        ];
        let plain = self.random.pick(&plain);
        self.wrapped(plain)
    }

    fn time(&mut self) -> Value {
        let plain = [
            json!("long"),
            json!({"type": "long", "logicalType": "timestamp-millis"}),
            json!({"type": "long", "logicalType": "timestamp-micros"}),
        ];
        self.random.pick(&plain)
    }

    fn products(&mut self) -> Value {
        let ids = ["line_id", "product_id", "category"];
        let numbers = ["quantity", "amount", "price"];
        let mut fields = Vec::new();
        for id in ids
            .into_iter()
            .filter(|_| self.random.chance(90))
            .collect::<Vec<_>>()
        {
            fields.push((id, self.id()));
        }
        for number in numbers
            .into_iter()
            .filter(|_| self.random.chance(70))
            .collect::<Vec<_>>()
        {
            fields.push((number, self.number()));
        }
        fields.push(("note", self.extra(2)));
        self.random.shuffle(&mut fields);
        json!({"type": "array", "items": self.record(fields)})
    }

    fn schema(&mut self) -> Value {
        let mut names = vec![
            "type",
            "event_id",
            "event_time",
            "customer_id",
            "anonymous_id",
            "session_id",
            "campaign",
            "product_id",
            "order_id",
            "refund_id",
            "price",
            "quantity",
            "amount",
            "total",
            "discount",
            "partial",
            "products",
            "score",
            "extra1",
            "extra2",
            "extra3",
        ];
        names.retain(|_| self.random.chance(93));
        self.random.shuffle(&mut names);
        let mut fields = Vec::new();
        for name in names {
            let schema = match name {
                "type" => json!({"type": "enum", "name": self.name(), "symbols": TYPES}),
                "event_time" => self.time(),
                "campaign" => {
                    let source = self.id();
                    let fields = vec![("source", source), ("clicks", json!("int"))];
                    let record = self.record(fields);
                    self.wrapped(record)
                }
                "products" => {
                    let products = self.products();
                    self.wrapped(products)
                }
                "partial" => self.wrapped(json!("boolean")),
                "score" | "price" | "quantity" | "amount" | "total" | "discount" => self.number(),
                extra if extra.starts_with("extra") => self.extra(0),
                _ => self.id(),
            };
            fields.push((name, schema));
        }
        let mut record = self.record(fields);
        record["name"] = json!("OrderCancelled");
        record["namespace"] = json!("shop.events");
        record
    }
}

/// Makes a value of `schema`.
pub(crate) fn value(
    schema: &Schema,
    named: &BTreeMap<String, Schema>,
    random: &mut Random,
) -> Avro {
    let cents = random.below(20) as i64 * 25;
    let time = 1_298_967_960_000 + random.below(1_000_000_000) as i64;
    match schema {
        Schema::Null => Avro::Null,
        Schema::Boolean => Avro::Boolean(random.chance(50)),
        Schema::Int => Avro::Int(random.below(9) as i32),
        Schema::Long if random.chance(50) => Avro::Long(time),
        Schema::Long => Avro::Long(random.next() as i64 >> random.below(64)),
        Schema::Float => Avro::Float(cents as f32 / 100.0),
        Schema::Double => Avro::Double(cents as f64 / 100.0),
        Schema::Bytes => Avro::Bytes(format!("b{}", random.below(99)).into_bytes()),
        Schema::String => Avro::String(format!("{}.{:02}", cents / 100, cents % 100)),
        Schema::Array(array) => {
            let items = (0..random.below(4)).map(|_| value(&array.items, named, random));
            Avro::Array(items.collect())
        }
        Schema::Map(map) => {
            let entries = (0..random.below(3))
                .map(|key| (format!("k{key}"), value(&map.types, named, random)));
            Avro::Map(entries.collect())
        }
        Schema::Union(union) => {
            let branch = random.below(union.variants().len());
            let inner = value(&union.variants()[branch], named, random);
            Avro::Union(branch as u32, Box::new(inner))
        }
        Schema::Record(record) => {
            let fields = record.fields.iter();
            let fields = fields.map(|f| (f.name.clone(), value(&f.schema, named, random)));
            Avro::Record(fields.collect())
        }
        Schema::Enum(symbols) => {
            let index = random.below(symbols.symbols.len());
            Avro::Enum(index as u32, symbols.symbols[index].clone())
        }
        Schema::Fixed(fixed) => Avro::Fixed(fixed.size, vec![0xe9; fixed.size]),
        Schema::Decimal(decimal) => {
            let unscaled = cents * 10_i64.pow(decimal.scale as u32 - 2);
            Avro::Decimal(Decimal::from(unscaled.to_be_bytes()))
        }
        Schema::Uuid(_) => Avro::Uuid(Uuid::from_u128(u128::from(random.next()))),
        Schema::Date => Avro::Date(random.below(20_000) as i32),
        Schema::TimestampMillis => Avro::TimestampMillis(time),
        Schema::TimestampMicros => Avro::TimestampMicros(time * 1000 + 999),
        Schema::TimestampNanos => Avro::TimestampNanos(time * 1_000_000 + 999_999),
        Schema::LocalTimestampMillis => Avro::LocalTimestampMillis(time),
        Schema::Ref { name } => {
            let full = name.fullname(Some("shop.events"));
            value(&named[&full], named, random)
        }
        other => panic!("no values for {other:?}"),
    }
}

/// Every named type within `schema`.
fn named_types(schema: &Schema, found: &mut BTreeMap<String, Schema>) {
    match schema {
        Schema::Array(array) => named_types(&array.items, found),
        Schema::Map(map) => named_types(&map.types, found),
        Schema::Union(union) => union.variants().iter().for_each(|v| named_types(v, found)),
        Schema::Record(record) => {
            found.insert(record.name.fullname(Some("shop.events")), schema.clone());
            record
                .fields
                .iter()
                .for_each(|field| named_types(&field.schema, found));
        }
        _ => {}
    }
}

fn latin1(bytes: &[u8]) -> Value {
    Value::String(bytes.iter().map(|byte| char::from(*byte)).collect())
}

fn iso(ms: i64) -> Value {
    json!(TimeMs(ms).to_string())
}

/// What the value means as JSON, said a second time.
fn meaning(value: &Avro, schema: &Schema, named: &BTreeMap<String, Schema>) -> Value {
    match (value, schema) {
        (value, Schema::Ref { name }) => {
            meaning(value, &named[&name.fullname(Some("shop.events"))], named)
        }
        (Avro::Null, _) => Value::Null,
        (Avro::Boolean(b), _) => json!(b),
        (Avro::Int(n), _) => json!(n),
        (Avro::Long(n), _) => json!(n),
        (Avro::Float(f), _) => json!(f.to_string().parse::<f64>().unwrap()),
        (Avro::Double(f), _) => json!(f),
        (Avro::Bytes(bytes) | Avro::Fixed(_, bytes), _) => latin1(bytes),
        (Avro::String(text) | Avro::Enum(_, text), _) => json!(text),
        (Avro::Array(items), Schema::Array(array)) => items
            .iter()
            .map(|item| meaning(item, &array.items, named))
            .collect(),
        (Avro::Map(entries), Schema::Map(map)) => {
            let entries = entries.iter();
            let entries = entries.map(|(k, v)| (k.clone(), meaning(v, &map.types, named)));
            Value::Object(entries.collect())
        }
        (Avro::Union(branch, inner), Schema::Union(union)) => {
            meaning(inner, &union.variants()[*branch as usize], named)
        }
        (Avro::Record(fields), Schema::Record(record)) => {
            let fields = fields.iter().zip(&record.fields);
            let fields: Map<String, Value> = fields
                .map(|((name, v), field)| (name.clone(), meaning(v, &field.schema, named)))
                .collect();
            Value::Object(fields)
        }
        (Avro::Decimal(unscaled), Schema::Decimal(decimal)) => {
            let bytes: Vec<u8> = Vec::try_from(unscaled).unwrap();
            let tail: [u8; 8] = bytes.try_into().unwrap();
            let unscaled = i64::from_be_bytes(tail);
            let scale = 10_i64.pow(decimal.scale as u32);
            json!(format!(
                "{}.{:0w$}",
                unscaled / scale,
                unscaled % scale,
                w = decimal.scale
            ))
        }
        (Avro::Uuid(uuid), _) => json!(uuid.to_string()),
        (Avro::Date(days), _) => json!(domain::time::Day(*days).to_string()),
        (Avro::TimestampMillis(t), _) => iso(*t),
        (Avro::TimestampMicros(t), _) => iso(t / 1000),
        (Avro::TimestampNanos(t), _) => iso(t / 1_000_000),
        (Avro::LocalTimestampMillis(t), _) => json!(TimeMs(*t).to_string().trim_end_matches('Z')),
        other => panic!("no meaning for {other:?}"),
    }
}

/// One random schema and a record written with it.
struct Case {
    text: String,
    /// What the record means.
    expected: Value,
    datum: Vec<u8>,
}

/// The case of `seed`.
fn case(seed: u64) -> Case {
    let mut random = Random(seed);
    let mut writer = Writer {
        random: &mut random,
        names: 0,
        defined: Vec::new(),
    };
    let text = writer.schema().to_string();
    let schema = Schema::parse_str(&text).unwrap();
    let mut named = BTreeMap::new();
    named_types(&schema, &mut named);
    let written = value(&schema, &named, &mut random);
    let mut expected = meaning(&written, &schema, &named);
    if expected.get("type").is_none() {
        expected["type"] = json!("order_cancelled");
    }
    let datum = oracle::write(&schema, written);
    Case {
        text,
        expected,
        datum,
    }
}

#[test]
fn any_writer_schema_is_read_as_its_values_mean() {
    let cases: Vec<Case> = (0..1_500).map(case).collect();
    let extra = (1..).zip(&cases).map(|(id, case)| (id, case.text.clone()));
    let schemas = SchemaSet::with_extra(extra.collect()).unwrap();
    let decoder = Decoder::new(rules(), &schemas).unwrap();
    let mut accepted = 0;
    for (
        id,
        Case {
            text,
            expected,
            datum,
        },
    ) in (1_u32..).zip(&cases)
    {
        let bytes = [[0].as_slice(), &id.to_be_bytes(), datum].concat();
        assert_eq!(decoder.to_json(&bytes).as_ref(), Ok(expected), "{text}");
        let event = event_from_json(expected, &rules(), RECORD_TIME).map_err(|r| r.class);
        let decoded = decoder
            .decode(None, Some(&bytes), RECORD_TIME)
            .map_err(|r| r.class);
        assert_eq!(decoded, event, "{text}\n{expected}");
        accepted += usize::from(event.is_ok());
    }
    // The comparison means something only if enough records are events.
    assert!(accepted > 150, "only {accepted} events among them");
}
