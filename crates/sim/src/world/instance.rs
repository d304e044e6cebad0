//! An instance: a process with workers, on a machine with a volume and a wall clock.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use corosensei::{Coroutine, CoroutineResult};

use crate::faults::Phase;
use crate::hand::{Hand, Rest, Shared};
use crate::place::{Place, Stop};
use crate::store::Volume;
use crate::worker::{Ended, work};

struct Running {
    place: Rc<Place>,
    coroutine: Option<Coroutine<(), Rest, Ended>>,
    /// It is to be stepped, once the process goes on.
    is_parked: bool,
}

/// An instance.
pub(super) struct Instance {
    number: usize,
    pub(super) workers: usize,
    pub(super) volume: Rc<RefCell<Volume>>,
    pub(super) skew: Rc<Cell<i64>>,
    pub(super) stop: Stop,
    /// How many times it has been started.
    pub(super) start: u64,
    running: Vec<Running>,
    is_paused: bool,
}

/// What a step came to.
pub(super) enum Stepped {
    /// There is no such worker any more.
    Gone,
    /// The process stands still.
    Parked,
    /// It waits.
    Waits(u64),
    /// It is in the middle of something.
    At(Phase),
    /// The process is to die of what it met.
    Dead,
    /// It has ended.
    Ended(Ended),
}

impl Instance {
    pub(super) fn new(number: usize, workers: usize) -> Instance {
        Instance {
            number,
            workers,
            volume: Rc::default(),
            skew: Rc::default(),
            stop: Rc::default(),
            start: 0,
            running: Vec::new(),
            is_paused: false,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.iter().any(|one| one.coroutine.is_some())
    }

    /// How many tasks its workers have, if none of these has anything to do.
    pub(super) fn idle_tasks(&self) -> Option<usize> {
        let running = self.running.iter().filter(|one| one.coroutine.is_some());
        running.map(|one| one.place.idle.get()).sum()
    }

    /// Whether one of its workers tries a record, and would have died of that if it died now.
    pub(super) fn tries(&self) -> bool {
        self.running.iter().any(|one| one.place.tries.get())
    }

    /// The client of a worker, while it has one.
    pub(super) fn client(&self, worker: usize) -> Option<u64> {
        self.running.get(worker)?.place.client.get()
    }

    /// The process starts, with a worker at each of `places`.
    pub(super) fn start(&mut self, places: Vec<Place>, cluster: &Shared) {
        self.start += 1;
        self.stop.set(false);
        self.is_paused = false;
        {
            let mut cluster = cluster.borrow_mut();
            let now = cluster.now();
            cluster
                .trace
                .note(now, "start", self.number as u64, self.start);
        }
        let running = places.into_iter().map(|place| {
            let place = Rc::new(place);
            let its_place = Rc::clone(&place);
            let (cluster, skew) = (Rc::clone(cluster), Rc::clone(&self.skew));
            let coroutine = Coroutine::new(move |yielder, ()| {
                let hand = Hand::new(yielder, cluster, skew);
                work(&its_place, &hand)
            });
            Running {
                place,
                coroutine: Some(coroutine),
                is_parked: false,
            }
        });
        self.running = running.collect();
    }

    pub(super) fn step(&mut self, start: u64, worker: usize) -> Stepped {
        if start != self.start {
            return Stepped::Gone;
        }
        let Some(running) = self.running.get_mut(worker) else {
            return Stepped::Gone;
        };
        let Some(coroutine) = &mut running.coroutine else {
            return Stepped::Gone;
        };
        if self.is_paused {
            running.is_parked = true;
            return Stepped::Parked;
        }
        match coroutine.resume(()) {
            CoroutineResult::Yield(Rest::For(ms)) => Stepped::Waits(ms),
            CoroutineResult::Yield(Rest::At(phase)) => Stepped::At(phase),
            CoroutineResult::Yield(Rest::Dead) => Stepped::Dead,
            CoroutineResult::Return(ended) => {
                running.coroutine = None;
                Stepped::Ended(ended)
            }
        }
    }

    /// A worker is to be stepped when the process goes on, if it is still there.
    pub(super) fn park(&mut self, worker: usize) {
        if let Some(running) = self.running.get_mut(worker) {
            running.is_parked = true;
        }
    }

    /// kill -9: every worker ends where it stands, and nobody is told.
    pub(super) fn kill(&mut self, cluster: &Shared) {
        for running in self.running.drain(..) {
            if let Some(client) = running.place.client.get() {
                cluster.borrow_mut().die(client);
            }
        }
        self.is_paused = false;
        self.volume.borrow_mut().released();
    }

    /// The process stands still.
    pub(super) fn pause(&mut self, cluster: &Shared) {
        self.is_paused = true;
        for running in &self.running {
            if let Some(client) = running.place.client.get() {
                cluster.borrow_mut().pause(client);
            }
        }
    }

    /// The process goes on, if it is still the same; answers the workers that are to be stepped.
    pub(super) fn go_on(&mut self, start: u64, cluster: &Shared) -> Vec<usize> {
        if start != self.start || !self.is_paused {
            return Vec::new();
        }
        self.is_paused = false;
        let mut parked = Vec::new();
        for (worker, running) in self.running.iter_mut().enumerate() {
            if let Some(client) = running.place.client.get() {
                cluster.borrow_mut().resume(client);
            }
            if std::mem::take(&mut running.is_parked) {
                parked.push(worker);
            }
        }
        parked
    }
}
