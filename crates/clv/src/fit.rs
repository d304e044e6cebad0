//! Maximum likelihood: parameters, their errors, and whether the optimum lies on a boundary.
//!
//! From cells with weights ([`Cell`]), which a histogram gives or single customers are. The search runs in
//! logarithms chosen so that every limit of a model is a bound of one variable: it is then found and named
//! ([`Boundary`]) instead of being run after. It runs on pooled cells from several starts, and ends on the
//! exact ones, so that pooling costs no digit.
//!
//! Single-threaded; whoever fits several models runs them side by side.

mod beta_geometric;
mod minimise;
mod orders;
mod pareto;
mod sample;
mod search;
mod spend;

use thiserror::Error;

pub use beta_geometric::fit_beta_geometric;
pub use pareto::fit_pareto;
pub use sample::Cell;
pub use spend::{SpendGroup, fit_gamma_gamma};

/// What a fit asks for and how it is held back.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FitOptions {
    /// Weight of the squared logarithms of the parameters (of α, β and v over their scale: the longest age, the
    /// mean spend) against the mean negative log-likelihood of a customer. 0 is plain maximum likelihood.
    pub l2: f64,
    /// Fewest customers for a fit.
    pub min_customers: u64,
    /// Fewest of them with a repeat order.
    pub min_repeaters: u64,
}

impl Default for FitOptions {
    fn default() -> FitOptions {
        FitOptions {
            l2: 0.0,
            min_customers: 100,
            min_repeaters: 20,
        }
    }
}

/// One parameter.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Estimate {
    /// Its name, as in docs/models.md.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// Standard error of its logarithm; `None` where the optimum lies on a boundary or is flat in this
    /// direction.
    pub ln_error: Option<f64>,
}

impl Estimate {
    /// Standard error, by the delta method.
    #[must_use]
    pub fn standard_error(&self) -> Option<f64> {
        self.ln_error.map(|e| e * self.value)
    }

    /// An interval on the scale of the logarithm, `z` standard errors to each side.
    #[must_use]
    pub fn interval(&self, z: f64) -> Option<(f64, f64)> {
        let spread = libm::exp(z * self.ln_error?);
        Some((self.value / spread, self.value * spread))
    }
}

/// A limit in which the optimum lies: the data ask for a simpler model.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Boundary {
    /// r → ∞: all customers order at the same rate.
    SameRate,
    /// r → 0: hardly anybody orders again, few do without end.
    FewOrder,
    /// a/b → 0 or s/β → 0: nobody drops out, which is plain NBD.
    NobodyDropsOut,
    /// a/b → ∞ or s/β → ∞: everybody drops out at once.
    EverybodyDropsOut,
    /// a + b → ∞ or s → ∞: the same chance or rate of dropping out for all.
    SameDropout,
    /// a + b → 0 or s → 0: a customer drops out at once or never.
    DropoutAtOnceOrNever,
    /// p → ∞: every order of a customer comes to the same.
    SameOrderValue,
    /// p → 0: values of a customer's orders vary without bound.
    AnyOrderValue,
    /// q → ∞: every customer spends the same in the mean.
    SameSpend,
}

impl Boundary {
    /// In words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Boundary::SameRate => "all customers order at the same rate (r → ∞)",
            Boundary::FewOrder => "few customers order again, and those without end (r → 0)",
            Boundary::NobodyDropsOut => "nobody drops out: plain NBD (a/b or s/β → 0)",
            Boundary::EverybodyDropsOut => "everybody drops out at once (a/b or s/β → ∞)",
            Boundary::SameDropout => "dropping out is equally likely for all (a + b or s → ∞)",
            Boundary::DropoutAtOnceOrNever => {
                "customers drop out at once or never (a + b or s → 0)"
            }
            Boundary::SameOrderValue => "every order of a customer comes to the same (p → ∞)",
            Boundary::AnyOrderValue => "a customer's orders vary without bound (p → 0)",
            Boundary::SameSpend => "every customer spends the same in the mean (q → ∞)",
        }
    }
}

/// A model that was fitted.
#[derive(Clone, PartialEq, Debug)]
pub struct Fitted<M> {
    /// The model.
    pub model: M,
    /// Its parameters with errors.
    pub estimates: Vec<Estimate>,
    /// Log-likelihood of all customers, without the penalty.
    pub ln_likelihood: f64,
    /// Customers it was fitted to.
    pub customers: u64,
    /// Cells or groups that they were in.
    pub cells: usize,
    /// Limits in which the optimum lies.
    pub boundaries: Vec<Boundary>,
    /// Searches that were made, each from another start.
    pub starts: usize,
    /// How many of them came to this optimum.
    pub agreeing: usize,
}

impl<M> Fitted<M> {
    /// The same fit with the model as something else.
    #[must_use]
    pub fn map<N>(self, to: impl FnOnce(M) -> N) -> Fitted<N> {
        Fitted {
            model: to(self.model),
            estimates: self.estimates,
            ln_likelihood: self.ln_likelihood,
            customers: self.customers,
            cells: self.cells,
            boundaries: self.boundaries,
            starts: self.starts,
            agreeing: self.agreeing,
        }
    }
}

/// Why there is no fit. Historic and formula value go on without one.
#[derive(Clone, Copy, PartialEq, Debug, Error)]
pub enum FitError {
    /// Too few customers.
    #[error(
        "{customers} customers are too few to fit from: wait for {needed}, or lower the minimum"
    )]
    FewCustomers {
        /// How many there are.
        customers: u64,
        /// How many are asked for.
        needed: u64,
    },
    /// Nobody ordered again.
    #[error(
        "none of {customers} customers has ordered again: there is nothing to learn a rate from yet"
    )]
    NoRepeatOrders {
        /// How many there are.
        customers: u64,
    },
    /// Too few ordered again.
    #[error(
        "{repeaters} of {customers} customers ordered again, which is too few: wait for {needed}, or lower the minimum"
    )]
    FewRepeaters {
        /// How many did.
        repeaters: u64,
        /// Of how many.
        customers: u64,
        /// How many are asked for.
        needed: u64,
    },
    /// Too few repeat orders that came to something.
    #[error(
        "{spenders} customers have repeat orders that came to more than nothing, which is too few for a model of spend: wait for {needed}, or lower the minimum"
    )]
    FewSpenders {
        /// How many have.
        spenders: u64,
        /// How many are asked for.
        needed: u64,
    },
    /// All customers are of today.
    #[error(
        "no time has passed since the first order of any of {customers} customers: fit as of a later day"
    )]
    NoTime {
        /// How many there are.
        customers: u64,
    },
    /// The mean of the spend does not exist.
    #[error(
        "spend is spread so widely that it has no mean (q = {q}, and must be above 1): check for outliers among order values, or set an L2 penalty"
    )]
    NoMeanSpend {
        /// The shape that was found.
        q: f64,
    },
    /// The search did not end.
    #[error(
        "the search for the best parameters did not end within its iterations, at a log-likelihood of {ln_likelihood}: set an L2 penalty, or fit from more data"
    )]
    NoEnd {
        /// Where it stood.
        ln_likelihood: f64,
    },
}
