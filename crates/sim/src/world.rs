//! The simulated world: instances with their workers, the load, faults, and the order in which all of
//! it happens.
//!
//! One actor at a time is stepped, at virtual times. A run is in stages: load and faults; once those
//! are over, everything is to be consumed within a bound (I9); the end of the replay is said to all
//! tasks and consumed; then all instances leave as they should. No stage ends while profiles go over to another
//! model of value. The same seed gives the same run.

mod instance;

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;

use domain::time::{DAY_MS, TimeMs};
use wire::routed::Routed;

use crate::cluster::partition::Content;
use crate::cluster::{Cluster, LostAnswer, Patience, Violation};
use crate::faults::{Coverage, Fault, Phase};
use crate::hand::Shared;
use crate::load::Load;
use crate::mutants::Mutation;
use crate::promotion::{Promoter, Promotions, When};
use crate::random::Random;
use crate::shop::{Shop, TASKS};
use crate::store::{Journal, Volume};
use crate::time::Moment;
use crate::trace::Trace;
use crate::worker::{Ended, Stop};

use instance::{Instance, Stepped};

/// How long the load takes.
const LOAD: u64 = 60_000;
/// After which silence a member is thrown out, and after which a client leaves.
const PATIENCE: Patience = Patience {
    session: 6_000,
    poll: 15_000,
};
/// How long a fault waits for a worker to be where it is to happen.
const ARMED: u64 = 7_000;
/// After this long no further fault is tried.
const NO_MORE_FAULTS: u64 = 400_000;
/// Within this time after the last fault every task that has something to consume goes on: a takeover,
/// which is the longer of the session timeout and the transaction timeout with a scan, and two seconds;
/// and what slow markers add.
const RESUMED_WITHIN: u64 = 28_000;
/// Within this time everything is consumed, with commits as small as a record.
const CONSUMED_WITHIN: u64 = 300_000;
/// Within this time of its decision every transaction is marked everywhere.
const MARKERS: u64 = 15_000;
/// How far the end of the replay is behind the last event: whoever has ordered has lapsed by then, if only by
/// his own rhythm.
const REACHES_ON: i64 = 400 * DAY_MS;
/// In how many of a thousand seeds tasks are told which of their inputs are silent. What comes in those later may
/// be late, and what is late is not determined.
const SILENT: u64 = 250;
/// How often it is looked how far things are.
const LOOK: u64 = 250;

/// Where a worker belongs, and what it shares with the world.
pub(crate) struct Place {
    pub(crate) name: String,
    /// Told apart from every other process.
    pub(crate) process: String,
    /// Whether a record can kill it.
    pub(crate) is_mortal: bool,
    pub(crate) shop: Arc<Shop>,
    pub(crate) volume: Rc<RefCell<Volume>>,
    pub(crate) journal: Journal,
    pub(crate) client: Rc<Cell<Option<u64>>>,
    pub(crate) stop: Stop,
    /// How many tasks it had, if it had nothing to do when it looked last.
    pub(crate) idle: Rc<Cell<Option<usize>>>,
    /// Whether it tries a record.
    pub(crate) tries: Rc<Cell<bool>>,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) max_poll: u64,
    /// Records that a commit holds, at most; a task's turn may add to that.
    pub(crate) batch: usize,
    /// Whether it tells tasks which of their inputs are silent.
    pub(crate) tells_silence: bool,
}

/// What to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Where all chance comes from.
    pub seed: u64,
    /// Faults to happen, at least.
    pub faults: u64,
    /// Whether there is one instance with one worker, and all of the load is there from the start.
    pub is_calm: bool,
    /// What is wrong with the engine's surroundings.
    pub mutation: Option<Mutation>,
    /// Whether the trace is printed.
    pub prints: bool,
}

/// What a run left behind.
pub struct Ran {
    /// The cluster, with everything that was ever written.
    pub cluster: Cluster,
    /// What was sent.
    pub load: Load,
    /// Which models were put into force.
    pub promotions: Promotions,
    /// Whether tasks were told which of their inputs are silent: what comes in those later may be late.
    pub tells_silence: bool,
    /// The latest event time that had been sent, by when.
    sent: Vec<(Moment, TimeMs)>,
    /// Faults that happened.
    pub coverage: Coverage,
    /// Where and when stores were complete: task, offset, hash, when.
    pub journal: Vec<(u32, u64, u64, Moment)>,
    /// Whether everything came to its end.
    pub is_complete: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    Step {
        instance: usize,
        start: u64,
        worker: usize,
    },
    Start(usize),
    Continue(usize, u64),
    Send,
    Promote,
    Arm,
    Shake,
    Look,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Troubled,
    /// No more faults; since then.
    Draining(Moment),
    /// The end of the replay is said.
    Closing(Moment),
    Leaving(Moment),
}

