//! Where a commit ended among the timers that were due: told by the hash of what it wrote.

use engine::commit_record::CommitRecord;
use engine::port::OutRecord;
use wire::bin::Corrupt;

use super::Replay;
use crate::oracle::Write;

/// Of a commit whose records of the changelog are gone, so many ends are tried: where among the timers
/// that were due it ended is told by its hash alone.
const ENDS_TRIED: usize = 256;
/// So many are tried in any case, whatever the records of the changelog say.
const ENDS_HASHED: usize = 8;

/// How what a commit wrote, by its hash, compares with what comes of the records that it consumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fit {
    /// It is that.
    Same,
    /// It is not.
    Other,
    /// That cannot be told: its records of the changelog are gone.
    Untold,
}

impl<H> Replay<'_, H> {
    /// Fires the timers that fired before the commit ended: as many as give what it wrote, by its
    /// hash. Answers the writes to the state, and whether the hash is that of the commit record.
    pub(super) fn find_end(
        &mut self,
        record: &CommitRecord,
        told: &[OutRecord],
    ) -> Result<(Vec<Write>, Fit), Corrupt> {
        let body = record.consumed.body();
        let changelog = self.subject.changelog(self.task);
        let mut second_best = None;
        let mut tried = 0;
        loop {
            let exact = self.changelog.exact(record.head.number);
            // Cheap to ask: what does not fit by numbers need not be hashed. A record of the changelog
            // may be missing or too many.
            let may_be = exact.is_none_or(|(keys, book)| {
                keys.abs_diff(self.oracle.changed_keys()) <= 1
                    && book.counts == self.oracle.book.counts
            });
            let is_exact = exact.is_some();
            let is_last = !self.oracle.has_due();
            if may_be || is_last || tried < ENDS_HASHED {
                tried += 1;
                let writes = self.oracle.writes();
                let head = self.oracle.head(&body, told, &changelog, &writes);
                if head == record.head {
                    self.oracle.book.chain = head;
                    return Ok((writes, Fit::Same));
                }
                if !is_exact && !is_last && tried > ENDS_TRIED {
                    self.oracle.book.chain = record.head;
                    return Ok((writes, Fit::Untold));
                }
                if is_exact && second_best.is_none() && self.changelog.is(&writes) {
                    second_best = Some((self.oracle.clone(), writes, head));
                } else if is_last {
                    second_best.get_or_insert_with(|| (self.oracle.clone(), writes, head));
                }
            }
            if !self.oracle.fire_one()? {
                break;
            }
        }
        // No end fits: the one that the changelog has, or else the last one.
        let mut found = Vec::new();
        if let Some((oracle, writes, head)) = second_best {
            self.oracle = oracle;
            self.oracle.book.chain = head;
            found = writes;
        }
        Ok((found, Fit::Other))
    }
}
