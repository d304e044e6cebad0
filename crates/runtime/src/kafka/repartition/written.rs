//! What is written down about a change of the number of tasks, as a mark, from its beginning to its end.

use engine::chain::Head;
use kafkalog::Marks;
use serde::{Deserialize, Serialize};

use crate::error::RuntimeError;

/// Name of the mark. It is removed in the transaction with which the new tasks begin.
pub(super) const PLAN: &str = "repartition";

/// A change that was begun.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// The number of tasks that there is.
    pub(super) from: u32,
    /// The number that there will be.
    pub(super) to: u32,
    /// Which generation of topics is the new tasks'.
    pub(super) generation: u32,
    /// Whether it is to be finished; otherwise it was given up, and its topics are of no use.
    pub(super) open: bool,
    /// The heads of the old tasks' chains when copying began, by their numbers.
    #[serde(default)]
    pub(super) heads: Vec<String>,
    /// The old tasks whose profiles are copied.
    #[serde(default)]
    pub(super) copied: Vec<u32>,
}

impl Plan {
    /// The one among the marks.
    pub(super) fn in_marks(marks: &Marks) -> Result<Option<Plan>, RuntimeError> {
        let plan = marks.get(PLAN).map(|bytes| serde_json::from_slice(bytes));
        plan.transpose().map_err(RuntimeError::Identity)
    }

    /// The same, to copy what the old tasks have with these heads. What was copied of others is of no
    /// use: a profile of it may have been deleted since, and its topics are left behind.
    pub(super) fn for_heads(self, heads: Vec<Head>) -> Plan {
        let heads: Vec<String> = heads.iter().map(Head::to_string).collect();
        if heads == self.heads {
            return self;
        }
        let is_begun = !self.heads.is_empty();
        Plan {
            generation: self.generation + u32::from(is_begun),
            heads,
            copied: Vec::new(),
            ..self
        }
    }
}

/// While the number of tasks is being changed nobody else works on the deployment.
pub(crate) fn refuse_unfinished(marks: &Marks) -> Result<(), RuntimeError> {
    match Plan::in_marks(marks)? {
        Some(Plan {
            open: true,
            from,
            to,
            ..
        }) => Err(RuntimeError::Repartitioning { from, to }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(number: u64) -> Head {
        Head { number, hash: 7 }
    }

    fn plan() -> Plan {
        Plan {
            from: 2,
            to: 3,
            generation: 1,
            open: true,
            heads: Vec::new(),
            copied: Vec::new(),
        }
    }

    #[test]
    fn copies_count_only_while_the_old_tasks_stand_where_they_were_copied() {
        let begun = plan().for_heads(vec![head(4), head(5)]);
        assert_eq!((begun.generation, begun.heads.len()), (1, 2));
        let copied = Plan {
            copied: vec![0],
            ..begun
        };
        let same = copied.clone().for_heads(vec![head(4), head(5)]);
        assert_eq!(same, copied);
        let moved = copied.for_heads(vec![head(4), head(6)]);
        assert_eq!(moved.generation, 2, "topics that hold nothing else");
        assert!(moved.copied.is_empty());
    }

    #[test]
    fn only_what_is_unfinished_keeps_others_away() {
        let marks = |plan: &Plan| {
            let bytes = serde_json::to_vec(plan).unwrap_or_default();
            Marks::from([(PLAN.to_owned(), bytes)])
        };
        assert!(refuse_unfinished(&Marks::new()).is_ok());
        let refused = refuse_unfinished(&marks(&plan()));
        assert!(matches!(
            refused,
            Err(RuntimeError::Repartitioning { from: 2, to: 3 })
        ));
        let given_up = Plan {
            open: false,
            ..plan()
        };
        assert!(refuse_unfinished(&marks(&given_up)).is_ok());
    }
}