struct Armed {
    fault: Fault,
    phase: Phase,
    until: Moment,
}

struct World {
    plan: Plan,
    shop: Arc<Shop>,
    cluster: Shared,
    random: Random,
    queue: BinaryHeap<Reverse<(Moment, u64, usize)>>,
    events: Vec<Event>,
    instances: Vec<Instance>,
    load: Load,
    /// Since when it is sent.
    sends_since: Option<Moment>,
    sent: usize,
    promoter: Promoter,
    /// Whether it is to be called.
    promotes: bool,
    latest: Vec<(Moment, TimeMs)>,
    batch: usize,
    tells_silence: bool,
    armed: Vec<Armed>,
    happened: u64,
    coverage: Coverage,
    journal: Journal,
    stage: Stage,
    is_complete: bool,
    /// By task: the sum of its positions, and when it changed or there was nothing to consume.
    moved: BTreeMap<u32, (u64, Moment)>,
    /// When the last fault's own effects are over.
    troubled_until: Moment,
}

/// Runs `plan` to its end.
#[must_use]
pub fn run(plan: Plan, shop: &Arc<Shop>) -> Ran {
    let mut world = World::new(plan, shop);
    world.run();
    // Markers that are still on their way arrive.
    let settled = world.now().plus(MARKERS);
    world.cluster.borrow_mut().advance(settled);
    let World {
        cluster,
        load,
        promoter,
        tells_silence,
        latest,
        coverage,
        journal,
        is_complete,
        instances,
        ..
    } = world;
    // Coroutines hold on to the cluster.
    drop(instances);
    let cluster = match Rc::try_unwrap(cluster) {
        Ok(cluster) => cluster.into_inner(),
        Err(shared) => std::mem::replace(
            &mut *shared.borrow_mut(),
            Cluster::new(0, 1, PATIENCE, Trace::default()),
        ),
    };
    Ran {
        cluster,
        load,
        promotions: promoter.promotions().clone(),
        tells_silence,
        sent: latest,
        coverage,
        journal: journal.take(),
        is_complete,
    }
}

impl World {
    fn new(plan: Plan, shop: &Arc<Shop>) -> World {
        let mut random = Random::new(plan.seed, 3);
        let trace = Trace::printing(plan.prints);
        let mut cluster = Cluster::new(plan.seed, TASKS, PATIENCE, trace);
        for (at, is_compacted) in shop.partitions() {
            cluster.create(at, is_compacted);
        }
        // Small ones commit in the middle of what one record has due.
        let batch = match plan.is_calm {
            true => 400,
            false => random.pick(&[1, 4, 30, 400]),
        };
        let workers = |random: &mut Random| match plan.is_calm {
            true => 1,
            false => 1 + random.below(2) as usize,
        };
        let count = match plan.is_calm {
            true => 1,
            false => 3 + usize::from(random.chance(250)),
        };
        let instances = (0..count).map(|number| Instance::new(number, workers(&mut random)));
        let instances: Vec<_> = instances.collect();
        let mut world = World {
            plan,
            shop: Arc::clone(shop),
            cluster: Rc::new(RefCell::new(cluster)),
            random,
            queue: BinaryHeap::new(),
            events: Vec::new(),
            instances,
            load: Load::of(plan.seed, shop),
            sends_since: None,
            sent: 0,
            promoter: Promoter::new(Promotions::of(plan.seed)),
            promotes: false,
            latest: Vec::new(),
            batch,
            tells_silence: !plan.is_calm && Random::new(plan.seed, 5).chance(SILENT),
            armed: Vec::new(),
            happened: 0,
            coverage: Coverage::default(),
            journal: Journal::default(),
            stage: Stage::Troubled,
            is_complete: false,
            moved: BTreeMap::new(),
            troubled_until: Moment::default(),
        };
        world.schedule_promotion();
        world.schedule(0, Event::Send);
        world.schedule(LOOK, Event::Look);
        for instance in 0..count {
            // One to begin with; the others come soon.
            let after = instance as u64 * (500 + world.random.below(2_000));
            world.schedule(20 + after, Event::Start(instance));
        }
        world
    }

    fn now(&self) -> Moment {
        self.cluster.borrow().now()
    }

