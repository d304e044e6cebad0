//! What is counted in a cell as bytes, canonical: one count, one sequence of bytes.
//!
//! A version byte, then whole numbers as LEB128, zigzag. A reader takes what a writer makes and nothing else: an over-long
//! number and bytes left over are errors.

use thiserror::Error;

/// Why bytes are no part of a histogram.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum BytesError {
    /// Of another version, or of another kind.
    #[error(
        "this is no histogram that this version reads (its first byte is {found:?}): rebuild it from the customers"
    )]
    Version {
        /// The first byte.
        found: Option<u8>,
    },
    /// Not what a histogram is written as.
    #[error("the bytes of a histogram are damaged at {at}: rebuild it from the customers")]
    Damaged {
        /// Where.
        at: usize,
    },
}

fn put(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_signed(out: &mut Vec<u8>, value: i128) {
    put(out, ((value << 1) ^ (value >> 127)) as u128);
}

pub(super) struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    pub(super) fn of(bytes: &'b [u8], version: u8) -> Result<Reader<'b>, BytesError> {
        match bytes.first() {
            Some(&found) if found == version => Ok(Reader { bytes, at: 1 }),
            found => Err(BytesError::Version {
                found: found.copied(),
            }),
        }
    }

    fn damaged(&self) -> BytesError {
        BytesError::Damaged { at: self.at }
    }

    fn raw(&mut self) -> Result<u128, BytesError> {
        let mut value = 0_u128;
        let mut shift = 0_u32;
        loop {
            let byte = *self.bytes.get(self.at).ok_or(self.damaged())?;
            let digits = u128::from(byte & 0x7f);
            let over_long = byte == 0 && shift > 0;
            if over_long || shift >= u128::BITS || (digits << shift) >> shift != digits {
                return Err(self.damaged());
            }
            self.at += 1;
            value |= digits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    pub(super) fn signed<T: TryFrom<i128>>(&mut self) -> Result<T, BytesError> {
        let raw = self.raw()?;
        let value = (raw >> 1) as i128 ^ -((raw & 1) as i128);
        T::try_from(value).map_err(|_| self.damaged())
    }

    pub(super) fn end(&self) -> Result<(), BytesError> {
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(self.damaged())
        }
    }
}
