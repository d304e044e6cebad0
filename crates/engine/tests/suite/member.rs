//! A member of the group, script by script: what it is assigned, what becomes of its claims, its
//! restores and its commits, and what is left when it goes or dies.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::event::Event;
use domain::time::{DAY_MS, MINUTE_MS};
use engine::group::{Change, Stores};
use engine::member::{Broken, Failure, Member, Outcome, Progress, Rejoin, TakenOver};
use engine::port::{CommitError, StateError, Table, TopicName};
use engine::trial::Place;
use engine::worker::WorkerError;
use proptest::prelude::*;
use wire::routed::Routed;

use crate::generate::{delivered, shop};
use crate::support::events::{START, order, view};
use crate::support::group::{DiskStore, GroupLog, OWNER, Process, Refusal, Tail, Trouble};
use crate::support::map_store::MapStore;
use crate::support::memory_log::{Fault, Stored};
use crate::support::rig::{Rig, StateEntry, outputs_in, state_entry};

/// Readers go by records here, not by time.
const BUDGET: Duration = Duration::ZERO;

type GroupFailure = Broken<Failure<Trouble, StateError>>;

/// A process with one member, on a log that others may have used before. Beside it the same events
/// on a worker that nothing ever happens to.
struct Scene {
    calm: Rig,
    log: GroupLog,
    process: Process,
    member: Member<DiskStore, Tail>,
}

impl Scene {
    /// The log of an application with so many tasks; `events` are in its inputs.
    fn new(tasks: u32, events: &[Event]) -> Scene {
        let calm = Rig::new(tasks);
        let changelog = calm.topics().changelog.clone();
        let mut scene = Scene {
            log: GroupLog::new(calm.log.clone(), changelog),
            process: Process::default(),
            member: Member::new(calm.setup().clone(), calm.inputs()),
            calm,
        };
        scene.send(events);
        scene
    }

    /// To both logs.
    fn send(&mut self, events: &[Event]) {
        for event in events {
            self.calm.send(event);
            std::mem::swap(&mut self.calm.log, &mut self.log.log);
            self.calm.send(event);
            std::mem::swap(&mut self.calm.log, &mut self.log.log);
        }
    }

    fn look_after_group(&mut self) -> Result<Vec<Change>, GroupFailure> {
        self.member.look_after_group(&mut self.log, &self.process)
    }

    fn take_over(&mut self) -> Result<TakenOver, GroupFailure> {
        let Scene {
            calm,
            log,
            process,
            member,
        } = self;
        let done = member.take_over(log, process, &|task| calm.inputs_of(task), BUDGET);
        done.map(|mut done| {
            for one in done.restoring.iter_mut().chain(&mut done.opened) {
                // How many depends on what is in the records, and is of interest to nobody here.
                assert_eq!(one.bytes > 0, one.records > 0);
                one.bytes = 0;
            }
            done
        })
    }

    fn process(&mut self, budget: usize) -> usize {
        let processed = self.member.process(&mut self.log, budget);
        processed.expect("a turn").steps
    }

    fn commit(&mut self) -> Outcome {
        self.member.commit(&mut self.log).expect("a commit")
    }

    /// The group says this, and the member does as it says.
    fn tell(&mut self, change: Change) {
        self.log.tell(change.clone());
        let changes = self.look_after_group().expect("a change");
        assert_eq!(changes, [change]);
    }

    /// The member is assigned `tasks` and has them.
    fn have(&mut self, tasks: &[u32]) {
        self.tell(Change::Assigned(tasks.to_vec()));
        let mut opened = Vec::new();
        while !self.member.has_all() {
            let done = self.take_over().expect("a takeover");
            assert_eq!(done.not_now, None);
            opened.extend(done.opened.iter().map(|one| one.task));
        }
        assert_eq!(opened, tasks);
    }

    /// Everything that there is to do, committed.
    fn finish(&mut self) {
        while self.process(1_000) > 0 || self.member.uncommitted() > 0 {
            assert!(matches!(self.commit(), Outcome::Committed(_)));
        }
    }

