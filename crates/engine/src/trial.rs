//! What stands beside a task's committed position in `internal.routed`, in its metadata: the head of the
//! chain of commits, and what is known of processes that died before they could commit.
//!
//! A record that kills the process would be met again by whoever takes the task over. So a process that
//! has brought a task up to date, and is about to work on it, writes that down; a commit wipes it out.
//! Where [`CAREFUL_AFTER`] processes in a row committed nothing, the next one is careful: it takes one
//! record at a time, commits each, and writes down beforehand which one it is about to try. A record
//! at which [`DEADLY`] processes died is quarantined: it goes to the dead letters unseen.
//!
//! Invariants:
//! - A process is not taken for dead by itself: a session that broke and joined anew died of nothing.
//! - Only decoding a record and consuming it is held against it. What falls due before is not.
//! - What is passed is forgotten.

use std::fmt;
use std::sync::Arc;

use crate::chain::Head;
use crate::port::TopicPartition;

/// After so many processes in a row that worked on a task and committed nothing of it, the next one is
/// careful.
pub const CAREFUL_AFTER: u32 = 2;
/// So many processes die at a record before it is quarantined.
pub const DEADLY: u32 = 2;
/// So many records are kept in mind, at most: brokers limit metadata to 4,096 bytes.
const KEPT: usize = 8;

/// A record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// Its partition.
    pub at: TopicPartition,
    /// Its offset.
    pub offset: u64,
}

/// What stands beside a task's position.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Beside {
    /// The head of its chain of commits, if there has been one.
    pub head: Option<Head>,
    /// What is known of deaths.
    pub trial: Trial,
}

impl Beside {
    /// After `by`, a name that no other process has, claims the task.
    #[must_use]
    pub fn claimed(&self, by: &str) -> Beside {
        Beside {
            head: self.head,
            trial: self.trial.clone().claimed(by),
        }
    }

    /// While `by` works on the task, or tries the record at `place`; `None`: it says so already.
    #[must_use]
    pub fn trying(&self, place: Option<&Place>, by: &str) -> Option<Beside> {
        let trial = self.trial.clone().trying(place, by);
        (trial != self.trial).then_some(Beside {
            head: self.head,
            trial,
        })
    }

    /// After a commit with the number and hash of `head` that left the task's inputs at `positions`.
    #[must_use]
    pub fn committed(&self, head: Head, positions: &[(TopicPartition, u64)]) -> Beside {
        Beside {
            head: Some(head),
            ..self.moved(positions)
        }
    }

    /// After a commit of positions alone.
    #[must_use]
    pub fn moved(&self, positions: &[(TopicPartition, u64)]) -> Beside {
        Beside {
            head: self.head,
            trial: self.trial.clone().committed(positions),
        }
    }
}

/// What is known of processes that died with a task.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trial {
    /// The process that works on it, if it has committed nothing since it began, or since it began to
    /// try a record.
    by: Option<String>,
    /// How many processes before that one worked on it and committed nothing, in a row.
    fruitless: u32,
    /// The record that is being tried.
    trying: Option<Place>,
    /// Records at which processes died, and how many.
    deaths: Vec<(Place, u32)>,
}

impl Trial {
    fn claimed(mut self, by: &str) -> Trial {
        let tried = self.trying.take();
        let before = self.by.take();
        if before.is_some() && before != name(by) {
            self.fruitless = self.fruitless.saturating_add(1);
            if let Some(place) = tried {
                self.died_at(place);
            }
        }
        self
    }

