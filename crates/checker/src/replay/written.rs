//! What a task wrote beside its changelog, topic by topic, and where that ends.

use std::collections::BTreeMap;

use engine::port::{OutRecord, TopicPartition};

use crate::chain::Chain;
use crate::history::History;
use crate::report::{Check, Finding, Outcome};
use crate::stream::{Own, Stream};
use crate::subject::Subject;

/// Outputs, dead letters and records for other tasks, beside what a replay says should be there.
pub(super) struct Written<'s> {
    subject: &'s Subject,
    task: u32,
    streams: BTreeMap<TopicPartition, Stream>,
    /// Topics that the task's dead letters come from.
    letters_of: Vec<String>,
}

impl<'s> Written<'s> {
    pub(super) fn new(subject: &'s Subject, chain: &Chain, task: u32) -> Written<'s> {
        let inputs = chain.positions.keys();
        let mut letters_of: Vec<String> = inputs.map(|at| at.topic.to_string()).collect();
        letters_of.dedup();
        Written {
            subject,
            task,
            streams: BTreeMap::new(),
            letters_of,
        }
    }

    /// Whether something was found that differs.
    pub(super) fn differs(&self) -> bool {
        self.streams.values().any(|s| s.failed.is_some())
    }

    /// Commit `number` wrote `expected`.
    pub(super) fn expect<H: History>(
        &mut self,
        history: &mut H,
        expected: &OutRecord,
        number: u64,
    ) -> Result<(), H::Error> {
        self.open(history, &expected.target)?;
        match self.streams.get_mut(&expected.target) {
            Some(stream) => stream.expect(history, expected, number),
            None => Ok(()),
        }
    }

    fn open<H: History>(&mut self, history: &mut H, at: &TopicPartition) -> Result<(), H::Error> {
        if self.streams.contains_key(at) {
            return Ok(());
        }
        let own = match self.check_of(at) {
            Check::Routed => Own::RoutedBy(self.task),
            Check::DeadLetters => Own::LettersOf(self.letters_of.clone()),
            _ => Own::All,
        };
        let stream = Stream::open(history, at.clone(), own, self.subject.naming)?;
        self.streams.insert(at.clone(), stream);
        Ok(())
    }

    fn check_of(&self, at: &TopicPartition) -> Check {
        let topics = &self.subject.setup.topics;
        match &at.topic {
            topic if *topic == topics.routed => Check::Routed,
            topic if *topic == topics.dead_letters => Check::DeadLetters,
            _ => Check::Outputs,
        }
    }

    /// Nothing stands behind what was expected so far. Answers where something does that nobody knew of.
    pub(super) fn expect_ends<H: History>(
        &mut self,
        history: &mut H,
    ) -> Result<Vec<TopicPartition>, H::Error> {
        let setup = &self.subject.setup;
        let mut all = self.subject.outputs(self.task).concat();
        all.push(Subject::partition(&setup.topics.dead_letters, self.task));
        let others = (0..setup.tasks).filter(|other| *other != self.task);
        all.extend(others.map(|other| Subject::partition(&setup.topics.routed, other)));
        for at in &all {
            self.open(history, at)?;
        }
        let mut beyond = Vec::new();
        for (at, stream) in &mut self.streams {
            let stood = stream.failed.is_none();
            stream.expect_end(history)?;
            if stood && stream.failed.is_some() {
                beyond.push(at.clone());
            }
        }
        Ok(beyond)
    }

    /// What was found at the end of `beyond` is of commits that are still to be seen.
    pub(super) fn forgive(&mut self, beyond: &[TopicPartition]) {
        for at in beyond {
            if let Some(stream) = self.streams.get_mut(at) {
                stream.failed = None;
            }
        }
    }

    /// What came of each check, as `outcome` sees it: of what failed first, and of how many records were as they
    /// should be.
    pub(super) fn outcomes(
        &self,
        outcome: impl Fn(Option<Finding>, u64) -> Outcome,
    ) -> [(Check, Outcome); 3] {
        [Check::Outputs, Check::DeadLetters, Check::Routed].map(|check| {
            let of_check = self.streams.iter();
            let of_check = of_check.filter(|(at, _)| self.check_of(at) == check);
            let of_check: Vec<&Stream> = of_check.map(|(_, stream)| stream).collect();
            let matched = of_check.iter().map(|stream| stream.matched).sum();
            let removed = of_check.iter().find_map(|s| s.not_checkable.clone());
            let failed = of_check.iter().find_map(|s| s.failed.clone());
            match (outcome(failed, matched), removed) {
                (Outcome::Passed(_), Some(why)) => (check, Outcome::NotCheckable(why)),
                (outcome, _) => (check, outcome),
            }
        })
    }
}
