//! Doing it: one fault after the other to the instances of an application, each from its beginning to
//! where nothing is disturbed any more. What follows is for others to judge; here it is only said
//! whether a fault came about, and what an instance did that it must not.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use failpoint::Point;
use fleet::{Fleet, Random};

use crate::disk::{self, Disk};
use crate::fault::Fault;
use crate::inputs::{Loads, PARTITIONS};
use crate::proxy::{Direction, Disturbance, How};
use crate::site::Site;

/// How long an instance may live on that is to die at a point.
const POINT: Duration = Duration::from_secs(30);
/// How long anything else that has to happen may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// SIGKILL.
const KILLED: i32 = 9;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Everything that can be hit.
pub(crate) struct Target<'a, 'b> {
    pub(crate) site: &'a Site,
    pub(crate) fleet: &'a mut Fleet<'b>,
    pub(crate) loads: &'a Loads,
    /// Of the first instance's data.
    pub(crate) disk: Option<&'a Disk>,
    pub(crate) random: &'a mut Random,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Injected,
    /// Its moment did not come.
    Missed,
    /// It did, and what followed must not be.
    Violation(String),
}

impl Target<'_, '_> {
    /// Injects a fault, and ends it.
    pub(crate) fn hit(&mut self, fault: Fault) -> Outcome {
        let which = self.random.below(self.fleet.size());
        match fault {
            Fault::Kill => {
                self.kill(which);
                self.random.pass(SECOND * 5);
                self.fleet.revive(which);
            }
            Fault::KillAt(point) => return self.kill_at(which, point),
            Fault::Restart => return self.restart(which),
            Fault::Stop => self.stop(which),
            Fault::Broker => self.broker(which),
            Fault::Cut => self.network(which, How::Cut),
            Fault::Delay => {
                let late = self.random.between(20 * MILLISECOND, 200 * MILLISECOND);
                self.network(which, How::Delay(late));
            }
            Fault::OneWayTo => self.network(which, How::Hold(Direction::ToBroker)),
            Fault::OneWayFrom => self.network(which, How::Hold(Direction::FromBroker)),
            Fault::HalfClose => {
                let direction = match self.random.below(2) {
                    0 => Direction::ToBroker,
                    _ => Direction::FromBroker,
                };
                self.network(which, How::Close(direction));
            }
            Fault::DiskFull => return self.disk_full(),
            Fault::VolumeLost => {
                self.kill(which);
                self.lose(which);
                self.fleet.revive(which);
            }
            Fault::VolumeStale => return self.stale(which),
            Fault::Loader => return self.loader(),
        }
        Outcome::Injected
    }

    fn kill(&mut self, which: usize) {
        self.fleet.kill(which);
    }

    /// Where an instance keeps its state.
    fn state(&self, which: usize) -> PathBuf {
        let app = self.fleet.app();
        app.data_dir(self.fleet.name(which)).join("state")
    }

    fn lose(&self, which: usize) {
        let state = self.state(which);
        if state.exists() {
            std::fs::remove_dir_all(state).expect("state can be removed");
        }
    }

    /// The instance comes back armed, dies at the point, and comes back unarmed.
    fn kill_at(&mut self, which: usize, point: Point) -> Outcome {
        let times = match point {
            Point::MidTakeover | Point::MidRevoke => 0,
            Point::MidWrite | Point::MidFlush => self.random.below(6),
            Point::MidRestore => self.random.below(300),
            _ => self.random.below(60),
        };
        let armed = format!("{}={times}*off->return", point.as_str());
        self.kill(which);
        if point == Point::MidRestore {
            // So that there is something to restore, wherever it had stood.
            self.lose(which);
        }
        self.fleet.revive_in(which, &[("FAILPOINTS", &armed)]);
        if point == Point::MidRevoke {
            self.provoke_revocation(which);
        }
        let ended = self.await_end(which, POINT);
        let outcome = match ended {
            Some((status, _)) if status.signal() == Some(KILLED) => Outcome::Injected,
            Some((status, log)) => Outcome::Violation(format!(
                "{} was to be killed at {}, and ended otherwise, {status}:\n{log}",
                self.fleet.name(which),
                point.as_str()
            )),
            None => {
                self.kill(which);
                Outcome::Missed
            }
        };
        self.fleet.revive(which);
        outcome
    }

    /// The others go, and come back when `which` has everything: it has to give most of it up.
    fn provoke_revocation(&mut self, which: usize) {
        let others: Vec<usize> = (0..self.fleet.size()).filter(|n| *n != which).collect();
        for other in &others {
            self.kill(*other);
        }
        let deadline = Instant::now() + POINT;
        while self.owned(which) < f64::from(PARTITIONS) && Instant::now() < deadline {
            std::thread::park_timeout(50 * MILLISECOND);
        }
        for other in others {
            self.fleet.revive(other);
        }
    }

    /// How many tasks an instance has.
    fn owned(&self, which: usize) -> f64 {
        let instance = self.fleet.instance(which);
        let instance = instance.filter(|instance| instance.known_address().is_some());
        instance.map_or(0.0, |instance| instance.metric("clvstream_tasks_owned"))
    }

