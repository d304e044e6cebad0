//! The mark that a store is damaged: a file in its folder. RocksDB finds damage only where it reads,
//! so that a store which opens may be damaged all the same; the mark makes what was once found hold.
//!
//! Invariant: a folder with the mark is never opened again. Removing the folder removes the mark.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// RocksDB leaves files of foreign names alone.
const MARK: &str = "DAMAGED";

/// Marks the store in `dir`. Where that cannot be written, whoever reads the damaged place next finds
/// it again.
pub(crate) fn mark(dir: &Path, what: &str) {
    let _ = fs::write(dir.join(MARK), what);
}

/// What was found damaged about the store in `dir`, if anything was.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn marked(dir: &Path) -> std::io::Result<Option<String>> {
    match fs::read(dir.join(MARK)) {
        Ok(what) => Ok(Some(String::from_utf8_lossy(&what).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
