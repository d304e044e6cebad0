//! Instances in the world: they start, are stepped worker by worker, die, and go on.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::instance::Stepped;
use super::stages::Stage;
use super::{Event, PATIENCE, Turn, World};
use crate::place::Place;
use crate::worker::Ended;

impl World {
    /// An instance starts, unless it runs, or all are leaving.
    pub(super) fn start(&mut self, number: usize) {
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
        let places = (0..instance.workers).map(|worker| Place {
            name: format!("shop-{number}-{worker}"),
            process: format!("{number}-{}", instance.start),
            is_mortal: !self.plan.is_calm,
            shop: Arc::clone(&self.shop),
            volume: Rc::clone(&instance.volume),
            journal: Rc::clone(&self.journal),
            client: Cell::default(),
            stop: Rc::clone(&instance.stop),
            idle: Cell::default(),
            tries: Rc::default(),
            mutation: self.plan.mutation,
            max_poll: PATIENCE.poll,
            batch: self.batch,
            tells_silence: self.tells_silence,
        });
        let places: Vec<Place> = places.collect();
        instance.start(places, &self.cluster);
        let (start, workers) = (instance.start, instance.workers);
        for worker in 0..workers {
            let turn = Turn {
                instance: number,
                start,
                worker,
            };
            self.schedule(1, Event::Step(turn));
        }
    }

    /// A worker goes on until it waits, is stopped, or has ended.
    pub(super) fn step(&mut self, turn: Turn) {
        let Turn {
            instance: number,
            start,
            worker,
        } = turn;
        loop {
            match self.instances[number].step(start, worker) {
                Stepped::Gone | Stepped::Parked => return,
                Stepped::Waits(ms) => {
                    self.schedule(ms, Event::Step(turn));
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
                        self.schedule(after, Event::Step(turn));
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

    /// kill -9.
    pub(super) fn kill(&mut self, number: usize) {
        self.instances[number].kill(&self.cluster);
    }

    /// A process that stood still goes on.
    pub(super) fn go_on(&mut self, number: usize, start: u64) {
        let parked = self.instances[number].go_on(start, &self.cluster);
        for worker in parked {
            let turn = Turn {
                instance: number,
                start,
                worker,
            };
            self.schedule(0, Event::Step(turn));
        }
    }
}
