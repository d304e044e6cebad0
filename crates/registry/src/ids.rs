//! What is known of each id, and what is to be asked next: plain data, without a clock or a network.
//!
//! ```text
//! lookup ──► wanted ──► known, unusable        (for ever)
//!              ▲  └──► unknown ──► gone       (after `refresh_unknown`)
//!              └─ failure: asked again later
//! ```
//!
//! Invariants: there are never more than [`MAX_IDS`] ids; the texts of schemas take no more than
//! [`MAX_TEXT`] bytes. What has to make room is what costs least to ask for again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::schema_set::SchemaText;

use crate::client::Answer;

/// How many ids are remembered.
const MAX_IDS: usize = 4096;
/// How many bytes of schemas are held; those that were taken up are not needed any more.
const MAX_TEXT: usize = 32 << 20;
/// The wait after the first failure; it doubles with each one.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// An id that nobody has looked up for so long is no longer asked for: its records went elsewhere.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// What is known of an id at the moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// Its schema.
    Known(Arc<SchemaText>),
    /// There is a schema that cannot be used, for this reason.
    Unusable(Arc<str>),
    /// The registry does not know it.
    Unknown,
    /// No answer so far; it is being asked for.
    Pending {
        /// How long ago it was asked for first.
        waited: Duration,
        /// What the last request came to, if it failed.
        last_error: Option<Arc<str>>,
    },
}

#[derive(Debug)]
enum Entry {
    Known(Arc<SchemaText>),
    Unusable(Arc<str>),
    Unknown {
        until: Instant,
    },
    Wanted {
        since: Instant,
        looked_up: Instant,
        due: Instant,
        delay: Duration,
        last_error: Option<Arc<str>>,
    },
}

/// What the thread does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    Fetch(u32),
    /// Nothing before then.
    At(Instant),
    /// Nothing before somebody looks an id up.
    Idle,
}

/// How many ids stand how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) known: usize,
    pub(crate) unknown: usize,
    pub(crate) pending: usize,
}

/// All ids.
#[derive(Debug)]
pub(crate) struct Ids {
    entries: BTreeMap<u32, Entry>,
    refresh_unknown: Duration,
    /// Those with a text, in the order of their coming.
    texts: VecDeque<u32>,
    text_bytes: usize,
}

impl Ids {
    pub(crate) fn new(refresh_unknown: Duration) -> Ids {
        Ids {
            entries: BTreeMap::new(),
            refresh_unknown,
            texts: VecDeque::new(),
            text_bytes: 0,
        }
    }

    /// What is known of `id`, and whether it is to be asked for because of this look-up.
    pub(crate) fn lookup(&mut self, id: u32, now: Instant) -> (Lookup, bool) {
        match self.entries.get_mut(&id) {
            Some(Entry::Known(text)) => return (Lookup::Known(Arc::clone(text)), false),
            Some(Entry::Unusable(reason)) => return (Lookup::Unusable(Arc::clone(reason)), false),
            Some(Entry::Unknown { until }) if now < *until => return (Lookup::Unknown, false),
            Some(Entry::Wanted {
                since,
                looked_up,
                last_error,
                ..
            }) => {
                *looked_up = now;
                let pending = Lookup::Pending {
                    waited: now.saturating_duration_since(*since),
                    last_error: last_error.clone(),
                };
                return (pending, false);
            }
            Some(Entry::Unknown { .. }) | None => {}
        }
        let pending = Lookup::Pending {
            waited: Duration::ZERO,
            last_error: None,
        };
        if !self.has_room_for(id) {
            return (pending, false);
        }
        let wanted = Entry::Wanted {
            since: now,
            looked_up: now,
            due: now,
            delay: FIRST_DELAY,
            last_error: None,
        };
        self.entries.insert(id, wanted);
        (pending, true)
    }

