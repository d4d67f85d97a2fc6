//! Where a command finds its configuration: `--config`, `--data` and what they fall back to. Mistakes in the
//! file are all told, one a line, and end the command with 2. Used by every command but `demo`.

use super::fault::Fault;
use super::terminal;
use crate::config::{self, Bounds, Config, Listen, Loaded, Mail, Mistake, StoreConfig};
use crate::domain::hold::HoldSettings;
use clap::Args;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file used when none is named.
const DEFAULT_FILE: &str = "config.toml";

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(super) struct Where {
    /// The configuration [default: ./config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data folder, instead of [store] path
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Where {
    /// The file, whether it is there or not.
    pub(super) fn file(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE))
    }

    /// Whether a configuration was named or stands in its usual place.
    pub(super) fn is_there(&self) -> bool {
        self.config.is_some() || Path::new(DEFAULT_FILE).exists()
    }

    /// Reads the file with its warnings.
    pub(super) fn load(&self) -> Result<Loaded, Vec<Mistake>> {
        let env = |name: &str| std::env::var(name).ok();
        let mut loaded = Config::load(self.file(), &env)?;
        if let Some(data) = &self.data {
            loaded.config.store.path.clone_from(data);
        }
        Ok(loaded)
    }

    /// For commands about data: with `--data` no file is needed.
    pub(super) fn config(&self) -> Result<Config, Fault> {
        if let (Some(data), false) = (&self.data, self.is_there()) {
            return Ok(defaults(data.clone()));
        }
        Ok(self.load().map_err(|mistakes| told(&mistakes))?.config)
    }

    /// Like [`Where::config`], with the warnings told.
    pub(super) fn config_with_warnings(&self) -> Result<Config, Fault> {
        let loaded = self.load().map_err(|mistakes| told(&mistakes))?;
        for warning in &loaded.warnings {
            terminal::note(&format!("warning: {}", terminal::visible(&warning.to_string())));
        }
        Ok(loaded.config)
    }
}

/// What commands about data need when there is no file.
fn defaults(data: PathBuf) -> Config {
    let (listen, hold, bounds) = (Listen::default(), HoldSettings::default(), Bounds::default());
    Config { file: None, listen, store: StoreConfig::at(data), hold, bounds, mail: Mail::Off, servers: BTreeMap::new() }
}

fn told(mistakes: &[Mistake]) -> Fault {
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    Fault::usage(lines.join("\n"))
}

/// A time such as `50s` or `90d`, for options.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    // Ten years: beyond that a calendar overflows before anybody is helped.
    const LONGEST: Duration = Duration::from_secs(3_650 * 86_400);
    match config::time(text).filter(|time| (Duration::from_millis(1)..=LONGEST).contains(time)) {
        Some(time) => Ok(time),
        None => Err("a time is a number and a unit, such as 50s, 10m, 2h or 90d, and at most 3650d".into()),
    }
}

/// As whole milliseconds, for the control socket.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
