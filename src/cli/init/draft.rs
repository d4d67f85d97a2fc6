//! The configuration as it will be: the file as it stands, byte for byte, and one more server behind it; or a new one.
//! Refused as long as the file has mistakes or a server of this name. Called by `init`.

use super::file;
use crate::cli::fault::Fault;
use crate::cli::policy::toml::text;
use crate::cli::reach::{Reach, in_words};
use crate::cli::settings::{Where, told};
use crate::config::{Bounds, Config, Listen, Mistake, Server};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The beginning of a new configuration. Everything but the address is as without it.
const HEAD: &str = r#"# Paraph's configuration. `paraph check` names every mistake in it; a running gateway reads changes by itself.

[listen]
address = ADDRESS

# [hold]
# expires_in = "24h"                      # nobody decided: refused
# keep_open = "50s"                       # how long one request stays open before the agent is told to ask again
# undo = "0s"                             # between approval and sending

[mail]                                    # reviewers always have the page; with mail they need not look at it
transport = "off"
# transport = "smtp"
# url = "smtp://user@mail.example.org:587?tls=required"
# password = { env = "PARAPH_SMTP_PASSWORD" }
# from = "Paraph <paraph@example.org>"
"#;

/// A configuration under way.
pub(super) struct Draft {
    /// Where it stands; a link is followed.
    path: PathBuf,
    /// As it is now; `None` when there is none.
    before: Option<String>,
    /// The beginning of a new one.
    head: String,
    /// The keys that say how the server is reached.
    pub(super) reach: String,
    /// The server as it will be reached, secrets resolved.
    pub(super) server: Server,
    /// Of the configuration.
    pub(super) bounds: Bounds,
}

impl Draft {
    /// Reads what is there and holds the new server against it.
    pub(super) fn begin(place: &Where, name: &str, reach: &Reach, listen: Option<&str>) -> Result<Draft, Fault> {
        let path = place.file().canonicalize().unwrap_or_else(|_| place.file().to_owned());
        let before = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(Fault::file(place.file(), &error)),
        };
        let mut address = Listen::default();
        match (listen, &before) {
            (Some(_), Some(_)) => return Err(Fault::usage(format!("{} is there and says where to listen; leave --listen out", place.file().display()))),
            (Some(listen), None) => address.listen_on(listen).map_err(Fault::usage)?,
            (None, _) => {}
        }
        if address.address.ends_with(":0") {
            return Err(Fault::usage("port 0 is another port at every start, and clients need one to connect to"));
        }
        if let Some(text) = &before {
            free(place, name, text)?;
        }
        let reach = reach.keys(place.file().parent().unwrap_or(Path::new("")));
        let head = HEAD.replace("ADDRESS", &text(&address.address));
        let mut draft = Draft { path, before, head, reach, server: placeholder(place, name)?, bounds: Bounds::default() };
        let whole = draft.with(&format!("[servers.{name}]\n{}", draft.reach), 0);
        let mut config = place.parse(&whole).map_err(|mistakes| in_the_way(place, name, mistakes))?.config;
        draft.bounds = config.bounds.clone();
        draft.server = config.servers.remove(name).ok_or_else(|| Fault::new(1, "the server was not read back; this is a fault of Paraph"))?;
        Ok(draft)
    }

    /// The whole text with this server.
    pub(super) fn with(&self, block: &str, tools: usize) -> String {
        let before = self.before.as_ref().unwrap_or(&self.head);
        let end = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
        let gap = if before.is_empty() { "" } else { "\n" };
        format!("{before}{end}{gap}# Written by `paraph init` from the {tools} tools that the server listed; it is yours to change.\n{block}")
    }

    /// Writes it, unless somebody else wrote there meanwhile.
    pub(super) fn write(&self, text: &str) -> Result<(), Fault> {
        let now = match std::fs::read_to_string(&self.path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(Fault::file(&self.path, &error)),
        };
        if now != self.before {
            return Err(Fault::new(1, format!("{} was changed meanwhile; nothing was written. Do it again", self.path.display())));
        }
        file::write(&self.path, text).map_err(|error| Fault::new(1, format!("{} could not be written: {error}", self.path.display())))
    }
}

/// Whether the file is fine and has no such server yet. Having none at all is no mistake here.
fn free(place: &Where, name: &str, text: &str) -> Result<(), Fault> {
    let known = match place.parse(text) {
        Ok(loaded) => loaded.config.servers.into_keys().collect(),
        Err(mistakes) if mistakes.iter().all(|mistake| mistake.key == "servers" && mistake.problem.starts_with("there is no server")) => Vec::new(),
        Err(mistakes) => return Err(told(&mistakes)),
    };
    match known.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        Some(known) => Err(Fault::usage(format!(
            "{} has a server called {known} already; choose another name, or `paraph scan {known}` for a starter policy",
            place.file().display()
        ))),
        None => Ok(()),
    }
}

/// What is wrong with the new server, or why nothing can stand behind the text.
fn in_the_way(place: &Where, name: &str, mistakes: Vec<Mistake>) -> Fault {
    let ours = format!("servers.{name}");
    let (own, others): (Vec<Mistake>, Vec<Mistake>) = mistakes.into_iter().partition(|mistake| mistake.key.starts_with(&ours));
    if own.is_empty() {
        let why = others.first().map(|mistake| mistake.problem.clone()).unwrap_or_default();
        return Fault::usage(format!("[servers.{name}] cannot be appended to {}: {why}. Write the servers there as [servers.NAME]", place.file().display()));
    }
    Fault::usage(in_words(&own, name))
}

/// Any server, until the real one is read.
fn placeholder(place: &Where, name: &str) -> Result<Server, Fault> {
    let config: Config = place.parse(&format!("[servers.{name}]\ncommand = [\"paraph\"]\n")).map_err(|mistakes| told(&mistakes))?.config;
    config.servers.into_values().next().ok_or_else(|| Fault::new(1, "no server was read back; this is a fault of Paraph"))
}