    fn died_at(&mut self, place: Place) {
        match self.deaths.iter_mut().find(|(known, _)| *known == place) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => {
                self.deaths.truncate(KEPT - 1);
                self.deaths.insert(0, (place, 1));
            }
        }
    }

    fn trying(mut self, place: Option<&Place>, by: &str) -> Trial {
        self.by = name(by);
        self.trying = place.cloned();
        self
    }

    fn committed(mut self, positions: &[(TopicPartition, u64)]) -> Trial {
        let is_passed = |place: &Place| {
            let next = positions.iter().find(|(at, _)| *at == place.at);
            next.is_some_and(|(_, next)| place.offset < *next)
        };
        self.deaths.retain(|(place, _)| !is_passed(place));
        Trial {
            deaths: self.deaths,
            ..Trial::default()
        }
    }

    /// For a task that takes over, from tasks with these trials, the inputs that `reads` says: what is known
    /// of their records.
    #[must_use]
    pub fn handed_over<'t>(
        from: impl IntoIterator<Item = &'t Trial>,
        reads: &dyn Fn(&TopicPartition) -> bool,
    ) -> Trial {
        let known = from.into_iter().flat_map(|trial| &trial.deaths);
        let deaths = known.filter(|(place, _)| reads(&place.at)).cloned();
        Trial {
            deaths: deaths.take(KEPT).collect(),
            ..Trial::default()
        }
    }

    /// Whether the process that has claimed the task now has to expect that it dies of it.
    #[must_use]
    pub fn is_careful(&self) -> bool {
        self.fruitless >= CAREFUL_AFTER || !self.deaths.is_empty()
    }

    /// Whether a commit has something to wipe out.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.by.is_some()
    }

    /// Records that are not to be looked at.
    pub fn quarantined(&self) -> impl Iterator<Item = &Place> {
        let deadly = self.deaths.iter().filter(|(_, count)| *count >= DEADLY);
        deadly.map(|(place, _)| place)
    }
}

/// As it stands in the text.
fn name(process: &str) -> Option<String> {
    Some(process.replace(';', "-"))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.at.topic, self.at.partition, self.offset)
    }
}

impl Place {
    fn parse(text: &str) -> Option<Place> {
        let (at, offset) = text.rsplit_once('@')?;
        let (topic, partition) = at.rsplit_once('/')?;
        Some(Place {
            at: TopicPartition {
                topic: Arc::from(topic),
                partition: partition.parse().ok()?,
            },
            offset: offset.parse().ok()?,
        })
    }
}

impl fmt::Display for Beside {
    /// The head alone, mostly; else head, who works on it, how many did before him, the record being tried, and
    /// those at which processes died, each with their number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(head) = &self.head {
            write!(f, "{head}")?;
        }
        if self.trial == Trial::default() {
            return Ok(());
        }
        let Trial {
            by,
            fruitless,
            trying,
            deaths,
        } = &self.trial;
        write!(f, ";{};{fruitless};", by.as_deref().unwrap_or_default())?;
        if let Some(place) = trying {
            write!(f, "{place}")?;
        }
        for (place, count) in deaths {
            write!(f, ";{place}*{count}")?;
        }
        Ok(())
    }
}

