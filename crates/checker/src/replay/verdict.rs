//! What a replay came to, check by check.
//!
//! Invariant: where the replay ended early, what it did not come to is not checkable, and what was found before
//! that stands; without a replay nothing stands.

use super::{End, Replay, Replayed};
use crate::history::History;
use crate::report::{Check, Finding, Outcome};

impl<H: History> Replay<'_, H> {
    pub(super) fn finish(mut self, end: Option<End>) -> Result<Replayed, H::Error> {
        if end.is_none() {
            self.expect_ends()?;
        }
        let rest = match &end {
            None => None,
            Some(End::Found(check, finding)) => {
                let commit = finding.commit.unwrap_or_default();
                Some(format!("the replay ended at commit {commit}: see {check}"))
            }
            Some(End::Removed(why)) => Some(format!("no replay: {why}")),
        };
        // What was found before it was known that there is no replay is worth nothing.
        let is_void = matches!(end, Some(End::Removed(_)));
        let outcome = |failed: Option<Finding>, passed: u64| match (failed, &rest) {
            (_, Some(why)) if is_void => Outcome::NotCheckable(why.clone()),
            (Some(finding), _) => Outcome::Failed(Box::new(finding)),
            (None, Some(why)) => Outcome::NotCheckable(why.clone()),
            (None, None) => Outcome::Passed(passed),
        };
        let found = |check| match &end {
            Some(End::Found(of, finding)) if *of == check => Some(finding.as_ref().clone()),
            _ => None,
        };
        let commits = match outcome(found(Check::Commits), self.heads) {
            Outcome::Passed(heads) if self.heads_skipped > 0 => Outcome::NotCheckable(format!(
                "the changelog of {} commits is compacted, and too many timers fell due at once to \
                 tell their ends; the hashes of {heads} others are right",
                self.heads_skipped
            )),
            outcome => outcome,
        };
        let consumed = outcome(found(Check::Consumed), self.consumed);
        let changelog = outcome(self.changelog.failed.take(), self.changelog.matched);
        let mut outcomes = vec![
            (Check::Consumed, consumed),
            (Check::Commits, commits),
            (Check::Changelog, changelog),
        ];
        outcomes.extend(self.written.outcomes(outcome));
        Ok(Replayed {
            outcomes,
            oracle: end.is_none().then_some(self.oracle),
        })
    }

    /// Nothing stands behind what the last commit wrote, unless commits go on. Whether they do is asked
    /// last: what a later commit wrote can be seen only when its commit record is there.
    fn expect_ends(&mut self) -> Result<(), H::Error> {
        let beyond = self.written.expect_ends(self.history)?;
        let stood = self.changelog.failed.is_none();
        self.changelog.expect_end();
        let goes_on = stood && self.changelog.failed.is_some();
        let commits = self.subject.commits(self.task);
        if (goes_on || !beyond.is_empty()) && self.history.has_grown(&commits)? {
            self.written.forgive(&beyond);
            if goes_on {
                self.changelog.failed = None;
            }
        }
        Ok(())
    }
}
