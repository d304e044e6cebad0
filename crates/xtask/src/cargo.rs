//! The calls to cargo, and running what it built.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::doctest;
use crate::libtest::{BinaryReport, Collector};

/// Why a run ended before there was anything to sum up.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A program could not be started or listened to.
    Start(String, io::Error),
    /// A check or a build said no; what it said has been shown.
    Command(String, ExitStatus),
    /// Cargo said something this tool does not understand.
    Unexpected(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Start(what, error) => write!(f, "cannot run {what}: {error}"),
            Self::Command(what, status) => write!(f, "{what} failed ({status})"),
            Self::Unexpected(what) => write!(f, "unexpected output of cargo: {what}"),
        }
    }
}

/// Cargo, for some packages of this workspace.
#[derive(Debug)]
pub(crate) struct Cargo {
    program: OsString,
    packages: Vec<String>,
}

impl Cargo {
    /// All packages when none is named; a name that the workspace does not have is refused.
    pub(crate) fn new(packages: Vec<String>) -> Result<Self, Failure> {
        let cargo = Self {
            program: std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
            packages,
        };
        let known = cargo.libraries()?;
        match cargo
            .packages
            .iter()
            .find(|name| !known.contains_key(*name))
        {
            Some(name) => Err(Failure::Unexpected(format!(
                "there is no package `{name}` in this workspace"
            ))),
            None => Ok(cargo),
        }
    }

    /// Names the files that `cargo fmt` would change, if there are any.
    pub(crate) fn check_formatting(&self) -> Result<(), Failure> {
        let mut fmt = self.command(&["fmt", "--check", "--message-format", "short"]);
        if self.packages.is_empty() {
            fmt.arg("--all");
        } else {
            fmt.args(self.selection());
        }
        self.expect_success(fmt)
    }

    /// Clippy with warnings as errors.
    pub(crate) fn check_lints(&self) -> Result<(), Failure> {
        let mut clippy = self.command(&["clippy", "--all-targets", "--release"]);
        clippy.args(self.selection()).args(["--", "-D", "warnings"]);
        self.expect_success(clippy)
    }

    /// Builds every test and gives back the binaries, by package and target.
    pub(crate) fn build_tests(&self) -> Result<Vec<TestBinary>, Failure> {
        let mut build = self.command(&["test", "--release", "--no-run"]);
        build
            .arg("--message-format=json-render-diagnostics")
            .args(self.selection())
            .stdout(Stdio::piped());
        let name = words(&build);
        let output = build
            .spawn()
            .and_then(std::process::Child::wait_with_output)
            .map_err(|error| Failure::Start(name.clone(), error))?;
        if !output.status.success() {
            return Err(Failure::Command(name, output.status));
        }
        test_binaries(&String::from_utf8_lossy(&output.stdout))
    }

    /// Builds the program with its points armed, under a name of its own, for the tests that kill it there;
    /// nothing where these are not among those chosen. Always of the whole workspace, so that the
    /// same RocksDB serves.
    pub(crate) fn build_failpoints(&self) -> Result<(), Failure> {
        let kills = |name: &String| matches!(name.as_str(), "chaos" | "clvstream");
        let chosen = self.packages.is_empty() || self.packages.iter().any(kills);
        if !chosen {
            return Ok(());
        }
        self.expect_success(self.command(&[
            "build",
            "--release",
            "--workspace",
            "--features",
            "clvstream/failpoints",
            "--bin",
            "clvstream-failpoints",
        ]))
    }