    /// The process dies, and another one starts on the same disk.
    fn crash(&mut self) {
        self.log.crash();
        self.process = Process::on(self.process.disk());
        self.member = Member::new(self.calm.setup().clone(), self.calm.inputs());
    }

    /// A session ends as it is, and the next one is of the same process: so that no two processes can
    /// die at one record.
    fn start_anew(&mut self) {
        let process = self.log.log.process.clone();
        self.crash();
        self.log.log.process = process;
    }

    /// What is in the stores, but for who owns them.
    fn state(&mut self) -> Vec<StateEntry> {
        let mut all = Vec::new();
        for owned in self.member.owned() {
            for table in Table::ALL.into_iter().filter(|table| table.is_logged()) {
                for (key, value) in owned.store.store.tables().table(table) {
                    if (table, &key[..]) != (Table::Meta, OWNER) {
                        all.push(state_entry(owned.task.id(), table, key, value));
                    }
                }
            }
        }
        all
    }

    fn outputs(&self) -> BTreeMap<(TopicName, u32), Vec<Stored>> {
        outputs_in(&self.log.log, self.calm.topics())
    }

    /// The member has all tasks, and everything is as if nothing had ever happened.
    #[track_caller]
    fn assert_as_calm(&mut self) {
        self.calm.run(1_000);
        assert_eq!(self.outputs(), self.calm.outputs());
        assert_eq!(self.state(), self.calm.state());
    }
}

/// Some customers' views and orders.
fn events(count: i64) -> Vec<Event> {
    let mut events = Vec::new();
    for at in 0..count {
        let who = format!("c{}", at % 7);
        let time = START.plus(at * 40 * MINUTE_MS);
        events.push(match at % 3 {
            0 => order(&who, &format!("o{at}"), time, 100 * (at + 1)),
            _ => view(&format!("v{at}"), &who, time),
        });
    }
    events
}

fn progress(task: u32, records: u64, done: u64, total: u64) -> Progress {
    Progress {
        task,
        records,
        bytes: 0,
        done,
        total,
    }
}

fn rejoins<T, F>(ended: Result<T, Broken<F>>) -> Option<Rejoin> {
    match ended {
        Err(Broken::Rejoin(why)) => Some(why),
        Ok(_) | Err(Broken::Halt(_)) => None,
    }
}

#[test]
fn a_task_of_which_a_transaction_took_effect_in_part_is_not_opened() {
    let mut scene = Scene::new(
        1,
        &[order("ann", "o1", START, 700), view("e2", "ann", START)],
    );
    scene.have(&[0]);
    assert_eq!(scene.process(1), 1);
    assert_eq!(scene.commit(), Outcome::Committed(1));
    let positions = scene.log.log.beside.clone();
    scene.finish();
    scene.crash();
    // The changelog has the second commit, the positions are of the first.
    scene.log.log.beside = positions;
    scene.tell(Change::Assigned(vec![0]));
    match scene.take_over() {
        Err(Broken::Halt(Failure::Stores(error))) => {
            let said = error.to_string();
            assert!(
                said.contains("transaction of task 0 took effect in part"),
                "{said}"
            );
            assert!(said.contains("of commit 1"), "{said}");
        }
        other => panic!("{other:?}"),
    }
    assert!(scene.member.owned().is_empty());
}

/// Found by the simulator: compaction had taken away the bookkeeping that was still to be read, and
/// the process halted over a transaction that took effect in part.
#[test]
fn a_task_that_another_member_claims_during_its_restore_ends_the_session_and_nothing_more() {
    let mut scene = Scene::new(1, &events(6));
    scene.have(&[0]);
    scene.finish();
    scene.crash();
    scene.log.is_superseded = true;
    scene.tell(Change::Assigned(vec![0]));
    let why = rejoins(scene.take_over());
    assert_eq!(
        why,
        Some(Rejoin::Passing(
            "task 0 was claimed by another member while it was restored".to_owned()
        ))
    );
    assert!(scene.member.owned().is_empty());
    scene.crash();
    scene.log.is_superseded = false;
    scene.have(&[0]);
    scene.assert_as_calm();
}

