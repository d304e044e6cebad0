//! The binary for the chaos suite: it dies where the environment says, and is the same otherwise.

use std::process::ExitCode;

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    failpoint::arm();
    clvstream::program::main()
}
