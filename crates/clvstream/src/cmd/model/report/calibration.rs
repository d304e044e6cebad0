//! Calibration by tenth: what customers brought against what was expected of them, from the tenth with the highest
//! predictions to the one with the lowest.

use clv::evaluate::{Decile, Evaluation};

use super::super::evaluate::Evaluated;
use super::Valued;
use super::axis::{Axis, amount};
use super::figure::{Figure, Ink, Plot, Series, Shape, solid_first};

/// Expected and actual revenue of each tenth side by side, for one model.
pub(super) fn by_tenth(valued: &Valued, scores: &Evaluation, currency: &str) -> Figure {
    let tenths: Vec<&Decile> = scores.deciles.iter().filter(|t| t.customers > 0).collect();
    let bars = |name: &str, ink, from: f64, of: &dyn Fn(&Decile) -> f64| Series {
        name: name.to_owned(),
        ink,
        shape: Shape::Bars(
            (0..)
                .map(f64::from)
                .zip(&tenths)
                .map(|(at, tenth)| (at + from, at + from + 0.38, of(tenth)))
                .collect(),
        ),
    };
    let all = tenths.iter().flat_map(|t| [t.predicted, t.actual]);
    let (least, most) = all.fold((0.0, 0.0), |(least, most): (f64, f64), v| {
        (least.min(v), most.max(v))
    });
    let top = tenths.first().map_or_else(String::new, |top| {
        format!(
            " Of the first tenth {currency}\u{a0}{} each was expected, and {currency}\u{a0}{} came.",
            amount(top.predicted),
            amount(top.actual)
        )
    });
    Figure {
        id: "tenths",
        title: format!("Calibration by tenth: {}", valued.by),
        reading: format!(
            "Customers in ten groups by what {} expects of them: it is well calibrated where both bars of a group are \
             equally high, and tells customers apart where bars fall from left to right.{top}",
            valued.by
        ),
        plot: Ok(Plot {
            x: Axis::groups(
                "tenth of customers, the highest prediction first",
                (1..=tenths.len()).map(|tenth| tenth.to_string()).collect(),
            ),
            y: Axis::linear(format!("{currency} per customer"), least, most),
            series: vec![
                bars("expected", Ink::PREDICTED, -0.39, &|t| t.predicted),
                bars("actual", Ink::ACTUAL, 0.01, &|t| t.actual),
            ],
            holdout: None,
        }),
    }
}

/// Actual against expected revenue of each tenth, for all predictions.
pub(super) fn all(evaluated: &Evaluated, currency: &str) -> Figure {
    let (id, title) = ("calibration", "Calibration by tenth: all predictions");
    let mut series = Vec::new();
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    let mut left_out = Vec::new();
    for scored in &evaluated.scores {
        let Some(scores) = &scored.revenue else {
            continue;
        };
        let tenths = || scores.deciles.iter().filter(|t| t.customers > 0);
        let drawn = || {
            tenths().filter(|t| {
                [t.predicted, t.actual]
                    .iter()
                    .all(|v| *v > 0.0 && v.is_finite())
            })
        };
        for tenth in drawn() {
            least = least.min(tenth.predicted).min(tenth.actual);
            most = most.max(tenth.predicted).max(tenth.actual);
        }
        let without = tenths().count() - drawn().count();
        if without > 0 {
            left_out.push(format!("{without} of {}", scored.by));
        }
        let points = drawn().map(|t| (t.predicted.log10(), t.actual.log10()));
        series.push(Series {
            name: scored.by.to_owned(),
            ink: Ink::of(scored.by),
            shape: Shape::Marks(points.collect()),
        });
    }
    if most <= 0.0 {
        return Figure::missing(id, title, "no tenth brought anything");
    }
    let x = Axis::logarithmic(format!("expected, {currency} per customer"), least, most);
    let y = Axis::logarithmic(format!("actual, {currency} per customer"), least, most);
    let diagonal = Series {
        name: "actual as expected".to_owned(),
        ink: Ink::EVEN,
        shape: Shape::Line(vec![(x.from, y.from), (x.to, y.to)]),
    };
    solid_first(&mut series);
    series.insert(0, diagonal);
    let left_out = if left_out.is_empty() {
        String::new()
    } else {
        format!(
            " Tenths that brought nothing have no place on this scale and are left out: {}.",
            left_out.join(", ")
        )
    };
    Figure {
        id,
        title: title.to_owned(),
        reading: format!(
            "Each mark is a tenth of the customers by one prediction: on the dotted diagonal it brought what was \
             expected, right of it less, left of it more.{left_out}"
        ),
        plot: Ok(Plot {
            x,
            y,
            series,
            holdout: None,
        }),
    }
}
