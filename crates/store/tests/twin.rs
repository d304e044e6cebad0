//! The store and its in-memory twin against a naive model: a changelog and its fold.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::port::{Committed, StateReader, Table, Write};
use proptest::prelude::*;
use store::{Checkpoint, MemoryStore, Shared, StoreError, TaskStore};

const TASK: u32 = 3;

/// A profile whose first byte is even has a timer armed: that byte, then the profile's key.
fn derive(key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let first = value.first().filter(|first| *first % 2 == 0)?;
    Some([&[*first], key].concat())
}

type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// A changelog, and the state that follows from it.
#[derive(Default)]
struct Model {
    changelog: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    state: State,
}

impl Model {
    /// The state after the first `end` records, timers included.
    fn fold(&self, end: u64) -> State {
        let mut state = State::new();
        for (key, value) in &self.changelog[..end as usize] {
            put(&mut state, key.clone(), value.clone());
        }
        let armed: Vec<_> = state
            .iter()
            .filter(|(key, _)| key[0] == Table::Profiles as u8)
            .filter_map(|(key, value)| derive(&key[1..], value))
            .collect();
        for timer in armed {
            state.insert(Table::Timers.full_key(&timer), Vec::new());
        }
        state
    }

    /// Adds a batch of writes and answers what the engine would have committed.
    fn commit(&mut self, writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Committed {
        self.changelog.extend(writes.clone());
        let before = std::mem::take(&mut self.state);
        self.state = self.fold(self.changelog.len() as u64);
        let mut delta = writes;
        let is_timer = |key: &&Vec<u8>| key[0] == Table::Timers as u8;
        for gone in before.keys().filter(is_timer) {
            if !self.state.contains_key(gone) {
                delta.insert(gone.clone(), None);
            }
        }
        for armed in self.state.keys().filter(is_timer) {
            if !before.contains_key(armed) {
                delta.insert(armed.clone(), Some(Vec::new()));
            }
        }
        let write = |(full, value): (Vec<u8>, Option<Vec<u8>>)| {
            let (table, key) = Table::split(&full).unwrap();
            Write {
                table,
                key: key.to_vec(),
                value: value.map(Arc::from),
            }
        };
        Committed {
            task: TASK,
            delta: delta.into_iter().map(write).collect(),
            changelog_end: self.changelog.len() as u64,
        }
    }
}

fn put(state: &mut State, key: Vec<u8>, value: Option<Vec<u8>>) {
    match value {
        Some(value) => state.insert(key, value),
        None => state.remove(&key),
    };
}

/// Everything in `store`, read by scans of `step` entries at a time.
fn contents(store: &impl StateReader, step: usize) -> State {
    let mut state = State::new();
    for table in Table::ALL {
        let mut from = Vec::new();
        loop {
            let entries = store.scan(table, &from, step).unwrap();
            let Some((last, _)) = entries.last() else {
                break;
            };
            from = [last.as_slice(), &[0]].concat();
            for (key, value) in &entries {
                let before = state.insert(table.full_key(key), value.to_vec());
                assert_eq!(before, None, "a scan yields each key once");
            }
        }
    }
    state
}

fn check(store: &impl StateReader, expected: &State, step: usize) {
    assert_eq!(&contents(store, step), expected);
    for table in Table::ALL {
        let keys: Vec<Vec<u8>> = (0..=25u8).map(|k| vec![k]).collect();
        let borrowed: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let many = store.multi_get(table, &borrowed).unwrap();
        for (key, value) in keys.iter().zip(many) {
            let wanted = expected.get(&table.full_key(key)).map(Vec::as_slice);
            assert_eq!(value.as_deref(), wanted);
            assert_eq!(store.get(table, key).unwrap().as_deref(), wanted);
        }
    }
}

fn open(dir: &Path, shared: &Shared) -> TaskStore {
    TaskStore::open(dir, TASK, b"incarnation", shared, derive).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Commit(BTreeMap<Vec<u8>, Option<Vec<u8>>>),
    Checkpoint,
    CheckpointIfDue(u64),
    Scan(u8),
    /// Drops the store without a checkpoint, then restores from this many records too early.
    Crash(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let table = prop_oneof![
        4 => Just(Table::Profiles),
        1 => Just(Table::Days),
        1 => Just(Table::Meta)
    ];
    let key = (table, 0..25u8).prop_map(|(table, key)| table.full_key(&[key]));
    let value = proptest::option::weighted(0.8, proptest::collection::vec(any::<u8>(), 0..200));
    let step = prop_oneof![
        8 => proptest::collection::btree_map(key, value, 0..12).prop_map(Step::Commit),
        1 => Just(Step::Checkpoint),
        1 => (0..40u64).prop_map(Step::CheckpointIfDue),
        2 => any::<u8>().prop_map(Step::Scan),
        1 => (0..5u64).prop_map(Step::Crash),
    ];
    proptest::collection::vec(step, 1..60)
}

fn run(steps: Vec<Step>, budget: usize) {
    let dir = tempfile::tempdir().unwrap();
    let shared = Shared::new(budget);
    let mut model = Model::default();
    let mut store = open(dir.path(), &shared);
    let mut twin = MemoryStore::new(TASK, derive);
    let mut now = Instant::now();
    for step in steps {
        match step {
            Step::Commit(writes) => {
                let committed = model.commit(writes);
                store.apply(committed.clone()).unwrap();
                twin.apply(committed).unwrap();
            }
            Step::Checkpoint => {
                store.checkpoint().unwrap();
                twin.checkpoint().unwrap();
                assert_eq!(store.position(), model.changelog.len() as u64);
            }
            Step::CheckpointIfDue(seconds) => {
                now += Duration::from_secs(seconds);
                if store.checkpoint_if_due(now).unwrap() == Checkpoint::Started {
                    assert_eq!(store.position(), model.changelog.len() as u64);
                }
            }
            Step::Scan(from) => {
                for table in Table::ALL {
                    let found = store.scan(table, &[from], 3).unwrap();
                    assert_eq!(found, twin.scan(table, &[from], 3).unwrap());
                }
            }
            Step::Crash(early) => {
                drop(store);
                store = open(dir.path(), &shared);
                check(&store, &model.fold(store.position()), 7);
                twin = twin.crash();
                check(&twin, &model.fold(twin.position()), 7);
                replay(
                    &model,
                    store.position() - early.min(store.position()),
                    |o, k, v| store.restore(o, k, v),
                );
                replay(&model, twin.position(), |o, k, v| twin.restore(o, k, v));
                let end = model.changelog.len() as u64;
                store.mark_restored(end).unwrap();
                twin.mark_restored(end).unwrap();
            }
        }
        check(&store, &model.state, 4);
        check(&twin, &model.state, 100);
    }
}

fn replay(
    model: &Model,
    from: u64,
    mut restore: impl FnMut(u64, &[u8], Option<&[u8]>) -> Result<(), StoreError>,
) {
    for (offset, (key, value)) in model.changelog.iter().enumerate().skip(from as usize) {
        restore(offset as u64, key, value.as_deref()).unwrap();
    }
}

/// What is done to a store that follows its changelog, after so many more records.
#[derive(Clone, Copy, Debug)]
enum Pause {
    /// It has caught up: the restore is no long one any more.
    CaughtUp,
    CheckpointIfDue(u64),
    /// A worker takes it over: it is written, closed and opened.
    Handed,
    /// The process dies.
    Dies,
}

fn pauses() -> impl Strategy<Value = Vec<(usize, Pause)>> {
    let pause = prop_oneof![
        2 => Just(Pause::CaughtUp),
        2 => (0..40u64).prop_map(Pause::CheckpointIfDue),
        1 => Just(Pause::Handed),
        1 => Just(Pause::Dies),
    ];
    proptest::collection::vec((0..60_usize, pause), 1..12)
}

fn follow(steps: Vec<Step>, pauses: Vec<(usize, Pause)>, budget: usize) {
    let mut model = Model::default();
    for step in steps {
        if let Step::Commit(writes) = step {
            // No store of its owner is looked at.
            let _ = model.commit(writes);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let shared = Shared::new(budget);
    let start = || {
        let mut store = open(dir.path(), &shared);
        store.stand_by();
        store
    };
    let mut store = start();
    let (mut next, mut now) = (0_usize, Instant::now());
    for (more, pause) in pauses.into_iter().chain([(usize::MAX, Pause::Handed)]) {
        let until = model.changelog.len().min(next.saturating_add(more));
        for (offset, (key, value)) in (next..until).zip(&model.changelog[next..until]) {
            store.restore(offset as u64, key, value.as_deref()).unwrap();
        }
        next = until;
        match pause {
            Pause::CaughtUp => store.mark_restored(store.applied()).unwrap(),
            Pause::CheckpointIfDue(seconds) => {
                now += Duration::from_secs(seconds);
                store.checkpoint_if_due(now).unwrap();
            }
            Pause::Handed => {
                store.checkpoint().unwrap();
                drop(store);
                store = start();
                assert_eq!(store.position(), next as u64);
                check(&store, &model.fold(next as u64), 7);
            }
            Pause::Dies => {
                drop(store);
                store = start();
                check(&store, &model.fold(store.position()), 7);
                next = store.position() as usize;
            }
        }
    }
    assert_eq!(next, model.changelog.len());
    check(&store, &model.state, 4);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// A budget of 8 KiB makes the cache write out and evict all the time.
    #[test]
    fn a_small_store_agrees_with_the_model(steps in steps()) {
        run(steps, 8 << 10);
    }

    #[test]
    fn a_store_that_fits_its_cache_agrees_with_the_model(steps in steps()) {
        run(steps, 64 << 20);
    }

    /// 8 KiB: every few records are written at once; 64 MiB: nothing is until it is asked for.
    #[test]
    fn a_store_that_follows_its_changelog_is_its_fold_wherever_it_is_closed(
        steps in steps(),
        pauses in pauses(),
        budget in prop_oneof![Just(8 << 10), Just(64 << 20)],
    ) {
        follow(steps, pauses, budget);
    }
}

#[test]
fn a_checkpoint_falls_due_by_time_only_when_there_is_something_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), &Shared::new(64 << 20));
    let mut model = Model::default();
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(
        store.checkpoint_if_due(after(0)).unwrap(),
        Checkpoint::NotDue
    );
    assert_eq!(
        store.checkpoint_if_due(after(20)).unwrap(),
        Checkpoint::NotDue
    );
    let writes = BTreeMap::from([(Table::Profiles.full_key(b"a"), Some(vec![2]))]);
    store.apply(model.commit(writes)).unwrap();
    assert_eq!(
        store.checkpoint_if_due(after(34)).unwrap(),
        Checkpoint::NotDue
    );
    assert_eq!(store.position(), 0);
    assert_eq!(
        store.checkpoint_if_due(after(35)).unwrap(),
        Checkpoint::Started
    );
    assert_eq!(store.position(), 1);
}

#[test]
fn a_checkpoint_falls_due_by_the_bytes_of_changelog_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), &Shared::new(1 << 30));
    let mut model = Model::default();
    let now = Instant::now();
    let mut started = Vec::new();
    for n in 0..70u32 {
        // The same key each time: it is the changelog's length that counts.
        let writes = BTreeMap::from([(Table::Days.full_key(b"day"), Some(vec![0; 1 << 20]))]);
        store.apply(model.commit(writes)).unwrap();
        if store.checkpoint_if_due(now).unwrap() == Checkpoint::Started {
            started.push(n);
        }
        model
            .changelog
            .iter_mut()
            .for_each(|(_, value)| *value = None);
    }
    assert_eq!(started, [63]);
}

