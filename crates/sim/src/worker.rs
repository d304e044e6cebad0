//! A worker of a simulated instance: the loop around [`engine::member::Member`], as the shell on Kafka
//! has it, in virtual time.

mod pace;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use engine::group::{MemberLog, Passing, RestorableStore};
use engine::member::{Broken, Member, Outcome, Rejoin};
use engine::silence::Silence;
use engine::task::Awaited;
use engine::worker::{Owned, Processed};
use wire::routed::Routed;
use wire::state::derived_timer;

use crate::cluster::partition::Content;
use crate::hand::Hand;
use crate::log::{Changelog, SimError, SimLog};
use crate::mutants::Mutant;
use crate::place::Place;
use crate::shop::Shop;
use crate::store::{SimStore, SimStores};
use crate::time::Moment;

use pace::Pace;

/// How often it commits under load.
const COMMIT: u64 = 100;
/// How many records a task consumes before the worker looks at the clock.
const TURN: usize = 100;
/// How long a worker without work waits.
const WAIT: u64 = 100;
/// How often a store is checkpointed.
const CHECKPOINT: u64 = 4_000;
/// How often it is looked for tasks whose inputs are idle.
const IDLE_LOOK: u64 = 1_000;
/// After how long they are.
const IDLE_AFTER: u64 = 4_000;
/// The most records that wait in one lane of an inbox: what is read at a time.
const LANE: usize = 1_024;

/// How a worker ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// As it was told to.
    Left,
    /// It cannot go on, and no other would.
    Halted(String),
}

/// Session after session, until it is told to stop.
pub(crate) fn work(place: &Place, hand: &Hand<'_>) -> Ended {
    let mut broken = 0;
    loop {
        let started = hand.now();
        let again = match session(place, hand) {
            Ok(()) => return Ended::Left,
            Err(Broken::Halt(what)) => return Ended::Halted(what),
            Err(Broken::Rejoin(why)) => why,
        };
        hand.say(format_args!("{} joins anew: {again}", place.name));
        if place.stop.get() {
            return Ended::Left;
        }
        broken = match hand.now().since(started) > 60_000 {
            true => 0,
            false => broken + 1,
        };
        hand.wait(100 << broken.min(4));
    }
}

fn session(place: &Place, hand: &Hand<'_>) -> Result<(), Broken<String>> {
    let shop = &place.shop;
    let topics = shop.setup.topics.clone();
    let joined = |client| place.client.set(Some(client));
    let log = SimLog::join(hand.clone(), topics, place, joined);
    let log = log.map_err(|error| Broken::Rejoin(Rejoin::Passing(error.to_string())))?;
    let stores = SimStores::new(
        hand.clone(),
        Rc::clone(&place.volume),
        Rc::clone(&place.journal),
        Arc::clone(&shop.setup.topics.changelog),
        place.mutation,
    );
    match place.mutation {
        None => in_group(place, hand, log, &stores, SimLog::leave),
        Some(mutation) => {
            let log = Mutant::new(log, mutation, Rc::clone(&place.volume));
            in_group(place, hand, log, &stores, |log| log.inner.leave())
        }
    }
}

/// A session, and the leaving of the group at its end, however it ends.
fn in_group<'y, L>(
    place: &Place,
    hand: &Hand<'y>,
    mut log: L,
    stores: &SimStores<'y>,
    leave: impl FnOnce(L),
) -> Result<(), Broken<String>>
where
    L: MemberLog<Error = SimError, Changelog = Changelog<'y>>,
{
    let mut session = Session {
        place,
        hand,
        stores,
        member: Some(Member::new(
            Arc::clone(&place.shop.setup),
            place.shop.inputs(),
        )),
        idleness: BTreeMap::new(),
        looked: hand.now(),
        silence: Silence::default(),
        listened: hand.now(),
        pace: Pace::default(),
    };
    let ended = session.run(&mut log);
    // Stores before the membership.
    drop(session);
    leave(log);
    place.client.set(None);
    ended
}

