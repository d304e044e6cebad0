//! Models of value that a seed's shop puts into force, and the command that does so.
//!
//! A promotion is one transaction over all tasks' partitions of `internal.routed`: all tasks have it, or none.
//! Who promotes dies now and then in the middle, comes back, and does it again.
//!
//! Invariants: versions rise in the order in which they are written, but for stale ones, written again with
//! other parameters, which change nothing. What is promoted is the seed's, not the run's.

use std::rc::Rc;

use domain::prediction::{Family, ModelParameters, SpendParameters};
use wire::routed::Routed;

use crate::cluster::partition::{Content, Writer};
use crate::cluster::{Cluster, Refusal};
use crate::random::Random;
use crate::shop::{Shop, TASKS};

/// Who promotes, to the transaction coordinator.
const NAME: &str = "promotion";
/// In how many of a thousand seeds a model is promoted.
const PROMOTING: u64 = 650;
/// In how many of these that happens only where the models' effect on every profile is determined.
const SETTLED: u64 = 400;
/// In how many of a thousand cases an earlier version follows a newer one.
const STALE: u64 = 350;
/// By when the last one is promoted, if not at the end: some time after the load.
const LAST: u64 = 68_000;
/// In how many of a thousand steps who promotes dies.
const DIES: u64 = 30;

/// When a model comes into force.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum When {
    /// Before the first record.
    Before,
    /// So many milliseconds after the beginning, whatever is going on.
    At(u64),
    /// After the end of the replay.
    After,
}

/// A model that is promoted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Promotion {
    /// When.
    pub when: When,
    /// Which.
    pub model: ModelParameters,
}

impl Promotion {
    fn is_among_records(&self) -> bool {
        matches!(self.when, When::At(_))
    }
}

/// What is promoted in a seed, in the order of writing.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Promotions(pub Vec<Promotion>);

impl Promotions {
    /// Those of `seed`.
    #[must_use]
    pub fn of(seed: u64) -> Promotions {
        let mut random = Random::new(seed, 4);
        if !random.chance(PROMOTING) {
            return Promotions::default();
        }
        let whens = whens(&mut random);
        let (mut all, mut version) = (Vec::new(), 0);
        for when in whens {
            version += 1 + random.below(3) as u32;
            let model = model(version, &mut random);
            all.push(Promotion { when, model });
            if random.chance(STALE) {
                let stale = 1 + random.below(u64::from(version)) as u32;
                let model = self::model(stale, &mut random);
                all.push(Promotion { when, model });
            }
        }
        Promotions(all)
    }

    /// The model that is in force in the end.
    #[must_use]
    pub fn newest(&self) -> Option<&ModelParameters> {
        let mut newest: Option<&ModelParameters> = None;
        for Promotion { model, .. } in &self.0 {
            if newest.is_none_or(|known| model.version > known.version) {
                newest = Some(model);
            }
        }
        newest
    }

    /// How many there are, and how many of them come among the records of the load.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let among = self.0.iter().filter(|p| p.is_among_records()).count();
        (self.0.len() as u64, among as u64)
    }

    /// Whether it is determined which events and timers of a profile come under which model. Among the
    /// records of the load a control record has another place in each run; before the first of them, and
    /// once time has come to its end, it has the same.
    #[must_use]
    pub fn are_settled(&self) -> bool {
        !self.0.iter().any(Promotion::is_among_records)
    }
}

/// One to three moments, in their order. After the end of the replay there is one model at most: a profile
/// may go over to the last of several at once.
fn whens(random: &mut Random) -> Vec<When> {
    let count = 1 + random.below(3) as usize;
    let mut whens: Vec<When> = match random.chance(SETTLED) {
        true => vec![When::Before; count],
        false => (0..count).map(|_| When::At(random.below(LAST))).collect(),
    };
    if whens[0] != When::Before && random.chance(200) {
        whens[0] = When::Before;
    }
    whens.sort_unstable();
    if random.chance(400) {
        whens[count - 1] = When::After;
    }
    whens
}

fn model(version: u32, random: &mut Random) -> ModelParameters {
    let mut between = |from: f64, to: f64| from + (to - from) * random.below(10_000) as f64 / 1e4;
    let (r, alpha) = (between(0.2, 2.0), between(15.0, 120.0));
    let (a, b) = (between(0.3, 1.5), between(0.5, 4.0));
    let spend = SpendParameters {
        p: between(1.0, 6.0),
        q: between(2.0, 6.0),
        v: between(5.0, 60.0),
    };
    ModelParameters {
        version,
        family: random.pick(&[Family::BgNbd, Family::MbgNbd]),
        r,
        alpha,
        a,
        b,
        spend: random.chance(750).then_some(spend),
    }
}

/// Who promotes.
pub(crate) struct Promoter {
    promotions: Promotions,
    /// Which one is next.
    next: usize,
    /// Its producer, once it has one.
    producer: Option<Writer>,
    /// To how many tasks it has been written.
    written: u32,
}

impl Promoter {
    pub(crate) fn new(promotions: Promotions) -> Promoter {
        Promoter {
            promotions,
            next: 0,
            producer: None,
            written: 0,
        }
    }

    pub(crate) fn promotions(&self) -> &Promotions {
        &self.promotions
    }

    /// When the next one is due; `None` once all are done.
    pub(crate) fn next(&self) -> Option<When> {
        self.promotions.0.get(self.next).map(|p| p.when)
    }

    /// Goes on with the one that is due. Answers after which time it is to be called again, `None` once the
    /// transaction is decided.
    pub(crate) fn step(
        &mut self,
        cluster: &mut Cluster,
        shop: &Shop,
        random: &mut Random,
    ) -> Option<u64> {
        let Promotion { model, .. } = *self.promotions.0.get(self.next)?;
        let Some(writer) = self.producer else {
            self.written = 0;
            self.producer = cluster.init(NAME).ok();
            return Some(1 + random.below(60));
        };
        if random.chance(DIES) {
            self.producer = None;
            return Some(200 + random.below(3_000));
        }
        let done = match self.written < TASKS {
            true => write(cluster, shop, writer, self.written, model),
            false => cluster.end(writer, true),
        };
        match done {
            Ok(()) if self.written == TASKS => {
                let now = cluster.now();
                let version = u64::from(model.version);
                cluster
                    .trace
                    .note(now, "promote", version, self.next as u64);
                self.next += 1;
                // Which command promotes next is another process.
                self.producer = None;
                return None;
            }
            Ok(()) => self.written += 1,
            Err(Refusal::Retriable(_)) => {}
            // Begun anew, the transaction is aborted, if it had not been.
            Err(_) => self.producer = None,
        }
        Some(random.below(30))
    }
}

/// Writes to the partition of one task.
fn write(
    cluster: &mut Cluster,
    shop: &Shop,
    writer: Writer,
    task: u32,
    model: ModelParameters,
) -> Result<(), Refusal> {
    let wall_clock = cluster.wall_clock();
    let content = Rc::new(Content::of(&Routed::Model(model)));
    cluster.produce(writer, &shop.routed_of(task), wall_clock, content)?;
    Ok(())
}
