//! Conditional expectations: orders in the holdout by how many repeat orders came before it.

use super::super::evaluate::{Evaluated, Row, Scored};
use super::axis::Axis;
use super::figure::{Figure, Ink, Plot, Series, Shape, solid_first};

const ID: &str = "frequency";
const TITLE: &str = "Conditional expectations: holdout orders by earlier repeat orders";
/// The prediction that is cut off rather than flatten all others.
const FORMULA: &str = "formula";

pub(super) fn figure(evaluated: &Evaluated) -> Figure {
    let Some(first) = evaluated.scores.first() else {
        return Figure::missing(ID, TITLE, "nothing was predicted");
    };
    let rows = &first.by_frequency;
    let line = |name: &str, ink, of: &dyn Fn(&Row) -> f64, rows: &[Row]| Series {
        name: name.to_owned(),
        ink,
        shape: Shape::Marked((0..).map(f64::from).zip(rows.iter().map(of)).collect()),
    };
    let most = |of: &dyn Fn(&Row) -> f64, rows: &[Row]| rows.iter().map(of).fold(0.0, f64::max);
    let models: Vec<&Scored> = evaluated
        .scores
        .iter()
        .filter(|s| s.by != FORMULA)
        .collect();
    let highest = models
        .iter()
        .map(|s| most(&|row| row.predicted, &s.by_frequency))
        .fold(most(&|row| row.actual, rows), f64::max);
    let y = if models.is_empty() {
        let formula = most(&|row| row.predicted, rows);
        Axis::linear("orders per customer", 0.0, highest.max(formula))
    } else {
        Axis::linear("orders per customer", 0.0, highest)
    };
    let mut series = vec![line("actual", Ink::ACTUAL, &|row| row.actual, rows)];
    let mut cut = String::new();
    for scored in &evaluated.scores {
        let is_cut = scored.by == FORMULA && scored.by_frequency.iter().any(|r| r.predicted > y.to);
        if is_cut && let Some(last) = scored.by_frequency.last() {
            cut = format!(
                " The formula leaves the plot: it comes to {:.1} for {}.",
                last.predicted, last.repeats
            );
        }
        let name = if is_cut {
            "formula (cut off)"
        } else {
            scored.by
        };
        series.push(line(
            name,
            Ink::of(scored.by),
            &|row| row.predicted,
            &scored.by_frequency,
        ));
    }
    solid_first(&mut series);
    let groups = rows.iter().map(|row| row.repeats.clone()).collect();
    let customers: usize = rows.iter().map(|row| row.customers).sum();
    let one_time = rows.first().filter(|row| row.repeats == "0");
    let one_time = one_time.map_or(0, |row| row.customers) as f64;
    Figure {
        id: ID,
        title: TITLE.to_owned(),
        reading: format!(
            "Of customers with so many repeat orders until the holdout, how many orders each placed in it on average \
             (black), and how many were expected; the nearer a line to the black one, the better. {:.0}\u{a0}% had no repeat \
             order.{cut}",
            one_time / customers.max(1) as f64 * 100.0
        ),
        plot: Ok(Plot {
            x: Axis::groups("repeat orders until the holdout", groups),
            y,
            series,
            holdout: None,
        }),
    }
}