    fn assigned(&mut self, which: usize) -> u64 {
        let counted = self.fleet.counted_by(which);
        counted.sum("clvstream_rebalances_total{kind=\"assigned\"}")
    }

    fn await_assigned(&mut self, which: usize, times: u64) {
        let deadline = Instant::now() + POINT;
        while self.assigned(which) < times && Instant::now() < deadline {
            std::thread::park_timeout(50 * MILLISECOND);
        }
    }

    /// How an instance has ended by itself, within a time.
    fn await_end(
        &mut self,
        which: usize,
        within: Duration,
    ) -> Option<(std::process::ExitStatus, String)> {
        let deadline = Instant::now() + within;
        let mut looked = Instant::now();
        while Instant::now() < deadline {
            if let Some(ended) = self.fleet.ended(which) {
                return Some(ended);
            }
            if looked.elapsed() > 300 * MILLISECOND {
                // What it counts is gone with it.
                self.fleet.counted_by(which);
                looked = Instant::now();
            }
            std::thread::park_timeout(10 * MILLISECOND);
        }
        None
    }

    fn restart(&mut self, which: usize) -> Outcome {
        let (status, log) = self.fleet.terminate(which);
        self.fleet.revive(which);
        match status.success() {
            true => Outcome::Injected,
            false => Outcome::Violation(format!("told to stop, it ended with {status}:\n{log}")),
        }
    }

    /// Beyond the timeouts of session, poll and transaction.
    fn stop(&mut self, which: usize) {
        self.fleet.stop(which);
        let stopped = self.random.between(SECOND * 6, SECOND * 9);
        std::thread::sleep(stopped);
        self.fleet.cont(which);
    }

    /// Half of the time somebody else dies while it is away.
    fn broker(&mut self, which: usize) {
        let broker = self.random.below(self.site.size());
        self.site.kill_broker(broker);
        let also = self.random.below(2) == 0;
        if also {
            self.random.pass(SECOND);
            self.kill(which);
        }
        self.random.pass(SECOND * 3);
        if also {
            self.fleet.revive(which);
        }
        self.site.restart_broker(broker);
    }

    /// Of one instance or of all, to one broker or to all.
    fn network(&mut self, which: usize, how: How) {
        let whose = match self.random.below(3) {
            0 => None,
            _ => Some(format!("-{}", self.fleet.name(which))),
        };
        let broker = match self.random.below(2) {
            0 => None,
            _ => Some(self.random.below(self.site.size())),
        };
        self.site.disturb(broker, &Disturbance { how, whose });
        let lasts = self.random.between(SECOND, SECOND * 8);
        std::thread::sleep(lasts);
        self.site.undisturb();
    }

    /// The instance that has a small disk finds it full: it has to stop and to say why, and to work
    /// again when there is room.
    fn disk_full(&mut self) -> Outcome {
        const WHICH: usize = 0;
        let Some(disk) = self.disk else {
            return Outcome::Missed;
        };
        let deadline = Instant::now() + PATIENCE;
        let ended = loop {
            // Whoever cannot write removes what was half written, and so makes room: a standby does, and
            // goes on without.
            disk.fill().expect("a disk can be filled");
            let ended = self.await_end(WHICH, SECOND);
            if ended.is_some() || Instant::now() >= deadline {
                break ended;
            }
        };
        disk.free().expect("a full disk has a file to be removed");
        match ended {
            None => Outcome::Violation("an instance works on although its disk is full".to_owned()),
            Some((status, log)) => {
                self.fleet.revive(WHICH);
                let says_why = log.contains("no space left");
                if status.signal().is_none() && !status.success() && says_why {
                    return Outcome::Injected;
                }
                Outcome::Violation(format!("with a full disk it ended with {status}:\n{log}"))
            }
        }
    }

    /// A copy is made, work goes on, and the copy is put back.
    fn stale(&mut self, which: usize) -> Outcome {
        let state = self.state(which);
        let app = self.fleet.app();
        let kept = app
            .folder
            .path()
            .join(format!("{}.kept", self.fleet.name(which)));
        self.kill(which);
        if !state.exists() {
            self.fleet.revive(which);
            return Outcome::Missed;
        }
        disk::copy(&state, &kept).expect("state can be copied");
        self.fleet.revive(which);
        self.await_assigned(which, 1);
        std::thread::sleep(self.random.between(SECOND * 2, SECOND * 5));
        self.kill(which);
        self.lose(which);
        disk::copy(&kept, &state).expect("state can be put back");
        std::fs::remove_dir_all(&kept).expect("a copy can be removed");
        self.fleet.revive(which);
        Outcome::Injected
    }

    fn loader(&mut self) -> Outcome {
        let killed = self.loads.killed();
        self.loads.kill_one();
        let deadline = Instant::now() + POINT;
        while Instant::now() < deadline && !self.loads.is_done() {
            if self.loads.killed() > killed {
                return Outcome::Injected;
            }
            std::thread::park_timeout(50 * MILLISECOND);
        }
        Outcome::Missed
    }
}
