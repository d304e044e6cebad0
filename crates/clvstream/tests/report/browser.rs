//! A headless Chromium that opens a page: what it says on its console, and what it made of the page.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The browser, where one is installed.
pub(crate) fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| program.is_file())
}

/// A page as it was opened.
pub(crate) struct Opened {
    /// The document after it was loaded, as HTML.
    pub(crate) document: String,
    /// Lines of the console: errors of scripts, and what the content security policy refused.
    pub(crate) console: Vec<String>,
}

/// Opens a page of a folder in a window `width` wide. The browser's own files go to that folder too.
pub(crate) fn open(program: &Path, folder: &Path, page: &str, width: u32) -> Opened {
    let output = Command::new(program)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
        // Containers give little of it.
        .arg("--disable-dev-shm-usage")
        .args(["--enable-logging=stderr", "--v=0", "--dump-dom"])
        // Until nothing is left to do, or so many milliseconds of the page's own time.
        .arg("--virtual-time-budget=5000")
        .args(["--no-first-run", "--disable-background-networking"])
        .arg(format!("--window-size={width},1000"))
        .arg(format!(
            "--user-data-dir={}",
            folder.join("browser").display()
        ))
        .arg(format!("file://{}", folder.join(page).display()))
        .env("HOME", folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let document = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && document.contains("</html>"),
        "the browser failed: {}\n{errors}",
        output.status
    );
    let console = errors.lines().filter(|line| line.contains(":CONSOLE"));
    Opened {
        console: console.map(str::to_owned).collect(),
        document,
    }
}
