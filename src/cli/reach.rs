//! How a server that stands in no configuration is reached: the options of `paraph init` and `paraph scan`, and the
//! same as keys of `config.toml`. A secret is named by where it is, never written down: what sounds like one is refused
//! as a plain value. Called by `init` and `scan`.

use super::policy::toml::{text, texts};
use super::settings::time;
use crate::config::Mistake;
use crate::domain::mask::blot;
use crate::domain::quantity::write_time;
use clap::Args;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Words by which a variable or a header is taken for a secret.
const SECRETS: [&str; 14] =
    ["key", "keys", "apikey", "token", "tokens", "secret", "password", "passwd", "session", "sessionid", "cookie", "auth", "authorization", "credentials"];

/// A command, or a URL.
#[derive(Debug, Clone, Args)]
pub(super) struct Reach {
    /// A server over Streamable HTTP, instead of a command
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    pub(super) url: Option<String>,
    /// A variable for the command: NAME takes it from Paraph's own environment at each start, NAME={file:PATH} from a
    /// file, NAME=VALUE writes it into the configuration (no secrets)
    #[arg(long = "env", value_name = "NAME", value_parser = variable, conflicts_with = "url")]
    env: Vec<Setting>,
    /// A header for the URL: NAME={env:VARIABLE} or NAME={file:PATH} names where the whole value is, such as
    /// `Bearer …`; NAME=VALUE writes it into the configuration (no secrets)
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header, conflicts_with = "command")]
    headers: Vec<Setting>,
    /// How long the server may take to start, instead of 30s
    #[arg(long, value_name = "TIME", value_parser = time)]
    start_timeout: Option<Duration>,
    /// The server's program and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub(super) command: Vec<String>,
}

/// One variable or header.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    name: String,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Plain(String),
    Env(String),
    File(String),
}

impl Reach {
    /// Whether anything is named.
    pub(super) fn is_given(&self) -> bool {
        self.url.is_some() || !self.command.is_empty()
    }

    /// What is being reached, in words. A query may hold a key.
    pub(super) fn what(&self) -> &str {
        let url = self.url.as_deref().and_then(|url| url.split(['?', '#']).next());
        url.or(self.command.first().map(String::as_str)).unwrap_or_default()
    }

    /// Words of the command would stand in the configuration as they are. The error is a sentence without the secret.
    pub(super) fn holds_no_secret(&self) -> Result<(), String> {
        let mut option: Option<&str> = None;
        for word in &self.command {
            let named = word.split_once('=');
            let name = option.take().or(named.map(|(name, _)| name));
            let value = named.map_or(word.as_str(), |(_, value)| value);
            let secret = name.is_some_and(names_secret) && holds_value(value);
            if secret || blot(word) != *word {
                let which = name.filter(|name| blot(name) == **name).map_or_else(String::new, |name| format!(" ({})", name.trim_end_matches('=')));
                return Err(format!(
                    "a word of the command{which} looks like a secret, and this would write it into the configuration. Let the server take it from a variable and write --env NAME, or name a file that it reads"
                ));
            }
            option = Some(word.as_str()).filter(|word| word.starts_with('-') && !word.contains('='));
        }
        Ok(())
    }

    /// The keys of `[servers.NAME]`; `folder` is that of the configuration, from which relative paths are seen.
    pub(super) fn keys(&self, folder: &Path) -> String {
        let mut out = String::new();
        match &self.url {
            Some(url) => {
                let _ = writeln!(out, "url = {}", text(url));
            }
            None => {
                let _ = writeln!(out, "command = {}", texts(&self.command));
                if let Some(from) = self.started_from(folder) {
                    let _ = writeln!(out, "cwd = {}", text(&from.display().to_string()));
                }
            }
        }
        for (key, settings) in [("env", &self.env), ("headers", &self.headers)] {
            if !settings.is_empty() {
                let entries: Vec<String> = settings.iter().map(|one| format!("{} = {}", key_of(&one.name), one.value.written(folder))).collect();
                let _ = writeln!(out, "{key} = {{ {} }}", entries.join(", "));
            }
        }
        if let Some(time) = self.start_timeout {
            let _ = writeln!(out, "start_timeout = {}", text(&write_time(time)));
        }
        out
    }
}

impl Reach {
    /// Where the command was typed, when it names files from there and the configuration is elsewhere.
    fn started_from(&self, folder: &Path) -> Option<PathBuf> {
        let here = std::env::current_dir().ok()?;
        let elsewhere = !folder.as_os_str().is_empty() && folder.canonicalize().ok() != here.canonicalize().ok();
        let is_file = |(at, word): (usize, &String)| Path::new(word).is_relative() && (at > 0 || word.contains('/')) && Path::new(word).exists();
        (elsewhere && self.command.iter().enumerate().any(is_file)).then_some(here)
    }
}

impl Value {
    fn written(&self, folder: &Path) -> String {
        match self {
            Value::Plain(value) => text(value),
            Value::Env(name) => format!("{{ env = {} }}", text(name)),
            Value::File(path) if folder.as_os_str().is_empty() => format!("{{ file = {} }}", text(path)),
            // Typed where the command runs, read from where the configuration is.
            Value::File(path) => {
                let path = std::path::absolute(path).map_or_else(|_| path.clone(), |path| path.display().to_string());
                format!("{{ file = {} }}", text(&path))
            }
        }
    }
}

/// A bare key, or one in quotes.
pub(super) fn key_of(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if bare { name.to_owned() } else { text(name) }
}

