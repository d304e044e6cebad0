//! The program under measurement: its command lines, what it prints, its metrics.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::error::BenchError;
use crate::process::{Took, Watched};

/// For the program to be ready: a first start makes topics.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// For an answer over HTTP.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How often it is asked whether it is ready.
const ASK: Duration = Duration::from_millis(50);

/// The program and the file that it is given.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) binary: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) overrides: Vec<String>,
}

/// What `run --drain --json` says of its work.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
pub(crate) struct Processed {
    /// Wall-clock seconds of processing, without opening and closing.
    pub(crate) seconds: f64,
}

#[derive(Deserialize)]
struct Drained {
    processed: Processed,
}

impl Program {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(words).arg("--config").arg(&self.config);
        for one in &self.overrides {
            command.arg("--set").arg(one);
        }
        // Its log is of use only when it fails.
        command.args(["--log-format", "text", "-q"]);
        command
    }

    /// Makes the topics that are missing.
    ///
    /// # Errors
    /// It fails.
    pub(crate) fn apply_topics(&self) -> Result<(), BenchError> {
        let command = self.command(&["topics", "apply"]);
        Watched::start(command)?.finish(READY_WITHIN).map(|_| ())
    }

    /// Works off what is in the input topics.
    ///
    /// # Errors
    /// It fails, or does not say what it took.
    pub(crate) fn drain(&self, within: Duration) -> Result<(Processed, Took), BenchError> {
        let command = self.command(&["run", "--drain", "--json"]);
        let took = Watched::start(command)?.finish(within)?;
        let drained: Drained =
            serde_json::from_str(&took.output).map_err(|source| BenchError::Json {
                what: "what `run --drain --json` printed".into(),
                source,
            })?;
        Ok((drained.processed, took))
    }

    /// Whether `status` says that every task has an owner and a warm standby.
    pub(crate) fn is_all_warm(&self) -> bool {
        let mut command = self.command(&["status", "--exit-code"]);
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    }

    /// Starts the service, and waits for nothing.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn begin(&self) -> Result<Watched, BenchError> {
        Watched::start(self.command(&["run"]))
    }

    /// Starts the service and waits until it is ready.
    ///
    /// # Errors
    /// It is not ready in time.
    pub(crate) fn serve(&self, http: SocketAddr) -> Result<Watched, BenchError> {
        let watched = self.begin()?;
        let deadline = Instant::now() + READY_WITHIN;
        while !is_ready(http) {
            if watched.is_over() || Instant::now() >= deadline {
                return Err(BenchError::failed(format!(
                    "`clvstream run` was not ready within {} s",
                    READY_WITHIN.as_secs()
                )));
            }
            std::thread::sleep(ASK);
        }
        Ok(watched)
    }
}

/// Whether the service at `http` says that it is ready.
pub(crate) fn is_ready(http: SocketAddr) -> bool {
    matches!(get(http, "/readyz"), Ok((200, _)))
}

/// The sum of a metric's samples whose lines begin with `name`; `None`: there is no answer, or none.
pub(crate) fn metric(http: SocketAddr, name: &str) -> Option<f64> {
    let (_, page) = get(http, "/metrics").ok()?;
    let lines = page.lines().filter(|line| line.starts_with(name));
    let samples = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    samples.reduce(|sum, sample| sum + sample)
}

/// An address of this machine that nobody listens on.
///
/// # Errors
/// There is none.
pub(crate) fn free_address() -> Result<SocketAddr, BenchError> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .map_err(|error| BenchError::failed(format!("no port is free: {error}")))
}

/// Status and body.
fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    // Version 1.0: the body is not in chunks, and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split_ascii_whitespace().nth(1);
    let status = status.and_then(|s| s.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}

/// A histogram of the program's metrics.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Histogram {
    /// Upper bound in seconds, and how many did not exceed it.
    buckets: Vec<(f64, f64)>,
    sum: f64,
    pub(crate) count: f64,
}

impl Histogram {
    /// Reads the histogram `name` from the program's metrics.
    ///
    /// # Errors
    /// It does not answer, or has no such histogram.
    pub(crate) fn fetch(http: SocketAddr, name: &str) -> Result<Histogram, BenchError> {
        match get(http, "/metrics") {
            Ok((200, text)) => Histogram::parse(&text, name)
                .ok_or_else(|| BenchError::failed(format!("/metrics has no histogram {name}"))),
            Ok((status, _)) => Err(BenchError::failed(format!("/metrics answered {status}"))),
            Err(error) => Err(BenchError::failed(format!("/metrics: {error}"))),
        }
    }

