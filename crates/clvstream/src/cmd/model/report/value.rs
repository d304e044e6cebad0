//! What customers are expected to bring: its distribution, and how few bring most of it.

use super::super::evaluate::Evaluated;
use super::Valued;
use super::axis::{Axis, amount, tick};
use super::figure::{Figure, Ink, Plot, Series, Shape};

/// Most bars of the histogram.
const BARS: usize = 30;
/// Edges of bars within a power of ten.
const DIGITS: [f64; 6] = [1.0, 1.5, 2.0, 3.0, 5.0, 7.0];
/// Characters that have room below an axis.
const ROOM: usize = 50;
/// Points of a curve of shares.
const POINTS: usize = 200;

/// How many customers are expected to bring how much, in steps of about a half more each.
pub(super) fn distribution(valued: &Valued, currency: &str) -> Figure {
    let (id, title) = (
        "distribution",
        "Distribution: expected value of customers in the holdout",
    );
    let is_number = |v: &f64| v.is_finite();
    let mut values: Vec<f64> = valued.predicted.iter().copied().filter(is_number).collect();
    values.sort_by(f64::total_cmp);
    let Some(edges) = edges(&values) else {
        return Figure::missing(id, title, "nobody is expected to bring anything");
    };
    let within = |from: f64, to: f64| {
        values.partition_point(|v| *v < to) - values.partition_point(|v| *v < from)
    };
    let least = edges[0];
    let fewer = within(f64::NEG_INFINITY, least);
    let mut bars: Vec<(f64, f64, f64)> = edges
        .windows(2)
        .zip(0..)
        .map(|(edge, at)| {
            let at = f64::from(at);
            (at + 0.04, at + 0.96, within(edge[0], edge[1]) as f64)
        })
        .collect();
    let mut x = Axis {
        title: format!("expected value in {currency}, a scale of ratios"),
        from: 0.0,
        to: edges.len() as f64 - 1.0,
        ticks: ticks(&edges),
    };
    let mut below = String::new();
    if fewer > 0 {
        bars.insert(0, (-0.96, -0.04, fewer as f64));
        x.from = -1.0;
        below = format!(
            " The first bar is everybody below {currency}\u{a0}{}.",
            amount(least)
        );
    }
    let most = bars.iter().map(|bar| bar.2).fold(0.0, f64::max);
    let n = values.len();
    let median = (values[(n - 1) / 2] + values[n / 2]) / 2.0;
    Figure {
        id,
        title: title.to_owned(),
        reading: format!(
            "How many customers {} expects to bring that much; each bar is about half as much again as the one \
             before, so that few large values do not hide the many small ones.{below} Half are expected to bring less \
             than {currency}\u{a0}{}, the mean is {currency}\u{a0}{}, the highest {currency}\u{a0}{}.",
            valued.by,
            amount(median),
            amount(values.iter().sum::<f64>() / n as f64),
            amount(values[n - 1])
        ),
        plot: Ok(Plot {
            x,
            y: Axis::linear("customers", 0.0, most),
            series: vec![Series {
                name: valued.by.clone(),
                ink: Ink::PREDICTED,
                shape: Shape::Bars(bars),
            }],
            holdout: None,
        }),
    }
}

/// The round ones of the edges; powers of ten alone where there is no room for more.
fn ticks(edges: &[f64]) -> Vec<(f64, String)> {
    let at = |digits: &[f64]| {
        let is_one = |edge: f64| {
            let power = 10_f64.powf(edge.log10().floor());
            digits
                .iter()
                .any(|digit| (edge / power - digit).abs() < 1e-9)
        };
        let round = edges.iter().enumerate().filter(|(_, edge)| is_one(**edge));
        let told = |(at, edge): (usize, &f64)| {
            let decimals = (-(edge * (1.0 + 1e-9)).log10().floor()).max(0.0);
            (at as f64, tick(*edge, decimals))
        };
        round.map(told).collect::<Vec<_>>()
    };
    let all = at(&[1.0, 2.0, 5.0, 10.0]);
    let needed: usize = all.iter().map(|(_, text)| text.len() + 2).sum();
    if needed <= ROOM {
        all
    } else {
        at(&[1.0, 10.0])
    }
}

/// Edges 1, 1.5, 2, 3, 5, 7, 10 and so on, from at or below all but the lowest hundredth of the sorted, finite values
/// to above all. `None` where none is above nothing.
fn edges(sorted: &[f64]) -> Option<Vec<f64>> {
    let above = &sorted[sorted.partition_point(|v| *v <= 0.0)..];
    let (least, most) = (*above.get(above.len() / 100)?, *above.last()?);
    let mut power = 10_f64.powf(least.log10().floor());
    let mut edges = Vec::new();
    loop {
        for digit in DIGITS {
            edges.push(digit * power);
            if digit * power > most {
                let first = edges
                    .partition_point(|edge| *edge <= least)
                    .saturating_sub(1);
                let first = first.max(edges.len().saturating_sub(BARS + 1));
                return Some(edges.split_off(first));
            }
        }
        power *= 10.0;
    }
}

