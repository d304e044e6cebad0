//! `clvstream model report`: fits and evaluation with their plots on one HTML page.
//!
//! The page is a function of orders, configuration and arguments: the same ones give the same bytes. A figure that has
//! nothing to show says why in its place.

mod axis;
mod calibration;
mod figure;
mod frequency;
mod page;
mod tracking;
mod value;

use std::io::Write;
use std::path::Path;

use ::config::Loaded;
use runtime::models::{Fits, Predicted};

use self::figure::Figure;
use self::page::Page;
use super::evaluate::{Evaluated, Scored, print_json};
use super::history::Books;
use super::{Orders, ReportArgs};
use crate::error::CliError;
use crate::render::grouped;

/// The model that serves unless told otherwise.
const DEFAULT: &str = "MBG/NBD";

/// What a model of orders and the one of spend expect of every customer.
struct Valued<'a> {
    /// Both models.
    by: String,
    /// In the currency, customer by customer.
    predicted: &'a [f64],
}

/// `clvstream model report`
pub(super) fn run(args: &ReportArgs, loaded: &Loaded, out: &mut dyn Write) -> Result<(), CliError> {
    let path = &args.out;
    if path.exists() && !args.force {
        return Err(
            CliError::failure(format!("{} exists already", path.display()))
                .hint("--force replaces it"),
        );
    }
    let books = Books::read(&args.evaluate.orders, loaded)?;
    let evaluated = Evaluated::of(&books, &args.evaluate)?;
    let figures = figures(&books, &evaluated);
    let drawn = figures.iter().filter(|figure| figure.plot.is_ok()).count();
    let page = Page {
        source: source(&args.evaluate.orders, loaded),
        options: args.evaluate.orders.options(),
        currency: books.currency().to_string(),
        rejected: books.rejected.unwrap_or(0),
        evaluated: &evaluated,
        default: valued(&evaluated).map_or(DEFAULT, |(_, scored)| scored.by),
        figures: &figures,
    };
    write(path, &page.html()?)?;
    if args.evaluate.orders.json {
        return print_json(evaluated, &books, out);
    }
    Ok(writeln!(
        out,
        "wrote {}: {} customers, {drawn} plots",
        path.display(),
        grouped(evaluated.customers.len() as u64)
    )?)
}

fn figures(books: &Books, evaluated: &Evaluated) -> Vec<Figure> {
    let currency = books.currency().to_string();
    let mut figures = Vec::from(tracking::figures(books, evaluated));
    figures.push(frequency::figure(evaluated));
    match valued(evaluated) {
        Some((valued, scored)) => {
            figures.push(value::distribution(&valued, &currency));
            figures.push(value::concentration(&valued, evaluated));
            let scores = scored.revenue.as_ref();
            figures.extend(scores.map(|s| calibration::by_tenth(&valued, s, &currency)));
            figures.push(calibration::all(evaluated, &currency));
        }
        None => {
            let spend = evaluated.fits.spend.as_ref().err();
            let why = no_model(&evaluated.fits)
                .or_else(|| spend.map(|error| format!("Gamma-Gamma: {error}")))
                .unwrap_or_else(|| "no model predicts revenue".to_owned());
            figures.push(Figure::missing("value", "Value of customers", why));
        }
    }
    figures
}

/// What the default model expects of customers; what the first that could be fitted does, where it could not.
fn valued(evaluated: &Evaluated) -> Option<(Valued<'_>, &Scored)> {
    let all = || evaluated.predicted.iter().zip(&evaluated.scores);
    let is_model = |p: &Predicted| evaluated.fits.orders.iter().any(|(by, _)| *by == p.by);
    let (predicted, scored) = all()
        .find(|(p, _)| p.by == DEFAULT)
        .or_else(|| all().find(|(p, _)| is_model(p)))?;
    let valued = Valued {
        by: format!("{} × Gamma-Gamma", predicted.by),
        predicted: predicted.revenue.as_ref()?,
    };
    Some((valued, scored))
}

/// Why no model of orders is there, where that is so.
fn no_model(fits: &Fits) -> Option<String> {
    let mut whys = Vec::new();
    for (by, fit) in &fits.orders {
        whys.push(format!("{by}: {}", fit.as_ref().err()?));
    }
    Some(whys.join("; "))
}

/// Where the orders come from, without folders of this machine.
fn source(orders: &Orders, loaded: &Loaded) -> String {
    let name = |path: &Path| {
        let name = path.file_name().unwrap_or(path.as_os_str());
        name.to_string_lossy().into_owned()
    };
    let Some(mapping) = &orders.mapping else {
        let application = &loaded.config.application_id;
        return format!("of the customers of the application {application}");
    };
    let files: Vec<String> = orders.inputs.iter().map(|path| name(path)).collect();
    format!("{}, read by {}", files.join(", "), name(mapping))
}

/// The file appears when it is complete.
fn write(path: &Path, html: &str) -> Result<(), CliError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.partial"));
    let failed = |error: std::io::Error| {
        CliError::failure(format!("cannot write {}: {error}", path.display()))
    };
    std::fs::write(&partial, html).map_err(failed)?;
    std::fs::rename(&partial, path).map_err(failed)
}
