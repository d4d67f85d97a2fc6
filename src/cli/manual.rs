//! `paraph completions` and `paraph man`: what shells and manual readers know of the command line, written from the
//! command line itself. Commands that are not for people are left out. Called by `cli`.

use super::fault::Fault;
use clap::{Args, Command};
use clap_complete::Shell;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
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
        let mut command = for_people(command);
        command.build();
        match self.out {
            Some(folder) => {
                let written = std::fs::create_dir_all(&folder).and_then(|()| write_all(&command, &folder));
                written.map_err(|error| Fault::file(&folder, &error))?;
            }
            None => drop(io::stdout().lock().write_all(&page(&command).map_err(|error| Fault::new(1, error.to_string()))?)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write_all(command: &Command, folder: &Path) -> io::Result<()> {
    std::fs::write(folder.join(format!("{}.1", command.get_display_name().unwrap_or(command.get_name()))), page(command)?)?;
    command.get_subcommands().try_for_each(|below| write_all(below, folder))
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let (man, mut page) = (clap_mangen::Man::new(command.clone()), Vec::new());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(after) = command.get_after_help() {
        // Commands keep their lines.
        page.extend_from_slice(b".SH EXAMPLES\n.nf\n");
        let text = after.to_string();
        for line in text.strip_prefix("Examples:\n").unwrap_or(&text).lines() {
            page.extend_from_slice(format!("\\&{}\n", line.replace('\\', "\\e").replace('-', "\\-")).as_bytes());
        }
        page.extend_from_slice(b".fi\n");
    }
    Ok(page)
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