    fn schedule(&mut self, after: u64, event: Event) {
        let at = self.now().plus(after);
        self.events.push(event);
        let number = self.events.len();
        self.queue.push(Reverse((at, number as u64, number - 1)));
    }

    fn run(&mut self) {
        while let Some(Reverse((at, _, slot))) = self.queue.pop() {
            self.cluster.borrow_mut().advance(at);
            match self.events[slot] {
                Event::Step {
                    instance,
                    start,
                    worker,
                } => self.step(instance, start, worker),
                Event::Start(instance) => self.start(instance),
                Event::Continue(instance, start) => self.go_on(instance, start),
                Event::Send => self.send(),
                Event::Promote => self.promote(),
                Event::Arm => self.arm(),
                Event::Shake => self.cluster.borrow_mut().shake(),
                Event::Look => {
                    if self.look() {
                        return;
                    }
                    self.schedule(LOOK, Event::Look);
                }
            }
        }
    }

    // Load.

    fn send(&mut self) {
        let Some(since) = self.sends_since else {
            self.begin();
            return;
        };
        let mut cluster = self.cluster.borrow_mut();
        let total = self.load.records.len() as u64;
        // What has been due by now; the rest at once where nothing is to be waited for.
        let due = match self.plan.is_calm {
            true => total,
            false => (cluster.now().since(since) * total / LOAD + 40).min(total),
        };
        let wall_clock = cluster.wall_clock();
        for sent in &self.load.records[self.sent..due as usize] {
            cluster.append(&sent.at, wall_clock, sent.content.clone());
        }
        let newest = self.load.records[..due as usize]
            .iter()
            .map(|sent| sent.time);
        let newest = newest.max().unwrap_or(TimeMs::MIN);
        self.latest.push((cluster.now(), newest));
        self.sent = due as usize;
        drop(cluster);
        if due < total {
            let after = 20 + self.random.below(120);
            self.schedule(after, Event::Send);
        }
    }

    /// The load begins, and with it the faults, once every task has what comes into force before it.
    fn begin(&mut self) {
        let has_come = self.promoter.next() != Some(When::Before);
        let all = || (0..TASKS).all(|task| self.consumed(task).1);
        if has_come && all() {
            self.sends_since = Some(self.now());
            if self.plan.faults > 0 {
                self.schedule(2_500, Event::Arm);
            }
            self.send();
        } else {
            self.schedule(50, Event::Send);
        }
    }

    /// The next promotion is to be made when its time comes.
    fn schedule_promotion(&mut self) {
        let after = match self.promoter.next() {
            Some(When::Before) => 0,
            // Where all of the load is there from the start, it is soon consumed.
            Some(When::At(ms)) if self.plan.is_calm => (ms / 20).saturating_sub(self.now().0),
            Some(When::At(ms)) => ms.saturating_sub(self.now().0),
            Some(When::After) if matches!(self.stage, Stage::Closing(_)) => 0,
            Some(When::After) | None => return,
        };
        self.promotes = true;
        self.schedule(after, Event::Promote);
    }

    fn promote(&mut self) {
        self.promotes = false;
        let mut cluster = self.cluster.borrow_mut();
        let again = self
            .promoter
            .step(&mut cluster, &self.shop, &mut self.random);
        drop(cluster);
        match again {
            Some(after) => {
                self.promotes = true;
                self.schedule(after, Event::Promote);
            }
            None => self.schedule_promotion(),
        }
    }

    fn say(&mut self, control: &Routed) {
        let mut cluster = self.cluster.borrow_mut();
        let wall_clock = cluster.wall_clock();
        for at in 0..TASKS {
            if let Some(routed) = self.shop.inputs_of(at).pop() {
                let content = Content {
                    key: None,
                    value: Some(control.encode()),
                    headers: Vec::new(),
                };
                cluster.append(&routed, wall_clock, content);
            }
        }
    }

    /// Offsets that a task has consumed, and whether these are all, as its positions say.
    fn consumed(&self, task: u32) -> (u64, bool) {
        let cluster = self.cluster.borrow();
        let (mut sum, mut all) = (0, true);
        for at in self.shop.inputs_of(task) {
            let end = cluster.partition(&at).map_or(0, |p| p.end());
            let position = cluster.committed(&at).unwrap_or(0);
            sum += position;
            all &= position >= end;
        }
        (sum, all)
    }

