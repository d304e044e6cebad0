//! Loading beside the instances: a loader that is killed, and fails while the broker is away, goes
//! on where it stopped when it is started again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::support::App;

/// The file of rows that are replayed, in the application's folder.
pub(crate) const FILE: &str = "orders.csv";

const REPLAY: [&str; 5] = [
    "replay",
    "--mapping=mappings/online_retail.toml",
    "--until=2012-01-01",
    "--quiet",
    "--color=never",
];

/// A running `clvstream replay`, which ends when the instances have consumed everything.
pub(crate) struct Loader<'a> {
    app: &'a App,
    keyed_by: String,
    child: Child,
    said: PathBuf,
    /// How often it failed.
    pub(crate) failed: u32,
    done: bool,
}

impl<'a> Loader<'a> {
    /// Starts it. Keyed by `order`, most purchases reach their customer's task by way of another one.
    pub(crate) fn start(app: &'a App, keyed_by: &str) -> Loader<'a> {
        let said = app.folder.path().join("replay.log");
        Loader {
            child: spawn(app, keyed_by, &said),
            keyed_by: keyed_by.to_owned(),
            app,
            said,
            failed: 0,
            done: false,
        }
    }

    /// Kills it with signal 9, and starts it again.
    pub(crate) fn kill(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "{}", self.said());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(self.app, &self.keyed_by, &self.said);
    }

    /// Answers whether it is done. One that has failed is started again.
    pub(crate) fn is_done(&mut self) -> bool {
        if self.done {
            return true;
        }
        match self.child.try_wait().unwrap() {
            None => {}
            Some(status) if status.success() => self.done = true,
            Some(status) => {
                println!("the replay ended, {status}: {}", self.said());
                self.failed += 1;
                self.child = spawn(self.app, &self.keyed_by, &self.said);
            }
        }
        self.done
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap()
    }
}

impl Drop for Loader<'_> {
    fn drop(&mut self) {
        // A test that fails leaves nothing behind; one that has ended is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(app: &App, keyed_by: &str, said: &Path) -> Child {
    app.command("loader", &REPLAY)
        .args(["--key-by", keyed_by])
        .arg(app.folder.path().join(FILE))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(said).unwrap())
        .spawn()
        .unwrap()
}
