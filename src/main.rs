//! The program `paraph`. Everything is in the library, so that tests can reach it;
//! `cli` reads the command line and gives the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    paraph::cli::main()
}
