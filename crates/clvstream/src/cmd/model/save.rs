//! `clvstream model fit --save`: a model is written down, with what came of one fitted without the last days.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use domain::prediction::Family;
use domain::time::Day;
use runtime::models::{Document, Histories, Holdout, Recipe, Scribe, Verdict, Window, days, learn};

use super::history::Books;
use super::{FamilyArg, FitArgs};
use crate::error::CliError;
use crate::render::grouped;

impl From<FamilyArg> for Family {
    fn from(family: FamilyArg) -> Family {
        match family {
            FamilyArg::MbgNbd => Family::MbgNbd,
            FamilyArg::BgNbd => Family::BgNbd,
        }
    }
}

/// Learns a model from the deployment's customers and writes it down; answers too what stands against its
/// promotion.
pub(super) fn save(
    args: &FitArgs,
    books: &Books,
    until: Day,
) -> Result<(Document, Verdict), CliError> {
    let Some(deployment) = &books.deployment else {
        return Err(CliError::usage(
            "a model of files has no deployment to be saved in",
        ));
    };
    let settings = &deployment.config.model;
    let recipe = Recipe {
        family: args.save.family.map_or(settings.family, Family::from),
        options: args.orders.options(),
    };
    let held_out = match args.save.holdout {
        Some(holdout) => Some(whole_days(holdout)?),
        None => settings.holdout.map(days),
    };
    let first = books.all.statistics(until).map(|(_, of)| of.first).min();
    let first = first.unwrap_or(until);
    let histories = Histories::of(&books.all, Window { first, until }, held_out);
    let mut scribe = Scribe::new(deployment, Arc::new(|| false))?;
    let learned = learn(&histories, &recipe, scribe.archive.in_force()).map_err(|why| {
        CliError::failure(format!("nothing was saved: {why}"))
            .hint("historic and formula value do without a model")
    })?;
    let document = scribe.draft(learned, args.save.note.clone());
    scribe.save(&document)?;
    let verdict = Verdict::on(&document, scribe.archive.in_force());
    Ok((document, verdict))
}

fn whole_days(holdout: Duration) -> Result<i32, CliError> {
    const DAY: u64 = 86_400;
    let days = days(holdout);
    if days < 1 || holdout != Duration::from_secs(u64::from(days.unsigned_abs()) * DAY) {
        return Err(CliError::usage("--holdout is not a number of whole days").hint("write 91d"));
    }
    Ok(days)
}

/// Says what was saved, and whether it may be promoted.
pub(super) fn tell(
    document: &Document,
    verdict: &Verdict,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let version = document.version;
    writeln!(
        out,
        "\nsaved as version {version} ({})",
        document.learned.order_model().name()
    )?;
    match &document.learned.holdout {
        Some(holdout) => writeln!(out, "{}", holdout_in_words(holdout))?,
        None => {
            let why = document.learned.holdout_refused.as_deref();
            writeln!(out, "no holdout: {}", why.unwrap_or("none was taken"))?;
        }
    }
    let (may, how) = match verdict.forbids() {
        false => ("may be promoted", ""),
        true => ("is not promoted unasked", " --force"),
    };
    writeln!(out, "it {may}: {verdict}")?;
    Ok(writeln!(
        out,
        "`clvstream model promote {version}{how}` puts it into force"
    )?)
}

/// Which days were held out, of how many customers.
pub(super) fn holdout_in_words(holdout: &Holdout) -> String {
    let Holdout {
        until,
        end,
        customers,
        ..
    } = holdout;
    format!(
        "holdout: {} days until {end}, of {} customers until {until}",
        end.0 - until.0,
        grouped(*customers as u64)
    )
}
