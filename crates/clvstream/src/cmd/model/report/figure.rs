//! A figure: what it shows, how it is read, and its plot as SVG.
//!
//! Plots are drawn by `plotters` at four times their nominal size, since it places everything on whole units.
//! Colours are of Okabe and Ito's palette, which the colour-blind can tell apart; lines differ in their dashes too.
//! Data and text stay within the plot: what lies above the vertical axis is cut off at it. The legend stands outside of
//! the SVG, where it can cover nothing.

use std::io;
use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::element::DashedPathElement;
use plotters::prelude::*;

use super::axis::Axis;

/// Units of the SVG for one of the nominal size.
const FINE: u32 = 4;
/// Nominal size. A column of the page is about as wide, a phone two thirds of it.
const WIDTH: u32 = 600;
const HEIGHT: u32 = 390;
/// Nominal size of text.
const TEXT: f64 = 16.0;
/// What `plotters` divides a text's size by.
const OF_TEXT: f64 = 1.24;

const FRAME: RGBColor = RGBColor(0x8a, 0x8f, 0x98);
const GRID: RGBColor = RGBColor(0xe6, 0xe8, 0xec);
const LETTERS: RGBColor = RGBColor(0x33, 0x38, 0x40);

/// Background of the days that were predicted.
pub(super) const HOLDOUT: Ink = Ink {
    color: RGBColor(0xee, 0xf3, 0xf9),
    dash: None,
    mark: Mark::Square,
};

/// How a series looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ink {
    color: RGBColor,
    /// Dash and gap.
    dash: Option<(u32, u32)>,
    mark: Mark,
}

/// A mark at a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    Disc,
    Ring,
    Triangle,
    Square,
}

impl Ink {
    /// What came.
    pub(super) const ACTUAL: Ink = Ink {
        color: RGBColor(0x22, 0x22, 0x22),
        dash: None,
        mark: Mark::Disc,
    };
    /// The default model's, or a prediction where there is one only.
    pub(super) const PREDICTED: Ink = Ink::of("MBG/NBD");
    /// Where everything would be the same.
    pub(super) const EVEN: Ink = Ink {
        color: RGBColor(0x8a, 0x8f, 0x98),
        dash: Some((2, 4)),
        mark: Mark::Disc,
    };

    /// A prediction's, by name.
    pub(super) const fn of(by: &str) -> Ink {
        let (color, dash, mark) = match by.as_bytes() {
            b"BG/NBD" => (RGBColor(0xd5, 0x5e, 0x00), Some((8, 8)), Mark::Ring),
            b"MBG/NBD" => (RGBColor(0x00, 0x72, 0xb2), None, Mark::Disc),
            b"Pareto/NBD" => (RGBColor(0x00, 0x9e, 0x73), Some((3, 6)), Mark::Triangle),
            _ => (RGBColor(0xcc, 0x79, 0xa7), Some((14, 4)), Mark::Square),
        };
        Ink { color, dash, mark }
    }

    pub(super) fn mark(self) -> Mark {
        self.mark
    }

    /// As HTML has it.
    pub(super) fn hex(self) -> String {
        let RGBColor(r, g, b) = self.color;
        format!("#{r:02X}{g:02X}{b:02X}")
    }

    /// For `stroke-dasharray`.
    pub(super) fn dashes(self) -> Option<String> {
        self.dash.map(|(dash, gap)| format!("{dash} {gap}"))
    }
}

/// What is drawn of a series.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    Line(Vec<(f64, f64)>),
    /// A line with a mark at each of its points.
    Marked(Vec<(f64, f64)>),
    /// Marks without a line.
    Marks(Vec<(f64, f64)>),
    /// From, to and height of each.
    Bars(Vec<(f64, f64, f64)>),
}

impl Shape {
    /// Points of a line; bars have none.
    pub(super) fn points(&self) -> &[(f64, f64)] {
        match self {
            Shape::Line(points) | Shape::Marked(points) | Shape::Marks(points) => points,
            Shape::Bars(_) => &[],
        }
    }
}

/// One entry of the legend.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) ink: Ink,
    pub(super) shape: Shape,
}

/// Puts dashed lines above solid ones, so that both can be seen where they are the same.
pub(super) fn solid_first(series: &mut [Series]) {
    series.sort_by_key(|series| series.ink.dash.is_some());
}

