//! What a deployment knows, in one screen: totals, customers by stage and by segment, the top
//! customers.

use std::cmp::Reverse;

use domain::definitions::{Definitions, Model};
use domain::event::Owner;
use domain::profile::View;
use domain::time::TimeMs;
use domain::value;
use engine::worker::Owned;
use serde::Serialize;
use store::TaskStore;

use crate::error::RuntimeError;
use crate::export::{Profiles, days, segment_names, stage_name};

/// How many customers the list of the best holds.
const TOP: usize = 10;

/// How many are in a stage or segment.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Members {
    /// Name of the stage or segment.
    pub name: String,
    /// Customers.
    pub customers: u64,
    /// Visitors who are not identified.
    pub visitors: u64,
}

impl Members {
    fn named(name: &str) -> Members {
        Members {
            name: name.to_owned(),
            ..Members::default()
        }
    }

    fn count(&mut self, is_customer: bool) {
        self.customers += u64::from(is_customer);
        self.visitors += u64::from(!is_customer);
    }
}

/// The stages of one lifecycle model.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Stages {
    /// Name of the model.
    pub model: String,
    /// Its stages, in the definitions' order.
    pub stages: Vec<Members>,
}

/// One of the best customers.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TopCustomer {
    /// Customer id.
    pub customer_id: String,
    /// Orders that were not cancelled.
    pub orders: u32,
    /// Net value so far, in minor units.
    pub historic: i64,
    /// Value by formula over the expected lifetime, in minor units.
    pub formula: i64,
    /// Stage of the relation.
    pub activity: String,
}

/// The summary.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Summary {
    /// The instant that it holds for.
    pub as_of: String,
    /// Currency of all amounts.
    pub currency: String,
    /// Decimals of a minor unit.
    pub decimals: u8,
    /// Customers with an order.
    pub customers: u64,
    /// Visitors who are not identified.
    pub visitors: u64,
    /// Orders, guests' included.
    pub orders: u64,
    /// Gross of orders, guests' included, in minor units.
    pub gross: i64,
    /// Refunds and returns, likewise.
    pub returns: i64,
    /// Who is in which stage, per lifecycle model.
    pub lifecycles: Vec<Stages>,
    /// Who is in which segment, in the definitions' order.
    pub segments: Vec<Members>,
    /// The best customers by net value so far.
    pub top: Vec<TopCustomer>,
}

/// Summarises `tasks` as of `as_of`.
///
/// # Errors
/// The state cannot be read.
pub fn summarise(
    tasks: &[Owned<TaskStore>],
    definitions: &Definitions,
    as_of: TimeMs,
) -> Result<Summary, RuntimeError> {
    let mut summary = empty(definitions, as_of);
    for known in Profiles::new(tasks)? {
        let known = known?;
        let mut view = known.profile.live;
        view.advance(as_of, &known.definitions, &mut Vec::new());
        let is_customer = match &known.owner {
            Owner::Guest(_) => continue,
            Owner::Visitor(_) => {
                summary.visitors += 1;
                false
            }
            Owner::Customer(id) => {
                summary.customers += u64::from(view.stats().orders > 0);
                summary.top.push(top_customer(id, &view, definitions));
                if summary.top.len() > 64 * TOP {
                    keep_best(&mut summary.top);
                }
                true
            }
        };
        for (model, counted) in definitions.models.iter().zip(&mut summary.lifecycles) {
            let name = stage_of(&view, model);
            let mut stages = counted.stages.iter_mut();
            if let Some(stage) = stages.find(|s| Some(s.name.as_str()) == name) {
                stage.count(is_customer);
            }
        }
        for name in segment_names(&view, definitions) {
            let mut segments = summary.segments.iter_mut();
            if let Some(segment) = segments.find(|s| s.name == name) {
                segment.count(is_customer);
            }
        }
    }
    keep_best(&mut summary.top);
    for totals in days(tasks)?.values() {
        summary.orders += u64::try_from(totals.orders).unwrap_or(0);
        summary.gross = summary.gross.saturating_add(totals.gross.0);
        summary.returns = summary.returns.saturating_add(totals.returns.0);
    }
    Ok(summary)
}

/// A summary of nobody.
fn empty(definitions: &Definitions, as_of: TimeMs) -> Summary {
    let stages = |model: &Model| Stages {
        model: model.name.to_string(),
        stages: model
            .stages
            .iter()
            .map(|s| Members::named(&s.name))
            .collect(),
    };
    Summary {
        as_of: as_of.to_string(),
        currency: definitions.currency.to_string(),
        decimals: definitions.currency.decimals,
        customers: 0,
        visitors: 0,
        orders: 0,
        gross: 0,
        returns: 0,
        lifecycles: definitions.models.iter().map(stages).collect(),
        segments: definitions
            .segments
            .iter()
            .map(|s| Members::named(&s.name))
            .collect(),
        top: Vec::new(),
    }
}

fn top_customer(id: &str, view: &View, definitions: &Definitions) -> TopCustomer {
    let formula = value::formula(view.stats(), view.value_status(definitions), definitions);
    let activity = definitions.models.iter().find(|m| m.name == "activity");
    let stage = activity.and_then(|model| stage_of(view, model));
    TopCustomer {
        customer_id: id.to_owned(),
        orders: view.stats().orders,
        historic: value::historic(view.stats(), definitions).net.0,
        formula: formula.map_or(0, |f| f.prospective.0),
        activity: stage.unwrap_or_default().to_owned(),
    }
}

fn stage_of<'m>(view: &View, model: &'m Model) -> Option<&'m str> {
    let state = view.stages.iter().find(|s| s.model == model.tag)?;
    stage_name(model, state.stage)
}

fn keep_best(best: &mut Vec<TopCustomer>) {
    best.sort_by(|a, b| {
        (Reverse(a.historic), &a.customer_id).cmp(&(Reverse(b.historic), &b.customer_id))
    });
    best.truncate(TOP);
}
