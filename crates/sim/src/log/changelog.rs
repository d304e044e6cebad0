//! Reads changelogs on the simulated cluster: committed records, each span to its end.

use std::rc::Rc;
use std::time::Duration;

use engine::group::{ChangelogReader, ChangelogRecord, Span};

use crate::cluster::partition::Content;
use crate::faults::Phase;
use crate::hand::Hand;
use crate::log::SimError;

/// Records taken from a partition at a time.
const TURN: usize = 400;

/// A reader of changelogs.
pub(crate) struct Changelog<'y> {
    hand: Hand<'y>,
    /// With where reading of each stands.
    lanes: Vec<(Span, u64)>,
}

impl<'y> Changelog<'y> {
    pub(crate) fn new(hand: Hand<'y>, spans: Vec<Span>) -> Changelog<'y> {
        let lanes = spans.into_iter().filter(|span| span.from < span.until);
        let lanes = lanes.map(|span| {
            let from = span.from;
            (span, from)
        });
        Changelog {
            lanes: lanes.collect(),
            hand,
        }
    }

    /// A few records of a lane, and how far that is.
    fn take(&self, span: &Span, next: u64) -> (Vec<(u64, Rc<Content>)>, u64) {
        let cluster = self.hand.cluster();
        if cluster.bounds(&span.at).is_err() {
            return (Vec::new(), next);
        }
        let records = cluster.read(&span.at, next, span.until).take(TURN);
        let records: Vec<_> = records
            .map(|stored| (stored.offset, Rc::clone(&stored.content)))
            .collect();
        let stable = cluster.partition(&span.at).map_or(0, |p| p.stable_end());
        let next = match records.last() {
            Some((last, _)) if records.len() == TURN => last + 1,
            _ => next.max(stable.min(span.until)),
        };
        (records, next)
    }
}

impl ChangelogReader for Changelog<'_> {
    type Error = SimError;

    fn read<E: From<SimError>>(
        &mut self,
        budget: Duration,
        each: &mut dyn FnMut(ChangelogRecord<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let until = self.hand.now().plus(budget.as_millis() as u64);
        loop {
            self.hand.travel();
            let mut lanes = std::mem::take(&mut self.lanes);
            for (span, next) in &mut lanes {
                let (records, to) = self.take(span, *next);
                let middle = records.len() / 2;
                for (at, (offset, content)) in records.iter().enumerate() {
                    if at == middle {
                        self.hand.reach(Phase::MidRestore);
                    }
                    each(ChangelogRecord {
                        at: &span.at,
                        offset: *offset,
                        key: content.key.as_deref(),
                        value: content.value.as_deref(),
                    })?;
                }
                *next = to;
            }
            lanes.retain(|(span, next)| *next < span.until);
            self.lanes = lanes;
            if self.lanes.is_empty() {
                return Ok(true);
            }
            if self.hand.now() >= until {
                return Ok(false);
            }
            self.hand.wait(10);
        }
    }
}
