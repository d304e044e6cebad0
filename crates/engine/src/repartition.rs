//! The state of some tasks as that of another number of tasks: what `clvstream repartition` writes.
//!
//! Profiles go to whoever owns their keys then, byte for byte; timers are derived from them. What tasks
//! keep about themselves is folded here. Pure: what is read and written, and in which order, is the
//! shell's.
//!
//! Invariants:
//! - Nothing is settled by it. A new task's frontier is the lowest of those whose customers it gets:
//!   nothing is late that was not, and timers are released by what comes, later rather than earlier.
//! - Sums over all tasks stay: counts, and the totals of each day. So does the latest stream time.
//! - It is a function of the old tasks' state and of the inputs' partitions: done again it gives the same
//!   bytes.
//!
//! It takes for granted that everything routed has been consumed: what is on its way to an old task is
//! nowhere in the result.

mod kept;

use std::sync::Arc;

use domain::event::Text;
use domain::time::TimeMs;
use wire::partition_of;

use crate::bookkeeping::{self, Bookkeeping};
use crate::chain::Head;
use crate::clock::ClockSource;
use crate::commit_record::{CommitRecord, Consumed};
use crate::port::{OutRecord, Table, TopicName, TopicPartition};
use crate::topics::Topics;

pub use kept::{Kept, kept};

/// The task of `to` that a profile belongs to.
#[must_use]
pub fn owner(profile: &[u8], to: u32) -> u32 {
    partition_of(profile, to)
}

/// Whether a key may belong to number `one` of `ones` and to number `other` of `others`, partitions or
/// tasks: a number that leaves these two remainders exists where they agree.
#[must_use]
pub fn may_share(one: u32, ones: u32, other: u32, others: u32) -> bool {
    let common = gcd(ones, others).max(1);
    one % common == other % common
}

/// How far a task has come in its own inputs, as the others are to know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stands {
    /// It has no inputs, or they are idle: nobody waits for it.
    Resting,
    /// Others wait until it has come further than this; [`TimeMs::MIN`]: until it tells.
    Awaited(TimeMs),
    /// Nobody waits for it since the clock was moved on for all, until it tells again.
    Silent(TimeMs),
}

struct Fold<'a> {
    from: &'a [Bookkeeping],
    to: u32,
    inputs: &'a [(TopicName, u32)],
}

/// The bookkeeping of each of `to` tasks, from that of the old ones, by their numbers. `inputs` are all
/// input topics with their partitions. The chains of commits begin anew.
#[must_use]
pub fn bookkeeping(from: &[Bookkeeping], to: u32, inputs: &[(TopicName, u32)]) -> Vec<Bookkeeping> {
    let fold = Fold { from, to, inputs };
    let mut books: Vec<Bookkeeping> = (0..to).map(|task| fold.clock_of(task)).collect();
    for (old, task) in from.iter().zip((0..to).cycle()) {
        books[task as usize].counts.add(&old.counts);
    }
    // Who has gone over already is looked at again, to no effect.
    if from.iter().any(|old| old.rescored.is_some()) {
        books
            .iter_mut()
            .for_each(|book| book.rescored = Some(Text::default()));
    }
    match fold.meets() {
        true => fold.introduce(&mut books),
        // Nobody forwards to anybody, as far as is known: as at a first start that shows soon.
        false => books.iter_mut().for_each(|book| book.meet_anew(to)),
    }
    books
}

