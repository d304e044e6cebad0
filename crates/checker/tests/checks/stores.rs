//! A store against the changelog (I4).

use std::collections::BTreeMap;

use checker::{Check, Entry, Outcome, StoreContents, check};
use domain::time::TimeMs;
use engine::port::Table;
use proptest::prelude::*;
use wire::state::derived_timer;

use crate::histories::{at, made, names, plan, subject};
use crate::topics::Topics;

type Contents = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// What a store holds that has everything before `position`, and some of what comes after it.
fn store(topics: &Topics, task: u32, position: u64, ahead: u64) -> Contents {
    let mut contents = Contents::new();
    for record in topics.records(&at(&names().changelog, task)) {
        let key = record.key.as_deref().expect("a key");
        let (table, key) = Table::split(key).expect("a key of a known table");
        let early = record.offset >= position;
        // Evicted from the cache before the checkpoint: newer than the position.
        if early && !(record.offset + key.len() as u64).is_multiple_of(ahead) {
            continue;
        }
        match &record.value {
            Some(value) => contents.insert((table, key.to_vec()), value.clone()),
            None => contents.remove(&(table, key.to_vec())),
        };
    }
    let profiles = contents
        .iter()
        .filter(|((table, _), _)| *table == Table::Profiles);
    let timers = profiles.filter_map(|((_, key), value)| derived_timer(key, value));
    let timers: Vec<_> = timers
        .map(|timer| ((Table::Timers, timer), Vec::new()))
        .collect();
    contents.extend(timers);
    contents
}

fn outcome(topics: &Topics, tasks: u32, position: u64, contents: &Contents) -> Outcome {
    let entries = contents
        .iter()
        .map(|((table, key), v)| Ok((*table, key.clone(), v.clone())));
    let store = StoreContents {
        position,
        entries: Box::new(entries),
    };
    let Ok(report) = check(
        &subject(tasks, false),
        &mut topics.clone(),
        0,
        Some(store),
        &mut |_| {},
    );
    report.outcome(Check::State).expect("an outcome").clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_store_at_any_position_gives_the_folded_changelog(
        plan in plan(50), position in any::<u64>(), ahead in 2..5_u64,
    ) {
        let topics = made(&plan);
        let end = topics.records(&at(&names().changelog, 0)).len() as u64;
        let position = position % (end + 1);
        let contents = store(&topics, 0, position, ahead);
        let found = outcome(&topics, plan.tasks, position, &contents);
        prop_assert!(matches!(found, Outcome::Passed(_)), "{found:?}");
        let ahead_of_all = outcome(&topics, plan.tasks, end + 1, &contents);
        prop_assert!(matches!(ahead_of_all, Outcome::NotCheckable(_)), "{ahead_of_all:?}");
    }

    #[test]
    fn a_store_that_was_taken_over_and_committed_nothing_since_is_no_further_than_the_commits(
        plan in plan(50), ahead in 2..5_u64,
    ) {
        let mut topics = made(&plan);
        let changelog = at(&names().changelog, 0);
        let end = topics.records(&changelog).last().map_or(0, |last| last.offset + 1);
        let owner = Entry {
            offset: end + 1,
            timestamp: TimeMs(0),
            key: Some(Table::Meta.full_key(b"owner")),
            value: Some(b"another".to_vec()),
            headers: Vec::new(),
        };
        let contents = store(&topics, 0, end, ahead);
        topics.partitions.entry(changelog).or_default().push(owner);
        let found = outcome(&topics, plan.tasks, end + 2, &contents);
        prop_assert!(matches!(found, Outcome::Passed(_)), "{found:?}");
    }

    #[test]
    fn what_is_wrong_with_a_store_is_found(
        plan in plan(50), which in any::<usize>(), lost in any::<bool>(),
    ) {
        let topics = made(&plan);
        let end = topics.records(&at(&names().changelog, 0)).len() as u64;
        let mut contents = store(&topics, 0, end, 2);
        prop_assume!(!contents.is_empty());
        let place = contents.keys().nth(which % contents.len()).expect("an entry").clone();
        match lost || place.0 == Table::Timers {
            true => {
                contents.remove(&place);
            }
            false => {
                // Never committed.
                contents.entry(place.clone()).or_default().push(0);
            }
        }
        let found = outcome(&topics, plan.tasks, end, &contents);
        let meta = place.0 == Table::Meta;
        prop_assert!(matches!(found, Outcome::Failed(_)) || meta && lost, "{place:?} {found:?}");
    }
}
