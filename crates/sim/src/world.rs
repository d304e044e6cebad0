//! The simulated world: instances with their workers, the load, faults, and the order in which all of
//! it happens.
//!
//! One actor at a time is stepped, at virtual times. A run is in stages: load and faults; once those
//! are over, everything is to be consumed within a bound (I9); the end of the replay is said to all
//! tasks and consumed; then all instances leave as they should. No stage ends while profiles go over to another
//! model of value. The same seed gives the same run.

mod faults;
mod feed;
mod instance;
mod running;
mod stages;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use domain::time::TimeMs;

use crate::agenda::Agenda;
use crate::cluster::{Cluster, Patience, Violation};
use crate::faults::Coverage;
use crate::hand::Shared;
use crate::load::Load;
use crate::mutants::Mutation;
use crate::promotion::Promotions;
use crate::random::Random;
use crate::shop::{Shop, TASKS};
use crate::store::Journal;
use crate::time::Moment;
use crate::trace::Trace;

use faults::Faults;
use feed::Feed;
use instance::Instance;
use stages::Stage;

/// After which silence a member is thrown out, and after which a client leaves.
const PATIENCE: Patience = Patience {
    session: 6_000,
    poll: 15_000,
};
/// Within this time of its decision every transaction is marked everywhere.
const MARKERS: u64 = 15_000;
/// In how many of a thousand seeds tasks are told which of their inputs are silent. What comes in those later may
/// be late, and what is late is not determined.
const SILENT: u64 = 250;
/// How often it is looked how far things are.
const LOOK: u64 = 250;

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

/// A worker's turn, if the process is still the one that it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Turn {
    instance: usize,
    start: u64,
    worker: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    Step(Turn),
    Start(usize),
    Continue(usize, u64),
    Send,
    Promote,
    Arm,
    Shake,
    Look,
}

struct World {
    plan: Plan,
    shop: Arc<Shop>,
    cluster: Shared,
    random: Random,
    agenda: Agenda<Event>,
    instances: Vec<Instance>,
    feed: Feed,
    faults: Faults,
    batch: usize,
    tells_silence: bool,
    journal: Journal,
    stage: Stage,
    is_complete: bool,
    /// By task: the sum of its positions, and when it changed or there was nothing to consume.
    moved: BTreeMap<u32, (u64, Moment)>,
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
        feed,
        faults,
        tells_silence,
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
        promotions: feed.promoter.promotions().clone(),
        load: feed.load,
        tells_silence,
        sent: feed.latest,
        coverage: faults.coverage,
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
            agenda: Agenda::new(),
            instances,
            feed: Feed::of(plan.seed, shop),
            faults: Faults::default(),
            batch,
            tells_silence: !plan.is_calm && Random::new(plan.seed, 5).chance(SILENT),
            journal: Journal::default(),
            stage: Stage::Troubled,
            is_complete: false,
            moved: BTreeMap::new(),
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
        self.agenda.put(at, event);
    }

    fn run(&mut self) {
        while let Some((at, event)) = self.agenda.pop() {
            self.cluster.borrow_mut().advance(at);
            match event {
                Event::Step(turn) => self.step(turn),
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
