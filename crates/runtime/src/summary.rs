//! What a deployment knows, in one screen: totals, customers by stage and by segment, the top
//! customers.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use domain::definitions::Definitions;
use domain::event::Owner;
use domain::money::Minor;
use domain::time::TimeMs;
use domain::value;
use engine::worker::Owned;
use serde::Serialize;
use store::TaskStore;

use crate::error::RuntimeError;
use crate::export::{Profiles, days, segment_names, stage_name};

/// How many customers the list of the best holds.
const TOP: usize = 10;

/// Counts by name, in the definitions' order.
pub type Named = Vec<(String, u64)>;

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
    /// Customers and visitors by stage, per lifecycle model.
    pub stages: Vec<(String, Named)>,
    /// Members per segment.
    pub segments: Named,
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
    let mut stages: Vec<Vec<u64>> = definitions
        .models
        .iter()
        .map(|m| vec![0; m.stages.len()])
        .collect();
    let mut segments: BTreeMap<&str, u64> = BTreeMap::new();
    let mut best: Vec<TopCustomer> = Vec::new();
    let (mut customers, mut visitors) = (0, 0);
    let profiles = Profiles::new(tasks, definitions)?;
    for profile in profiles {
        let (owner, profile) = profile?;
        let mut view = profile.live;
        view.advance(as_of, definitions, &mut Vec::new());
        match &owner {
            Owner::Guest(_) => continue,
            Owner::Visitor(_) => visitors += 1,
            Owner::Customer(id) => {
                customers += u64::from(view.stats().orders > 0);
                let historic = value::historic(view.stats(), definitions);
                let formula =
                    value::formula(view.stats(), view.value_status(definitions), definitions);
                let activity = definitions.models.iter().find(|m| m.name == "activity");
                let stage = activity.and_then(|model| {
                    let state = view.stages.iter().find(|s| s.model == model.tag)?;
                    stage_name(model, state.stage)
                });
                best.push(TopCustomer {
                    customer_id: id.to_string(),
                    orders: view.stats().orders,
                    historic: historic.net.0,
                    formula: formula.map_or(0, |f| f.prospective.0),
                    activity: stage.unwrap_or_default().to_owned(),
                });
                if best.len() > 64 * TOP {
                    keep_best(&mut best);
                }
            }
        }
        for (model, counts) in definitions.models.iter().zip(&mut stages) {
            let state = view.stages.iter().find(|s| s.model == model.tag);
            let at = state.and_then(|s| model.stages.iter().position(|d| d.tag == s.stage));
            if let Some(count) = at.and_then(|at| counts.get_mut(at)) {
                *count += 1;
            }
        }
        for segment in segment_names(&view, definitions) {
            *segments.entry(segment).or_default() += 1;
        }
    }
    keep_best(&mut best);
    let (mut orders, mut gross, mut returns) = (0, Minor::ZERO, Minor::ZERO);
    for totals in days(tasks)?.values() {
        orders += totals.orders;
        gross += totals.gross;
        returns += totals.returns;
    }
    let named = |model: &domain::definitions::Model, counts: Vec<u64>| -> Named {
        let names = model.stages.iter().map(|s| s.name.to_string());
        names.zip(counts).collect()
    };
    Ok(Summary {
        as_of: as_of.to_string(),
        currency: definitions.currency.to_string(),
        decimals: definitions.currency.decimals,
        customers,
        visitors,
        orders: u64::try_from(orders).unwrap_or(0),
        gross: gross.0,
        returns: returns.0,
        stages: definitions
            .models
            .iter()
            .zip(stages)
            .map(|(model, counts)| (model.name.to_string(), named(model, counts)))
            .collect(),
        segments: definitions
            .segments
            .iter()
            .map(|s| {
                (
                    s.name.to_string(),
                    segments.get(s.name.as_str()).copied().unwrap_or(0),
                )
            })
            .collect(),
        top: best,
    })
}

fn keep_best(best: &mut Vec<TopCustomer>) {
    best.sort_by(|a, b| {
        (Reverse(a.historic), &a.customer_id).cmp(&(Reverse(b.historic), &b.customer_id))
    });
    best.truncate(TOP);
}