struct Session<'s, 'y> {
    place: &'s Place,
    hand: &'s Hand<'y>,
    stores: &'s SimStores<'y>,
    member: Option<Member<SimStore<'y>, Changelog<'y>>>,
    /// By task: records that its inputs had given, and since when it was so many.
    idleness: BTreeMap<u32, (Awaited, Moment)>,
    looked: Moment,
    silence: Silence<Moment>,
    listened: Moment,
    pace: Pace,
}

impl<'y> Session<'_, 'y> {
    fn run<L>(&mut self, log: &mut L) -> Result<(), Broken<String>>
    where
        L: MemberLog<Error = SimError, Changelog = Changelog<'y>>,
    {
        let hand = self.hand;
        let mut last_commit = hand.now();
        let Some(mut member) = self.member.take() else {
            return Ok(());
        };
        loop {
            let stopping = self.place.stop.get();
            if member.uncommitted() == 0 {
                if stopping {
                    return member.leave(self.stores).map_err(|e| halt(&e));
                }
                let changes = member.look_after_group(log, self.stores);
                changes.map_err(|broken| in_words(broken, failed))?;
                let inputs_of = |task| self.place.shop.inputs_of(task);
                let budget = Duration::from_millis(50);
                let taken = member.take_over(log, self.stores, &inputs_of, budget);
                let taken = taken.map_err(|broken| in_words(broken, failed))?;
                if taken.not_now.is_some() {
                    hand.wait(20);
                }
                self.tell_idle(&mut member);
                self.pace.keep(hand, &self.place.shop, member.owned());
            }
            let batch = self.place.batch;
            let budget = batch.saturating_sub(member.uncommitted()).clamp(1, TURN);
            let processed = member
                .process(log, budget)
                .map_err(|broken| in_words(broken, |e| e.to_string()))?;
            let is_done = |owned: &Owned<_>| owned.task.rescoring().is_none();
            let is_idle = processed.drained
                && member.uncommitted() == 0
                && member.has_all()
                && member.owned().iter().all(is_done);
            let tasks = member.owned().len();
            self.place.idle.set(is_idle.then_some(tasks));
            let waited = hand.now().since(last_commit);
            let is_full = member.uncommitted() >= batch || member.is_careful();
            let is_due = waited >= COMMIT || is_full;
            if member.uncommitted() > 0 && (is_due || stopping) {
                let outcome = member.commit(log);
                let outcome = outcome.map_err(|broken| in_words(broken, |e| e.to_string()))?;
                self.tell(&outcome);
                last_commit = hand.now();
            }
            if processed.drained && member.uncommitted() == 0 && self.place.tells_silence {
                self.tell_silent(&mut member);
            }
            self.checkpoint_if_due(&mut member)?;
            self.rest(log, &mut member, processed, last_commit)?;
        }
    }

    /// Waits, where there is nothing to do.
    fn rest<L: MemberLog>(
        &self,
        log: &mut L,
        member: &mut Member<SimStore<'y>, Changelog<'y>>,
        processed: Processed,
        last_commit: Moment,
    ) -> Result<(), Broken<String>> {
        // A turn takes its time, so that no worker can stop the clock.
        if !processed.starved || member.uncommitted() > 0 && processed.steps > 0 {
            self.hand.wait(1);
            return Ok(());
        }
        if member.uncommitted() == 0 && member.has_all() && processed.drained {
            let settled = member.settle(log);
            let settled = settled.map_err(|broken| in_words(broken, |e| e.to_string()))?;
            self.tell(&settled);
        }
        let wait = match member.uncommitted() {
            0 => WAIT,
            _ => COMMIT.saturating_sub(self.hand.now().since(last_commit)),
        };
        match member.is_restoring() {
            true => self.hand.wait(1),
            false => self.hand.wait(wait.max(1)),
        }
        Ok(())
    }

    fn tell(&self, outcome: &Outcome) {
        if let Outcome::Retry(what) = outcome {
            let name = &self.place.name;
            self.hand.say(format_args!("{name} does it again: {what}"));
        }
    }

    fn checkpoint_if_due(
        &self,
        member: &mut Member<SimStore<'y>, Changelog<'y>>,
    ) -> Result<(), Broken<String>> {
        let now = self.hand.now();
        for Owned { task, store } in member.owned() {
            if now.since(store.checkpointed_at) < CHECKPOINT + u64::from(store.task()) * 130 {
                continue;
            }
            for lane in 0..self.place.shop.inputs_of(task.id()).len() {
                let waiting = task.inbox().waiting(lane).count();
                if waiting > LANE {
                    let what = format!("{waiting} records wait in a lane of task {}", task.id());
                    self.hand.cluster().violate("I10", what);
                }
            }
            check_timers(self.hand, store);
            if store.tail() > 0 {
                store.checkpoint().map_err(|e| halt(&e))?;
            } else {
                store.checkpointed_at = now;
            }
        }
        Ok(())
    }

    /// Ends what has been waited for too long.
    fn tell_idle(&mut self, member: &mut Member<SimStore<'y>, Changelog<'y>>) {
        let now = self.hand.now();
        if now.since(self.looked) < IDLE_LOOK {
            return;
        }
        self.looked = now;
        let mut awaited = BTreeMap::new();
        for Owned { task, .. } in member.owned() {
            if let Some(given) = task.awaited() {
                let since = match self.idleness.get(&task.id()) {
                    Some((before, since)) if *before == given => *since,
                    _ => now,
                };
                awaited.insert(task.id(), (given, since));
            }
        }
        let is_idle = |since: Moment| now.since(since) >= IDLE_AFTER;
        awaited.retain(|task, (what, since)| {
            let is_ended = is_idle(*since);
            if is_ended {
                control(self.hand, &self.place.shop, *task, &what.ended_by());
            }
            !is_ended
        });
        self.idleness = awaited;
    }

    /// Lets tasks go on without those of their inputs that are silent while others are not.
    fn tell_silent(&mut self, member: &mut Member<SimStore<'y>, Changelog<'y>>) {
        let now = self.hand.now();
        if now.since(self.listened) < IDLE_LOOK {
            return;
        }
        self.listened = now;
        let tasks = member.owned().iter().map(|owned| &owned.task);
        let is_long_ago = |since| now.since(since) >= IDLE_AFTER;
        for (task, silent) in self.silence.look(tasks, now, is_long_ago) {
            let name = &self.place.name;
            self.hand
                .say(format_args!("{name} tells task {task} of {silent:?}"));
            control(self.hand, &self.place.shop, task, &silent);
        }
    }
}