impl Fold<'_> {
    /// The old tasks that customers or inputs of the new `task` come from.
    fn sources(&self, task: u32) -> impl Iterator<Item = &Bookkeeping> {
        let count = self.from.len() as u32;
        let old = (0..).zip(self.from);
        old.filter(move |(old, _)| may_share(*old, count, task, self.to))
            .map(|(_, book)| book)
    }

    /// The numbers of the old tasks that read the inputs of the new `task`.
    fn readers(&self, task: u32) -> Vec<u32> {
        let old = (self.from.len() as u32).max(1);
        let step = self.to.max(1) as usize;
        let partitions = self.inputs.iter();
        let partitions = partitions.flat_map(|(_, count)| (task..*count).step_by(step));
        let mut readers: Vec<u32> = partitions.map(|partition| partition % old).collect();
        readers.sort_unstable();
        readers.dedup();
        readers
    }

    fn clock_of(&self, task: u32) -> Bookkeeping {
        let mut book = Bookkeeping::default();
        let clock = &mut book.clock;
        let lowest = |time: fn(&Bookkeeping) -> TimeMs| {
            let times = self.sources(task).map(time);
            times.min().unwrap_or(TimeMs::MIN)
        };
        clock.lowest = lowest(|old| old.clock.lowest);
        clock.ticked_to = lowest(|old| old.clock.ticked_to);
        clock.closed_to = lowest(|old| old.clock.closed_to);
        // It never goes back, for no customer; where the lowest of the inputs is behind, it stands still.
        let stream_time = self.sources(task).map(|old| old.clock.stream_time);
        clock.stream_time = stream_time.max().unwrap_or(TimeMs::MIN);
        for old in self.from {
            for (source, time) in &old.clock.sources {
                if let ClockSource::Input(_, partition) = source
                    && partition % self.to == task
                {
                    clock.sources.insert(source.clone(), *time);
                }
            }
        }
        let readers = self.readers(task);
        let readers = readers
            .iter()
            .filter_map(|old| self.from.get(*old as usize));
        let came_to = readers.map(|old| old.clock.input_time).min();
        let seen = clock.sources.values().copied().min();
        clock.input_time = seen.or(came_to).unwrap_or(TimeMs::MIN);
        book
    }

    /// Whether tasks forward to each other: they did, or they will, as some of an input's records are
    /// read by another task than the one that owns them, whoever chose their partitions.
    fn meets(&self) -> bool {
        let have_met = self.from.iter().any(|old| !old.fed.is_empty());
        let are_apart = self.inputs.iter().any(|(_, count)| count % self.to != 0);
        self.to > 1 && (have_met || are_apart)
    }

    /// Every task knows where every other one is, as if it had just been told.
    fn introduce(&self, books: &mut [Bookkeeping]) {
        let stands: Vec<Stands> = (0..).zip(&*books).map(|(t, b)| self.stands(t, b)).collect();
        for (task, book) in (0..).zip(&mut *books) {
            for (other, stands) in (0..).zip(&stands).filter(|(other, _)| *other != task) {
                if let Stands::Awaited(time) = stands {
                    let source = ClockSource::Upstream(other);
                    book.clock.sources.insert(source, *time);
                }
            }
            let told = match stands[task as usize] {
                Stands::Resting => TimeMs::MAX,
                Stands::Awaited(time) | Stands::Silent(time) => time,
            };
            let others = (0..self.to).filter(|other| *other != task);
            book.fed = others.map(|other| (other, told)).collect();
        }
    }

    fn stands(&self, task: u32, book: &Bookkeeping) -> Stands {
        if !book.clock.sources.is_empty() {
            return Stands::Awaited(book.clock.input_time);
        }
        let readers = self.readers(task);
        let is_resting = |old: &u32| {
            let fed = self.from.get(*old as usize).map(|old| &old.fed);
            fed.and_then(|fed| fed.values().next()) == Some(&TimeMs::MAX)
        };
        if readers.iter().all(is_resting) {
            return Stands::Resting;
        }
        let have_met = self.from.iter().any(|old| !old.fed.is_empty());
        let is_awaited = |old: &u32| {
            let source = ClockSource::Upstream(*old);
            let mut others = self.from.iter();
            others.any(|other| other.clock.sources.contains_key(&source))
        };
        match have_met && !readers.iter().any(is_awaited) {
            true => Stands::Silent(book.clock.input_time),
            false => Stands::Awaited(TimeMs::MIN),
        }
    }
}

/// What a new task begins with besides its profiles.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beginning {
    /// To its changelog: what it keeps, and last its bookkeeping; and the first record of its commits, which
    /// consumed nothing and says where its inputs stand.
    pub records: Vec<OutRecord>,
    /// The head of its chain, to be kept beside its positions.
    pub head: Head,
}

/// What `task` begins with in `topics`, the new ones. `positions` are those of its inputs that have been
/// read.
#[must_use]
pub fn beginning(
    topics: &Topics,
    task: u32,
    mut book: Bookkeeping,
    kept: &Kept,
    positions: Vec<(TopicPartition, u64)>,
) -> Beginning {
    let to = |topic: &TopicName, key: Option<Vec<u8>>, value: Vec<u8>| OutRecord {
        target: TopicPartition {
            topic: Arc::clone(topic),
            partition: task,
        },
        key,
        value: Some(value),
        headers: Vec::new(),
    };
    let entries = kept.entries();
    let mut records: Vec<OutRecord> = entries
        .map(|(key, value)| to(&topics.changelog, Some(key), value))
        .collect();
    let consumed = Consumed {
        positions,
        order: Vec::new(),
        quarantined: Vec::new(),
        peeked: None,
    };
    let previous = Head::default();
    let head = previous.after(&consumed.body(), records.iter());
    book.chain = head;
    let key = Table::Meta.full_key(bookkeeping::KEY);
    records.push(to(&topics.changelog, Some(key), book.encode()));
    let commit = CommitRecord {
        previous,
        head,
        consumed,
    };
    records.push(to(&topics.commits, None, commit.encode()));
    Beginning { records, head }
}

