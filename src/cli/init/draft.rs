//! The configuration as it will be: the file as it stands, byte for byte, and one more server behind it; or a new one.
//! Refused as long as the file has mistakes or a server of this name. Called by `init`.

use super::{file, folder_of};
use crate::cli::fault::Fault;
use crate::cli::policy::toml::text;
use crate::cli::reach::{Reach, in_words};
use crate::cli::settings::{Where, told};
use crate::config::{Bounds, Config, Listen, Mistake, Server};
use std::io::{self, ErrorKind};
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
    /// The whole configuration, when this very server stands in it already: an earlier `init` did not come to its end.
    pub(super) stands: Option<Config>,
    /// The data folder.
    pub(super) data: PathBuf,
    /// Of the configuration.
    pub(super) bounds: Bounds,
}

impl Draft {
    /// Reads what is there and holds the new server against it.
    pub(super) fn begin(place: &Where, name: &str, reach: &Reach, listen: Option<&str>) -> Result<Draft, Fault> {
        let path = match place.file().canonicalize() {
            Ok(path) => path,
            Err(_) if place.file().is_symlink() => {
                return Err(Fault::usage(format!("{} is a link to a file that is not there; make that file, or remove the link", place.file().display())));
            }
            Err(_) => place.file().to_owned(),
        };
        if !folder_of(&path).is_dir() {
            return Err(Fault::usage(format!("{} is no folder; make it, or name another place with --config", folder_of(&path).display())));
        }
        let before = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(Fault::file(place.file(), &error)),
        };
        let known = before.as_deref().map(|text| known(place, text)).transpose()?.flatten();
        let mut address = Listen::default();
        match (listen, &before) {
            (Some(listen), Some(_)) if known.as_ref().is_some_and(|known| known.listen.address == listen) => {}
            (Some(_), Some(_)) => return Err(Fault::usage(format!("{} is there and says where to listen; leave --listen out", place.file().display()))),
            (Some(listen), None) => address.listen_on(listen).map_err(Fault::usage)?,
            (None, _) => {}
        }
        if address.address.ends_with(":0") {
            return Err(Fault::usage("port 0 is another port at every start, and clients need one to connect to"));
        }
        let reach = reach.keys(place.file().parent().unwrap_or(Path::new("")));
        let head = HEAD.replace("ADDRESS", &text(&address.address));
        let (server, bounds) = (placeholder(place, name)?, Bounds::default());
        let mut draft = Draft { path, before, head, reach, server, bounds, stands: None, data: PathBuf::new() };
        if let Some(known) = known
            && let Some(taken) = known.servers.keys().find(|taken| taken.eq_ignore_ascii_case(name)).cloned()
        {
            return draft.finish(place, name, &taken, known);
        }
        let whole = draft.with(&format!("[servers.{name}]\n{}", draft.reach), 0);
        let mut config = place.parse(&whole).map_err(|mistakes| in_the_way(place, name, mistakes))?.config;
        draft.bounds = config.bounds.clone();
        draft.data.clone_from(&config.store.path);
        draft.server = config.servers.remove(name).ok_or_else(|| Fault::new(1, "the server was not read back; this is a fault of Paraph"))?;
        Ok(draft)
    }

    /// With the server that stands there under this name, if it is the same one; otherwise the name is taken.
    fn finish(mut self, place: &Where, name: &str, taken: &str, known: Config) -> Result<Draft, Fault> {
        let asked = place.parse(&format!("[servers.{name}]\n{}", self.reach)).map_err(|mistakes| in_the_way(place, name, mistakes))?;
        let asked = asked.config.servers.into_values().next().map(|server| server.transport);
        match known.servers.get(taken) {
            Some(server) if taken == name && asked.as_ref() == Some(&server.transport) => {
                self.server = server.clone();
                self.bounds = known.bounds.clone();
                self.data.clone_from(&known.store.path);
                self.stands = Some(known);
                Ok(self)
            }
            _ => Err(Fault::usage(format!(
                "{} has a server called {taken} already, and it is not this one; choose another name. For that one: `paraph agent add {taken}-agent --server {taken}{again}` makes an agent, `paraph reviewer link EMAIL{again}` a sign-in link, `paraph scan {taken}{again}` a starter policy",
                place.file().display(),
                again = place.again()
            ))),
        }
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
        let unwritten = |error: io::Error| Fault::new(1, format!("{} could not be written: {error}", self.path.display()));
        let file = file::lock(&self.path).map_err(unwritten)?;
        let now = match std::fs::read_to_string(&self.path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(Fault::file(&self.path, &error)),
        };
        if now != self.before {
            return Err(Fault::new(1, format!("{} was changed meanwhile; nothing was written. Do it again", self.path.display())));
        }
        file.write(text).map_err(unwritten)
    }
}

/// What the file says, if it is fine. `None` when it has no server at all, which is no mistake here.
fn known(place: &Where, text: &str) -> Result<Option<Config>, Fault> {
    match place.parse(text) {
        Ok(loaded) => Ok(Some(loaded.config)),
        Err(mistakes) if mistakes.iter().all(|mistake| mistake.key == "servers" && mistake.problem.starts_with("there is no server")) => Ok(None),
        Err(mistakes) => Err(told(&mistakes)),
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
