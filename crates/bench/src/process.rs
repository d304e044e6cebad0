//! Processes as the operating system sees them: CPU time of every thread, memory at its peak.
//!
//! Linux only: read from `/proc`. A child's figures are taken while it is a zombie, that is after its
//! last instruction and before it is reaped, so that nothing of it is missed.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::BenchError;

/// The unit of times in `/proc`: a hundredth of a second on every architecture that matters.
const TICKS_PER_SECOND: f64 = 100.0;
/// How often a child is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// What a process has taken so far.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Usage {
    /// CPU seconds in user mode, all threads.
    pub(crate) user_s: f64,
    /// CPU seconds in the kernel, all threads.
    pub(crate) system_s: f64,
}

impl Usage {
    /// CPU seconds.
    pub(crate) fn cpu_s(self) -> f64 {
        self.user_s + self.system_s
    }

    /// What came on top of `earlier`.
    pub(crate) fn since(self, earlier: Usage) -> Usage {
        Usage {
            user_s: self.user_s - earlier.user_s,
            system_s: self.system_s - earlier.system_s,
        }
    }
}

/// What a process took, from its start to its end.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Took {
    /// Wall-clock seconds.
    pub(crate) wall_s: f64,
    /// CPU.
    #[serde(flatten)]
    pub(crate) usage: Usage,
    /// Largest resident memory, in bytes.
    pub(crate) peak_rss_bytes: u64,
    /// Standard output.
    #[serde(skip)]
    pub(crate) output: String,
}

/// A child under observation. Dropped while it runs, it is killed.
pub(crate) struct Watched {
    child: Child,
    program: String,
    started: Instant,
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
    peak_rss_bytes: u64,
    is_reaped: bool,
}

impl Watched {
    /// Starts `command` with pipes to and from it; its standard error is ours.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(mut command: Command) -> Result<Watched, BenchError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let started = Instant::now();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| BenchError::Spawn {
                program: program.clone(),
                source,
            })?;
        Ok(Watched {
            program,
            started,
            stdin: child.stdin.take(),
            stdout: child.stdout.take().map(BufReader::new),
            child,
            peak_rss_bytes: 0,
            is_reaped: false,
        })
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        Stat::of(self.child.id()).is_none_or(|stat| stat.is_over)
    }

    /// CPU that it has taken so far.
    pub(crate) fn usage(&self) -> Usage {
        usage_of(self.child.id()).unwrap_or_default()
    }

    /// The next line of its standard output; waits for it.
    ///
    /// # Errors
    /// There is none, because it has ended.
    pub(crate) fn line(&mut self) -> Result<String, BenchError> {
        let mut line = String::new();
        let read = match &mut self.stdout {
            Some(stdout) => stdout.read_line(&mut line).unwrap_or(0),
            None => 0,
        };
        if read == 0 {
            return Err(BenchError::failed(format!(
                "{} ended before it was ready",
                self.program
            )));
        }
        Ok(line.trim_end().to_owned())
    }

    /// Closes its standard input, which ends the floor.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Asks it to end, by SIGTERM.
    ///
    /// # Errors
    /// It cannot be asked.
    pub(crate) fn terminate(&mut self) -> Result<(), BenchError> {
        let asked = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        match asked {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(BenchError::failed(format!("{} is gone", self.program))),
            Err(source) => Err(BenchError::Spawn {
                program: "kill".into(),
                source,
            }),
        }
    }

    /// Waits for its end, at most `within`.
    ///
    /// # Errors
    /// It took longer (and was killed), or failed.
    pub(crate) fn finish(mut self, within: Duration) -> Result<Took, BenchError> {
        let reader = self.stdout.take().map(read_all);
        let deadline = Instant::now() + within;
        let pid = self.child.id();
        let (usage, wall_s) = loop {
            self.peak_rss_bytes = self
                .peak_rss_bytes
                .max(peak_rss_of(pid).unwrap_or_default());
            if let Some(stat) = Stat::of(pid)
                && stat.is_over
            {
                break (stat.usage, self.started.elapsed().as_secs_f64());
            }
            if Instant::now() >= deadline {
                return Err(BenchError::failed(format!(
                    "{} was not done within {} s",
                    self.program,
                    within.as_secs()
                )));
            }
            std::thread::sleep(LOOK);
        };
        let status = self.reap()?;
        let output = reader.and_then(|r| r.join().ok()).unwrap_or_default();
        if !status.success() {
            return Err(BenchError::failed(format!(
                "{} failed: {status}",
                self.program
            )));
        }
        Ok(Took {
            wall_s,
            usage,
            peak_rss_bytes: self.peak_rss_bytes,
            output,
        })
    }

    fn reap(&mut self) -> Result<ExitStatus, BenchError> {
        self.is_reaped = true;
        self.child.wait().map_err(|source| BenchError::Spawn {
            program: self.program.clone(),
            source,
        })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.is_reaped {
            // Only this child, by its id, and only where a measurement was given up.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn read_all(mut stdout: BufReader<ChildStdout>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stdout.read_to_string(&mut text);
        text
    })
}