#[test]
fn a_store_is_refused_where_it_does_not_belong() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Shared::new(64 << 20);
    let store = open(dir.path(), &shared);
    let again = TaskStore::open(dir.path(), TASK, b"incarnation", &shared, derive);
    assert!(matches!(again, Err(StoreError::Locked(_))));
    drop(store);
    let other = TaskStore::open(dir.path(), 4, b"incarnation", &shared, derive);
    assert!(matches!(
        other,
        Err(StoreError::Task {
            found: 3,
            expected: 4,
            ..
        })
    ));
    let other = TaskStore::open(dir.path(), TASK, b"another", &shared, derive);
    assert!(matches!(other, Err(StoreError::Incarnation { .. })));
    assert_eq!(open(dir.path(), &shared).position(), 0);
}

#[test]
fn work_that_does_not_fit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path(), &Shared::new(64 << 20));
    let foreign = Committed {
        task: 9,
        delta: Vec::new(),
        changelog_end: 1,
    };
    assert!(matches!(
        store.apply(foreign),
        Err(StoreError::WrongTask {
            found: 9,
            expected: 3
        })
    ));
    let timer = Table::Timers.full_key(b"t");
    assert!(matches!(
        store.restore(7, &timer, None),
        Err(StoreError::UnknownTable(7))
    ));
    assert!(matches!(
        store.restore(8, &[99], None),
        Err(StoreError::UnknownTable(8))
    ));
    let key = Table::Meta.full_key(b"m");
    store.restore(41, &key, Some(b"x")).unwrap();
    let ahead = store.mark_restored(41);
    assert!(matches!(
        ahead,
        Err(StoreError::Ahead {
            position: 42,
            end: 41,
            ..
        })
    ));
    store.mark_restored(50).unwrap();
    assert_eq!(store.applied(), 50);
}

