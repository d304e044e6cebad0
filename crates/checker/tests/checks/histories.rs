//! Histories that the real engine makes: random shops over one to three tasks, through crashes and
//! commits that fail, with mapped records, damaged ones, forwarded ones.

use std::sync::Arc;

use checker::{Entry, Naming, Report, Subject, check};
use domain::event::Event;
use domain::time::{DAY_MS, HOUR_MS, TimeMs};
use engine::port::{CommitError, TopicPartition};
use engine::topics::Topics as Names;
use proptest::prelude::*;
use wire::SchemaSet;
use wire::routed::Routed;

use crate::generate::{delivered, shop};
use crate::support::events::model;
use crate::support::memory_log::Fault;
use crate::support::rig::{self, FOREIGN, INPUTS, Rig};
use crate::topics::Topics;

/// What a history is made of.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) events: Vec<Event>,
    pub(crate) seed: u64,
    pub(crate) tasks: u32,
    pub(crate) budget: usize,
}

pub(crate) fn plan(most: usize) -> impl Strategy<Value = Plan> {
    let parts = (shop(4, most), any::<u64>(), 1..4_u32, 1..14_usize);
    parts.prop_map(|(events, seed, tasks, budget)| Plan {
        events,
        seed,
        tasks,
        budget,
    })
}

/// Small random numbers from a seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound.max(1)
    }
}

/// Runs the engine over a plan.
pub(crate) fn made(plan: &Plan) -> Topics {
    let mut rig = Rig::new(plan.tasks);
    let mut dice = Dice::new(plan.seed);
    let arrivals = delivered(&plan.events, plan.seed);
    let half = arrivals.len() / 2;
    for (at, event) in arrivals.iter().enumerate() {
        send(&mut rig, &mut dice, plan.tasks, event);
        if at == half {
            run(&mut rig, &mut dice, plan.budget);
            controls(&mut rig, &mut dice, event.time);
        }
    }
    run(&mut rig, &mut dice, plan.budget);
    let last = plan
        .events
        .iter()
        .map(|event| event.time)
        .max()
        .unwrap_or_default();
    rig.control_all(&Routed::EndOfReplay {
        until: last.plus(200 * DAY_MS),
    });
    if dice.below(2) == 0 {
        rig.control_all(&Routed::Rescore { profiles: 1 });
        rig.control_all(&Routed::Rescore { profiles: 100 });
    }
    run(&mut rig, &mut dice, plan.budget);
    topics_of(&rig, plan.tasks)
}

fn send(rig: &mut Rig, dice: &mut Dice, tasks: u32, event: &Event) {
    let anywhere = dice.below(tasks as usize) as u32;
    match dice.below(12) {
        0 => rig.send_foreign(anywhere, std::slice::from_ref(event)),
        1 => {
            let mut second = event.clone();
            second.id = format!("{}-again", event.id).into();
            second.time = event.time.plus(HOUR_MS);
            rig.send_foreign(rig.owner_of(event), &[event.clone(), second]);
        }
        2 => rig.send_to(anywhere, event),
        3 => {
            let mut value = rig.encoded(event);
            value.truncate(value.len() / 2);
            rig.send_bytes(INPUTS[dice.below(2)], anywhere, event.time, b"k", &value);
        }
        4 => {
            let at = TimeMs(4_000_000_000_000);
            rig.send_bytes(FOREIGN, anywhere, at, b"k", b"{}");
            rig.send(event);
        }
        _ => rig.send(event),
    }
}

/// As the shell writes them when it is quiet.
fn controls(rig: &mut Rig, dice: &mut Dice, now: TimeMs) {
    match dice.below(10) {
        0 => rig.control_all(&Routed::Tick { now }),
        1 => rig.control(0, &Routed::Idle),
        3 => rig.control(0, &Routed::Alone),
        2 => rig.control_all(&Routed::EndOfReplay { until: now }),
        4 => rig.control_all(&Routed::Model(model(1))),
        7 | 8 => {
            let inputs = INPUTS.iter().filter(|_| dice.below(2) == 0);
            let inputs = inputs.map(|topic| ((*topic).into(), 0)).collect();
            rig.control(0, &Routed::Silent { inputs });
        }
        5 | 6 => {
            rig.control_all(&Routed::Model(model(1)));
            rig.control_all(&Routed::Rescore { profiles: 1 });
            rig.control_all(&Routed::Rescore { profiles: 2 });
            rig.control_all(&Routed::Model(model(2)));
            rig.control_all(&Routed::Rescore { profiles: 2 });
        }
        _ => {}
    }
}

/// To the end of what there is, through crashes and commits that fail.
fn run(rig: &mut Rig, dice: &mut Dice, budget: usize) {
    loop {
        let fault = match dice.below(10) {
            0 => Some(Fault::Abort),
            1 => Some(Fault::UnknownLost),
            2 => Some(Fault::UnknownDone),
            _ => None,
        };
        rig.log.next_commit(fault);
        let done = rig.once(budget);
        rig.log.forget_faults();
        match done {
            Ok(false) => return,
            Ok(true) if dice.below(6) == 0 => rig.crash(),
            Ok(true) | Err(CommitError::Abort(_)) => {}
            Err(_) => rig.crash(),
        }
        if dice.below(5) == 0 {
            rig.checkpoint();
        }
    }
}

pub(crate) fn topics_of(rig: &Rig, tasks: u32) -> Topics {
    let names = rig.topics();
    let own = [
        &names.clv_updates,
        &names.lifecycle_transitions,
        &names.segment_changes,
        &names.dead_letters,
        &names.routed,
        &names.changelog,
        &names.commits,
    ];
    let inputs = INPUTS.map(Arc::from);
    let mut topics = Topics::default();
    for topic in own.into_iter().chain(&inputs) {
        for partition in 0..tasks {
            let at = TopicPartition {
                topic: Arc::clone(topic),
                partition,
            };
            let entries = rig
                .log
                .records(&at)
                .iter()
                .zip(0_u64..)
                .map(|(stored, offset)| Entry {
                    offset,
                    timestamp: stored.timestamp,
                    key: stored.key.clone(),
                    value: stored.value.clone(),
                    headers: stored
                        .headers
                        .iter()
                        .map(|(n, v)| ((*n).to_owned(), v.clone()))
                        .collect(),
                });
            let entries = entries.collect();
            topics.partitions.insert(at, entries);
        }
    }
    topics
}

pub(crate) fn subject(tasks: u32, compacted: bool) -> Subject {
    let schemas = SchemaSet::embedded().expect("schemas");
    Subject {
        setup: Arc::new(rig::setup(tasks, rig::definitions())),
        inputs: rig::inputs(&schemas),
        compacted,
        naming: Naming::Hashed,
    }
}

pub(crate) fn names() -> Names {
    Names::of("shop")
}

pub(crate) fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition {
        topic: topic.into(),
        partition,
    }
}

/// The reports of all tasks.
pub(crate) fn reports(subject: &Subject, topics: &Topics) -> Vec<Report> {
    let mut topics = topics.clone();
    let one = |task| {
        let Ok(report) = check(subject, &mut topics, task, None, &mut |_| {});
        report
    };
    (0..subject.setup.tasks).map(one).collect()
}