/// Mistakes in what the command line says, without lines of a file that nobody has written.
pub(super) fn in_words(mistakes: &[Mistake], server: &str) -> String {
    let table = format!("servers.{}", key_of(server));
    let line = |mistake: &Mistake| {
        let key = mistake.key.strip_prefix(&table).map_or(mistake.key.as_str(), |key| key.trim_start_matches('.'));
        let key = if key.is_empty() { server } else { key };
        format!("{key} {}. {}", mistake.problem, mistake.mend)
    };
    mistakes.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn variable(written: &str) -> Result<Setting, String> {
    match written.split_once('=') {
        None => Ok(Setting { name: written.to_owned(), value: Value::Env(written.to_owned()) }),
        Some((name, value)) => setting(name, value, &format!("--env {name}")),
    }
}

fn header(written: &str) -> Result<Setting, String> {
    let Some((name, value)) = written.split_once(['=', ':']) else { return Err("a header is NAME={env:VARIABLE}, NAME={file:PATH} or NAME=VALUE".to_owned()) };
    setting(name.trim(), value.trim(), &format!("--header '{name}={{env:VARIABLE}}'"))
}

fn setting(name: &str, value: &str, instead: &str) -> Result<Setting, String> {
    let place = |kind: &str| value.strip_prefix(kind).and_then(|rest| rest.strip_suffix('}')).filter(|rest| !rest.is_empty()).map(str::to_owned);
    let value = match (place("{env:"), place("{file:")) {
        (Some(variable), _) => Value::Env(variable),
        (None, Some(path)) => Value::File(path),
        (None, None) if sounds_secret(name) => {
            return Err(format!("{name} sounds like a secret, and this would write it into the configuration. Set a variable and write {instead}"));
        }
        (None, None) => Value::Plain(value.to_owned()),
    };
    Ok(Setting { name: name.to_owned(), value })
}

/// Whether an option or a variable of a command carries a secret itself: `--api-key`, not `--key-file` or `--auth oauth`.
fn names_secret(name: &str) -> bool {
    let last = name.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric()).rsplit(|letter: char| !letter.is_ascii_alphanumeric()).next();
    let last = last.unwrap_or_default().to_ascii_lowercase();
    SECRETS.contains(&last.as_str()) && !["auth", "session", "keys", "tokens"].contains(&last.as_str())
}

/// Whether it could be one: no flag, no file, nothing that a shell fills in.
fn holds_value(value: &str) -> bool {
    let plain = value.chars().count() >= 4 && !value.starts_with(['-', '$', '{', '<']) && !matches!(value, "true" | "false" | "none" | "null");
    plain && !Path::new(value).exists()
}

fn sounds_secret(name: &str) -> bool {
    name.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|word| SECRETS.contains(&word.to_ascii_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_named_by_where_it_is() {
        let env = |name: &str| Value::Env(name.to_owned());
        assert_eq!(variable("TOKEN").unwrap().value, env("TOKEN"));
        assert_eq!(variable("TOKEN={env:OTHER}").unwrap().value, env("OTHER"));
        assert_eq!(variable("TOKEN={file:t}").unwrap().value, Value::File("t".into()));
        assert_eq!(variable("LANG=C=1").unwrap().value, Value::Plain("C=1".into()));
        assert_eq!(header("Authorization={env:T}").unwrap().value, env("T"));
        assert_eq!(header("X-Team: blue").unwrap(), Setting { name: "X-Team".into(), value: Value::Plain("blue".into()) });
        for (read, written) in
            [(variable as fn(&str) -> _, "API_KEY=x"), (variable, "INSTAGRAM_SESSION_ID=1"), (header, "Authorization: Bearer x"), (header, "X-Api-Key=1")]
        {
            let refused = read(written).unwrap_err();
            assert!(refused.contains("sounds like a secret") && !refused.contains("Bearer"), "{refused}");
        }
        assert!(header("Nothing").is_err());
    }

    #[test]
    fn a_secret_among_the_words_of_a_command_is_refused_and_not_repeated() {
        let words =
            |line: &str| Reach { url: None, env: Vec::new(), headers: Vec::new(), start_timeout: None, command: line.split(' ').map(str::to_owned).collect() };
        let github = format!("gh{}{}", "p_", "a1".repeat(20));
        for line in [
            "mcp --api-key hunter2026".to_owned(),
            "mcp --api-key=hunter2026".to_owned(),
            "mcp --password hunter2026 x".to_owned(),
            "env API_TOKEN=hunter2026 mcp".to_owned(),
            format!("mcp --with {github}"),
            format!("mcp --token={github}"),
            "mcp postgres://app:hunter2026@db.example.org/app".to_owned(),
        ] {
            let refused = words(&line).holds_no_secret().unwrap_err();
            assert!(refused.contains("looks like a secret") && refused.contains("--env") && !refused.contains("hunter2026") && !refused.contains(&github));
        }
        for line in [
            "npx -y some-mcp-server",
            "mcp --token-file t --api-key-env API_KEY",
            "mcp --auth oauth --session main",
            "docker run -i -e API_KEY --rm image",
            "sh -c exec mcp --api-key $API_KEY",
            "mcp --token --verbose",
            "mcp --key Cargo.toml --max-tokens 4096",
        ] {
            assert_eq!(words(line).holds_no_secret(), Ok(()), "{line}");
        }
    }

    #[test]
    fn a_path_is_written_as_it_is_seen_from_the_configuration() {
        assert_eq!(Value::File("t".into()).written(Path::new("")), "{ file = \"t\" }");
        assert!(Value::File("t".into()).written(Path::new("elsewhere")).starts_with("{ file = \"/"));
    }
}
