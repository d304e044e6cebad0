//! The rows of a file, ready to be mapped.

use std::io::{self, Read};
use std::path::Path;

use domain::time::TimeMs;
use serde_json::Value;
use wire::mapping::{
    CsvFormat, Format, Mapping, MappingProblem, Origin, Outcomes, Row, RowContext,
};
use wire::{InputRules, Rejection, RejectionClass};

use crate::compression::{self, Bytes, Progress};
use crate::csv_rows::{CsvParser, not_utf8, too_long};
use crate::lines::{Lines, without_end};

/// A file cannot be read, or not to its end. Rows that came before count.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be opened.
    #[error("cannot open {file}: {error}")]
    Open {
        /// The file.
        file: String,
        /// What the system says.
        error: io::Error,
    },
    /// It ends before its compressed data does.
    #[error(
        "{file} is truncated: its compressed data ends in the middle, after row {row}; the rows \
         before are good, get the file again for the rest"
    )]
    Truncated {
        /// The file.
        file: String,
        /// The last good row.
        row: u64,
    },
    /// It cannot be read on.
    #[error("cannot read {file} beyond row {row}: {error}")]
    Read {
        /// The file.
        file: String,
        /// The last good row.
        row: u64,
        /// What the system, or the decompressor, says.
        error: io::Error,
    },
    /// It is of a kind that is not read.
    #[error("{file} is {what}")]
    Unsupported {
        /// The file.
        file: String,
        /// What it is, and what to do.
        what: &'static str,
    },
    /// Its first line does not name the columns.
    #[error("{file}: {what}")]
    Header {
        /// The file.
        file: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The mapping names columns that the file does not have.
    #[error("the mapping does not fit {file}:{}", list(.problems))]
    Columns {
        /// The file.
        file: String,
        /// Each place that does not fit.
        problems: Vec<MappingProblem>,
    },
}

fn list(problems: &[MappingProblem]) -> String {
    problems.iter().map(|p| format!("\n  {p}")).collect()
}

/// A row of a file.
#[derive(Clone, PartialEq, Debug)]
pub struct SourceRow {
    /// Its number, from 1; a header and empty lines are none.
    pub row: u64,
    /// The line that it begins on, from 1.
    pub line: u64,
    /// Its bytes as they stand in the file, without the line's end (of a line beyond 10 MiB: the
    /// first 64 KiB).
    pub raw: Vec<u8>,
    /// What it holds.
    pub content: Content,
}

/// What a row holds.
#[derive(Clone, PartialEq, Debug)]
pub enum Content {
    /// The values of its columns.
    Columns(Vec<String>),
    /// A JSON value.
    Json(Value),
    /// Nothing that could be mapped, and why.
    Rejected(Rejection),
}

/// Reads the rows of one file in its order. After an error, or at the end, there are no more.
pub struct RowReader {
    file: String,
    name: String,
    lines: Lines<Bytes>,
    form: Form,
    columns: Vec<String>,
    progress: Progress,
    row: u64,
    ended: bool,
}

enum Form {
    Csv(Box<CsvParser>),
    Json,
}

impl RowReader {
    /// Opens the file at `path` to be mapped by `mapping`, and checks that it has the columns that
    /// the mapping names.
    ///
    /// # Errors
    /// The file cannot be opened, is of a kind that is not read, or does not fit the mapping.
    pub fn open(path: &Path, mapping: &Mapping) -> Result<RowReader, SourceError> {
        let (bytes, progress) = compression::open(path)?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        let name = name.to_string_lossy().into_owned();
        RowReader::begin(path.display().to_string(), name, bytes, progress, mapping)
    }

    /// The same for any input, such as a pipe, under the name `name`.
    ///
    /// # Errors
    /// As [`RowReader::open`].
    pub fn from_input(
        name: &str,
        input: impl Read + Send + 'static,
        mapping: &Mapping,
    ) -> Result<RowReader, SourceError> {
        let (bytes, progress) = compression::decompress(name, input, None)?;
        RowReader::begin(name.to_owned(), name.to_owned(), bytes, progress, mapping)
    }

