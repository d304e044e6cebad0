//! The page: header, fits, holdout and figures as HTML that is well-formed XML too.
//!
//! Nothing on it comes from elsewhere, which its content security policy enforces, and nothing on it runs. Whatever
//! comes from files, arguments or configuration is escaped here.

use std::fmt::Write;

use clv::evaluate::Evaluation;
use clv::fit::FitOptions;

use super::super::evaluate::Evaluated;
use super::super::fits::{self, Told, What};
use super::axis::number;
use super::figure::{Figure, HOLDOUT, Ink, Mark, Plot, Series, Shape};
use crate::error::CliError;
use crate::render::grouped;

const STYLE: &str = include_str!("page.css");

pub(super) struct Page<'a> {
    /// Where the orders come from.
    pub(super) source: String,
    pub(super) options: FitOptions,
    pub(super) currency: String,
    /// Rows that could not be read.
    pub(super) rejected: u64,
    pub(super) evaluated: &'a Evaluated,
    /// The model whose values are shown.
    pub(super) default: &'static str,
    pub(super) figures: &'a [Figure],
}

impl Page<'_> {
    pub(super) fn html(&self) -> Result<String, CliError> {
        let header = self.header();
        let fits = fits_table(&fits::all(&self.evaluated.fits));
        let scores = self.scores();
        let mut figures = String::new();
        for figure in self.figures {
            figures.push_str(&figure_html(figure)?);
        }
        let version = env!("CARGO_PKG_VERSION");
        Ok(format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n\
             <title>Customer value: models and what came</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
             {header}{fits}{scores}<h2>Plots</h2>\n<div class=\"figures\">\n{figures}</div>\n\
             <footer>Made by clvstream {version}. Formulas, sources and decisions: docs/models.md of the project.</footer>\n\
             </main>\n</body>\n</html>\n"
        ))
    }

    fn header(&self) -> String {
        let Evaluated { until, end, .. } = *self.evaluated;
        let firsts = self.evaluated.customers.iter().map(|c| c.statistics.first);
        let first = firsts.min().unwrap_or(until);
        let repeaters = self
            .evaluated
            .customers
            .iter()
            .filter(|c| c.statistics.repeats > 0);
        let (customers, repeaters) = (self.evaluated.customers.len(), repeaters.count());
        let mut facts = vec![
            ("Orders", escaped(&self.source)),
            (
                "Customers",
                format!(
                    "{} with an order until {until}, {} of them ({:.0}\u{a0}%) with orders on more than one day",
                    grouped(customers as u64),
                    grouped(repeaters as u64),
                    repeaters as f64 / customers.max(1) as f64 * 100.0
                ),
            ),
            (
                "Calibration",
                format!(
                    "{first} to {until}, {} days: what the models are fitted to",
                    grouped_days(until.0 - first.0 + 1)
                ),
            ),
            (
                "Holdout",
                format!(
                    "the {} days from then to {end}: what is predicted, and held against what came",
                    grouped_days(self.evaluated.days())
                ),
            ),
            (
                "Units",
                format!(
                    "amounts in {}, times in days, days in UTC; orders of one day count as one",
                    escaped(&self.currency)
                ),
            ),
        ];
        if self.options.l2 > 0.0 {
            facts.push((
                "Penalty",
                format!("squared logarithms of parameters weigh {}", self.options.l2),
            ));
        }
        if self.rejected > 0 {
            let rejected = grouped(self.rejected);
            facts.push((
                "Rejected",
                format!("{rejected} rows; <code>clvstream mapping check</code> says why"),
            ));
        }
        let facts: String = facts
            .into_iter()
            .map(|(name, text)| format!("<div><dt>{name}</dt><dd>{text}</dd></div>\n"))
            .collect();
        format!(
            "<h1>Customer value: what models expected, and what came</h1>\n<dl>\n{facts}</dl>\n"
        )
    }

    /// The holdout, for orders and for revenue.
    fn scores(&self) -> String {
        let scores = &self.evaluated.scores;
        let orders = scores.iter().map(|s| (s.by, &s.orders));
        let revenue = scores
            .iter()
            .filter_map(|s| Some((s.by, s.revenue.as_ref()?)));
        let came = scores.first().map_or(0.0, |s| s.orders.actual);
        let mut html = format!(
            "<h2>Holdout</h2>\n<p>The formula carries forward what came so far by day. MAE and RMSE are per customer; Gini \
             is that of what came, ranked by the prediction, over a perfect ranking's; lift is what the tenth with the \
             highest predictions came to, over the mean customer.</p>\n{}",
            self.scores_table(
                "holdout-orders",
                "Orders",
                orders.collect(),
                1,
                &format!("{} came", number(came, 0.0))
            )
        );
        let revenue: Vec<(&str, &Evaluation)> = revenue.collect();
        let came = revenue.first().map_or(0.0, |(_, s)| s.actual);
        let title = format!("Revenue in {}", escaped(&self.currency));
        html.push_str(&self.scores_table(
            "holdout-revenue",
            &title,
            revenue,
            0,
            &format!("{} came", number(came, 0.0)),
        ));
        html
    }

    fn scores_table(
        &self,
        id: &str,
        title: &str,
        rows: Vec<(&str, &Evaluation)>,
        decimals: u8,
        came: &str,
    ) -> String {
        let mut body = String::new();
        for (by, scores) in rows {
            let or_none = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| number(v, 3.0));
            let cells = [
                number(scores.predicted, f64::from(decimals)),
                or_none(scores.total_ratio()),
                number(scores.mae, 3.0),
                number(scores.rmse, 3.0),
                or_none(scores.correlation),
                or_none(scores.gini),
                number(scores.deciles[0].lift, 2.0),
            ];
            let cells: String = cells
                .iter()
                .map(|cell| format!("<td>{cell}</td>"))
                .collect();
            let (class, note) = if by == self.default {
                (" class=\"default\"", " (shown below)")
            } else {
                ("", "")
            };
            let _ = writeln!(
                body,
                "<tr{class}><th scope=\"row\">{by}{note}</th>{cells}</tr>"
            );
        }
        let heads = [
            "total",
            "of actual",
            "MAE",
            "RMSE",
            "correlation",
            "Gini",
            "lift of the top tenth",
        ];
        let heads: String = heads
            .iter()
            .map(|head| format!("<th scope=\"col\">{head}</th>"))
            .collect();
        format!(
            "<div class=\"wide\"><table id=\"{id}\">\n<caption>{title}: {came}</caption>\n\
             <thead><tr><th scope=\"col\">prediction</th>{heads}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n"
        )
    }
}