impl Beside {
    /// Reads what `Display` writes. `None`: somebody else has set the position, on purpose.
    #[must_use]
    pub fn parse(text: &str) -> Option<Beside> {
        let mut parts = text.split(';');
        let head = match parts.next()? {
            "" => None,
            head => Some(Head::parse(head)?),
        };
        let Some(by) = parts.next() else {
            return head.map(|head| Beside {
                head: Some(head),
                trial: Trial::default(),
            });
        };
        let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let mut trial = Trial {
            by: optional(by),
            fruitless: parts.next()?.parse().ok()?,
            ..Trial::default()
        };
        trial.trying = match parts.next()? {
            "" => None,
            place => Some(Place::parse(place)?),
        };
        for death in parts {
            let (place, count) = death.rsplit_once('*')?;
            let death = (Place::parse(place)?, count.parse().ok()?);
            trial.deaths.push(death);
        }
        Some(Beside { head, trial })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(topic: &str, offset: u64) -> Place {
        Place {
            at: TopicPartition {
                topic: topic.into(),
                partition: 3,
            },
            offset,
        }
    }

    #[test]
    fn what_is_known_of_a_record_goes_with_its_partition() {
        let deadly = |topic: &str| Trial {
            by: name("a process"),
            fruitless: 1,
            trying: None,
            deaths: vec![(place(topic, 7), DEADLY)],
        };
        let old = [deadly("orders"), deadly("clicks"), Trial::default()];
        let new = Trial::handed_over(&old, &|at| &*at.topic == "clicks");
        let quarantined: Vec<_> = new.quarantined().cloned().collect();
        assert_eq!(quarantined, [place("clicks", 7)]);
        assert!(!new.is_open(), "nobody has begun to work on the new one");
        assert_eq!(Trial::handed_over(&old, &|_| false), Trial::default());
    }

    #[test]
    fn two_processes_that_commit_nothing_make_the_third_one_careful() {
        let mut trial = Trial::default();
        for (by, is_careful) in [("a", false), ("b", false), ("c", true), ("d", true)] {
            trial = trial.claimed(by);
            assert_eq!(trial.is_careful(), is_careful, "{by}");
            trial = trial.trying(None, by);
        }
        trial = trial.committed(&[]).claimed("e");
        assert!(!trial.is_careful(), "a commit begins the count anew");
        for by in ["f", "g", "h"] {
            trial = trial.claimed(by);
        }
        assert!(!trial.is_careful(), "who did not begin died of no record");
    }

    #[test]
    fn a_process_that_joins_anew_has_died_of_nothing() {
        let mut trial = Trial::default();
        for _ in 0..5 {
            trial = trial.claimed("a").trying(Some(&place("orders", 7)), "a");
        }
        trial = trial.claimed("a");
        assert!(!trial.is_careful());
        assert!(!trial.is_open());
    }

    #[test]
    fn the_second_death_at_a_record_quarantines_it_until_it_is_passed() {
        let deadly = place("orders", 7);
        let trial = Trial::default().claimed("a").trying(Some(&deadly), "a");
        let trial = trial.claimed("b");
        assert!(trial.is_careful());
        assert_eq!(trial.quarantined().count(), 0, "once may be chance");
        // Others before it are tried, and pass.
        let other = place("clicks", 1);
        let trial = trial
            .trying(Some(&other), "b")
            .committed(&[(other.at.clone(), 2)]);
        let trial = trial.trying(Some(&deadly), "b").claimed("c");
        assert_eq!(trial.quarantined().collect::<Vec<_>>(), [&deadly]);
        let unpassed = trial.clone().committed(&[(deadly.at.clone(), 7)]);
        assert_eq!(unpassed.quarantined().count(), 1);
        let passed = trial.committed(&[(deadly.at.clone(), 8)]);
        assert_eq!(passed, Trial::default());
    }

    #[test]
    fn it_fits_beside_a_position_however_many_records_kill() {
        let long = "t".repeat(249);
        let mut trial = Trial::default();
        for offset in 0..40 {
            let by = format!("process-{offset}");
            trial = trial.claimed(&by).trying(Some(&place(&long, offset)), &by);
        }
        let beside = Beside { head: None, trial };
        assert!(beside.to_string().len() < 4_096);
        assert_eq!(Beside::parse(&beside.to_string()), Some(beside));
    }

    #[test]
    fn what_stands_beside_survives_its_text_and_nothing_else_is_read() {
        let head = Some(Head {
            number: 7,
            hash: 0xab,
        });
        let claimed = Trial::default().trying(None, "12-x;y,z");
        let tried = claimed.clone();
        let tried = tried.trying(Some(&place("a@b/c*d", 1)), "12");
        let died = tried.clone().claimed("13");
        for trial in [Trial::default(), claimed, tried, died] {
            let beside = Beside { head, trial };
            assert_eq!(Beside::parse(&beside.to_string()), Some(beside));
        }
        assert_eq!(Beside::default().to_string(), "");
        for text in ["", "x", "7:ab", ";a", ";a;b;", ";a;1;x", ";a;1;;t/1@2"] {
            assert_eq!(Beside::parse(text), None, "{text}");
        }
    }
}
