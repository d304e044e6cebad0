//! `clvstream model list` and `clvstream model show`: the models that were saved.

use std::io::Write;

use ::config::Loaded;
use engine::topics::Topics as Names;
use runtime::models::{Archive, Document, Holdout, Parameter, Scored};
use serde::Serialize;

use super::save::holdout_in_words;
use super::{ListArgs, ShowArgs};
use crate::error::CliError;
use crate::render::{grouped, table};
use crate::topic::Topics;

/// A model, and whether it is in force, for JSON.
#[derive(Serialize)]
struct Listed<'a> {
    in_force: bool,
    #[serde(flatten)]
    document: &'a Document,
}

/// What was saved; nothing is opened, recorded or consumed.
fn archive(loaded: &Loaded) -> Result<Archive, CliError> {
    let names = Names::of(&loaded.config.application_id);
    Ok(match Topics::open(&loaded.config)? {
        Topics::Embedded(log) => Archive::in_view(&log, &names)?,
        Topics::Kafka(cluster) => Archive::on(&cluster)?,
    })
}

fn none() -> CliError {
    CliError::failure("no model has been saved")
        .hint("`clvstream model fit --save` fits and saves one")
}

/// `clvstream model list`
pub(super) fn list(args: &ListArgs, loaded: &Loaded, out: &mut dyn Write) -> Result<(), CliError> {
    let archive = archive(loaded)?;
    let in_force = archive.in_force().map(|document| document.version);
    if args.json {
        let listed: Vec<_> = archive
            .all()
            .map(|document| Listed {
                in_force: Some(document.version) == in_force,
                document,
            })
            .collect();
        serde_json::to_writer_pretty(&mut *out, &listed)?;
        return Ok(writeln!(out)?);
    }
    let rows: Vec<_> = archive
        .all()
        .map(|document| row(document, Some(document.version) == in_force))
        .collect();
    if rows.is_empty() {
        return Err(none());
    }
    let headers = [
        "version",
        "saved",
        "orders",
        "spend",
        "data until",
        "customers",
        "MAE orders",
        "MAE revenue",
        "promoted",
        "",
    ];
    Ok(writeln!(out, "{}", table(&headers, rows))?)
}

fn row(document: &Document, in_force: bool) -> Vec<String> {
    let learned = &document.learned;
    let scores = learned.holdout.as_ref().map(|h| &h.scores);
    let or_none = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
    let promoted = document.promoted_at.map(|at| at.to_string());
    vec![
        document.version.to_string(),
        document.created_at.to_string(),
        learned.order_model().name().to_owned(),
        if learned.spend.is_some() {
            "Gamma-Gamma"
        } else {
            "-"
        }
        .to_owned(),
        learned.data.until.to_string(),
        grouped(learned.orders.customers),
        or_none(scores.map(|s| s.orders.mae)),
        or_none(scores.and_then(|s| s.revenue.as_ref()).map(|r| r.mae)),
        promoted.unwrap_or_else(|| "-".to_owned()),
        if in_force { "in force" } else { "" }.to_owned(),
    ]
}

/// `clvstream model show`
pub(super) fn show(args: &ShowArgs, loaded: &Loaded, out: &mut dyn Write) -> Result<(), CliError> {
    let archive = archive(loaded)?;
    let document = match args.version {
        Some(version) => archive.get(version).ok_or_else(|| unknown(version))?,
        None => archive
            .in_force()
            .or_else(|| archive.newest())
            .ok_or_else(none)?,
    };
    if args.json {
        serde_json::to_writer_pretty(&mut *out, document)?;
        return Ok(writeln!(out)?);
    }
    let in_force = archive
        .in_force()
        .is_some_and(|d| d.version == document.version);
    render(document, in_force, out)
}

/// There is no such version.
pub(super) fn unknown(version: u32) -> CliError {
    CliError::failure(format!("there is no version {version}"))
        .hint("`clvstream model list` lists those that there are")
}