/// Parameters of what was fitted; below them what lies on a boundary, and what could not be fitted, and why.
fn fits_table(all: &[Told]) -> String {
    let mut body = String::new();
    let mut notes = String::new();
    for Told { model, what } in all {
        match what {
            What::Fitted {
                ln_likelihood,
                parameters,
                boundaries,
                customers,
                ..
            } => {
                let parameters: Vec<String> = parameters
                    .iter()
                    .map(|p| {
                        let error = p
                            .standard_error
                            .map(|e| format!("<small> ± {}</small>", significant(e, 3)));
                        format!(
                            "<span>{} = {}{}</span>",
                            p.name,
                            significant(p.value, 5),
                            error.unwrap_or_default()
                        )
                    })
                    .collect();
                let _ = writeln!(
                    body,
                    "<tr><th scope=\"row\">{model}</th><td class=\"text\">{}</td><td>{}</td><td>{}</td></tr>",
                    parameters.join(", "),
                    number(*ln_likelihood, 3.0),
                    grouped(*customers)
                );
                for boundary in boundaries {
                    let _ = writeln!(
                        notes,
                        "<li>{model}, at a boundary: {}</li>",
                        escaped(boundary)
                    );
                }
            }
            What::Refused { refused } => {
                let _ = writeln!(notes, "<li>{model} is missing: {}</li>", escaped(refused));
            }
        }
    }
    let table = if body.is_empty() {
        "<p>No model could be fitted.</p>\n".to_owned()
    } else {
        format!(
            "<p>Maximum likelihood, times in days; ± is the standard error. A parameter without one lies on a boundary.</p>\n\
             <div class=\"wide\"><table id=\"fits\">\n<thead><tr><th scope=\"col\">model</th><th scope=\"col\">parameters</th>\
             <th scope=\"col\">log-likelihood</th><th scope=\"col\">customers</th></tr></thead>\n\
             <tbody>\n{body}</tbody>\n</table></div>\n"
        )
    };
    let notes = if notes.is_empty() {
        notes
    } else {
        format!("<ul class=\"notes\">\n{notes}</ul>\n")
    };
    format!("<h2>Fits</h2>\n{table}{notes}")
}

