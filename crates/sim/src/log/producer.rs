//! A transactional producer on the simulated cluster.
//!
//! Invariants: as `kafkalog`'s. What may be asked again is asked again, for as long as it takes; only
//! a record that could not be delivered within the transaction's timeout asks for an abort.

use std::rc::Rc;

use engine::port::OutRecord;

use crate::cluster::partition::{Content, Writer};
use crate::cluster::{Cluster, LostAnswer, Membership, Position, Refusal, TRANSACTION_TIMEOUT};
use crate::faults::Phase;
use crate::hand::Hand;
use crate::time::Moment;

/// Why a transaction did not come about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// It has to be aborted.
    Abort(String),
    /// The producer is fenced.
    Fenced(String),
    /// Nobody knows.
    Unknown(String),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        match refusal {
            Refusal::Abortable(what) => Failure::Abort(what.to_owned()),
            Refusal::Fenced(what) => Failure::Fenced(what.to_owned()),
            Refusal::Retriable(what) | Refusal::Unclassified(what) => {
                Failure::Unknown(what.to_owned())
            }
        }
    }
}

/// A transactional producer.
pub(crate) struct Producer<'y> {
    hand: Hand<'y>,
    writer: Writer,
    /// Whether the coordinator knows of the present transaction.
    is_open: bool,
}

impl<'y> Producer<'y> {
    /// Makes the producer with that transactional id, and ends whatever an earlier one had begun.
    pub(crate) fn init(hand: Hand<'y>, name: &str) -> Result<Producer<'y>, Refusal> {
        let writer = patiently(&hand, None, |cluster| cluster.init(name))?;
        Ok(Producer {
            hand,
            writer,
            is_open: false,
        })
    }

    pub(crate) fn writer(&self) -> Writer {
        self.writer
    }

    pub(crate) fn begin(&mut self) {
        self.is_open = false;
    }

    /// Writes a record, and answers its offset.
    pub(crate) fn send(&mut self, record: OutRecord) -> Result<u64, Failure> {
        let OutRecord {
            target,
            key,
            value,
            headers,
        } = record;
        let content = Rc::new(Content {
            key,
            value,
            headers,
        });
        let writer = self.writer;
        let timestamp = self.hand.wall_clock();
        let write = |cluster: &mut Cluster| {
            cluster.produce(writer, &target, timestamp, Rc::clone(&content))
        };
        // Records travel together: time goes by only where the broker makes one wait.
        let first = match self.is_open {
            true => write(&mut self.hand.cluster()),
            false => Err(Refusal::Retriable("not asked yet")),
        };
        let written = match first {
            Err(Refusal::Retriable(_)) => {
                let until = self.hand.now().plus(TRANSACTION_TIMEOUT);
                patiently(&self.hand, Some(until), write)
            }
            written => written,
        };
        self.is_open = true;
        match written {
            Err(Refusal::Retriable(what)) => Err(Failure::Abort(what.to_owned())),
            written => Ok(written?),
        }
    }

    /// Adds positions. None: nothing is asked, and nothing is checked.
    pub(crate) fn offsets(
        &mut self,
        positions: &[Position],
        membership: Membership,
    ) -> Result<(), Failure> {
        if positions.is_empty() {
            return Ok(());
        }
        let writer = self.writer;
        self.is_open = true;
        Ok(patiently(&self.hand, None, |cluster| {
            cluster.send_offsets(writer, positions, membership)
        })?)
    }

    /// Commits. `client` is who may lose the answer.
    pub(crate) fn commit(&mut self, client: Option<u64>) -> Result<(), Failure> {
        if !self.is_open {
            return Ok(());
        }
        let writer = self.writer;
        self.hand.travel();
        let lost = match client {
            Some(client) => {
                // The request is on its way.
                self.hand.reach(Phase::CommitSent);
                self.hand.cluster().weather.lost_answers.remove(&client)
            }
            None => None,
        };
        if lost == Some(LostAnswer::NotCommitted) {
            return Err(Failure::Unknown("the connection is gone".to_owned()));
        }
        let first = self.hand.cluster().end(writer, true);
        match (lost, first) {
            (Some(LostAnswer::Committed), Ok(())) => {
                Err(Failure::Unknown("the connection is gone".to_owned()))
            }
            (None, Ok(())) => {
                self.hand.travel();
                Ok(())
            }
            (_, Ok(()) | Err(Refusal::Retriable(_))) => {
                let end = |cluster: &mut Cluster| cluster.end(writer, true);
                Ok(patiently(&self.hand, None, end)?)
            }
            (_, Err(refusal)) => Err(refusal.into()),
        }
    }

    /// Aborts.
    pub(crate) fn abort(&mut self) -> Result<(), Failure> {
        if !self.is_open {
            return Ok(());
        }
        let writer = self.writer;
        self.is_open = false;
        let end = |cluster: &mut Cluster| cluster.end(writer, false);
        match patiently(&self.hand, None, end) {
            // Nothing had been begun.
            Err(Refusal::Unclassified(_)) => Ok(()),
            ended => Ok(ended?),
        }
    }
}

/// Asks until it is answered, or `until`.
fn patiently<T>(
    hand: &Hand<'_>,
    until: Option<Moment>,
    mut ask: impl FnMut(&mut Cluster) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    loop {
        hand.travel();
        let answer = ask(&mut hand.cluster());
        match answer {
            Err(Refusal::Retriable(_)) if until.is_none_or(|until| hand.now() < until) => {
                let pause = 10 + hand.cluster().below(90);
                hand.wait(pause);
            }
            answer => return answer,
        }
    }
}
