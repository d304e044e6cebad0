//! Fits of all models to one history, side by side.

use clv::beta_geometric::Variant;
use clv::fit::{FitError, FitOptions, Fitted, fit_beta_geometric, fit_gamma_gamma, fit_pareto};
use clv::gamma_gamma::GammaGamma;
use clv::histogram::{OrderHistogram, SpendHistogram};
use clv::model::OrderModel;
use domain::purchases::Statistics;
use domain::time::Day;

/// What became of each model.
#[derive(Clone, PartialEq, Debug)]
pub struct Fits {
    /// BG/NBD, MBG/NBD and Pareto/NBD, by name.
    pub orders: [(&'static str, Result<Fitted<OrderModel>, FitError>); 3],
    /// Gamma-Gamma, in units of the currency.
    pub spend: Result<Fitted<GammaGamma>, FitError>,
}

impl Fits {
    /// Fits all to customers as of a day.
    #[must_use]
    pub fn of(
        customers: &[Statistics],
        day: Day,
        minor_per_unit: f64,
        options: &FitOptions,
    ) -> Fits {
        let (orders, spend) = histograms_of(customers);
        Fits::of_histograms(&orders, &spend, day, minor_per_unit, options)
    }

    /// Fits all to histograms as of a day.
    #[must_use]
    pub fn of_histograms(
        orders: &OrderHistogram,
        spend: &SpendHistogram,
        day: Day,
        minor_per_unit: f64,
        options: &FitOptions,
    ) -> Fits {
        let cells = orders.cells(f64::from(day.0));
        let groups = spend.groups(minor_per_unit);
        let of = |variant| {
            fit_beta_geometric(variant, &cells, options).map(|f| f.map(OrderModel::BetaGeometric))
        };
        std::thread::scope(|threads| {
            let pareto =
                threads.spawn(|| fit_pareto(&cells, options).map(|f| f.map(OrderModel::Pareto)));
            let (bg, mbg) = (of(Variant::Bg), of(Variant::Mbg));
            let spend = fit_gamma_gamma(&groups, options);
            let pareto = match pareto.join() {
                Ok(fitted) => fitted,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            Fits {
                orders: [("BG/NBD", bg), ("MBG/NBD", mbg), ("Pareto/NBD", pareto)],
                spend,
            }
        })
    }
}

/// The histograms of customers.
pub(super) fn histograms_of<'a>(
    customers: impl IntoIterator<Item = &'a Statistics>,
) -> (OrderHistogram, SpendHistogram) {
    let mut orders = OrderHistogram::default();
    let mut spend = SpendHistogram::default();
    for customer in customers {
        orders.add(customer);
        spend.add(customer);
    }
    (orders, spend)
}