    /// Whether a record is left that a task has not consumed.
    fn has_more(&self, task: u32) -> bool {
        let cluster = self.cluster.borrow();
        self.shop.inputs_of(task).iter().any(|at| {
            let position = cluster.committed(at).unwrap_or(0);
            cluster.read(at, position, u64::MAX).next().is_some()
        })
    }

    /// Whether everything that was sent or forwarded is consumed, and all that was due has been done.
    fn is_drained(&self) -> bool {
        // A task that is between two owners may have timers to fire.
        let idle: Option<usize> = self.instances.iter().map(Instance::idle_tasks).sum();
        idle == Some(TASKS as usize) && (0..TASKS).all(|task| self.consumed(task).1)
    }

    /// I9: a task that has something to consume goes on.
    fn look_for_standstill(&mut self, healed: Moment) {
        let now = self.now();
        for task in 0..TASKS {
            let (sum, all) = self.consumed(task);
            // Behind the last record there may be markers, which are left until there is nothing to do.
            let is_done = all || !self.has_more(task);
            let (known, since) = self.moved.entry(task).or_insert((sum, now.max(healed)));
            if *known != sum || is_done || *since < healed {
                (*known, *since) = (sum, now.max(healed));
            }
            let stood = now.since(*since);
            if stood > RESUMED_WITHIN {
                let what = format!("task {task} stands still since {since}, at {now}");
                self.cluster.borrow_mut().violate("I9", what);
            }
        }
    }

    // Stages.

    /// Looks how far things are; answers whether all is over.
    fn look(&mut self) -> bool {
        let now = self.now();
        match self.stage {
            Stage::Troubled => {
                let all_sent = self.sent == self.load.records.len();
                let is_enough = self.happened >= self.plan.faults || now.0 > NO_MORE_FAULTS;
                if all_sent && is_enough {
                    self.armed.clear();
                    self.stage = Stage::Draining(now.max(self.troubled_until));
                    for instance in 0..self.instances.len() {
                        self.instances[instance].stop.set(false);
                    }
                }
                false
            }
            Stage::Draining(since) | Stage::Closing(since)
                if !self.promotes && self.is_drained() =>
            {
                self.go_to_next_stage(now.max(since));
                false
            }
            Stage::Leaving(_) if self.instances.iter().all(|i| !i.is_running()) => {
                self.is_complete = true;
                true
            }
            Stage::Draining(since) | Stage::Closing(since) | Stage::Leaving(since) => {
                if !matches!(self.stage, Stage::Leaving(_)) {
                    self.look_for_standstill(since);
                }
                if now.since(since) <= CONSUMED_WITHIN {
                    return false;
                }
                let what = self.unfinished(since);
                self.cluster.borrow_mut().violate("I9", what);
                true
            }
        }
    }

    /// Everything is consumed, and no model is about to be promoted.
    fn go_to_next_stage(&mut self, now: Moment) {
        if matches!(self.stage, Stage::Draining(_)) {
            let until = self.load.latest.plus(REACHES_ON);
            self.say(&Routed::EndOfReplay { until });
            self.stage = Stage::Closing(now);
        } else if self.promoter.next().is_some() {
            self.stage = Stage::Closing(now);
            self.schedule_promotion();
        } else {
            for instance in &self.instances {
                instance.stop.set(true);
            }
            self.stage = Stage::Leaving(now);
        }
    }

    fn unfinished(&self, since: Moment) -> String {
        let cluster = self.cluster.borrow();
        let mut behind = String::new();
        for at in (0..TASKS).flat_map(|task| self.shop.inputs_of(task)) {
            let (end, stable) = cluster
                .partition(&at)
                .map_or((0, 0), |p| (p.end(), p.stable_end()));
            let position = cluster.committed(&at).unwrap_or(0);
            if position < end {
                let (topic, number) = (&at.topic, at.partition);
                behind += &format!("; {topic} {number}: {position} of {end}, stable to {stable}");
            }
        }
        format!(
            "not everything is consumed at {}, though nothing has gone wrong since {since} ({:?}){behind}",
            cluster.now(),
            self.stage
        )
    }

    // Instances.

