//! A schema that somebody else wrote, parsed with care.
//!
//! Invariant: whatever a registry answers, parsing it neither recurses nor allocates without bound.
//! Only what reading needs is kept of it: defaults, for example, are for a reader's schema, and
//! checking them can recurse for ever.

use apache_avro::Schema;
use serde_json::{Map, Value};

use super::nesting;
use crate::avro::Plan;
use crate::schema_set::SchemaText;

/// The longest text of a schema, its references included.
const MAX_BYTES: usize = 512 << 10;
/// How deep brackets may be nested: some twenty records within each other.
const MAX_DEPTH: usize = 64;
/// How many schemas one may refer to.
const MAX_REFERENCES: usize = 128;
/// The longest name of a type, a field or a symbol.
const MAX_NAME: usize = 255;
/// The longest reason that is passed on from the parser.
const MAX_REASON: usize = 300;

/// What of an object matters to reading.
const KEPT: [&str; 11] = [
    "type",
    "name",
    "namespace",
    "fields",
    "symbols",
    "items",
    "values",
    "size",
    "logicalType",
    "precision",
    "scale",
];

/// The plan for reading what `schema` writes.
///
/// # Errors
/// Why it cannot be used.
pub(super) fn compile(schema: &SchemaText) -> Result<Plan, String> {
    let references = schema.references.iter();
    let bytes = references.clone().map(String::len).sum::<usize>() + schema.text.len();
    if bytes > MAX_BYTES {
        return Err(format!(
            "it has {bytes} bytes, references included, the limit is {MAX_BYTES}"
        ));
    }
    if schema.references.len() > MAX_REFERENCES {
        return Err(format!("it refers to more than {MAX_REFERENCES} schemas"));
    }
    let main = reduced_text(&schema.text)?;
    if schema.references.is_empty() {
        return Plan::compile(&parse(&main)?);
    }
    // Named types one after the other, each known to those behind it: that is what a union is.
    let mut all = references
        .map(|text| reduced_text(text))
        .collect::<Result<Vec<Value>, String>>()?;
    if all.iter().chain([&main]).any(|each| !each.is_object()) {
        return Err("it or one that it refers to is no named type".to_owned());
    }
    all.push(main);
    let all = parse(&Value::Array(all))?;
    let root = match &all {
        Schema::Union(union) => union.variants().last(),
        _ => None,
    };
    Plan::compile_within(root.unwrap_or(&all), &all)
}

fn parse(schema: &Value) -> Result<Schema, String> {
    Schema::parse(schema).map_err(|error| {
        let reason = error.to_string();
        let end = (0..=MAX_REASON).rev().find(|i| reason.is_char_boundary(*i));
        let reason = reason.get(..end.unwrap_or(0)).unwrap_or(&reason);
        format!("it is no valid Avro schema: {reason}")
    })
}

fn reduced_text(text: &str) -> Result<Value, String> {
    if nesting(text.as_bytes()) > MAX_DEPTH {
        return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
    }
    let value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    reduced(value)
}

/// `value` without what does not matter to reading. Its depth is bounded already.
fn reduced(value: Value) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) if text.len() > MAX_NAME => {
            return Err(format!("a name in it has more than {MAX_NAME} bytes"));
        }
        Value::Array(items) => {
            let items = items.into_iter().map(reduced);
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Object(entries) => {
            let kept = entries
                .into_iter()
                .filter(|(key, _)| KEPT.contains(&key.as_str()));
            let kept = kept.map(|(key, value)| Ok((key, reduced(value)?)));
            Value::Object(kept.collect::<Result<Map<String, Value>, String>>()?)
        }
        plain => plain,
    })
}
