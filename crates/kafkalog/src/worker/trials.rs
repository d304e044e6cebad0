//! Which record is being tried, beside the positions of tasks at which processes have died.

use std::collections::BTreeMap;

use engine::port::{CommitError, TopicPartition};
use engine::trial::Place;

use super::KafkaWorker;

impl KafkaWorker {
    /// See [`WorkerLog::trying`](engine::port::WorkerLog::trying).
    pub(super) fn try_record(
        &mut self,
        tasks: &[u32],
        place: Option<&Place>,
    ) -> Result<(), CommitError> {
        let mut beside = BTreeMap::new();
        let mut positions = Vec::new();
        for task in tasks {
            let routed = self.routed_of(*task);
            let (Some(stands), Some(input)) = (self.beside.get(task), self.inputs.get(&routed))
            else {
                continue;
            };
            if let Some(trying) = stands.trying(place, &self.nonce) {
                beside.insert(*task, trying);
                positions.push((routed, input.committed));
            }
        }
        if !positions.is_empty() {
            self.transact(&[], &positions, &beside)?;
            self.beside.extend(beside);
            self.committed(&positions);
        }
        if let Some(place) = place {
            self.meet(&place.at, place.offset);
        }
        Ok(())
    }

    /// Somebody is about to look at a record, unless it is quarantined.
    pub(super) fn meet(&self, at: &TopicPartition, offset: u64) {
        failpoint::meet(|| {
            let at = at.clone();
            let place = Place { at, offset };
            let mut quarantined = self.beside.values().flat_map(|b| b.trial.quarantined());
            match quarantined.any(|one| *one == place) {
                true => String::new(),
                false => place.to_string(),
            }
        });
    }
}
