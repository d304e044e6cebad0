//! Means over the chance of dropping out, of a customer who has not dropped out yet.
//!
//! Given the rate λ and the chance p, orders within a time t are (1 − e^(−λpt))/p in the mean. With λ from
//! Gamma(n, A) and z = t/A this is g(p) = (1 − (1+pz)^(−n))/p, and p is from Beta(a, c − a). Its mean is the
//! integral of the textbooks, `n·∫₀^z ₂F₁(n+1, a; c; −u) du`, with the order of integration exchanged.
//!
//! For a → 0 the density of p piles up at 0. Integrating by parts once at each end raises both parameters of
//! the Beta by 1, after which the density is bounded and the limits are ordinary points:
//!
//! ```text
//! E[g; a, b] = E[g − g′·(b/c − p)/(c+1); a+1, b+1],   c = a + b
//! ```
//!
//! That integral is taken by the trapezoidal rule in ln(p/(1−p)), where the integrand is analytic in a strip
//! and falls off at both ends, so that the rule converges exponentially.

use crate::special::decay_integral;

/// On one side: more than any parameters in range take, so that none out of it make an endless loop.
const MOST_NODES: u32 = 20_000;

/// First three factorial moments of the number of orders within a time, of a customer who has not dropped out.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Moments {
    /// Mean.
    pub(crate) mean: f64,
    /// Mean of `X·(X − 1)`.
    pub(crate) factorial: f64,
    /// Mean of `X·(X − 1)·(X − 2)`.
    pub(crate) third: f64,
}

/// Where the mean is taken: n, a and b as above.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropout {
    n: f64,
    a: f64,
    b: f64,
    step: f64,
    centre: f64,
}

/// What one node adds.
struct Node {
    weight: f64,
    mean: f64,
    factorial: f64,
    third: f64,
}

impl Dropout {
    pub(crate) fn new(n: f64, a: f64, b: f64) -> Dropout {
        let (up, down) = (a + 1.0, b + 1.0);
        // Standard deviation of ln(p/(1−p)), about.
        let spread = libm::sqrt(1.0 / up + 1.0 / down);
        Dropout {
            n,
            a,
            b,
            step: (0.6 * spread).min(0.2),
            centre: libm::log(up / down),
        }
    }

    /// Moments of the orders within `z` (a time over α + T).
    pub(crate) fn moments(&self, z: f64) -> Moments {
        if z <= 0.0 {
            return Moments {
                mean: 0.0,
                factorial: 0.0,
                third: 0.0,
            };
        }
        let (mut weight, mut mean, mut factorial, mut third) = (0.0, 0.0, 0.0, 0.0);
        let mut add = |node: &Node| {
            weight += node.weight;
            mean += node.mean;
            factorial += node.factorial;
            third += node.third;
            node.weight <= weight * 1e-18
                && node.mean <= mean * 1e-18
                && node.factorial <= factorial * 1e-18
                && node.third <= third * 1e-18
        };
        add(&self.node(self.centre, z));
        for direction in [self.step, -self.step] {
            let mut at = self.centre + direction;
            for _ in 0..MOST_NODES {
                if add(&self.node(at, z)) {
                    break;
                }
                at += direction;
            }
        }
        let c = self.a + self.b;
        Moments {
            mean: mean / weight,
            factorial: factorial / weight * self.b / c,
            third: third / weight * self.b * (c + 2.0) / (c * (c + 1.0)),
        }
    }

    /// The mean of 1/p, which is that of all orders to come: infinite for a ≤ 1.
    pub(crate) fn mean_of_inverse(&self) -> f64 {
        if self.a > 1.0 {
            (self.a + self.b - 1.0) / (self.a - 1.0)
        } else {
            f64::INFINITY
        }
    }

    /// The node at ln(p/(1−p)) = `at`.
    fn node(&self, at: f64, z: f64) -> Node {
        let (n, c) = (self.n, self.a + self.b);
        let odds = libm::exp(at);
        let (p, q) = (odds / (1.0 + odds), 1.0 / (1.0 + odds));
        let away = at - self.centre;
        // ln of p^(a+1) q^(b+1) over its value at the centre, where odds = (a+1)/(b+1).
        let top = (self.a + 1.0) / (self.b + 1.0);
        let weight =
            libm::exp((self.a + 1.0) * away - (c + 2.0) * libm::log1p((odds - top) / (1.0 + top)));
        let growth = libm::log1p(p * z);
        let none = libm::exp(-n * growth);
        let [two, three] = at_least(n, p * z, growth, none);
        // g, −g′ and the same of the higher moments, k = 2·two/p² and l = 6·three/p³.
        let g = n * decay_integral(n, growth) / p;
        let g_falls = two / (p * p);
        let k = 2.0 * g_falls;
        let share = p * z / (1.0 + p * z);
        let exactly_two = n * (n + 1.0) * share * share * none;
        let k_falls = 2.0 * (2.0 * two - exactly_two) / (p * p * p);
        let l = 6.0 * three / (p * p * p);
        let l_falls = (18.0 * three - 3.0 * (n + 2.0) * share * exactly_two) / (p * p * p * p);
        Node {
            weight,
            mean: weight * (g + g_falls * (self.b / c - p) / (c + 1.0)),
            factorial: weight * (k + q * k_falls.max(0.0) / (c + 1.0)),
            third: weight * q * (l + q * l_falls.max(0.0) / (c + 2.0)),
        }
    }
}

/// The chances of two or more, and of three or more, of a negative binomial with shape n and odds u: `1 − (1+u)^(−n) −
/// n·u·(1+u)^(−n−1)`, and so on. `growth` is ln(1+u) and `none` e^(−n·growth).
fn at_least(n: f64, u: f64, growth: f64, none: f64) -> [f64; 2] {
    let share = u / (1.0 + u);
    let one = none * n * share;
    let two = one * (n + 1.0) * share / 2.0;
    if n * growth > 0.2 || share > 0.5 {
        let at_least_two = -libm::expm1(-n * growth) - one;
        return [at_least_two, (at_least_two - two).max(0.0)];
    }
    // Its terms from 3 on.
    let mut term = two * (n + 2.0) * share / 3.0;
    let mut sum = term;
    let mut k = 3.0;
    while term > sum * 1e-17 {
        term *= (n + k) * share / (k + 1.0);
        sum += term;
        k += 1.0;
    }
    [two + sum, sum]
}