#[test]
fn what_is_assigned_is_claimed_restored_processed_and_committed() {
    let mut scene = Scene::new(2, &events(30));
    assert!(scene.member.has_all());
    scene.tell(Change::Assigned(vec![0, 1]));
    assert!(!scene.member.has_all());
    assert_eq!(scene.process(10), 0, "nothing is read before it is claimed");
    assert_eq!(scene.log.claims_of(0), 0);
    let done = scene.take_over().expect("a takeover");
    let taken_over = TakenOver {
        careful: Vec::new(),
        claimed: vec![0, 1],
        not_now: None,
        restoring: Vec::new(),
        // Their owner records, and nothing else so far.
        opened: vec![progress(0, 1, 1, 1), progress(1, 1, 1, 1)],
    };
    assert_eq!(done, taken_over);
    assert!(scene.member.has_all());
    assert_eq!(scene.process(5), 10);
    assert_eq!(scene.member.uncommitted(), 10);
    assert!(scene.outputs().is_empty());
    assert_eq!(scene.commit(), Outcome::Committed(10));
    assert_eq!(scene.member.uncommitted(), 0);
    assert!(!scene.outputs().is_empty());
    scene.finish();
    scene.assert_as_calm();
    assert_eq!((scene.log.claims_of(0), scene.log.claims_of(1)), (1, 1));
}

#[test]
fn a_claim_that_is_refused_for_now_is_tried_again_with_the_stores_as_they_are() {
    let mut scene = Scene::new(2, &events(10));
    scene.log.refuse(Refusal::NotNow);
    scene.log.refuse(Refusal::NotNow);
    scene.tell(Change::Assigned(vec![0, 1]));
    for _ in 0..2 {
        let done = scene.take_over().expect("a takeover");
        let refused = TakenOver {
            not_now: Some("injected".to_owned()),
            ..TakenOver::default()
        };
        assert_eq!(done, refused);
        assert!(!scene.member.has_all());
        assert_eq!(scene.log.claims_of(0), 0);
    }
    let done = scene.take_over().expect("a takeover");
    assert_eq!(done.claimed, [0, 1]);
    assert_eq!(scene.process.opened.get(), 2, "each store was opened once");
    scene.finish();
    scene.assert_as_calm();
}

#[test]
fn a_store_that_is_open_elsewhere_in_the_process_is_waited_for() {
    let mut scene = Scene::new(2, &events(10));
    scene.process.hold(1);
    scene.tell(Change::Assigned(vec![0, 1]));
    let done = scene.take_over().expect("a takeover");
    assert_eq!(done.not_now.as_deref(), Some("task 1 is still open"));
    assert!(done.claimed.is_empty(), "they go together");
    assert_eq!(scene.log.claims_of(0), 0);
    scene.process.let_go(1);
    assert_eq!(scene.take_over().expect("a takeover").claimed, [0, 1]);
    scene.finish();
    scene.assert_as_calm();
}

#[test]
fn what_waits_for_its_claim_is_closed_when_it_is_revoked() {
    let mut scene = Scene::new(2, &events(10));
    scene.log.refuse(Refusal::NotNow);
    scene.tell(Change::Assigned(vec![0, 1]));
    scene.take_over().expect("a takeover");
    assert_eq!(scene.process.open(), [0, 1]);
    scene.tell(Change::Revoked(vec![0]));
    assert_eq!(scene.process.open(), [1]);
    assert_eq!(scene.take_over().expect("a takeover").claimed, [1]);
    assert!(scene.process.disk().borrow().is_empty(), "as it was opened");
}

#[test]
fn a_restore_goes_on_bit_by_bit_while_other_tasks_work() {
    let first = events(30);
    let mut scene = Scene::new(2, &first);
    scene.have(&[0, 1]);
    scene.finish();
    scene.crash();
    scene.have(&[0]);
    let later: Vec<_> = events(60).split_off(30);
    scene.send(&later);
    scene.log.pace = 1;
    scene.tell(Change::Assigned(vec![1]));
    let (mut turns, mut committed) = (0, 0);
    while !scene.member.has_all() {
        let done = scene.take_over().expect("a takeover");
        turns += 1;
        if let [one] = done.restoring[..] {
            assert_eq!((one.task, one.records, one.done), (1, turns, turns));
            assert!(one.done < one.total);
        }
        committed += scene.process(1);
        assert!(matches!(scene.commit(), Outcome::Committed(_)));
    }
    assert!(
        turns > 5 && committed > 5,
        "{turns} turns, {committed} steps"
    );
    scene.finish();
    scene.assert_as_calm();
}

