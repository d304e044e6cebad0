//! Foreign files, row by row: plain, gzip or zstd; CSV or JSON lines.
//!
//! Invariants: a file is never held in memory; a row carries its number and its bytes as they stand in
//! the file, so that a rejected one can be kept; a row that cannot be read is one rejected row, and
//! reading goes on with the next line; a file that ends before its compressed data does is an error
//! after the last good row, never a silent end.

#![forbid(unsafe_code)]

mod check;
mod compression;
mod csv_rows;
mod lines;
mod render;
mod rows;

pub use check::{
    MappedSample, MappingCheck, Place, RejectedSample, TopicRecord, Tried, mapping_check,
    topic_check,
};
pub use compression::Progress;
pub use render::render;
pub use rows::{Content, RowReader, SourceError, SourceRow};
