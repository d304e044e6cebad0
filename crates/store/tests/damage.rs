//! Damage to a store's files: it is found where it is read, never answered as a value, and the store is
//! not opened again.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::port::{Committed, StateError, StateReader, StateStore, Table, Write};
use store::{Shared, StoreError, TaskStore};

const TASK: u32 = 3;

fn derive(_: &[u8], _: &[u8]) -> Option<Vec<u8>> {
    None
}

fn open(dir: &Path, shared: &Shared) -> TaskStore {
    TaskStore::open(dir, TASK, b"incarnation", shared, derive).unwrap()
}

/// What may become of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Harm {
    /// So many bytes are others, from this percentage of the file on.
    Flip {
        at: usize,
        bytes: usize,
    },
    CutInHalf,
    Remove,
}

fn harm(path: &Path, harm: Harm) {
    let mut bytes = std::fs::read(path).unwrap();
    match harm {
        Harm::Flip { at, bytes: count } => {
            let first = bytes.len() * at / 100;
            let range = first..first.saturating_add(count).min(bytes.len());
            bytes[range].iter_mut().for_each(|byte| *byte ^= 0x55);
        }
        Harm::CutInHalf => bytes.truncate(bytes.len() / 2),
        Harm::Remove => return std::fs::remove_file(path).unwrap(),
    }
    std::fs::write(path, bytes).unwrap();
}

/// The largest of a store's files whose names begin or end so.
fn file(dir: &Path, part: &str) -> PathBuf {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let is_one = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(part) || name.ends_with(part)
    };
    let size = |path: &PathBuf| path.metadata().unwrap().len();
    entries.filter(is_one).max_by_key(size).unwrap()
}

/// A value that does not compress, the same for the same key.
fn value(key: u32) -> Vec<u8> {
    let mut state = u64::from(key) + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..500).map(|_| next()).collect()
}

const KEYS: u32 = 2_000;

/// Restores everything into `store`.
fn fill(store: &mut TaskStore) {
    for key in 0..KEYS {
        let full = Table::Days.full_key(&key.to_be_bytes());
        let offset = u64::from(key);
        store.restore(offset, &full, Some(&value(key))).unwrap();
    }
    store.mark_restored(u64::from(KEYS)).unwrap();
}

fn read_all(store: &TaskStore) -> Result<(), StateError> {
    for key in 0..KEYS {
        let found = store.get(Table::Days, &key.to_be_bytes())?;
        assert_eq!(
            found.as_deref(),
            Some(&value(key)[..]),
            "never a wrong value"
        );
    }
    Ok(())
}

#[test]
fn damage_is_found_at_opening_or_at_reading_and_the_store_is_never_opened_again() {
    let flip = |at, bytes| Harm::Flip { at, bytes };
    // Which file, what becomes of it, and whether it shows when the store is opened.
    let cases = [
        (".sst", flip(10, 1), false),
        (".sst", flip(50, 1), false),
        (".sst", flip(50, 4_096), false),
        (".sst", flip(80, 64), false),
        (".sst", flip(0, usize::MAX), true),
        (".sst", Harm::CutInHalf, true),
        (".sst", Harm::Remove, true),
        ("MANIFEST", flip(30, 16), true),
        ("MANIFEST", Harm::Remove, true),
        ("CURRENT", flip(0, 4), true),
    ];
    for (part, what, at_opening) in cases {
        let case = format!("{part}, {what:?}");
        let dir = tempfile::tempdir().unwrap();
        let shared = Shared::new(64 << 20);
        let mut store = open(dir.path(), &shared);
        fill(&mut store);
        store.checkpoint().unwrap();
        drop(store);
        harm(&file(dir.path(), part), what);

        // Nothing of it is in the block cache of another process.
        let shared = Shared::new(64 << 20);
        let opened = TaskStore::open(dir.path(), TASK, b"incarnation", &shared, derive);
        match (opened, at_opening) {
            (Err(StoreError::Corrupt { .. }), true) => {}
            (Ok(store), false) => {
                let read = read_all(&store);
                let found = matches!(&read, Err(StateError::Damaged(_)));
                assert!(found, "{case}: {read:?}");
                drop(store);
                let again = TaskStore::open(dir.path(), TASK, b"incarnation", &shared, derive);
                let refused = matches!(again, Err(StoreError::Corrupt { .. }));
                assert!(refused, "{case}: opened again");
            }
            (opened, _) => panic!("{case}: {:?}", opened.err()),
        }
        std::fs::remove_dir_all(dir.path()).unwrap();
        let mut store = open(dir.path(), &shared);
        fill(&mut store);
        read_all(&store).unwrap();
    }
}

#[test]
fn damage_that_is_found_while_writing_stops_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Shared::new(64 << 20);
    let mut store = open(dir.path(), &shared);
    fill(&mut store);
    store.checkpoint().unwrap();
    harm(&file(dir.path(), ".sst"), Harm::Flip { at: 50, bytes: 1 });
    // The same keys again and again: sooner or later files are merged.
    let mut end = u64::from(KEYS);
    let failed = (0..50).find_map(|round: u8| {
        end += u64::from(KEYS);
        let write = |n: u32| Write {
            table: Table::Days,
            key: n.to_be_bytes().to_vec(),
            value: Some(Arc::from([round; 20].as_slice())),
        };
        let committed = Committed {
            task: TASK,
            delta: (0..KEYS).map(write).collect(),
            changelog_end: end,
        };
        let written = store.apply(committed).and_then(|()| store.checkpoint());
        written.err()
    });
    assert!(
        matches!(failed, Some(StoreError::Corrupt { .. })),
        "{failed:?}"
    );
    drop(store);
    let again = TaskStore::open(dir.path(), TASK, b"incarnation", &shared, derive);
    assert!(matches!(again, Err(StoreError::Corrupt { .. })));
}

#[test]
fn what_others_find_damaged_is_not_opened_again_either() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Shared::new(64 << 20);
    let mut store = open(dir.path(), &shared);
    StateStore::condemn(&mut store, "a profile makes no sense");
    drop(store);
    let again = TaskStore::open(dir.path(), TASK, b"incarnation", &shared, derive);
    let Err(StoreError::Corrupt { detail, .. }) = again else {
        panic!("opened again");
    };
    assert_eq!(detail, "a profile makes no sense");
}
