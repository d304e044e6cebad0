//! Events as real delivery brings them: late, out of order and more than once, within a bound.

use domain::event::Event;
use domain::time::TimeMs;

use crate::queue::TimeQueue;
use crate::random::Random;

/// Wraps an iterator of events (or of anything [`Timed`]) in time order and yields the same events displaced, some of them
/// twice.
///
/// - **Bounded lateness**: no event comes after one whose time is more than `within_ms` later.
///   Duplicates keep to the same bound. (Of input that is itself late by up to `l`, the output is
///   late by up to the greater of `l` and `within_ms`.)
/// - **Nothing lost**: every event comes once, or twice where it was chosen for duplication; the
///   second comes after the first.
/// - **Deterministic** in the seed and the input. With a bound of 0 and no duplicates the input
///   comes out as it was.
/// - **Memory** is bounded by the events of one window of `within_ms`.
///
/// Each event is due at its own time plus a uniform delay of up to `within_ms`, and events are
/// yielded as they fall due. If one is yielded before another, then its time ≤ its due instant ≤
/// the other's due instant ≤ the other's time + `within_ms`, which is the bound.
pub struct Disorder<I: Iterator> {
    input: I,
    random: Random,
    within_ms: i64,
    duplicate_per_mille: u32,
    displaced_per_mille: u32,
    waiting: TimeQueue<I::Item>,
    /// The latest time read. Whatever is read later (of ordered input) is due no earlier.
    read_up_to: TimeMs,
}

/// Something that happened at an instant, and can be delivered twice.
pub trait Timed: Clone {
    /// The instant.
    fn time(&self) -> TimeMs;
}

impl Timed for Event {
    fn time(&self) -> TimeMs {
        self.time
    }
}

impl<I: Iterator<Item: Timed>> Disorder<I> {
    /// Displaces every event by up to `within_ms` (negative counts as 0) and yields
    /// `duplicate_per_mille` of a thousand twice.
    #[must_use]
    pub fn new(input: I, seed: u64, within_ms: i64, duplicate_per_mille: u32) -> Disorder<I> {
        Disorder {
            input,
            random: Random::new(seed, STREAM),
            within_ms: within_ms.max(0),
            duplicate_per_mille,
            displaced_per_mille: 1000,
            waiting: TimeQueue::new(),
            read_up_to: TimeMs::MIN,
        }
    }

    /// Delays only that many of a thousand events; the others are due at their own time.
    #[must_use]
    pub fn displacing(mut self, per_mille: u32) -> Disorder<I> {
        self.displaced_per_mille = per_mille;
        self
    }

    fn take_in(&mut self, event: I::Item) {
        let time = event.time();
        self.read_up_to = self.read_up_to.max(time);
        let displaced = self.random.chance(self.displaced_per_mille);
        let delay_ms = if displaced {
            self.random.between(0, self.within_ms)
        } else {
            0
        };
        let again_ms = self
            .random
            .chance(self.duplicate_per_mille)
            .then(|| self.random.between(delay_ms, self.within_ms));
        let again = again_ms.map(|ms| (time.plus(ms), event.clone()));
        self.waiting.push(time.plus(delay_ms), event);
        if let Some((due, copy)) = again {
            self.waiting.push(due, copy);
        }
    }
}

const STREAM: u64 = 0x6469_736f;

