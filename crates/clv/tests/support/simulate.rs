//! Customers made up from a model, from a seed.

use clv::beta_geometric::{BetaGeometric, Variant};
use clv::gamma_gamma::GammaGamma;
use rand_core::{RngCore, SeedableRng};
use rand_pcg::Pcg64;

/// Random numbers of the distributions that the models are made of.
pub struct Random(Pcg64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(Pcg64::seed_from_u64(seed))
    }

    /// Uniform on (0, 1].
    pub fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    pub fn exponential(&mut self) -> f64 {
        -self.uniform().ln()
    }

    fn normal(&mut self) -> f64 {
        let angle = std::f64::consts::TAU * self.uniform();
        (2.0 * self.exponential()).sqrt() * angle.cos()
    }

    /// Gamma(shape, 1), by Marsaglia and Tsang's method.
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let power = self.uniform().powf(1.0 / shape);
            return self.gamma(shape + 1.0) * power;
        }
        let d = shape - 1.0 / 3.0;
        loop {
            let z = self.normal();
            let v = (1.0 + z / (9.0 * d).sqrt()).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * z * z + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    pub fn beta(&mut self, a: f64, b: f64) -> f64 {
        let (one, other) = (self.gamma(a), self.gamma(b));
        one / (one + other)
    }

    /// Times of orders within `time` at a rate, until one was the last.
    pub fn orders(&mut self, rate: f64, dropout: f64, time: f64) -> Vec<f64> {
        let mut times = Vec::new();
        let mut at = self.exponential() / rate;
        while at < time {
            times.push(at);
            if self.uniform() <= dropout {
                break;
            }
            at += self.exponential() / rate;
        }
        times
    }

    /// A new customer's times of repeat orders.
    pub fn customer(&mut self, model: &BetaGeometric, time: f64) -> Vec<f64> {
        let rate = self.gamma(model.r) / model.alpha;
        let dropout = if model.a == 0.0 {
            0.0
        } else {
            self.beta(model.a, model.b)
        };
        if model.variant == Variant::Mbg && self.uniform() <= dropout {
            return Vec::new();
        }
        self.orders(rate, dropout, time)
    }

    /// What one order of a customer with the rate ν comes to.
    pub fn amount(&mut self, spend: &GammaGamma, rate: f64) -> f64 {
        self.gamma(spend.p) / rate
    }
}
