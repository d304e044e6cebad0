//! Faults: drawn one after the other, and happening where a worker comes to the phase that they wait for.

use super::stages::Stage;
use super::{Event, World};
use crate::cluster::LostAnswer;
use crate::faults::{Coverage, Fault, Phase};
use crate::time::Moment;

/// How long a fault waits for a worker to be where it is to happen.
const WAITS: u64 = 7_000;
/// How many wait at once.
const ARMED_AT_ONCE: usize = 3;

struct Armed {
    fault: Fault,
    phase: Phase,
    until: Moment,
}

/// Faults that are to happen, and those that have.
#[derive(Default)]
pub(super) struct Faults {
    armed: Vec<Armed>,
    happened: u64,
    pub(super) coverage: Coverage,
    /// When the last one's own effects are over.
    until: Moment,
}

impl Faults {
    /// No other is to happen; answers when the effects of the last one are over.
    pub(super) fn end(&mut self) -> Moment {
        self.armed.clear();
        self.until
    }
}

impl World {
    /// Whether there have not been enough.
    pub(super) fn wants_faults(&self) -> bool {
        self.faults.happened < self.plan.faults
    }

    /// Draws a fault that is to happen when a worker comes to its phase.
    pub(super) fn arm(&mut self) {
        let now = self.now();
        if self.stage != Stage::Troubled || !self.wants_faults() {
            return;
        }
        let armed = &mut self.faults.armed;
        armed.retain(|armed| now < armed.until);
        if armed.len() < ARMED_AT_ONCE {
            let (fault, phase) = Fault::draw(&mut self.random);
            armed.push(Armed {
                fault,
                phase,
                until: now.plus(WAITS),
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
    pub(super) fn strike(&mut self, phase: Phase, number: usize, worker: usize) -> bool {
        let now = self.now();
        // Two deaths by chance at one record would quarantine it, rightly.
        let tries = self.instances[number].tries();
        let faults = &mut self.faults;
        let found = faults.armed.iter().position(|armed| {
            let is_now = armed.phase == phase && now < armed.until;
            is_now && armed.fault.applies(phase) && !(tries && armed.fault.takes_process())
        });
        let Some(found) = found else {
            return false;
        };
        let fault = faults.armed.remove(found).fault;
        faults.happened += 1;
        faults.coverage.count(fault, phase);
        {
            let mut cluster = self.cluster.borrow_mut();
            cluster
                .trace
                .note(now, fault.as_str(), number as u64, faults.happened);
            let words =
                format_args!("FAULT {fault} at {phase} of instance {number} worker {worker}");
            cluster.trace.say(now, words);
        }
        let (lasts, stops) = self.happen(fault, number, worker);
        self.faults.until = self.faults.until.max(now.plus(lasts));
        stops
    }

    /// Lets a fault happen. Answers how long it lasts, and whether the worker that it met is stopped by it.
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
            Fault::PauseSession => self.pause(number, 6_500),
            Fault::PausePoll => self.pause(number, 15_500),
            Fault::PauseTransaction => self.pause(number, 20_500),
            _ => (self.trouble(fault, number, worker), false),
        }
    }

    /// The process stands still for so long, and up to three seconds more.
    fn pause(&mut self, number: usize, at_least: u64) -> (u64, bool) {
        let lasts = at_least + self.random.below(3_000);
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
