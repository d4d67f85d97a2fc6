//! `paraph policy import`: a PolicyLayer policy.json as rules of our own, printed for config.toml. What rules cannot say
//! exactly is refused by name. Called by `policy`.

use super::toml;
use crate::cli::fault::Fault;
use crate::cli::terminal;
use crate::config::{is_server_name, read_policy};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  paraph policy import policies/demo.json
  paraph policy import policies/demo.json --server demo >> config.toml

Prints default, limits and rules of [servers.NAME] that judge every call as the file does; command or url stand
beside them. Rules are worth it when you want to go on with globs, agents and approvals; otherwise
policy = \"policies/demo.json\" in [servers.NAME] reads the file unchanged. Exit code 1 when a key of the file cannot
be said in rules, 2 when the file has mistakes.";

/// `paraph policy import`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Import {
    /// The policy.json
    #[arg(value_name = "FILE.json")]
    file: PathBuf,
    /// The server whose rules these will be [default: the file's name without its ending]
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
}

impl Import {
    pub(super) fn run(self) -> Result<ExitCode, Fault> {
        let stem = self.file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let server = self.server.or(stem).unwrap_or_default();
        if !is_server_name(&server) {
            return Err(Fault::usage(format!("{server:?} is not a server's name; write --server NAME with letters, digits, _ and -")));
        }
        let document = read_policy(&self.file).map_err(|mistakes| Fault::usage(mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
        let file = self.file.display();
        let imported = document.import().map_err(|refused| {
            let lines = refused.iter().map(|one| format!("{file}: {}: {}. Use policy = \"{file}\" in [servers.{server}] instead", one.pointer, one.why));
            Fault::new(1, lines.collect::<Vec<_>>().join("\n"))
        })?;
        terminal::say(toml::write(&server, &imported).trim_end());
        Ok(ExitCode::SUCCESS)
    }
}
