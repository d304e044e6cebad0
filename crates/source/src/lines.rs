//! Physical lines, bounded in length.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};

/// Longest row that is taken in.
pub(crate) const MAX_ROW_BYTES: usize = 10 * 1024 * 1024;

/// How much of a longer one is kept.
const KEPT_OF_LONG: usize = 64 * 1024;

/// A line of the file as it stands, its end included.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Number in the file, from 1.
    pub(crate) number: u64,
    /// Its bytes with the line's end; only the first ones of a line that is too long.
    pub(crate) bytes: Vec<u8>,
    /// Length where it is more than [`MAX_ROW_BYTES`].
    pub(crate) too_long: Option<u64>,
}

/// `bytes` without a line's end.
pub(crate) fn without_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// The lines of a stream. Lines can be given back, to be read again.
pub(crate) struct Lines<R> {
    reader: R,
    next_number: u64,
    given_back: VecDeque<Line>,
    failed: Option<io::Error>,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R) -> Lines<R> {
        Lines {
            reader,
            next_number: 1,
            given_back: VecDeque::new(),
            failed: None,
        }
    }

    /// Makes `lines` the next ones again.
    pub(crate) fn give_back(&mut self, lines: Vec<Line>) {
        for line in lines.into_iter().rev() {
            self.given_back.push_front(line);
        }
    }

    /// Answers `error` once every line that was given back has been read again.
    pub(crate) fn fail_later(&mut self, error: io::Error) {
        self.failed = Some(error);
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// The stream cannot be read. What was read of the line is dropped: it is no whole line.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.given_back.pop_front() {
            return Ok(Some(line));
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut bytes = Vec::new();
        // One byte more than a row with its line's end may have.
        let limit = MAX_ROW_BYTES as u64 + 3;
        let read = (&mut self.reader)
            .take(limit)
            .read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Ok(None);
        }
        let number = self.next_number;
        self.next_number += 1;
        if number == 1 && bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        let mut too_long = None;
        if without_end(&bytes).len() > MAX_ROW_BYTES {
            let mut length = bytes.len() as u64;
            if !bytes.ends_with(b"\n") {
                length += self.skip_line()?;
            }
            bytes.truncate(KEPT_OF_LONG);
            bytes.shrink_to_fit();
            too_long = Some(length);
        }
        Ok(Some(Line {
            number,
            bytes,
            too_long,
        }))
    }

    /// Skips to the next line without keeping anything; how many bytes that were.
    fn skip_line(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(skipped);
            }
            let end = buffer.iter().position(|b| *b == b'\n');
            let n = end.map_or(buffer.len(), |at| at + 1);
            self.reader.consume(n);
            skipped += n as u64;
            if end.is_some() {
                return Ok(skipped);
            }
        }
    }
}