    /// Builds and runs the doc tests of every library.
    pub(crate) fn run_doc_tests(&self, filters: &[String]) -> Result<BinaryReport, Failure> {
        let libraries: Vec<_> = self
            .libraries()?
            .into_iter()
            .filter(|(name, has_library)| {
                *has_library && (self.packages.is_empty() || self.packages.contains(name))
            })
            .flat_map(|(name, _)| ["--package".to_owned(), name])
            .collect();
        if libraries.is_empty() {
            return Ok(BinaryReport::default());
        }
        let mut test = self.command(&["test", "--release", "--no-fail-fast", "--doc"]);
        test.args(libraries).arg("--").args(filters);
        let started = Instant::now();
        // Rustdoc's failures go to stdout; cargo's own progress is of no interest here unless it fails.
        let output = test
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| Failure::Start(words(&test), error))?;
        let well = output.status.success();
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !well {
            text.push_str(&String::from_utf8_lossy(&output.stderr));
        }
        let ended = (output.status.to_string(), well);
        let seconds = started.elapsed().as_secs_f64();
        let report = doctest::parse(&text, (&ended.0, ended.1), seconds);
        announce(&report);
        for line in &report.other_output {
            println!("    {line}");
        }
        Ok(report)
    }

    /// The workspace's packages, and whether each has a library.
    fn libraries(&self) -> Result<BTreeMap<String, bool>, Failure> {
        let mut metadata = self.command(&["metadata", "--no-deps", "--format-version", "1"]);
        let output = metadata
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| Failure::Start(words(&metadata), error))?;
        if !output.status.success() {
            return Err(Failure::Command(words(&metadata), output.status));
        }
        let metadata: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| Failure::Unexpected(error.to_string()))?;
        Ok(array(&metadata["packages"])
            .map(|package| {
                let name = text(&package["name"]).to_owned();
                let has_library = array(&package["targets"]).any(|target| has_kind(target, "lib"));
                (name, has_library)
            })
            .collect())
    }

    fn selection(&self) -> Vec<&str> {
        if self.packages.is_empty() {
            return vec!["--workspace"];
        }
        let named = self.packages.iter();
        named
            .flat_map(|name| ["--package", name.as_str()])
            .collect()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args);
        // `cargo run` describes this very package in the environment; what is built or run from here
        // is not this package, and a changed variable could make a build script run again.
        for (name, _) in std::env::vars_os() {
            let told_by_cargo = name.to_str().is_some_and(|name| {
                name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
            });
            if told_by_cargo {
                command.env_remove(name);
            }
        }
        command
    }

    fn expect_success(&self, mut command: Command) -> Result<(), Failure> {
        let name = words(&command);
        match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::Command(name, status)),
            Err(error) => Err(Failure::Start(name, error)),
        }
    }
}

/// A built test binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestBinary {
    /// Package and target, for people.
    pub(crate) label: String,
    target: String,
    is_integration: bool,
    executable: PathBuf,
    /// Where cargo would run it: the folder of its package.
    folder: PathBuf,
    /// The programs of its package, which integration tests start.
    programs: Vec<(String, PathBuf)>,
}

impl TestBinary {
    /// Left to the long run.
    pub(crate) fn is_long(&self) -> bool {
        self.is_integration && self.target.starts_with("long_")
    }

    /// Runs all its tests, or those that a filter chooses.
    pub(crate) fn run(&self, filters: &[String]) -> Result<BinaryReport, Failure> {
        let failed = |error| Failure::Start(self.label.clone(), error);
        let started = Instant::now();
        let mut child = self
            .command()
            .args(["--format", "json", "--report-time", "--show-output"])
            .args(["-Z", "unstable-options"])
            .args(filters)
            // The switch that libtest asks for on a stable toolchain; for this process only, as a
            // build would see other fingerprints with it and start from nothing.
            .env("RUSTC_BOOTSTRAP", "1")
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut collector = Collector::new(&self.label);
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).split(b'\n') {
                let line = line.map_err(failed)?;
                if let Some(news) = collector.line(&String::from_utf8_lossy(&line)) {
                    println!("{news}");
                }
            }
        }
        let status = child.wait().map_err(failed)?;
        let ended = status.to_string();
        let seconds = started.elapsed().as_secs_f64();
        let report = collector.finish((&ended, status.success()), seconds);
        announce(&report);
        Ok(report)
    }

    /// How many tests it holds.
    pub(crate) fn count_tests(&self) -> Result<usize, Failure> {
        let output = self
            .command()
            .args(["--list", "--format", "terse"])
            .output()
            .map_err(|error| Failure::Start(self.label.clone(), error))?;
        let listed = String::from_utf8_lossy(&output.stdout);
        Ok(listed
            .lines()
            .filter(|line| line.ends_with(": test"))
            .count())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .stdin(Stdio::null());
        // A snapshot that is missing or differs is a failure, not a file to be looked at later.
        if std::env::var_os("INSTA_UPDATE").is_none() {
            command.env("INSTA_UPDATE", "no");
        }
        for (name, path) in &self.programs {
            command.env(format!("CARGO_BIN_EXE_{name}"), path);
        }
        command
    }
}