/// A long restore goes in batches, files are merged late, and what it has not seen before it does not
/// look for: profiles and timers are the same all the same.
#[test]
fn a_long_restore_of_an_empty_store_is_the_fold_of_its_changelog() {
    const RECORDS: u64 = 60_000;
    let dir = tempfile::tempdir().unwrap();
    // Batches of 32 KiB.
    let shared = Shared::new(512 << 10);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut model: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
    let mut records = Vec::new();
    for _ in 0..RECORDS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let key = Table::Profiles.full_key(&((random >> 8) % 20_000).to_be_bytes());
        let value = (!random.is_multiple_of(9)).then(|| vec![(random >> 40) as u8; 60]);
        model.insert(key.clone(), value.clone());
        records.push((key, value));
    }
    let mut store = open(dir.path(), &shared);
    // The process dies in the middle, and the next one goes on.
    for (number, (key, value)) in records.iter().enumerate().take(40_000) {
        store.restore(number as u64, key, value.as_deref()).unwrap();
    }
    drop(store);
    let mut store = open(dir.path(), &shared);
    for number in store.position()..RECORDS {
        let (key, value) = &records[number as usize];
        store.restore(number, key, value.as_deref()).unwrap();
    }
    store.mark_restored(RECORDS).unwrap();
    let mut expected = State::new();
    for (key, value) in model {
        let Some(value) = value else { continue };
        if let Some(timer) = derive(&key[1..], &value) {
            expected.insert(Table::Timers.full_key(&timer), Vec::new());
        }
        expected.insert(key, value);
    }
    assert!(contents(&store, 1_000) == expected);
    assert!(store.tail_bytes() > 0);
    store.checkpoint().unwrap();
    assert_eq!((store.tail_bytes(), store.position()), (0, RECORDS));
}

