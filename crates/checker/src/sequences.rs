//! The numbers of outputs (I2), and the last output of each customer, for comparison with the state.
//!
//! Customers are kept by a hash of their key: a partition may have millions.

use std::collections::BTreeMap;

use domain::definitions::{Tag, tag};
use engine::port::TopicPartition;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use crate::cursor::Cursor;
use crate::history::{Entry, History};
use crate::report::{Finding, Outcome};
use crate::subject::Subject;

/// What the last outputs of a customer say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Last {
    incarnation: u64,
    /// The last number in each topic, in the order of the topics; 0: none.
    pub(crate) sequence: [u64; 3],
    /// Net value so far, orders, and whether it is final.
    pub(crate) value: Option<(i64, u64, bool)>,
    /// Model, stage and cycle.
    pub(crate) stages: Vec<(Tag, Tag, u64)>,
    /// Segments, and whether he is a member.
    pub(crate) segments: Vec<(Tag, bool)>,
}

/// What the outputs of a task say.
#[derive(Debug)]
pub(crate) struct Outputs {
    pub(crate) outcome: Outcome,
    /// By hash of the customer's key.
    pub(crate) last: BTreeMap<u128, Last>,
    /// How many records there are.
    pub(crate) records: u64,
    /// Whether retention has removed some.
    pub(crate) trimmed: bool,
}

/// Goes through the outputs of `task`.
pub(crate) fn read<H: History>(
    subject: &Subject,
    history: &mut H,
    task: u32,
) -> Result<Outputs, H::Error> {
    let mut outputs = Outputs {
        outcome: Outcome::Passed(0),
        last: BTreeMap::new(),
        records: 0,
        trimmed: false,
    };
    let mut failed = None;
    let partitions = subject.outputs(task).into_iter().enumerate();
    let partitions = partitions.flat_map(|(topic, all)| all.into_iter().map(move |at| (topic, at)));
    for (topic, at) in partitions {
        let mut cursor = Cursor::open(history, at)?;
        let trimmed = cursor.bounds.begin > 0;
        outputs.trimmed |= trimmed;
        while let Some(entry) = cursor.pop(history)? {
            if !subject.is_of(task, entry.key.as_deref().unwrap_or_default()) {
                continue;
            }
            outputs.records += 1;
            if let Err(finding) = outputs.take(subject, topic, &cursor.at, trimmed, &entry) {
                failed.get_or_insert(finding);
            }
        }
    }
    outputs.outcome = match failed {
        Some(finding) => Outcome::Failed(finding),
        None => Outcome::Passed(outputs.records),
    };
    Ok(outputs)
}

impl Outputs {
    fn take(
        &mut self,
        subject: &Subject,
        topic: usize,
        at: &TopicPartition,
        trimmed: bool,
        entry: &Entry,
    ) -> Result<(), Box<Finding>> {
        let key = entry.key.as_deref().unwrap_or_default();
        let problem = |problem: String| {
            let finding = Finding::new(at, problem).offset(entry.offset);
            Box::new(finding.key(Some(subject.naming.name(key))))
        };
        let value = entry.value.as_deref().unwrap_or_default();
        let value = subject.inputs.decoder().to_json(value);
        let value =
            value.map_err(|r| problem(format!("the output cannot be read: {}", r.class)))?;
        let number = |field: &str| value[field].as_u64();
        let (Some(sequence), Some(incarnation)) = (number("sequence"), number("incarnation"))
        else {
            return Err(problem("the output has no sequence number".to_owned()));
        };
        let problem = |text: String| Box::new(problem(text).sequence(Some(sequence)));
        if value["customer"].as_str().map(str::as_bytes) != Some(key) {
            return Err(problem("the output's key is not its customer".to_owned()));
        }
        let last = self.last.entry(xxh3_128(key)).or_default();
        if incarnation > last.incarnation {
            *last = Last {
                incarnation,
                ..Last::default()
            };
        } else if incarnation < last.incarnation {
            return Err(problem(
                "it is of an earlier life of the customer".to_owned(),
            ));
        }
        let before = std::mem::replace(&mut last.sequence[topic], sequence);
        last.note(topic, &value);
        match before {
            0 if sequence == 1 || trimmed => Ok(()),
            0 => Err(problem(
                "it is the customer's first here, and not numbered 1".to_owned(),
            )),
            _ if sequence == before + 1 => Ok(()),
            _ if sequence == before => Err(problem("its number stands here twice".to_owned())),
            _ if sequence > before => Err(problem(format!(
                "it follows number {before}: those between are missing"
            ))),
            _ => Err(problem(format!(
                "it follows number {before}: it is not in its place"
            ))),
        }
    }
}

impl Last {
    fn note(&mut self, topic: usize, value: &Value) {
        let text = |field: &str| value[field].as_str().map(tag);
        match topic {
            0 => {
                let net = value["historic"]["net"].as_i64().unwrap_or_default();
                let orders = value["orders"].as_u64().unwrap_or_default();
                self.value = Some((net, orders, value["value_status"] == "final"));
            }
            1 => {
                let cycle = value["cycle"].as_u64().unwrap_or_default();
                if let (Some(model), Some(stage)) = (text("model"), text("to")) {
                    self.stages.retain(|(known, ..)| *known != model);
                    self.stages.push((model, stage, cycle));
                }
            }
            _ => {
                if let Some(segment) = text("segment") {
                    self.segments.retain(|(known, _)| *known != segment);
                    self.segments.push((segment, value["action"] == "entered"));
                }
            }
        }
    }
}
