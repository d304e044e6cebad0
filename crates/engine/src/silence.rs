//! Which inputs have fallen silent while others of the same task go on, by a clock that is handed in.
//!
//! A task's clock waits for each of its inputs. What ends the waiting is a control record, which this finds out that
//! it is time for: only when it is written is up to a clock, what it does is a function of what is consumed. Where
//! none of a task's inputs goes on nobody is waited for in vain, and nothing is said.

use std::collections::BTreeMap;

use domain::event::Text;
use wire::routed::Routed;

use crate::task::Task;

/// A task and one of its inputs.
type Key = (u32, Text, u32);

/// What has been seen of an input.
#[derive(Clone, Copy, Debug)]
struct Seen<I> {
    /// How many records it had given.
    given: u64,
    /// Since when it was so many.
    since: I,
    /// When it was said to be silent.
    said: Option<I>,
}

/// What has been seen of the inputs of some tasks, at instants `I` of some clock.
#[derive(Debug)]
pub struct Silence<I> {
    seen: BTreeMap<Key, Seen<I>>,
}

impl<I> Default for Silence<I> {
    fn default() -> Silence<I> {
        Silence {
            seen: BTreeMap::new(),
        }
    }
}

impl<I: Copy> Silence<I> {
    /// Looks at `tasks`, now, when there is nothing to consume. Answers the control records that are to be written,
    /// with the task of each; `is_long_ago` says whether an input that has given nothing since then is silent.
    pub fn look<'t>(
        &mut self,
        tasks: impl Iterator<Item = &'t Task>,
        now: I,
        is_long_ago: impl Fn(I) -> bool,
    ) -> Vec<(u32, Routed)> {
        let before = std::mem::take(&mut self.seen);
        let mut said = Vec::new();
        for task in tasks {
            let mut silent = Vec::new();
            let mut goes_on = false;
            for (topic, partition, given) in task.waits_for() {
                let key = (task.id(), topic.clone(), partition);
                let mut seen = match before.get(&key) {
                    Some(known) if known.given == given => *known,
                    _ => Seen {
                        given,
                        since: now,
                        said: None,
                    },
                };
                if !is_long_ago(seen.since) {
                    goes_on = true;
                } else if seen.said.is_none_or(&is_long_ago) {
                    seen.said = None;
                    silent.push(key.clone());
                }
                self.seen.insert(key, seen);
            }
            if !goes_on || silent.is_empty() {
                continue;
            }
            for key in &silent {
                if let Some(seen) = self.seen.get_mut(key) {
                    seen.said = Some(now);
                }
            }
            let inputs = silent.into_iter().map(|(_, topic, number)| (topic, number));
            let inputs = inputs.collect();
            said.push((task.id(), Routed::Silent { inputs }));
        }
        said
    }
}
