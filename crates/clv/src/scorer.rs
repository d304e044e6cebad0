//! Scores: P(alive), orders and value to expect with an interval, from terms that are worked out once per
//! model and horizon.
//!
//! For a given number of repeat orders everything but P(alive) depends on the age alone, and is smooth in y =
//! ln(1 + horizon/(α + T)), analytic up to π beside the axis: some twenty Chebyshev coefficients hold it to ten digits. A
//! score is then P(alive), one sum over them and the quantiles; it allocates nothing. Customers with
//! more repeat orders than are tabulated get the same from the integrals themselves, slower.

mod series;

use std::sync::OnceLock;

use crate::beta_geometric::{BetaGeometric, Moments, discounted_within};
use crate::gamma_gamma::GammaGamma;
use crate::history::History;
use crate::special::{normal_quantile, trigamma};
use series::{Series, TERMS};

/// Repeat orders up to which terms are tabulated.
const TABULATED: u32 = 127;
/// Shapes of the spend's rate from which on its variance and third moment are used: both exist a little below, and
/// are nearly infinite there.
const VARIANCE_FROM: f64 = 2.5;
const SKEW_FROM: f64 = 3.5;

/// What a value is of.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Horizon {
    /// How far ahead, in the unit of time of the model; positive and finite.
    pub time: f64,
    /// Continuous discount rate per unit of time, not negative.
    pub discount: f64,
    /// Share of revenue that is margin; 1 gives revenue.
    pub margin_rate: f64,
    /// Share of customers that the interval is to hold, between 0 and 1; usually 0.8.
    pub coverage: f64,
}

impl Horizon {
    /// Revenue within `time`, with an 80 % interval and no discount.
    #[must_use]
    pub fn of(time: f64) -> Horizon {
        Horizon {
            time,
            discount: 0.0,
            margin_rate: 1.0,
            coverage: 0.8,
        }
    }

    /// Whether everything is within its range.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let from_0 = |v: f64| v.is_finite() && v >= 0.0;
        self.time > 0.0
            && from_0(self.time)
            && from_0(self.discount)
            && self.margin_rate.is_finite()
            && self.coverage > 0.0
            && self.coverage < 1.0
    }

    /// The same, discounted at `yearly` (0.1 is 10 % a year), a year having so many units of time.
    #[must_use]
    pub fn discounted(self, yearly: f64, units_per_year: f64) -> Horizon {
        Horizon {
            discount: libm::log1p(yearly) / units_per_year,
            ..self
        }
    }
}

/// What is to be expected of a customer within the horizon.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Score {
    /// Chance that he has not dropped out.
    pub p_alive: f64,
    /// Chance of at least one order.
    pub p_order: f64,
    /// Orders, in the mean.
    pub orders: f64,
    /// Value; `None` without a model of spend.
    pub value: Option<Value>,
}

/// A value with its interval, in the unit of money of the spend model.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Value {
    /// Mean value of an order.
    pub spend: f64,
    /// Mean of what his orders will come to: margin rate × spend × discounted orders.
    pub expected: f64,
    /// What they will come to lies between these for [`Horizon::coverage`] of such customers, as many lying below as
    /// above. Both are 0 for a customer who most likely does not order at all.
    pub low: f64,
    /// See `low`.
    pub high: f64,
}

/// A model with its horizon, prepared.
#[derive(Clone, Debug)]
pub struct Scorer {
    orders: BetaGeometric,
    spend: Option<GammaGamma>,
    horizon: Horizon,
    /// By repeat orders, each worked out when it is asked for first.
    by_repeats: Vec<OnceLock<Series>>,
}

/// Of customers with one number of repeat orders at one age who have not dropped out: orders and discounted
/// orders over y; coefficient of variation and skewness of what orders come to, where there is one.
type Terms = [f64; TERMS];

impl Scorer {
    /// A model with its horizon. Its terms are worked out as they are asked for, a millisecond for each number
    /// of repeat orders; [`Scorer::prepare`] does so at once. `None` where a parameter or the horizon is out of its range.
    #[must_use]
    pub fn new(
        orders: BetaGeometric,
        spend: Option<GammaGamma>,
        horizon: Horizon,
    ) -> Option<Scorer> {
        let spend_is_valid = spend.is_none_or(|spend| spend.is_valid());
        if !(orders.is_valid() && spend_is_valid && horizon.is_valid()) {
            return None;
        }
        Some(Scorer {
            orders,
            spend,
            horizon,
            by_repeats: (0..=TABULATED).map(|_| OnceLock::new()).collect(),
        })
    }

    /// Works out all terms that are tabulated, which takes some 0.2 s.
    pub fn prepare(&self) {
        for x in 0..=TABULATED {
            let _ = self.tabulated(x);
        }
    }

    fn tabulated(&self, x: u32) -> Option<&Series> {
        let series = self.by_repeats.get(x as usize)?;
        let end = || libm::log1p(self.horizon.time / self.orders.alpha);
        Some(series.get_or_init(|| self.series(f64::from(x), end())))
    }

    /// The model of orders.
    #[must_use]
    pub fn orders(&self) -> &BetaGeometric {
        &self.orders
    }

    /// The model of spend.
    #[must_use]
    pub fn spend(&self) -> Option<&GammaGamma> {
        self.spend.as_ref()
    }

    /// The horizon.
    #[must_use]
    pub fn horizon(&self) -> &Horizon {
        &self.horizon
    }

