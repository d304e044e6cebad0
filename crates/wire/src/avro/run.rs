//! Reading by a plan: bytes to plain values, and those into an event's slots.

use domain::time::{DAY_MS, TimeMs};

use super::bytes::AvroBytes;
use super::plan::{Leaf, Node, NodeId, Plan, Sink};
use crate::input::builder::EventBuilder;
use crate::input::slot::{Scalar, Slot};
use crate::rejection::{Rejection, RejectionClass as Class};
use crate::rules::InputRules;

impl Plan {
    /// Fills `builder` from `bytes`.
    pub(crate) fn fill<'a>(
        &'a self,
        bytes: &mut AvroBytes<'a>,
        builder: &mut EventBuilder<'a>,
        rules: &InputRules,
    ) -> Result<(), Rejection> {
        builder.set(Slot::Type, Scalar::Text(&self.type_name));
        let mut run = Run {
            plan: self,
            bytes,
            builder,
            rules,
        };
        run.node(self.root, rules.max_depth)
    }
}

pub(super) fn too_deep() -> Rejection {
    Rejection::new(
        Class::TooDeep,
        "the value is nested deeper than the limit: flatten it, or leave out what is not needed",
    )
}

struct Run<'r, 'a> {
    plan: &'a Plan,
    bytes: &'r mut AvroBytes<'a>,
    builder: &'r mut EventBuilder<'a>,
    rules: &'r InputRules,
}

impl<'a> Run<'_, 'a> {
    fn node(&mut self, id: NodeId, depth: usize) -> Result<(), Rejection> {
        let plan = self.plan;
        match &plan.nodes[id] {
            Node::Leaf(leaf, Sink::Skip) => leaf.skip(self.bytes),
            Node::Leaf(leaf, sink) => {
                let value = leaf.read(self.bytes)?;
                self.put(*sink, value);
                Ok(())
            }
            Node::Union(branches) => {
                let branch = self.bytes.index(branches.len())?;
                self.node(branches[branch], depth)
            }
            Node::Record { fields, .. } => {
                let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
                self.bytes.record(fields.len())?;
                fields.iter().try_for_each(|field| self.node(*field, depth))
            }
            Node::Array(items) => self.blocks(depth, |run, depth| run.node(*items, depth)),
            Node::Map(values) => self.blocks(depth, |run, depth| {
                run.bytes.bytes()?;
                run.node(*values, depth)
            }),
            Node::Lines(items) => self.blocks(depth, |run, depth| {
                run.builder.begin_line(run.rules)?;
                run.node(*items, depth)
            }),
            Node::Complex(inner, sink) => {
                self.node(*inner, depth)?;
                self.put(*sink, Scalar::Complex);
                Ok(())
            }
        }
    }

    fn blocks(
        &mut self,
        depth: usize,
        mut item: impl FnMut(&mut Self, usize) -> Result<(), Rejection>,
    ) -> Result<(), Rejection> {
        let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
        loop {
            match self.bytes.block()? {
                0 => return Ok(()),
                count => (0..count).try_for_each(|_| item(self, depth))?,
            }
        }
    }

    /// Null is absence, and never overrides.
    fn put(&mut self, sink: Sink, value: Scalar<'a>) {
        match (sink, value) {
            (Sink::Skip, _) | (_, Scalar::Null) => {}
            (Sink::Event(slot), value) => self.builder.set(slot, value),
            (Sink::Line(slot), value) => self.builder.set_line(slot, value),
        }
    }
}

impl Leaf {
    /// Passes over a value.
    fn skip(&self, bytes: &mut AvroBytes<'_>) -> Result<(), Rejection> {
        match self {
            Leaf::Float => bytes.take(4).map(drop),
            Leaf::Text => bytes.bytes().map(drop),
            _ => self.read(bytes).map(drop),
        }
    }

    /// Reads a value.
    pub(super) fn read<'v, 'b: 'v>(
        &'v self,
        bytes: &mut AvroBytes<'b>,
    ) -> Result<Scalar<'v>, Rejection> {
        Ok(match self {
            Leaf::Null => Scalar::Null,
            Leaf::Boolean => Scalar::Bool(bytes.boolean()?),
            Leaf::Int => Scalar::Int(i64::from(bytes.int()?)),
            Leaf::Long => Scalar::Int(bytes.long()?),
            Leaf::Float => Scalar::Float(bytes.float()?),
            Leaf::Double => Scalar::Float(bytes.double()?),
            // Avro's own promotion: bytes may be read as text.
            Leaf::Bytes | Leaf::Text => match std::str::from_utf8(bytes.bytes()?) {
                Ok(text) => Scalar::Text(text),
                Err(_) => Scalar::NotUtf8,
            },
            Leaf::Symbol(symbols) => Scalar::Text(&symbols[bytes.index(symbols.len())?]),
            Leaf::Fixed(size) => {
                bytes.take(*size)?;
                Scalar::Complex
            }
            Leaf::Decimal { scale, size } => decimal(sized(bytes, *size)?, *scale),
            Leaf::UuidBytes(size) => match sized(bytes, *size)?.try_into() {
                Ok(uuid) => Scalar::Uuid(u128::from_be_bytes(uuid)),
                Err(_) => Scalar::Complex,
            },
            Leaf::Date => Scalar::Instant(TimeMs(i64::from(bytes.int()?) * DAY_MS)),
            Leaf::Timestamp { per_ms, is_local } => match (bytes.long()?, is_local) {
                (_, true) => Scalar::Local,
                (time, false) => Scalar::Instant(TimeMs(time.div_euclid(*per_ms))),
            },
        })
    }
}

/// Bytes behind their length, or of a fixed size.
pub(super) fn sized<'a>(
    bytes: &mut AvroBytes<'a>,
    size: Option<usize>,
) -> Result<&'a [u8], Rejection> {
    match size {
        Some(size) => bytes.take(size),
        None => bytes.bytes(),
    }
}

/// A two's-complement big-endian integer of any length, with its scale.
pub(super) fn decimal(bytes: &[u8], scale: u32) -> Scalar<'static> {
    let Some(first) = bytes.first() else {
        return Scalar::Decimal { unscaled: 0, scale };
    };
    let sign = if first & 0x80 == 0 { 0x00 } else { 0xff };
    let (head, tail) = bytes.split_at(bytes.len().saturating_sub(8));
    let mut word = [sign; 8];
    word[8 - tail.len()..].copy_from_slice(tail);
    // What does not fit the word must be sign only, and the word's own sign the same.
    if head.iter().any(|byte| *byte != sign) || (word[0] ^ sign) & 0x80 != 0 {
        return Scalar::Huge;
    }
    let unscaled = i64::from_be_bytes(word);
    Scalar::Decimal { unscaled, scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_of_any_length_are_read() {
        let is = |unscaled| Scalar::Decimal { unscaled, scale: 2 };
        let mut ten_bytes = [0xff; 10];
        ten_bytes[9] = 0xfe;
        let cases: [(&[u8], Scalar<'_>); 8] = [
            (&[], is(0)),
            (&[0x7f], is(127)),
            (&[0xff], is(-1)),
            (&[0x00, 0xff], is(255)),
            (&ten_bytes, is(-2)),
            (&[0, 0x7f, 255, 255, 255, 255, 255, 255, 255], is(i64::MAX)),
            (&[0, 0x80, 0, 0, 0, 0, 0, 0, 0], Scalar::Huge),
            (&[1, 0, 0, 0, 0, 0, 0, 0, 0], Scalar::Huge),
        ];
        for (bytes, expected) in cases {
            assert_eq!(decimal(bytes, 2), expected, "{bytes:?}");
        }
    }
}