fn figure_html(figure: &Figure) -> Result<String, CliError> {
    let title = escaped(&figure.title);
    let id = figure.id;
    let plot = match &figure.plot {
        Ok(plot) => plot,
        Err(why) => {
            return Ok(format!(
                "<section id=\"{id}\" class=\"missing\">\n<h3>{title}</h3>\n<p>Missing: {}</p>\n</section>\n",
                escaped(why)
            ));
        }
    };
    let drawn = plot
        .svg()
        .map_err(|error| CliError::failure(format!("cannot draw {}: {error}", figure.title)))?;
    // For whoever hears the page.
    let labelled = drawn.replacen(
        "<svg ",
        &format!("<svg role=\"img\" aria-label=\"{title}\" "),
        1,
    );
    Ok(format!(
        "<figure id=\"{id}\">\n<h3>{title}</h3>\n{}{labelled}<figcaption>{}</figcaption>\n</figure>\n",
        legend(plot),
        escaped(&figure.reading)
    ))
}

fn legend(plot: &Plot) -> String {
    let entry = |name: &str, swatch: String| {
        format!(
            "<li><span class=\"swatch\">{swatch}</span>{}</li>\n",
            escaped(name)
        )
    };
    let mut entries: String = plot
        .series
        .iter()
        .map(|series| entry(&series.name, swatch(series)))
        .collect();
    if plot.holdout.is_some() {
        let swatch = swatch_svg(&format!(
            "<rect width=\"28\" height=\"12\" fill=\"{}\" stroke=\"#8A8F98\"/>",
            HOLDOUT.hex()
        ));
        entries.push_str(&entry("holdout", swatch));
    }
    format!("<ul class=\"legend\">\n{entries}</ul>\n")
}

fn swatch(series: &Series) -> String {
    let Series { ink, shape, .. } = series;
    let color = ink.hex();
    let dashes = Ink::dashes(*ink).map_or_else(String::new, |dashes| {
        format!(" stroke-dasharray=\"{dashes}\"")
    });
    let line = format!(
        "<line x1=\"0\" y1=\"6\" x2=\"28\" y2=\"6\" stroke=\"{color}\" stroke-width=\"2.5\"{dashes}/>"
    );
    let mark = match ink.mark() {
        Mark::Disc => format!("<circle cx=\"14\" cy=\"6\" r=\"4\" fill=\"{color}\"/>"),
        Mark::Ring => format!(
            "<circle cx=\"14\" cy=\"6\" r=\"4.5\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>"
        ),
        Mark::Triangle => format!("<polygon points=\"14,0 19,9 9,9\" fill=\"{color}\"/>"),
        Mark::Square => {
            format!("<rect x=\"10\" y=\"2\" width=\"8\" height=\"8\" fill=\"{color}\"/>")
        }
    };
    swatch_svg(&match shape {
        Shape::Line(_) => line,
        Shape::Marked(_) => line + &mark,
        Shape::Marks(_) => mark,
        Shape::Bars(_) => format!("<rect width=\"28\" height=\"12\" fill=\"{color}\"/>"),
    })
}

fn swatch_svg(inside: &str) -> String {
    format!(
        "<svg width=\"28\" height=\"12\" viewBox=\"0 0 28 12\" aria-hidden=\"true\" xmlns=\"http://www.w3.org/2000/svg\">{inside}</svg>"
    )
}

/// So many digits that count, whole numbers in full.
fn significant(value: f64, digits: i32) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    if value.abs() < 1e-6 {
        return format!("{value:.1e}");
    }
    let before = value.abs().log10().floor() as i32 + 1;
    number(value, f64::from((digits - before).clamp(0, 9)))
}

fn grouped_days(days: i32) -> String {
    grouped(u64::try_from(days).unwrap_or(0))
}

/// Text as HTML and XML have it, in elements and attributes.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            // XML has no way to write them.
            c if c.is_control() => html.push('\u{fffd}'),
            c => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(
            escaped("<script>'a' & \"b\"\u{1b}</script>"),
            "&lt;script&gt;&#39;a&#39; &amp; &quot;b&quot;\u{fffd}&lt;/script&gt;"
        );
    }

    #[test]
    fn digits_that_count() {
        for (value, expected) in [
            (0.242_591_2, "0.24259"),
            (30.895_21, "30.895"),
            (0.0, "0"),
            (123_456.7, "123,457"),
            (1.190_4, "1.1904"),
            (8.44e-11, "8.4e-11"),
        ] {
            assert_eq!(significant(value, 5), expected);
        }
    }
}