fn render(document: &Document, in_force: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let learned = &document.learned;
    let state = if in_force { ", in force" } else { "" };
    writeln!(
        out,
        "version {}{state}, saved {}",
        document.version, document.created_at
    )?;
    if let Some(at) = document.promoted_at {
        writeln!(out, "promoted {at}")?;
    }
    if let Some(note) = &document.note {
        writeln!(out, "{note}")?;
    }
    writeln!(
        out,
        "orders from {} to {}, of {} customers in {} cells; times in days, amounts in {}\n",
        learned.data.first,
        learned.data.until,
        grouped(learned.orders.customers),
        grouped(learned.orders.cells as u64),
        learned.currency
    )?;
    writeln!(out, "{}", parameters(document))?;
    let of_spend = learned.spend.iter().flat_map(|spend| &spend.boundaries);
    for boundary in learned.orders.boundaries.iter().chain(of_spend) {
        writeln!(out, "{boundary}")?;
    }
    if let Some(why) = &learned.spend_refused {
        writeln!(out, "no model of spend: {why}")?;
    }
    match (&learned.holdout, &learned.holdout_refused) {
        (Some(holdout), _) => scores(holdout, document.version, out),
        (None, Some(why)) => Ok(writeln!(out, "\nno holdout: {why}")?),
        (None, None) => Ok(()),
    }
}

fn parameters(document: &Document) -> impl std::fmt::Display {
    let learned = &document.learned;
    let of_orders = learned.orders.parameters;
    let family = learned.order_model().name();
    let likelihood = learned.orders.ln_likelihood;
    let mut rows = Vec::new();
    let mut add = |model: &str, likelihood: f64, all: &[(&str, Parameter)]| {
        for (i, (name, parameter)) in all.iter().enumerate() {
            let once = |text: String| if i == 0 { text } else { String::new() };
            let error = parameter.standard_error;
            rows.push(vec![
                once(model.to_owned()),
                (*name).to_owned(),
                format!("{:.6}", parameter.value),
                error.map_or_else(|| "-".to_owned(), |e| format!("{e:.6}")),
                once(format!("{likelihood:.4}")),
            ]);
        }
    };
    let all = [
        ("r", of_orders.r),
        ("alpha", of_orders.alpha),
        ("a", of_orders.a),
        ("b", of_orders.b),
    ];
    add(family, likelihood, &all);
    if let Some(spend) = &learned.spend {
        let of_spend = spend.parameters;
        let all = [("p", of_spend.p), ("q", of_spend.q), ("v", of_spend.v)];
        add("Gamma-Gamma", spend.ln_likelihood, &all);
    }
    table(
        &["model", "parameter", "value", "error", "log-likelihood"],
        rows,
    )
}

fn scores(holdout: &Holdout, version: u32, out: &mut dyn Write) -> Result<(), CliError> {
    let mut rows = Vec::new();
    let mut add = |who: String, scored: &Scored| {
        let of = [
            ("orders", Some(&scored.orders)),
            ("revenue", scored.revenue.as_ref()),
        ];
        for (what, scores) in of.into_iter().filter_map(|(what, s)| Some((what, s?))) {
            let or_none = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
            rows.push(vec![
                who.clone(),
                what.to_owned(),
                format!("{:.1}", scores.predicted),
                format!("{:.1}", scores.actual),
                format!("{:.4}", scores.mae),
                format!("{:.4}", scores.rmse),
                or_none(scores.correlation),
                or_none(scores.gini),
            ]);
        }
    };
    add(format!("version {version}"), &holdout.scores);
    if let Some(other) = &holdout.in_force {
        add(format!("version {}", other.version), &other.scores);
    }
    let headers = [
        "",
        "",
        "predicted",
        "actual",
        "MAE",
        "RMSE",
        "correlation",
        "Gini",
    ];
    writeln!(out, "\n{}", holdout_in_words(holdout))?;
    Ok(writeln!(out, "{}", table(&headers, rows))?)
}