/// Share of value by share of customers, from the most valuable down.
pub(super) fn concentration(valued: &Valued, evaluated: &Evaluated) -> Figure {
    let (id, title) = (
        "concentration",
        "Concentration: share of value by share of customers",
    );
    let actual: Vec<f64> = evaluated.customers.iter().map(|c| c.revenue).collect();
    let curves = [
        ("actual", Ink::ACTUAL, shares(&actual)),
        (valued.by.as_str(), Ink::PREDICTED, shares(valued.predicted)),
    ];
    let even = Series {
        name: "everybody the same".to_owned(),
        ink: Ink::EVEN,
        shape: Shape::Line(vec![(0.0, 0.0), (1.0, 1.0)]),
    };
    let mut series = vec![even];
    let mut held = Vec::new();
    for (name, ink, shares) in curves {
        let Some(shares) = shares else { continue };
        let tenth = shares[POINTS / 10].1 * 100.0;
        held.push(format!("{tenth:.0}\u{a0}% of the value ({name})"));
        series.push(Series {
            name: name.to_owned(),
            ink,
            shape: Shape::Line(shares),
        });
    }
    if held.is_empty() {
        return Figure::missing(id, title, "nobody brought anything, or is expected to");
    }
    // Where more was given back than some bought, the others hold more than the whole.
    let points = series.iter().flat_map(|s| s.shape.points());
    let highest = points.fold(1.0, |most: f64, (_, y)| most.max(*y));
    let mut y = Axis::share("share of value");
    if highest > 1.0 + 1e-9 {
        y.to = highest;
    }
    Figure {
        id,
        title: title.to_owned(),
        reading: format!(
            "Customers from the most valuable to the least: the further a curve bends from the diagonal, the fewer hold \
             most of the value. The top tenth holds {}. What came tends to be more concentrated than what is \
             expected, which leaves luck out.",
            held.join(", ")
        ),
        plot: Ok(Plot {
            x: Axis::share("share of customers, the most valuable first"),
            y,
            series,
            holdout: None,
        }),
    }
}

/// Points of the curve; `None` where the total is not above nothing.
fn shares(values: &[f64]) -> Option<Vec<(f64, f64)>> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let total: f64 = sorted.iter().sum();
    if total.is_nan() || total <= 0.0 {
        return None;
    }
    let mut so_far = 0.0;
    let mut sums = vec![0.0];
    sums.extend(sorted.iter().map(|value| {
        so_far += value;
        so_far / total
    }));
    let at = |i: usize| {
        let position = i as f64 / POINTS as f64 * values.len() as f64;
        let below = position.floor();
        let (low, high) = (sums[below as usize], sums[position.ceil() as usize]);
        (
            i as f64 / POINTS as f64,
            low + (high - low) * (position - below),
        )
    };
    Some((0..=POINTS).map(at).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_hold_all_but_the_lowest() {
        for (values, expected) in [
            (
                &[3.0, 4.0, 30.0][..],
                Some(vec![3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0]),
            ),
            (&[-1.0, 0.0, 1.0, 1.5], Some(vec![1.0, 1.5, 2.0])),
            (&[7.5], Some(vec![7.0, 10.0])),
            (&[10.0], Some(vec![10.0, 15.0])),
            (&[-1.0, 0.0], None),
            (&[], None),
        ] {
            assert_eq!(edges(values), expected);
        }
        // However far values reach, the bars remain few, and the highest are in them.
        let far = edges(&[1e-9, 1.0, 1e6]).expect("has values");
        assert_eq!(far.len(), BARS + 1);
        assert_eq!(far.last(), Some(&1.5e6));
    }

    #[test]
    fn edges_are_told_where_there_is_room() {
        let texts = |edges: &[f64]| {
            let texts: Vec<String> = ticks(edges).into_iter().map(|(_, text)| text).collect();
            texts.join(" ")
        };
        assert_eq!(texts(&[0.5, 0.7, 1.0, 1.5, 2.0, 3.0]), "0.5 1 2");
        let far = edges(&[100.0, 45_692.0]).expect("has values");
        assert_eq!(texts(&far), "100 1,000 10,000");
    }

    #[test]
    fn shares_are_of_the_highest_first() {
        assert_eq!(shares(&[0.0, -1.0]), None);
        let found = shares(&[1.0, 0.0, 6.0, 3.0]).expect("has a total");
        let at = |share: f64| {
            let near = found.iter().find(|(x, _)| (x - share).abs() < 1e-9);
            near.map(|(_, y)| (y * 1e6).round() / 1e6)
        };
        assert_eq!(at(0.0), Some(0.0));
        assert_eq!(at(0.125), Some(0.3));
        assert_eq!(at(0.25), Some(0.6));
        assert_eq!(at(0.5), Some(0.9));
        assert_eq!(at(1.0), Some(1.0));
    }
}
