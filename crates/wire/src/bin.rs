//! The compact binary primitives under state bytes and routed records: varints, zigzag integers,
//! length-prefixed text. Deterministic: one value, one encoding.

use domain::event::Text;
use domain::money::{Minor, Units};
use domain::time::TimeMs;

/// Bytes that this software wrote and cannot read again: damage, or a newer format.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cannot read {what}: {problem}")]
pub struct Corrupt {
    /// What was to be read.
    pub what: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Appends to a buffer.
pub(crate) trait Put {
    fn put_u8(&mut self, value: u8);
    fn put_varint(&mut self, value: u64);
    fn put_text(&mut self, text: &str);

    fn put_signed(&mut self, value: i64) {
        self.put_varint(((value << 1) ^ (value >> 63)) as u64);
    }
    fn put_u32(&mut self, value: u32) {
        self.put_varint(u64::from(value));
    }
    fn put_len(&mut self, len: usize) {
        self.put_varint(len as u64);
    }
    fn put_time(&mut self, time: TimeMs) {
        self.put_signed(time.0);
    }
    fn put_minor(&mut self, amount: Minor) {
        self.put_signed(amount.0);
    }
    fn put_units(&mut self, units: Units) {
        self.put_signed(units.0);
    }
    fn put_opt<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        match value {
            None => self.put_u8(0),
            Some(value) => {
                self.put_u8(1);
                put(self, value);
            }
        }
    }
    fn put_opt_text(&mut self, text: Option<&Text>) {
        self.put_opt(text, |b, t| b.put_text(t));
    }
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn put_text(&mut self, text: &str) {
        self.put_varint(text.len() as u64);
        self.extend_from_slice(text.as_bytes());
    }
}

/// Reads from a slice; every read is checked against its end.
#[derive(Debug)]
pub(crate) struct Take<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Take<'a> {
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Take<'a> {
        Take { bytes, what }
    }

    pub(crate) fn corrupt(&self, problem: &'static str) -> Corrupt {
        Corrupt {
            what: self.what,
            problem,
        }
    }

    pub(crate) fn finish(self) -> Result<(), Corrupt> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(self.corrupt("bytes left over"))
        }
    }

    pub(crate) fn slice(&mut self, len: usize) -> Result<&'a [u8], Corrupt> {
        let Some((taken, rest)) = self.bytes.split_at_checked(len) else {
            return Err(self.corrupt("it ends too early"));
        };
        self.bytes = rest;
        Ok(taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Corrupt> {
        Ok(self.slice(1)?[0])
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Corrupt> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.corrupt("an integer is too long"))
    }

    pub(crate) fn signed(&mut self) -> Result<i64, Corrupt> {
        let raw = self.varint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Corrupt> {
        let value = self.varint()?;
        u32::try_from(value).map_err(|_| self.corrupt("an integer is out of range"))
    }

    /// A count of things that take at least `least` bytes each: never more than the bytes left can
    /// hold, so that damage cannot ask for gigabytes.
    pub(crate) fn len(&mut self, least: usize) -> Result<usize, Corrupt> {
        let value = self.varint()?;
        match usize::try_from(value) {
            Ok(len) if len.saturating_mul(least) <= self.bytes.len() => Ok(len),
            _ => Err(self.corrupt("a length is out of range")),
        }
    }

    pub(crate) fn list<T>(
        &mut self,
        least: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, Corrupt>,
    ) -> Result<Vec<T>, Corrupt> {
        let len = self.len(least)?;
        let mut list = Vec::with_capacity(len);
        for _ in 0..len {
            list.push(read(self)?);
        }
        Ok(list)
    }

    pub(crate) fn text(&mut self) -> Result<Text, Corrupt> {
        let len = self.len(1)?;
        let bytes = self.slice(len)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Text::new(text)),
            Err(_) => Err(self.corrupt("a text is not UTF-8")),
        }
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Corrupt> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.corrupt("a flag is neither 0 nor 1")),
        }
    }

    pub(crate) fn opt<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Corrupt>,
    ) -> Result<Option<T>, Corrupt> {
        if self.flag()? {
            read(self).map(Some)
        } else {
            Ok(None)
        }
    }

    pub(crate) fn opt_text(&mut self) -> Result<Option<Text>, Corrupt> {
        self.opt(Self::text)
    }

    pub(crate) fn time(&mut self) -> Result<TimeMs, Corrupt> {
        Ok(TimeMs(self.signed()?))
    }

    pub(crate) fn minor(&mut self) -> Result<Minor, Corrupt> {
        Ok(Minor(self.signed()?))
    }

    pub(crate) fn units(&mut self) -> Result<Units, Corrupt> {
        Ok(Units(self.signed()?))
    }
}