#[test]
fn of_several_stores_the_one_with_the_longest_tail_writes_first() {
    let dirs: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let shared = Shared::new(1 << 30);
    shared.limit_changelog_tails(5 << 20);
    let mut stores: Vec<_> = dirs.iter().map(|dir| open(dir.path(), &shared)).collect();
    let now = Instant::now();
    let mut end = 0;
    let mut grow = |store: &mut TaskStore, mebibytes: usize| {
        let key = Table::Days.full_key(b"day");
        let writes = BTreeMap::from([(key, Some(vec![0; mebibytes << 20]))]);
        let mut committed = Model::default().commit(writes);
        end += 1;
        committed.changelog_end = end;
        store.apply(committed).unwrap();
    };
    let due = |store: &mut TaskStore| store.checkpoint_if_due(now).unwrap() == Checkpoint::Started;
    grow(&mut stores[0], 3);
    grow(&mut stores[1], 1);
    assert!(!due(&mut stores[0]) && !due(&mut stores[1]), "4 of 5");
    grow(&mut stores[1], 1);
    assert!(!due(&mut stores[1]), "the other one has more");
    assert!(due(&mut stores[0]));
    assert_eq!(stores[0].tail_bytes(), 0);
    assert!(!due(&mut stores[1]), "2 of 5");
}
