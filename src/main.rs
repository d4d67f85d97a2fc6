//! The program `paraph`. Everything is in the library, so that tests can reach it;
//! `cli` reads the command line and gives the exit code.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// musl's own is slow, and the system's keeps the highest use of each thread: with it, ten thousand calls that wait take
/// more room than they need.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    paraph::cli::main()
}
