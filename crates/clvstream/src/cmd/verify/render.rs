//! What was found, as a table for people, and as JSON.

use std::collections::BTreeMap;
use std::io::Write;

use anstyle::{AnsiColor, Style};
use checker::{Check, Finding, Outcome, Report};
use serde_json::{Value, json};

use crate::error::CliError;
use crate::render::{grouped, printable, table as rows_of};

/// The invariants that checks are of, in the order of columns.
const INVARIANTS: [&str; 6] = ["I1", "I2", "I3", "I4", "I7", "I8"];

/// One line a task, then what failed, then what could not be checked.
pub(super) fn table(reports: &[Report], colour: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let mut headers = vec!["task", "commits", "records"];
    headers.extend(INVARIANTS);
    let row = |report: &Report| {
        let mut row = vec![
            report.task.to_string(),
            grouped(report.commits),
            grouped(report.records),
        ];
        row.extend(INVARIANTS.map(|invariant| cell(report, invariant).to_owned()));
        row
    };
    writeln!(
        out,
        "{}",
        rows_of(&headers, reports.iter().map(row).collect())
    )?;
    let (red, dim) = match colour {
        true => (AnsiColor::Red.on_default().bold(), Style::new().dimmed()),
        false => (Style::new(), Style::new()),
    };
    for report in reports {
        for (check, finding) in report.failures() {
            let finding = printable(&finding.to_string());
            let (task, invariant) = (report.task, check.invariant());
            writeln!(out)?;
            writeln!(
                out,
                "{red}failed{red:#}: task {task}, {check} ({invariant}): {}",
                check.says()
            )?;
            writeln!(out, "  {finding}")?;
        }
    }
    for ((check, why), tasks) in unchecked(reports) {
        writeln!(out)?;
        let tasks = if tasks.len() == 1 {
            format!("task {}", tasks[0])
        } else {
            let tasks: Vec<String> = tasks.iter().map(u32::to_string).collect();
            format!("tasks {}", tasks.join(", "))
        };
        let invariant = check.invariant();
        writeln!(
            out,
            "{dim}not checked: {tasks}, {check} ({invariant}){dim:#}"
        )?;
        writeln!(out, "  {}", printable(&why))?;
    }
    Ok(())
}

/// What was not checked and why, with the tasks that it holds for.
fn unchecked(reports: &[Report]) -> BTreeMap<(Check, String), Vec<u32>> {
    let mut all: BTreeMap<(Check, String), Vec<u32>> = BTreeMap::new();
    for report in reports {
        for (check, outcome) in &report.outcomes {
            if let Outcome::NotCheckable(why) = outcome {
                all.entry((*check, why.clone()))
                    .or_default()
                    .push(report.task);
            }
        }
    }
    all
}

/// An invariant in one word.
fn cell(report: &Report, invariant: &str) -> &'static str {
    let of = report
        .outcomes
        .iter()
        .filter(|(check, _)| check.invariant() == invariant);
    let (mut passed, mut open) = (false, false);
    for (_, outcome) in of {
        match outcome {
            Outcome::Failed(_) => return "failed",
            Outcome::Passed(_) => passed = true,
            Outcome::NotCheckable(_) => open = true,
        }
    }
    match (passed, open) {
        (true, false) => "ok",
        (true, true) => "in part",
        (false, _) => "-",
    }
}

/// Every check of every task.
pub(super) fn json(
    application: &str,
    reports: &[Report],
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let tasks: Vec<Value> = reports.iter().map(of_task).collect();
    let passed = reports
        .iter()
        .all(|report| report.failures().next().is_none());
    let all = json!({ "application": application, "passed": passed, "tasks": tasks });
    serde_json::to_writer_pretty(&mut *out, &all)?;
    Ok(writeln!(out)?)
}

fn of_task(report: &Report) -> Value {
    let checks: Vec<Value> = report
        .outcomes
        .iter()
        .map(|(c, o)| of_check(*c, o))
        .collect();
    json!({
        "task": report.task,
        "commits": report.commits,
        "records": report.records,
        "checks": checks,
    })
}

fn of_check(check: Check, outcome: &Outcome) -> Value {
    let mut value = json!({
        "check": check.as_str(),
        "invariant": check.invariant(),
        "says": check.says(),
    });
    match outcome {
        Outcome::Passed(examined) => {
            value["outcome"] = "passed".into();
            value["examined"] = (*examined).into();
        }
        Outcome::Failed(finding) => {
            value["outcome"] = "failed".into();
            value["finding"] = of_finding(finding);
        }
        Outcome::NotCheckable(why) => {
            value["outcome"] = "not_checked".into();
            value["reason"] = why.as_str().into();
        }
    }
    value
}

fn of_finding(finding: &Finding) -> Value {
    json!({
        "topic": &*finding.at.topic,
        "partition": finding.at.partition,
        "offset": finding.offset,
        "until": finding.until,
        "customer": finding.key,
        "sequence": finding.sequence,
        "commit": finding.commit,
        "problem": finding.problem,
    })
}