fn gcd(a: u32, b: u32) -> u32 {
    match b {
        0 => a,
        _ => gcd(b, a % b),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bookkeeping::Counts;
    use domain::orders::DayTotals;
    use domain::time::Day;

    fn input(partition: u32) -> ClockSource {
        ClockSource::Input("orders".into(), partition)
    }

    /// Task `number` of `of`, which reads that partition of one input and stands at `time`.
    fn at(number: u32, time: i64) -> Bookkeeping {
        let mut book = Bookkeeping::default();
        book.clock.observe(&input(number), TimeMs(time));
        book.counts.applied = 10 + u64::from(number);
        book
    }

    fn orders(partitions: u32) -> Vec<(TopicName, u32)> {
        vec![("shop.orders".into(), partitions)]
    }

    fn frontiers(books: &[Bookkeeping]) -> Vec<i64> {
        let frontier = |book: &Bookkeeping| book.clock.frontier(0).0;
        books.iter().map(frontier).collect()
    }

    #[test]
    fn a_task_is_no_further_than_those_that_its_customers_come_from() {
        let old = [at(0, 50), at(1, 40), at(2, 30), at(3, 20)];
        for (to, lowest, latest) in [
            (1, vec![20], vec![50]),
            // Even numbers come from even ones.
            (2, vec![30, 20], vec![50, 40]),
            (3, vec![20; 3], vec![50; 3]),
            (
                6,
                vec![30, 20, 30, 20, 30, 20],
                vec![50, 40, 50, 40, 50, 40],
            ),
            (
                8,
                vec![50, 40, 30, 20, 50, 40, 30, 20],
                vec![50, 40, 30, 20, 50, 40, 30, 20],
            ),
        ] {
            let new = bookkeeping(&old, to, &orders(4));
            assert_eq!(frontiers(&new), lowest, "to {to}");
            let times = new.iter().map(|book| book.clock.stream_time.0);
            assert_eq!(times.collect::<Vec<_>>(), latest, "to {to}");
        }
    }

    #[test]
    fn every_input_goes_to_the_task_that_reads_it() {
        let mut old = [at(0, 50), at(1, 40)];
        old[0].clock.observe(&input(2), TimeMs(60));
        old[1].clock.observe(&input(3), TimeMs(45));
        let new = bookkeeping(&old, 3, &orders(4));
        let seen = |book: &Bookkeeping| -> Vec<(ClockSource, i64)> {
            let sources = book.clock.sources.iter();
            let own = sources.filter(|(s, _)| matches!(s, ClockSource::Input(..)));
            own.map(|(source, time)| (source.clone(), time.0)).collect()
        };
        assert_eq!(seen(&new[0]), [(input(0), 50), (input(3), 45)]);
        assert_eq!(seen(&new[1]), [(input(1), 40)]);
        assert_eq!(seen(&new[2]), [(input(2), 60)]);
        let times = new.iter().map(|book| book.clock.input_time.0);
        assert_eq!(times.collect::<Vec<_>>(), [45, 40, 60]);
    }

    #[test]
    fn tasks_know_each_other_where_records_are_read_by_others_than_their_owners() {
        let old = [at(0, 50), at(1, 40)];
        let new = bookkeeping(&old, 3, &orders(2));
        // The third has no input, and nobody waits for it.
        let told = |book: &Bookkeeping| book.fed.values().copied().collect::<Vec<_>>();
        assert_eq!(told(&new[0]), [TimeMs(50); 2]);
        assert_eq!(told(&new[1]), [TimeMs(40); 2]);
        assert_eq!(told(&new[2]), [TimeMs::MAX; 2]);
        let upstream = |book: &Bookkeeping, task| {
            let source = ClockSource::Upstream(task);
            book.clock.sources.get(&source).map(|time| time.0)
        };
        assert_eq!(
            (upstream(&new[0], 1), upstream(&new[0], 2)),
            (Some(40), None)
        );
        assert_eq!(
            (upstream(&new[2], 0), upstream(&new[2], 1)),
            (Some(50), Some(40))
        );
        assert!(new.iter().all(|book| book.clock.held_for == 0));
    }

    #[test]
    fn tasks_meet_anew_where_each_reads_what_it_owns() {
        let old = [at(0, 50), at(1, 40), at(2, 30), at(3, 20)];
        let new = bookkeeping(&old, 2, &orders(4));
        for book in &new {
            assert!(book.fed.is_empty());
            assert!(
                book.clock.held_for > 0,
                "until it is known whether anybody forwards"
            );
        }
        let alone = bookkeeping(&old, 1, &orders(4));
        assert_eq!((alone[0].clock.held_for, alone[0].fed.len()), (0, 0));
    }

    #[test]
    fn who_is_idle_stays_idle_and_who_has_told_nothing_is_waited_for() {
        let mut old = [at(0, 50), at(1, 40)];
        // The first rests, the second has not told.
        old[0].clock.leave_inputs();
        old[0].fed = BTreeMap::from([(1, TimeMs::MAX)]);
        old[1].fed = BTreeMap::from([(0, TimeMs::MIN)]);
        old[1].clock.sources.clear();
        old[0].clock.expect(&ClockSource::Upstream(1));
        let new = bookkeeping(&old, 4, &orders(2));
        assert_eq!(new[0].fed[&1], TimeMs::MAX);
        assert_eq!(new[1].fed[&0], TimeMs::MIN);
        let awaited: Vec<_> = new[0].clock.sources.keys().cloned().collect();
        assert_eq!(awaited, [ClockSource::Upstream(1)]);
        // After a tick nobody waits for anybody.
        for book in &mut old {
            book.clock.tick(TimeMs(90));
        }
        old[0].fed = BTreeMap::from([(1, TimeMs(50))]);
        let new = bookkeeping(&old, 4, &orders(2));
        assert!(new.iter().all(|book| book.clock.sources.is_empty()));
        assert_eq!(frontiers(&new), [90; 4]);
        assert_eq!(new[0].fed[&1], TimeMs(90));
    }

    #[test]
    fn keys_are_shared_by_numbers_that_agree_in_what_their_counts_have_in_common() {
        for (ones, others) in [(4, 6), (6, 3), (3, 4), (1, 5), (8, 8)] {
            let mut found = std::collections::BTreeSet::new();
            for key in 0..2_000_u32 {
                let key = key.to_string();
                found.insert((owner(key.as_bytes(), ones), owner(key.as_bytes(), others)));
            }
            for (one, other) in (0..ones).flat_map(|one| (0..others).map(move |o| (one, o))) {
                let shares = may_share(one, ones, other, others);
                assert_eq!(
                    shares,
                    found.contains(&(one, other)),
                    "{one}/{ones} {other}/{others}"
                );
            }
        }
    }

    #[test]
    fn sums_stay() {
        let old = [at(0, 1), at(1, 2), at(2, 3)];
        let total = |books: &[Bookkeeping]| {
            let mut sum = Counts::default();
            books.iter().for_each(|book| sum.add(&book.counts));
            sum
        };
        for to in [1, 2, 3, 5] {
            let new = bookkeeping(&old, to, &orders(3));
            assert_eq!(new.len(), to as usize);
            assert_eq!(total(&new), total(&old), "to {to}");
        }
    }

    #[test]
    fn a_beginning_has_its_head_in_all_three_places() {
        let topics = Topics::of_generation("shop", 1);
        let stands = (
            TopicPartition {
                topic: "shop.orders".into(),
                partition: 2,
            },
            17,
        );
        let kept = Kept {
            days: BTreeMap::from([(Day(3), DayTotals::default())]),
            ..Kept::default()
        };
        let begun = beginning(&topics, 2, at(2, 5), &kept, vec![stands.clone()]);
        let [day, book, commit] = begun.records.as_slice() else {
            panic!("{begun:?}");
        };
        assert_eq!(day.target.topic, topics.changelog);
        assert_eq!(book.target, day.target);
        let book = Bookkeeping::decode(book.value.as_deref().unwrap_or_default()).unwrap();
        let commit = CommitRecord::decode(commit.value.as_deref().unwrap_or_default()).unwrap();
        assert_eq!((book.chain, commit.head), (begun.head, begun.head));
        assert_eq!(commit.previous, Head::default());
        assert_eq!(commit.consumed.positions, [stands]);
        assert_eq!(begun.head.number, 1);
    }
}
