//! `clvstream model report`: the page of the CDNOW sample and others, read as XML and opened by a browser.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and says on its output what it skips"
)]

mod browser;
#[path = "../common/mod.rs"]
mod common;
mod opened;

use std::path::{Path, PathBuf};

use common::{clvstream, folder};
use roxmltree::{Document, Node, ParsingOptions};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn skipped(test: &str, reason: &str) {
    println!("SKIPPED {test}: {reason}");
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{reason}, and in CI it must be there"
    );
}

/// The sample of CDNOW, where there is more test data.
fn sample(test: &str) -> Option<String> {
    let folder = std::env::var_os("CLVSTREAM_TEST_DATA")
        .map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let file = folder.join("cdnow_sample.csv.zst");
    if file.exists() {
        return Some(file.to_str().unwrap().to_owned());
    }
    skipped(test, "no cdnow_sample.csv.zst in CLVSTREAM_TEST_DATA");
    None
}

/// Reports, and answers the page and what was printed.
fn report(here: &Path, page: &str, args: &[&str]) -> (String, String) {
    let path = here.join(page);
    let args = [&["model", "report", "--out", path.to_str().unwrap()], args].concat();
    let said = clvstream(&root(), &args);
    assert!(said.starts_with("exit 0\n"), "{said}");
    (std::fs::read_to_string(path).unwrap(), said)
}

fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(page, options).unwrap_or_else(|error| panic!("{error}"))
}

fn all<'a>(node: Node<'a, 'a>, tag: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.descendants()
        .filter(move |n| n.has_tag_name(tag) || n.tag_name().name() == tag)
}

fn by_id<'a>(document: &'a Document<'a>, id: &str) -> Node<'a, 'a> {
    let mut found = document
        .descendants()
        .filter(|n| n.attribute("id") == Some(id));
    found
        .next()
        .unwrap_or_else(|| panic!("nothing has the id {id}"))
}

fn text(node: Node<'_, '_>) -> String {
    let texts: String = node
        .descendants()
        .filter_map(|n| n.text().filter(|_| n.is_text()))
        .collect();
    texts.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Cells of a table's body, row by row.
fn cells<'a>(table: Node<'a, 'a>) -> Vec<Vec<String>> {
    let body = all(table, "tbody").next().unwrap();
    all(body, "tr")
        .map(|row| row.children().filter(Node::is_element).map(text).collect())
        .collect()
}

/// As the page writes numbers.
fn number(value: &Value, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.as_f64().unwrap());
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let digits: Vec<char> = whole.chars().rev().collect();
    let groups: Vec<String> = digits
        .chunks(3)
        .map(|group| group.iter().collect())
        .collect();
    let grouped: String = groups.join(",").chars().rev().collect();
    fraction.map_or(grouped.clone(), |fraction| format!("{grouped}.{fraction}"))
}

/// Figures of a full report: id, beginning of the title, entries of the legend, parts of the titles of both axes.
const FIGURES: [(&str, &str, &[&str], [&str; 2]); 7] = [
    (
        "tracking",
        "Tracking: repeat orders so far",
        &["actual", "MBG/NBD", "BG/NBD", "Pareto/NBD", "holdout"],
        ["weeks", "repeat orders"],
    ),
    (
        "weekly",
        "Tracking: repeat orders of each week",
        &["actual", "MBG/NBD", "BG/NBD", "Pareto/NBD", "holdout"],
        ["weeks", "repeat orders of the week"],
    ),
    (
        "frequency",
        "Conditional expectations",
        &[
            "actual",
            "MBG/NBD",
            "formula (cut off)",
            "BG/NBD",
            "Pareto/NBD",
        ],
        ["repeat orders", "orders per customer"],
    ),
    (
        "distribution",
        "Distribution",
        &["MBG/NBD × Gamma-Gamma"],
        ["expected value in USD", "customers"],
    ),
    (
        "concentration",
        "Concentration",
        &["everybody the same", "actual", "MBG/NBD × Gamma-Gamma"],
        ["share of customers", "share of value"],
    ),
    (
        "tenths",
        "Calibration by tenth: MBG/NBD × Gamma-Gamma",
        &["expected", "actual"],
        ["tenth of customers", "USD per customer"],
    ),
    (
        "calibration",
        "Calibration by tenth: all predictions",
        &[
            "actual as expected",
            "MBG/NBD",
            "formula",
            "BG/NBD",
            "Pareto/NBD",
        ],
        ["expected, USD per customer", "actual, USD per customer"],
    ),
];

