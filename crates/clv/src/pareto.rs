//! Pareto/NBD: orders at a rate of the customer's own until a lifetime, exponential with a rate of the
//! customer's own too, is over.
//!
//! Source: Schmittlein, Morrison and Colombo (1987), "Counting Your Customers", *Management Science* 33(1);
//! discounted residual orders: Fader, Hardie and Lee (2005), "RFM and CLV", *Journal of Marketing
//! Research* 42(4).
//!
//! Everything comes down to one integral of a product of powers, which is taken by quadrature over
//! positive terms; the removable singularity at s = 1 does not arise.

use crate::beta_geometric::MOST;
use crate::history::{Crossing, History};
use crate::special::{
    Powers, decay_integral, ln_gamma_ratio, logistic_of_minus, scaled_expint, softplus,
};

/// Parameters of Pareto/NBD: rates of ordering are Gamma(r, α) over customers, rates of dropping out
/// Gamma(s, β).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ParetoNbd {
    /// Shape of the rates of ordering, positive.
    pub r: f64,
    /// Their rate, in units of time, positive.
    pub alpha: f64,
    /// Shape of the rates of dropping out, not negative; 0 where nobody does.
    pub s: f64,
    /// Their rate, in units of time, positive.
    pub beta: f64,
}

impl ParetoNbd {
    /// Whether the parameters are within their ranges; those that have no unit up to 10⁶.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let positive = |v: f64| v > 0.0 && v.is_finite();
        positive(self.r)
            && self.r <= MOST
            && (0.0..=MOST).contains(&self.s)
            && positive(self.alpha)
            && positive(self.beta)
    }

    /// The same model for times counted in a unit `per_unit` of which make one of the present.
    #[must_use]
    pub fn rescaled(self, per_unit: f64) -> ParetoNbd {
        ParetoNbd {
            alpha: self.alpha * per_unit,
            beta: self.beta * per_unit,
            ..self
        }
    }

    /// The integrand of what follows the last order, from there on, and 0 at it.
    pub(crate) fn since_last(&self, x: f64, recency: f64) -> Powers {
        Powers {
            n: self.r + x,
            a: self.alpha + recency,
            m: self.s + 1.0,
            b: self.beta + recency,
            discount: 0.0,
        }
    }

    /// `ln` of the odds of having dropped out.
    fn ln_odds_dead(&self, x: f64, recency: f64, age: f64) -> f64 {
        let since = age - recency;
        if since <= 0.0 || self.s == 0.0 {
            return f64::NEG_INFINITY;
        }
        let powers = self.since_last(x, recency);
        libm::log(self.s / powers.b * powers.integral(since))
            + powers.n * libm::log1p(since / powers.a)
            + self.s * libm::log1p(since / powers.b)
    }

    /// The log-likelihood of a history.
    #[must_use]
    pub fn ln_likelihood(&self, history: &History) -> f64 {
        let (x, recency, age) = (history.x(), history.recency(), history.age());
        let ln_age = self.r * libm::log1p(age / self.alpha);
        if history.repeats() == 0 {
            // The chance of no repeat order is 1 less that of at least one.
            return libm::log1p(-self.order_before_the_end(self.r, self.alpha, self.beta, age));
        }
        ln_gamma_ratio(self.r, x)
            - ln_age
            - x * libm::log(self.alpha + age)
            - self.s * libm::log1p(age / self.beta)
            + softplus(self.ln_odds_dead(x, recency, age))
    }

    /// The chance that the customer has not dropped out.
    #[must_use]
    pub fn p_alive(&self, history: &History) -> f64 {
        logistic_of_minus(self.ln_odds_dead(history.x(), history.recency(), history.age()))
    }

    /// When P(alive) falls to `threshold` if no further order comes, to 13 digits of the time since the last
    /// order: found by bisection, there being no closed form.
    #[must_use]
    pub fn crossing(&self, history: &History, threshold: f64) -> Crossing {
        Crossing::of(self.p_alive(history), threshold, || {
            let is_above = |age: f64| self.p_alive(&history.at_age(age)) > threshold;
            let scale = self.alpha.min(self.beta) + history.recency();
            last_true(history.age(), scale, is_above)
        })
    }

    /// The chance of at least one order within `time` from now.
    #[must_use]
    pub fn p_order_within(&self, history: &History, time: f64) -> f64 {
        self.p_alive(history) * self.p_order_if_alive(history, time)
    }

    pub(crate) fn p_order_if_alive(&self, history: &History, time: f64) -> f64 {
        let age = history.age();
        self.order_before_the_end(
            self.r + history.x(),
            self.alpha + age,
            self.beta + age,
            time,
        )
    }

    /// The chance that an order comes within `time`, and before the end of the relation.
    fn order_before_the_end(&self, n: f64, a: f64, b: f64, time: f64) -> f64 {
        let powers = Powers {
            n: n + 1.0,
            a,
            m: self.s,
            b,
            discount: 0.0,
        };
        (n / a * powers.integral(time.max(0.0))).min(1.0)
    }

    /// Time from now within which an order comes with chance `level`; `None` where it never gets that
    /// likely.
    #[must_use]
    pub fn order_due_within(&self, history: &History, level: f64) -> Option<f64> {
        let scale = self.alpha + history.age();
        let is_below = |time: f64| self.p_order_within(history, time) < level;
        last_true(0.0, scale, is_below)
    }

    /// Orders to expect within `time` from now.
    #[must_use]
    pub fn expected_orders(&self, history: &History, time: f64) -> f64 {
        self.p_alive(history) * self.orders_if_alive(history, time)
    }

    pub(crate) fn orders_if_alive(&self, history: &History, time: f64) -> f64 {
        let beta = self.beta + history.age();
        let rate = (self.r + history.x()) / (self.alpha + history.age());
        rate * beta * decay_integral(self.s - 1.0, libm::log1p(time.max(0.0) / beta))
    }

    /// The same, each discounted continuously at rate `discount` per unit of time; `time` may be infinite.
    #[must_use]
    pub fn discounted_orders(&self, history: &History, time: f64, discount: f64) -> f64 {
        self.p_alive(history) * self.discounted_if_alive(history, time, discount)
    }

    /// All orders to come, discounted: DERT, for discount > 0. Without a discount it is infinite where
    /// s ≤ 1.
    #[must_use]
    pub fn discounted_lifetime_orders(&self, history: &History, discount: f64) -> f64 {
        self.discounted_orders(history, f64::INFINITY, discount)
    }

    pub(crate) fn discounted_if_alive(&self, history: &History, time: f64, discount: f64) -> f64 {
        let beta = self.beta + history.age();
        let rate = (self.r + history.x()) / (self.alpha + history.age());
        if time == f64::INFINITY {
            return rate * beta * scaled_expint(self.s, discount * beta);
        }
        if discount <= 0.0 {
            return self.orders_if_alive(history, time);
        }
        let powers = Powers {
            n: 0.0,
            a: beta,
            m: self.s,
            b: beta,
            discount,
        };
        rate * powers.integral(time.max(0.0))
    }
}

/// The last point from `from` on, where `holds` is true, before it becomes false for good; `None` where it
/// does not within the range of numbers.
fn last_true(from: f64, scale: f64, holds: impl Fn(f64) -> bool) -> Option<f64> {
    let mut low = 0.0;
    let mut high = scale;
    while holds(from + high) {
        low = high;
        high *= 2.0;
        if high > scale * 1e18 {
            return None;
        }
    }
    while high - low > 1e-13 * high {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if holds(from + middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(from + high)
}
