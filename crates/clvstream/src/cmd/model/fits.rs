//! `clvstream model fit`: fits of all models to one history, and how they are told.

use std::io::Write;
use std::path::Path;

use ::config::Loaded;
use clv::fit::{FitError, Fitted};
use domain::money::Currency;
use domain::purchases::Statistics;
use domain::time::Day;
use runtime::models::{Document, Fits, Verdict};
use serde::Serialize;

use super::history::{Books, Tables};
use super::{FitArgs, save};
use crate::cmd::export::{ExportFormat, Target, to_target};
use crate::error::CliError;
use crate::render::{grouped, table};

/// A fit, for JSON.
#[derive(Serialize)]
pub(super) struct Told {
    pub(super) model: &'static str,
    #[serde(flatten)]
    pub(super) what: What,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum What {
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
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) value: f64,
    pub(super) standard_error: Option<f64>,
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
    /// `files`, the deployment's `customers`, or the `histograms` that its tasks keep.
    taken_from: &'static str,
    currency: String,
    /// Of files; what a deployment rejected is in its dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<u64>,
    fits: Vec<Told>,
    #[serde(skip_serializing_if = "Option::is_none")]
    saved: Option<Document>,
}

/// Fits, and what they were made to.
struct Made {
    taken_from: &'static str,
    day: Day,
    customers: u64,
    currency: Currency,
    rejected: Option<u64>,
    fits: Fits,
    saved: Option<(Document, Verdict)>,
}

/// `clvstream model fit`
pub(super) fn run(args: &FitArgs, loaded: &Loaded, out: &mut dyn Write) -> Result<(), CliError> {
    // The tables have the present, of no customer by name, and no earlier day to hold out from.
    let of_customers = args.as_of.is_some() || args.histories.is_some() || args.save.save;
    let made = match args.orders.names_files() || of_customers {
        true => of_books(args, loaded, out)?,
        false => of_tables(args, loaded)?,
    };
    match args.orders.json {
        true => print_json(made, out),
        false => print(&made, out),
    }
}

/// Fits to all customers' books.
fn of_books(args: &FitArgs, loaded: &Loaded, out: &mut dyn Write) -> Result<Made, CliError> {
    let books = Books::read(&args.orders, loaded)?;
    let day = args.as_of.map_or(books.last, |at| at.day());
    if let Some(file) = &args.histories {
        write_histories(&books, day, file, out)?;
    }
    let customers: Vec<Statistics> = books.all.statistics(day).map(|(_, s)| s).collect();
    let options = args.orders.options();
    Ok(Made {
        taken_from: match books.deployment {
            Some(_) => "customers",
            None => "files",
        },
        day,
        customers: customers.len() as u64,
        currency: books.currency(),
        rejected: books.rejected,
        fits: Fits::of(&customers, day, books.minor_per_unit(), &options),
        saved: match args.save.save {
            true => Some(save::save(args, &books, day)?),
            false => None,
        },
    })
}

/// Fits to the histograms that the tasks keep.
fn of_tables(args: &FitArgs, loaded: &Loaded) -> Result<Made, CliError> {
    let tables = Tables::read(loaded)?;
    let (orders, spend) = (&tables.kept.orders, &tables.kept.spend);
    let unit = tables.minor_per_unit();
    let options = args.orders.options();
    Ok(Made {
        taken_from: "histograms",
        day: tables.last,
        customers: u64::try_from(orders.customers()).unwrap_or(0),
        currency: tables.currency,
        rejected: None,
        fits: Fits::of_histograms(orders, spend, tables.last, unit, &options),
        saved: None,
    })
}

fn print_json(made: Made, out: &mut dyn Write) -> Result<(), CliError> {
    let report = Report {
        as_of: made.day.to_string(),
        taken_from: made.taken_from,
        currency: made.currency.to_string(),
        rejected: made.rejected,
        fits: all(&made.fits),
        saved: made.saved.map(|(document, _)| document),
    };
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)?;
    none_is_a_failure(&made.fits)
}

fn print(made: &Made, out: &mut dyn Write) -> Result<(), CliError> {
    writeln!(
        out,
        "{} customers as of {}; times in days, amounts in {}",
        grouped(made.customers),
        made.day,
        made.currency
    )?;
    tell_rejected(made.rejected, out)?;
    writeln!(out)?;
    render(&made.fits, out)?;
    if let Some((document, verdict)) = &made.saved {
        save::tell(document, verdict, out)?;
    }
    none_is_a_failure(&made.fits)
}

fn none_is_a_failure(fits: &Fits) -> Result<(), CliError> {
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

pub(super) fn tell_rejected(rejected: Option<u64>, out: &mut dyn Write) -> Result<(), CliError> {
    match rejected {
        None | Some(0) => Ok(()),
        Some(rejected) => Ok(writeln!(
            out,
            "{} rows were rejected: `clvstream mapping check` says why",
            grouped(rejected)
        )?),
    }
}
