//! Topics on Kafka, as tables and as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::Duration;

use config::units::{format_bytes, format_duration};
use kafkalog::topics::{
    AclState, Desired, Granted, Plan, PlannedTopic, Problem, Purpose, TopicAdmin, TopicsError,
    Usage,
};
use serde_json::{Value, json};

use super::{AclArgs, ApplyArgs, PlanArgs};
use crate::error::{CliError, Exit};
use crate::render::{grouped, table};

/// What a command works on.
pub(super) struct Target<'a> {
    pub(super) admin: &'a TopicAdmin,
    pub(super) desired: &'a Desired,
    /// Ids of the deployment's topics, by name.
    pub(super) recorded: &'a BTreeMap<String, String>,
}

/// Lists the application's topics.
pub(super) fn list(target: &Target<'_>, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let usage = target.admin.usage(target.desired).map_err(failure)?;
    if json {
        let listed: Vec<Value> = usage
            .iter()
            .map(|topic| {
                json!({
                    "topic": topic.name,
                    "purpose": topic.purpose.name(),
                    "partitions": topic.partitions,
                    "records": topic.records,
                    "cleanup": cleanup(topic),
                })
            })
            .collect();
        serde_json::to_writer_pretty(&mut *out, &listed)?;
        return Ok(writeln!(out)?);
    }
    let rows = usage
        .iter()
        .map(|topic| {
            vec![
                topic.name.clone(),
                topic.partitions.to_string(),
                grouped(topic.records),
                cleanup(topic),
            ]
        })
        .collect();
    let headers = ["topic", "partitions", "records", "cleanup"];
    Ok(writeln!(out, "{}", table(&headers, rows))?)
}

/// Shows what there is to do.
pub(super) fn plan(
    target: &Target<'_>,
    args: &PlanArgs,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let work = Work::of(target, &args.acls)?;
    match args.json {
        true => work.write_json(target, out)?,
        false => work.write(out)?,
    }
    work.check()?;
    if args.exit_code && !work.is_done() {
        return Err(CliError::new(Exit::DataProblems, work.summary()));
    }
    Ok(())
}

/// Does what there is to do.
pub(super) fn apply(
    target: &Target<'_>,
    args: &ApplyArgs,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let work = Work::of(target, &args.acls)?;
    if !args.json {
        work.write(out)?;
        out.flush()?;
    }
    work.check()?;
    target.admin.apply(&work.plan).map_err(failure)?;
    if let Some((principal, acls)) = &work.acls {
        let open = acls.iter().filter(|state| state.granted != Granted::Yes);
        let granted = target.admin.grant(principal, open.map(|state| &state.acl));
        granted.map_err(failure)?;
    }
    match args.json {
        true => work.write_json(target, out),
        false if work.is_done() => Ok(()),
        false => Ok(writeln!(out, "Done.")?),
    }
}

/// What there is to do, and for whom.
struct Work {
    plan: Plan,
    /// The principal, and what it needs.
    acls: Option<(String, Vec<AclState>)>,
}

impl Work {
    fn of(target: &Target<'_>, args: &AclArgs) -> Result<Work, CliError> {
        let admin = target.admin;
        let plan = admin.plan(target.desired, target.recorded);
        let plan = plan.map_err(failure)?;
        let acls = match &args.principal {
            Some(principal) if args.acls => {
                let states = admin.acls(target.desired, principal).map_err(failure)?;
                Some((principal.clone(), states))
            }
            _ => None,
        };
        Ok(Work { plan, acls })
    }

    fn is_done(&self) -> bool {
        let acls = self.acls.iter().flat_map(|(_, acls)| acls);
        self.plan.is_done() && acls.filter(|state| is_open(state)).count() == 0
    }

    /// Fails if there is anything that has to be put right by hand first.
    fn check(&self) -> Result<(), CliError> {
        let is_fatal = |topic: &&PlannedTopic| topic.problems.iter().any(Problem::is_fatal);
        let message = match self.plan.topics.iter().filter(is_fatal).count() {
            0 => return Ok(()),
            1 => "a topic cannot be used as it is".to_owned(),
            n => format!("{n} topics cannot be used as they are"),
        };
        let advice: BTreeSet<&str> = self.plan.fatal().map(|(_, p)| p.advice()).collect();
        let advice: Vec<&str> = advice.into_iter().collect();
        Err(CliError::failure(message).hint(advice.join("; ")))
    }