    /// Makes room for `id` if there is none: first goes the unknown one that expires first, then
    /// the oldest text. What is wanted stays.
    fn has_room_for(&mut self, id: u32) -> bool {
        if self.entries.len() < MAX_IDS || self.entries.contains_key(&id) {
            return true;
        }
        let unknown = self.entries.iter().filter_map(|(id, entry)| match entry {
            Entry::Unknown { until } => Some((*until, *id)),
            _ => None,
        });
        if let Some((_, id)) = unknown.min() {
            self.entries.remove(&id);
            return true;
        }
        if self.drop_oldest_text() {
            return true;
        }
        let unusable = |entry: &Entry| matches!(entry, Entry::Unusable(_));
        let unusable = self.entries.iter().find(|(_, entry)| unusable(entry));
        let unusable = unusable.map(|(id, _)| *id);
        unusable.is_some_and(|id| self.entries.remove(&id).is_some())
    }

    fn drop_oldest_text(&mut self) -> bool {
        let Some(id) = self.texts.pop_front() else {
            return false;
        };
        if let Some(Entry::Known(text)) = self.entries.remove(&id) {
            self.text_bytes -= size(&text);
        }
        true
    }

    /// What to ask for now.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        self.entries.retain(|_, entry| match entry {
            Entry::Wanted { looked_up, due, .. } => {
                *due > now || now.saturating_duration_since(*looked_up) < FORGOTTEN_AFTER
            }
            _ => true,
        });
        let wanted = self.entries.iter().filter_map(|(id, entry)| match entry {
            Entry::Wanted { due, .. } => Some((*due, *id)),
            _ => None,
        });
        match wanted.min() {
            None => Next::Idle,
            Some((due, id)) if due <= now => Next::Fetch(id),
            Some((due, _)) => Next::At(due),
        }
    }

    /// Takes in what the registry said about `id`.
    pub(crate) fn answered(&mut self, id: u32, answer: Answer, now: Instant) {
        let entry = match answer {
            Answer::Schema(text) => {
                let text = Arc::new(text);
                self.text_bytes += size(&text);
                self.texts.push_back(id);
                Entry::Known(text)
            }
            Answer::Unusable(reason) => Entry::Unusable(reason.into()),
            Answer::Unknown => Entry::Unknown {
                until: now + self.refresh_unknown,
            },
        };
        self.entries.insert(id, entry);
        while self.text_bytes > MAX_TEXT && self.texts.len() > 1 {
            self.drop_oldest_text();
        }
    }

    /// Asking for `id` failed: it is asked for again, later each time. Whether it was the first time.
    pub(crate) fn failed(&mut self, id: u32, error: &str, now: Instant) -> bool {
        let Some(Entry::Wanted {
            due,
            delay,
            last_error,
            ..
        }) = self.entries.get_mut(&id)
        else {
            return false;
        };
        let is_first = last_error.is_none();
        *due = now + *delay;
        *delay = (*delay * 2).min(LONGEST_DELAY);
        *last_error = Some(error.into());
        is_first
    }

    /// The registry is there again: all that failed because it was not is due at once.
    pub(crate) fn recovered(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            if let Entry::Wanted { due, delay, .. } = entry {
                *due = now.min(*due);
                *delay = FIRST_DELAY;
            }
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for entry in self.entries.values() {
            match entry {
                Entry::Known(_) | Entry::Unusable(_) => counts.known += 1,
                Entry::Unknown { .. } => counts.unknown += 1,
                Entry::Wanted { .. } => counts.pending += 1,
            }
        }
        counts
    }
}

