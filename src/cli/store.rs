//! `paraph store`: a backup of a running or stopped gateway, the way back into an empty folder, and a smaller
//! database. A running gateway writes the backup itself; the other two need it stopped. Called by `cli`.

use super::fault::Fault;
use super::settings::Where;
use super::terminal;
use crate::config::Config;
use crate::control::{Answer, Request, RestoreFault, Restored, ask, restore, restoring_folder};
use crate::store::backup::Contents;
use crate::store::on_sled::{self, Compacted, NEW_DATABASE};
use clap::Subcommand;
use serde_json::json;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(2);

/// `paraph store …`.
#[derive(Debug, Subcommand)]
pub(super) enum Store {
    /// Write everything into one file, while the gateway runs or not
    #[command(after_help = "\
Examples:
  paraph store backup paraph.backup
  paraph store backup /var/backups/paraph-$(date +%F).backup --json

The file holds every message and the key that signs audit exports: it is readable for you alone, keep it so. A file
that is there already is not overwritten.")]
    Backup {
        /// The file to be
        file: PathBuf,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Bring a backup back into an empty or missing data folder
    #[command(after_help = "\
Examples:
  paraph store restore paraph.backup --data data-restored

The gateway of that folder must not run. Calls that were open when the backup was made become `unconfirmed`: they
may have been decided and sent since. Approvals that waited are void, everybody signs in again; agents' and API
tokens work as before.")]
    Restore {
        /// The backup
        file: PathBuf,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Give the space of what was erased back to the disk; the gateway must be stopped
    #[command(after_help = "\
Examples:
  paraph store compact

Writes the database anew beside the old one, compares the two and swaps them: it needs as much free space as the
records take. A new one that is no smaller is thrown away. When it is interrupted the store is as it was, or done.")]
    Compact {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Store {
    pub(super) async fn run(self, place: &Where) -> Result<ExitCode, Fault> {
        let config = place.config()?;
        match self {
            Store::Backup { file, json } => backup(&config, &file, json).await,
            Store::Restore { file, json } => back(&config, &file, json).await,
            Store::Compact { json } => compact(&config, json).await,
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

async fn backup(config: &Config, file: &Path, json: bool) -> Result<(), Fault> {
    there_is_a_store(config)?;
    // The gateway has another working directory.
    let path = std::path::absolute(file).map_err(|error| Fault::file(file, &error))?;
    if path.symlink_metadata().is_ok() {
        return Err(Fault::usage(format!("{} is there already, and a backup never overwrites a file: name another one", file.display())));
    }
    let draft = on_sled::draft_of(&path);
    let response = with_progress(&draft, "backing up", Box::pin(ask(config, Request::Backup { path: path.clone() }))).await?;
    let Answer::Backup(contents) = response.answer else {
        return Err(Fault::new(3, "the running gateway gave another answer than was asked for; restart it"));
    };
    let Contents { made_at, head, entries, calls, bodies, bytes } = &contents;
    if json {
        let told = json!({ "file": path, "made_at": made_at, "bytes": bytes, "calls": calls, "entries": entries, "bodies": bodies, "head": head });
        terminal::say(&terminal::json(&told, true));
    } else {
        terminal::say(&format!("{}: {calls} calls, {entries} audit entries, {bytes} bytes", terminal::visible(&path.display().to_string())));
        terminal::say(&format!("head {} {}", head.seq, head.hash));
        terminal::note("It holds messages and the key that signs audit exports: keep it as closely as the data folder.");
    }
    Ok(())
}

async fn back(config: &Config, file: &Path, json: bool) -> Result<(), Fault> {
    let growing = restoring_folder(&config.store.path);
    let Restored { folder, contents, unconfirmed } = with_progress(&growing, "restoring", Box::pin(restore(config, file))).await?;
    if json {
        let told = json!({ "data": folder, "backup_at": contents.made_at, "calls": contents.calls, "entries": contents.entries,
            "unconfirmed": unconfirmed, "head": contents.head });
        terminal::say(&terminal::json(&told, true));
        return Ok(());
    }
    let Contents { made_at, head, entries, calls, .. } = &contents;
    terminal::say(&format!("{}: {calls} calls, {entries} audit entries, as of {made_at}", terminal::visible(&folder.display().to_string())));
    terminal::say(&format!("head {} {}", head.seq, head.hash));
    if unconfirmed > 0 {
        terminal::note(&format!(
            "{unconfirmed} calls were open in the backup and are unconfirmed now: nobody knows whether they were sent since. Look and say what happened: paraph calls --state unconfirmed"
        ));
    }
    terminal::note("Everybody has to sign in again (paraph reviewer link EMAIL); tokens work as before.");
    Ok(())
}

async fn compact(config: &Config, json: bool) -> Result<(), Fault> {
    there_is_a_store(config)?;
    let data = config.store.path.clone();
    let working = async { tokio::task::spawn_blocking(move || on_sled::compact(&data, &on_sled::Settings::default())).await };
    let done = with_progress(&config.store.path.join(NEW_DATABASE), "compacting", working).await;
    let done = done.map_err(|error| Fault::new(1, format!("compacting ended early, and the store is as it was: {error}")))?;
    let compacted = done.map_err(|error| Fault::new(1, error.to_string()))?;
    let (Compacted { before, anew }, after) = (compacted, compacted.after());
    if json {
        terminal::say(&json!({ "before": before, "after": after }).to_string());
    } else if after < before {
        terminal::say(&format!("{before} bytes before, {after} bytes after"));
    } else {
        terminal::say(&format!("There is nothing to give back: written anew the store is no smaller ({anew} bytes). It stays as it was, {before} bytes."));
    }
    Ok(())
}

/// Opening would make an empty one, and nobody wants a backup of that.
fn there_is_a_store(config: &Config) -> Result<(), Fault> {
    let data = &config.store.path;
    // A crash while compacting can leave it under the name of the old one, which opening finds.
    let names = ["store", "store.old"];
    if names.iter().any(|name| data.join(name).is_dir()) {
        return Ok(());
    }
    Err(Fault::usage(format!("there is no store in {}: name the data folder with --data or the configuration with --config", data.display())))
}

/// Tells a person at a terminal how far it is, by what lies on the disk so far.
async fn with_progress<T>(growing: &Path, what: &str, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    if !io::stderr().is_terminal() {
        return work.await;
    }
    let mut ticks = tokio::time::interval(PROGRESS);
    ticks.tick().await;
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => terminal::note(&format!("{what}: {} MiB written so far", size(growing) >> 20)),
        }
    }
}

fn size(path: &Path) -> u64 {
    let Ok(about) = path.symlink_metadata() else { return 0 };
    if !about.is_dir() {
        return about.len();
    }
    let Ok(found) = path.read_dir() else { return 0 };
    found.flatten().map(|found| size(&found.path())).sum()
}

impl From<RestoreFault> for Fault {
    fn from(fault: RestoreFault) -> Fault {
        Fault::new(fault.exit_code(), fault.to_string())
    }
}