#[test]
fn the_report_of_cdnow_holds_its_plots_and_what_evaluate_says() {
    let name = "the_report_of_cdnow_holds_its_plots_and_what_evaluate_says";
    let Some(file) = sample(name) else { return };
    let here = folder(&[]);
    let args = [
        "--mapping",
        "mappings/cdnow_sample.toml",
        &file,
        "--until",
        "1997-09-30",
    ];
    let (page, said) = report(
        here.path(),
        "report.html",
        &[&args[..], &["--json"]].concat(),
    );
    let evaluation = said.strip_prefix("exit 0\n-- stdout\n").unwrap();
    let evaluated: Value =
        serde_json::from_str(evaluation.split_once("-- stderr\n").unwrap().0).unwrap();

    // The same bytes again.
    let (again, said) = report(here.path(), "again.html", &args);
    assert!(
        said.contains("again.html: 2,357 customers, 7 plots"),
        "{said}"
    );
    assert!(page == again, "two runs differ");

    self_contained(&page);
    let document = parsed(&page);
    figures_are_whole(&document);
    tables_are_those_of(&document, &evaluated);

    // 2,457 repeat orders of the calibration and 1,882 of the holdout, and what models made of the first days
    // within a few percent.
    let tracking = text(by_id(&document, "tracking"));
    for part in [
        "After 78 weeks 4,339 had come",
        "BG/NBD 4,161 (-4.1 %)",
        "MBG/NBD 4,050 (-6.7 %)",
        "Pareto/NBD 4,270 (-1.6 %)",
    ] {
        assert!(tracking.contains(part), "{part}: {tracking}");
    }
    let header = text(all(document.root(), "dl").next().unwrap());
    for part in [
        "cdnow_sample.csv.zst, read by cdnow_sample.toml",
        "2,357 with an order until 1997-09-30, 946 of them",
        "1997-01-01 to 1997-09-30",
        "the 273 days from then to 1998-06-30",
        "amounts in USD",
    ] {
        assert!(header.contains(part), "{part}: {header}");
    }
}

/// Nothing that a browser would fetch or run.
fn self_contained(page: &str) {
    assert!(!page.contains("https://"));
    let namespaces = page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count();
    assert_eq!(page.matches("http://").count(), namespaces);
    for part in [
        "<script", "src=", "href=", "url(", "@import", " on", "NaN", "inf",
    ] {
        let found = page
            .match_indices(part)
            .map(|(at, _)| &page[at..(at + 40).min(page.len())]);
        // "on" begins words of text too: what matters is attributes.
        let found: Vec<&str> = found
            .filter(|rest| {
                part != " on"
                    || rest
                        .split([' ', '>'])
                        .nth(1)
                        .is_some_and(|word| word.contains("=\""))
            })
            .collect();
        assert_eq!(found, Vec::<&str>::new(), "{part}");
    }
}

