//! Workers come and go under load: each task is always with one of them, together with all its
//! inputs, and every record takes effect exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use engine::group::{Change, ClaimError, MemberLog};
use engine::port::{CommitError, Read, Staged, TopicPartition, WorkerLog};
use kafkalog::KafkaWorker;
use kafkatest::Broker;
use rdkafka::producer::Producer;

use crate::shop::{PATIENCE, Shop, at, join, out, send, until};

const N: u32 = 8;

/// Who has what, as the workers themselves saw it.
#[derive(Default)]
struct Books {
    /// From the assignment on, until the revocation is acknowledged.
    owner: BTreeMap<u32, String>,
    /// Those who may read it.
    claimed: BTreeMap<u32, String>,
    /// Every assignment that was looked at.
    looked_at: usize,
    /// When a task was last committed, and the longest time in between.
    last_commit: BTreeMap<u32, Instant>,
    longest: BTreeMap<u32, Duration>,
}

struct Scene {
    shop: Shop,
    books: Mutex<Books>,
    appended: AtomicU64,
    loaded: AtomicBool,
}

impl Scene {
    /// Held while a worker looks after its group, so that the books are in the order of what
    /// happened: nobody is told of a task before the one that gave it up has written it down.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    fn owners(&self) -> BTreeMap<u32, String> {
        self.books().claimed.clone()
    }

    /// Waits until all tasks are claimed, by exactly `names`.
    fn settled(&self, names: &[&str]) {
        until(
            "every task is claimed by the workers that there are",
            || {
                let owners = self.owners();
                let by: BTreeSet<&str> = owners.values().map(String::as_str).collect();
                let wanted: BTreeSet<&str> = names.iter().copied().collect();
                (owners.len() == N as usize && by == wanted).then_some(())
            },
        );
        // And work goes on with all of them.
        let since = Instant::now();
        until("every task commits", || {
            let books = self.books();
            let all = books.last_commit.values().filter(|at| **at > since);
            (all.count() == N as usize).then_some(())
        });
    }
}

/// A worker on a thread of its own.
struct Member {
    leave: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    fn start(scene: &Arc<Scene>, name: &str) -> Member {
        let leave = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (scene, leave, name) = (Arc::clone(scene), Arc::clone(&leave), name.to_owned());
            move || Work::begin(&scene, name).go_on(&leave)
        });
        Member {
            leave,
            thread: Some(thread),
        }
    }

    /// Leaves the group, and waits until it has.
    fn leave(mut self) {
        self.leave.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave.store(true, Ordering::Relaxed);
    }
}

struct Work<'s> {
    scene: &'s Scene,
    name: String,
    worker: KafkaWorker,
    pending: BTreeSet<u32>,
    owned: BTreeSet<u32>,
}

