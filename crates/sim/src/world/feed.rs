//! What comes into the inputs: the load, models that are promoted, and the end of the replay.
//!
//! Invariant: the load begins once every task has consumed what comes into force before it.

use domain::time::TimeMs;
use wire::routed::Routed;

use super::stages::Stage;
use super::{Event, World};
use crate::cluster::partition::Content;
use crate::load::Load;
use crate::promotion::{Promoter, Promotions, When};
use crate::shop::{Shop, TASKS};
use crate::time::Moment;

/// How long the load takes.
const LOAD: u64 = 60_000;

/// How far it has come in.
pub(super) struct Feed {
    pub(super) load: Load,
    /// Since when it is sent.
    since: Option<Moment>,
    sent: usize,
    /// The latest event time that had been sent, by when.
    pub(super) latest: Vec<(Moment, TimeMs)>,
    pub(super) promoter: Promoter,
    /// Whether a promotion has its time, or is under way.
    pub(super) promotes: bool,
}

impl Feed {
    pub(super) fn of(seed: u64, shop: &Shop) -> Feed {
        Feed {
            load: Load::of(seed, shop),
            since: None,
            sent: 0,
            latest: Vec::new(),
            promoter: Promoter::new(Promotions::of(seed)),
            promotes: false,
        }
    }

    /// Whether all of the load is sent.
    pub(super) fn is_sent(&self) -> bool {
        self.sent == self.load.records.len()
    }
}

impl World {
    /// Sends what of the load has come due.
    pub(super) fn send(&mut self) {
        let Some(since) = self.feed.since else {
            self.begin();
            return;
        };
        let mut cluster = self.cluster.borrow_mut();
        let total = self.feed.load.records.len() as u64;
        // What has been due by now; the rest at once where nothing is to be waited for.
        let due = match self.plan.is_calm {
            true => total,
            false => (cluster.now().since(since) * total / LOAD + 40).min(total),
        };
        let wall_clock = cluster.wall_clock();
        for sent in &self.feed.load.records[self.feed.sent..due as usize] {
            cluster.append(&sent.at, wall_clock, sent.content.clone());
        }
        let newest = self.feed.load.records[..due as usize]
            .iter()
            .map(|sent| sent.time);
        let newest = newest.max().unwrap_or(TimeMs::MIN);
        self.feed.latest.push((cluster.now(), newest));
        self.feed.sent = due as usize;
        drop(cluster);
        if due < total {
            let after = 20 + self.random.below(120);
            self.schedule(after, Event::Send);
        }
    }

    /// The load begins, and with it the faults, once every task has what comes into force before it.
    fn begin(&mut self) {
        let has_come = self.feed.promoter.next() != Some(When::Before);
        let all = || (0..TASKS).all(|task| self.consumed(task).1);
        if has_come && all() {
            self.feed.since = Some(self.now());
            if self.plan.faults > 0 {
                self.schedule(2_500, Event::Arm);
            }
            self.send();
        } else {
            self.schedule(50, Event::Send);
        }
    }

    /// The next promotion is to be made when its time comes.
    pub(super) fn schedule_promotion(&mut self) {
        let after = match self.feed.promoter.next() {
            Some(When::Before) => 0,
            // Where all of the load is there from the start, it is soon consumed.
            Some(When::At(ms)) if self.plan.is_calm => (ms / 20).saturating_sub(self.now().0),
            Some(When::At(ms)) => ms.saturating_sub(self.now().0),
            Some(When::After) if matches!(self.stage, Stage::Closing(_)) => 0,
            Some(When::After) | None => return,
        };
        self.feed.promotes = true;
        self.schedule(after, Event::Promote);
    }

    /// Goes on with the promotion that is under way.
    pub(super) fn promote(&mut self) {
        self.feed.promotes = false;
        let mut cluster = self.cluster.borrow_mut();
        let again = self
            .feed
            .promoter
            .step(&mut cluster, &self.shop, &mut self.random);
        drop(cluster);
        match again {
            Some(after) => {
                self.feed.promotes = true;
                self.schedule(after, Event::Promote);
            }
            None => self.schedule_promotion(),
        }
    }

    /// Tells all tasks.
    pub(super) fn say(&mut self, control: &Routed) {
        let mut cluster = self.cluster.borrow_mut();
        let wall_clock = cluster.wall_clock();
        for at in 0..TASKS {
            cluster.append(&self.shop.routed_of(at), wall_clock, Content::of(control));
        }
    }
}
