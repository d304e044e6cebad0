//! `clvstream model evaluate`: all models and the formula, held against what came after a day.

use std::io::Write;

use ::config::Loaded;
use clv::evaluate::{Decile, Evaluation, OfFrequency, by_frequency, evaluate};
use clv::history::History;
use clv::value::carried_forward;
use domain::purchases::Statistics;
use domain::time::Day;
use runtime::models::{self, Customer, Fits, Predicted, predicted_by};
use serde::{Serialize, Serializer};

use super::fits::{self, Told};
use super::history::Books;
use super::{EvaluateArgs, Orders};
use crate::error::CliError;
use crate::render::{grouped, table};

/// Repeat orders from which on customers are counted together.
const MOST: u32 = 7;

/// How good one was.
#[derive(Serialize)]
pub(super) struct Scored {
    pub(super) by: &'static str,
    #[serde(serialize_with = "evaluation")]
    pub(super) orders: Evaluation,
    #[serde(serialize_with = "optional_evaluation")]
    pub(super) revenue: Option<Evaluation>,
    pub(super) by_frequency: Vec<Row>,
}

/// An evaluation, for JSON.
#[derive(Serialize)]
struct Scores {
    #[serde(flatten)]
    of_all: models::Scores,
    deciles: Vec<Tenth>,
}

#[derive(Serialize)]
struct Tenth {
    customers: usize,
    predicted: f64,
    actual: f64,
    lift: f64,
}

/// Orders of customers with one number of repeat orders.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) repeats: String,
    pub(super) customers: usize,
    pub(super) predicted: f64,
    pub(super) actual: f64,
}

#[derive(Serialize)]
struct Report {
    until: String,
    holdout_until: String,
    days: i32,
    customers: usize,
    currency: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<u64>,
    fits: Vec<Told>,
    scores: Vec<Scored>,
}

/// All predictions, and how good they were.
pub(super) struct Evaluated {
    /// Last day that the models were fitted to.
    pub(super) until: Day,
    /// Last day that was predicted.
    pub(super) end: Day,
    pub(super) customers: Vec<Customer>,
    pub(super) fits: Fits,
    pub(super) predicted: Vec<Predicted>,
    pub(super) scores: Vec<Scored>,
}

impl Evaluated {
    /// Fits to the orders until the day that is named, and holds predictions against those after it.
    pub(super) fn of(books: &Books, args: &EvaluateArgs) -> Result<Evaluated, CliError> {
        let until = args.until.day();
        let end = args.holdout_until.map_or(books.last, |at| at.day());
        if end <= until {
            return Err(CliError::usage(format!(
                "there is nothing to hold predictions against: the holdout ends on {end}, and fits take in orders until {until}"
            ))
            .hint("--until names a day before the last orders, --holdout-until a later one"));
        }
        let customers = models::customers(&books.all, until, end);
        if customers.is_empty() {
            return Err(CliError::failure(format!("nobody had ordered by {until}")));
        }
        let statistics: Vec<Statistics> = customers.iter().map(|c| c.statistics).collect();
        let unit = books.minor_per_unit();
        let fits = Fits::of(&statistics, until, unit, &args.orders.options());
        let days = f64::from(end.0 - until.0);
        let predicted = predictions(&fits, &customers, until, days, unit);
        let scores = scores(&predicted, &customers);
        Ok(Evaluated {
            until,
            end,
            customers,
            fits,
            predicted,
            scores,
        })
    }

    /// Days that were predicted.
    pub(super) fn days(&self) -> i32 {
        self.end.0 - self.until.0
    }
}

/// `clvstream model evaluate`
pub(super) fn run(
    args: &EvaluateArgs,
    loaded: &Loaded,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let Orders { json, .. } = args.orders;
    let books = Books::read(&args.orders, loaded)?;
    let evaluated = Evaluated::of(&books, args)?;
    if json {
        return print_json(evaluated, &books, out);
    }
    writeln!(
        out,
        "{} customers until {}, held against the {} days until {}; times in days, amounts in {}",
        grouped(evaluated.customers.len() as u64),
        evaluated.until,
        evaluated.days(),
        evaluated.end,
        books.currency()
    )?;
    fits::tell_rejected(books.rejected, out)?;
    writeln!(out)?;
    fits::render(&evaluated.fits, out)?;
    render(&evaluated.scores, out)
}

pub(super) fn print_json(
    evaluated: Evaluated,
    books: &Books,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let report = Report {
        until: evaluated.until.to_string(),
        holdout_until: evaluated.end.to_string(),
        days: evaluated.days(),
        customers: evaluated.customers.len(),
        currency: books.currency().to_string(),
        rejected: books.rejected,
        fits: fits::all(&evaluated.fits),
        scores: evaluated.scores,
    };
    serde_json::to_writer_pretty(&mut *out, &report)?;
    Ok(writeln!(out)?)
}

