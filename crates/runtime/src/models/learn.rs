//! From customers to a model that can serve the stream: a fit without the last days, held against them, and
//! then one to everything.

use clv::beta_geometric::BetaGeometric;
use clv::evaluate::evaluate;
use clv::fit::{FitError, FitOptions, Fitted, fit_beta_geometric, fit_gamma_gamma};
use clv::gamma_gamma::GammaGamma;
use clv::histogram::{OrderHistogram, SpendHistogram};
use clv::model::OrderModel;
use domain::purchases::Statistics;
use domain::time::Day;

use super::Books;
use super::document::{
    Document, Family, Holdout, Learned, OfVersion, Part, Scored, Scores, Window,
};
use super::holdout::{Customer, Predicted, customers, predicted_by};

/// The longest holdout that is taken unasked, in days.
const LONGEST: i32 = 91;
/// The part of the data that it is at most.
const PART: i32 = 4;

/// What is to be fitted, and how.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Recipe {
    /// Which model of orders.
    pub family: Family,
    /// How it is fitted.
    pub options: FitOptions,
    /// Days that are held out; `None`: 91, or a quarter of the span of the data where that is less.
    pub holdout_days: Option<i32>,
    /// The last day that counts.
    pub until: Day,
}

type Pair = (Fitted<BetaGeometric>, Result<Fitted<GammaGamma>, FitError>);

/// Learns a model; scores of `in_force` on the same holdout stand beside its own.
///
/// # Errors
/// No model of orders can be fitted to these customers.
pub fn learn(
    books: &Books,
    recipe: &Recipe,
    in_force: Option<&Document>,
) -> Result<Learned, FitError> {
    let until = recipe.until;
    let first = books.span().map_or(until, |(first, _)| first);
    let statistics: Vec<Statistics> = books.statistics(until).map(|(_, s)| s).collect();
    let unit = books.minor_per_unit();
    let (orders, spend) = fit(&statistics, until, unit, recipe)?;
    let held_out = hold_out(books, recipe, Window { first, until }, in_force);
    let (holdout, holdout_refused) = match held_out {
        Ok(holdout) => (Some(holdout), None),
        Err(why) => (None, Some(why)),
    };
    Ok(Learned {
        family: recipe.family,
        data: Window { first, until },
        currency: books.currency().to_string(),
        asked: recipe.options.into(),
        orders: Part::of_orders(&orders),
        spend_refused: spend.as_ref().err().map(ToString::to_string),
        spend: spend.ok().map(|fitted| Part::of_spend(&fitted)),
        holdout,
        holdout_refused,
    })
}

/// Holds a model of `recipe` and one that is in force against the last days of `data`.
///
/// # Errors
/// There is too little data to do so, in words.
pub fn hold_out(
    books: &Books,
    recipe: &Recipe,
    data: Window,
    in_force: Option<&Document>,
) -> Result<Holdout, String> {
    let span = data.until.0.saturating_sub(data.first.0).saturating_add(1);
    let days = recipe.holdout_days.unwrap_or(LONGEST.min(span / PART));
    if days < 1 || days >= span {
        return Err(format!(
            "the data are of {span} days, which leaves none to hold out or to fit to"
        ));
    }
    let until = Day(data.until.0 - days);
    let customers = customers(books, until, data.until);
    let statistics: Vec<Statistics> = customers.iter().map(|c| c.statistics).collect();
    let unit = books.minor_per_unit();
    let fitted = fit(&statistics, until, unit, recipe);
    let (orders, spend) = fitted.map_err(|why| format!("without the last {days} days: {why}"))?;
    let predicted = |orders: &OrderModel, spend: Option<&GammaGamma>| {
        let days = f64::from(days);
        let predicted = predicted_by(orders, spend, &customers, until, days, unit);
        scored(&predicted, &customers)
    };
    let orders = OrderModel::BetaGeometric(orders.model);
    let spend = spend.ok().map(|fitted| fitted.model);
    let nobody = || "nobody had ordered before the last days".to_owned();
    Ok(Holdout {
        until,
        end: data.until,
        customers: customers.len(),
        scores: predicted(&orders, spend.as_ref()).ok_or_else(nobody)?,
        in_force: in_force.and_then(|document| {
            let learned = &document.learned;
            let scores = predicted(&learned.order_model(), learned.spend_model().as_ref())?;
            Some(OfVersion {
                version: document.version,
                scores,
            })
        }),
    })
}

fn fit(
    customers: &[Statistics],
    day: Day,
    minor_per_unit: f64,
    recipe: &Recipe,
) -> Result<Pair, FitError> {
    let mut orders = OrderHistogram::default();
    let mut spend = SpendHistogram::default();
    for customer in customers {
        orders.add(customer);
        spend.add(customer);
    }
    let cells = orders.cells(f64::from(day.0));
    Ok((
        fit_beta_geometric(recipe.family.variant(), &cells, &recipe.options)?,
        fit_gamma_gamma(&spend.groups(minor_per_unit), &recipe.options),
    ))
}

fn scored(predicted: &Predicted, customers: &[Customer]) -> Option<Scored> {
    let orders: Vec<f64> = customers.iter().map(|c| c.orders).collect();
    let revenue: Vec<f64> = customers.iter().map(|c| c.revenue).collect();
    Some(Scored {
        orders: scores(&predicted.orders, &orders)?,
        revenue: match &predicted.revenue {
            Some(predicted) => scores(predicted, &revenue),
            None => None,
        },
    })
}

fn scores(predicted: &[f64], actual: &[f64]) -> Option<Scores> {
    let found = evaluate(predicted, actual)?;
    Some(Scores {
        predicted: found.predicted,
        actual: found.actual,
        mae: found.mae,
        rmse: found.rmse,
        correlation: found.correlation,
        gini: found.gini,
    })
}