/// CPU that process `pid` has taken so far.
pub(crate) fn usage_of(pid: u32) -> Option<Usage> {
    Stat::of(pid).map(|stat| stat.usage)
}

/// The part of `/proc/<pid>/stat` that is of use.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Stat {
    /// A zombie whose other threads are gone: its times are final.
    is_over: bool,
    usage: Usage,
}

impl Stat {
    fn of(pid: u32) -> Option<Stat> {
        Stat::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Stat> {
        // The name in parentheses may hold anything, parentheses too.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let seconds = |index: usize| -> Option<f64> {
            let ticks: f64 = fields.get(index)?.parse().ok()?;
            Some(ticks / TICKS_PER_SECOND)
        };
        let threads: u32 = fields.get(17)?.parse().ok()?;
        Some(Stat {
            is_over: *fields.first()? == "Z" && threads <= 1,
            usage: Usage {
                user_s: seconds(11)?,
                system_s: seconds(12)?,
            },
        })
    }
}

fn peak_rss_of(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

/// The process of this machine, and of this user unless root asks, that listens on `address`: the
/// broker. `None` where it runs elsewhere.
pub(crate) fn listening_on(address: SocketAddr) -> Option<u32> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .find_map(|table| listener(&table, address.port()).map(str::to_owned))?;
    let wanted = PathBuf::from(format!("socket:[{inode}]"));
    let processes = std::fs::read_dir("/proc").ok()?;
    processes
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| {
            std::fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|files| {
                files
                    .filter_map(Result::ok)
                    .any(|file| std::fs::read_link(file.path()).is_ok_and(|to| to == wanted))
            })
        })
}

/// The inode of the socket that listens on `port`, in a table of `/proc/net`.
fn listener(table: &str, port: u16) -> Option<&str> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_it = fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == LISTEN;
        is_it.then(|| fields.get(9).copied()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_any_name() {
        let rest = "1 1 1 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 3 0 100 0 0";
        let cases = [
            (format!("7 (kafka) S {rest}"), false),
            (format!("7 (a) Z (b)) R {rest}"), false),
            // A leader that is gone while others still run is not over.
            (format!("7 (kafka) Z {rest}"), false),
            (
                format!("7 (kafka) Z {}", rest.replace(" 20 0 3 ", " 20 0 1 ")),
                true,
            ),
        ];
        for (text, is_over) in cases {
            let stat = Stat::parse(&text).unwrap();
            assert_eq!(stat.is_over, is_over, "{text}");
            assert_eq!(
                (stat.usage.user_s, stat.usage.system_s),
                (2.5, 0.5),
                "{text}"
            );
        }
        assert_eq!(Stat::parse("7 (kafka"), None);
    }

    #[test]
    fn a_listener_is_found_by_its_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:71A4 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 11 1\n   1: 0100007F:71A4 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 22 1\n";
        assert_eq!(listener(table, 29092), Some("22"));
        assert_eq!(listener(table, 29093), None);
    }

    #[test]
    fn this_process_is_found_by_the_port_that_it_listens_on() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = listening_on(socket.local_addr().unwrap());
        assert_eq!(found, Some(std::process::id()));
    }

    #[test]
    fn a_child_is_measured_to_its_end() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done",
        ]);
        let took = Watched::start(command)
            .unwrap()
            .finish(Duration::from_secs(60))
            .unwrap();
        assert_eq!(took.output, "done\n");
        assert!(took.usage.cpu_s() > 0.0 && took.wall_s > 0.0, "{took:?}");
        assert!(took.peak_rss_bytes > 0, "{took:?}");
    }

    #[test]
    fn a_child_that_fails_is_a_failure() {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 3"]);
        let watched = Watched::start(command).unwrap();
        let error = watched.finish(Duration::from_secs(60)).unwrap_err();
        assert!(error.to_string().contains('3'), "{error}");
    }
}
