//! The binary.

use std::process::ExitCode;

/// Profiles are many small, short-lived allocations: with glibc's allocator processing takes a quarter
/// to a third more CPU time (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    clvstream::program::main()
}
