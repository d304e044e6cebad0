//! An axis: its range, its ticks and what they say. All positions are numbers; a scale that is not linear (logarithms,
//! groups side by side) is a matter of what its ticks say.

use crate::render::grouped_decimal;

/// One of the two axes of a plot.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// What it is of, with its unit.
    pub(super) title: String,
    pub(super) from: f64,
    pub(super) to: f64,
    /// Position and text, from low to high.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From 0 (or a tick below `least`, where that is negative) to a tick at or above `most`, on round numbers.
    pub(super) fn linear(title: impl Into<String>, least: f64, most: f64) -> Axis {
        let most = if most > 0.0 { most } else { 1.0 };
        let least = least.min(0.0);
        let step = round_step((most - least) / 6.0);
        let (from, to) = ((least / step).floor(), (most / step).ceil());
        Axis {
            title: title.into(),
            from: from * step,
            to: to * step,
            ticks: steps(from, to, step),
        }
    }

    /// Like `linear`, from 0 to `most` exactly.
    pub(super) fn weeks(title: impl Into<String>, most: f64) -> Axis {
        // Quarters and years, where there are enough weeks.
        let step = [1.0, 2.0, 4.0, 13.0, 26.0, 52.0]
            .into_iter()
            .find(|step| most / step <= 8.0)
            .unwrap_or_else(|| round_step(most / 8.0));
        Axis {
            title: title.into(),
            from: 0.0,
            to: most,
            ticks: steps(0.0, (most / step).floor(), step),
        }
    }

    /// Decimal logarithms, from the power of ten at or below `least` to the one at or above `most`.
    pub(super) fn logarithmic(title: impl Into<String>, least: f64, most: f64) -> Axis {
        let from = least.log10().floor();
        let to = most.log10().ceil().max(from + 1.0);
        let decades = (0..)
            .map(|i| from + f64::from(i))
            .take_while(|at| *at <= to);
        Axis {
            title: title.into(),
            from,
            to,
            ticks: decades
                .map(|at| (at, tick(10_f64.powf(at), (-at).max(0.0))))
                .collect(),
        }
    }

    /// Shares of a whole.
    pub(super) fn share(title: impl Into<String>) -> Axis {
        Axis {
            title: title.into(),
            from: 0.0,
            to: 1.0,
            ticks: (0..=5)
                .map(|fifth| (f64::from(fifth) / 5.0, format!("{} %", fifth * 20)))
                .collect(),
        }
    }

    /// Groups side by side, the first at 0, each one wide.
    pub(super) fn groups(title: impl Into<String>, names: Vec<String>) -> Axis {
        let to = names.len() as f64 - 0.5;
        Axis {
            title: title.into(),
            from: -0.5,
            to,
            ticks: (0..).map(f64::from).zip(names).collect(),
        }
    }

    /// What the tick at a position says.
    pub(super) fn text(&self, at: f64) -> String {
        let tick = self.ticks.iter().find(|(position, _)| *position == at);
        tick.map_or_else(String::new, |(_, text)| text.clone())
    }
}

/// 1, 2 or 5 times a power of ten, at or above `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|step| *step >= least * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

fn steps(from: f64, to: f64, step: f64) -> Vec<(f64, String)> {
    let decimals = (-step.log10().floor()).max(0.0);
    (0..)
        .map(|i| from + f64::from(i))
        .take_while(|i| *i <= to)
        .map(|i| (i * step, tick(i * step, decimals)))
        .collect()
}

/// What a tick says: short, since there is little room.
pub(super) fn tick(value: f64, decimals: f64) -> String {
    if value.abs() < 1e6 {
        return number(value, decimals);
    }
    let millions = number(value / 1e6, 3.0);
    format!("{} M", millions.trim_end_matches('0').trim_end_matches('.'))
}

/// A number for people, with its thousands apart.
pub(super) fn number(value: f64, decimals: f64) -> String {
    let text = format!("{value:.*}", decimals as usize);
    // Rounding may leave a negative nothing.
    let is_nothing = !text.chars().any(|c| ('1'..='9').contains(&c));
    grouped_decimal(if is_nothing {
        text.trim_start_matches('-')
    } else {
        &text
    })
}

/// An amount for a sentence: whole where it is large.
pub(super) fn amount(value: f64) -> String {
    number(value, if value.abs() < 100.0 { 2.0 } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> String {
        let texts: Vec<&str> = axis.ticks.iter().map(|(_, text)| text.as_str()).collect();
        texts.join(" ")
    }

    #[test]
    fn ticks_are_round_and_span_what_is_shown() {
        for (axis, expected) in [
            (
                Axis::linear("", 0.0, 4_339.0),
                "0 1,000 2,000 3,000 4,000 5,000",
            ),
            (Axis::linear("", 0.0, 6.36), "0 2 4 6 8"),
            (Axis::linear("", 0.0, 0.07), "0.00 0.02 0.04 0.06 0.08"),
            (Axis::linear("", -3.0, 9.0), "-4 -2 0 2 4 6 8 10"),
            (Axis::linear("", 0.0, 0.0), "0.0 0.2 0.4 0.6 0.8 1.0"),
            (Axis::weeks("", 78.0), "0 13 26 39 52 65 78"),
            (Axis::weeks("", 7.0), "0 1 2 3 4 5 6 7"),
            (Axis::weeks("", 600.0), "0 100 200 300 400 500 600"),
            (
                Axis::logarithmic("", 0.2, 1_500.0),
                "0.1 1 10 100 1,000 10,000",
            ),
            (Axis::logarithmic("", 5.0, 5.0), "1 10"),
            (Axis::share(""), "0 % 20 % 40 % 60 % 80 % 100 %"),
        ] {
            assert_eq!(texts(&axis), expected);
            assert!(
                axis.ticks
                    .iter()
                    .all(|(at, _)| axis.from <= *at && *at <= axis.to)
            );
        }
    }

    #[test]
    fn numbers_are_for_people() {
        for (value, expected) in [
            (500_000.0, "500,000"),
            (1e6, "1 M"),
            (-2.5e6, "-2.5 M"),
            (3e9, "3,000 M"),
        ] {
            assert_eq!(tick(value, 0.0), expected);
        }
        assert_eq!(number(-0.001, 1.0), "0.0");
        assert_eq!(number(207_988.4, 0.0), "207,988");
        assert_eq!(amount(24.658), "24.66");
        assert_eq!(amount(57_128.2), "57,128");
    }
}
