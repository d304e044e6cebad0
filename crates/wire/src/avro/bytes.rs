//! The primitive encodings of Avro, bounds-checked.

use crate::rejection::{Rejection, RejectionClass as Class};

/// What is left of a record's bytes.
#[derive(Debug)]
pub(crate) struct AvroBytes<'a> {
    left: &'a [u8],
    /// How many further items blocks may announce. Items take a byte each, except those of empty
    /// types, of which a few bytes could otherwise announce billions.
    items: usize,
    /// How many further fields of records may be read. Fields take a byte each, except those of
    /// empty types, of which records within records could otherwise make billions.
    fields: usize,
}

/// Items of empty types that a record may hold beyond its size.
const SPARE_ITEMS: usize = 1024;
/// Fields that a record may hold for each of its bytes: of records that wrap another one.
const FIELDS_PER_BYTE: usize = 4;
/// Fields that a record may hold beyond that.
const SPARE_FIELDS: usize = 32_768;

fn malformed(message: &str) -> Rejection {
    Rejection::new(
        Class::MalformedAvro,
        format!("{message}: check that the bytes were written with the schema of their id"),
    )
}

impl<'a> AvroBytes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> AvroBytes<'a> {
        AvroBytes {
            left: bytes,
            items: bytes.len().saturating_add(SPARE_ITEMS),
            fields: bytes
                .len()
                .saturating_mul(FIELDS_PER_BYTE)
                .saturating_add(SPARE_FIELDS),
        }
    }

    pub(crate) fn left(&self) -> usize {
        self.left.len()
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Rejection> {
        let Some((taken, left)) = self.left.split_at_checked(count) else {
            let message = format!("{count} bytes announced, {} left", self.left.len());
            return Err(Rejection::new(Class::Truncated, message));
        };
        self.left = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Rejection> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// A zig-zag varint of at most 64 bits.
    #[inline]
    pub(crate) fn long(&mut self) -> Result<i64, Rejection> {
        let mut value = 0_u64;
        for (index, byte) in self.left.iter().enumerate().take(10) {
            let bits = u64::from(byte & 0x7f);
            if index == 9 && bits > 1 {
                break;
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                self.left = &self.left[index + 1..];
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        if self.left.len() < 10 {
            let message = "the bytes end within a number";
            return Err(Rejection::new(Class::Truncated, message));
        }
        Err(malformed("a number has more than 64 bits"))
    }

    /// A number of 32 bits.
    pub(crate) fn int(&mut self) -> Result<i32, Rejection> {
        i32::try_from(self.long()?).map_err(|_| malformed("a number has more than 32 bits"))
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, Rejection> {
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(malformed("a boolean is neither 0 nor 1")),
        }
    }

    /// A float, widened so that its shortest text stays the same.
    pub(crate) fn float(&mut self) -> Result<f64, Rejection> {
        let narrow = f32::from_le_bytes(self.array()?);
        let widened = narrow.to_string().parse();
        Ok(widened.unwrap_or_else(|_| f64::from(narrow)))
    }

    pub(crate) fn double(&mut self) -> Result<f64, Rejection> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// Bytes or text, behind their length.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Rejection> {
        let length = self.long()?;
        let length = usize::try_from(length).map_err(|_| malformed("a length is negative"))?;
        self.take(length)
    }

    /// The index of a union's branch or of an enum's symbol, less than `count`.
    #[inline]
    pub(crate) fn index(&mut self, count: usize) -> Result<usize, Rejection> {
        match usize::try_from(self.long()?) {
            Ok(index) if index < count => Ok(index),
            _ => Err(malformed("the index of a union or an enum is out of range")),
        }
    }

    /// The start of a record of `count` fields.
    #[inline]
    pub(crate) fn record(&mut self, count: usize) -> Result<(), Rejection> {
        // A record counts itself: without fields it is nothing as well.
        let left = self.fields.checked_sub(count.saturating_add(1));
        self.fields = left.ok_or_else(|| {
            malformed("the schema makes more fields of the bytes than they can hold")
        })?;
        Ok(())
    }

    /// The head of a block of an array or a map: how many items follow; zero ends it.
    pub(crate) fn block(&mut self) -> Result<usize, Rejection> {
        let count = self.long()?;
        if count < 0 {
            // The block's size in bytes follows; reading item by item does not need it.
            let size = usize::try_from(self.long()?);
            if size.map_or(true, |size| size > self.left.len()) {
                let message = "a block announces more bytes than there are";
                return Err(Rejection::new(Class::Truncated, message));
            }
        }
        let count = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        self.items = self.items.checked_sub(count).ok_or_else(|| {
            Rejection::new(
                Class::Truncated,
                "a block announces more items than the bytes can hold",
            )
        })?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class<T: std::fmt::Debug>(result: Result<T, Rejection>) -> Class {
        result.unwrap_err().class
    }

    #[test]
    fn varints_cover_the_whole_range() {
        let mut max = [0xff; 10];
        (max[0], max[9]) = (0xfe, 0x01);
        let mut min = [0xff; 10];
        min[9] = 0x01;
        let cases: [(&[u8], i64); 6] = [
            (&[0], 0),
            (&[1], -1),
            (&[2], 1),
            (&[0x80, 0x01], 64),
            (&max, i64::MAX),
            (&min, i64::MIN),
        ];
        for (bytes, expected) in cases {
            assert_eq!(AvroBytes::new(bytes).long(), Ok(expected));
        }
    }

    #[test]
    fn malformed_primitives_are_rejected() {
        let read = AvroBytes::new;
        assert_eq!(class(read(&[]).long()), Class::Truncated);
        assert_eq!(class(read(&[0x80; 9]).long()), Class::Truncated);
        assert_eq!(class(read(&[0xff; 10]).long()), Class::MalformedAvro);
        assert_eq!(class(read(&[0xff; 11]).long()), Class::MalformedAvro);
        assert_eq!(
            class(read(&[0x80, 0x80, 0x80, 0x80, 0x20]).int()),
            Class::MalformedAvro
        );
        assert_eq!(class(read(&[2]).boolean()), Class::MalformedAvro);
        assert_eq!(class(read(&[0x01]).bytes()), Class::MalformedAvro);
        assert_eq!(class(read(&[0x04, b'a']).bytes()), Class::Truncated);
        assert_eq!(class(read(&[0x04]).index(2)), Class::MalformedAvro);
        assert_eq!(class(read(&[0x01]).index(2)), Class::MalformedAvro);
        assert_eq!(class(read(&[0; 3]).double()), Class::Truncated);
    }

    #[test]
    fn blocks_cannot_announce_more_than_there_is() {
        let mut huge = [0xff; 10];
        (huge[0], huge[9]) = (0xfe, 0x01);
        assert_eq!(class(AvroBytes::new(&huge).block()), Class::Truncated);
        // Minus one item, of 100 bytes, of which none are there.
        assert_eq!(
            class(AvroBytes::new(&[0x01, 0xc8, 0x01]).block()),
            Class::Truncated
        );
        assert_eq!(
            class(AvroBytes::new(&[0x01, 0x01]).block()),
            Class::Truncated
        );
        assert_eq!(AvroBytes::new(&[0x01, 0x02, 0x00]).block(), Ok(1));
    }

    #[test]
    fn floats_keep_their_shortest_text() {
        let bytes = 12.34_f32.to_le_bytes();
        assert_eq!(AvroBytes::new(&bytes).float(), Ok(12.34));
    }
}