impl<I: Iterator<Item: Timed>> Iterator for Disorder<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        loop {
            // An event read later that is due at this same instant was added later, so it comes
            // after in any case.
            if self
                .waiting
                .next_at()
                .is_some_and(|due| due <= self.read_up_to)
            {
                return self.waiting.pop();
            }
            match self.input.next() {
                Some(event) => self.take_in(event),
                None => return self.waiting.pop(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::event::Body;
    use proptest::prelude::*;

    use super::*;

    fn event(number: usize, time: i64) -> Event {
        Event {
            id: format!("e{number}").into(),
            time: TimeMs(time),
            customer_id: None,
            anonymous_id: Some("a".into()),
            session_id: None,
            channel: None,
            campaign: None,
            country: None,
            body: Body::CartViewed,
        }
    }

    fn events(gaps: &[i64]) -> Vec<Event> {
        let mut time = 0;
        gaps.iter()
            .enumerate()
            .map(|(number, gap)| {
                time += gap;
                event(number, time)
            })
            .collect()
    }

    fn counts(events: &[Event]) -> BTreeMap<(String, i64), usize> {
        let mut counts = BTreeMap::new();
        for event in events {
            *counts
                .entry((event.id.to_string(), event.time.0))
                .or_default() += 1;
        }
        counts
    }

    /// By how much the latest event is late.
    fn lateness(events: &[Event]) -> i64 {
        let mut latest = TimeMs::MIN;
        events.iter().fold(0, |worst, event| {
            latest = latest.max(event.time);
            worst.max(latest.since(event.time))
        })
    }

    proptest! {
        #[test]
        fn bounded_complete_and_deterministic(
            gaps in prop::collection::vec(0_i64..50, 0..200),
            seed in any::<u64>(),
            within in 0_i64..400,
            duplicates in 0_u32..=1000,
            displaced in 0_u32..=1000,
        ) {
            let input = events(&gaps);
            let run = || -> Vec<Event> {
                Disorder::new(input.iter().cloned(), seed, within, duplicates)
                    .displacing(displaced)
                    .collect()
            };
            let output = run();
            prop_assert_eq!(&output, &run());
            prop_assert!(lateness(&output) <= within);
            let (before, after) = (counts(&input), counts(&output));
            prop_assert!(before.keys().eq(after.keys()));
            let most = if duplicates == 0 { 1 } else { 2 };
            let least = if duplicates == 1000 { 2 } else { 1 };
            prop_assert!(after.values().all(|n| (least..=most).contains(n)));
        }

        #[test]
        fn without_bound_or_duplicates_nothing_changes(
            gaps in prop::collection::vec(0_i64..3, 0..100),
            seed in any::<u64>(),
        ) {
            let input = events(&gaps);
            let output: Vec<Event> = Disorder::new(input.iter().cloned(), seed, 0, 0).collect();
            prop_assert_eq!(input, output);
        }

        #[test]
        fn late_input_stays_within_the_greater_bound(
            gaps in prop::collection::vec(0_i64..50, 0..200),
            seed in any::<u64>(),
        ) {
            let late: Vec<Event> = Disorder::new(events(&gaps).into_iter(), seed, 300, 0).collect();
            let output: Vec<Event> = Disorder::new(late.iter().cloned(), seed, 100, 0).collect();
            prop_assert_eq!(counts(&late), counts(&output));
            prop_assert!(lateness(&output) <= 300);
        }
    }

    #[test]
    fn shares_are_as_asked_and_memory_is_one_window() {
        let input = events(&vec![10; 50_000]);
        let mut disorder = Disorder::new(input.iter().cloned(), 3, 1_000, 50);
        let (mut output, mut most_held) = (Vec::new(), 0);
        while let Some(event) = disorder.next() {
            output.push(event);
            most_held = most_held.max(disorder.waiting.len());
        }
        let duplicates = output.len() - input.len();
        assert!(
            (2_300..2_700).contains(&duplicates),
            "{duplicates} duplicates"
        );
        // One window is 100 events, and some of them are held twice.
        assert!(most_held < 130, "{most_held} held");
        let displaced = output
            .windows(2)
            .filter(|pair| pair[0].time > pair[1].time)
            .count();
        assert!(displaced > 20_000, "{displaced} displaced");
    }

    #[test]
    fn undisplaced_events_overtake_only_the_displaced() {
        let input = events(&vec![10; 10_000]);
        let output: Vec<Event> = Disorder::new(input.into_iter(), 3, 1_000, 0)
            .displacing(20)
            .collect();
        let mut latest = TimeMs::MIN;
        let late = output
            .iter()
            .filter(|event| {
                let is_late = event.time < latest;
                latest = latest.max(event.time);
                is_late
            })
            .count();
        assert!((120..260).contains(&late), "{late} late of 10,000");
    }
}
