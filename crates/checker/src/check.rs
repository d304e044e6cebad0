//! All checks of one task, in an order in which each uses what those before it found.

use std::collections::BTreeMap;

use engine::port::TopicPartition;

use crate::chain::Chain;
use crate::cursor::Cursor;
use crate::fold::Fold;
use crate::history::{Committed, History};
use crate::replay::{Replayed, replay};
use crate::report::{Check, Finding, Outcome, Report};
use crate::sequences::{self, Outputs};
use crate::state::{self, StoreContents};
use crate::subject::Subject;

/// What is being done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Commit records are read.
    Commits,
    /// So many commits of so many are replayed.
    Replayed(u64, u64),
    /// Outputs are read.
    Outputs,
    /// The changelog is folded.
    Changelog,
}

/// Checks one task of `subject`, by what `history` holds; and its store, if there is one to be seen.
///
/// # Errors
/// The history cannot be read.
pub fn check<H: History>(
    subject: &Subject,
    history: &mut H,
    task: u32,
    store: Option<StoreContents<'_>>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, H::Error> {
    // First: it settles up to which commit is looked at.
    progress(Progress::Commits);
    let mut chain = Chain::read(subject, history, task)?;
    let mut found = BTreeMap::new();
    let total = chain.commits;
    let told = &mut |done| progress(Progress::Replayed(done, total));
    let oracle = match why_no_replay(subject, &chain) {
        Some(why) => {
            for check in REPLAYED {
                found.insert(check, Outcome::NotCheckable(why.clone()));
            }
            None
        }
        None => {
            let Replayed { outcomes, oracle } = replay(subject, history, &chain, task, told)?;
            found.extend(outcomes);
            oracle
        }
    };
    progress(Progress::Outputs);
    let mut outputs = sequences::read(subject, history, task)?;
    found.insert(Check::Sequences, outputs.outcome.clone());
    progress(Progress::Changelog);
    let fold = Fold::read(subject, history, &chain, task)?;
    found.insert(Check::Head, fold.head.clone());
    let whole = matches!(fold.head, Outcome::Passed(_));
    let unfit = || {
        Outcome::NotCheckable("the changelog is not that of the last commit: see head".to_owned())
    };
    let folded = match &oracle {
        Some(oracle) if whole => fold.against(subject, &chain, oracle),
        Some(_) => unfit(),
        None => Outcome::NotCheckable("there is no replay to its end".to_owned()),
    };
    found.entry(Check::Fold).or_insert(folded);
    let counted = match whole {
        true => count(subject, history, &chain, &fold, &outputs)?,
        false => unfit(),
    };
    found.insert(Check::Counts, unless_live(history, &chain, counted)?);
    let last = match whole {
        true => fold.against_outputs(subject, history, &chain, &mut outputs)?,
        false => unfit(),
    };
    found.insert(Check::LastOutputs, unless_live(history, &chain, last)?);
    let inputs: Vec<TopicPartition> = chain.positions.keys().cloned().collect();
    let committed = history.committed(task, &inputs)?;
    let committed = match committed {
        None => Outcome::NotCheckable("nothing keeps committed offsets".to_owned()),
        Some(_) if chain.broken.is_some() => broken(),
        Some(committed) => committed_offsets(history, &chain, &committed)?,
    };
    found.insert(Check::Committed, unless_live(history, &chain, committed)?);
    found.insert(
        Check::State,
        match store {
            None => Outcome::NotCheckable("no store was given".to_owned()),
            Some(_) if !whole => unfit(),
            Some(store) => state::check(subject, history, task, &fold, store)?,
        },
    );
    found.insert(
        Check::Positions,
        outcome(chain.went_back.take(), chain.commits),
    );
    found.insert(Check::Chain, outcome(chain.broken.take(), chain.commits));
    let outcomes = Check::ALL
        .iter()
        .filter_map(|check| Some((*check, found.remove(check)?)));
    Ok(Report {
        task,
        commits: chain.commits,
        records: chain.consumed,
        outcomes: outcomes.collect(),
    })
}

/// Checks that need a replay.
const REPLAYED: [Check; 7] = [
    Check::Consumed,
    Check::Commits,
    Check::Outputs,
    Check::DeadLetters,
    Check::Routed,
    Check::Changelog,
    Check::Fold,
];

fn why_no_replay(subject: &Subject, chain: &Chain) -> Option<String> {
    if chain.broken.is_some() {
        return Some("no replay: the chain of commit records is broken: see chain".to_owned());
    }
    if chain.went_back.is_some() {
        return Some("no replay: positions went back: see positions".to_owned());
    }
    if !subject.began_with_nothing() {
        let why = "no replay: the task began with the state of others, when the number of tasks was changed";
        return Some(why.to_owned());
    }
    let trimmed = chain.bounds.begin > 0 && chain.commits == 0;
    if trimmed || !chain.is_whole() {
        let first = chain.first.max(1);
        return Some(format!(
            "no replay: retention has removed the commit records before number {first}"
        ));
    }
    None
}

