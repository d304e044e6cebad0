//! JSON with the canonical field names.

use domain::event::Event;
use domain::time::TimeMs;
use serde_json::{Map, Value};

use super::builder::EventBuilder;
use super::slot::{LineSlot, Scalar, Slot, top_level};
use crate::rejection::{Rejection, RejectionClass as Class};
use crate::rules::InputRules;

/// The event that `value`, an object with the canonical field names, describes. Unknown fields are
/// ignored; ids may be numbers; amounts and quantities may be numbers or decimal text.
/// `record_time` is the timestamp of the record it came in.
///
/// # Errors
/// The first fault found.
pub fn event_from_json(
    value: &Value,
    rules: &InputRules,
    record_time: TimeMs,
) -> Result<Event, Rejection> {
    let Value::Object(fields) = value else {
        let message = "the value is no JSON object: send one object per record";
        return Err(Rejection::new(Class::WrongType, message));
    };
    let mut builder = EventBuilder::default();
    fill(&mut builder, fields, rules)?;
    builder.finish(rules, record_time)
}

fn fill<'a>(
    builder: &mut EventBuilder<'a>,
    fields: &'a Map<String, Value>,
    rules: &InputRules,
) -> Result<(), Rejection> {
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("products", Value::Array(lines)) => fill_lines(builder, lines, rules)?,
            ("campaign", Value::Object(campaign)) => {
                for (name, value) in campaign {
                    if let Some(slot) = Slot::in_campaign(name) {
                        builder.set(slot, scalar(value));
                    }
                }
            }
            ("campaign", Value::Null) => {}
            // Any slot of the campaign carries the fault: the campaign as a whole is no object.
            ("campaign", _) => builder.set(Slot::CampaignSource, Scalar::Complex),
            (name, value) => {
                if let Some(slot) = top_level(name) {
                    builder.set(slot, scalar(value));
                }
            }
        }
    }
    Ok(())
}

fn fill_lines<'a>(
    builder: &mut EventBuilder<'a>,
    lines: &'a [Value],
    rules: &InputRules,
) -> Result<(), Rejection> {
    for line in lines {
        let Value::Object(fields) = line else {
            builder.set(Slot::Products, Scalar::Complex);
            return Ok(());
        };
        builder.begin_line(rules)?;
        for (name, value) in fields {
            if let Some(slot) = LineSlot::by_name(name) {
                builder.set_line(slot, scalar(value));
            }
        }
    }
    Ok(())
}

fn scalar(value: &Value) -> Scalar<'_> {
    match value {
        Value::Null => Scalar::Null,
        Value::Bool(b) => Scalar::Bool(*b),
        Value::String(text) => Scalar::Text(text),
        Value::Number(number) => {
            if let Some(n) = number.as_i64() {
                Scalar::Int(n)
            } else if let Some(n) = number.as_u64() {
                Scalar::Large(n)
            } else {
                number.as_f64().map_or(Scalar::Huge, Scalar::Float)
            }
        }
        Value::Array(_) | Value::Object(_) => Scalar::Complex,
    }
}