/// One line about a binary whose tests have run.
fn announce(report: &BinaryReport) {
    use crate::libtest::Outcome;
    if report.results.is_empty() {
        return;
    }
    let passed = report.count(|outcome| *outcome == Outcome::Passed);
    let failed = report.count(|outcome| *outcome == Outcome::Failed);
    println!(
        "  {}: {passed} passed, {failed} failed, {} skipped ({:.1} s)",
        report.label,
        report.results.len() - passed - failed,
        report.seconds,
    );
}

/// Reads the messages of `cargo test --no-run --message-format=json…`.
fn test_binaries(messages: &str) -> Result<Vec<TestBinary>, Failure> {
    let mut binaries = Vec::new();
    let mut programs: BTreeMap<PathBuf, Vec<(String, PathBuf)>> = BTreeMap::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Value = serde_json::from_str(line)
            .map_err(|error| Failure::Unexpected(format!("{error} in {line}")))?;
        let (Some(executable), Some(folder)) = (
            message["executable"].as_str(),
            message["manifest_path"]
                .as_str()
                .and_then(|manifest| Path::new(manifest).parent()),
        ) else {
            continue;
        };
        let target = &message["target"];
        let name = text(&target["name"]);
        if message["profile"]["test"] == true {
            binaries.push(TestBinary {
                label: label(folder, target, name),
                target: name.to_owned(),
                is_integration: has_kind(target, "test"),
                executable: executable.into(),
                folder: folder.to_owned(),
                programs: Vec::new(),
            });
        } else if has_kind(target, "bin") {
            let program = (name.to_owned(), PathBuf::from(executable));
            programs.entry(folder.to_owned()).or_default().push(program);
        }
    }
    for binary in &mut binaries {
        binary.programs = programs.get(&binary.folder).cloned().unwrap_or_default();
    }
    binaries.sort_by(|a, b| a.label.cmp(&b.label));
    Ok(binaries)
}

/// `store` for a library's tests, `clvstream (bin)` for a program's, `clvstream/replay` otherwise.
fn label(folder: &Path, target: &Value, name: &str) -> String {
    let package = folder.file_name().unwrap_or_default().to_string_lossy();
    if has_kind(target, "lib") {
        package.into_owned()
    } else if has_kind(target, "bin") {
        format!("{package} (bin)")
    } else {
        format!("{package}/{name}")
    }
}

fn has_kind(target: &Value, kind: &str) -> bool {
    array(&target["kind"]).any(|k| k == kind)
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A call to cargo as one would type it.
fn words(cargo: &Command) -> String {
    cargo.get_args().fold("cargo".to_owned(), |words, arg| {
        format!("{words} {}", arg.to_string_lossy())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_from_the_messages_of_cargo() {
        let artifact = |package: &str, kind: &str, name: &str, test: bool, executable: &str| {
            serde_json::json!({
                "reason": "compiler-artifact",
                "manifest_path": format!("/p/crates/{package}/Cargo.toml"),
                "target": { "kind": [kind], "name": name },
                "profile": { "test": test },
                "executable": if executable.is_empty() { Value::Null } else { executable.into() },
            })
            .to_string()
        };
        let messages = [
            artifact("store", "lib", "store", false, ""),
            artifact("store", "lib", "store", true, "/t/store-1"),
            artifact("app", "test", "long_kill", true, "/t/long_kill-1"),
            artifact("app", "bin", "app", false, "/t/app"),
            artifact("app", "bin", "app", true, "/t/app-1"),
            artifact("app", "test", "replay", true, "/t/replay-1"),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ]
        .join("\n");
        let binaries = test_binaries(&messages).unwrap();
        let seen: Vec<_> = binaries
            .iter()
            .map(|b| (b.label.as_str(), b.is_long(), b.programs.len()))
            .collect();
        assert_eq!(
            seen,
            [
                ("app (bin)", false, 1),
                ("app/long_kill", true, 1),
                ("app/replay", false, 1),
                ("store", false, 0),
            ]
        );
        assert_eq!(binaries[0].programs[0].1, Path::new("/t/app"));
        assert!(test_binaries("{ nonsense").is_err());
    }
}
