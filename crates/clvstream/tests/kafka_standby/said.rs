//! What instances' logs tell of takeovers and of standbys.

use serde_json::Value;

/// A task that was taken over.
#[derive(Clone, Debug)]
pub struct Taken {
    pub task: u64,
    /// Changelog records read for it.
    pub records: u64,
}

/// The lines of a kind, whole ones.
fn lines<'l>(log: &'l str, message: &'l str) -> impl Iterator<Item = Value> + 'l {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines.filter(move |line| field(line, "message").as_str() == Some(message))
}

fn field<'v>(line: &'v Value, name: &str) -> &'v Value {
    line.get(name).unwrap_or_else(|| &line["fields"][name])
}

fn number(line: &Value, name: &str) -> u64 {
    field(line, name).as_u64().unwrap()
}

/// The takeovers, in order.
pub fn taken_over(log: &str) -> Vec<Taken> {
    let taken = lines(log, "taken over").map(|line| Taken {
        task: number(&line, "task"),
        records: number(&line, "records"),
    });
    taken.collect()
}

/// The tasks that were begun to be kept warm, and from which changelog offset on.
pub fn kept_from(log: &str) -> Vec<(u64, u64)> {
    let kept = lines(log, "keeping a task warm");
    kept.map(|line| (number(&line, "task"), number(&line, "from")))
        .collect()
}
