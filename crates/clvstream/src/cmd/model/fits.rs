//! `clvstream model fit`: fits of all models to one history, and how they are told.

use std::io::Write;
use std::path::Path;

use ::config::Loaded;
use clv::fit::{FitError, Fitted};
use domain::purchases::Statistics;
use domain::time::Day;
use runtime::models::{Document, Fits};
use serde::Serialize;

use super::history::Books;
use super::{FitArgs, Orders, save};
use crate::cmd::export::{ExportFormat, Target, to_target};
use crate::error::CliError;
use crate::render::{grouped, table};

/// A fit, for JSON.
#[derive(Serialize)]
pub(super) struct Told {
    model: &'static str,
    #[serde(flatten)]
    what: What,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What {
    Fitted {
        customers: u64,
        cells: usize,
        ln_likelihood: f64,
        parameters: Vec<Parameter>,
        /// Limits in which the optimum lies, in words.
        boundaries: Vec<&'static str>,
        starts: usize,
        agreeing: usize,
    },
    Refused {
        refused: String,
    },
}

#[derive(Serialize)]
struct Parameter {
    name: &'static str,
    value: f64,
    standard_error: Option<f64>,
}

fn told<M>(model: &'static str, fit: &Result<Fitted<M>, FitError>) -> Told {
    let what = match fit {
        Ok(fitted) => What::Fitted {
            customers: fitted.customers,
            cells: fitted.cells,
            ln_likelihood: fitted.ln_likelihood,
            parameters: fitted
                .estimates
                .iter()
                .map(|e| Parameter {
                    name: e.name,
                    value: e.value,
                    standard_error: e.standard_error(),
                })
                .collect(),
            boundaries: fitted.boundaries.iter().map(|b| b.meaning()).collect(),
            starts: fitted.starts,
            agreeing: fitted.agreeing,
        },
        Err(error) => What::Refused {
            refused: error.to_string(),
        },
    };
    Told { model, what }
}

/// All fits, for JSON.
pub(super) fn all(fits: &Fits) -> Vec<Told> {
    let mut all: Vec<Told> = fits
        .orders
        .iter()
        .map(|(name, fit)| told(name, fit))
        .collect();
    all.push(told("Gamma-Gamma", &fits.spend));
    all
}

/// All fits as a table; what was refused, and what lies on a boundary, below it.
pub(super) fn render(fits: &Fits, out: &mut dyn Write) -> Result<(), CliError> {
    let all = all(fits);
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    for Told { model, what } in &all {
        match what {
            What::Fitted {
                customers,
                cells,
                ln_likelihood,
                parameters,
                boundaries,
                starts,
                agreeing,
            } => {
                for (i, parameter) in parameters.iter().enumerate() {
                    let once = |text: String| if i == 0 { text } else { String::new() };
                    let error = parameter.standard_error;
                    rows.push(vec![
                        once((*model).to_owned()),
                        parameter.name.to_owned(),
                        format!("{:.6}", parameter.value),
                        error.map_or_else(|| "-".to_owned(), |e| format!("{e:.6}")),
                        once(format!("{ln_likelihood:.4}")),
                        once(grouped(*customers)),
                        once(grouped(*cells as u64)),
                    ]);
                }
                notes.extend(boundaries.iter().map(|b| format!("{model}: {b}")));
                if agreeing < starts {
                    notes.push(format!(
                        "{model}: {agreeing} of {starts} searches came to this optimum"
                    ));
                }
            }
            What::Refused { refused } => notes.push(format!("{model}: {refused}")),
        }
    }
    let headers = [
        "model",
        "parameter",
        "value",
        "error",
        "log-likelihood",
        "customers",
        "cells",
    ];
    if !rows.is_empty() {
        writeln!(out, "{}", table(&headers, rows))?;
    }
    for note in notes {
        writeln!(out, "{note}")?;
    }
    Ok(())
}

/// A report of a fit.
#[derive(Serialize)]
struct Report {
    as_of: String,
    currency: String,
    /// Of files; what a deployment rejected is in its dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<u64>,
    fits: Vec<Told>,
    #[serde(skip_serializing_if = "Option::is_none")]
    saved: Option<Document>,
}

/// `clvstream model fit`
pub(super) fn run(args: &FitArgs, loaded: &Loaded, out: &mut dyn Write) -> Result<(), CliError> {
    let Orders { json, .. } = args.orders;
    let books = Books::read(&args.orders, loaded)?;
    let day = args.as_of.map_or(books.last, |at| at.day());
    if let Some(file) = &args.histories {
        write_histories(&books, day, file, out)?;
    }
    let customers: Vec<Statistics> = books.all.statistics(day).map(|(_, s)| s).collect();
    let fits = Fits::of(
        &customers,
        day,
        books.minor_per_unit(),
        &args.orders.options(),
    );
    let saved = match args.save.save {
        true => Some(save::save(args, &books, day)?),
        false => None,
    };
    if json {
        let report = Report {
            as_of: day.to_string(),
            currency: books.currency().to_string(),
            rejected: books.rejected,
            fits: all(&fits),
            saved: saved.map(|(document, _)| document),
        };
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        writeln!(
            out,
            "{} customers as of {day}; times in days, amounts in {}",
            grouped(customers.len() as u64),
            books.currency()
        )?;
        tell_rejected(&books, out)?;
        writeln!(out)?;
        render(&fits, out)?;
        if let Some((document, verdict)) = &saved {
            save::tell(document, verdict, out)?;
        }
    }
    match fits.orders.iter().all(|(_, fit)| fit.is_err()) {
        true => Err(
            CliError::failure("no model of orders can be fitted to these customers")
                .hint("historic and formula value do without one"),
        ),
        false => Ok(()),
    }
}

/// What models take of each customer, in the order of ids.
fn write_histories(
    books: &Books,
    day: Day,
    file: &Path,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let target = Target {
        format: ExportFormat::Csv,
        output: Some(file.to_owned()),
    };
    to_target(&target, out, |writer| {
        for (customer, statistics) in books.all.statistics(day) {
            let Statistics {
                repeats,
                first,
                last,
                spent,
            } = statistics;
            let row = [
                ("customer_id", customer.as_str().into()),
                ("repeats", repeats.into()),
                ("first", first.to_string().into()),
                ("last", last.to_string().into()),
                ("spent", books.currency().format(spent).into()),
            ];
            writer.write(row.map(|(name, value)| (name.to_owned(), value)).to_vec())?;
        }
        Ok(())
    })
}

pub(super) fn tell_rejected(books: &Books, out: &mut dyn Write) -> Result<(), CliError> {
    match books.rejected {
        None | Some(0) => Ok(()),
        Some(rejected) => Ok(writeln!(
            out,
            "{} rows were rejected: `clvstream mapping check` says why",
            grouped(rejected)
        )?),
    }
}