    fn start(&mut self, number: usize) {
        let instance = &mut self.instances[number];
        if matches!(self.stage, Stage::Leaving(_)) {
            return;
        }
        if instance.is_running() {
            if instance.stop.get() {
                // It has not left yet.
                self.schedule(500, Event::Start(number));
            }
            return;
        }
        let places = instance.places(|worker, instance| Place {
            name: format!("shop-{number}-{worker}"),
            process: format!("{number}-{}", instance.start),
            is_mortal: !self.plan.is_calm,
            shop: Arc::clone(&self.shop),
            volume: Rc::clone(&instance.volume),
            journal: Rc::clone(&self.journal),
            client: Rc::default(),
            stop: Rc::clone(&instance.stop),
            idle: Rc::default(),
            tries: Rc::default(),
            mutation: self.plan.mutation,
            max_poll: PATIENCE.poll,
            batch: self.batch,
            tells_silence: self.tells_silence,
        });
        instance.start(places, &self.cluster);
        let (start, workers) = (instance.start, instance.workers);
        for worker in 0..workers {
            self.schedule(
                1,
                Event::Step {
                    instance: number,
                    start,
                    worker,
                },
            );
        }
    }

    fn step(&mut self, number: usize, start: u64, worker: usize) {
        loop {
            let instance = &mut self.instances[number];
            let event = Event::Step {
                instance: number,
                start,
                worker,
            };
            match instance.step(start, worker) {
                Stepped::Gone => return,
                Stepped::Parked => return,
                Stepped::Waits(ms) => {
                    self.schedule(ms, event);
                    return;
                }
                Stepped::At(phase) => {
                    let (now, whom) = (self.now(), number as u64 * 10 + worker as u64);
                    let mut cluster = self.cluster.borrow_mut();
                    cluster.trace.note(now, phase.as_str(), whom, start);
                    drop(cluster);
                    if self.strike(phase, number, worker) {
                        // Whether it goes on, and when, is settled elsewhere.
                        self.instances[number].park(worker);
                        return;
                    }
                    if self.random.chance(250) {
                        let after = self.random.below(5);
                        self.schedule(after, event);
                        return;
                    }
                }
                Stepped::Dead => {
                    let now = self.now();
                    let words = format_args!("instance {number} dies of a record");
                    self.cluster.borrow_mut().trace.say(now, words);
                    self.kill(number);
                    self.schedule(500, Event::Start(number));
                    // The bound on how long a task stands still is for one death, not for all of them.
                    self.moved.clear();
                    return;
                }
                Stepped::Ended(ended) => {
                    if let Ended::Halted(what) = ended {
                        let what = format!("a worker of instance {number} gave up: {what}");
                        self.cluster.borrow_mut().violate("halt", what);
                        self.kill(number);
                        self.schedule(1_000, Event::Start(number));
                    }
                    return;
                }
            }
        }
    }

    fn kill(&mut self, number: usize) {
        self.instances[number].kill(&self.cluster);
    }

    fn go_on(&mut self, number: usize, start: u64) {
        let parked = self.instances[number].go_on(start, &self.cluster);
        for worker in parked {
            let event = Event::Step {
                instance: number,
                start,
                worker,
            };
            self.schedule(0, event);
        }
    }

    // Faults.

    fn arm(&mut self) {
        let now = self.now();
        if self.stage != Stage::Troubled || self.happened >= self.plan.faults {
            return;
        }
        self.armed.retain(|armed| now < armed.until);
        if self.armed.len() < 3 {
            let (fault, phase) = Fault::draw(&mut self.random);
            self.armed.push(Armed {
                fault,
                phase,
                until: now.plus(ARMED),
            });
            if phase.needs_rebalance() {
                self.cluster.borrow_mut().shake();
            }
        }
        let after = 300 + self.random.below(2_500);
        self.schedule(after, Event::Arm);
    }

    /// A worker is at `phase`: does what was to happen there. Answers whether it is not to go on by
    /// itself.
    fn strike(&mut self, phase: Phase, number: usize, worker: usize) -> bool {
        let now = self.now();
        // Two deaths by chance at one record would quarantine it, rightly.
        let tries = self.instances[number].tries();
        let found = self.armed.iter().position(|armed| {
            let is_now = armed.phase == phase && now < armed.until;
            is_now && armed.fault.applies(phase) && !(tries && armed.fault.takes_process())
        });
        let Some(found) = found else {
            return false;
        };
        let fault = self.armed.remove(found).fault;
        self.happened += 1;
        self.coverage.count(fault, phase);
        {
            let mut cluster = self.cluster.borrow_mut();
            cluster
                .trace
                .note(now, fault.as_str(), number as u64, self.happened);
            let words =
                format_args!("FAULT {fault} at {phase} of instance {number} worker {worker}");
            cluster.trace.say(now, words);
        }
        let (lasts, stops) = self.happen(fault, number, worker);
        self.troubled_until = self.troubled_until.max(now.plus(lasts));
        stops
    }