#[test]
fn a_restore_that_is_revoked_is_kept_as_far_as_it_came() {
    let mut scene = Scene::new(2, &events(60));
    scene.have(&[0, 1]);
    // One commit after another, so that the changelog is long.
    while scene.process(1) > 0 {
        assert!(matches!(scene.commit(), Outcome::Committed(_)));
    }
    scene.crash();
    let length = |scene: &Scene| scene.log.log.records(&scene.log.changelog_of(0)).len() as u64;
    let before = length(&scene);
    scene.log.pace = 7;
    scene.tell(Change::Assigned(vec![0, 1]));
    let done = scene.take_over().expect("a takeover");
    assert_eq!(done.restoring, [progress(0, 7, 7, before + 1)]);
    scene.tell(Change::Revoked(vec![0]));
    assert_eq!(scene.process.open(), [1]);
    // The other one is restored and opened all the same.
    let mut opened = Vec::new();
    while !scene.member.has_all() {
        let done = scene.take_over().expect("a takeover");
        opened.extend(done.opened.iter().map(|one| one.task));
    }
    assert_eq!(opened, [1]);
    // It comes back: another owner record, and seven records less to read.
    scene.tell(Change::Assigned(vec![0]));
    let done = scene.take_over().expect("a takeover");
    assert_eq!(done.restoring, [progress(0, 7, 7, before + 2 - 7)]);
    while !scene.member.has_all() {
        scene.take_over().expect("a takeover");
    }
    scene.assert_as_calm();
}

#[test]
fn damaged_state_ends_the_session_and_the_next_one_does_without_it() {
    let mut scene = Scene::new(2, &events(30));
    scene.have(&[0, 1]);
    scene.finish();
    scene.tell(Change::Revoked(vec![0, 1]));
    let disk = scene.process.disk().clone();
    disk.borrow_mut().values_mut().for_each(MapStore::damage);
    scene.have(&[0, 1]);
    scene.send(&events(60)[30..]);
    let ended = loop {
        match scene.member.process(&mut scene.log, 10) {
            Ok(processed) => assert!(processed.steps > 0, "it found no damage"),
            Err(ended) => break ended,
        }
    };
    let Broken::Rejoin(Rejoin::Damaged(what)) = &ended else {
        panic!("it ended otherwise: {ended:?}");
    };
    assert!(what.contains("damaged"), "{what}");
    assert_eq!(
        disk.borrow().len(),
        1,
        "the first that was found so is not kept"
    );
    // Each session finds one more, and then there is none left.
    scene.crash();
    scene.have(&[0, 1]);
    while let Err(ended) = scene.member.process(&mut scene.log, 10) {
        assert!(matches!(ended, Broken::Rejoin(Rejoin::Damaged(_))));
        scene.crash();
        scene.have(&[0, 1]);
    }
    assert_eq!(disk.borrow().len(), 0);
    scene.finish();
    scene.assert_as_calm();
}

#[test]
fn a_task_goes_only_when_nothing_is_uncommitted() {
    for lost in [false, true] {
        let mut scene = Scene::new(2, &events(30));
        scene.have(&[0, 1]);
        let steps = scene.process(4);
        assert!(steps > 0);
        let polls = scene.log.polls;
        let change = match lost {
            true => Change::Lost(vec![0]),
            false => Change::Revoked(vec![0]),
        };
        scene.log.tell(change.clone());
        assert_eq!(scene.look_after_group().expect("no change"), []);
        assert_eq!(scene.take_over().expect("nothing"), TakenOver::default());
        assert_eq!(scene.log.polls, polls, "the group is not even asked");
        assert_eq!(scene.commit(), Outcome::Committed(steps));
        assert_eq!(scene.look_after_group().expect("a change"), [change]);
        assert_eq!(scene.process.open(), [1]);
        let kept = scene.process.disk().borrow()[&0].tables().position();
        let end = scene.log.log.records(&scene.log.changelog_of(0)).len();
        assert_eq!(kept, end as u64, "everything is in the checkpoint");
        scene.finish();
        // It comes back with only the owner record to read.
        scene.tell(Change::Assigned(vec![0]));
        let done = scene.take_over().expect("a takeover");
        assert_eq!(done.opened, [progress(0, 1, 1, 1)]);
        scene.finish();
        scene.assert_as_calm();
    }
}

