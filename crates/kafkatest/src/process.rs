//! A broker's process, which does not outlive the test process.
//!
//! The broker runs under a small shell that reads from a pipe whose other end is this process's.
//! The pipe ends when this process closes it or ends, by kill -9 too; then the shell kills the
//! broker with kill -9 and removes its folder. Both run in a process group of their own, so that an
//! interrupt from the terminal reaches them by the pipe alone.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::script;

/// `gone` says that the broker has ended; its number may be another process's by then.
const KEEPER: &str = r#"
folder=$1
shift
exec 3<&0
"$@" </dev/null >>"$folder/broker.log" 2>&1 3<&- &
broker=$!
echo $broker
{
    read -r order <&3
    [ -e "$folder/gone" ] || kill -9 $broker
    [ "$order" = keep ]
} 2>/dev/null &
watcher=$!
wait $broker 2>/dev/null
: >"$folder/gone"
wait $watcher || rm -rf "$folder"
"#;

/// A running broker. Dropped, it is killed and its folder removed.
#[derive(Debug)]
pub(crate) struct Process {
    shell: Child,
    /// Of the broker.
    pub(crate) pid: u32,
    folder: PathBuf,
}

impl Process {
    /// Starts a broker with the properties in a folder; its log is `broker.log` there.
    pub(crate) fn start(folder: &Path, properties: &Path) -> Self {
        // Left by a run before.
        for file in ["gone", "broker.log"] {
            let _ = fs::remove_file(folder.join(file));
        }
        let mut shell = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .arg(folder)
            .arg(script::path())
            .arg("serve")
            .arg(properties)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh can be run");
        let mut line = String::new();
        let stdout = shell.stdout.take().expect("stdout is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the shell's words can be read");
        let pid = line
            .trim()
            .parse()
            .expect("the shell tells the broker's id");
        Self {
            shell,
            pid,
            folder: folder.to_owned(),
        }
    }

    /// Whether the broker has ended by itself.
    pub(crate) fn is_gone(&self) -> bool {
        self.folder.join("gone").exists()
    }

    /// Kills it with kill -9 and keeps its folder.
    pub(crate) fn kill(mut self) {
        if let Some(pipe) = &mut self.shell.stdin {
            // A shell that is gone took the broker with it.
            let _ = pipe.write_all(b"keep\n");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
