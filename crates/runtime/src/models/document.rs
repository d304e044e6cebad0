//! A model that was fitted, as it is written down: what to, how well it predicted, and whether it was
//! promoted.
//!
//! JSON, in the topic `clv.models`, under its version. Names and meanings never change; fields are added.
//! Times of parameters are in days, amounts in units of the currency.

use clv::beta_geometric::BetaGeometric;
use clv::evaluate::Evaluation;
use clv::fit::{Estimate, FitOptions, Fitted};
use clv::gamma_gamma::GammaGamma;
use clv::model::OrderModel;
use domain::prediction::{self, Family, ModelParameters};
use domain::time::{Day, TimeMs};
use serde::{Deserialize, Serialize};

/// A model of the topic.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Document {
    /// Its number, from 1 on.
    pub version: u32,
    /// When it was written down, by the wall clock.
    #[serde(with = "instant")]
    pub created_at: TimeMs,
    /// When it was promoted; a model that has none never was.
    #[serde(default, with = "optional_instant")]
    pub promoted_at: Option<TimeMs>,
    /// What somebody wanted to say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What was learned.
    #[serde(flatten)]
    pub learned: Learned,
}

/// What was learned from customers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Learned {
    /// Which model of orders.
    #[serde(with = "FamilyName")]
    pub family: Family,
    /// The orders that it was fitted to.
    pub data: Window,
    /// The currency of amounts.
    pub currency: String,
    /// How it was fitted.
    pub asked: Asked,
    /// The model of orders.
    pub orders: Part<OrderParameters>,
    /// The model of spend, where one could be fitted.
    pub spend: Option<Part<SpendParameters>>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spend_refused: Option<String>,
    /// What came of a model of the same kind that was fitted without the last days.
    pub holdout: Option<Holdout>,
    /// Why there is no holdout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout_refused: Option<String>,
}

/// [`Family`] by name.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Family", rename_all = "snake_case")]
enum FamilyName {
    BgNbd,
    MbgNbd,
}

/// Days, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Window {
    /// That of the first fact about an order.
    #[serde(with = "day")]
    pub first: Day,
    /// The last; ages are counted to it.
    #[serde(with = "day")]
    pub until: Day,
}

/// What a fit asks for: see [`FitOptions`].
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// Weight of the penalty.
    pub l2: f64,
    /// Fewest customers.
    pub min_customers: u64,
    /// Fewest with a repeat order.
    pub min_repeaters: u64,
}

impl From<FitOptions> for Asked {
    fn from(options: FitOptions) -> Asked {
        Asked {
            l2: options.l2,
            min_customers: options.min_customers,
            min_repeaters: options.min_repeaters,
        }
    }
}

impl From<Asked> for FitOptions {
    fn from(asked: Asked) -> FitOptions {
        FitOptions {
            l2: asked.l2,
            min_customers: asked.min_customers,
            min_repeaters: asked.min_repeaters,
        }
    }
}

/// A fitted model with its parameters.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Part<P> {
    /// Its parameters.
    pub parameters: P,
    /// Customers that it was fitted to.
    pub customers: u64,
    /// Cells or groups that they were in.
    pub cells: usize,
    /// Log-likelihood of all customers.
    pub ln_likelihood: f64,
    /// Limits in which the optimum lies, in words.
    pub boundaries: Vec<String>,
}

/// A parameter.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Parameter {
    /// Its value.
    pub value: f64,
    /// Its standard error; `None` on a boundary.
    pub standard_error: Option<f64>,
}

/// Those of BG/NBD and MBG/NBD.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "docs/models.md has the formulas that name them"
)]
pub struct OrderParameters {
    pub r: Parameter,
    pub alpha: Parameter,
    pub a: Parameter,
    pub b: Parameter,
}

/// Those of Gamma-Gamma.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "docs/models.md has the formulas that name them"
)]
pub struct SpendParameters {
    pub p: Parameter,
    pub q: Parameter,
    pub v: Parameter,
}

