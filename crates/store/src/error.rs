//! What can go wrong with a store, and what to do about it.

use std::path::{Path, PathBuf};

use engine::port::StateError;

use crate::rocks::Fault;

/// A store cannot be opened, read or written. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process, or another store of this one, has the folder open.
    #[error(
        "state in {0} is in use by another process: stop that process, or choose another data folder"
    )]
    Locked(PathBuf),
    /// The device is full. What is committed is in the changelog and is not lost.
    #[error(
        "no space left for state in {0}: free some space and start again; committed work is in the changelog and not lost"
    )]
    DiskFull(PathBuf),
    /// The process may not read or write the folder.
    #[error("state in {0} cannot be accessed: make the folder readable and writable for this user")]
    Denied(PathBuf),
    /// The data is damaged, or was found damaged before.
    #[error(
        "state in {path} is damaged ({detail}): it is rebuilt from the changelog when its task is opened next"
    )]
    Corrupt {
        /// The store's folder.
        path: PathBuf,
        /// What RocksDB said.
        detail: String,
    },
    /// The store was written in a format that this build does not read.
    #[error(
        "state in {path} has format {found}, this build reads {expected}: use the build that wrote it, or move the folder away to have it rebuilt from the changelog"
    )]
    Format {
        /// The store's folder.
        path: PathBuf,
        /// The format found.
        found: u8,
        /// The format that this build reads and writes.
        expected: u8,
    },
    /// The folder holds another task's state.
    #[error(
        "state in {path} belongs to task {found}, not to task {expected}: correct the data folder; folders of tasks must not be renamed"
    )]
    Task {
        /// The store's folder.
        path: PathBuf,
        /// The task whose state it is.
        found: u32,
        /// The task that was to be opened.
        expected: u32,
    },
    /// The state belongs to another incarnation of the changelog.
    #[error(
        "state in {path} belongs to another log: its changelog was recreated or the data folder is another application's; correct the data folder, or move this one away to have it rebuilt from the changelog"
    )]
    Incarnation {
        /// The store's folder.
        path: PathBuf,
        /// The incarnation whose state it is.
        found: Vec<u8>,
    },
    /// The store holds more than its changelog.
    #[error(
        "state in {path} is ahead of its changelog (position {position}, changelog ends at {end}): the log lost commits, being opened without sync or replaced by an older copy; move the folder away to have it rebuilt from the changelog"
    )]
    Ahead {
        /// The store's folder.
        path: PathBuf,
        /// The store's position.
        position: u64,
        /// The offset after the changelog's last record.
        end: u64,
    },
    /// Work of another task was handed in.
    #[error(
        "work of task {found} cannot be applied to the state of task {expected}: this is a bug, please report it"
    )]
    WrongTask {
        /// The task whose work it is.
        found: u32,
        /// The task whose state this is.
        expected: u32,
    },
    /// A changelog record that this build cannot place.
    #[error(
        "changelog record at offset {0} belongs to no table that this build knows: use the build that wrote it"
    )]
    UnknownTable(u64),
    /// Anything else that RocksDB reports.
    #[error(
        "state in {path} cannot be read or written ({detail}): check the device, then start again"
    )]
    Io {
        /// The store's folder.
        path: PathBuf,
        /// What RocksDB said.
        detail: String,
    },
}

impl StoreError {
    /// Words what RocksDB reports about the store in `path`.
    pub(crate) fn from_rocks(path: &Path, error: rocksdb::Error) -> StoreError {
        let path = path.to_path_buf();
        match Fault::of(&error) {
            Fault::Locked => StoreError::Locked(path),
            Fault::DiskFull => StoreError::DiskFull(path),
            Fault::Denied => StoreError::Denied(path),
            // A file that RocksDB knows of is gone: nobody but a person or the device removes one.
            Fault::Corrupt | Fault::Missing => StoreError::Corrupt {
                path,
                detail: error.into_string(),
            },
            Fault::Other => StoreError::Io {
                path,
                detail: error.into_string(),
            },
        }
    }
}

impl From<StoreError> for StateError {
    fn from(error: StoreError) -> StateError {
        match error {
            StoreError::Corrupt { .. } => StateError::Damaged(error.to_string()),
            error => StateError::Failed(error.to_string()),
        }
    }
}