/// What differs because commits went on while it was looked at is no counter-example.
fn unless_live<H: History>(
    history: &mut H,
    chain: &Chain,
    outcome: Outcome,
) -> Result<Outcome, H::Error> {
    if matches!(outcome, Outcome::Failed(_)) && history.has_grown(&chain.at)? {
        let why = "the service is running: commits went on meanwhile";
        return Ok(Outcome::NotCheckable(why.to_owned()));
    }
    Ok(outcome)
}

fn broken() -> Outcome {
    Outcome::NotCheckable("the chain of commit records is broken: see chain".to_owned())
}

fn outcome(failed: Option<Finding>, passed: u64) -> Outcome {
    match failed {
        Some(finding) => Outcome::Failed(Box::new(finding)),
        None => Outcome::Passed(passed),
    }
}

/// What the bookkeeping counted against what there is (I7).
fn count<H: History>(
    subject: &Subject,
    history: &mut H,
    chain: &Chain,
    fold: &Fold,
    outputs: &Outputs,
) -> Result<Outcome, H::Error> {
    let at = subject.changelog(chain.at.partition);
    let Some((offset, book)) = &fold.book else {
        return Ok(Outcome::Passed(0));
    };
    let mut looked_at = 0;
    let mut failed = None;
    let mut compare = |what: &str, counted: u64, found: u64| {
        looked_at += found;
        if counted != found && failed.is_none() {
            let problem = format!("the task counted {counted} {what}, and there are {found}");
            failed = Some(Finding::new(&at, problem).offset(*offset));
        }
    };
    let mut compared = false;
    // What others counted before went over to it with their state.
    let began_with_nothing = subject.began_with_nothing();
    if began_with_nothing && chain.is_whole() && chain.commits > 0 {
        compare("records consumed", book.counts.consumed(), chain.consumed);
        compared = true;
    }
    if began_with_nothing && !outputs.trimmed {
        compare("outputs", book.counts.outputs, outputs.records);
        compared = true;
    }
    if let Some(letters) = dead_letters(subject, history, chain)? {
        compare("dead letters", book.counts.dead_lettered, letters);
        compared = true;
    }
    Ok(match (failed, compared) {
        (Some(finding), _) => Outcome::Failed(Box::new(finding)),
        (None, true) => Outcome::Passed(looked_at),
        (None, false) => {
            let why = match began_with_nothing {
                true => "retention has removed what the counts could be compared with",
                false => "the task goes on counting from what others counted before it",
            };
            Outcome::NotCheckable(why.to_owned())
        }
    })
}

/// Dead letters of records that the task consumed; `None` where retention has removed some.
fn dead_letters<H: History>(
    subject: &Subject,
    history: &mut H,
    chain: &Chain,
) -> Result<Option<u64>, H::Error> {
    let letters = &subject.setup.topics.dead_letters;
    let at = Subject::partition(letters, chain.at.partition);
    let mut cursor = Cursor::open(history, at)?;
    if cursor.bounds.begin > 0 || !chain.is_whole() || !subject.began_with_nothing() {
        return Ok(None);
    }
    let mut found = 0;
    while let Some(entry) = cursor.pop(history)? {
        let source = entry.headers.iter().find(|(name, _)| name == "clv_topic");
        let own = |(_, topic): &(String, Vec<u8>)| {
            chain
                .positions
                .keys()
                .any(|input| input.topic.as_bytes() == topic)
        };
        found += u64::from(source.is_none_or(own));
    }
    Ok(Some(found))
}

/// The group's offsets are the last commit record's positions, or behind markers after them.
fn committed_offsets<H: History>(
    history: &mut H,
    chain: &Chain,
    committed: &Committed,
) -> Result<Outcome, H::Error> {
    for (input, position) in &chain.positions {
        let found = committed.get(input).copied().flatten();
        let problem = match found {
            Some(found) if found == *position => continue,
            Some(found) if found > *position => {
                let next = history.read(input, *position, 1)?;
                let Some(skipped) = next.first().filter(|next| next.offset < found) else {
                    continue;
                };
                format!(
                    "the committed offset is {found}, and the record at offset {} was consumed by \
                     no commit",
                    skipped.offset
                )
            }
            Some(found) => {
                format!("the committed offset is {found}, and the commit records say {position}")
            }
            None => format!("no offset is committed, and the commit records say {position}"),
        };
        let finding = Finding::new(input, problem).offset(*position);
        return Ok(Outcome::Failed(Box::new(finding.commit(chain.last.number))));
    }
    Ok(Outcome::Passed(chain.positions.len() as u64))
}
