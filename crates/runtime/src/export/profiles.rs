//! The profiles of several tasks as one sequence, in the order of their keys.

use std::sync::Arc;

use domain::definitions::Definitions;
use domain::event::Owner;
use domain::prediction::Versions;
use domain::profile::Profile;
use engine::port::{StateReader, Table};
use engine::worker::Owned;
use store::TaskStore;
use wire::state::decode_profile;

use crate::error::RuntimeError;

/// How many entries one scan of the store yields.
const SCAN: usize = 4096;

/// Profiles of all tasks in the order of their keys. Whoever gets an error must not go on: the
/// profile that could not be read would be missing.
pub struct Profiles<'a> {
    tasks: Vec<Cursor<'a>>,
}

/// A profile, and the definitions that it stands under: they have the model of value that it was evaluated under.
#[derive(Clone, Debug)]
pub struct Known {
    /// Whose it is.
    pub owner: Owner,
    /// The profile.
    pub profile: Profile,
    /// What it stands under.
    pub definitions: Arc<Definitions>,
}

impl Known {
    /// The profile with these bytes, of the owner with this key.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub fn decode(key: &str, bytes: &[u8], versions: &Versions) -> Result<Known, RuntimeError> {
        let profile = decode_profile(bytes, versions)?;
        let under = versions.under(profile.model);
        Ok(Known {
            owner: Owner::from_key(key),
            definitions: Arc::clone(under.unwrap_or(versions.current())),
            profile,
        })
    }
}

struct Cursor<'a> {
    store: &'a TaskStore,
    versions: &'a Versions,
    entries: std::vec::IntoIter<(Vec<u8>, Arc<[u8]>)>,
    head: Option<(Vec<u8>, Arc<[u8]>)>,
    next: Option<Vec<u8>>,
}

impl<'a> Cursor<'a> {
    fn new(owned: &'a Owned<TaskStore>) -> Result<Cursor<'a>, RuntimeError> {
        let mut cursor = Cursor {
            store: &owned.store,
            versions: owned.task.versions(),
            entries: Vec::new().into_iter(),
            head: None,
            next: Some(Vec::new()),
        };
        cursor.advance()?;
        Ok(cursor)
    }

    fn key(&self) -> Option<&[u8]> {
        self.head.as_ref().map(|(key, _)| key.as_slice())
    }

    fn advance(&mut self) -> Result<(), RuntimeError> {
        self.head = self.entries.next();
        if self.head.is_none()
            && let Some(from) = self.next.take()
        {
            let entries = self.store.scan(Table::Profiles, &from, SCAN)?;
            if entries.len() == SCAN {
                self.next = entries
                    .last()
                    .map(|(key, _)| [key, [0].as_slice()].concat());
            }
            self.entries = entries.into_iter();
            self.head = self.entries.next();
        }
        Ok(())
    }
}

impl<'a> Profiles<'a> {
    /// All profiles of `tasks`.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn new(tasks: &'a [Owned<TaskStore>]) -> Result<Profiles<'a>, RuntimeError> {
        let tasks = tasks.iter().map(Cursor::new);
        Ok(Profiles {
            tasks: tasks.collect::<Result<_, _>>()?,
        })
    }

    fn advance(&mut self) -> Result<Option<Known>, RuntimeError> {
        let unread = self.tasks.iter_mut().filter(|t| t.head.is_some());
        let Some(first) = unread.min_by(|a, b| a.key().cmp(&b.key())) else {
            return Ok(None);
        };
        let Some((key, bytes)) = first.head.take() else {
            return Ok(None);
        };
        let versions = first.versions;
        first.advance()?;
        let key = String::from_utf8_lossy(&key);
        Known::decode(&key, &bytes, versions).map(Some)
    }
}

impl Iterator for Profiles<'_> {
    type Item = Result<Known, RuntimeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
