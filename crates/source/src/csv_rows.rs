//! Rows of columns from lines.
//!
//! A row is one line, or several where a quoted value holds a line's end. A quote that is never closed
//! would take in all that follows, so a row of several lines that does not come out right is given up
//! for its first line alone, and its other lines are read again as rows of their own: a stray quote
//! costs one row.

use std::io::{self, BufRead};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use wire::mapping::{CsvFormat, Delimiter};
use wire::{Rejection, RejectionClass};

use crate::lines::{Line, Lines, MAX_ROW_BYTES, without_end};

/// Most lines that one row may go over: a bound on what a stray quote makes us look at.
const MAX_ROW_LINES: usize = 10_000;

/// A row: where it begins, its bytes as they stand, and its values or what is wrong with it.
pub(crate) struct CsvRow {
    pub(crate) line: u64,
    pub(crate) raw: Vec<u8>,
    pub(crate) values: Result<Vec<String>, Rejection>,
}

/// Cuts lines into rows and rows into values.
pub(crate) struct CsvParser {
    delimiter: Delimiter,
    quote: Option<u8>,
    reader: Reader,
    /// How many values a row has to have, once that is known.
    pub(crate) width: Option<usize>,
}

impl CsvParser {
    pub(crate) fn new(format: &CsvFormat) -> CsvParser {
        let mut builder = ReaderBuilder::new();
        if let Delimiter::Byte(byte) = format.delimiter {
            builder.delimiter(byte);
        }
        match format.quote {
            Some(quote) => builder.quote(quote),
            None => builder.quoting(false),
        };
        CsvParser {
            delimiter: format.delimiter,
            quote: format.quote,
            reader: builder.build(),
            width: None,
        }
    }

    /// The next row; `None` at the end. Empty lines are no rows.
    pub(crate) fn next<R: BufRead>(&mut self, lines: &mut Lines<R>) -> io::Result<Option<CsvRow>> {
        let first = loop {
            match lines.next()? {
                None => return Ok(None),
                Some(line) if without_end(&line.bytes).is_empty() => {}
                Some(line) => break line,
            }
        };
        if let Some(length) = first.too_long {
            return Ok(Some(rejected(first, too_long(length))));
        }
        let mut size = first.bytes.len();
        let mut taken = vec![first];
        let mut quotes = Quotes::new(self.delimiter, self.quote);
        let verdict = loop {
            let last = taken.last().map_or(&[][..], |line| &line.bytes);
            match quotes.scan(last) {
                Verdict::Open => {}
                verdict => break verdict,
            }
            match lines.next() {
                Ok(Some(line))
                    if line.too_long.is_none()
                        && taken.len() < MAX_ROW_LINES
                        && size + line.bytes.len() <= MAX_ROW_BYTES =>
                {
                    size += line.bytes.len();
                    taken.push(line);
                }
                Ok(other) => {
                    lines.give_back(other.into_iter().collect());
                    break Verdict::Open;
                }
                // The lines that were taken may be good rows: they come first.
                Err(error) => {
                    lines.fail_later(error);
                    break Verdict::Open;
                }
            }
        };
        let values = match verdict {
            Verdict::Complete => self.split(&taken),
            Verdict::Open => Err(malformed("a quote is opened and never closed")),
            Verdict::Malformed => Err(malformed(
                "after a closing quote comes something else than a delimiter: a quote inside a \
                 quoted value is written twice",
            )),
        };
        let several = taken.len() > 1;
        let mut taken = taken.into_iter();
        let Some(first) = taken.next() else {
            return Ok(None);
        };
        match values {
            Err(rejection) if several => {
                lines.give_back(taken.collect());
                Ok(Some(rejected(first, rejection)))
            }
            values => {
                let line = first.number;
                let mut raw = first.bytes;
                for more in taken {
                    raw.extend_from_slice(&more.bytes);
                }
                raw.truncate(without_end(&raw).len());
                Ok(Some(CsvRow { line, raw, values }))
            }
        }
    }

