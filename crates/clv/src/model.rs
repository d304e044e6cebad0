//! A model of orders, whichever it is: for whoever holds several beside each other.

use crate::beta_geometric::{BetaGeometric, Variant};
use crate::history::{Crossing, History};
use crate::pareto::ParetoNbd;

/// A model of orders. BG/NBD and MBG/NBD serve the stream, Pareto/NBD evaluation: it has no closed form for
/// when a threshold is crossed, and its P(alive) takes an integral.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum OrderModel {
    /// BG/NBD or MBG/NBD.
    BetaGeometric(BetaGeometric),
    /// Pareto/NBD.
    Pareto(ParetoNbd),
}

impl OrderModel {
    /// Its name in the literature.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            OrderModel::BetaGeometric(m) if m.variant == Variant::Bg => "BG/NBD",
            OrderModel::BetaGeometric(_) => "MBG/NBD",
            OrderModel::Pareto(_) => "Pareto/NBD",
        }
    }

    /// See [`BetaGeometric::ln_likelihood`].
    #[must_use]
    pub fn ln_likelihood(&self, history: &History) -> f64 {
        match self {
            OrderModel::BetaGeometric(m) => m.ln_likelihood(history),
            OrderModel::Pareto(m) => m.ln_likelihood(history),
        }
    }

    /// See [`BetaGeometric::p_alive`].
    #[must_use]
    pub fn p_alive(&self, history: &History) -> f64 {
        match self {
            OrderModel::BetaGeometric(m) => m.p_alive(history),
            OrderModel::Pareto(m) => m.p_alive(history),
        }
    }

    /// See [`BetaGeometric::crossing`].
    #[must_use]
    pub fn crossing(&self, history: &History, threshold: f64) -> Crossing {
        match self {
            OrderModel::BetaGeometric(m) => m.crossing(history, threshold),
            OrderModel::Pareto(m) => m.crossing(history, threshold),
        }
    }

    /// See [`BetaGeometric::p_order_within`].
    #[must_use]
    pub fn p_order_within(&self, history: &History, time: f64) -> f64 {
        match self {
            OrderModel::BetaGeometric(m) => m.p_order_within(history, time),
            OrderModel::Pareto(m) => m.p_order_within(history, time),
        }
    }

    /// See [`BetaGeometric::order_due_within`].
    #[must_use]
    pub fn order_due_within(&self, history: &History, level: f64) -> Option<f64> {
        match self {
            OrderModel::BetaGeometric(m) => m.order_due_within(history, level),
            OrderModel::Pareto(m) => m.order_due_within(history, level),
        }
    }

    /// See [`BetaGeometric::expected_orders`].
    #[must_use]
    pub fn expected_orders(&self, history: &History, time: f64) -> f64 {
        match self {
            OrderModel::BetaGeometric(m) => m.expected_orders(history, time),
            OrderModel::Pareto(m) => m.expected_orders(history, time),
        }
    }

    /// See [`BetaGeometric::discounted_orders`].
    #[must_use]
    pub fn discounted_orders(&self, history: &History, time: f64, discount: f64) -> f64 {
        match self {
            OrderModel::BetaGeometric(m) => m.discounted_orders(history, time, discount),
            OrderModel::Pareto(m) => m.discounted_orders(history, time, discount),
        }
    }
}
