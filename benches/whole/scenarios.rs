//! The scenarios beside the plain calls, by name: what `main` hands on to them, and the sizes that its arguments set.

use crate::scene::Sizes;
use crate::{decide, growth, holds, inbox, restart, waiting};
use std::path::Path;
use std::time::Duration;

/// Their names, as the command line and the tables know them.
pub const NAMES: [&str; 6] = ["holds", "decide", "waiting", "restart", "inbox", "growth"];

/// The sizes that these arguments name: `--held N`, `--entries N`, `--agents N`, `--seconds N`. `held` is for all
/// scenarios; without it each takes what its aim names.
///
/// # Errors
/// Says which number is none.
pub fn sizes(name: &str, arguments: &[String]) -> Result<Sizes, String> {
    let number = |flag: &str, usual: usize| -> Result<usize, String> {
        let Some(at) = arguments.iter().position(|argument| argument == flag) else { return Ok(usual) };
        let given = arguments.get(at + 1).map_or("", String::as_str);
        given.parse().ok().filter(|number| *number > 0).ok_or_else(|| format!("{flag} needs a number above 0, not {given:?}"))
    };
    let held = number("--held", if name == "restart" { 100_000 } else { 10_000 })?;
    Ok(Sizes { held, entries: number("--entries", 100_000)?, agents: number("--agents", 1024)?, time: Duration::from_secs(number("--seconds", 10)? as u64) })
}

/// Runs one, against this program.
pub async fn run(name: &str, program: &Path, sizes: Sizes) {
    match name {
        "holds" => holds::run(program, sizes).await,
        "decide" => decide::run(program, sizes).await,
        "waiting" => waiting::run(program, sizes).await,
        "restart" => restart::run(program, sizes).await,
        "inbox" => inbox::run(program, sizes).await,
        "growth" => growth::run(program, sizes).await,
        _ => panic!("there is no scenario {name}"),
    }
}