    /// Scores a customer whose repeat orders came to `spent`.
    #[must_use]
    pub fn score(&self, history: &History, spent: f64) -> Score {
        let x = f64::from(history.repeats());
        let p_alive = self.orders.p_alive(history);
        let y = libm::log1p(self.horizon.time / (self.orders.alpha + history.age()));
        let terms = match self.tabulated(history.repeats()) {
            Some(series) => series.at(y),
            None => self.terms(x, y, None),
        };
        let p_order = p_alive * -libm::expm1(-(self.orders.r + x) * y);
        Score {
            p_alive,
            p_order,
            orders: p_alive * terms[0] * y,
            value: self
                .spend
                .map(|spend| self.value(&spend, x, spent, p_order, p_alive * terms[1] * y, &terms)),
        }
    }

    fn value(
        &self,
        model: &GammaGamma,
        x: f64,
        spent: f64,
        p_order: f64,
        discounted: f64,
        terms: &Terms,
    ) -> Value {
        let spend = model.expected_spend(x, spent);
        let margin = self.horizon.margin_rate;
        let outside = 0.5 * (1.0 - self.horizon.coverage);
        let expected = margin * spend * discounted;
        let end = |level: f64| {
            // Of all such customers those who do not order come first.
            let among = (level - (1.0 - p_order)) / p_order;
            if among > 0.0 {
                expected / p_order * over_mean(terms, normal_quantile(among))
            } else {
                0.0
            }
        };
        let (low, high) = (end(outside), end(1.0 - outside));
        Value {
            spend,
            expected,
            low: low.min(high),
            high: high.max(low),
        }
    }

    fn series(&self, x: f64, end: f64) -> Series {
        // Discounting needs orders at many times of one age, which are a sum over the same coefficients.
        let dropout = self.orders.dropout(x);
        let plain = Series::fit(end, |y| {
            let moments = dropout.moments(libm::expm1(y));
            [
                moments.mean / y,
                moments.factorial / (y * y),
                moments.third / (y * y * y),
                0.0,
            ]
        });
        Series::fit(end, |y| self.terms(x, y, Some(&plain)))
    }

    /// The terms at y, from the integrals or from `plain` which has them.
    fn terms(&self, x: f64, y: f64, plain: Option<&Series>) -> Terms {
        let dropout = self.orders.dropout(x);
        let z = libm::expm1(y);
        let moments = |z: f64| match plain {
            Some(series) => {
                let y = libm::log1p(z);
                let [mean, factorial, third, ..] = series.at(y);
                Moments {
                    mean: mean * y,
                    factorial: factorial * y * y,
                    third: third * y * y * y,
                }
            }
            None => dropout.moments(z),
        };
        let now = moments(z);
        // In units of α + T, which is horizon/z.
        let discount = self.horizon.discount * self.horizon.time / z;
        let discounted = discounted_within(|z| moments(z).mean, z, discount);
        let (variation, skew) = match &self.spend {
            Some(spend) => self.shape_of_amount(spend, x, y, &now),
            None => (0.0, 0.0),
        };
        [now.mean / y, discounted / y, variation, skew]
    }

    /// Coefficient of variation and skewness of what orders come to, given that there is one.
    ///
    /// Exact, from the first three moments of the number of orders and of ν: an amount is Gamma(p·number) over ν. What
    /// the discount of single orders adds to them is left out.
    fn shape_of_amount(&self, spend: &GammaGamma, x: f64, y: f64, moments: &Moments) -> (f64, f64) {
        let any = -libm::expm1(-(self.orders.r + x) * y);
        let one = moments.mean / any;
        let two = (moments.factorial + moments.mean) / any;
        let three = (moments.third + 3.0 * moments.factorial + moments.mean) / any;
        let p = spend.p;
        let (shape, _) = spend.posterior(x, 0.0);
        let mean = p * one / (shape - 1.0);
        if shape <= VARIANCE_FROM {
            // Of a spend without variance, or next to none, the variance of its logarithm stands in.
            let of_number = libm::log((two / (one * one)).max(1.0));
            let of_logarithm = of_number + trigamma(p * one) + trigamma(shape);
            let variation = libm::sqrt(libm::expm1(of_logarithm));
            return (variation, 2.0 * variation);
        }
        let square = p * (p * two + one) / ((shape - 1.0) * (shape - 2.0));
        let sd = libm::sqrt((square - mean * mean).max(0.0));
        let variation = sd / mean;
        // A gamma distribution's, which ends at 0; more would leave nothing near 0.
        let of_gamma = 2.0 * variation;
        if shape <= SKEW_FROM || sd == 0.0 {
            return (variation, of_gamma);
        }
        let cube = p * (p * p * three + 3.0 * p * two + 2.0 * one)
            / ((shape - 1.0) * (shape - 2.0) * (shape - 3.0));
        let skew = (cube - 3.0 * mean * square + 2.0 * mean * mean * mean) / (sd * sd * sd);
        (variation, skew.min(of_gamma))
    }
}

/// The quantile at `z` standard deviations of the normal distribution, over the mean, of an amount with such
/// variation and skewness: Pearson's type III by the cube root of Wilson and Hilferty.
fn over_mean(terms: &Terms, z: f64) -> f64 {
    let [.., variation, skew] = *terms;
    let standard = if skew.abs() < 1e-6 {
        z
    } else {
        let root = (1.0 + skew * z / 6.0 - skew * skew / 36.0).max(0.0);
        2.0 / skew * (root * root * root - 1.0)
    };
    (1.0 + variation * standard).max(0.0)
}
