//! BG/NBD and MBG/NBD: orders at a rate of the customer's own, and after each order a chance, of the
//! customer's own too, that it was the last.
//!
//! Sources: Fader, Hardie and Lee (2005), "Counting Your Customers the Easy Way", *Marketing Science* 24(2)
//! for BG/NBD; Batislam, Denizel and Filiztekin (2007), *International Journal of Research in Marketing*
//! 24(3) for MBG/NBD, where a customer may be gone after the first order too.
//!
//! Expectations are not taken from the textbooks' closed form, which is −∞ at a = 1 and loses its
//! digits for short horizons, but from the mean over the chance of dropping out, in [`dropout`]: every
//! term positive, every limit included (a → 0 is plain NBD).

mod dropout;
mod expect;

use domain::prediction::Family;

use crate::history::{Crossing, History};
use crate::special::{ln_gamma_ratio, logistic_of_minus, softplus};

pub(crate) use dropout::{Dropout, Moments};
pub(crate) use expect::discounted_within;

/// The largest parameter without a unit.
pub(crate) const MOST: f64 = 1e6;

/// Which of the two models.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Variant {
    /// BG/NBD: nobody is gone before the first repeat order, so that P(alive) of every one-time buyer is 1.
    Bg,
    /// MBG/NBD: the first order may have been the last.
    Mbg,
}

impl From<Family> for Variant {
    fn from(family: Family) -> Variant {
        match family {
            Family::BgNbd => Variant::Bg,
            Family::MbgNbd => Variant::Mbg,
        }
    }
}

/// Parameters of BG/NBD or MBG/NBD.
///
/// Rates of ordering are Gamma(r, α) over customers (mean r/α per unit of time), chances of dropping out
/// after an order Beta(a, b). `a` may be 0: nobody drops out.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BetaGeometric {
    /// Which of the two.
    pub variant: Variant,
    /// Shape of the rates of ordering, positive.
    pub r: f64,
    /// Their rate, in units of time, positive.
    pub alpha: f64,
    /// First parameter of the chances of dropping out, not negative.
    pub a: f64,
    /// Second one, positive.
    pub b: f64,
}

impl BetaGeometric {
    /// Whether the parameters are within their ranges; those without a unit up to 10⁶, beyond which a limit is
    /// reached and digits go.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let in_range = |v: f64| v > 0.0 && v <= MOST;
        in_range(self.r)
            && in_range(self.b)
            && (self.a == 0.0 || in_range(self.a))
            && self.alpha > 0.0
            && self.alpha.is_finite()
    }

    /// The same model for times counted in a unit `per_unit` of which make one of the present.
    #[must_use]
    pub fn rescaled(self, per_unit: f64) -> BetaGeometric {
        BetaGeometric {
            alpha: self.alpha * per_unit,
            ..self
        }
    }

    /// Chances not to drop out that the customer has taken: b grows by as many.
    fn survived(&self, x: f64) -> f64 {
        match self.variant {
            Variant::Bg => x,
            Variant::Mbg => x + 1.0,
        }
    }

    /// `ln` of the odds of having dropped out; −∞ where that cannot be.
    fn ln_odds_dead(&self, x: f64, recency: f64, age: f64) -> f64 {
        let stayed = self.b + self.survived(x) - 1.0;
        if self.a == 0.0 || (self.variant == Variant::Bg && x == 0.0) {
            return f64::NEG_INFINITY;
        }
        libm::log(self.a / stayed) + (self.r + x) * self.ln_since(recency, age)
    }

    /// `ln((α + age)/(α + recency))`.
    fn ln_since(&self, recency: f64, age: f64) -> f64 {
        libm::log1p((age - recency) / (self.alpha + recency))
    }

    /// The log-likelihood of a history.
    #[must_use]
    pub fn ln_likelihood(&self, history: &History) -> f64 {
        let (x, age) = (history.x(), history.age());
        let ln_age = libm::log1p(age / self.alpha);
        if history.repeats() == 0 {
            let unseen = match self.variant {
                Variant::Bg => return -self.r * ln_age,
                Variant::Mbg => self.b / (self.a + self.b),
            };
            return libm::log1p(unseen * libm::expm1(-self.r * ln_age));
        }
        ln_gamma_ratio(self.r, x) - self.r * ln_age - x * libm::log(self.alpha + age)
            + self.ln_stayed(x)
            + softplus(self.ln_odds_dead(x, history.recency(), age))
    }

    /// `ln` of the chance to stay after every order so far.
    fn ln_stayed(&self, x: f64) -> f64 {
        let times = self.survived(x);
        if times <= 64.0 {
            let mut sum = 0.0;
            let mut i = 0.0;
            while i < times {
                sum -= libm::log1p(self.a / (self.b + i));
                i += 1.0;
            }
            return sum;
        }
        ln_gamma_ratio(self.b, times) - ln_gamma_ratio(self.a + self.b, times)
    }

    /// The chance that the customer has not dropped out.
    #[must_use]
    pub fn p_alive(&self, history: &History) -> f64 {
        logistic_of_minus(self.ln_odds_dead(history.x(), history.recency(), history.age()))
    }

    /// When P(alive) falls to `threshold` (in closed form) if no further order comes.
    #[must_use]
    pub fn crossing(&self, history: &History, threshold: f64) -> Crossing {
        Crossing::of(self.p_alive(history), threshold, || {
            let (x, recency) = (history.x(), history.recency());
            let at_last = self.ln_odds_dead(x, recency, recency);
            let ln_odds = libm::log1p(-threshold) - libm::log(threshold);
            // Endless where he cannot have dropped out.
            let growth = libm::expm1((ln_odds - at_last) / (self.r + x));
            let at = recency + (self.alpha + recency) * growth;
            at.is_finite().then(|| at.max(history.age()))
        })
    }

    /// The chance of at least one order within `time` from now.
    #[must_use]
    pub fn p_order_within(&self, history: &History, time: f64) -> f64 {
        self.p_alive(history) * self.p_order_if_alive(history, time)
    }

    pub(crate) fn p_order_if_alive(&self, history: &History, time: f64) -> f64 {
        let growth = libm::log1p(time.max(0.0) / (self.alpha + history.age()));
        -libm::expm1(-(self.r + history.x()) * growth)
    }

    /// Time from now within which an order comes with chance `level`; `None` where P(alive) is not above it.
    ///
    /// At one half of P(alive) this is the median wait of those who are still there.
    #[must_use]
    pub fn order_due_within(&self, history: &History, level: f64) -> Option<f64> {
        let alive = self.p_alive(history);
        if level >= alive {
            return None;
        }
        let growth = -libm::log1p(-level.max(0.0) / alive) / (self.r + history.x());
        Some((self.alpha + history.age()) * libm::expm1(growth))
    }

    /// The distribution of the chance to drop out and of the rate, given the history and that the customer
    /// has not dropped out.
    pub(crate) fn dropout(&self, x: f64) -> Dropout {
        Dropout::new(self.r + x, self.a, self.b + self.survived(x))
    }
}