fn figures_are_whole<'a>(document: &'a Document<'a>) {
    let ids: Vec<_> = all(document.root(), "figure")
        .filter_map(|f| f.attribute("id"))
        .collect();
    assert_eq!(ids, FIGURES.map(|(id, ..)| id));
    for (id, title, legend, axes) in FIGURES {
        let figure = by_id(document, id);
        let found = text(all(figure, "h3").next().unwrap());
        assert!(found.starts_with(title), "{found}");
        let caption = text(all(figure, "figcaption").next().unwrap());
        assert!(caption.len() > 60, "{id}: {caption}");
        let entries: Vec<_> = all(figure, "li").collect();
        assert_eq!(
            entries.iter().map(|e| text(*e)).collect::<Vec<_>>(),
            legend,
            "{id}"
        );
        let plot = figure
            .children()
            .find(|n| n.tag_name().name() == "svg")
            .unwrap();
        assert_eq!(plot.attribute("width"), None);
        assert!(plot.attribute("viewBox").is_some());
        // Every entry of the legend has something drawn in its colour.
        for entry in entries {
            let colors = colors(entry);
            let color = colors.iter().find(|c| *c != "none").unwrap();
            assert!(
                self::colors(plot).contains(color),
                "{id}: nothing of {}",
                text(entry)
            );
        }
        let texts: Vec<String> = all(plot, "text").map(text).collect();
        for axis in axes {
            assert!(
                texts.iter().any(|t| t.contains(axis)),
                "{id}: no {axis} in {texts:?}"
            );
        }
    }
}

/// Colours of lines and areas in a node, from the first down.
fn colors(node: Node<'_, '_>) -> Vec<String> {
    let shapes = node.descendants().filter(|n| {
        matches!(
            n.tag_name().name(),
            "polyline" | "line" | "rect" | "circle" | "polygon"
        )
    });
    shapes
        .flat_map(|n| [n.attribute("fill"), n.attribute("stroke")])
        .flatten()
        .map(str::to_owned)
        .collect()
}

fn tables_are_those_of<'a>(document: &'a Document<'a>, evaluated: &Value) {
    for (id, of, decimals) in [
        ("holdout-orders", "orders", 1),
        ("holdout-revenue", "revenue", 0),
    ] {
        let table = by_id(document, id);
        let found = cells(table);
        let scores = evaluated["scores"].as_array().unwrap();
        assert_eq!((found.len(), scores.len()), (4, 4));
        for (found, scored) in found.iter().zip(scores) {
            let s = &scored[of];
            let ratio = s["predicted"].as_f64().unwrap() / s["actual"].as_f64().unwrap();
            let by = scored["by"].as_str().unwrap();
            let note = if by == "MBG/NBD" {
                " (shown below)"
            } else {
                ""
            };
            let expected = [
                format!("{by}{note}"),
                number(&s["predicted"], decimals),
                format!("{ratio:.3}"),
                number(&s["mae"], 3),
                number(&s["rmse"], 3),
                number(&s["correlation"], 3),
                number(&s["gini"], 3),
                number(&s["deciles"][0]["lift"], 2),
            ];
            assert_eq!(found.as_slice(), expected);
        }
    }
    let fits = cells(by_id(document, "fits"));
    for (found, fit) in fits.iter().zip(evaluated["fits"].as_array().unwrap()) {
        assert_eq!(found[0], fit["model"].as_str().unwrap());
        assert_eq!(
            found[2],
            format!(
                "-{}",
                number(&Value::from(-fit["ln_likelihood"].as_f64().unwrap()), 3)
            )
        );
        for parameter in fit["parameters"].as_array().unwrap() {
            let value = parameter["value"].as_f64().unwrap();
            let name = format!(" {} = ", parameter["name"].as_str().unwrap());
            let parameters = format!(" {}", found[1]);
            let (_, said) = parameters.split_once(&name).unwrap();
            let (said, _) = said.split_once(' ').unwrap();
            let said: f64 = said.replace(',', "").parse().unwrap();
            assert!((said / value - 1.0).abs() < 1e-4, "{said}, not {value}");
        }
        assert_eq!(
            found[1].matches('±').count(),
            fit["parameters"].as_array().unwrap().len()
        );
    }
    assert_eq!(fits.len(), 4);
    assert!(
        fits[1][1].starts_with("r = 0.52484 ± 0.0833, alpha = 43.282 ± 4.87"),
        "{}",
        fits[1][1]
    );
}