/// How predictions for the last days did.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Holdout {
    /// The last day that was fitted to.
    #[serde(with = "day")]
    pub until: Day,
    /// The last day that was predicted.
    #[serde(with = "day")]
    pub end: Day,
    /// Customers with an order until then: of both models the same.
    pub customers: usize,
    /// This model's, fitted to what came until then.
    pub scores: Scored,
    /// Those of the model that was in force then, as it was.
    #[serde(default)]
    pub in_force: Option<OfVersion>,
}

/// How the predictions of another version did.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct OfVersion {
    /// The version.
    pub version: u32,
    /// How well.
    pub scores: Scored,
}

/// How well orders and revenue were predicted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Scored {
    /// Orders: days with one.
    pub orders: Scores,
    /// Revenue; `None` without a model of spend.
    pub revenue: Option<Scores>,
}

/// How predictions did, customer by customer: an [`Evaluation`] but for its tenths.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Scores {
    /// Sum of the predictions.
    pub predicted: f64,
    /// Sum of what came.
    pub actual: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Correlation, where both vary.
    pub correlation: Option<f64>,
    /// Normalised Gini of what came, ranked by the predictions.
    pub gini: Option<f64>,
}

impl From<&Evaluation> for Scores {
    fn from(of: &Evaluation) -> Scores {
        Scores {
            predicted: of.predicted,
            actual: of.actual,
            mae: of.mae,
            rmse: of.rmse,
            correlation: of.correlation,
            gini: of.gini,
        }
    }
}

impl Part<OrderParameters> {
    pub(super) fn of_orders(fitted: &Fitted<BetaGeometric>) -> Part<OrderParameters> {
        let model = &fitted.model;
        let parameter = |name, value| parameter(&fitted.estimates, name, value);
        let parameters = OrderParameters {
            r: parameter("r", model.r),
            alpha: parameter("alpha", model.alpha),
            a: parameter("a", model.a),
            b: parameter("b", model.b),
        };
        part(fitted, parameters)
    }
}

impl Part<SpendParameters> {
    pub(super) fn of_spend(fitted: &Fitted<GammaGamma>) -> Part<SpendParameters> {
        let model = &fitted.model;
        let parameter = |name, value| parameter(&fitted.estimates, name, value);
        let parameters = SpendParameters {
            p: parameter("p", model.p),
            q: parameter("q", model.q),
            v: parameter("v", model.v),
        };
        part(fitted, parameters)
    }
}

fn parameter(estimates: &[Estimate], name: &str, value: f64) -> Parameter {
    let estimate = estimates.iter().find(|e| e.name == name);
    Parameter {
        value,
        standard_error: estimate.and_then(Estimate::standard_error),
    }
}

fn part<M, P>(fitted: &Fitted<M>, parameters: P) -> Part<P> {
    let boundaries = fitted.boundaries.iter().map(|b| b.meaning().to_owned());
    Part {
        parameters,
        customers: fitted.customers,
        cells: fitted.cells,
        ln_likelihood: fitted.ln_likelihood,
        boundaries: boundaries.collect(),
    }
}

impl Document {
    /// The model as tasks take it; `None` where no model has such parameters.
    #[must_use]
    pub fn parameters(&self) -> Option<ModelParameters> {
        let orders = self.learned.beta_geometric();
        let spend = self.learned.spend_model();
        let is_valid = orders.is_valid() && spend.is_none_or(|spend| spend.is_valid());
        is_valid.then_some(ModelParameters {
            version: self.version,
            family: self.learned.family,
            r: orders.r,
            alpha: orders.alpha,
            a: orders.a,
            b: orders.b,
            spend: spend.map(|GammaGamma { p, q, v }| prediction::SpendParameters { p, q, v }),
        })
    }
}

impl Learned {
    /// The model of orders.
    #[must_use]
    pub fn order_model(&self) -> OrderModel {
        OrderModel::BetaGeometric(self.beta_geometric())
    }

    fn beta_geometric(&self) -> BetaGeometric {
        let OrderParameters { r, alpha, a, b } = self.orders.parameters;
        BetaGeometric {
            variant: self.family.into(),
            r: r.value,
            alpha: alpha.value,
            a: a.value,
            b: b.value,
        }
    }