/// Every profile's armed timer is in the store (I6): or it would never fire.
fn check_timers(hand: &Hand<'_>, store: &SimStore<'_>) {
    use engine::port::Table;
    for (key, value) in store.tables() {
        let Some((Table::Profiles, name)) = Table::split(key) else {
            continue;
        };
        let timer = derived_timer(name, value);
        if timer.is_some_and(|timer| !store.tables().contains_key(&Table::Timers.full_key(&timer)))
        {
            let what = format!("an armed timer of task {} is in no table", store.task());
            hand.cluster().violate("I6", what);
        }
    }
}

/// Appends a control record to a task's partition of `internal.routed`.
pub(crate) fn control(hand: &Hand<'_>, shop: &Shop, task: u32, control: &Routed) {
    let at = shop.routed_of(task);
    let timestamp = hand.wall_clock();
    let mut cluster = hand.cluster();
    if cluster.bounds(&at).is_ok() {
        cluster.append(&at, timestamp, Content::of(control));
    }
}

fn failed<E: Passing, S: Passing>(failure: engine::member::Failure<E, S>) -> String {
    match failure {
        engine::member::Failure::Log(error) => error.to_string(),
        engine::member::Failure::Stores(error) => error.to_string(),
    }
}

fn in_words<F>(broken: Broken<F>, words: impl FnOnce(F) -> String) -> Broken<String> {
    match broken {
        Broken::Rejoin(why) => Broken::Rejoin(why),
        Broken::Halt(failure) => Broken::Halt(words(failure)),
    }
}

fn halt(error: &dyn Display) -> Broken<String> {
    Broken::Halt(error.to_string())
}
