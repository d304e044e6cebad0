//! Events to the canonical bytes of the input topics: what `replay` and `simulate` write.
//!
//! Invariant: decoding what was encoded gives the event back. The Avro side is driven by the
//! newest embedded schemas themselves, so that no order of fields is written down twice.

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::schema::RecordSchema;
use domain::event::Event;
use domain::money::Currency;

use crate::avro::write;
use crate::decimal::DecimalText;
use crate::decoder::MAGIC;
use crate::input::slot::{LineSlot, Slot, top_level};
use crate::input::view::{self, Field};
use crate::schema_set::{SchemaError, SchemaSet};

/// The two formats of records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Avro in Confluent's wire format.
    Avro,
    /// JSON.
    Json,
}

/// Encodes events of one shop.
#[derive(Debug)]
pub struct Encoder {
    currency: Currency,
    /// By event name: schema id, and what to write.
    plans: BTreeMap<String, (u32, Vec<Op>)>,
}

/// How a field's schema wants its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Plain,
    /// A union of null and the value, in this order.
    Nullable,
}

/// One field of a canonical record.
#[derive(Debug)]
enum Op {
    Event(Slot, Form),
    Campaign(Vec<(Slot, Form)>),
    Lines(Vec<(LineSlot, Form)>),
}

impl Encoder {
    /// An encoder for the newest input schemas of `schemas`.
    ///
    /// # Errors
    /// A schema has a field that no event has, which a test excludes.
    pub fn new(currency: Currency, schemas: &SchemaSet) -> Result<Encoder, SchemaError> {
        let mut plans = BTreeMap::new();
        for record in schemas.records("input/") {
            let Some((id, _, schema)) = schemas.newest(record) else {
                continue;
            };
            let ops = ops_of(schema).ok_or_else(|| SchemaError::Unusable {
                id,
                message: "a field of this input schema is none of the vocabulary".into(),
            })?;
            let name = record.trim_start_matches("input/");
            plans.insert(name.to_owned(), (id, ops));
        }
        Ok(Encoder { currency, plans })
    }

    /// The bytes of `event` in `format`.
    ///
    /// # Errors
    /// No schema is embedded for the event's type, which a test excludes.
    pub fn encode(&self, event: &Event, format: Format) -> Result<Vec<u8>, SchemaError> {
        match format {
            Format::Json => Ok(self.json(event)),
            Format::Avro => self.avro(event),
        }
    }

    fn avro(&self, event: &Event) -> Result<Vec<u8>, SchemaError> {
        let name = event.body.type_name();
        let Some((id, ops)) = self.plans.get(name) else {
            return Err(SchemaError::Ids(format!(
                "no schema is embedded for {name}"
            )));
        };
        let lines = view::lines(event);
        let mut out = Vec::with_capacity(160 + 64 * lines.len());
        out.push(MAGIC);
        out.extend_from_slice(&id.to_be_bytes());
        for op in ops {
            match op {
                Op::Event(slot, form) => self.put(&mut out, view::field(event, *slot), *form),
                Op::Campaign(fields) => {
                    let is_present = event.campaign.is_some();
                    write::long(&mut out, i64::from(is_present));
                    if is_present {
                        for (slot, form) in fields {
                            self.put(&mut out, view::field(event, *slot), *form);
                        }
                    }
                }
                Op::Lines(fields) => {
                    write::array(&mut out, lines, |out, line| {
                        for (slot, form) in fields {
                            self.put(out, view::line_field(line, *slot), *form);
                        }
                    });
                }
            }
        }
        Ok(out)
    }

    fn put(&self, out: &mut Vec<u8>, field: Field<'_>, form: Form) {
        if form == Form::Nullable {
            write::long(out, i64::from(field != Field::Absent));
        }
        match field {
            // A union's null has no bytes. A plain field is never absent, but for the currency.
            Field::Absent => {}
            Field::Text(text) => write::text(out, text),
            Field::Bool(b) => out.push(u8::from(b)),
            Field::Whole(n) => write::long(out, n),
            Field::Time(time) => write::long(out, time.0),
            Field::Amount(amount) => {
                let text = DecimalText::new(amount.0, self.currency.decimals);
                write::text(out, text.as_str());
            }
            Field::Units(units) => write::text(out, DecimalText::new(units.0, 3).trimmed()),
            Field::Currency => write::text(out, self.currency.as_str()),
        }
    }

