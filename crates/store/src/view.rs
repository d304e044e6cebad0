//! Looking into a task's store from the outside, also while another process has it open.
//!
//! A view is RocksDB opened for reading only: it takes no lock and writes nothing. It shows what had
//! been made durable when it was opened, with the position that belongs to it.

use std::path::{Path, PathBuf};

use engine::port::Table;
use rocksdb::{DB, IteratorMode};

use crate::error::StoreError;
use crate::rocks::Shared;
use crate::task::{HEAD_KEY, check_head, db_options};

/// An entry: table, key without the table's byte, value.
pub type ViewEntry = (Table, Vec<u8>, Vec<u8>);

/// A store as it was when it was opened.
pub struct StoreView {
    db: DB,
    dir: PathBuf,
    position: u64,
}

impl StoreView {
    /// Opens a view of the store of `task` in the folder `dir`; `None`: there is none, or it holds
    /// nothing durable yet.
    ///
    /// # Errors
    /// It is damaged, not accessible, or holds other state than the one named.
    pub fn open(
        dir: &Path,
        task: u32,
        incarnation: &[u8],
        shared: &Shared,
    ) -> Result<Option<StoreView>, StoreError> {
        if !dir.join("CURRENT").is_file() {
            return Ok(None);
        }
        let mut options = db_options(shared);
        options.create_if_missing(false);
        let db = DB::open_for_read_only(&options, dir, false)
            .map_err(|e| StoreError::from_rocks(dir, e))?;
        let head = db
            .get(HEAD_KEY)
            .map_err(|e| StoreError::from_rocks(dir, e))?;
        let Some(head) = head else {
            return Ok(None);
        };
        let position = check_head(&head, dir, task, incarnation)?;
        Ok(Some(StoreView {
            db,
            dir: dir.to_path_buf(),
            position,
        }))
    }

    /// The changelog offset from which a restore would start.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Everything in it, in the order of keys.
    pub fn entries(&self) -> impl Iterator<Item = Result<ViewEntry, StoreError>> {
        let all = self.db.iterator(IteratorMode::Start);
        all.filter_map(|entry| match entry {
            Ok((key, value)) => {
                let (table, key) = Table::split(&key)?;
                Some(Ok((table, key.to_vec(), value.to_vec())))
            }
            Err(error) => Some(Err(StoreError::from_rocks(&self.dir, error))),
        })
    }
}
