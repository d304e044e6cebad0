//! What an application is given to do, and what that comes to when nobody disturbs it.
//!
//! Inputs are finite and the same in every run: purchases of Online Retail, which are replayed, and then a shop's
//! traffic in batches, each of which is a simulation of its own and later than all before it. In a disturbed run
//! they come while instances work; in the undisturbed one everything is there before.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use domain::money::Currency;
use engine::port::TopicPartition;
use fleet::{App, Fleet, Loader, Whole, committed, connect, places, retail, until};
use kafkalog::Cluster;

use crate::site::Site;

pub(crate) const PARTITIONS: u32 = 6;
pub(crate) const POUNDS: Currency = Currency {
    code: *b"GBP",
    decimals: 3,
};
/// Many commits and checkpoints, so that there is much to be interrupted; and whoever is dead is found out soon.
pub(crate) const SETTINGS: [&str; 14] = [
    "partitions=6",
    "workers=2",
    "currency.code=GBP",
    "currency.decimals=3",
    "commit.interval=20ms",
    "commit.max_batch=50",
    "state.checkpoint_interval=1s",
    "kafka.session_timeout=3s",
    "kafka.max_poll_interval=4s",
    "kafka.transaction_timeout=3s",
    // Inputs are merged by time however slow a broker is to come back, or a loader.
    "kafka.max_task_idle=1m",
    "time.idle_after=10m",
    "kafka.profile=low_latency",
    "state.memory_budget=256MiB",
];
/// Nobody is to wait for the undisturbed run.
const LARGE: [&str; 2] = ["commit.interval=100ms", "commit.max_batch=2000"];
const FILE: &str = "orders.csv";
/// Later than everything.
const END: &str = "--until=2013-01-01";
/// More records than this need no more to come beside them.
const PLENTY: u64 = 1_500;

/// What the purchases are keyed by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyedBy {
    /// Their customer: they come to his task directly.
    Customer,
    /// Their order: most come to their customer's task by way of another one.
    Order,
}

impl KeyedBy {
    fn as_str(self) -> &'static str {
        match self {
            KeyedBy::Customer => "customer",
            KeyedBy::Order => "order",
        }
    }
}

/// What an application is given to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inputs {
    /// Of the purchases.
    pub keyed_by: KeyedBy,
    /// Purchases, line by line.
    pub rows: usize,
    /// Simulations after them.
    pub batches: usize,
    /// Events of each.
    pub events: usize,
}

/// What they come to.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What they are.
    pub inputs: Inputs,
    pub(crate) whole: Whole,
    /// How long it took.
    pub took: Duration,
}

impl Inputs {
    /// Finds out what they come to.
    ///
    /// # Panics
    /// When the undisturbed run fails, or is found wanting.
    #[must_use]
    pub fn undisturbed(self, program: &Path, site: &Site) -> Wanted {
        let started = Instant::now();
        let app = App::new(program, &site.bootstrap(), "undisturbed", &SETTINGS);
        let cluster = connect(&site.bootstrap(), &app.id);
        self.prepare(&app);
        let orders = places(&app.id, "orders", PARTITIONS);
        let mut replay = self.replay(&app, false);
        until("the purchases are loaded", || {
            let all = ends(&cluster, &orders) >= self.rows as u64;
            (all && committed(&cluster, &orders) >= self.rows as u64).then_some(())
        });
        for batch in 0..self.batches {
            let args = self.simulate(batch);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            app.run("loader", &args);
        }
        let fleet = Fleet::start(&app, 1, &LARGE);
        until("the purchases are consumed", || {
            replay.is_done().then_some(())
        });
        let mut last = self.replay(&app, true);
        until("everything is consumed", || last.is_done().then_some(()));
        assert_eq!((replay.failed, last.failed), (0, 0));
        let whole = Whole::of(&app, &cluster, PARTITIONS);
        app.outputs().check_sequences(POUNDS, "undisturbed");
        assert!(whole.profiles.lines().count() > 300 && whole.days.lines().count() > 10);
        fleet.end();
        Wanted {
            inputs: self,
            whole,
            took: started.elapsed(),
        }
    }