    /// The model of spend, in units of the currency.
    #[must_use]
    pub fn spend_model(&self) -> Option<GammaGamma> {
        let SpendParameters { p, q, v } = self.spend.as_ref()?.parameters;
        Some(GammaGamma {
            p: p.value,
            q: q.value,
            v: v.value,
        })
    }
}

/// Days as dates.
mod day {
    use config::units::parse_instant;
    use domain::time::Day;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(day: &Day, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(day)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Day, D::Error> {
        let text = String::deserialize(from)?;
        parse_instant(&text)
            .map(|at| at.day())
            .map_err(D::Error::custom)
    }
}

/// Instants in ISO 8601.
mod instant {
    use config::units::parse_instant;
    use domain::time::TimeMs;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(at: &TimeMs, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(at)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<TimeMs, D::Error> {
        let text = String::deserialize(from)?;
        parse_instant(&text).map_err(D::Error::custom)
    }
}

/// The same, or null.
mod optional_instant {
    use config::units::parse_instant;
    use domain::time::TimeMs;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(at: &Option<TimeMs>, to: S) -> Result<S::Ok, S::Error> {
        at.map(|at| at.to_string()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<TimeMs>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let at = text.map(|text| parse_instant(&text));
        at.transpose().map_err(D::Error::custom)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use clv::beta_geometric::Variant;

    pub(in crate::models) fn document(version: u32) -> Document {
        let parameter = |value| Parameter {
            value,
            standard_error: Some(value / 8.0),
        };
        let scores = |mae| Scores {
            predicted: 1576.75,
            actual: 1882.0,
            mae,
            rmse: 1.5,
            correlation: Some(0.625),
            gini: None,
        };
        Document {
            version,
            created_at: TimeMs(899_251_200_000),
            promoted_at: None,
            note: None,
            learned: Learned {
                family: Family::MbgNbd,
                data: Window {
                    first: Day(9862),
                    until: Day(10407),
                },
                currency: "USD".to_owned(),
                asked: FitOptions::default().into(),
                orders: Part {
                    parameters: OrderParameters {
                        r: parameter(0.5),
                        alpha: parameter(43.25),
                        a: parameter(0.75),
                        b: Parameter {
                            value: 1.5,
                            standard_error: None,
                        },
                    },
                    customers: 2357,
                    cells: 1016,
                    ln_likelihood: -9582.5,
                    boundaries: Vec::new(),
                },
                spend: None,
                spend_refused: Some("too few".to_owned()),
                holdout: Some(Holdout {
                    until: Day(10316),
                    end: Day(10407),
                    customers: 2357,
                    scores: Scored {
                        orders: scores(0.5),
                        revenue: Some(scores(29.5)),
                    },
                    in_force: None,
                }),
                holdout_refused: None,
            },
        }
    }

    #[test]
    fn a_document_reads_as_it_was_written() {
        let document = Document {
            promoted_at: Some(TimeMs(899_251_200_123)),
            ..document(3)
        };
        let text = serde_json::to_string_pretty(&document).expect("JSON");
        let read: Document = serde_json::from_str(&text).expect("a document");
        assert_eq!(read, document);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn the_models_are_those_of_the_parameters() {
        let learned = document(1).learned;
        let expected = BetaGeometric {
            variant: Variant::Mbg,
            r: 0.5,
            alpha: 43.25,
            a: 0.75,
            b: 1.5,
        };
        assert_eq!(learned.order_model(), OrderModel::BetaGeometric(expected));
        assert_eq!(learned.spend_model(), None);
    }

    #[test]
    fn parameters_of_no_model_are_none_that_tasks_get() {
        let parameters = document(3).parameters().expect("a model");
        assert_eq!((parameters.version, parameters.r), (3, 0.5));
        assert_eq!(parameters.family, Family::MbgNbd);
        let mut wrong = document(3);
        wrong.learned.orders.parameters.alpha.value = 0.0;
        assert_eq!(wrong.parameters(), None);
    }
}
