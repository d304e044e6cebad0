//! Who had which task when, as the instances' logs tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet::Instance;
use serde_json::Value;

/// How much later than the fact an instance may write that it has given a task up: the other one has
/// several questions to ask of the broker before it has it.
const LATE: f64 = 0.25;

/// An instance that has a task, or has it no more.
struct Moment {
    seconds: f64,
    task: u64,
    begins: bool,
}

fn lines(log: &str) -> impl Iterator<Item = Value> {
    // The last line may not be whole yet.
    log.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
}

fn field<'v>(line: &'v Value, name: &str) -> Option<&'v Value> {
    line.get(name).or_else(|| line.get("fields")?.get(name))
}

/// The tasks that a line is about.
fn tasks_in(line: &Value) -> impl Iterator<Item = u64> {
    let tasks = field(line, "tasks").and_then(Value::as_str).unwrap();
    let tasks = tasks.trim_matches(['[', ']']).split(',');
    tasks.filter_map(|task| task.trim().parse().ok())
}

/// Seconds of the day, of `2024-01-01T12:34:56.789Z`.
fn seconds(line: &Value) -> f64 {
    let time = line["timestamp"].as_str().unwrap();
    let (_, clock) = time.trim_end_matches('Z').split_once('T').unwrap();
    let parts = clock.split(':').map(|part| part.parse::<f64>().unwrap());
    parts.fold(0.0, |sum, part| sum * 60.0 + part)
}

fn moments(log: &str) -> Vec<Moment> {
    let mut moments = Vec::new();
    let mut has: BTreeSet<u64> = BTreeSet::new();
    let mut note = |seconds, task, begins| {
        if begins && has.insert(task) || !begins && has.remove(&task) {
            moments.push(Moment {
                seconds,
                task,
                begins,
            });
        }
    };
    let mut assigned: BTreeMap<u64, Option<u64>> = BTreeMap::new();
    for line in lines(log) {
        let worker = field(&line, "worker").and_then(Value::as_u64);
        let message = field(&line, "message")
            .and_then(Value::as_str)
            .unwrap_or("");
        match message {
            "taken over" => {
                let task = field(&line, "task").and_then(Value::as_u64).unwrap();
                note(seconds(&line), task, true);
            }
            "assigned" => assigned.extend(tasks_in(&line).map(|task| (task, worker))),
            // What the worker had goes with the membership, or with the process.
            "revoked" | "left" => {
                tasks_in(&line).for_each(|task| note(seconds(&line), task, false))
            }
            _ if message.starts_with("lost: ") => {
                tasks_in(&line).for_each(|task| note(seconds(&line), task, false));
            }
            _ if message.starts_with("leaving the group") => {
                for (task, _) in assigned.iter().filter(|(_, by)| **by == worker) {
                    note(seconds(&line), *task, false);
                }
            }
            _ => {}
        }
    }
    moments
}

/// The tasks that an instance has now.
pub(crate) fn tasks_of(instance: &Instance) -> BTreeSet<u64> {
    let mut tasks = BTreeSet::new();
    for moment in moments(&instance.log()) {
        match moment.begins {
            true => tasks.insert(moment.task),
            false => tasks.remove(&moment.task),
        };
    }
    tasks
}

/// Whether an instance has said `message` after the first `from` bytes of its log.
pub(crate) fn logged_after(instance: &Instance, from: usize, message: &str) -> bool {
    let log = instance.log();
    lines(&log[from..]).any(|line| field(&line, "message").and_then(Value::as_str) == Some(message))
}

/// Asserts that no task was with two instances at once, and answers for how long one was with none.
pub(crate) fn assert_one_owner_at_a_time(instances: &[&Instance]) -> Duration {
    let mut times: BTreeMap<u64, Vec<(f64, f64, usize)>> = BTreeMap::new();
    for (number, instance) in instances.iter().enumerate() {
        for Moment {
            seconds,
            task,
            begins,
        } in moments(&instance.log())
        {
            let of = times.entry(task).or_default();
            match begins {
                true => of.push((seconds, f64::INFINITY, number)),
                false => {
                    let last = of.iter_mut().rfind(|(_, _, by)| *by == number);
                    last.unwrap().1 = seconds;
                }
            }
        }
    }
    let mut longest = 0.0_f64;
    let mut moves = 0;
    for (task, mut of) in times {
        of.sort_by(|a, b| a.0.total_cmp(&b.0));
        for two in of.windows(2) {
            let pause = two[1].0 - two[0].1;
            assert!(pause > -LATE, "task {task} is with two instances: {of:?}");
            longest = longest.max(pause);
            moves += 1;
        }
    }
    assert!(moves >= 8, "only {moves} moves");
    Duration::from_secs_f64(longest)
}