/// Sixty customers with repeat orders, and as many without; none of them ever paid.
fn free_orders() -> String {
    let mut rows = "master_id,customer_id,date,quantity,amount\n".to_owned();
    for customer in 0..120 {
        let orders = if customer % 2 == 0 {
            1
        } else {
            2 + customer % 5
        };
        for order in 0..orders {
            let day = customer % 20 + order * (7 + customer % 11);
            let (month, day) = (1 + day / 28, 1 + day % 28);
            rows += &format!("{customer},{customer},1997-{month:02}-{day:02},1,0.00\n");
        }
    }
    rows
}

const FEW: &str = "\
master_id,customer_id,date,quantity,amount
4,1,1997-01-01,2,29.33
4,1,1997-01-18,2,29.73
4,1,1997-02-18,2,29.73
21,2,1997-01-01,3,63.34
";

#[test]
fn what_there_is_none_of_is_said_and_not_drawn() {
    // Names come from outside: they must not become markup.
    let here = folder(&[("<b>&\"free.csv", &free_orders()), ("few.csv", FEW)]);
    let mapping = "mappings/cdnow_sample.toml";
    let free = here.path().join("<b>&\"free.csv");
    let (page, said) = report(
        here.path(),
        "free.html",
        &[
            "--mapping",
            mapping,
            free.to_str().unwrap(),
            "--until",
            "1997-02-10",
        ],
    );
    assert!(said.contains("3 plots"), "{said}");
    assert!(!page.contains("<b>"));
    let document = parsed(&page);
    let ids: Vec<_> = all(document.root(), "figure")
        .filter_map(|f| f.attribute("id"))
        .collect();
    assert_eq!(ids, ["tracking", "weekly", "frequency"]);
    let header = text(all(document.root(), "dl").next().unwrap());
    assert!(
        header.contains("<b>&\"free.csv, read by cdnow_sample.toml"),
        "{header}"
    );
    let missing = text(by_id(&document, "value"));
    assert!(
        missing.contains("Missing: Gamma-Gamma: 0 customers have repeat orders"),
        "{missing}"
    );
    assert!(
        text(document.root()).contains("Gamma-Gamma is missing: 0 customers"),
        "{missing}"
    );

    let few = here.path().join("few.csv");
    let (page, _) = report(
        here.path(),
        "few.html",
        &[
            "--mapping",
            mapping,
            few.to_str().unwrap(),
            "--until",
            "1997-01-20",
        ],
    );
    let document = parsed(&page);
    let ids: Vec<_> = all(document.root(), "figure")
        .filter_map(|f| f.attribute("id"))
        .collect();
    assert_eq!(ids, ["frequency"], "the formula needs no model");
    let whole = text(document.root());
    for part in [
        "No model could be fitted.",
        "MBG/NBD is missing: 2 customers are too few to fit from",
        "Missing: BG/NBD: 2 customers are too few",
    ] {
        assert!(whole.contains(part), "{part}: {whole}");
    }
}

#[test]
fn a_page_is_replaced_only_when_that_is_said() {
    let here = folder(&[("few.csv", FEW), ("report.html", "mine")]);
    let mapping = root().join("mappings/cdnow_sample.toml");
    let args = [
        "model",
        "report",
        "--mapping",
        mapping.to_str().unwrap(),
        "few.csv",
    ];
    let run = |more: &[&str]| clvstream(here.path(), &[&args[..], more].concat());
    let until = ["--until", "1997-01-20", "--out", "report.html"];
    insta::assert_snapshot!(run(&until), @r"
    exit 1
    -- stdout
    -- stderr
    error: report.html exists already
    hint: --force replaces it
    ");
    let read = || std::fs::read_to_string(here.path().join("report.html")).unwrap();
    assert_eq!(read(), "mine");
    let said = run(&[&until[..], &["--force"]].concat());
    assert!(said.starts_with("exit 0\n"), "{said}");
    assert!(read().starts_with("<!DOCTYPE html>"));
    insta::assert_snapshot!(run(&["--until", "1997-01-20", "--out", "none/report.html"]), @r"
    exit 1
    -- stdout
    -- stderr
    error: cannot write none/report.html: No such file or directory (os error 2)
    ");
    let files = std::fs::read_dir(here.path()).unwrap().count();
    assert_eq!(files, 2, "nothing half written is left");
}
