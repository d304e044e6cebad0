//! `clvstream status`.

use std::io::Write;

use clap::Args;
use config::Loaded;
use runtime::status::{StandbyStatus, Status, TaskStatus};
use serde_json::{Value, json};

use crate::error::{CliError, Exit};
use crate::render::{grouped, table};

/// `clvstream status`
#[derive(Args, Debug)]
#[command(after_long_help = "\
For each task: the instance and the worker that have it, the records that wait in its inputs, and the
instances that keep it warm (`standby`), each with the changelog offsets that it has yet to read and how
long ago it said so. A standby that is filling has not had the whole changelog yet. An instance that says
nothing for 30 s is not told of.

All of it is read from the cluster: it works from anywhere, beside instances and without any, and asks
none of them.

Exit code 0: this is how it is. 1: it could not be found out. 3, with --exit-code only: a task has no owner,
or fewer warm standbys than `standby` says.

Examples:
  clvstream status --config shop.toml
  clvstream status --config shop.toml --json | jq '.tasks[] | select(.owner == null) | .task'
  until clvstream status --config shop.toml --exit-code; do sleep 5; done")]
pub struct StatusArgs {
    /// End with 3 if a task has no owner, or too few warm standbys
    #[arg(long)]
    pub exit_code: bool,

    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Shows who works on what.
///
/// # Errors
/// The cluster cannot be read, or there is something to see to and that was asked for.
pub fn run(args: &StatusArgs, loaded: &Loaded, out: &mut dyn Write) -> Result<(), CliError> {
    let Some(kafka) = &loaded.config.kafka else {
        return Err(CliError::usage(
            "the embedded log has one process, which has every task: there is nothing to show",
        )
        .hint(
            "its /readyz and /metrics say how it is (`http.listen`); `kafka.bootstrap` names a Kafka \
             cluster",
        ));
    };
    let status = Status::of(loaded, kafka)?.ok_or_else(|| {
        let id = &loaded.config.application_id;
        CliError::failure(format!("there is no application {id:?} here"))
            .hint("`application_id` names another one; `clvstream run` starts one")
    })?;
    match args.json {
        true => {
            serde_json::to_writer_pretty(&mut *out, &as_json(&status))?;
            writeln!(out)?;
        }
        false => write!(out, "{}", as_text(&status))?,
    }
    if args.exit_code && (status.orphans().count() > 0 || status.cold().count() > 0) {
        return Err(CliError::new(Exit::DataProblems, summary(&status)));
    }
    Ok(())
}

fn as_text(status: &Status) -> String {
    let rows = status.tasks.iter().map(row).collect();
    let headers = ["task", "instance", "worker", "waiting", "kept warm by"];
    format!("{}\n\n{}.\n", table(&headers, rows), summary(status))
}

fn row(task: &TaskStatus) -> Vec<String> {
    let none = || "-".to_owned();
    let owner = task.owner.as_ref();
    let standbys: Vec<String> = task.standbys.iter().map(words).collect();
    vec![
        task.task.to_string(),
        owner.map_or_else(none, |owner| owner.instance.clone()),
        owner.map_or_else(none, |owner| owner.worker.to_string()),
        grouped(task.lag),
        match standbys.is_empty() {
            true => none(),
            false => standbys.join("; "),
        },
    ]
}

fn words(standby: &StandbyStatus) -> String {
    let StandbyStatus {
        instance,
        is_warm,
        behind,
        age,
    } = standby;
    let filling = match is_warm {
        true => "",
        false => "filling, ",
    };
    let (behind, seconds) = (grouped(*behind), age.as_secs());
    format!("{instance} ({filling}{behind} behind, {seconds} s ago)")
}

fn summary(status: &Status) -> String {
    let tasks = status.tasks.len();
    let count = |n: usize, what: &str| match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    };
    if status.instances.is_empty() {
        return "no instance is running: `clvstream run` starts one".to_owned();
    }
    let mut parts = vec![
        count(status.instances.len(), "instance"),
        count(tasks, "task"),
    ];
    if !status.is_stable {
        parts.push("the group is rebalancing".to_owned());
    }
    match status.orphans().count() {
        0 => {}
        1 => parts.push("1 task has no owner".to_owned()),
        n => parts.push(format!("{n} tasks have no owner")),
    }
    match (status.standby, status.cold().count()) {
        (0, _) => {}
        (_, 0) => parts.push("all are kept warm".to_owned()),
        (wanted, cold) => parts.push(format!(
            "{} fewer than {}",
            match cold {
                1 => "1 task has".to_owned(),
                n => format!("{n} tasks have"),
            },
            count(wanted as usize, "warm standby")
        )),
    }
    parts.join(", ")
}

