//! The program that these tests are about.

use std::path::PathBuf;

/// The build with its points armed, which the test runner puts beside the program.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(|deps| deps.parent()).unwrap();
    let program = built.join("clvstream-failpoints");
    assert!(
        program.exists(),
        "{} is missing: cargo build --release --workspace --features clvstream/failpoints \
         --bin clvstream-failpoints",
        program.display()
    );
    program
}