    /// Makes the topics, and the file of purchases.
    pub(crate) fn prepare(self, app: &App) {
        std::fs::write(app.folder.path().join(FILE), retail(self.rows).join("\n")).unwrap();
        app.run("loader", &["topics", "apply"]);
    }

    /// Replays the purchases. The last time, when all is loaded, stream time advances to the end of everything.
    pub(crate) fn replay(self, app: &App, is_last: bool) -> Loader<'_> {
        let file = app.folder.path().join(FILE);
        let mut args = vec![
            "replay",
            "--mapping=mappings/online_retail.toml",
            "--quiet",
            "--color=never",
            "--key-by",
            self.keyed_by.as_str(),
            file.to_str().unwrap(),
        ];
        if is_last {
            args.push(END);
        }
        Loader::start(app, &args)
    }

    /// Makes up a batch: it is that many days later than the purchases.
    fn simulate(self, batch: usize) -> Vec<String> {
        const DAYS: usize = 4;
        let (month, day) = (batch * DAYS / 28, batch * DAYS % 28 + 1);
        let (year, month) = (2011 + (5 + month) / 12, (5 + month) % 12 + 1);
        vec![
            "simulate".to_owned(),
            format!("--seed={}", batch + 1),
            format!("--events={}", self.events),
            format!("--start={year}-{month:02}-{day:02}"),
            format!("--days={DAYS}"),
            "--quiet".to_owned(),
            "--color=never".to_owned(),
        ]
    }
}

fn ends(cluster: &Cluster, places: &[TopicPartition]) -> u64 {
    let spans = cluster.spans_of(places).unwrap();
    spans.iter().map(|span| span.until).sum()
}

/// Loads beside instances that are disturbed, batch by batch as they are released.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    released: AtomicUsize,
    kill: AtomicBool,
    killed: AtomicU64,
    failed: AtomicU64,
    done: AtomicBool,
    given_up: AtomicBool,
}

impl Loads {
    /// Loads everything; `waiting` tells how many records wait for the instances.
    pub(crate) fn run(&self, app: &App, inputs: Inputs, waiting: &dyn Fn() -> u64) {
        self.see_through(inputs.replay(app, false));
        for batch in 0..inputs.batches {
            let is_due = || {
                let released = self.released.load(Ordering::Relaxed);
                batch < released && (waiting() < PLENTY || released >= inputs.batches)
            };
            while !is_due() {
                if self.has_given_up() {
                    return;
                }
                std::thread::park_timeout(Duration::from_millis(50));
            }
            let args = inputs.simulate(batch);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            self.see_through(Loader::start(app, &args));
        }
        self.done.store(true, Ordering::Relaxed);
    }

    fn see_through(&self, mut loader: Loader<'_>) {
        while !loader.is_done() && !self.has_given_up() {
            if self.kill.load(Ordering::Relaxed) && loader.kill() {
                self.killed.fetch_add(1, Ordering::Relaxed);
                self.kill.store(false, Ordering::Relaxed);
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        self.failed
            .fetch_add(u64::from(loader.failed), Ordering::Relaxed);
    }

    /// Lets so many batches come in all.
    pub(crate) fn release(&self, batches: usize) {
        self.released.fetch_max(batches, Ordering::Relaxed);
    }

    /// Kills the loader as soon as there is one at work.
    pub(crate) fn kill_one(&self) {
        self.kill.store(true, Ordering::Relaxed);
    }

    /// How often one was killed.
    pub(crate) fn killed(&self) -> u64 {
        self.killed.load(Ordering::Relaxed)
    }

    /// How often one failed by itself.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    fn has_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_follow_each_other_and_end_before_everything_does() {
        let inputs = Inputs {
            keyed_by: KeyedBy::Order,
            rows: 1,
            batches: 100,
            events: 10,
        };
        let starts: Vec<_> = (0..100).map(|b| inputs.simulate(b)[3].clone()).collect();
        assert_eq!(
            (&*starts[0], &*starts[7]),
            ("--start=2011-06-01", "--start=2011-07-01")
        );
        assert_eq!(starts[50], "--start=2012-01-05");
        assert!(starts.is_sorted());
        assert!(starts[99].as_str() < "--start=2012-12-20");
    }
}
