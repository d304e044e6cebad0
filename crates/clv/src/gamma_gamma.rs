//! Gamma-Gamma: what an order comes to varies within a customer and between customers.
//!
//! Source: Fader and Hardie (2013), "The Gamma-Gamma Model of Monetary Value". An order is Gamma(p, ν), ν of
//! a customer is Gamma(q, v); the number of orders is taken to be independent of their values.

use crate::beta_geometric::MOST;
use crate::special::ln_beta;

/// Parameters of Gamma-Gamma. Amounts are in one unit of money throughout, v included.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GammaGamma {
    /// Shape of the value of an order, positive.
    pub p: f64,
    /// Shape of its rate over customers; above 1, or the mean spend does not exist.
    pub q: f64,
    /// Rate of that rate, in money, positive.
    pub v: f64,
}

impl GammaGamma {
    /// Whether the parameters are within their ranges (p and q up to 10⁶) and the mean spend exists.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.p > 0.0
            && self.p <= MOST
            && self.q > 1.0
            && self.q <= MOST
            && self.v > 0.0
            && self.v.is_finite()
    }

    /// The same model for amounts counted in a unit `per_unit` of which make one of the present.
    #[must_use]
    pub fn rescaled(self, per_unit: f64) -> GammaGamma {
        GammaGamma {
            v: self.v * per_unit,
            ..self
        }
    }

    /// The log-likelihood of a mean of `mean` > 0 over `orders` ≥ 1.
    #[must_use]
    pub fn ln_likelihood(&self, orders: f64, mean: f64) -> f64 {
        let total = orders * mean;
        let shape = self.p * orders;
        -ln_beta(shape, self.q)
            - libm::log(mean)
            - self.q * libm::log1p(total / self.v)
            - shape * libm::log1p(self.v / total)
    }

    /// Mean value of an order, in the mean of all customers; the mean spend of whoever has no repeat order.
    #[must_use]
    pub fn population_spend(&self) -> f64 {
        self.p * self.v / (self.q - 1.0)
    }

    /// Mean value of an order to expect of a customer whose `orders` came to `total`.
    ///
    /// A total below nothing, after refunds, counts as nothing: the customer's spend is then the least that
    /// the model knows for so many orders.
    #[must_use]
    pub fn expected_spend(&self, orders: f64, total: f64) -> f64 {
        let (shape, rate) = self.posterior(orders, total);
        self.p * rate / (shape - 1.0)
    }

    /// Shape and rate of ν, given the orders.
    pub(crate) fn posterior(&self, orders: f64, total: f64) -> (f64, f64) {
        (self.q + self.p * orders, self.v + total.max(0.0))
    }
}