    fn json(&self, event: &Event) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.push(b'{');
        for slot in Slot::ALL.iter().filter(|s| Slot::in_event(**s)) {
            self.member(&mut out, slot.name(), view::field(event, *slot));
        }
        if event.campaign.is_some() {
            separate(&mut out);
            out.extend_from_slice(b"\"campaign\":{");
            for short in ["source", "medium", "name"] {
                if let Some(slot) = Slot::in_campaign(short) {
                    self.member(&mut out, short, view::field(event, slot));
                }
            }
            out.push(b'}');
        }
        let lines = view::lines(event);
        if !lines.is_empty() {
            separate(&mut out);
            out.extend_from_slice(b"\"products\":[");
            for line in lines {
                separate(&mut out);
                out.push(b'{');
                for slot in LineSlot::ALL {
                    self.member(&mut out, slot.name(), view::line_field(line, *slot));
                }
                out.push(b'}');
            }
            out.push(b']');
        }
        out.push(b'}');
        out
    }

    /// A member of an object, unless it is absent. Names are plain and need no escapes.
    fn member(&self, out: &mut Vec<u8>, name: &str, field: Field<'_>) {
        if field == Field::Absent {
            return;
        }
        separate(out);
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match field {
            Field::Absent => {}
            Field::Text(text) => json_text(out, text),
            Field::Bool(b) => out.extend_from_slice(if b { b"true" } else { b"false" }),
            Field::Whole(n) => out.extend_from_slice(n.to_string().as_bytes()),
            Field::Time(time) => json_text(out, &time.to_string()),
            Field::Amount(amount) => {
                json_text(
                    out,
                    DecimalText::new(amount.0, self.currency.decimals).as_str(),
                );
            }
            Field::Units(units) => {
                out.extend_from_slice(DecimalText::new(units.0, 3).trimmed().as_bytes());
            }
            Field::Currency => json_text(out, self.currency.as_str()),
        }
    }
}

/// A comma, unless the last byte opens a list or an object, or stands before a first value.
fn separate(out: &mut Vec<u8>) {
    if !matches!(out.last(), Some(b'{' | b'[')) {
        out.push(b',');
    }
}

fn json_text(out: &mut Vec<u8>, text: &str) {
    // Neither text nor a growing buffer can fail to be written.
    let _ = serde_json::to_writer(out, text);
}

fn ops_of(schema: &Schema) -> Option<Vec<Op>> {
    let Schema::Record(record) = schema else {
        return None;
    };
    let fields = record.fields.iter();
    fields
        .map(|field| match (field.name.as_str(), &field.schema) {
            ("campaign", Schema::Union(union)) => match union.variants() {
                [Schema::Null, Schema::Record(campaign)] => {
                    Some(Op::Campaign(fields_of(campaign, Slot::in_campaign)?))
                }
                _ => None,
            },
            ("products", Schema::Array(array)) => match array.items.as_ref() {
                Schema::Record(line) => Some(Op::Lines(fields_of(line, LineSlot::by_name)?)),
                _ => None,
            },
            (name, schema) => Some(Op::Event(top_level(name)?, form_of(schema)?)),
        })
        .collect()
}

fn fields_of<S>(record: &RecordSchema, slot: fn(&str) -> Option<S>) -> Option<Vec<(S, Form)>> {
    let fields = record.fields.iter();
    fields
        .map(|field| Some((slot(&field.name)?, form_of(&field.schema)?)))
        .collect()
}

fn form_of(schema: &Schema) -> Option<Form> {
    match schema {
        Schema::Union(union) => match union.variants() {
            [Schema::Null, plain] => form_of(plain).map(|_| Form::Nullable),
            _ => None,
        },
        Schema::String | Schema::Int | Schema::Boolean | Schema::TimestampMillis => {
            Some(Form::Plain)
        }
        _ => None,
    }
}