    fn summary(&self) -> String {
        if self.is_done() {
            return "nothing to do".to_owned();
        }
        let problems = self.plan.topics.iter().map(|topic| topic.problems.len());
        let acls = self.acls.iter().flat_map(|(_, acls)| acls);
        let acls = acls.filter(|state| is_open(state));
        let counts = [
            (self.plan.created().count(), "to create"),
            (self.plan.changed().count(), "to change"),
            (problems.sum(), "to be put right by hand"),
            (acls.count(), "access rules to add"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts.map(|(n, what)| format!("{n} {what}")).collect();
        counts.join(", ")
    }

    fn write(&self, out: &mut dyn Write) -> Result<(), CliError> {
        let rows = self.plan.topics.iter().flat_map(rows).collect();
        let headers = ["topic", "partitions", "replicas", "to do"];
        writeln!(out, "{}", table(&headers, rows))?;
        if let Some((principal, acls)) = &self.acls {
            let rows = acls.iter().map(acl_row).collect();
            let headers = ["resource", "pattern", "name", "operation", "granted"];
            writeln!(out, "\n{principal}\n{}", table(&headers, rows))?;
        }
        writeln!(out, "\n{}", sentence(&self.summary()))?;
        // What is fatal ends the command, with its advice as the hint.
        let problems = self.plan.topics.iter().flat_map(|topic| &topic.problems);
        let advice = problems.filter(|p| !p.is_fatal()).map(Problem::advice);
        for advice in advice.collect::<BTreeSet<_>>() {
            writeln!(out, "{}", sentence(advice))?;
        }
        Ok(())
    }

    fn write_json(&self, target: &Target<'_>, out: &mut dyn Write) -> Result<(), CliError> {
        let topics: Vec<Value> = self.plan.topics.iter().map(topic_json).collect();
        let mut work = json!({
            "cluster": target.admin.id(),
            "nothing_to_do": self.is_done(),
            "topics": topics,
        });
        if let Some((principal, acls)) = &self.acls {
            work["principal"] = json!(principal);
            work["acls"] = acls.iter().map(acl_json).collect();
        }
        serde_json::to_writer_pretty(&mut *out, &work)?;
        Ok(writeln!(out)?)
    }
}

/// Whether the rule is to be added. Without an authorizer there is nothing to add it to.
fn is_open(state: &AclState) -> bool {
    matches!(state.granted, Granted::No | Granted::Hidden)
}

/// The topic, with one line for each thing to do.
fn rows(topic: &PlannedTopic) -> Vec<Vec<String>> {
    let mut todo: Vec<String> = Vec::new();
    if topic.is_created() {
        todo.push("create".to_owned());
    }
    let changes = topic.changes.iter();
    todo.extend(changes.map(|c| format!("{}: {} → {}", c.setting, c.from, c.to)));
    todo.extend(topic.problems.iter().map(Problem::to_string));
    if todo.is_empty() {
        todo.push(match topic.spec.purpose {
            Purpose::Foreign => "none; it belongs to others".to_owned(),
            _ => "none".to_owned(),
        });
    }
    let (partitions, replicas) = counts(topic);
    let first = [topic.spec.name.clone(), partitions, replicas];
    let blank = || [String::new(), String::new(), String::new()];
    let lines = todo.into_iter().enumerate().map(|(line, todo)| {
        let columns = if line == 0 { first.clone() } else { blank() };
        columns.into_iter().chain([todo]).collect()
    });
    lines.collect()
}

/// Partitions and replicas as they are, or will be.
fn counts(topic: &PlannedTopic) -> (String, String) {
    match &topic.actual {
        Some(actual) => (
            actual.partitions.to_string(),
            actual.replication.to_string(),
        ),
        None if topic.is_created() => (
            topic.spec.partitions.to_string(),
            topic.spec.replication.to_string(),
        ),
        None => ("-".to_owned(), "-".to_owned()),
    }
}

fn topic_json(topic: &PlannedTopic) -> Value {
    let changes: Vec<Value> = topic
        .changes
        .iter()
        .map(|c| json!({ "setting": c.setting, "from": c.from, "to": c.to }))
        .collect();
    let problems: Vec<Value> = topic
        .problems
        .iter()
        .map(|problem| json!({ "message": problem.to_string(), "fatal": problem.is_fatal() }))
        .collect();
    let settings: BTreeMap<&str, &str> = topic
        .spec
        .settings
        .iter()
        .map(|setting| (setting.name, setting.value.as_str()))
        .collect();
    json!({
        "topic": topic.spec.name,
        "purpose": topic.spec.purpose.name(),
        "create": topic.is_created(),
        "changes": changes,
        "problems": problems,
        "wanted": {
            "partitions": topic.spec.partitions,
            "replicas": topic.spec.replication,
            "settings": settings,
        },
        "actual": topic.actual.as_ref().map(|actual| json!({
            "id": actual.id,
            "partitions": actual.partitions,
            "replicas": actual.replication,
        })),
    })
}

fn acl_row(state: &AclState) -> Vec<String> {
    let acl = &state.acl;
    vec![
        acl.resource.to_string(),
        acl.pattern.to_string(),
        acl.name.clone(),
        acl.operation.to_string(),
        granted(state.granted).to_owned(),
    ]
}

fn acl_json(state: &AclState) -> Value {
    let acl = &state.acl;
    json!({
        "resource": acl.resource.to_string(),
        "pattern": acl.pattern.to_string(),
        "name": acl.name,
        "operation": acl.operation.to_string(),
        "granted": granted(state.granted),
    })
}

fn granted(granted: Granted) -> &'static str {
    match granted {
        Granted::Yes => "yes",
        Granted::No => "no",
        Granted::Hidden => "may not be seen",
        Granted::NoAuthorizer => "not enforced",
    }
}

/// When records go.
fn cleanup(topic: &Usage) -> String {
    let Some(settings) = &topic.settings else {
        return "may not be seen".to_owned();
    };
    let policy = settings.get("cleanup.policy").map_or("", String::as_str);
    let limit = |name: &str| settings.get(name)?.parse::<u64>().ok();
    let time = limit("retention.ms")
        .map(|ms| format!("after {}", format_duration(Duration::from_millis(ms))));
    let size =
        limit("retention.bytes").map(|bytes| format!("beyond {} a partition", format_bytes(bytes)));
    let limits: Vec<String> = time.into_iter().chain(size).collect();
    let deleted = match limits.is_empty() {
        true => "kept".to_owned(),
        false => format!("deleted {}", limits.join(", ")),
    };
    match (policy.contains("compact"), policy.contains("delete")) {
        (true, false) => "compacted".to_owned(),
        (true, true) => format!("compacted, {deleted}"),
        (false, _) => deleted,
    }
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(['.']).collect()
}

fn failure(error: TopicsError) -> CliError {
    CliError::failure(error)
}
