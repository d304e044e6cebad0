//! The page as a browser shows it: no errors, and every plot visible and laid out without overlaps, at the width of a desk
//! and of a phone.

use serde_json::Value;

use super::common::folder;
use super::{FIGURES, browser, report, skipped};

/// Measures the page; put into copies of it.
const MEASURE: &str = include_str!("measure.js");
/// Shows such a copy at the width of a desk and of a phone: a window cannot be as narrow as that.
const FRAMES: &str = include_str!("frames.html");

/// A page that a browser complains about: that the test would see it.
const BROKEN: &str = "\
<!DOCTYPE html><html><head><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'\"/></head>
<body><img src=\"plot.png\"/></body></html>
";

#[test]
fn a_browser_opens_the_report_without_errors_and_shows_every_plot() {
    let name = "opened::a_browser_opens_the_report_without_errors_and_shows_every_plot";
    let Some(program) = browser::program() else {
        return skipped(name, "no Chromium here; Debian's package is named chromium");
    };
    let here = folder(&[("broken.html", BROKEN), ("frames.html", FRAMES)]);
    let here = here.path();
    let broken = browser::open(&program, here, "broken.html", 1200);
    assert!(
        broken.console.iter().any(|line| line.contains("plot.png")),
        "an error of a page went unseen: {:?}",
        broken.console
    );
    for (reported, args) in [
        (
            "cdnow.html",
            [
                "mappings/cdnow.toml",
                "data/cdnow/CDNOW_master.txt.zst",
                "1997-09-30",
            ],
        ),
        (
            "retail.html",
            [
                "mappings/online_retail.toml",
                "tests/data/online-retail/slice.csv.zst",
                "2011-04-30",
            ],
        ),
    ] {
        let [mapping, file, until] = args;
        let args = ["--mapping", mapping, file, "--until", until];
        let (page, _) = report(here, reported, &args);
        let opened = browser::open(&program, here, reported, 1200);
        assert_eq!(opened.console, Vec::<String>::new());

        let start = page.find("<meta http-equiv").unwrap();
        let end = start + page[start..].find("/>").unwrap() + 2;
        let may_run = [&page[..start], &page[end..]].concat();
        let copy = may_run.replace("</body>", &format!("<script>{MEASURE}</script></body>"));
        std::fs::write(here.join("measured.html"), copy).unwrap();
        let opened = browser::open(&program, here, "frames.html", 1300);
        assert_eq!(opened.console, Vec::<String>::new());
        let frames = opened.document.split("<pre>").skip(1);
        let mut widths = Vec::new();
        for frame in frames {
            let (measured, _) = frame.split_once("</pre>").unwrap();
            let measured = serde_json::from_str(&measured.replace("&amp;", "&")).unwrap();
            widths.push(is_laid_out(&measured));
        }
        widths.sort_unstable();
        assert_eq!(widths, [420, 1200], "{reported}");
    }
}

/// Answers the width of the window.
fn is_laid_out(measured: &Value) -> u64 {
    let width = measured["window"].as_u64().unwrap();
    let wide = width as f64;
    assert!(
        measured["needed"].as_f64().unwrap() <= wide,
        "wider than the window: {measured}"
    );
    let figures = measured["figures"].as_array().unwrap();
    assert_eq!(figures.len(), FIGURES.len());
    for figure in figures {
        let size = |name: &str| figure[name].as_f64().unwrap();
        let least = if width < 800 { wide * 0.9 } else { wide * 0.4 };
        assert!(size("width") > least && size("height") > 200.0, "{figure}");
        assert_eq!(figure["seen"], true, "{figure}");
        assert!(size("texts") >= 8.0 && size("letters") > 4.0, "{figure}");
        for list in ["overlapping", "outside"] {
            assert_eq!(
                figure[list],
                Value::Array(Vec::new()),
                "{list} at {width}: {figure}"
            );
        }
    }
    width
}
