//! Where a command finds its configuration: `--config`, `--data` and what they fall back to. Mistakes in the
//! file are all told, one a line, and end the command with 2. Used by every command but `demo`.

use super::fault::Fault;
use super::terminal;
use crate::config::{self, Bounds, Config, Listen, Loaded, Mail, Mistake, StoreConfig};
use crate::domain::hold::HoldSettings;
use crate::domain::mask::Names;
use crate::domain::sign_in::SignInSettings;
use crate::serve::Origin;
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
        let mut loaded = self.read()?;
        self.put_data(&mut loaded);
        Ok(loaded)
    }

    /// Reads a text as if it stood in the file.
    pub(super) fn parse(&self, text: &str) -> Result<Loaded, Vec<Mistake>> {
        let folder = self.file().parent().unwrap_or(Path::new(""));
        let mut loaded = Config::parse(text, &self.file().display().to_string(), folder, &|name| std::env::var(name).ok())?;
        self.put_data(&mut loaded);
        Ok(loaded)
    }

    /// The options that name this configuration again, for a command that is shown.
    pub(super) fn again(&self) -> String {
        let option = |name: &str, path: &Option<PathBuf>| path.as_ref().map(|path| format!(" {name} {}", path.display())).unwrap_or_default();
        option("--config", &self.config) + &option("--data", &self.data)
    }

    /// For commands about data: with `--data` no file is needed.
    pub(super) fn config(&self) -> Result<Config, Fault> {
        if let (Some(data), false) = (&self.data, self.is_there()) {
            return Ok(defaults(data.clone()));
        }
        Ok(self.load().map_err(|mistakes| told(&mistakes))?.config)
    }

    /// For commands that open the store. With `--data` it must be there already: a slip of the pen would make a new
    /// folder beside the real one, and an agent in it. What the configuration names is meant, so the first
    /// `agent add` may come before the first `serve`.
    pub(super) fn store(&self) -> Result<Config, Fault> {
        let config = self.config()?;
        let known = ["store", "control.sock"].iter().any(|name| config.store.path.join(name).exists());
        if self.data.is_some() && !known {
            return Err(Fault::usage(format!("there is no store at {}; `paraph serve` makes one", config.store.path.display())));
        }
        Ok(config)
    }

    /// Like [`Where::config`], with the warnings told, and where it can be read again.
    pub(super) fn config_with_warnings(&self) -> Result<(Config, Origin), Fault> {
        let (config, origin, warnings) = self.config_and_warnings()?;
        for warning in &warnings {
            terminal::note(&format!("warning: {}", terminal::visible(&warning.to_string())));
        }
        Ok((config, origin))
    }

    /// The same without saying them.
    pub(super) fn config_and_warnings(&self) -> Result<(Config, Origin, Vec<Mistake>), Fault> {
        let mut loaded = self.read().map_err(|mistakes| told(&mistakes))?;
        let origin = Origin::of(self.file(), &loaded);
        self.put_data(&mut loaded);
        Ok((loaded.config, origin, loaded.warnings))
    }

    /// What the file says.
    fn read(&self) -> Result<Loaded, Vec<Mistake>> {
        Config::load(self.file(), &|name| std::env::var(name).ok())
    }

    fn put_data(&self, loaded: &mut Loaded) {
        if let Some(data) = &self.data {
            loaded.config.store.path.clone_from(data);
        }
    }
}

/// What commands about data need when there is no file.
fn defaults(data: PathBuf) -> Config {
    let (listen, hold, bounds) = (Listen::default(), HoldSettings::default(), Bounds::default());
    Config {
        file: None,
        listen,
        store: StoreConfig::at(data),
        hold,
        bounds,
        mail: Mail::default(),
        mask: Names::default(),
        sign_in: SignInSettings::default(),
        servers: BTreeMap::new(),
    }
}

/// Every mistake on a line of its own.
pub(super) fn told(mistakes: &[Mistake]) -> Fault {
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

/// A mail address, for options that name a person who need not exist yet.
pub(super) fn mail_address(text: &str) -> Result<String, String> {
    let plain = text.len() <= 254 && text.chars().all(|letter| letter.is_ascii_graphic() && !matches!(letter, '<' | '>' | '"' | ',' | ';' | '(' | ')' | '\\'));
    match text.split_once('@') {
        Some((name, host)) if plain && !name.is_empty() && !host.is_empty() && !host.contains('@') => Ok(text.to_owned()),
        _ => Err("a person is named by a mail address such as ann@example.org".into()),
    }
}

/// As whole milliseconds, for the control socket.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
