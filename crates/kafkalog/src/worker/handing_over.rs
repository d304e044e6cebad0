//! The work of all tasks goes over to another number of tasks, with topics of their own.
//!
//! Invariants:
//! - One transaction holds what the new tasks begin with, what is written down about it, where the new
//!   tasks' positions stand, and, beside the old tasks' positions, that their work went over. So
//!   there is one moment before which everything is the old tasks' and after which it is the new ones'.
//! - It is refused to whoever is no longer the member of the group that has all of the old tasks. Who
//!   joins later and has not heard of it finds it beside the positions, and claims nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::chain::Head;
use engine::port::{OutRecord, TopicPartition};
use engine::trial::{Beside, Trial};
use failpoint::Point;

use super::KafkaWorker;
use crate::cluster::{list_of, moved_to};
use crate::error::KafkaLogError;
use crate::transactions::Failure;

/// What goes over.
pub struct HandOver<'a> {
    /// What the new tasks begin with.
    pub records: &'a [OutRecord],
    /// Names and values of marks; `None` removes one.
    pub marks: &'a [(&'a str, Option<Vec<u8>>)],
    /// The new generation of topics.
    pub generation: u32,
    /// The new tasks' partitions of `internal.routed`, each with the head of its task's chain.
    pub heads: &'a BTreeMap<TopicPartition, Head>,
}

impl KafkaWorker {
    /// Writes `records` and sets `mark` in one transaction, of which positions are no part: to be
    /// repeated as it is by whoever finds that it did not come about.
    ///
    /// # Errors
    /// Nothing was written; or, where the message says so, nobody knows.
    pub fn write_ahead(
        &mut self,
        records: &[OutRecord],
        mark: Option<(&str, Vec<u8>)>,
    ) -> Result<(), KafkaLogError> {
        let written = self.try_write(records, mark);
        written.map_err(|failure| self.not_written("copying", failure))
    }

    fn try_write(
        &mut self,
        records: &[OutRecord],
        mark: Option<(&str, Vec<u8>)>,
    ) -> Result<(), Failure> {
        self.transactions.begin()?;
        for record in records {
            self.transactions.send(record, 0)?;
        }
        if let Some((name, value)) = mark {
            let record = self.cluster.mark_record(name, Some(value));
            self.transactions.send(&record, 0)?;
        }
        self.transactions.commit()?;
        Ok(())
    }

    /// Hands all tasks over. Everything of them is committed, and this worker has claimed all of them.
    ///
    /// # Errors
    /// Nothing was handed over, as where another member has joined the group; or, where the message
    /// says so, nobody knows: what is written down tells.
    pub fn hand_over(&mut self, what: &HandOver<'_>) -> Result<(), KafkaLogError> {
        let handed = self.try_hand_over(what);
        handed.map_err(|failure| self.not_written("going over to the new tasks", failure))
    }

    fn try_hand_over(&mut self, what: &HandOver<'_>) -> Result<(), Failure> {
        self.transactions.begin()?;
        for record in what.records {
            self.transactions.send(record, 0)?;
        }
        for (name, value) in what.marks {
            let record = self.cluster.mark_record(name, value.clone());
            self.transactions.send(&record, 0)?;
        }
        let routed = Arc::clone(&self.cluster.topics().routed);
        let old = self.inputs.iter().filter(|(at, _)| at.topic == routed);
        let mut positions: Vec<(TopicPartition, u64)> = old
            .map(|(at, input)| (at.clone(), input.committed))
            .collect();
        positions.extend(what.heads.keys().map(|at| (at.clone(), 0)));
        let list = list_of(&positions).map_err(Failure::Halt)?;
        let tasks = u32::try_from(what.heads.len()).unwrap_or(u32::MAX);
        for mut element in list.elements() {
            let at = TopicPartition {
                topic: Arc::from(element.topic()),
                partition: element.partition().cast_unsigned(),
            };
            element.set_metadata(match what.heads.get(&at) {
                Some(head) => {
                    // Records that it reads, and at which processes died under whoever read them before.
                    let reads =
                        |input: &TopicPartition| input.partition % tasks.max(1) == at.partition;
                    let trials = self.beside.values().map(|stood| &stood.trial);
                    let trial = Trial::handed_over(trials, &reads);
                    let head = Some(*head);
                    Beside { head, trial }.to_string()
                }
                None => moved_to(what.generation),
            });
        }
        self.send_list(list)?;
        failpoint::enter(Point::Switching);
        self.transactions.commit()?;
        Ok(())
    }

    fn not_written(&mut self, doing: &'static str, failure: Failure) -> KafkaLogError {
        match failure {
            Failure::Halt(error) => {
                // So that readers need not wait for the broker to do it; it does if this fails.
                let _ = self.transactions.abort();
                error
            }
            Failure::Abort(what) => {
                let _ = self.transactions.abort();
                KafkaLogError::failed(doing, what)
            }
            Failure::Fenced(what) => KafkaLogError::Superseded(what),
            Failure::Unknown(what) => {
                KafkaLogError::failed(doing, format!("with an unknown outcome: {what}"))
            }
        }
    }
}
