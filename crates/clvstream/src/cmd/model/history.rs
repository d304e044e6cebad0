//! Customers' order books, from files or from the deployment.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ::config::{Config, Loaded};
use domain::definitions::Definitions;
use domain::money::Currency;
use domain::time::{Day, TimeMs};
use runtime::configured::input_rules;
use runtime::{Deployment, models};

use super::Orders;
use crate::cmd::mapping::{open, read_mapping};
use crate::error::CliError;
use crate::session;

/// All customers of the files, or of the deployment.
pub(super) struct Books {
    pub(super) all: models::Books,
    /// The last day: see [`models::Books::present`].
    pub(super) last: Day,
    /// Of files: rows, or events of them, that could not be read.
    pub(super) rejected: Option<u64>,
    /// The deployment that they are of, open.
    pub(super) deployment: Option<Deployment>,
}

impl Books {
    /// Reads what the arguments name.
    pub(super) fn read(args: &Orders, loaded: &Loaded) -> Result<Books, CliError> {
        let (all, rejected, deployment) = match (args.inputs.as_slice(), &args.mapping) {
            ([], None) => {
                let deployment = session::open(loaded, None)?;
                (of_deployment(&deployment)?, None, Some(deployment))
            }
            ([], Some(_)) => {
                return Err(CliError::usage(
                    "--mapping says how files are read, and no file is named",
                )
                .hint(
                    "name the files too, or leave --mapping out to take the deployment's customers",
                ));
            }
            (_, None) => {
                return Err(CliError::usage(
                    "files are named, and no --mapping says how they are read",
                )
                .hint(
                    "--mapping names the mapping file; without INPUT the deployment's customers are taken",
                ));
            }
            (_, Some(mapping)) => {
                let (all, rejected) = of_files(args, mapping, &loaded.config)?;
                (all, Some(rejected), None)
            }
        };
        let nobody = || match &deployment {
            Some(_) => nobody_here(),
            None => CliError::failure("the files have no order of a customer")
                .hint("`clvstream mapping check` shows what a mapping makes of them"),
        };
        let last = all.present().ok_or_else(nobody)?;
        Ok(Books {
            all,
            last,
            rejected,
            deployment,
        })
    }

    /// The currency of amounts.
    pub(super) fn currency(&self) -> Currency {
        self.all.currency()
    }

    /// Minor units in one of the currency.
    pub(super) fn minor_per_unit(&self) -> f64 {
        self.all.minor_per_unit()
    }
}

fn nobody_here() -> CliError {
    CliError::failure("no customer of the deployment has an order")
        .hint("`clvstream replay` loads history; --mapping and INPUT fit to files")
}

/// The histograms of all customers of the deployment, as its tasks keep them.
pub(super) struct Tables {
    pub(super) kept: models::Tables,
    /// The day of stream time.
    pub(super) last: Day,
    pub(super) currency: Currency,
}

impl Tables {
    /// Adds up what the tasks of the configured deployment have.
    pub(super) fn read(loaded: &Loaded) -> Result<Tables, CliError> {
        let deployment = session::open(loaded, None)?;
        let kept = models::Tables::of(&deployment.open_all()?)?;
        let last = kept.window().ok_or_else(nobody_here)?.until;
        Ok(Tables {
            kept,
            last,
            currency: deployment.setup.definitions.currency,
        })
    }

    /// Minor units in one of the currency.
    pub(super) fn minor_per_unit(&self) -> f64 {
        self.currency.minor_per_unit() as f64
    }
}

/// Those of the deployment. On Kafka whoever works on it is not disturbed.
pub(super) fn of_deployment(deployment: &Deployment) -> Result<models::Books, CliError> {
    let mut books = models::Books::new(Arc::clone(&deployment.setup.definitions));
    books.add(&deployment.open_all()?)?;
    Ok(books)
}

/// Those of the files, and how many rows could not be read; the order of rows and files makes no difference.
fn of_files(
    args: &Orders,
    mapping: &Path,
    config: &Config,
) -> Result<(models::Books, u64), CliError> {
    let mapping = read_mapping(mapping)?;
    let rules = mapping.rules_override(&input_rules(config, config.currency));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    let now = TimeMs(i64::try_from(now).unwrap_or(i64::MAX));
    let mut books = models::Books::new(Arc::new(Definitions {
        include_tax: config.clv.include_tax,
        include_shipping: config.clv.include_shipping,
        ..Definitions::preset(mapping.currency().unwrap_or(config.currency))
    }));
    let mut rejected = 0;
    for input in &args.inputs {
        let mut reader = open(input, &mapping)?;
        while let Some(row) = reader.next() {
            let row = row.map_err(CliError::failure)?;
            for outcome in reader.apply(&row, &mapping, now, &rules) {
                match outcome {
                    Ok(mapped) => books.take(&mapped.event),
                    Err(_) => rejected += 1,
                }
            }
        }
    }
    Ok((books, rejected))
}
