//! The program. For now only the two hidden commands that servers are run with.

use paraph::mcp::{demo_server, guard};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("guard") => guard::run(arguments.skip(1).collect()),
        Some("demo-server") => match tokio::runtime::Runtime::new().and_then(|runtime| runtime.block_on(demo_server::run())) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        _ => ExitCode::from(2),
    }
}
