//! Customers made up from a model, for tests and benchmarks. Chance comes from outside: a source of uniform
//! numbers, so that the same source gives the same customers.

use crate::beta_geometric::{BetaGeometric, Variant};

/// Draws from the distributions that the models are made of.
#[derive(Debug)]
pub struct Draws<U> {
    uniform: U,
}

impl<U: FnMut() -> f64> Draws<U> {
    /// Draws by a source of numbers that are uniform on (0, 1].
    pub fn new(uniform: U) -> Draws<U> {
        Draws { uniform }
    }

    /// Uniform on (0, 1].
    pub fn uniform(&mut self) -> f64 {
        (self.uniform)()
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -libm::log(self.uniform())
    }

    fn normal(&mut self) -> f64 {
        let angle = std::f64::consts::TAU * self.uniform();
        libm::sqrt(2.0 * self.exponential()) * libm::cos(angle)
    }

    /// Gamma(shape, 1), by the method of Marsaglia and Tsang (2000).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let power = libm::pow(self.uniform(), 1.0 / shape);
            return self.gamma(shape + 1.0) * power;
        }
        let d = shape - 1.0 / 3.0;
        let scale = 1.0 / libm::sqrt(9.0 * d);
        loop {
            let z = self.normal();
            let root = 1.0 + z * scale;
            let v = root * root * root;
            if v > 0.0 && libm::log(self.uniform()) < 0.5 * z * z + d - d * v + d * libm::log(v) {
                return d * v;
            }
        }
    }

    /// Beta(a, b).
    pub fn beta(&mut self, a: f64, b: f64) -> f64 {
        let (one, other) = (self.gamma(a), self.gamma(b));
        one / (one + other)
    }

    /// Times of orders within `time`, at a rate and with a chance to drop out after each.
    pub fn orders(&mut self, rate: f64, dropout: f64, time: f64, times: &mut Vec<f64>) {
        times.clear();
        let mut at = self.exponential() / rate;
        while at < time {
            times.push(at);
            if self.uniform() <= dropout {
                break;
            }
            at += self.exponential() / rate;
        }
    }

    /// Times of a new customer's repeat orders within `time` of his first.
    pub fn customer(&mut self, model: &BetaGeometric, time: f64, times: &mut Vec<f64>) {
        let rate = self.gamma(model.r) / model.alpha;
        let dropout = if model.a == 0.0 {
            0.0
        } else {
            self.beta(model.a, model.b)
        };
        if model.variant == Variant::Mbg && self.uniform() <= dropout {
            times.clear();
        } else {
            self.orders(rate, dropout, time, times);
        }
    }
}