#[test]
fn after_an_abort_everything_is_read_again() {
    let mut scene = Scene::new(2, &events(30));
    scene.have(&[0, 1]);
    scene.process(3);
    assert!(matches!(scene.commit(), Outcome::Committed(_)));
    let before = (scene.state(), scene.outputs());
    let steps = scene.process(1_000);
    scene.log.log.next_commit(Some(Fault::Abort));
    assert_eq!(scene.commit(), Outcome::Retry("injected".to_owned()));
    assert_eq!(scene.member.uncommitted(), 0);
    assert_eq!((scene.state(), scene.outputs()), before);
    assert_eq!(scene.process(1_000), steps);
    assert_eq!(scene.commit(), Outcome::Committed(steps));
    scene.assert_as_calm();
}

#[test]
fn a_commit_that_ends_the_session_applies_nothing_and_the_next_one_goes_by_the_log() {
    let injected = || "injected".to_owned();
    for (fault, why) in [
        (Fault::Fenced, Rejoin::Fenced(injected())),
        (Fault::UnknownLost, Rejoin::Indeterminate(injected())),
        (Fault::UnknownDone, Rejoin::Indeterminate(injected())),
    ] {
        let mut scene = Scene::new(2, &events(30));
        scene.have(&[0, 1]);
        scene.process(3);
        assert!(matches!(scene.commit(), Outcome::Committed(_)));
        let before = scene.state();
        scene.process(5);
        scene.log.log.next_commit(Some(fault));
        let ended = scene.member.commit(&mut scene.log);
        assert_eq!(rejoins(ended), Some(why));
        assert_eq!(scene.state(), before);
        scene.crash();
        scene.have(&[0, 1]);
        scene.finish();
        scene.assert_as_calm();
    }
}

#[test]
fn a_commit_that_can_never_be_halts() {
    let mut scene = Scene::new(1, &events(5));
    scene.have(&[0]);
    scene.process(5);
    scene.log.log.next_commit(Some(Fault::Halt));
    let ended = scene.member.commit(&mut scene.log);
    assert!(matches!(
        ended,
        Err(Broken::Halt(WorkerError::Commit(CommitError::Halt(_))))
    ));
}

