//! A running clvstream, how far it has come, and its end.
//!
//! How far it has come is told from outside by what it has written to the log's write-ahead log,
//! the one thing that grows with every append and every commit.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(1);
/// After this long a condition is taken for one that never comes.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running clvstream.
pub(crate) struct Victim {
    child: Child,
    folder: PathBuf,
    /// Write-ahead logs that were there before it.
    before: BTreeSet<OsString>,
    /// The sizes of its own, also of those that it has removed again.
    written: BTreeMap<OsString, u64>,
}

impl Victim {
    /// Starts clvstream in `folder`.
    pub(crate) fn start(folder: &Path, args: &[&str]) -> Victim {
        let before = logs(folder).map(|(name, _)| name).collect();
        let child = Command::new(env!("CARGO_BIN_EXE_clvstream"))
            .args(args)
            .current_dir(folder)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(File::create(folder.join("stdout")).unwrap())
            .stderr(File::create(folder.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        Victim {
            child,
            folder: folder.to_path_buf(),
            before,
            written: BTreeMap::new(),
        }
    }

    /// Bytes that it has written to the log.
    fn written(&mut self) -> u64 {
        for (name, size) in logs(&self.folder) {
            if !self.before.contains(&name) {
                let known = self.written.entry(name).or_default();
                *known = size.max(*known);
            }
        }
        self.written.values().sum()
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until `done` answers something; `None` if it ends by itself before that.
    pub(crate) fn wait_for<T>(
        &mut self,
        mut done: impl FnMut(&mut Victim) -> Option<T>,
    ) -> Option<T> {
        let start = Instant::now();
        while self.is_running() {
            if let Some(answer) = done(self) {
                return Some(answer);
            }
            assert!(
                start.elapsed() < PATIENCE,
                "nothing happens:\n{}",
                self.stderr()
            );
            std::thread::sleep(LOOK);
        }
        None
    }

    /// Kills it with signal 9, `later` after it has written so many bytes. Answers whether that hit
    /// a running process; otherwise it was done before, successfully.
    pub(crate) fn kill_at(mut self, bytes: u64, later: Duration) -> bool {
        self.wait_for(|victim| (victim.written() >= bytes).then_some(()));
        // The moment of the fault is between two writes as well as right after one.
        std::thread::sleep(later);
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert!(
            status.signal() == Some(9) || status.success(),
            "{}",
            self.stderr()
        );
        status.signal() == Some(9)
    }

    /// Lets it end by itself. Answers its output, and how many bytes it wrote to the log.
    pub(crate) fn finish(mut self) -> (String, u64) {
        self.wait_for(|victim| {
            victim.written();
            None::<()>
        });
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{}", self.stderr());
        let stdout = std::fs::read_to_string(self.folder.join("stdout")).unwrap();
        (stdout, self.written())
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        let kill = format!("kill -TERM {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success());
    }

    /// What it has said on standard error so far.
    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.join("stderr")).unwrap()
    }
}

impl Drop for Victim {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The write-ahead logs of the log in `folder`, with their sizes.
fn logs(folder: &Path) -> impl Iterator<Item = (OsString, u64)> {
    let entries = std::fs::read_dir(folder.join("clvstream-data/log"));
    entries.into_iter().flatten().filter_map(|entry| {
        let entry = entry.ok()?;
        let is_log = Path::new(&entry.file_name()).extension()? == "log";
        is_log.then_some((entry.file_name(), entry.metadata().ok()?.len()))
    })
}
