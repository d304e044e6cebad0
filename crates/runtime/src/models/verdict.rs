//! Whether a model may take the place of the one in force: only where it predicted no worse.
//!
//! Held against each other is the mean absolute error of revenue, where both have a model of spend, or
//! else of orders, of the same customers over the same days.

use std::fmt;

use super::document::Document;

/// By which part of it a mean absolute error may be above the other's and still be no worse. The model in
/// force may have seen days of the holdout, which the one beside it must not have.
const TOLERANCE: f64 = 0.01;

/// What stands for or against a promotion.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// Nothing is in force.
    First,
    /// Predictions were no worse.
    NotWorse(Compared),
    /// They were worse.
    Worse(Compared),
    /// There is nothing to compare: no holdout, or it is one beside another version.
    Unknown,
    /// A later version is in force.
    Older {
        /// Which.
        in_force: u32,
    },
}

/// Two mean absolute errors.
#[derive(Clone, PartialEq, Debug)]
pub struct Compared {
    /// Of what.
    pub of: &'static str,
    /// That of the model.
    pub mae: f64,
    /// That of the one in force.
    pub in_force_mae: f64,
    /// The version in force.
    pub in_force: u32,
}

impl Verdict {
    /// What `model` is, beside the one in force.
    #[must_use]
    pub fn on(model: &Document, in_force: Option<&Document>) -> Verdict {
        let Some(in_force) = in_force else {
            return Verdict::First;
        };
        if in_force.version >= model.version {
            return Verdict::Older {
                in_force: in_force.version,
            };
        }
        let holdout = model.learned.holdout.as_ref();
        let beside = holdout.and_then(|h| Some((&h.scores, h.in_force.as_ref()?)));
        let Some((own, beside)) = beside.filter(|(_, of)| of.version == in_force.version) else {
            return Verdict::Unknown;
        };
        let (of, own, other) = match (&own.revenue, &beside.scores.revenue) {
            (Some(own), Some(other)) => ("revenue", own, other),
            _ => ("orders", &own.orders, &beside.scores.orders),
        };
        let compared = Compared {
            of,
            mae: own.mae,
            in_force_mae: other.mae,
            in_force: in_force.version,
        };
        match own.mae <= other.mae * (1.0 + TOLERANCE) {
            true => Verdict::NotWorse(compared),
            false => Verdict::Worse(compared),
        }
    }

    /// Whether it stands against a promotion.
    #[must_use]
    pub fn forbids(&self) -> bool {
        !matches!(self, Verdict::First | Verdict::NotWorse(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |f: &mut fmt::Formatter<'_>, c: &Compared, how: &str| {
            write!(
                f,
                "it predicts {} {how} than version {}, which is in force: a mean absolute error of {:.4}, to {:.4}",
                c.of, c.in_force, c.mae, c.in_force_mae
            )
        };
        match self {
            Verdict::First => f.write_str("no model is in force"),
            Verdict::NotWorse(compared) => told(f, compared, "no worse"),
            Verdict::Worse(compared) => told(f, compared, "worse"),
            Verdict::Unknown => {
                f.write_str("there is no holdout on which to compare it with the one in force")
            }
            Verdict::Older { in_force } => {
                write!(f, "version {in_force} is in force, and is later")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::document;
    use super::super::document::{OfVersion, Scored};
    use super::*;

    /// A later version with errors of orders and revenue, beside those of version 1.
    fn beside(own: (f64, Option<f64>), other: (f64, Option<f64>)) -> Document {
        let mut later = document(2);
        if let Some(holdout) = &mut later.learned.holdout {
            let with = |(orders, revenue): (f64, Option<f64>)| {
                let mut scores = holdout.scores.clone();
                scores.orders.mae = orders;
                scores.revenue = revenue.and_then(|mae| {
                    let mut scores = scores.revenue?;
                    scores.mae = mae;
                    Some(scores)
                });
                scores
            };
            let (own, scores): (Scored, Scored) = (with(own), with(other));
            holdout.scores = own;
            holdout.in_force = Some(OfVersion { version: 1, scores });
        }
        later
    }

    #[test]
    fn a_model_is_held_against_the_one_in_force_by_revenue_or_else_by_orders() {
        let one = document(1);
        for (own, other, of, forbids) in [
            ((0.9, Some(29.0)), (0.5, Some(30.0)), "revenue", false),
            ((0.5, Some(30.2)), (0.5, Some(30.0)), "revenue", false),
            ((0.5, Some(30.4)), (0.9, Some(30.0)), "revenue", true),
            ((0.5, None), (0.6, Some(30.0)), "orders", false),
            ((0.7, Some(30.0)), (0.6, None), "orders", true),
        ] {
            let verdict = Verdict::on(&beside(own, other), Some(&one));
            assert_eq!(verdict.forbids(), forbids, "{own:?} {other:?}");
            let said = verdict.to_string();
            assert!(said.contains(&format!("predicts {of}")), "{said}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_not_promoted_unasked() {
        let one = document(1);
        assert_eq!(Verdict::on(&one, None), Verdict::First);
        // Compared with another version than the one in force, or with none.
        let second = beside((0.5, None), (0.5, None));
        let verdict = Verdict::on(&document(3), Some(&second));
        assert_eq!(verdict, Verdict::Unknown);
        assert!(verdict.forbids());
        let verdict = Verdict::on(&one, Some(&second));
        assert_eq!(verdict, Verdict::Older { in_force: 2 });
        assert!(verdict.forbids());
    }
}
