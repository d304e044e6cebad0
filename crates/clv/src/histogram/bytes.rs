//! Histograms as bytes, canonical: one histogram, one sequence of bytes.
//!
//! A version byte, the number of entries, then entries in ascending order, numbers as LEB128, signed ones
//! zigzag; the first number of a key as the difference to the entry before, since many share it. A reader takes what a
//! writer makes and nothing else: another order, a count of 0, an over-long number, bytes left over are errors.

use std::collections::BTreeMap;

use thiserror::Error;

use super::Key;
use super::spend;

const ORDERS_VERSION: u8 = 0x11;
const SPEND_VERSION: u8 = 0x21;

/// Why bytes are no histogram.
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

pub(super) fn of_orders(cells: &BTreeMap<Key, i64>) -> Vec<u8> {
    let mut out = vec![ORDERS_VERSION];
    put(&mut out, cells.len() as u128);
    let mut before = 0;
    for (&(x, first, last), &count) in cells {
        put(&mut out, u128::from(x - before));
        before = x;
        put_signed(&mut out, i128::from(first));
        put_signed(&mut out, i128::from(last) - i128::from(first));
        put_signed(&mut out, i128::from(count));
    }
    out
}

pub(super) fn orders_of(bytes: &[u8]) -> Result<BTreeMap<Key, i64>, BytesError> {
    let mut reader = Reader::of(bytes, ORDERS_VERSION)?;
    let mut cells = BTreeMap::new();
    let mut x = 0_u32;
    for _ in 0..reader.number::<u64>()? {
        x = x.checked_add(reader.number()?).ok_or(reader.damaged())?;
        let first: i32 = reader.signed()?;
        let last = i128::from(first) + reader.signed::<i128>()?;
        let last = i32::try_from(last).map_err(|_| reader.damaged())?;
        let count: i64 = reader.signed()?;
        let key = (x, first, last);
        if count == 0 || !is_after(&cells, &key) {
            return Err(reader.damaged());
        }
        cells.insert(key, count);
    }
    reader.end()?;
    Ok(cells)
}

pub(super) fn of_spend(groups: &BTreeMap<spend::Key, spend::Sums>) -> Vec<u8> {
    let mut out = vec![SPEND_VERSION];
    put(&mut out, groups.len() as u128);
    let mut before = 0;
    for (&(repeats, off, digits), sums) in groups {
        put(&mut out, u128::from(repeats - before));
        before = repeats;
        put(&mut out, u128::from(off));
        put(&mut out, u128::from(digits));
        put_signed(&mut out, i128::from(sums.customers));
        put_signed(&mut out, sums.total);
        put_signed(&mut out, sums.ln_total);
    }
    out
}

pub(super) fn spend_of(bytes: &[u8]) -> Result<BTreeMap<spend::Key, spend::Sums>, BytesError> {
    let mut reader = Reader::of(bytes, SPEND_VERSION)?;
    let mut groups = BTreeMap::new();
    let mut repeats = 0_u32;
    for _ in 0..reader.number::<u64>()? {
        repeats = repeats
            .checked_add(reader.number()?)
            .ok_or(reader.damaged())?;
        let key = (repeats, reader.number()?, reader.number()?);
        let sums = spend::Sums {
            customers: reader.signed()?,
            total: reader.signed()?,
            ln_total: reader.signed()?,
        };
        if sums == spend::Sums::default() || !is_after(&groups, &key) {
            return Err(reader.damaged());
        }
        groups.insert(key, sums);
    }
    reader.end()?;
    Ok(groups)
}

fn is_after<K: Ord, V>(entries: &BTreeMap<K, V>, key: &K) -> bool {
    entries.last_key_value().is_none_or(|(last, _)| last < key)
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

    fn number<T: TryFrom<u128>>(&mut self) -> Result<T, BytesError> {
        T::try_from(self.raw()?).map_err(|_| self.damaged())
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