/// Axes and what is drawn between them, the first series lowest.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
    /// Where on the horizontal axis the holdout begins, which is marked to its end.
    pub(super) holdout: Option<f64>,
}

/// A plot with what people need besides, or why there is none.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    /// For links, and as the element's id.
    pub(super) id: &'static str,
    pub(super) title: String,
    /// One sentence that says how to read it, then what it shows here.
    pub(super) reading: String,
    pub(super) plot: Result<Plot, String>,
}

impl Figure {
    /// One that cannot be drawn, and why.
    pub(super) fn missing(
        id: &'static str,
        title: impl Into<String>,
        why: impl Into<String>,
    ) -> Figure {
        Figure {
            id,
            title: title.into(),
            reading: String::new(),
            plot: Err(why.into()),
        }
    }
}

type Failed = DrawingAreaErrorKind<io::Error>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

/// An axis as `plotters` wants it: with the ticks that it has, and no others.
impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (low, high): (i32, i32)) -> i32 {
        let share = (value - self.from) / (self.to - self.from);
        low + (share * f64::from(high - low)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|(at, _)| *at).collect()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, at: &f64) -> String {
        self.text(*at)
    }
}

impl Plot {
    /// The plot as an `svg` element, without size, so that it takes the width that it is given.
    pub(super) fn svg(&self) -> Result<String, Failed> {
        let mut svg = String::new();
        self.draw(SVGBackend::with_string(
            &mut svg,
            (WIDTH * FINE, HEIGHT * FINE),
        ))?;
        let sized = format!(r#"width="{}" height="{}" "#, WIDTH * FINE, HEIGHT * FINE);
        Ok(svg.replacen(&sized, "", 1))
    }

    fn draw(&self, backend: SVGBackend<'_>) -> Result<(), Failed> {
        let area = backend.into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8 * FINE)
            .margin_top(12 * FINE)
            .margin_right(32 * FINE)
            .x_label_area_size(52 * FINE)
            .y_label_area_size(84 * FINE)
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        if let Some(from) = self.holdout {
            chart.draw_series([Rectangle::new(
                [(from, self.y.from), (self.x.to, self.y.to)],
                HOLDOUT.color.filled(),
            )])?;
        }
        let text = ("sans-serif", TEXT * OF_TEXT * f64::from(FINE))
            .into_font()
            .color(&LETTERS);
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.stroke_width(FINE))
            .axis_style(FRAME.stroke_width(FINE))
            .x_desc(&self.x.title)
            .y_desc(&self.y.title)
            .set_all_tick_mark_size(6 * FINE)
            .label_style(text.clone())
            .axis_desc_style(text)
            .draw()?;
        if let Some(from) = self.holdout {
            let line = [(from, self.y.from), (from, self.y.to)];
            chart.draw_series([PathElement::new(line, FRAME.stroke_width(FINE * 3 / 2))])?;
        }
        for series in &self.series {
            self.draw_series(&mut chart, series)?;
        }
        area.present()
    }

    fn draw_series(&self, chart: &mut Chart<'_, '_>, series: &Series) -> Result<(), Failed> {
        match &series.shape {
            Shape::Line(points) => self.draw_line(chart, series.ink, points),
            Shape::Marked(points) => {
                self.draw_line(chart, series.ink, points)?;
                self.draw_marks(chart, series.ink, points)
            }
            Shape::Marks(points) => self.draw_marks(chart, series.ink, points),
            Shape::Bars(bars) => {
                let bar = |(from, to, height): &(f64, f64, f64)| {
                    let corners = [(*from, self.y.from.max(0.0)), (*to, height.min(self.y.to))];
                    Rectangle::new(corners, series.ink.color.filled())
                };
                chart.draw_series(bars.iter().map(bar))?;
                Ok(())
            }
        }
    }

    fn draw_line(
        &self,
        chart: &mut Chart<'_, '_>,
        ink: Ink,
        points: &[(f64, f64)],
    ) -> Result<(), Failed> {
        let stroke = ink.color.stroke_width(FINE * 5 / 2);
        for run in below(points, self.y.to) {
            match ink.dash {
                Some((dash, gap)) => {
                    let (dash, gap) = (dash * FINE, gap * FINE);
                    chart.draw_series([DashedPathElement::new(run, dash, gap, stroke)])?;
                }
                None => {
                    chart.draw_series([PathElement::new(run, stroke)])?;
                }
            }
        }
        Ok(())
    }

    fn draw_marks(
        &self,
        chart: &mut Chart<'_, '_>,
        ink: Ink,
        points: &[(f64, f64)],
    ) -> Result<(), Failed> {
        let fine = FINE as i32;
        let within = points.iter().filter(|(_, y)| *y <= self.y.to).copied();
        let filled = ink.color.filled();
        match ink.mark {
            Mark::Disc => {
                chart.draw_series(within.map(|at| Circle::new(at, 4 * FINE, filled)))?;
            }
            Mark::Ring => {
                let ring = ink.color.stroke_width(FINE * 2);
                chart.draw_series(within.map(|at| Circle::new(at, 5 * FINE, ring)))?;
            }
            Mark::Triangle => {
                chart.draw_series(within.map(|at| TriangleMarker::new(at, 6 * FINE, filled)))?;
            }
            Mark::Square => {
                let corners = [(-4 * fine, -4 * fine), (4 * fine, 4 * fine)];
                chart.draw_series(
                    within.map(|at| EmptyElement::at(at) + Rectangle::new(corners, filled)),
                )?;
            }
        }
        Ok(())
    }
}