/// The formula, and each model that could be fitted.
fn predictions(
    fits: &Fits,
    customers: &[Customer],
    until: Day,
    days: f64,
    unit: f64,
) -> Vec<Predicted> {
    let history = |c: &Customer| History::of(&c.statistics, f64::from(until.0));
    // Of a customer of that very day there is no time to carry forward.
    let forward = |of: &dyn Fn(&Customer) -> f64| -> Vec<f64> {
        let one = |c| carried_forward(of(c), &history(c), days).unwrap_or(0.0);
        customers.iter().map(one).collect()
    };
    let mut all = vec![Predicted {
        by: "formula",
        orders: forward(&|c| f64::from(c.statistics.repeats) + 1.0),
        revenue: Some(forward(&|c| c.spent_in_all)),
    }];
    let spend = fits.spend.as_ref().ok().map(|fitted| &fitted.model);
    for fitted in fits.orders.iter().filter_map(|(_, fit)| fit.as_ref().ok()) {
        all.push(predicted_by(
            &fitted.model,
            spend,
            customers,
            until,
            days,
            unit,
        ));
    }
    all
}

fn scores(predicted: &[Predicted], customers: &[Customer]) -> Vec<Scored> {
    let repeats: Vec<u32> = customers.iter().map(|c| c.statistics.repeats).collect();
    let orders: Vec<f64> = customers.iter().map(|c| c.orders).collect();
    let revenue: Vec<f64> = customers.iter().map(|c| c.revenue).collect();
    predicted
        .iter()
        .filter_map(|p| {
            Some(Scored {
                by: p.by,
                orders: evaluate(&p.orders, &orders)?,
                revenue: match &p.revenue {
                    Some(predicted) => Some(evaluate(predicted, &revenue)?),
                    None => None,
                },
                by_frequency: by_frequency(&repeats, &p.orders, &orders, MOST)
                    .into_iter()
                    .map(Row::from)
                    .collect(),
            })
        })
        .collect()
}

impl From<&Evaluation> for Scores {
    fn from(of: &Evaluation) -> Scores {
        let tenth = |d: &Decile| Tenth {
            customers: d.customers,
            predicted: d.predicted,
            actual: d.actual,
            lift: d.lift,
        };
        Scores {
            of_all: of.into(),
            deciles: of.deciles.iter().map(tenth).collect(),
        }
    }
}

fn evaluation<S: Serializer>(of: &Evaluation, to: S) -> Result<S::Ok, S::Error> {
    Scores::from(of).serialize(to)
}

fn optional_evaluation<S: Serializer>(of: &Option<Evaluation>, to: S) -> Result<S::Ok, S::Error> {
    of.as_ref().map(Scores::from).serialize(to)
}

impl From<OfFrequency> for Row {
    fn from(of: OfFrequency) -> Row {
        Row {
            repeats: format!("{}{}", of.repeats, if of.and_more { "+" } else { "" }),
            customers: of.customers,
            predicted: of.predicted,
            actual: of.actual,
        }
    }
}

fn render(scores: &[Scored], out: &mut dyn Write) -> Result<(), CliError> {
    let headers = [
        "",
        "predicted",
        "actual",
        "ratio",
        "MAE",
        "RMSE",
        "correlation",
        "Gini",
        "top tenth",
    ];
    let line = |by: &str, s: &Evaluation| {
        let or_none = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"));
        vec![
            by.to_owned(),
            format!("{:.1}", s.predicted),
            format!("{:.1}", s.actual),
            or_none(s.total_ratio()),
            format!("{:.3}", s.mae),
            format!("{:.3}", s.rmse),
            or_none(s.correlation),
            or_none(s.gini),
            format!("{:.2}", s.deciles[0].lift),
        ]
    };
    let orders = scores.iter().map(|s| line(s.by, &s.orders)).collect();
    writeln!(out, "\nOrders (days with one)\n{}", table(&headers, orders))?;
    let revenue = scores
        .iter()
        .filter_map(|s| Some(line(s.by, s.revenue.as_ref()?)))
        .collect();
    writeln!(out, "\nRevenue\n{}", table(&headers, revenue))?;
    render_frequencies(scores, out)
}

/// Mean orders by repeat orders so far, one column a prediction.
fn render_frequencies(scores: &[Scored], out: &mut dyn Write) -> Result<(), CliError> {
    let mut headers = vec!["repeats", "customers", "actual"];
    headers.extend(scores.iter().map(|s| s.by));
    let Some(first) = scores.first() else {
        return Ok(());
    };
    let rows = first.by_frequency.iter().enumerate().map(|(i, row)| {
        let mut cells = vec![
            row.repeats.clone(),
            grouped(row.customers as u64),
            format!("{:.3}", row.actual),
        ];
        let of = |s: &Scored| s.by_frequency.get(i).map_or(0.0, |r| r.predicted);
        cells.extend(scores.iter().map(|s| format!("{:.3}", of(s))));
        cells
    });
    let rows = rows.collect();
    Ok(writeln!(
        out,
        "\nMean orders by repeat orders until then\n{}",
        table(&headers, rows)
    )?)
}
