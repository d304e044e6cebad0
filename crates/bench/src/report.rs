//! Results: as JSON to be kept, as a table for people, and two of them side by side.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::BenchError;
use crate::latency::Latency;
use crate::quantiles::Milliseconds;

/// All that one run measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    /// Where and when.
    pub(crate) about: Value,
    /// What both had in common.
    pub(crate) pinned: Value,
    /// Events in the input topics when the clock started.
    pub(crate) events: u64,
    /// Bytes of their keys and values.
    pub(crate) input_bytes: u64,
    pub(crate) throughput: Both<Throughput>,
    /// The program's events per second over the floor's.
    pub(crate) share_of_floor: f64,
    /// At half of the program's throughput.
    pub(crate) latency: Both<Latency>,
    /// With one event every 200 ms.
    pub(crate) idle_commit: Both<IdleCommit>,
}

/// The program's and the floor's.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Both<T> {
    pub(crate) floor: T,
    pub(crate) program: T,
}

/// One process that works off all events.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Throughput {
    /// Of the work itself, by the process's own clock.
    pub(crate) seconds: f64,
    pub(crate) events_per_second: f64,
    /// From the process's start to its end.
    pub(crate) wall_s: f64,
    /// Of every thread, from the process's start to its end.
    pub(crate) cpu_s_per_million: f64,
    /// Of the broker in the same time; absent where it runs elsewhere.
    pub(crate) broker_cpu_s_per_million: Option<f64>,
    pub(crate) peak_rss_bytes: u64,
}

/// What a commit takes when there is nothing else to do.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct IdleCommit {
    pub(crate) commits: u64,
    pub(crate) mean_ms: f64,
    /// The program's is an estimate within a bucket of its histogram.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Results {
    /// Writes the JSON.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<(), BenchError> {
        let failed = |source| BenchError::File {
            path: path.to_owned(),
            source,
        };
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| BenchError::failed(error.to_string()))?;
        text.push('\n');
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        std::fs::write(path, text).map_err(failed)
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        let head = [
            "",
            "events",
            "seconds",
            "a second",
            "CPU s/M",
            "broker s/M",
            "peak MiB",
        ];
        let row = |name: &str, t: &Throughput| {
            [
                name.to_owned(),
                self.events.to_string(),
                format!("{:.1}", t.seconds),
                format!("{:.0}", t.events_per_second),
                format!("{:.1}", t.cpu_s_per_million),
                t.broker_cpu_s_per_million
                    .map_or("-".into(), |s| format!("{s:.1}")),
                format!("{:.0}", t.peak_rss_bytes as f64 / f64::from(1 << 20)),
            ]
        };
        let head: [String; 7] = head.map(str::to_owned);
        for cells in [
            head,
            row("floor", &self.throughput.floor),
            row("clvstream run --drain", &self.throughput.program),
        ] {
            line(&mut out, &cells);
        }
        let _ = writeln!(
            out,
            "clvstream does {:.0} % of the floor's events a second\n",
            self.share_of_floor * 100.0
        );
        let head = [
            "event to visible",
            "a second",
            "samples",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "max ms",
        ];
        line(&mut out, &head.map(str::to_owned));
        for (name, l) in [
            ("floor", &self.latency.floor),
            ("clvstream run", &self.latency.program),
        ] {
            let Milliseconds {
                p50,
                p99,
                p999,
                max,
                ..
            } = l.visible_ms;
            let [p50, p99, p999, max] = [p50, p99, p999, max].map(|ms| format!("{ms:.1}"));
            let rate = format!("{:.0}", l.events_per_second);
            let cells = [
                name.into(),
                rate,
                l.samples.to_string(),
                p50,
                p99,
                p999,
                max,
            ];
            line(&mut out, &cells);
        }
        out.push('\n');
        let head = [
            "commit on an idle broker",
            "commits",
            "mean ms",
            "p50 ms",
            "p99 ms",
        ];
        line(&mut out, &head.map(str::to_owned));
        for (name, c) in [
            ("floor", &self.idle_commit.floor),
            ("clvstream run", &self.idle_commit.program),
        ] {
            let cells = [
                name.to_owned(),
                c.commits.to_string(),
                format!("{:.2}", c.mean_ms),
                format!("{:.2}", c.p50_ms),
                format!("{:.2}", c.p99_ms),
            ];
            line(&mut out, &cells);
        }
        out
    }
}

