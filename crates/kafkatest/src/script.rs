//! The calls to `scripts/kafka`, which knows where Kafka comes from and how it is run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The script, in the project that this crate was built in.
pub(crate) fn path() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root).join("scripts/kafka")
}

/// Makes sure that Kafka is there; why it cannot be had otherwise. Processes that ask at the same
/// time wait for the one that fetches.
pub(crate) fn libs() -> Result<(), String> {
    call([OsStr::new("libs")])
}

/// Formats the log folder of the broker with these properties.
pub(crate) fn format(properties: &Path, more: &[String]) -> Result<(), String> {
    let fixed = [OsStr::new("format"), properties.as_os_str()];
    call(fixed.into_iter().chain(more.iter().map(OsStr::new)))
}

/// Makes `broker.p12` and `ca.pem` in a folder.
pub(crate) fn certificate(folder: &Path) -> Result<(), String> {
    call([OsStr::new("certificate"), folder.as_os_str()])
}

/// The last line that the script says on standard error is its reason for failing.
fn call<'a>(arguments: impl IntoIterator<Item = &'a OsStr>) -> Result<(), String> {
    let script = path();
    let output = Command::new(&script)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", script.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.lines().rev().find(|line| !line.trim().is_empty());
    Err(reason.map_or_else(
        || format!("{} failed ({})", script.display(), output.status),
        str::to_owned,
    ))
}
