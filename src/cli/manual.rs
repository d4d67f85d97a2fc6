//! `paraph completions` and `paraph man`: what shells and manual readers know of the command line, written from the
//! command line itself. Commands that are not for people are left out. Called by `cli`.

use super::fault::Fault;
use clap::{Args, Command};
use clap_complete::Shell;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// `paraph completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(paraph completions bash)
  paraph completions bash > ~/.local/share/bash-completion/completions/paraph
  paraph completions zsh > ~/.zfunc/_paraph
  paraph completions fish > ~/.config/fish/completions/paraph.fish")]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

/// `paraph man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  paraph man | man -l -
  paraph man --out ~/.local/share/man/man1        one page per command")]
pub(super) struct Man {
    /// Write one page per command into this folder instead
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Completions {
    pub(super) fn run(self, command: &Command) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut for_people(command), "paraph", &mut script);
        // A reader that is gone is no mistake.
        let _ = io::stdout().lock().write_all(&script);
        ExitCode::SUCCESS
    }
}

impl Man {
    pub(super) fn run(self, command: &Command) -> Result<ExitCode, Fault> {
        let command = for_people(command);
        if let Some(folder) = self.out {
            let written = std::fs::create_dir_all(&folder).and_then(|()| clap_mangen::generate_to(command, &folder));
            written.map_err(|error| Fault::file(&folder, &error))?;
        } else {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page).map_err(|error| Fault::new(1, error.to_string()))?;
            let _ = io::stdout().lock().write_all(&page);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The same command without what is hidden, which completion scripts would offer.
fn for_people(command: &Command) -> Command {
    // `clap` takes names that live for ever; the process ends right after.
    let name: &'static str = Box::leak(command.get_name().into());
    let mut shown = Command::new(name).disable_help_subcommand(true);
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    if command.get_version().is_some() {
        shown = shown.version(env!("CARGO_PKG_VERSION"));
    }
    if let Some(after) = command.get_after_help() {
        shown = shown.after_help(after.clone());
    }
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version"));
    shown = shown.subcommand_required(command.is_subcommand_required_set()).args(arguments.cloned());
    shown.subcommands(command.get_subcommands().filter(|below| !below.is_hide_set()).map(for_people))
}