/// The parts of a line that lie at or below `top`, each up to where it crosses it.
fn below(points: &[(f64, f64)], top: f64) -> Vec<Vec<(f64, f64)>> {
    let mut runs = Vec::new();
    let mut run: Vec<(f64, f64)> = Vec::new();
    let mut before: Option<(f64, f64)> = None;
    for &(x, y) in points {
        if let Some((x0, y0)) = before
            && (y0 <= top) != (y <= top)
        {
            run.push((x0 + (x - x0) * (top - y0) / (y - y0), top));
        }
        if y <= top {
            run.push((x, y));
        } else if !run.is_empty() {
            runs.push(std::mem::take(&mut run));
        }
        before = Some((x, y));
    }
    runs.push(run);
    runs.retain(|run| run.len() > 1);
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_they_leave_the_plot_and_begin_where_they_return() {
        for (points, expected) in [
            (
                &[(0.0, 1.0), (1.0, 2.0)][..],
                vec![vec![(0.0, 1.0), (1.0, 2.0)]],
            ),
            (
                &[(0.0, 0.0), (1.0, 8.0)],
                vec![vec![(0.0, 0.0), (0.5, 4.0)]],
            ),
            (
                &[(0.0, 0.0), (1.0, 8.0), (2.0, 0.0), (3.0, 1.0)],
                vec![
                    vec![(0.0, 0.0), (0.5, 4.0)],
                    vec![(1.5, 4.0), (2.0, 0.0), (3.0, 1.0)],
                ],
            ),
            (&[(0.0, 9.0), (1.0, 8.0)], vec![]),
            (
                &[(0.0, 9.0), (1.0, 0.0), (2.0, 9.0)],
                vec![vec![(5.0 / 9.0, 4.0), (1.0, 0.0), (1.0 + 4.0 / 9.0, 4.0)]],
            ),
            (&[(0.0, 1.0)], vec![]),
            (&[], vec![]),
        ] {
            assert_eq!(below(points, 4.0), expected);
        }
    }

    #[test]
    fn a_plot_is_svg_with_escaped_text() {
        let plot = Plot {
            x: Axis::groups("<weeks> & \"more\"", vec!["<b>".to_owned(), "b".to_owned()]),
            y: Axis::linear("orders", 0.0, 3.0),
            series: vec![Series {
                name: "actual".to_owned(),
                ink: Ink::ACTUAL,
                shape: Shape::Bars(vec![(-0.4, 0.4, 2.0), (0.6, 1.4, 3.0)]),
            }],
            holdout: None,
        };
        let svg = plot.svg().expect("draws into memory");
        assert!(
            svg.starts_with("<svg viewBox=\"0 0 2400 1560\" xmlns="),
            "{svg}"
        );
        assert!(
            svg.contains("&lt;weeks&gt; &amp; &quot;more&quot;"),
            "{svg}"
        );
        assert!(svg.contains("&lt;b&gt;"), "{svg}");
        assert_eq!(svg.matches("fill=\"#222222\"").count(), 2);
        assert!(!svg.contains("NaN"));
    }
}
