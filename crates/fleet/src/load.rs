//! Loading beside the instances: a loader that is killed, or fails while a broker is away, goes on
//! where it stopped when it is started again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::app::App;

/// A running `clvstream replay` or `clvstream simulate`.
#[derive(Debug)]
pub struct Loader<'a> {
    app: &'a App,
    args: Vec<String>,
    child: Child,
    said: PathBuf,
    /// How often it failed.
    pub failed: u32,
    done: bool,
}

impl<'a> Loader<'a> {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(app: &'a App, args: &[&str]) -> Loader<'a> {
        let place = app.folder.path().join(kafkatest::unique("loader"));
        let said = place.with_extension("log");
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Loader {
            child: spawn(app, &args, &said),
            args,
            app,
            said,
            failed: 0,
            done: false,
        }
    }

    /// Kills it with signal 9, and starts it again; answers whether it had not ended by itself.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn kill(&mut self) -> bool {
        if self.done || self.child.try_wait().unwrap().is_some() {
            return false;
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(self.app, &self.args, &self.said);
        true
    }

    /// Answers whether it is done. One that has failed is started again.
    ///
    /// # Panics
    /// When it cannot be started again.
    pub fn is_done(&mut self) -> bool {
        if self.done {
            return true;
        }
        match self.child.try_wait().unwrap() {
            None => {}
            Some(status) if status.success() => self.done = true,
            Some(status) => {
                println!("{} ended, {status}: {}", self.args[0], self.said());
                self.failed += 1;
                self.child = spawn(self.app, &self.args, &self.said);
            }
        }
        self.done
    }

    /// What it has said since it was started last.
    ///
    /// # Panics
    /// When that cannot be read.
    #[must_use]
    pub fn said(&self) -> String {
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

fn spawn(app: &App, args: &[String], said: &Path) -> Child {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    app.command("loader", &args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(said).unwrap())
        .spawn()
        .unwrap()
}
