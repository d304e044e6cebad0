//! An application on a cluster, and its instances, each of which is a process.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::outputs::Outputs;

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How much of an instance's log a failing test shows.
const LAST_LINES: usize = 30;

/// The project's folder.
#[must_use]
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The program with its failpoints armed, which the test runner puts beside the program. It is looked for from
/// where the test that runs lies.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn program_with_failpoints() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(Path::parent).unwrap();
    let program = built.join("clvstream-failpoints");
    assert!(
        program.exists(),
        "{} is missing: cargo build --release --workspace --features clvstream/failpoints \
         --bin clvstream-failpoints",
        program.display()
    );
    program
}

/// Waits until `answer` is some.
///
/// # Panics
/// When that takes longer than [`PATIENCE`].
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

/// An application on a cluster, with a folder for the data of its instances.
#[derive(Debug)]
pub struct App {
    /// `application_id`.
    pub id: String,
    /// Data of the instances and what they have said; gone at the end.
    pub folder: tempfile::TempDir,
    program: PathBuf,
    bootstrap: String,
    settings: Vec<String>,
}

impl App {
    /// `settings` are `KEY=VALUE`, as after `--set`.
    ///
    /// # Panics
    /// When there is no place for its folder.
    #[must_use]
    pub fn new(program: impl AsRef<Path>, bootstrap: &str, name: &str, settings: &[&str]) -> App {
        App {
            program: program.as_ref().to_owned(),
            id: kafkatest::unique(name),
            folder: tempfile::tempdir().unwrap(),
            bootstrap: bootstrap.to_owned(),
            settings: settings.iter().map(|s| (*s).to_owned()).collect(),
        }
    }

    /// The same application as it would be on another broker.
    ///
    /// # Panics
    /// When there is no place for its folder.
    #[must_use]
    pub fn on(&self, bootstrap: &str) -> App {
        App {
            program: self.program.clone(),
            id: self.id.clone(),
            folder: tempfile::tempdir().unwrap(),
            bootstrap: bootstrap.to_owned(),
            settings: self.settings.clone(),
        }
    }

    /// Where its cluster is.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The folder of an instance's data.
    #[must_use]
    pub fn data_dir(&self, instance: &str) -> PathBuf {
        self.folder.path().join(instance)
    }

    /// A command of the program for this application, as `instance`.
    #[must_use]
    pub fn command(&self, instance: &str, args: &[&str]) -> Command {
        let data = self.data_dir(instance);
        let mut command = Command::new(&self.program);
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
    ///
    /// # Panics
    /// When it does not.
    pub fn run(&self, instance: &str, args: &[&str]) -> String {
        let (status, said, log) = self.outcome(instance, args);
        assert!(status.success(), "{args:?}: {status}\n{said}{log}");
        said
    }

    /// Runs a command to its end; answers how it ended, its standard output and its errors.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn outcome(&self, instance: &str, args: &[&str]) -> (ExitStatus, String, String) {
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
        (status, said, log)
    }

    /// Starts a service.
    #[must_use]
    pub fn start(&self, instance: &str) -> Instance {
        self.start_with(instance, &[])
    }

    /// Starts a service with further settings.
    #[must_use]
    pub fn start_with(&self, instance: &str, settings: &[&str]) -> Instance {
        self.start_in(instance, settings, &[])
    }

    /// Starts a service with further settings and with variables in its environment.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_in(
        &self,
        instance: &str,
        settings: &[&str],
        environment: &[(&str, &str)],
    ) -> Instance {
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
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Instance { child, log }
    }

    /// What subscribers have been told so far.
    #[must_use]
    pub fn outputs(&self) -> Outputs {
        Outputs::read(&self.bootstrap, &self.id)
    }

    /// All profiles, or days, as CSV, read from the changelog.
    #[must_use]
    pub fn export(&self, what: &str) -> String {
        self.run("reader", &["export", what])
    }
}

/// A service: a process that runs, or has ended.
#[derive(Debug)]
pub struct Instance {
    child: Child,
    log: PathBuf,
}

impl Instance {
    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far, one JSON object a line.
    ///
    /// # Panics
    /// When that cannot be read.
    #[must_use]
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
    ///
    /// # Panics
    /// When it does not say so.
    #[must_use]
    pub fn address(&self) -> String {
        address_in(&self.logged(RUNNING)).expect("it says where it serves")
    }

    /// The same, if it has said so already.
    #[must_use]
    pub fn known_address(&self) -> Option<String> {
        let log = self.log();
        let line = log.lines().find(|line| line.contains(RUNNING))?;
        address_in(line)
    }

    /// The body of a page, whatever its status; `None` if it does not answer.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<String> {
        get(&self.address(), path)
    }

    /// Sum of the samples of a metric whose line begins with `prefix`.
    #[must_use]
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
    ///
    /// # Panics
    /// When it is not this process's to kill.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for its end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("-TERM");
        self.ended()
    }

    /// SIGTERM, and kill -9 if it has not ended after `grace`.
    pub fn terminate_within(&mut self, grace: Duration) -> ExitStatus {
        self.signal("-TERM");
        let deadline = Instant::now() + grace;
        while Instant::now() < deadline {
            if let Some(status) = self.has_ended() {
                return status;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        self.child.kill().unwrap();
        self.ended()
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        until("the service has ended", || self.child.try_wait().unwrap())
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.has_ended().is_none()
    }

    /// How it has ended, if it has.
    ///
    /// # Panics
    /// When it is not this process's child.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

/// What a service says when it has found its cluster and its topics, with the address of its metrics.
const RUNNING: &str = "\"running\"";

fn address_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("\"http\":\"")?;
    Some(rest.split('"').next()?.to_owned())
}

/// The body of a page at an address, whatever its status; `None` if there is no answer.
pub(crate) fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
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
