//! A real Prometheus with the files of `deploy/prometheus`, for a test.

use std::fmt::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::process::{get, until};
use super::{deployed, repository};

/// A program of Prometheus: installed, or where `scripts/deps-test` puts it.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([repository(".cache/prometheus/usr/bin")])
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// An address that nobody listens on at present.
pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

pub(crate) struct Prometheus {
    child: Child,
    address: String,
}

impl Prometheus {
    /// Starts it in `folder`. Its configuration is the one of `deploy/`, but for its targets, of which
    /// `scraped` is the only one, and for its pace. A scrape may take as long as the interval, and a
    /// busy machine has to manage that.
    pub(crate) fn start(program: &Path, folder: &Path, scraped: &str) -> Prometheus {
        let mut configuration = deployed("prometheus/prometheus.yml");
        for (from, to) in [
            (
                "[clvstream-1:9464, clvstream-2:9464]",
                format!("[{scraped:?}]"),
            ),
            ("scrape_interval: 10s", "scrape_interval: 500ms".to_owned()),
            (
                "evaluation_interval: 30s",
                "evaluation_interval: 500ms".to_owned(),
            ),
        ] {
            assert_eq!(configuration.matches(from).count(), 1, "{from}");
            configuration = configuration.replace(from, &to);
        }
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, configuration).unwrap();
        let rules = deployed("prometheus/clvstream.rules.yml");
        std::fs::write(folder.join("clvstream.rules.yml"), rules).unwrap();

        let address = free_address();
        let errors = std::fs::File::create(folder.join("prometheus.log")).unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .unwrap();
        let prometheus = Prometheus { child, address };
        let address = &prometheus.address;
        until("Prometheus", || {
            TcpStream::connect(address).is_ok() && get(address, "/-/ready").0 == 200
        });
        prometheus
    }

    /// What its API answers.
    pub(crate) fn api(&self, path: &str) -> Value {
        let (status, body) = get(&self.address, &format!("/api/v1/{path}"));
        assert_eq!(status, 200, "{path}: {body}");
        let mut answer: Value = serde_json::from_str(&body).unwrap();
        answer["data"].take()
    }

    /// The samples that a query finds at this moment: labels and value.
    pub(crate) fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let mut path = "query?query=".to_owned();
        for byte in query.bytes() {
            write!(path, "%{byte:02X}").unwrap();
        }
        let mut found = self.api(&path);
        let samples = found["result"].as_array_mut().unwrap();
        let sample = |sample: &mut Value| {
            let value = sample["value"][1].as_str().unwrap().parse().unwrap();
            (sample["metric"].take(), value)
        };
        samples.iter_mut().map(sample).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It has nothing to tidy up: its data lie in the test's own folder.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
