//! Repeat orders week by week: what came of the cohort, and what each model expected of it from the first orders on.

use std::collections::BTreeMap;

use clv::tracking::expected_until;
use domain::time::Day;

use super::super::evaluate::Evaluated;
use super::super::history::Books;
use super::axis::{Axis, number};
use super::figure::{Figure, Ink, Plot, Series, Shape, solid_first};
use super::no_model;

const CUMULATED: (&str, &str) = ("tracking", "Tracking: repeat orders so far, week by week");
const WEEKLY: (&str, &str) = ("weekly", "Tracking: repeat orders of each week");

/// Repeat orders until the end of every whole week.
struct Weeks {
    ends: Vec<Day>,
    actual: Vec<f64>,
    predicted: Vec<(&'static str, Vec<f64>)>,
    /// Weeks until the holdout begins.
    holdout: f64,
}

/// Both figures.
pub(super) fn figures(books: &Books, evaluated: &Evaluated) -> [Figure; 2] {
    let missing = |why: String| {
        [CUMULATED, WEEKLY].map(|(id, title)| Figure::missing(id, title, why.clone()))
    };
    if let Some(why) = no_model(&evaluated.fits) {
        return missing(why);
    }
    match Weeks::of(books, evaluated) {
        Some(weeks) => [weeks.cumulated(), weeks.weekly()],
        None => missing("the orders span less than two weeks".to_owned()),
    }
}

impl Weeks {
    /// `None` where there are fewer than two. Days of the last week that is not whole are left out.
    fn of(books: &Books, evaluated: &Evaluated) -> Option<Weeks> {
        let Evaluated { until, end, .. } = *evaluated;
        let mut firsts: BTreeMap<Day, u32> = BTreeMap::new();
        for customer in &evaluated.customers {
            *firsts.entry(customer.statistics.first).or_default() += 1;
        }
        let firsts: Vec<(Day, u32)> = firsts.into_iter().collect();
        let begin = firsts.first()?.0;
        let ends: Vec<Day> = (1..)
            .map(|week| Day(begin.0 + week * 7 - 1))
            .take_while(|day| *day <= end)
            .collect();
        if ends.len() < 2 {
            return None;
        }
        let fitted = evaluated.fits.orders.iter();
        Some(Weeks {
            actual: actual(books, evaluated, &ends),
            predicted: fitted
                .filter_map(|(by, fit)| {
                    let model = &fit.as_ref().ok()?.model;
                    Some((*by, expected_until(model, &firsts, &ends)))
                })
                .collect(),
            holdout: f64::from(until.0 + 1 - begin.0) / 7.0,
            ends,
        })
    }

    fn cumulated(&self) -> Figure {
        let from_0 = |orders: &[f64]| {
            let weeks = (1..).map(f64::from);
            let points = weeks.zip(orders.iter().copied());
            std::iter::once((0.0, 0.0)).chain(points).collect()
        };
        let plot = self.plot("repeat orders so far", from_0);
        let last = |orders: &[f64]| orders.last().copied().unwrap_or(0.0);
        let came = last(&self.actual);
        let expected = self.predicted.iter().map(|(by, orders)| {
            let orders = last(orders);
            let off = if came > 0.0 {
                format!(" ({:+.1}\u{a0}%)", (orders / came - 1.0) * 100.0)
            } else {
                String::new()
            };
            format!("{by} {}{off}", number(orders, 0.0))
        });
        let expected: Vec<String> = expected.collect();
        Figure {
            id: CUMULATED.0,
            title: CUMULATED.1.to_owned(),
            reading: format!(
                "A model tracks its customers where its line stays on the black one, also right of the vertical line, \
                 where orders come that it was not fitted to. Counted are days with an order after each customer's \
                 first; models are told the first days only. After {} weeks {} had come; expected were {}.",
                self.ends.len(),
                number(came, 0.0),
                expected.join(", ")
            ),
            plot: Ok(plot),
        }
    }

    fn weekly(&self) -> Figure {
        let by_week = |orders: &[f64]| {
            let before = std::iter::once(0.0).chain(orders.iter().copied());
            let of_week = orders.iter().zip(before).map(|(now, before)| now - before);
            (1..).map(f64::from).zip(of_week).collect()
        };
        Figure {
            id: WEEKLY.0,
            title: WEEKLY.1.to_owned(),
            reading: "Models follow the level, not single weeks: a season or a campaign shows as a bump of the black \
                      line, a lasting gap right of the vertical line as a model that is off."
                .to_owned(),
            plot: Ok(self.plot("repeat orders of the week", by_week)),
        }
    }

    fn plot(&self, title: &str, points: impl Fn(&[f64]) -> Vec<(f64, f64)>) -> Plot {
        let line = |name: &str, ink, orders: &[f64]| Series {
            name: name.to_owned(),
            ink,
            shape: Shape::Line(points(orders)),
        };
        let mut series = vec![line("actual", Ink::ACTUAL, &self.actual)];
        let predicted = self.predicted.iter();
        series.extend(predicted.map(|(by, orders)| line(by, Ink::of(by), orders)));
        solid_first(&mut series);
        let most = series
            .iter()
            .flat_map(|series| series.shape.points())
            .fold(0.0, |most: f64, (_, y)| most.max(*y));
        Plot {
            x: Axis::weeks("weeks since the first order of all", self.ends.len() as f64),
            y: Axis::linear(title, 0.0, most),
            series,
            holdout: Some(self.holdout),
        }
    }
}

/// Repeat orders that came until each of the days: those of the calibration as they stood at its end, so that they are
/// the ones that the models were fitted to, those after it as they stood at the end of the holdout.
fn actual(books: &Books, evaluated: &Evaluated, ends: &[Day]) -> Vec<f64> {
    let Evaluated { until, end, .. } = *evaluated;
    let mut orders = vec![0.0; ends.len()];
    for ((_, before), (_, after)) in books.all.purchases(until).zip(books.all.purchases(end)) {
        let Some(statistics) = before.statistics() else {
            continue;
        };
        if statistics.repeats == 0 && after.between(until, end).0 == 0 {
            continue;
        }
        for (so_far, day) in orders.iter_mut().zip(ends) {
            let (calibration, _) = before.between(statistics.first, (*day).min(until));
            let (holdout, _) = after.between(until, *day);
            *so_far += f64::from(calibration + holdout);
        }
    }
    orders
}
