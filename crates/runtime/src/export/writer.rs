//! Rows as CSV or as lines of JSON.

use std::io::Write;

use serde_json::{Map, Value};

use super::Row;
use crate::error::RuntimeError;

/// How rows are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableFormat {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

/// Writes rows in one format; the first row gives the columns.
pub struct TableWriter<W: Write>(Inner<W>);

enum Inner<W: Write> {
    Csv {
        out: Box<csv::Writer<W>>,
        has_header: bool,
    },
    JsonLines(W),
}

impl<W: Write> TableWriter<W> {
    /// A writer to `out`.
    pub fn new(out: W, format: TableFormat) -> TableWriter<W> {
        TableWriter(match format {
            TableFormat::Csv => Inner::Csv {
                out: Box::new(csv::Writer::from_writer(out)),
                has_header: false,
            },
            TableFormat::JsonLines => Inner::JsonLines(out),
        })
    }

    /// Writes one row.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn write(&mut self, row: Row) -> Result<(), RuntimeError> {
        match &mut self.0 {
            Inner::Csv { out, has_header } => {
                if !*has_header {
                    out.write_record(row.iter().map(|(name, _)| name))
                        .map_err(io_of)?;
                    *has_header = true;
                }
                out.write_record(row.iter().map(|(_, value)| plain(value)))
                    .map_err(io_of)?;
            }
            Inner::JsonLines(out) => {
                let object: Map<String, Value> = row.into_iter().collect();
                serde_json::to_writer(&mut *out, &object).map_err(std::io::Error::from)?;
                out.write_all(b"\n")?;
            }
        }
        Ok(())
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn finish(self) -> Result<(), RuntimeError> {
        match self.0 {
            Inner::Csv { mut out, .. } => out.flush()?,
            Inner::JsonLines(mut out) => out.flush()?,
        }
        Ok(())
    }
}

/// What the operating system said, so that a closed pipe is known for one.
fn io_of(error: csv::Error) -> std::io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => std::io::Error::other(format!("{other:?}")),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