impl<'s> Work<'s> {
    fn begin(scene: &'s Scene, name: String) -> Work<'s> {
        let cluster = scene.shop.cluster(&name);
        Work {
            worker: join(&cluster, &name),
            scene,
            name,
            pending: BTreeSet::new(),
            owned: BTreeSet::new(),
        }
    }

    fn go_on(mut self, leave: &AtomicBool) {
        while !leave.load(Ordering::Relaxed) {
            self.look_after_group();
            self.claim();
            self.turn();
        }
        let mut books = self.scene.books();
        drop(self.worker);
        books.owner.retain(|_, name| *name != self.name);
        books.claimed.retain(|_, name| *name != self.name);
    }

    fn look_after_group(&mut self) {
        let mut books = self.scene.books();
        let changes = self.worker.poll().unwrap();
        for change in &changes {
            match change {
                Change::Assigned(tasks) => {
                    for task in tasks {
                        let before = books.owner.insert(*task, self.name.clone());
                        assert_eq!(before, None, "task {task} is with two workers");
                        self.pending.insert(*task);
                    }
                }
                Change::Revoked(tasks) => {
                    for task in tasks {
                        let before = books.owner.remove(task);
                        assert_eq!(before.as_ref(), Some(&self.name));
                        books.claimed.remove(task);
                        self.pending.remove(task);
                        self.owned.remove(task);
                    }
                }
                Change::Lost(tasks) => panic!("{} has lost {tasks:?}", self.name),
            }
        }
        if !changes.is_empty() {
            self.look_at_assignment(&mut books);
        }
    }

    /// What is read is `internal.routed/p` and every input partition q with q mod N = p, for the tasks
    /// that are owned, and nothing else.
    fn look_at_assignment(&self, books: &mut Books) {
        let mut by_task: BTreeMap<u32, BTreeSet<TopicPartition>> = BTreeMap::new();
        for (task, at) in self.worker.assignment() {
            by_task.entry(task).or_default().insert(at.clone());
        }
        let wanted = self.owned.iter().map(|task| {
            let inputs: BTreeSet<_> = self.scene.shop.inputs_of(*task).into_iter().collect();
            (*task, inputs)
        });
        assert_eq!(by_task, wanted.collect(), "{}", self.name);
        books.looked_at += 1;
    }

    fn claim(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let tasks: Vec<_> = self
            .pending
            .iter()
            .map(|task| (*task, self.scene.shop.inputs_of(*task)))
            .collect();
        match self.worker.claim(&tasks) {
            Ok(claimed) => {
                let mut books = self.scene.books();
                for one in claimed {
                    assert!(self.pending.remove(&one.task));
                    self.owned.insert(one.task);
                    books.claimed.insert(one.task, self.name.clone());
                }
                self.look_at_assignment(&mut books);
            }
            Err(ClaimError::NotNow(_)) => self.worker.wait(Duration::from_millis(20)),
            Err(ClaimError::Failed(error)) => panic!("{error}"),
        }
    }

    /// Copies what there is to read, and says by whom in the changelog.
    fn turn(&mut self) {
        let mut work: Vec<Staged> = Vec::new();
        for task in &self.owned {
            let mut staged = Staged {
                task: *task,
                ..Staged::default()
            };
            for source in self.scene.shop.inputs_of(*task) {
                let Read::Records(records) = self.worker.read(&source, 50).unwrap() else {
                    continue;
                };
                let next = records.last().unwrap().offset + 1;
                for record in records {
                    let value = String::from_utf8(record.value.unwrap()).unwrap();
                    let copy = format!("{}/{}:{value}", source.topic, source.partition);
                    let target = at(&self.scene.shop.topics.clv_updates, *task);
                    staged.records.push(out(target, &copy));
                }
                staged.positions.push((source, next));
            }
            if !staged.positions.is_empty() {
                let target = at(&self.scene.shop.topics.changelog, *task);
                let mut by = out(target, "by");
                by.value = Some(self.name.clone().into_bytes());
                staged.records.push(by);
                work.push(staged);
            }
        }
        if work.is_empty() {
            self.worker.settle().unwrap();
            self.worker.wait(Duration::from_millis(10));
            return;
        }
        match self.worker.commit(work) {
            Ok(committed) => {
                let mut books = self.scene.books();
                let now = Instant::now();
                for one in committed {
                    if let Some(before) = books.last_commit.insert(one.task, now) {
                        let longest = books.longest.entry(one.task).or_default();
                        *longest = (*longest).max(now - before);
                    }
                }
            }
            // The group was changing; the same records come again.
            Err(CommitError::Abort(_)) => {}
            Err(error) => panic!("{}: {error}", self.name),
        }
    }
}

/// Appends to all inputs in turn until it is told to stop; answers how many went to each.
fn load(scene: &Scene) {
    let producer = scene.shop.producer(None, PATIENCE);
    let all = scene.shop.all_inputs();
    let mut number = 0_u64;
    while !scene.loaded.load(Ordering::Relaxed) {
        for target in &all {
            send(&producer, target, &number.to_string());
        }
        number += 1;
        producer.poll(Duration::ZERO);
        // Some three thousand records a second, so that there is always something to do.
        thread::park_timeout(Duration::from_millis(10));
    }
    producer.flush(PATIENCE).unwrap();
    scene.appended.store(number, Ordering::Relaxed);
}

#[test]
fn one_then_three_then_one_worker_share_the_tasks_and_do_everything_once() {
    let Some(broker) = Broker::start("one_then_three_then_one_worker") else {
        return;
    };
    let scene = Arc::new(Scene {
        shop: Shop::new(&broker, "scaling", N, &[8, 5, 16]),
        books: Mutex::default(),
        appended: AtomicU64::new(0),
        loaded: AtomicBool::new(false),
    });
    let loading = thread::spawn({
        let scene = Arc::clone(&scene);
        move || load(&scene)
    });

    let a = Member::start(&scene, "a");
    scene.settled(&["a"]);
    let b = Member::start(&scene, "b");
    scene.settled(&["a", "b"]);
    let c = Member::start(&scene, "c");
    scene.settled(&["a", "b", "c"]);
    a.leave();
    scene.settled(&["b", "c"]);
    c.leave();
    scene.settled(&["b"]);
    // Two at once, and one that goes while the other comes.
    let (d, e) = (Member::start(&scene, "d"), Member::start(&scene, "e"));
    scene.settled(&["b", "d", "e"]);
    b.leave();
    let f = Member::start(&scene, "f");
    scene.settled(&["d", "e", "f"]);
    d.leave();
    f.leave();
    scene.settled(&["e"]);

    scene.loaded.store(true, Ordering::Relaxed);
    loading.join().unwrap();
    let cluster = scene.shop.cluster("reader");
    let mut all = scene.shop.all_inputs();
    all.extend((0..N).map(|task| at(&scene.shop.topics.routed, task)));
    until("everything is consumed", || {
        cluster.lag(&all).unwrap().is_empty().then_some(())
    });
    e.leave();

    let books = scene.books();
    let longest = books.longest.values().max().unwrap();
    println!(
        "{} assignments looked at; the longest time between two commits of a task was {longest:?}",
        books.looked_at
    );
    // A leave and a join each move tasks without the session's timeout.
    assert!(*longest < PATIENCE, "{:?}", books.longest);
    assert!(books.looked_at >= 20);
    assert_everything_once(&scene);
    assert_owners_in_turn(&scene.shop);
}

fn assert_everything_once(scene: &Scene) {
    let appended = scene.appended.load(Ordering::Relaxed);
    let mut copies: BTreeMap<(u32, String), Vec<u64>> = BTreeMap::new();
    let written = scene.shop.committed(&scene.shop.topics.clv_updates, N);
    for (task, values) in (0_u32..).zip(written) {
        for value in values {
            let (source, number) = value.split_once(':').unwrap();
            let of = copies.entry((task, source.to_owned())).or_default();
            of.push(number.parse().unwrap());
        }
    }
    let sources = scene.shop.all_inputs();
    assert_eq!(copies.len(), sources.len());
    for source in sources {
        let name = format!("{}/{}", source.topic, source.partition);
        let numbers = &copies[&(source.partition % N, name.clone())];
        let wanted: Vec<u64> = (0..appended).collect();
        assert!(
            *numbers == wanted,
            "{name}: {:?}",
            differences(numbers, appended)
        );
    }
    println!("{} records, each once and in order", appended * 29);
}

fn differences(numbers: &[u64], appended: u64) -> String {
    let missing: Vec<_> = (0..appended).filter(|n| !numbers.contains(n)).collect();
    let placed = numbers.windows(2);
    let not_next: Vec<_> = placed.filter(|two| two[1] != two[0] + 1).collect();
    format!("missing of {appended}: {missing:?}; out of order: {not_next:?}")
}

/// In each changelog, what follows an owner record is written by that owner alone.
fn assert_owners_in_turn(shop: &Shop) {
    let mut moved = 0;
    for values in shop.committed(&shop.topics.changelog, N) {
        let mut owner: Option<String> = None;
        for value in values {
            let known = ["a", "b", "c", "d", "e", "f"].contains(&value.as_str());
            if known {
                assert_eq!(owner.as_deref(), Some(value.as_str()), "a late commit");
            } else {
                // An owner record: it ends with the worker's name.
                let name = value.chars().next_back().map(String::from);
                moved += usize::from(owner.is_some() && owner != name);
                owner = name;
            }
        }
    }
    assert!(moved >= N as usize, "only {moved} tasks have moved");
}
