//! The stages of a run, and what is asked of each (I9): that it comes to its end within a bound, and that no task
//! stands still meanwhile.

use domain::time::DAY_MS;
use wire::routed::Routed;

use super::World;
use super::instance::Instance;
use crate::shop::TASKS;
use crate::time::Moment;

/// After this long no further fault is tried.
const NO_MORE_FAULTS: u64 = 400_000;
/// Within this time after the last fault every task that has something to consume goes on: a takeover,
/// which is the longer of the session timeout and the transaction timeout with a scan, and two seconds;
/// and what slow markers add.
const RESUMED_WITHIN: u64 = 28_000;
/// Within this time everything is consumed, with commits as small as a record.
const CONSUMED_WITHIN: u64 = 300_000;
/// How far the end of the replay is behind the last event: whoever has ordered has lapsed by then, if only by
/// his own rhythm.
const REACHES_ON: i64 = 400 * DAY_MS;

/// How far a run has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Load and faults.
    Troubled,
    /// No more faults; since then.
    Draining(Moment),
    /// The end of the replay is said.
    Closing(Moment),
    /// All instances leave.
    Leaving(Moment),
}

impl World {
    /// Offsets that a task has consumed, and whether these are all, as its positions say.
    pub(super) fn consumed(&self, task: u32) -> (u64, bool) {
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

    /// Looks how far things are; answers whether all is over.
    pub(super) fn look(&mut self) -> bool {
        let now = self.now();
        match self.stage {
            Stage::Troubled => {
                let all_sent = self.feed.is_sent();
                let is_enough = !self.wants_faults() || now.0 > NO_MORE_FAULTS;
                if all_sent && is_enough {
                    self.stage = Stage::Draining(now.max(self.faults.end()));
                    for instance in &self.instances {
                        instance.stop.set(false);
                    }
                }
                false
            }
            Stage::Draining(since) | Stage::Closing(since)
                if !self.feed.promotes && self.is_drained() =>
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
            let until = self.feed.load.latest.plus(REACHES_ON);
            self.say(&Routed::EndOfReplay { until });
            self.stage = Stage::Closing(now);
        } else if self.feed.promoter.next().is_some() {
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
}
