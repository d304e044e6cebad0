//! Bytes of an input record to an event: Avro in Confluent wire format, or JSON.

mod foreign;
mod shared;

pub use shared::SharedSchemas;

use domain::event::Event;
use domain::time::TimeMs;
use serde_json::Value;

use crate::avro::{AvroBytes, Plan};
use crate::input::builder::EventBuilder;
use crate::input::event_from_json;
use crate::rejection::{Rejection, RejectionClass as Class};
use crate::rules::InputRules;
use crate::schema_set::{SchemaError, SchemaSet};

/// First byte of Confluent's wire format; four bytes of schema id follow, then Avro.
pub(crate) const MAGIC: u8 = 0;

/// Decodes records under one set of rules.
#[derive(Debug)]
pub struct Decoder {
    rules: InputRules,
    schemas: SharedSchemas,
}

impl Decoder {
    /// A decoder for the schemas of `schemas` and no others.
    ///
    /// # Errors
    /// A schema refers to a type that it does not define.
    pub fn new(rules: InputRules, schemas: &SchemaSet) -> Result<Decoder, SchemaError> {
        let schemas = SharedSchemas::closed(schemas)?;
        Ok(Decoder { rules, schemas })
    }

    /// A decoder for whatever `schemas` knows at the time.
    #[must_use]
    pub fn with_schemas(rules: InputRules, schemas: SharedSchemas) -> Decoder {
        Decoder { rules, schemas }
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> &InputRules {
        &self.rules
    }

    /// The event in a record's `value`. The record's `key` is no part of the event: it only helps
    /// to say what is missing. `record_time` is the record's timestamp.
    ///
    /// # Errors
    /// The first fault found.
    pub fn decode(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        record_time: TimeMs,
    ) -> Result<Event, Rejection> {
        self.decode_value(value, record_time)
            .map_err(|rejection| match (rejection.class, key) {
                (Class::MissingKey, Some(_)) => Rejection::new(
                    Class::MissingKey,
                    format!(
                        "{}; the record has a key, but only its value is read: put the id into \
                         the value, or use a mapping",
                        rejection.message
                    ),
                ),
                _ => rejection,
            })
    }

    fn decode_value(&self, value: Option<&[u8]>, record_time: TimeMs) -> Result<Event, Rejection> {
        let value = self.present(value)?;
        if value.first() != Some(&MAGIC) {
            let value = parse_json(value, self.rules.max_depth)?;
            return event_from_json(&value, &self.rules, record_time);
        }
        let (plan, mut bytes) = self.avro(value)?;
        let mut builder = EventBuilder::default();
        plan.fill(&mut bytes, &mut builder, &self.rules)?;
        at_end(&bytes)?;
        builder.finish(&self.rules, record_time)
    }

    /// A record's value as JSON, whichever of the two formats it is in: for mappings, and for
    /// people. Works for outputs as for inputs.
    ///
    /// # Errors
    /// The value is in neither format, or malformed.
    pub fn to_json(&self, value: &[u8]) -> Result<Value, Rejection> {
        let value = self.present(Some(value))?;
        if value.first() != Some(&MAGIC) {
            return parse_json(value, self.rules.max_depth);
        }
        let (plan, mut bytes) = self.avro(value)?;
        let json = plan.to_json(&mut bytes, self.rules.max_depth)?;
        at_end(&bytes)?;
        Ok(json)
    }

    fn present<'a>(&self, value: Option<&'a [u8]>) -> Result<&'a [u8], Rejection> {
        let Some(value) = value else {
            let message = "the record has no value: inputs have no tombstones, send an event";
            return Err(Rejection::new(Class::Tombstone, message));
        };
        if value.is_empty() {
            let message = "the record's value has no bytes: send JSON or Avro";
            return Err(Rejection::new(Class::EmptyValue, message));
        }
        let limit = self.rules.max_value_bytes;
        if value.len() > limit {
            let message = format!(
                "the value has {} bytes, the limit is {limit}: send the order in several partial \
                 events",
                value.len()
            );
            return Err(Rejection::new(Class::TooLarge, message));
        }
        Ok(value)
    }

    /// The plan for a value in wire format, and its Avro bytes.
    fn avro<'s, 'a>(&'s self, value: &'a [u8]) -> Result<(&'s Plan, AvroBytes<'a>), Rejection> {
        let Some((&[_, a, b, c, d], bytes)) = value.split_first_chunk::<5>() else {
            let message = "the value ends within the schema id of Confluent's wire format";
            return Err(Rejection::new(Class::Truncated, message));
        };
        let plan = self.schemas.plan(u32::from_be_bytes([a, b, c, d]))?;
        Ok((plan, AvroBytes::new(bytes)))
    }
}

fn at_end(bytes: &AvroBytes<'_>) -> Result<(), Rejection> {
    match bytes.left() {
        0 => Ok(()),
        left => Err(Rejection::new(
            Class::TrailingBytes,
            format!(
                "{left} bytes are left over after the record: check that they were written with \
                 the schema of their id"
            ),
        )),
    }
}

/// Parses JSON at most `max_depth` levels deep.
///
/// # Errors
/// The bytes are no JSON, or too deep.
pub(crate) fn parse_json(bytes: &[u8], max_depth: usize) -> Result<Value, Rejection> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let first = first.copied().unwrap_or(b' ');
    if !matches!(
        first,
        b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' | b' '
    ) {
        let message = format!(
            "the value starts with byte 0x{first:02x}: JSON starts with a brace, Avro in \
             Confluent's wire format with a zero byte"
        );
        return Err(Rejection::new(Class::WrongMagic, message));
    }
    if nesting(bytes) > max_depth {
        let message = format!("the value is nested deeper than {max_depth} levels: flatten it");
        return Err(Rejection::new(Class::TooDeep, message));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let message = format!(
            "byte {} is not UTF-8: encode it at the source",
            error.valid_up_to()
        );
        Rejection::new(Class::NotUtf8, message)
    })?;
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let what = if error.is_eof() {
            "ends early"
        } else {
            "is not JSON"
        };
        let message = format!("the value {what} at line {line}, column {column}");
        Rejection::new(Class::NotJson, message)
    })
}

/// How deep brackets outside of strings are nested.
fn nesting(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let (mut in_string, mut is_escaped) = (false, false);
    for byte in bytes {
        match (in_string, byte) {
            (true, _) if is_escaped => is_escaped = false,
            (true, b'\\') => is_escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