fn size(text: &SchemaText) -> usize {
    text.references.iter().map(String::len).sum::<usize>() + text.text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: Duration = Duration::from_secs(60);

    fn schema(length: usize) -> Answer {
        Answer::Schema(SchemaText {
            text: "x".repeat(length),
            references: Vec::new(),
        })
    }

    fn pending(waited: Duration, error: Option<&str>) -> Lookup {
        Lookup::Pending {
            waited,
            last_error: error.map(Arc::from),
        }
    }

    #[test]
    fn an_unknown_id_is_asked_for_again_after_a_while() {
        let start = Instant::now();
        let mut ids = Ids::new(REFRESH);
        assert_eq!(ids.next(start), Next::Idle);
        assert_eq!(ids.lookup(7, start), (pending(Duration::ZERO, None), true));
        assert_eq!(ids.lookup(7, start), (pending(Duration::ZERO, None), false));
        assert_eq!(ids.next(start), Next::Fetch(7));
        ids.answered(7, Answer::Unknown, start);
        let almost = start + REFRESH - Duration::from_millis(1);
        assert_eq!(ids.lookup(7, almost), (Lookup::Unknown, false));
        assert_eq!(ids.next(almost), Next::Idle);
        assert!(ids.lookup(7, start + REFRESH).1);
        ids.answered(7, schema(1), start + REFRESH);
        let ever = start + REFRESH * 10_000;
        assert!(matches!(ids.lookup(7, ever), (Lookup::Known(_), false)));
    }

    #[test]
    fn failures_are_asked_again_later_each_time() {
        let mut now = Instant::now();
        let start = now;
        let mut ids = Ids::new(REFRESH);
        ids.lookup(7, now);
        let mut delays = Vec::new();
        for failure in 0..11 {
            assert_eq!(ids.next(now), Next::Fetch(7));
            assert_eq!(ids.failed(7, "refused", now), failure == 0);
            let Next::At(due) = ids.next(now) else {
                panic!("nothing is due")
            };
            delays.push((due - now).as_millis());
            now = due;
        }
        assert_eq!(delays[..4], [100, 200, 400, 800]);
        assert_eq!(delays[9..], [30_000, 30_000]);
        let waited = now - start;
        assert_eq!(ids.lookup(7, now).0, pending(waited, Some("refused")));
    }

    #[test]
    fn all_are_due_once_the_registry_is_there_again() {
        let now = Instant::now();
        let mut ids = Ids::new(REFRESH);
        for id in [7, 8] {
            ids.lookup(id, now);
            ids.failed(id, "refused", now);
        }
        assert!(matches!(ids.next(now), Next::At(_)));
        ids.recovered(now);
        assert_eq!(ids.next(now), Next::Fetch(7));
    }

    #[test]
    fn what_nobody_waits_for_is_no_longer_asked_for() {
        let now = Instant::now();
        let mut ids = Ids::new(REFRESH);
        ids.lookup(7, now);
        ids.failed(7, "refused", now);
        assert_eq!(ids.next(now + FORGOTTEN_AFTER), Next::Idle);
        assert_eq!(ids.counts(), Counts::default());
    }

    #[test]
    fn a_flood_of_ids_does_not_grow_memory() {
        let now = Instant::now();
        let mut ids = Ids::new(REFRESH);
        ids.lookup(0, now);
        ids.answered(0, schema(1), now);
        for id in 1..3 * MAX_IDS as u32 {
            assert!(ids.lookup(id, now).1);
            ids.answered(id, Answer::Unknown, now);
            assert!(ids.entries.len() <= MAX_IDS);
        }
        assert!(matches!(ids.lookup(0, now).0, Lookup::Known(_)));
        // None of these is answered: what is wanted makes no room for others.
        for id in 0..2 * MAX_IDS as u32 {
            ids.lookup(1_000_000 + id, now);
        }
        assert_eq!(ids.counts().pending, MAX_IDS);
        assert_eq!(ids.lookup(9, now), (pending(Duration::ZERO, None), false));
    }

    #[test]
    fn texts_are_bounded() {
        let now = Instant::now();
        let mut ids = Ids::new(REFRESH);
        for id in 0..70 {
            ids.lookup(id, now);
            ids.answered(id, schema(1 << 20), now);
            assert!(ids.text_bytes <= MAX_TEXT);
            assert!(matches!(ids.lookup(id, now).0, Lookup::Known(_)));
        }
        assert!(ids.lookup(0, now).1);
    }
}
