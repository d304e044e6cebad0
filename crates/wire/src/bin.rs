//! The compact binary primitives under state bytes and routed records: varints, zigzag integers,
//! length-prefixed text. Deterministic: one value, one encoding.

use domain::definitions::Tag;
use domain::event::Text;
use domain::money::{Minor, Units};
use domain::time::TimeMs;
use smol_str::SmolStrBuilder;

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
    fn put_text(&mut self, text: &str) {
        self.put_len(text.len());
        self.put_bytes(text.as_bytes());
    }
    fn put_opt_text(&mut self, text: Option<&Text>) {
        self.put_opt(text, |b, t| b.put_text(t));
    }
    /// An instant that is seldom later than `base`, as how much earlier it is.
    fn put_ago(&mut self, base: TimeMs, time: TimeMs) {
        self.put_varint(base.0.wrapping_sub(time.0) as u64);
    }
    /// An instant that is near `base`, as how much later it is.
    fn put_near(&mut self, base: TimeMs, time: TimeMs) {
        self.put_signed(time.0.wrapping_sub(base.0));
    }
    /// Which of these flags hold.
    fn put_flags(&mut self, flags: &[(u64, bool)]) {
        let set = flags.iter().filter(|(_, holds)| *holds);
        self.put_varint(set.fold(0, |all, (flag, _)| all | flag));
    }
    /// A hash, which a varint would only make longer.
    fn put_tag(&mut self, tag: Tag) {
        self.put_bytes(&tag.0.to_be_bytes());
    }
    /// A text as how many bytes it shares with `previous`, up to seven, and the rest.
    fn put_text_after(&mut self, previous: &str, text: &str) {
        let pairs = previous.bytes().zip(text.bytes()).take(MOST_SHARED);
        let mut shared = pairs.take_while(|(a, b)| a == b).count();
        while !text.is_char_boundary(shared) {
            shared -= 1;
        }
        let rest = &text[shared..];
        self.put_varint((rest.len() as u64) << SHARED_BITS | shared as u64);
        self.put_bytes(rest.as_bytes());
    }
    fn put_bytes(&mut self, bytes: &[u8]);
}

/// How many bits tell what a text shares with the one before it; with the length of the rest, up to
/// fifteen, they make one byte.
const SHARED_BITS: u32 = 3;
const MOST_SHARED: usize = (1 << SHARED_BITS) - 1;

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

    fn put_bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
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

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Corrupt> {
        let Some((taken, rest)) = self.bytes.split_first_chunk::<N>() else {
            return Err(self.corrupt("it ends too early"));
        };
        self.bytes = rest;
        Ok(*taken)
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
        self.str(len).map(Text::new)
    }

    fn str(&mut self, len: usize) -> Result<&'a str, Corrupt> {
        let bytes = self.slice(len)?;
        std::str::from_utf8(bytes).map_err(|_| self.corrupt("a text is not UTF-8"))
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

    /// What a flag says is there.
    pub(crate) fn when<T>(
        &mut self,
        is_there: bool,
        read: impl FnOnce(&mut Self) -> Result<T, Corrupt>,
    ) -> Result<Option<T>, Corrupt> {
        is_there.then(|| read(self)).transpose()
    }

    pub(crate) fn flags(&mut self, known: u64) -> Result<u64, Corrupt> {
        let flags = self.varint()?;
        if flags & !known != 0 {
            return Err(self.corrupt("a flag is unknown"));
        }
        Ok(flags)
    }

    pub(crate) fn tag(&mut self) -> Result<Tag, Corrupt> {
        Ok(Tag(u32::from_be_bytes(self.array()?)))
    }

    pub(crate) fn text_after(&mut self, previous: &str) -> Result<Text, Corrupt> {
        let head = self.varint()?;
        let Some(shared) = previous.get(..head as usize & MOST_SHARED) else {
            return Err(self.corrupt("a text shares more than there is"));
        };
        let len = usize::try_from(head >> SHARED_BITS).unwrap_or(usize::MAX);
        let rest = self.str(len)?;
        if shared.is_empty() {
            return Ok(Text::new(rest));
        }
        let mut text = SmolStrBuilder::new();
        text.push_str(shared);
        text.push_str(rest);
        Ok(text.finish())
    }

    pub(crate) fn ago(&mut self, base: TimeMs) -> Result<TimeMs, Corrupt> {
        Ok(TimeMs(base.0.wrapping_sub(self.varint()? as i64)))
    }

    pub(crate) fn near(&mut self, base: TimeMs) -> Result<TimeMs, Corrupt> {
        Ok(TimeMs(base.0.wrapping_add(self.signed()?)))
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
