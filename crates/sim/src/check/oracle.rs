//! I1: what a naive oracle makes of what was consumed is what is there, byte for byte; and whatever else
//! the crate `checker` verifies on topics (I2, I3, I7, I8).

use std::convert::Infallible;
use std::sync::Arc;

use checker::{Bounds, Committed, Entry, History, Naming, Outcome, Subject, check};
use engine::port::TopicPartition;

use super::{Found, violated};
use crate::cluster::partition::{Fate, Stored};
use crate::cluster::{Cluster, Violation};
use crate::shop::{Shop, TASKS};
use crate::world::Ran;

/// What a simulated cluster holds, compacted or not.
struct Held<'c>(&'c Cluster);

impl Held<'_> {
    fn history(&self, at: &TopicPartition) -> &[Stored] {
        self.0.partition(at).map_or(&[], |p| p.history())
    }
}

impl History for Held<'_> {
    type Error = Infallible;

    fn bounds(&mut self, at: &TopicPartition) -> Result<Bounds, Infallible> {
        let end = self.history(at).len() as u64;
        Ok(Bounds { begin: 0, end })
    }

    fn read(
        &mut self,
        at: &TopicPartition,
        from: u64,
        max: usize,
    ) -> Result<Vec<Entry>, Infallible> {
        let records = self.history(at).iter().skip(from as usize);
        let committed = records.filter(|record| record.fate == Fate::Committed);
        let entry = |record: &Stored| {
            let headers = record.content.headers.iter();
            Entry {
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.content.key.clone(),
                value: record.content.value.clone(),
                headers: headers
                    .map(|(name, value)| ((*name).to_owned(), value.clone()))
                    .collect(),
            }
        };
        Ok(committed.take(max).map(entry).collect())
    }

    fn committed(
        &mut self,
        _: u32,
        inputs: &[TopicPartition],
    ) -> Result<Option<Committed>, Infallible> {
        let committed = inputs.iter().map(|at| (at.clone(), self.0.committed(at)));
        Ok(Some(committed.collect()))
    }
}

pub(super) fn agrees(ran: &Ran, shop: &Arc<Shop>) -> Found {
    let subject = Subject {
        setup: Arc::clone(&shop.setup),
        inputs: shop.inputs(),
        compacted: false,
        naming: Naming::Clear,
    };
    for task in 0..TASKS {
        let mut held = Held(&ran.cluster);
        let Ok(report) = check(&subject, &mut held, task, None, &mut |_| {});
        if let Some((check, finding)) = report.failures().next() {
            return violated(check.invariant(), format!("{check}: {finding}"));
        }
        // Nothing is out of sight here, but the store, which is held against the changelog elsewhere.
        for (check, outcome) in &report.outcomes {
            if let Outcome::NotCheckable(why) = outcome
                && *check != checker::Check::State
                && report.commits > 0
            {
                let what = format!("{check} of task {task} cannot be told: {why}");
                return Err(Violation {
                    invariant: check.invariant(),
                    what,
                });
            }
        }
    }
    Ok(())
}