    fn parse(text: &str, name: &str) -> Option<Histogram> {
        let mut found = Histogram::default();
        let mut is_there = false;
        for line in text.lines() {
            let Some(rest) = line.strip_prefix(name) else {
                continue;
            };
            let (what, value) = rest.rsplit_once(' ')?;
            let value: f64 = value.parse().ok()?;
            if let Some(bound) = what.strip_prefix("_bucket{le=\"") {
                let bound = bound.strip_suffix("\"}")?.parse().ok()?;
                found.buckets.push((bound, value));
            } else if what == "_sum" {
                found.sum = value;
            } else if what == "_count" {
                found.count = value;
                is_there = true;
            }
        }
        is_there.then_some(found)
    }

    /// What came on top of `earlier`.
    pub(crate) fn since(&self, earlier: &Histogram) -> Histogram {
        let before = |bound: f64| {
            let mut all = earlier.buckets.iter();
            all.find(|(b, _)| *b == bound).map_or(0.0, |(_, n)| *n)
        };
        Histogram {
            buckets: self
                .buckets
                .iter()
                .map(|&(bound, n)| (bound, n - before(bound)))
                .collect(),
            sum: self.sum - earlier.sum,
            count: self.count - earlier.count,
        }
    }

    /// The mean, in milliseconds.
    pub(crate) fn mean_ms(&self) -> f64 {
        if self.count > 0.0 {
            self.sum / self.count * 1e3
        } else {
            0.0
        }
    }

    /// A quantile in milliseconds, by the bucket that it lies in: evenly spread within, as Prometheus
    /// takes it.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        let rank = self.count * quantile;
        let (mut low, mut below) = (0.0, 0.0);
        for &(bound, n) in &self.buckets {
            // An empty bucket has no quantile in it.
            if n >= rank && n > below {
                if bound.is_infinite() {
                    break;
                }
                return (low + (bound - low) * (rank - below) / (n - below)) * 1e3;
            }
            if bound.is_finite() {
                (low, below) = (bound, n);
            }
        }
        // Beyond the last bound, which is all that is known; or nothing was counted.
        if self.count > 0.0 { low * 1e3 } else { 0.0 }
    }
}

/// The program beside this one: built with it, or said by `--bin`.
///
/// # Errors
/// There is none.
pub(crate) fn binary(given: Option<&Path>) -> Result<PathBuf, BenchError> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()
            .map_err(|error| BenchError::failed(format!("where this program is: {error}")))?
            .with_file_name("clvstream"),
    };
    if path.is_file() {
        return Ok(path);
    }
    Err(BenchError::failed(format!(
        "{} is not there: `make build` builds it",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# TYPE clvstream_commit_seconds histogram
clvstream_commit_seconds_bucket{le=\"0.005\"} 10
clvstream_commit_seconds_bucket{le=\"0.01\"} 30
clvstream_commit_seconds_bucket{le=\"+Inf\"} 40
clvstream_commit_seconds_sum 0.4
clvstream_commit_seconds_count 40
clvstream_commit_seconds_other 7
";

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let all = Histogram::parse(TEXT, "clvstream_commit_seconds").unwrap();
        let cases = [
            (0.125, 2.5),
            (0.25, 5.0),
            (0.5, 7.5),
            (0.75, 10.0),
            (0.99, 10.0),
        ];
        for (quantile, ms) in cases {
            assert!((all.quantile_ms(quantile) - ms).abs() < 1e-9, "{quantile}");
        }
        assert!((all.mean_ms() - 10.0).abs() < 1e-9);
        let none = all.since(&all);
        assert_eq!(
            (none.count, none.quantile_ms(0.5), none.mean_ms()),
            (0.0, 0.0, 0.0)
        );
        assert_eq!(all.since(&Histogram::default()), all);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert_eq!(Histogram::parse(TEXT, "clvstream_checkpoint_seconds"), None);
        assert_eq!(Histogram::parse("", "clvstream_commit_seconds"), None);
    }
}
