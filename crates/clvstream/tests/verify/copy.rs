//! Copies of an embedded log in which one record is damaged, in the RocksDB underneath: the log itself
//! has no way to do that.

use std::path::{Path, PathBuf};

use rocksdb::{DB, Direction, IteratorMode, Options};

/// What happens to one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Damage {
    /// It is gone, and its offset is a gap.
    Removed,
    /// It stands there twice; what follows moves on.
    Doubled,
    /// The last byte of its value differs.
    Altered,
}

/// A copy of a folder with a deployment.
pub(crate) struct Copy(tempfile::TempDir);

impl Copy {
    pub(crate) fn of(folder: &Path) -> Copy {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(folder, copy.path());
        Copy(copy)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Damages a record in the middle of partition 0 of `topic`; answers where it is.
    pub(crate) fn damage(&self, topic: &str, damage: Damage) -> String {
        let path: PathBuf = self.path().join("clvstream-data").join("log");
        let db = DB::open_cf(&Options::default(), &path, ["default", "records"]).unwrap();
        let records = db.cf_handle("records").unwrap();
        let first = [&id(&db, topic)[..], &[0; 12]].concat();
        let all = db.iterator_cf(records, IteratorMode::From(&first, Direction::Forward));
        let all = all
            .map(Result::unwrap)
            .take_while(|(key, _)| key[..6] == first[..6]);
        let all: Vec<_> = all.collect();
        assert!(all.len() > 2, "{topic} has {} records", all.len());
        let (key, value) = &all[all.len() / 2];
        match damage {
            Damage::Removed => db.delete_cf(records, key).unwrap(),
            Damage::Altered => {
                let mut value = value.to_vec();
                *value.last_mut().unwrap() ^= 1;
                db.put_cf(records, key, value).unwrap();
            }
            Damage::Doubled => {
                for (key, value) in all[all.len() / 2..].iter().rev() {
                    let mut next = key.to_vec();
                    let offset = u64::from_be_bytes(key[6..].try_into().unwrap()) + 1;
                    next[6..].copy_from_slice(&offset.to_be_bytes());
                    db.put_cf(records, next, value).unwrap();
                }
            }
        }
        format!("{topic} partition 0")
    }
}

/// The two bytes that stand for `topic`.
fn id(db: &DB, topic: &str) -> [u8; 2] {
    let all = db.iterator(IteratorMode::From(b"t", Direction::Forward));
    let mut all = all
        .map(Result::unwrap)
        .take_while(|(key, _)| key[0] == b't');
    let (key, _) = all
        .find(|(_, value)| value.ends_with(topic.as_bytes()))
        .unwrap();
    [key[1], key[2]]
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}
