//! Reading by a plan: bytes to JSON, for mappings and for people.
//!
//! Unions are their plain value; instants are ISO 8601 text; decimals are exact text; bytes are
//! text with one character per byte, as in Avro's own JSON; floats that are no number are text.

use domain::time::TimeMs;
use serde_json::{Map, Number, Value};

use super::bytes::AvroBytes;
use super::plan::{Leaf, Node, NodeId, Plan};
use super::run::{sized, too_deep};
use crate::input::slot::Scalar;
use crate::rejection::{Rejection, RejectionClass as Class};

impl Plan {
    /// The value as JSON, at most `depth` levels deep. A record without a field `type` gets one,
    /// with the schema's name in snake case.
    pub(crate) fn to_json(
        &self,
        bytes: &mut AvroBytes<'_>,
        depth: usize,
    ) -> Result<Value, Rejection> {
        let mut value = self.value(self.root, bytes, depth)?;
        if let Value::Object(fields) = &mut value {
            let name = fields.entry("type").or_insert(Value::Null);
            if name.is_null() {
                *name = Value::String(self.type_name.clone());
            }
        }
        Ok(value)
    }

    fn value(
        &self,
        id: NodeId,
        bytes: &mut AvroBytes<'_>,
        depth: usize,
    ) -> Result<Value, Rejection> {
        let deeper = || depth.checked_sub(1).ok_or_else(too_deep);
        match &self.nodes[id] {
            Node::Leaf(leaf, _) => leaf.json(bytes),
            Node::Union(branches) => {
                let branch = bytes.index(branches.len())?;
                self.value(branches[branch], bytes, depth)
            }
            Node::Complex(inner, _) => self.value(*inner, bytes, depth),
            Node::Record { fields, names } => {
                let depth = deeper()?;
                bytes.record(fields.len())?;
                let mut object = Map::new();
                for (name, field) in names.iter().zip(fields) {
                    object.insert(name.to_string(), self.value(*field, bytes, depth)?);
                }
                Ok(Value::Object(object))
            }
            Node::Array(items) | Node::Lines(items) => {
                let depth = deeper()?;
                let mut list = Vec::new();
                each(bytes, |bytes| {
                    list.push(self.value(*items, bytes, depth)?);
                    Ok(())
                })?;
                Ok(Value::Array(list))
            }
            Node::Map(values) => {
                let depth = deeper()?;
                let mut object = Map::new();
                each(bytes, |bytes| {
                    let key = text(bytes.bytes()?)?.to_owned();
                    object.insert(key, self.value(*values, bytes, depth)?);
                    Ok(())
                })?;
                Ok(Value::Object(object))
            }
        }
    }
}

fn each<'a>(
    bytes: &mut AvroBytes<'a>,
    mut item: impl FnMut(&mut AvroBytes<'a>) -> Result<(), Rejection>,
) -> Result<(), Rejection> {
    loop {
        match bytes.block()? {
            0 => return Ok(()),
            count => (0..count).try_for_each(|_| item(bytes))?,
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, Rejection> {
    let message = "a text of the record is not UTF-8: encode it at the source";
    std::str::from_utf8(bytes).map_err(|_| Rejection::new(Class::NotUtf8, message))
}

fn one_char_per_byte(bytes: &[u8]) -> Value {
    Value::String(bytes.iter().map(|byte| char::from(*byte)).collect())
}

impl Leaf {
    fn json(&self, bytes: &mut AvroBytes<'_>) -> Result<Value, Rejection> {
        Ok(match self {
            Leaf::Bytes => one_char_per_byte(bytes.bytes()?),
            Leaf::Fixed(size) => one_char_per_byte(bytes.take(*size)?),
            Leaf::Text => Value::String(text(bytes.bytes()?)?.to_owned()),
            Leaf::Decimal { scale, size } => decimal(sized(bytes, *size)?, *scale),
            Leaf::Date => {
                let day = domain::time::Day(bytes.int()?);
                Value::String(day.to_string())
            }
            Leaf::Timestamp { per_ms, is_local } => {
                let time = TimeMs(bytes.long()?.div_euclid(*per_ms)).to_string();
                let time = if *is_local {
                    time.trim_end_matches('Z').to_owned()
                } else {
                    time
                };
                Value::String(time)
            }
            _ => scalar(&self.read(bytes)?),
        })
    }
}

fn scalar(value: &Scalar<'_>) -> Value {
    match value {
        Scalar::Bool(b) => Value::Bool(*b),
        Scalar::Int(n) => Value::Number(Number::from(*n)),
        Scalar::Float(f) => match Number::from_f64(*f) {
            Some(number) => Value::Number(number),
            None => Value::String(f.to_string()),
        },
        Scalar::Text(text) => Value::String((*text).to_owned()),
        Scalar::Uuid(uuid) => Value::String(crate::input::uuid_text(*uuid)),
        _ => Value::Null,
    }
}

/// A decimal that fits the vocabulary's range as exact text; any other as its bytes.
fn decimal(bytes: &[u8], scale: u32) -> Value {
    const LARGEST_SCALE: u32 = 64;
    match super::run::decimal(bytes, scale) {
        Scalar::Decimal { unscaled, scale } if scale <= LARGEST_SCALE => {
            let width = scale as usize + 1;
            let digits = format!("{:0width$}", unscaled.unsigned_abs());
            let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
            let sign = if unscaled < 0 { "-" } else { "" };
            let point = if scale == 0 { "" } else { "." };
            Value::String(format!("{sign}{whole}{point}{fraction}"))
        }
        _ => one_char_per_byte(bytes),
    }
}