    fn begin(
        file: String,
        name: String,
        mut bytes: Bytes,
        progress: Progress,
        mapping: &Mapping,
    ) -> Result<RowReader, SourceError> {
        let start = bytes.fill_buf().map_err(|e| failed(&file, 0, e))?;
        if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
            return Err(SourceError::Unsupported {
                file,
                what: "UTF-16: convert it to UTF-8, for example with iconv",
            });
        }
        let uncompressed = name
            .strip_suffix(".gz")
            .or_else(|| name.strip_suffix(".zst"));
        let mut reader = RowReader {
            name: uncompressed.unwrap_or(&name).to_owned(),
            file,
            lines: Lines::new(bytes),
            form: Form::Json,
            columns: Vec::new(),
            progress,
            row: 0,
            ended: false,
        };
        if let Format::Csv(format) = mapping.format() {
            reader.begin_csv(format)?;
            mapping
                .check_columns(&reader.columns)
                .map_err(|problems| SourceError::Columns {
                    file: reader.file.clone(),
                    problems,
                })?;
        }
        Ok(reader)
    }

    fn begin_csv(&mut self, format: &CsvFormat) -> Result<(), SourceError> {
        let mut parser = CsvParser::new(format);
        let wrong = |what: String| SourceError::Header {
            file: self.file.clone(),
            what,
        };
        let header = match format.header {
            false => None,
            true => {
                let first = parser.next(&mut self.lines);
                let first = first.map_err(|e| failed(&self.file, 0, e))?;
                let Some(first) = first else {
                    return Err(wrong(
                        "the file is empty: a first line with the columns' names is expected"
                            .into(),
                    ));
                };
                let names = first.values.map_err(|rejection| {
                    wrong(format!(
                        "the first line does not name the columns: {rejection}"
                    ))
                })?;
                Some(names)
            }
        };
        self.columns = match (header, &format.columns) {
            (Some(header), Some(names)) if header.len() != names.len() => {
                return Err(wrong(format!(
                    "the first line has {} columns, the mapping names {}",
                    header.len(),
                    names.len()
                )));
            }
            (_, Some(names)) => names.clone(),
            (header, None) => header.unwrap_or_default(),
        };
        for (at, name) in self.columns.iter().enumerate() {
            if self.columns.iter().take(at).any(|earlier| earlier == name) {
                return Err(wrong(format!(
                    "two columns are named `{name}`: name them all in the mapping, \
                     `columns = [...]` under `[csv]`"
                )));
            }
        }
        parser.width = Some(self.columns.len());
        self.form = Form::Csv(Box::new(parser));
        Ok(())
    }

    /// The name that `$file` stands for: without folder, `.gz` and `.zst`, so that it does not
    /// depend on where the file lies and how it is packed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The columns' names; none for JSON.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// How much of the file has been read.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// The events of `row`, which this reader gave. A row that could not be read is its rejection.
    #[must_use]
    pub fn apply<'m>(
        &self,
        row: &SourceRow,
        mapping: &'m Mapping,
        record_time: TimeMs,
        rules: &InputRules,
    ) -> Outcomes<'m> {
        let origin = Origin::File {
            name: &self.name,
            row: row.row,
        };
        let context = RowContext {
            origin,
            record_time,
        };
        match &row.content {
            Content::Rejected(rejection) => vec![Err(rejection.clone())],
            Content::Json(value) => mapping.apply(&Row::Json(value), &context, rules),
            Content::Columns(values) => {
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                let names = &self.columns;
                let row = Row::Columns {
                    names,
                    values: &values,
                };
                mapping.apply(&row, &context, rules)
            }
        }
    }

    fn read(&mut self) -> io::Result<Option<SourceRow>> {
        let row = match &mut self.form {
            Form::Csv(parser) => parser.next(&mut self.lines)?.map(|row| SourceRow {
                row: 0,
                line: row.line,
                raw: row.raw,
                content: row.values.map_or_else(Content::Rejected, Content::Columns),
            }),
            Form::Json => self.next_json()?,
        };
        Ok(row.map(|row| {
            self.row += 1;
            SourceRow {
                row: self.row,
                ..row
            }
        }))
    }

    fn next_json(&mut self) -> io::Result<Option<SourceRow>> {
        while let Some(line) = self.lines.next()? {
            let mut raw = line.bytes;
            raw.truncate(without_end(&raw).len());
            if raw.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let content = match line.too_long {
                Some(length) => Content::Rejected(too_long(length)),
                None => parse_json(&raw).map_or_else(Content::Rejected, Content::Json),
            };
            return Ok(Some(SourceRow {
                row: 0,
                line: line.number,
                raw,
                content,
            }));
        }
        Ok(None)
    }
}

fn parse_json(raw: &[u8]) -> Result<Value, Rejection> {
    let text = std::str::from_utf8(raw).map_err(|_| not_utf8())?;
    serde_json::from_str(text).map_err(|error| {
        let what = format!("the line is not JSON, at column {}", error.column());
        Rejection::new(RejectionClass::NotJson, what)
    })
}

fn failed(file: &str, row: u64, error: io::Error) -> SourceError {
    let file = file.to_owned();
    match error.kind() {
        io::ErrorKind::UnexpectedEof => SourceError::Truncated { file, row },
        _ => SourceError::Read { file, row, error },
    }
}

impl Iterator for RowReader {
    type Item = Result<SourceRow, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.read() {
            Ok(Some(row)) => Some(Ok(row)),
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(error) => {
                self.ended = true;
                Some(Err(failed(&self.file, self.row, error)))
            }
        }
    }
}
