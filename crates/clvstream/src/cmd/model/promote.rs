//! `clvstream model promote`: a model that was saved is put into force.

use std::io::Write;
use std::sync::Arc;

use ::config::Loaded;
use runtime::Deployment;
use runtime::models::{Document, Histories, Recipe, Scribe, Verdict, days, hold_out};

use super::PromoteArgs;
use super::history::of_deployment;
use super::kept::unknown;
use crate::error::{CliError, Exit};
use crate::session;

/// `clvstream model promote`
pub(super) fn run(
    args: &PromoteArgs,
    loaded: &Loaded,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let deployment = session::open(loaded, None)?;
    let mut scribe = Scribe::new(&deployment, Arc::new(|| false))?;
    let document = scribe.archive.get(args.version).cloned();
    let mut document = document.ok_or_else(|| unknown(args.version))?;
    let in_force = scribe.archive.in_force().cloned();
    if in_force.as_ref().is_some_and(|d| d.version == args.version) {
        return tell(
            &document,
            &format!("version {} is in force already", args.version),
            args,
            out,
        );
    }
    let mut verdict = Verdict::on(&document, in_force.as_ref());
    if let (Verdict::Unknown, Some(in_force)) = (&verdict, &in_force)
        && !args.force
    {
        compare(&deployment, &mut document, in_force)?;
        verdict = Verdict::on(&document, Some(in_force));
    }
    if verdict.forbids() && !args.force {
        let what = format!("version {} is not promoted: {verdict}", args.version);
        let hint = match verdict {
            Verdict::Older { .. } => {
                "--force saves it once more, as the next version, and promotes that"
            }
            _ => "--force promotes it all the same",
        };
        return Err(CliError::new(Exit::DataProblems, what).hint(hint));
    }
    let promoted = scribe.promote(document)?;
    let said = format!("version {} is in force: {verdict}", promoted.version);
    tell(&promoted, &said, args, out)
}

/// Evaluates a model of the document's kind and the one in force on the document's holdout: what was saved beside it is of
/// another version.
fn compare(
    deployment: &Deployment,
    document: &mut Document,
    in_force: &Document,
) -> Result<(), CliError> {
    let books = of_deployment(deployment)?;
    let learned = &mut document.learned;
    let held_out = learned.holdout.as_ref().map(|h| h.end.0 - h.until.0);
    let recipe = Recipe {
        family: learned.family,
        options: learned.asked.into(),
    };
    let held_out = held_out.or(deployment.config.model.holdout.map(days));
    let histories = Histories::of(&books, learned.data, held_out);
    match hold_out(&histories, &recipe, Some(in_force)) {
        Ok(holdout) => learned.holdout = Some(holdout),
        Err(why) => tracing::warn!(why, "the model cannot be held against the one in force"),
    }
    Ok(())
}

fn tell(
    document: &Document,
    said: &str,
    args: &PromoteArgs,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    if args.json {
        serde_json::to_writer_pretty(&mut *out, document)?;
        return Ok(writeln!(out)?);
    }
    Ok(writeln!(out, "{said}")?)
}
