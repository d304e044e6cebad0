//! The program on a real broker: an application, its instances, and what they come to.

#![allow(unreachable_pub, reason = "shared between test crates")]
#![allow(dead_code, reason = "no test crate needs all of it")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail by panicking, and then show the logs"
)]

pub mod outputs;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How much of an instance's log a failing test shows.
const LAST_LINES: usize = 30;

/// The program, built for the tests.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_clvstream");

/// The project's folder.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Waits until `answer` is some.
pub fn until<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// An application on a broker, with a folder for the data of its instances.
pub struct App {
    pub id: String,
    pub folder: tempfile::TempDir,
    bootstrap: String,
    settings: Vec<String>,
}

impl App {
    /// `settings` are `KEY=VALUE`, as after `--set`.
    pub fn new(bootstrap: &str, name: &str, settings: &[&str]) -> App {
        App {
            id: kafkatest::unique(name),
            folder: tempfile::tempdir().unwrap(),
            bootstrap: bootstrap.to_owned(),
            settings: settings.iter().map(|s| (*s).to_owned()).collect(),
        }
    }

    /// The same application as it would be on another broker.
    pub fn on(&self, bootstrap: &str) -> App {
        App {
            id: self.id.clone(),
            folder: tempfile::tempdir().unwrap(),
            bootstrap: bootstrap.to_owned(),
            settings: self.settings.clone(),
        }
    }

    /// A command of the program for this application, as `instance`.
    pub fn command(&self, instance: &str, args: &[&str]) -> Command {
        let data = self.folder.path().join(instance);
        let mut command = Command::new(PROGRAM);
        command
            .args(args)
            .args(["--set", &format!("application_id={}", self.id)])
            .args(["--set", &format!("data_dir={}", data.display())])
            .args(["--set", &format!("kafka.bootstrap={}", self.bootstrap)])
            .args(["--set", &format!("kafka.instance={instance}")])
            .current_dir(project())
            .env_clear();
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command
    }

    /// Runs a command to its end and answers its standard output; it has to succeed.
    pub fn run(&self, instance: &str, args: &[&str]) -> String {
        let place = self.folder.path().join(kafkatest::unique("command"));
        let (said, log) = (place.with_extension("out"), place.with_extension("err"));
        let child = self
            .command(instance, args)
            .stdin(Stdio::null())
            .stdout(File::create(&said).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut running = Instance { child, log };
        let status = running.ended();
        let said = std::fs::read_to_string(&said).unwrap();
        let log = running.log();
        assert!(status.success(), "{args:?}: {status}\n{said}{log}");
        said
    }

    /// Starts a service.
    pub fn start(&self, instance: &str) -> Instance {
        self.start_with(instance, &[])
    }

    /// Starts a service with further settings.
    pub fn start_with(&self, instance: &str, settings: &[&str]) -> Instance {
        let log = self
            .folder
            .path()
            .join(kafkatest::unique(&format!("{instance}.log")));
        let mut command = self.command(
            instance,
            &["run", "--log-format=json", "--set=http.listen=127.0.0.1:0"],
        );
        for setting in settings {
            command.args(["--set", setting]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Instance { child, log }
    }

    /// What subscribers have been told so far.
    pub fn outputs(&self) -> outputs::Outputs {
        outputs::Outputs::read(&self.bootstrap, &self.id)
    }

    /// All profiles, or days, as CSV, read from the changelog.
    pub fn export(&self, what: &str) -> String {
        self.run("reader", &["export", what])
    }
}

/// A running service.
pub struct Instance {
    child: Child,
    log: PathBuf,
}

impl Instance {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far, one JSON object a line.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until a line of the log contains `text`, and answers the line.
    pub fn logged(&self, text: &str) -> String {
        until(&format!("the log says {text:?}"), || {
            let log = self.log();
            let found = log.lines().find(|line| line.contains(text));
            found.map(str::to_owned)
        })
    }

    /// The address that it serves metrics at.
    pub fn address(&self) -> String {
        let line = self.logged("\"running\"");
        let (_, rest) = line.split_once("\"http\":\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    /// The body of a page, whatever its status; `None` if it does not answer.
    pub fn get(&self, path: &str) -> Option<String> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(self.address()).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Sum of the samples of a metric whose line begins with `prefix`.
    pub fn metric(&self, prefix: &str) -> f64 {
        let page = self.get("/metrics").unwrap_or_default();
        let lines = page.lines().filter(|line| line.starts_with(prefix));
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Waits until it has taken over what was assigned to it.
    pub fn wait_ready(&self) {
        until("the service is ready", || {
            let page = self.get("/readyz")?;
            page.starts_with("HTTP/1.0 200").then_some(())
        });
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.pid().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// kill -STOP
    pub fn stop(&self) {
        self.signal("-STOP");
    }

    /// kill -CONT
    pub fn cont(&self) {
        self.signal("-CONT");
    }

    /// kill -9, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for its end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("-TERM");
        self.ended()
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        until("the service has ended", || self.child.try_wait().unwrap())
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // A test that fails leaves nothing behind; one that has ended is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let skipped = log.lines().count().saturating_sub(LAST_LINES);
            let last: Vec<_> = log.lines().skip(skipped).collect();
            eprintln!("the end of {}:\n{}", self.log.display(), last.join("\n"));
        }
    }
}