#[test]
fn what_the_log_fails_with_ends_the_session_and_says_whether_to_join_anew() {
    for is_passing in [true, false] {
        let trouble = Trouble { is_passing };
        let mut scene = Scene::new(1, &events(5));
        scene.log.fail(trouble.clone());
        let polled = scene.look_after_group().map(|_| ());
        scene.tell(Change::Assigned(vec![0]));
        scene.log.refuse(Refusal::Failed(trouble.clone()));
        let claimed = scene.take_over().map(|_| ());
        for ended in [polled, claimed] {
            match ended {
                Err(Broken::Rejoin(why)) => {
                    assert!(is_passing);
                    assert_eq!(why, Rejoin::Passing("injected".to_owned()));
                }
                Err(Broken::Halt(Failure::Log(error))) => assert_eq!(error, trouble),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_crash_between_claim_and_restore_leaves_an_owner_record_more() {
    let mut scene = Scene::new(2, &events(30));
    scene.have(&[0, 1]);
    scene.process(4);
    assert!(matches!(scene.commit(), Outcome::Committed(_)));
    scene.crash();
    scene.log.pace = 0;
    scene.tell(Change::Assigned(vec![0, 1]));
    assert_eq!(scene.take_over().expect("a takeover").claimed, [0, 1]);
    assert!(scene.member.is_restoring());
    scene.crash();
    scene.log.pace = usize::MAX;
    scene.have(&[0, 1]);
    assert_eq!((scene.log.claims_of(0), scene.log.claims_of(1)), (3, 3));
    scene.finish();
    scene.assert_as_calm();
}

#[test]
fn positions_that_could_not_be_settled_are_settled_later() {
    let mut scene = Scene::new(1, &events(5));
    scene.have(&[0]);
    assert_eq!(scene.process(1), 1);
    scene.log.log.next_commit(Some(Fault::Abort));
    let settled = scene.member.settle(&mut scene.log);
    assert_eq!(settled.expect("nothing"), Outcome::Committed(0));
    scene.log.log.forget_faults();
    assert_eq!(scene.commit(), Outcome::Committed(1));
    // What had been read ahead is read again.
    scene.log.log.next_commit(Some(Fault::Abort));
    let settled = scene.member.settle(&mut scene.log);
    let retried = Outcome::Retry("injected".to_owned());
    assert_eq!(settled.expect("a retry"), retried);
    scene.finish();
    scene.assert_as_calm();
    scene.log.log.next_commit(Some(Fault::Fenced));
    let settled = scene.member.settle(&mut scene.log);
    let fenced = Rejoin::Fenced("injected".to_owned());
    assert_eq!(rejoins(settled), Some(fenced));
}

#[test]
fn who_leaves_checkpoints_and_closes_everything() {
    let mut scene = Scene::new(3, &events(30));
    scene.have(&[0, 1]);
    scene.finish();
    scene.log.pace = 0;
    scene.tell(Change::Assigned(vec![2]));
    scene.take_over().expect("a takeover");
    assert_eq!(scene.process.open(), [0, 1, 2]);
    let Scene {
        log,
        process,
        mut member,
        ..
    } = scene;
    member.leave(&process).expect("a farewell");
    assert!(process.open().is_empty());
    for task in [0, 1] {
        let store = process.open_again(task);
        let end = log.log.records(&log.changelog_of(task)).len() as u64;
        assert_eq!(store.store.tables().position(), end);
    }
}

impl Process {
    fn open_again(&self, task: u32) -> DiskStore {
        let store = Stores::open(self, task).expect("a store");
        store.expect("it was closed")
    }
}

/// What happens next.
#[derive(Clone, Debug)]
enum Next {
    Assigned(u32),
    Gone(u32, bool),
    Refused,
    Commit(Option<Fault>),
    Crash,
}

fn next(tasks: u32) -> impl Strategy<Value = Next> {
    let fault = prop_oneof![
        6 => Just(None),
        1 => Just(Some(Fault::Abort)),
        1 => Just(Some(Fault::Fenced)),
        1 => Just(Some(Fault::UnknownLost)),
        1 => Just(Some(Fault::UnknownDone)),
    ];
    prop_oneof![
        3 => (0..tasks).prop_map(Next::Assigned),
        2 => (0..tasks, any::<bool>()).prop_map(|(task, lost)| Next::Gone(task, lost)),
        1 => Just(Next::Refused),
        6 => fault.prop_map(Next::Commit),
        1 => Just(Next::Crash),
    ]
}

/// Goes through `all`, with the tasks that the member has by what it was told; a session that breaks
/// ends as a crash does.
fn go_through(scene: &mut Scene, all: Vec<Next>, budget: usize) {
    let mut mine: Vec<u32> = Vec::new();
    for next in all {
        match next {
            Next::Assigned(task) if !mine.contains(&task) => {
                mine.push(task);
                scene.log.tell(Change::Assigned(vec![task]));
            }
            Next::Gone(task, lost) if mine.contains(&task) => {
                mine.retain(|other| *other != task);
                scene.log.tell(match lost {
                    true => Change::Lost(vec![task]),
                    false => Change::Revoked(vec![task]),
                });
            }
            Next::Assigned(_) | Next::Gone(..) => {}
            Next::Refused => scene.log.refuse(Refusal::NotNow),
            Next::Crash => {
                mine.clear();
                scene.start_anew();
            }
            Next::Commit(fault) => {
                scene.process(budget);
                let tried = scene.log.log.commits;
                scene.log.log.next_commit(fault);
                let broke = scene.member.commit(&mut scene.log).is_err();
                if tried == scene.log.log.commits {
                    scene.log.log.forget_faults();
                }
                if broke {
                    mine.clear();
                    scene.start_anew();
                }
            }
        }
        scene.look_after_group().expect("changes");
        scene.take_over().expect("a takeover");
        scene.process(budget);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_the_group_does_everything_is_done_once(
        events in shop(4, 80), seed in any::<u64>(), tasks in 1..4_u32, pace in 1..9_usize,
        budget in 1..6_usize, all in proptest::collection::vec(next(3), 0..80),
    ) {
        let mut scene = Scene::new(tasks, &delivered(&events, seed));
        let last = events.iter().map(|event| event.time).max().unwrap_or_default();
        let end = Routed::EndOfReplay { until: last.plus(400 * DAY_MS) };
        scene.calm.control_all(&end);
        std::mem::swap(&mut scene.calm.log, &mut scene.log.log);
        scene.calm.control_all(&end);
        std::mem::swap(&mut scene.calm.log, &mut scene.log.log);
        scene.log.pace = pace;
        let known = |next: &Next| match next {
            Next::Assigned(task) | Next::Gone(task, _) => *task < tasks,
            Next::Refused | Next::Commit(_) | Next::Crash => true,
        };
        let all = all.into_iter().filter(known).collect();
        go_through(&mut scene, all, budget);
        scene.crash();
        scene.log.forget_refusals();
        let everything: Vec<u32> = (0..tasks).collect();
        scene.have(&everything);
        scene.finish();
        scene.assert_as_calm();
    }
}

/// The process dies while it tries the record at `place`: its member is about to, and has said so.
fn dies_at(scene: &mut Scene, place: &Place) {
    scene.have(&[0]);
    scene.log.deadly = Some(place.clone());
    for _ in 0..1_000 {
        match scene.member.process(&mut scene.log, 10) {
            Ok(_) if scene.member.uncommitted() > 0 => {
                assert_eq!(scene.commit(), Outcome::Committed(1))
            }
            Ok(_) => panic!("nothing is left to be tried, and the record was not"),
            Err(_) => {
                scene.crash();
                return;
            }
        }
    }
    panic!("the record is never tried");
}

#[test]
fn a_record_at_which_two_processes_died_goes_to_the_dead_letters_and_nothing_else_does() {
    let mut scene = Scene::new(1, &events(30));
    let place = Place {
        at: scene.calm.inputs_of(0)[0].clone(),
        offset: 4,
    };
    // The first two die somewhere: nobody had looked.
    for _ in 0..2 {
        scene.have(&[0]);
        assert!(scene.process(5) > 1, "not careful yet");
        scene.crash();
    }
    for _ in 0..2 {
        dies_at(&mut scene, &place);
    }
    scene.have(&[0]);
    scene.log.deadly = Some(place.clone());
    scene.finish();
    let counts = scene.member.counts();
    assert_eq!((counts.dead_lettered, counts.applied), (1, 29));
    let letters = scene.calm.topics().dead_letters.to_string();
    let letters: Vec<&Stored> = scene
        .log
        .log
        .topic(&letters)
        .flat_map(|(_, all)| all)
        .collect();
    let said = |name: &str| {
        let headers = letters[0].headers.iter();
        let (_, value) = headers
            .clone()
            .find(|(known, _)| *known == name)
            .expect("a header");
        String::from_utf8(value.clone()).expect("text")
    };
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (said("clv_offset"), said("clv_error_class")),
        ("4".to_owned(), "quarantined".to_owned())
    );
    let sent = &scene.log.log.records(&place.at)[4];
    assert_eq!(letters[0].value, sent.value, "with its bytes");
    // It is passed: the next process is as any other.
    scene.crash();
    scene.tell(Change::Assigned(vec![0]));
    let taken = scene.take_over().expect("a takeover");
    assert!(taken.careful.is_empty());
}
