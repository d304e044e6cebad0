//! What was found: per check passed, failed with the first counter-example, or not checkable and why.

use std::fmt;

use engine::port::TopicPartition;

macro_rules! checks {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $invariant:literal, $says:literal;)*) => {
        /// What is checked. The names are part of the interface: scripts rest on them.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Check {
            $($(#[$doc])* $variant,)*
        }

        impl Check {
            /// Every check, in the order of reports.
            pub const ALL: &'static [Check] = &[$(Check::$variant,)*];

            /// Its name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Check::$variant => $name,)* }
            }

            /// The invariant that it is of.
            #[must_use]
            pub fn invariant(self) -> &'static str {
                match self { $(Check::$variant => $invariant,)* }
            }

            /// What holds where it passes.
            #[must_use]
            pub fn says(self) -> &'static str {
                match self { $(Check::$variant => $says,)* }
            }
        }
    };
}

checks! {
    /// The chain of commit records.
    Chain = "chain", "I3", "each commit record names the one before it, none is missing or twice";
    /// Positions of commit records.
    Positions = "positions", "I8", "positions of commit records never go back";
    /// Inputs against commit records.
    Consumed = "consumed", "I1", "the inputs hold what the commits consumed";
    /// Hashes of commits against what the replay wrote.
    Commits = "commits", "I3", "what each commit wrote is what comes of the records that it consumed";
    /// Output topics against the replay.
    Outputs = "outputs", "I1", "outputs are those of a replay, byte for byte";
    /// Dead letters against the replay.
    DeadLetters = "dead_letters", "I1", "dead letters are those of a replay, byte for byte";
    /// What was sent to other tasks against the replay.
    Routed = "routed", "I1", "records routed to other tasks are those of a replay, byte for byte";
    /// The changelog against the replay.
    Changelog = "changelog", "I3", "the changelog is that of a replay, commit by commit";
    /// The folded changelog against the replayed state.
    Fold = "fold", "I1", "the folded changelog is the state of a replay";
    /// The end of the changelog against the last commit record.
    Head = "head", "I3", "the changelog ends with the last commit";
    /// Numbers of outputs.
    Sequences = "sequences", "I2", "outputs of each customer are numbered without gap or repetition";
    /// The last output of each customer against the state.
    LastOutputs = "last_outputs", "I1", "the last output of each customer is what the state says";
    /// The group's committed offsets against the last commit record.
    Committed = "committed", "I3", "committed offsets are those of the last commit record";
    /// A store against the changelog.
    State = "state", "I4", "the store, and the changelog from its position on, give the folded changelog";
    /// Counts of records.
    Counts = "counts", "I7", "every record is counted once: applied, late, dead-lettered, …";
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The first counter-example of a check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Where.
    pub at: TopicPartition,
    /// At which offset, or from which one on.
    pub offset: Option<u64>,
    /// Where it is no single record: the offset after the last one that it may be.
    pub until: Option<u64>,
    /// Whose it is, as [`Naming`](crate::Naming) says.
    pub key: Option<String>,
    /// The sequence number of the output.
    pub sequence: Option<u64>,
    /// The number of the commit.
    pub commit: Option<u64>,
    /// What is wrong.
    pub problem: String,
}

impl Finding {
    /// Something is wrong with `at`.
    pub(crate) fn new(at: &TopicPartition, problem: impl Into<String>) -> Finding {
        Finding {
            at: at.clone(),
            offset: None,
            until: None,
            key: None,
            sequence: None,
            commit: None,
            problem: problem.into(),
        }
    }

    pub(crate) fn offset(self, offset: u64) -> Finding {
        Finding {
            offset: Some(offset),
            ..self
        }
    }

    pub(crate) fn until(self, until: u64) -> Finding {
        Finding {
            until: Some(until),
            ..self
        }
    }

    pub(crate) fn key(self, key: Option<String>) -> Finding {
        Finding { key, ..self }
    }

    pub(crate) fn sequence(self, sequence: Option<u64>) -> Finding {
        Finding { sequence, ..self }
    }

    pub(crate) fn commit(self, commit: u64) -> Finding {
        Finding {
            commit: Some(commit),
            ..self
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} partition {}", self.at.topic, self.at.partition)?;
        match (self.offset, self.until) {
            (Some(from), Some(until)) if from + 1 < until => {
                write!(f, " offsets {from} to {}", until - 1)?;
            }
            (Some(offset), _) => write!(f, " offset {offset}")?,
            (None, _) => {}
        }
        let mut more = Vec::new();
        more.extend(self.commit.map(|number| format!("commit {number}")));
        more.extend(self.key.as_ref().map(|key| format!("customer {key}")));
        more.extend(self.sequence.map(|n| format!("sequence {n}")));
        if !more.is_empty() {
            write!(f, " ({})", more.join(", "))?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// What a check came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It holds, for this many things that were looked at.
    Passed(u64),
    /// It does not.
    Failed(Box<Finding>),
    /// It cannot be told, and why.
    NotCheckable(String),
}

/// What was found about one task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The task.
    pub task: u32,
    /// Commits looked at.
    pub commits: u64,
    /// Records consumed by them.
    pub records: u64,
    /// The outcome of each check, in the order of [`Check::ALL`].
    pub outcomes: Vec<(Check, Outcome)>,
}

impl Report {
    /// The outcome of `check`.
    #[must_use]
    pub fn outcome(&self, check: Check) -> Option<&Outcome> {
        let found = self.outcomes.iter().find(|(known, _)| *known == check);
        found.map(|(_, outcome)| outcome)
    }

    /// The checks that failed, with their counter-examples.
    pub fn failures(&self) -> impl Iterator<Item = (Check, &Finding)> {
        self.outcomes
            .iter()
            .filter_map(|(check, outcome)| match outcome {
                Outcome::Failed(finding) => Some((*check, finding.as_ref())),
                _ => None,
            })
    }
}
