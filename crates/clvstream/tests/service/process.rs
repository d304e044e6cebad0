//! A process of the program that stays up: its lines, its HTTP, its end.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing here takes seconds; a machine under load does.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that changes.
const PACE: Duration = Duration::from_millis(20);

pub(crate) struct Process {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

/// Lines as they come.
struct Lines {
    coming: Receiver<String>,
    seen: VecDeque<String>,
}

impl Lines {
    fn of(source: impl Read + Send + 'static) -> Lines {
        let (send, coming) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Lines {
            coming,
            seen: VecDeque::new(),
        }
    }

    /// The first line from here on that `wanted` makes something of.
    fn find<T>(&mut self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.coming.recv_timeout(left) {
                Ok(line) => {
                    let found = wanted(&line);
                    self.seen.push_back(line);
                    if let Some(found) = found {
                        return found;
                    }
                }
                Err(error) => panic!("no {what} ({error}) among {:#?}", self.seen),
            }
        }
    }
}

impl Process {
    pub(crate) fn start(folder: &Path, args: &[&str]) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_clvstream"))
            .args(args)
            .current_dir(folder)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Process {
            child,
            stdout,
            stderr,
        }
    }

    /// Waits for a line on standard output.
    pub(crate) fn printed<T>(&mut self, what: &str, wanted: impl Fn(&str) -> Option<T>) -> T {
        self.stdout.find(what, wanted)
    }

    /// Waits for a line of the log, in JSON, with this message.
    pub(crate) fn logged(&mut self, message: &str) -> Value {
        self.stderr.find(message, |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["message"] == message).then_some(line)
        })
    }

    /// Asks it to stop and answers its exit code.
    pub(crate) fn terminate(mut self) -> i32 {
        let signal = format!("kill -TERM {}", self.child.id());
        let sent = Command::new("/bin/sh")
            .args(["-c", &signal])
            .status()
            .unwrap();
        assert!(sent.success());
        self.ended()
    }

    /// Waits until it has ended and answers its exit code.
    pub(crate) fn ended(&mut self) -> i32 {
        let mut ended = None;
        until("the end of the process", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.and_then(|status| status.code()).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Where a test has failed; a process that has ended is beyond it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks again and again until `done`.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(PACE);
    }
}

/// Status and body.
pub(crate) fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

/// Every sample: `name{labels}` and its value.
#[derive(Debug)]
pub(crate) struct Samples(BTreeMap<String, f64>);

impl Samples {
    pub(crate) fn of(address: &str) -> Samples {
        let (status, body) = get(address, "/metrics");
        assert_eq!(status, 200);
        let lines = body.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        };
        Samples(lines.map(sample).collect())
    }

    /// The one sample of this name and these labels.
    pub(crate) fn one(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// The samples of a family.
    pub(crate) fn family(&self, family: &str) -> Vec<f64> {
        let of_family = |name: &&String| name.split('{').next() == Some(family);
        let names = self.0.keys().filter(of_family);
        names.map(|name| self.0[name]).collect()
    }

    pub(crate) fn sum(&self, family: &str) -> f64 {
        self.family(family).iter().sum()
    }

    /// Label names and values of our own families.
    pub(crate) fn labels(&self) -> Vec<(&str, &str)> {
        let ours = self.0.keys().filter(|name| name.starts_with("clvstream_"));
        ours.filter_map(|name| name.split_once('{')?.1.strip_suffix('}'))
            .flat_map(|labels| labels.split(','))
            .filter_map(|label| label.split_once('='))
            .map(|(name, value)| (name, value.trim_matches('"')))
            .collect()
    }
}