    fn split(&mut self, lines: &[Line]) -> Result<Vec<String>, Rejection> {
        let values = match (self.delimiter, lines) {
            (Delimiter::Whitespace, _) => {
                let first = lines.first().map_or(&[][..], |line| &line.bytes);
                let text = std::str::from_utf8(first).map_err(|_| not_utf8())?;
                text.split_ascii_whitespace().map(str::to_owned).collect()
            }
            (Delimiter::Byte(_), [only]) => self.split_bytes(without_end(&only.bytes))?,
            (Delimiter::Byte(_), several) => {
                let joined: Vec<u8> = several.iter().flat_map(|l| &l.bytes).copied().collect();
                self.split_bytes(without_end(&joined))?
            }
        };
        match self.width {
            Some(width) if width != values.len() => Err(malformed(&format!(
                "{} values, but there are {width} columns",
                values.len()
            ))),
            _ => Ok(values),
        }
    }

    fn split_bytes(&mut self, row: &[u8]) -> Result<Vec<String>, Rejection> {
        self.reader.reset();
        let mut output = vec![0; row.len() + 1];
        let mut ends = vec![0; self.width.unwrap_or(16).max(1)];
        let (mut read, mut written, mut ended) = (0, 0, 0);
        loop {
            let (result, n_in, n_out, n_ends) = self.reader.read_record(
                row.get(read..).unwrap_or(&[]),
                output.get_mut(written..).unwrap_or(&mut []),
                ends.get_mut(ended..).unwrap_or(&mut []),
            );
            (read, written, ended) = (read + n_in, written + n_out, ended + n_ends);
            match result {
                // An empty input, which comes next, tells the reader that this was the end.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputEndsFull => ends.resize(ends.len() * 2, 0),
                ReadRecordResult::OutputFull => output.resize(output.len() * 2, 0),
                ReadRecordResult::Record | ReadRecordResult::End => break,
            }
        }
        let mut values = Vec::with_capacity(ended);
        let mut start = 0;
        for end in ends.into_iter().take(ended) {
            let bytes = output.get(start..end).unwrap_or(&[]);
            values.push(String::from_utf8(bytes.to_vec()).map_err(|_| not_utf8())?);
            start = end;
        }
        Ok(values)
    }
}

fn rejected(line: Line, rejection: Rejection) -> CsvRow {
    let mut raw = line.bytes;
    raw.truncate(without_end(&raw).len());
    CsvRow {
        line: line.number,
        raw,
        values: Err(rejection),
    }
}

fn malformed(what: &str) -> Rejection {
    Rejection::new(RejectionClass::MalformedRow, what)
}

pub(crate) fn not_utf8() -> Rejection {
    Rejection::new(
        RejectionClass::NotUtf8,
        "the row is not UTF-8: convert the file, for example with iconv",
    )
}

pub(crate) fn too_long(length: u64) -> Rejection {
    Rejection::new(
        RejectionClass::TooLarge,
        format!(
            "the line has {length} bytes, at most {MAX_ROW_BYTES} are taken in: only its first bytes are kept"
        ),
    )
}

enum Verdict {
    /// The row ends with this line.
    Complete,
    /// A quoted value goes on in the next line.
    Open,
    /// The quotes do not fit.
    Malformed,
}

#[derive(Clone, Copy)]
enum Within {
    Start,
    Plain,
    Quoted,
    AfterQuote,
}

/// Follows the quotes of a row over its lines. A quote inside a value that does not begin with one is
/// a character like any other.
struct Quotes {
    delimiter: Delimiter,
    quote: Option<u8>,
    within: Within,
}

impl Quotes {
    fn new(delimiter: Delimiter, quote: Option<u8>) -> Quotes {
        Quotes {
            delimiter,
            quote,
            within: Within::Start,
        }
    }

    fn scan(&mut self, line: &[u8]) -> Verdict {
        let (Some(quote), Delimiter::Byte(delimiter)) = (self.quote, self.delimiter) else {
            return Verdict::Complete;
        };
        if matches!(self.within, Within::Start) && !line.contains(&quote) {
            return Verdict::Complete;
        }
        for &byte in line {
            self.within = match (self.within, byte) {
                (Within::Quoted, b) if b == quote => Within::AfterQuote,
                (Within::Quoted, _) => Within::Quoted,
                (Within::AfterQuote | Within::Start, b) if b == quote => Within::Quoted,
                (_, b) if b == delimiter => Within::Start,
                (within, b'\r' | b'\n') => within,
                (Within::AfterQuote, _) => return Verdict::Malformed,
                (Within::Start | Within::Plain, _) => Within::Plain,
            };
        }
        match self.within {
            Within::Quoted => Verdict::Open,
            _ => Verdict::Complete,
        }
    }
}