    /// How long it lasts, and whether the worker that it met is stopped by it.
    fn happen(&mut self, fault: Fault, number: usize, worker: usize) -> (u64, bool) {
        match fault {
            Fault::Kill | Fault::KillVolumeLost | Fault::KillVolumeStale => {
                self.kill(number);
                let mut volume = self.instances[number].volume.borrow_mut();
                match fault {
                    Fault::KillVolumeLost => volume.lose(),
                    Fault::KillVolumeStale => volume.turn_back(),
                    _ => {}
                }
                drop(volume);
                let away = 200 + self.random.below(9_000);
                self.schedule(away, Event::Start(number));
                (away, true)
            }
            Fault::PauseSession => self.pause(number, 6_500, 3_000),
            Fault::PausePoll => self.pause(number, 15_500, 3_000),
            Fault::PauseTransaction => self.pause(number, 20_500, 3_000),
            _ => (self.trouble(fault, number, worker), false),
        }
    }

    fn pause(&mut self, number: usize, at_least: u64, and_up_to: u64) -> (u64, bool) {
        let lasts = at_least + self.random.below(and_up_to);
        self.instances[number].pause(&self.cluster);
        let start = self.instances[number].start;
        self.schedule(lasts, Event::Continue(number, start));
        (lasts, true)
    }

    /// What happens to the cluster, or to others; how long it lasts.
    fn trouble(&mut self, fault: Fault, number: usize, worker: usize) -> u64 {
        let now = self.now();
        let random = &mut self.random;
        let mut cluster = self.cluster.borrow_mut();
        match fault {
            Fault::LostAnswer => {
                let what = random.pick(&[
                    LostAnswer::AskedAgain,
                    LostAnswer::Committed,
                    LostAnswer::NotCommitted,
                ]);
                if let Some(client) = self.instances[number].client(worker) {
                    cluster.weather.lost_answers.insert(client, what);
                }
                0
            }
            Fault::RefusedRecord => {
                cluster.weather.refuses_next = true;
                0
            }
            Fault::BrokerDown => {
                let lasts = 300 + random.below(12_000);
                cluster.weather.break_broker(now.plus(lasts));
                lasts
            }
            Fault::CoordinatorDown => {
                let lasts = 300 + random.below(6_000);
                cluster.weather.break_coordinator(now.plus(lasts));
                lasts
            }
            Fault::Storm => {
                let lasts = 500 + random.below(5_000);
                cluster.weather.storm(now.plus(lasts));
                lasts
            }
            Fault::SlowPartitions => {
                let lasts = 1_000 + random.below(9_000);
                for _ in 0..1 + random.below(6) {
                    let partition = random.below(cluster.partitions() as u64) as usize;
                    cluster.weather.slow_down(partition, now.plus(lasts));
                }
                lasts
            }
            Fault::ClockJump => {
                // Backward no further than the margin between what counts as stale and the time that
                // tombstones are kept.
                let skew = random.below(70_000) as i64 - 10_000;
                self.instances[number].skew.set(skew);
                0
            }
            Fault::Flapping => {
                drop(cluster);
                for turn in 0..3 + self.random.below(3) {
                    let after = turn * (200 + self.random.below(1_200));
                    self.schedule(after, Event::Shake);
                }
                6_000
            }
            _ => {
                drop(cluster);
                self.scale(number)
            }
        }
    }

    /// Another instance leaves, and comes back later.
    fn scale(&mut self, number: usize) -> u64 {
        let others = (0..self.instances.len()).filter(|other| {
            let other_one = &self.instances[*other];
            *other != number && other_one.is_running() && !other_one.stop.get()
        });
        let others: Vec<usize> = others.collect();
        if others.is_empty() {
            return 0;
        }
        let other = self.random.pick(&others);
        self.instances[other].stop.set(true);
        let away = 1_500 + self.random.below(8_000);
        self.schedule(away, Event::Start(other));
        away
    }
}

impl Ran {
    /// What was seen that must not be, so far.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.cluster.violations()
    }

    /// Time of the latest event that had been sent when a transaction was decided.
    pub(crate) fn latest_sent(&self, transaction: u64) -> TimeMs {
        let at = (transaction as usize).checked_sub(1);
        let transaction = at.and_then(|at| self.cluster.transactions().get(at));
        let decided = transaction.map_or(Moment::default(), |t| t.decided);
        let sent = self.sent.partition_point(|(at, _)| *at <= decided);
        sent.checked_sub(1)
            .map_or(TimeMs::MIN, |last| self.sent[last].1)
    }
}