/// One row of a table: a name, and figures to the right.
pub(crate) fn line(out: &mut String, cells: &[String]) {
    for (index, cell) in cells.iter().enumerate() {
        let _ = match index {
            0 => write!(out, "{cell:<26}"),
            _ => write!(out, " {cell:>12}"),
        };
    }
    out.push('\n');
}

/// Every figure of two results, and the second over the first.
///
/// # Errors
/// A file cannot be read, or holds no results.
pub(crate) fn compare(before: &Path, after: &Path) -> Result<String, BenchError> {
    let (before, after) = (figures(before)?, figures(after)?);
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:<50} {:>14} {:>14} {:>8}",
        "", "before", "after", "ratio"
    );
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let (a, b) = (before.get(name), after.get(name));
        let shown = |x: Option<&f64>| x.map_or("-".to_owned(), |x| rounded(*x));
        let ratio = match (a, b) {
            (Some(a), Some(b)) if *a != 0.0 => format!("{:.2}", b / a),
            _ => "-".to_owned(),
        };
        let (a, b) = (shown(a), shown(b));
        let _ = writeln!(out, "{name:<50} {a:>14} {b:>14} {ratio:>8}");
    }
    Ok(out)
}

fn rounded(x: f64) -> String {
    if x.abs() >= 1_000.0 {
        format!("{x:.0}")
    } else {
        format!("{x:.2}")
    }
}

/// The measured figures of a file by dotted names; not what was pinned.
fn figures(path: &Path) -> Result<BTreeMap<String, f64>, BenchError> {
    let text = std::fs::read_to_string(path).map_err(|source| BenchError::File {
        path: path.to_owned(),
        source,
    })?;
    let results: Results = serde_json::from_str(&text).map_err(|source| BenchError::Json {
        what: path.display().to_string(),
        source,
    })?;
    let whole =
        serde_json::to_value(results).map_err(|error| BenchError::failed(error.to_string()))?;
    let mut found = BTreeMap::new();
    if let Value::Object(parts) = whole {
        for (name, part) in parts {
            if name != "about" && name != "pinned" {
                flatten(&name, &part, &mut found);
            }
        }
    }
    Ok(found)
}

fn flatten(name: &str, value: &Value, found: &mut BTreeMap<String, f64>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                flatten(&format!("{name}.{member}"), value, found);
            }
        }
        value => found.extend(value.as_f64().map(|x| (name.to_owned(), x))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(seconds: f64) -> Results {
        let throughput = Throughput {
            seconds,
            events_per_second: 1e6 / seconds,
            wall_s: seconds + 1.0,
            cpu_s_per_million: 3.0,
            broker_cpu_s_per_million: None,
            peak_rss_bytes: 1 << 20,
        };
        let latency = Latency {
            asked_per_second: 1.0,
            events_per_second: 1.0,
            writer_late_ms: 0.0,
            samples: 1,
            visible_ms: Milliseconds::default(),
        };
        let idle = IdleCommit {
            commits: 1,
            mean_ms: 4.5,
            p50_ms: 4.0,
            p99_ms: 5.0,
        };
        Results {
            about: Value::from("somewhere"),
            pinned: serde_json::json!({ "partitions": 4 }),
            events: 1_000_000,
            input_bytes: 100,
            throughput: Both {
                floor: throughput,
                program: throughput,
            },
            share_of_floor: 1.0,
            latency: Both {
                floor: latency,
                program: latency,
            },
            idle_commit: Both {
                floor: idle,
                program: idle,
            },
        }
    }

    #[test]
    fn two_results_are_set_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a.json", "b.json"].map(|name| folder.path().join(name));
        results(10.0).write(&a).unwrap();
        results(5.0).write(&b).unwrap();
        let text = compare(&a, &b).unwrap();
        let row = |name: &str| {
            let line = text.lines().find(|l| l.starts_with(name)).unwrap();
            line.split_ascii_whitespace()
                .skip(1)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(row("throughput.program.seconds"), ["10.00", "5.00", "0.50"]);
        assert_eq!(
            row("throughput.floor.events_per_second"),
            ["100000", "200000", "2.00"]
        );
        assert_eq!(row("latency.floor.visible_ms.p50"), ["0.00", "0.00", "-"]);
        assert!(!text.contains("pinned"), "{text}");
        assert!(compare(&a, &folder.path().join("none.json")).is_err());
    }

    #[test]
    fn the_table_has_a_line_of_each() {
        let text = results(4.0).table();
        for expected in ["floor", "clvstream run --drain", "250000", "100 %", "4.00"] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
    }
}
