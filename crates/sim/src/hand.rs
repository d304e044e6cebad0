//! A worker's hold on the simulated world: it waits in virtual time, and says where it is.
//!
//! A worker runs as a coroutine. Whenever it waits, others run; whenever it says where it is, the world
//! may stop it there, for a while or for ever. What is stopped for ever is dropped where it stands, as
//! a killed process is.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use corosensei::Yielder;
use domain::time::TimeMs;

use crate::cluster::Cluster;
use crate::faults::Phase;
use crate::time::Moment;

/// Why a worker lets others run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rest {
    /// It waits for so many milliseconds.
    For(u64),
    /// It is in the middle of something.
    At(Phase),
    /// Its process dies.
    Dead,
}

/// The cluster, shared by all that run on one thread.
pub(crate) type Shared = Rc<RefCell<Cluster>>;

/// A worker's hold on the world.
pub(crate) struct Hand<'y> {
    yielder: &'y Yielder<(), Rest>,
    cluster: Shared,
    /// How far the wall clock of its machine is off.
    skew: Rc<std::cell::Cell<i64>>,
}

impl Clone for Hand<'_> {
    fn clone(&self) -> Self {
        Hand {
            yielder: self.yielder,
            cluster: Rc::clone(&self.cluster),
            skew: Rc::clone(&self.skew),
        }
    }
}

impl<'y> Hand<'y> {
    pub(crate) fn new(
        yielder: &'y Yielder<(), Rest>,
        cluster: Shared,
        skew: Rc<std::cell::Cell<i64>>,
    ) -> Hand<'y> {
        Hand {
            yielder,
            cluster,
            skew,
        }
    }

    /// The cluster. Not to be held while waiting.
    pub(crate) fn cluster(&self) -> RefMut<'_, Cluster> {
        self.cluster.borrow_mut()
    }

    pub(crate) fn now(&self) -> Moment {
        self.cluster().now()
    }

    /// The wall clock of its machine.
    pub(crate) fn wall_clock(&self) -> TimeMs {
        self.cluster().wall_clock().plus(self.skew.get())
    }

    /// Words for who replays a seed.
    pub(crate) fn say(&self, words: std::fmt::Arguments<'_>) {
        let cluster = self.cluster();
        cluster.trace.say(cluster.now(), words);
    }

    /// Lets `ms` milliseconds go by.
    pub(crate) fn wait(&self, ms: u64) {
        self.yielder.suspend(Rest::For(ms));
    }

    /// It is in the middle of something.
    pub(crate) fn reach(&self, phase: Phase) {
        self.yielder.suspend(Rest::At(phase));
    }

    /// The process dies here.
    pub(crate) fn die(&self) {
        self.yielder.suspend(Rest::Dead);
    }

    /// A request or its answer travels.
    pub(crate) fn travel(&self) {
        let ms = 1 + self.cluster().below(3);
        self.wait(ms);
    }
}