fn as_json(status: &Status) -> Value {
    let standby = |standby: &StandbyStatus| {
        json!({
            "instance": standby.instance,
            "warm": standby.is_warm,
            "behind": standby.behind,
            "age_seconds": standby.age.as_secs_f64(),
        })
    };
    let task = |task: &TaskStatus| {
        let owner = task.owner.as_ref().map(|owner| {
            json!({
                "instance": owner.instance,
                "worker": owner.worker,
                "host": owner.host,
            })
        });
        json!({
            "task": task.task,
            "owner": owner,
            "waiting": task.lag,
            "standbys": task.standbys.iter().map(standby).collect::<Vec<_>>(),
        })
    };
    json!({
        "application": status.application,
        "standby": status.standby,
        "rebalancing": !status.is_stable && !status.instances.is_empty(),
        "instances": status.instances,
        "tasks": status.tasks.iter().map(task).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use runtime::status::Owner;

    use super::*;

    fn status(standby: u32) -> Status {
        let owner = |instance: &str, worker| Owner {
            instance: instance.to_owned(),
            worker,
            host: "10.0.0.7".to_owned(),
        };
        let standby_of = |instance: &str, is_warm, behind, ms| StandbyStatus {
            instance: instance.to_owned(),
            is_warm,
            behind,
            age: Duration::from_millis(ms),
        };
        Status {
            application: "shop".to_owned(),
            standby,
            is_stable: true,
            instances: BTreeSet::from(["pod-0".to_owned(), "pod-1".to_owned()]),
            tasks: vec![
                TaskStatus {
                    task: 0,
                    owner: Some(owner("pod-0", 1)),
                    lag: 12_345,
                    standbys: vec![standby_of("pod-1", true, 3, 2_900)],
                },
                TaskStatus {
                    task: 1,
                    owner: None,
                    lag: 0,
                    standbys: vec![
                        standby_of("pod-0", true, 0, 100),
                        standby_of("pod-1", false, 1_200_000, 500),
                    ],
                },
            ],
        }
    }

    #[test]
    fn a_table_for_people() {
        insta::assert_snapshot!(as_text(&status(2)), @"
        TASK  INSTANCE  WORKER  WAITING  KEPT WARM BY
           0  pod-0     1        12,345  pod-1 (3 behind, 2 s ago)
           1  -         -             0  pod-0 (0 behind, 0 s ago); pod-1 (filling, 1,200,000 behind, 0 s ago)

        2 instances, 2 tasks, 1 task has no owner, 2 tasks have fewer than 2 warm standbys.
        ");
        let mut none = status(1);
        none.instances.clear();
        none.is_stable = false;
        for task in &mut none.tasks {
            task.owner = None;
            task.standbys.clear();
        }
        insta::assert_snapshot!(as_text(&none), @"
        TASK  INSTANCE  WORKER  WAITING  KEPT WARM BY
           0  -         -        12,345  -
           1  -         -             0  -

        no instance is running: `clvstream run` starts one.
        ");
    }

    #[test]
    fn the_summary_says_what_there_is_to_see_to() {
        let mut status = status(1);
        assert_eq!(
            summary(&status),
            "2 instances, 2 tasks, 1 task has no owner, all are kept warm"
        );
        status.tasks[1].owner = status.tasks[0].owner.clone();
        status.is_stable = false;
        status.tasks[0].standbys.clear();
        assert_eq!(
            summary(&status),
            "2 instances, 2 tasks, the group is rebalancing, 1 task has fewer than 1 warm standby"
        );
        status.standby = 0;
        status.is_stable = true;
        assert_eq!(summary(&status), "2 instances, 2 tasks");
    }

    #[test]
    fn json_for_machines() {
        insta::assert_snapshot!(format!("{:#}", as_json(&status(2))), @r#"
        {
          "application": "shop",
          "instances": [
            "pod-0",
            "pod-1"
          ],
          "rebalancing": false,
          "standby": 2,
          "tasks": [
            {
              "owner": {
                "host": "10.0.0.7",
                "instance": "pod-0",
                "worker": 1
              },
              "standbys": [
                {
                  "age_seconds": 2.9,
                  "behind": 3,
                  "instance": "pod-1",
                  "warm": true
                }
              ],
              "task": 0,
              "waiting": 12345
            },
            {
              "owner": null,
              "standbys": [
                {
                  "age_seconds": 0.1,
                  "behind": 0,
                  "instance": "pod-0",
                  "warm": true
                },
                {
                  "age_seconds": 0.5,
                  "behind": 1200000,
                  "instance": "pod-1",
                  "warm": false
                }
              ],
              "task": 1,
              "waiting": 0
            }
          ]
        }
        "#);
    }
}
