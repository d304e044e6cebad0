//! From customers to a model that can serve the stream: a fit without the last days, held against them, and
//! then one to everything.

use clv::beta_geometric::BetaGeometric;
use clv::evaluate::evaluate;
use clv::fit::{FitError, FitOptions, Fitted, fit_beta_geometric, fit_gamma_gamma};
use clv::gamma_gamma::GammaGamma;
use clv::model::OrderModel;
use domain::prediction::Family;
use domain::purchases::Statistics;
use domain::time::Day;

use super::document::{Document, Holdout, Learned, OfVersion, Part, Scored, Scores};
use super::fits::histograms_of;
use super::histories::Histories;
use super::holdout::{Customer, Predicted, predicted_by};

/// What is to be fitted, and how.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Recipe {
    /// Which model of orders.
    pub family: Family,
    /// How it is fitted.
    pub options: FitOptions,
}

type Pair = (Fitted<BetaGeometric>, Result<Fitted<GammaGamma>, FitError>);

/// Learns a model; scores of `in_force` on the same holdout stand beside its own.
///
/// # Errors
/// No model of orders can be fitted to these customers.
pub fn learn(
    histories: &Histories,
    recipe: &Recipe,
    in_force: Option<&Document>,
) -> Result<Learned, FitError> {
    let data = histories.data;
    let unit = histories.minor_per_unit();
    let (orders, spend) = fit(histories.now.iter(), data.until, unit, recipe)?;
    let (holdout, holdout_refused) = match hold_out(histories, recipe, in_force) {
        Ok(holdout) => (Some(holdout), None),
        Err(why) => (None, Some(why)),
    };
    Ok(Learned {
        family: recipe.family,
        data,
        currency: histories.currency().to_string(),
        asked: recipe.options.into(),
        orders: Part::of_orders(&orders),
        spend_refused: spend.as_ref().err().map(ToString::to_string),
        spend: spend.ok().map(|fitted| Part::of_spend(&fitted)),
        holdout,
        holdout_refused,
    })
}

/// Holds a model of `recipe` that was fitted without the last days, and one that is in force, against these days.
///
/// # Errors
/// There is too little data to do so, in words.
pub fn hold_out(
    histories: &Histories,
    recipe: &Recipe,
    in_force: Option<&Document>,
) -> Result<Holdout, String> {
    let days = histories.days.clone()?;
    let (until, end) = (Day(histories.data.until.0 - days), histories.data.until);
    let customers = &histories.then;
    let unit = histories.minor_per_unit();
    let fitted = fit(customers.iter().map(|c| &c.statistics), until, unit, recipe);
    let (orders, spend) = fitted.map_err(|why| format!("without the last {days} days: {why}"))?;
    let predicted = |orders: &OrderModel, spend: Option<&GammaGamma>| {
        let days = f64::from(days);
        let predicted = predicted_by(orders, spend, customers, until, days, unit);
        scored(&predicted, customers)
    };
    let orders = OrderModel::BetaGeometric(orders.model);
    let spend = spend.ok().map(|fitted| fitted.model);
    let nobody = || "nobody had ordered before the last days".to_owned();
    Ok(Holdout {
        until,
        end,
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

fn fit<'a>(
    customers: impl Iterator<Item = &'a Statistics>,
    day: Day,
    minor_per_unit: f64,
    recipe: &Recipe,
) -> Result<Pair, FitError> {
    let (orders, spend) = histograms_of(customers);
    let cells = orders.cells(f64::from(day.0));
    Ok((
        fit_beta_geometric(recipe.family.into(), &cells, &recipe.options)?,
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
    evaluate(predicted, actual).as_ref().map(Scores::from)
}
