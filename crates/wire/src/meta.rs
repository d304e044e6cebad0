//! Small records of bookkeeping, for what other crates keep in state: a format version, then
//! numbers, instants and texts in an order that reader and writer agree on.

use domain::event::Text;
use domain::time::TimeMs;

use crate::bin::{Corrupt, Put, Take};

/// Version of bookkeeping records that have had only one.
const FIRST: u8 = 1;

/// Writes a record.
#[derive(Debug)]
pub struct MetaWriter(Vec<u8>);

impl MetaWriter {
    /// An empty record.
    #[must_use]
    pub fn new() -> MetaWriter {
        MetaWriter::of_version(FIRST)
    }

    /// An empty record in version `version` of its format.
    #[must_use]
    pub fn of_version(version: u8) -> MetaWriter {
        MetaWriter(vec![version])
    }

    /// Appends a number.
    pub fn number(&mut self, value: u64) {
        self.0.put_varint(value);
    }

    /// Appends an instant.
    pub fn time(&mut self, time: TimeMs) {
        self.0.put_time(time);
    }

    /// Appends a text.
    pub fn text(&mut self, text: &str) {
        self.0.put_text(text);
    }

    /// The record's bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

impl Default for MetaWriter {
    fn default() -> MetaWriter {
        MetaWriter::new()
    }
}

/// Reads a record.
#[derive(Debug)]
pub struct MetaReader<'a>(Take<'a>);

impl<'a> MetaReader<'a> {
    /// A reader of `bytes`.
    ///
    /// # Errors
    /// [`Corrupt`]: a format that this version does not know.
    pub fn new(bytes: &'a [u8]) -> Result<MetaReader<'a>, Corrupt> {
        MetaReader::up_to_version(FIRST, bytes).map(|(_, reader)| reader)
    }

    /// A reader of `bytes`, and the version that they are in: `newest` or an earlier one.
    ///
    /// # Errors
    /// [`Corrupt`]: a format that this version does not know.
    pub fn up_to_version(newest: u8, bytes: &'a [u8]) -> Result<(u8, MetaReader<'a>), Corrupt> {
        let mut take = Take::new(bytes, "a bookkeeping record");
        let version = take.u8()?;
        if !(FIRST..=newest).contains(&version) {
            return Err(take.corrupt("it is of an unknown format version"));
        }
        Ok((version, MetaReader(take)))
    }

    /// The next number.
    ///
    /// # Errors
    /// [`Corrupt`]: the bytes are damaged.
    pub fn number(&mut self) -> Result<u64, Corrupt> {
        self.0.varint()
    }

    /// The next number, as one that fits 32 bits.
    ///
    /// # Errors
    /// [`Corrupt`]: the bytes are damaged.
    pub fn small(&mut self) -> Result<u32, Corrupt> {
        self.0.u32()
    }

    /// The next instant.
    ///
    /// # Errors
    /// [`Corrupt`]: the bytes are damaged.
    pub fn time(&mut self) -> Result<TimeMs, Corrupt> {
        self.0.time()
    }

    /// The next text.
    ///
    /// # Errors
    /// [`Corrupt`]: the bytes are damaged.
    pub fn text(&mut self) -> Result<Text, Corrupt> {
        self.0.text()
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`Corrupt`]: something is.
    pub fn finish(self) -> Result<(), Corrupt> {
        self.0.finish()
    }
}
