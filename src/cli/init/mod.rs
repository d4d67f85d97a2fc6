//! `paraph init`: from nothing to the first held call. Starts the server, lists its tools, shows what becomes of each,
//! and after a yes writes `[servers.NAME]`, makes an agent and a reviewer, and prints what goes into the client.
//! Until the yes nothing is written; what fails afterwards says what stands already. Standard output carries the entry
//! and the sign-in link alone. Called by `cli`.

mod clients;
mod draft;
mod file;
mod people;

use super::fault::Fault;
use super::reach::Reach;
use super::settings::{Where, mail_address, time, told};
use super::{listing, starter, terminal};
use crate::config::{Config, is_server_name};
use crate::domain::risk::{Judged, Risk};
use clap::Args;
use clients::{Client, Entry};
use draft::Draft;
use people::{Made, Plan};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  paraph init dm -- insta-mcp
  paraph init dm --env INSTAGRAM_PASSWORD -- insta-mcp
  paraph init dm --url https://mcp.example.org/mcp --header 'Authorization={env:MCP_AUTH}'
  paraph init dm --yes --reviewer ann@example.org --client claude-desktop -- npx -y some-mcp-server

Starts the server, lists its tools and shows what becomes of each: what sends is held, what reads is allowed, the rest
is denied. After your yes it appends [servers.NAME] to the configuration, or begins one, makes an agent and a reviewer;
the first is an operator, with --yes alone called USER@localhost. On standard output: what goes into the MCP client, and
the sign-in link; the first operator's is valid for an hour and without a terminal also stands in DATA/first-sign-in.
A running gateway takes the server up by itself. When it was stopped half way, the same command again makes what is
missing. Exit code 1 when the server does not start or lists no tools, or when the running gateway refuses the
configuration, as for a variable that is not set where it runs; 2 when the name is taken or the configuration has
mistakes.";

/// `paraph init`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Init {
    /// What the server is called here: letters, digits, _ and -
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    reach: Reach,
    /// Your mail address: who decides [default: asked for on a terminal when there is nobody yet; USER@localhost with --yes]
    #[arg(long, value_name = "EMAIL", value_parser = mail_address)]
    reviewer: Option<String>,
    /// The agent's name [default: NAME-agent]
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// How long one request of the agent stays open while a person decides [default: hold.keep_open; 3m for Claude Desktop]
    #[arg(long, value_name = "TIME", value_parser = time)]
    keep_open: Option<Duration>,
    /// Which client's entry to print; may be given several times [default: claude-code and url]
    #[arg(long = "client", value_enum, value_name = "CLIENT")]
    clients: Vec<Client>,
    /// Write the agent's token into this file instead of printing it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Listen here; only for a configuration that is begun now [default: 127.0.0.1:8420]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Do not ask; needed without a terminal
    #[arg(long)]
    yes: bool,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

impl Init {
    pub(super) async fn run(self, place: &Where) -> Result<ExitCode, Fault> {
        self.check()?;
        let name = &self.name;
        let mut draft = Draft::begin(place, name, &self.reach, self.listen.as_deref())?;
        if let Some(config) = draft.stands.take() {
            return Box::pin(self.finish(place, &config)).await;
        }
        self.token_file_is_free(&draft.data)?;
        terminal::note(&format!("Starting {} …", terminal::visible(self.reach.what())));
        let tools = Box::pin(listing::of(name, &draft.server, &draft.bounds)).await?;
        let block = starter::write(name, &draft.reach, &tools);
        let text = draft.with(&block, tools.len());
        let config = place.parse(&text).map_err(|mistakes| told(&mistakes))?.config;
        let plan = Box::pin(Plan::make(&self, &config, false)).await?;

        self.show(place, &tools, &block);
        let reviewer = self.confirmed(&format!("Write this to {}?", place.file().display()), &plan).await?;
        draft.write(&text)?;
        terminal::note(&format!("{}: [servers.{name}] is written.", place.file().display()));
        self.make(place, &config, &tools, plan, reviewer).await
    }

    /// The server stands in the file: an earlier `init` wrote it and was stopped before it made the rest.
    async fn finish(self, place: &Where, config: &Config) -> Result<ExitCode, Fault> {
        let (name, file) = (&self.name, place.file().display());
        let plan = Box::pin(Plan::make(&self, config, true)).await?;
        if plan.is_done(&self) {
            let (again, agent) = (place.again(), plan.agent());
            return Err(Fault::usage(format!(
                "{file} has a server called {name} already, with its agent {agent} and somebody who decides. Another agent: `paraph agent add NAME --server {name}{again}`; another token for this one: `paraph agent rotate {agent}{again}`; another sign-in link: `paraph reviewer link EMAIL{again}`; another server: choose another name"
            )));
        }
        if !plan.has_agent() {
            self.token_file_is_free(&config.store.path)?;
        }
        terminal::note(&format!("[servers.{name}] stands in {file} already and stays as it is; making the agent and the reviewer that are missing."));
        let reviewer = self.confirmed("Make them?", &plan).await?;
        self.make(place, config, &[], plan, reviewer).await
    }

    /// What comes behind the file: agent, reviewer, and what goes into the client.
    async fn make(&self, place: &Where, config: &Config, tools: &[Judged], plan: Plan, reviewer: Option<String>) -> Result<ExitCode, Fault> {
        let made = Box::pin(plan.carry_out(self, config, reviewer)).await;
        let stands = || format!("[servers.{}] stands in {}; only the rest is missing, and the same command again makes it:", self.name, place.file().display());
        let made = made.map_err(|fault| fault.after(&stands()))?;
        self.tell(place, config, tools, &made)?;
        Ok(if made.refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Before anything is written: the token is shown once, and would be lost.
    fn token_file_is_free(&self, data: &Path) -> Result<(), Fault> {
        let Some(path) = &self.token_file else { return Ok(()) };
        let folder = folder_of(path);
        match path.symlink_metadata() {
            Ok(_) => Err(Fault::usage(format!("{} is there already; name a new file for the token", path.display()))),
            // The data folder is made with the store.
            Err(_) if folder.is_dir() || std::path::absolute(folder).ok() == std::path::absolute(data).ok() => Ok(()),
            Err(_) => Err(Fault::usage(format!("{} is no folder; make it, or name another file for the token", folder.display()))),
        }
    }

    /// What can be said before anything is started.
    fn check(&self) -> Result<(), Fault> {
        if !is_server_name(&self.name) {
            return Err(Fault::usage(format!("{:?} is not a server's name: use 1 to 64 letters, digits, _ and -", self.name)));
        }
        if !self.reach.is_given() {
            return Err(Fault::usage(format!("which server? `paraph init {0} -- COMMAND…` or `paraph init {0} --url URL`", self.name)));
        }
        if !self.yes && !terminal::can_ask() {
            return Err(Fault::usage(format!(
                "without a terminal nobody can be asked: `paraph scan {} …` shows what would be written, --yes writes it without a question",
                self.name
            )));
        }
        self.reach.holds_no_secret().map_err(Fault::usage)
    }

    fn show(&self, place: &Where, tools: &[Judged], block: &str) {
        terminal::note(&format!("\n{}\n{}.\n", listing::table(tools), listing::summary(tools)));
        if !self.yes {
            terminal::note(&format!("For {}:\n\n{block}", place.file().display()));
        }
        if !tools.iter().any(|tool| tool.risk == Risk::Sends) {
            terminal::note("No tool looks as if it sent something, so nothing will be held. Name tools under action = \"require_approval\" yourself.");
        }
        if tools.iter().any(|tool| tool.risk == Risk::Dangerous) {
            terminal::note("Dangerous tools are denied. Before you allow one, think of require_approval.");
        }
    }

    /// Asks what is left to ask; the reviewer.
    async fn confirmed(&self, question: &str, plan: &Plan) -> Result<Option<String>, Fault> {
        if self.yes {
            let nobody = self.reviewer.is_none() && !plan.somebody_decides();
            return Ok(self.reviewer.clone().or_else(|| nobody.then(local_address)));
        }
        let unread = |error: std::io::Error| Fault::new(1, format!("the answer could not be read: {error}"));
        let answer = terminal::answer(&format!("{question} Type yes: ")).await.map_err(unread)?;
        if !matches!(answer.to_ascii_lowercase().as_str(), "yes" | "y") {
            return Err(Fault::new(1, "nothing was written"));
        }
        if self.reviewer.is_some() || plan.somebody_decides() {
            return Ok(self.reviewer.clone());
        }
        loop {
            let answer = terminal::answer("Your mail address, to sign in with (empty: later): ").await.map_err(unread)?;
            match mail_address(&answer) {
                _ if answer.is_empty() => return Ok(None),
                Ok(address) => return Ok(Some(address)),
                Err(why) => terminal::note(&why),
            }
        }
    }

    fn tell(&self, place: &Where, config: &Config, tools: &[Judged], made: &Made) -> Result<(), Fault> {
        let entry = Entry { server: &self.name, base: &made.public_url, token: made.token.as_deref(), token_file: made.token_file.as_deref() };
        let link = made.link.as_ref().map(|link| link.deliver(&config.store.path)).transpose()?;
        if self.json {
            let view = json!({
                "config": place.file(), "server": self.name, "url": entry.url(), "tools": listing::view(tools),
                "agent": { "name": made.agent, "token": entry.shown_token(), "token_file": made.token_file },
                "reviewer": made.link.as_ref().map(|link| json!({ "email": link.email, "operator": link.first })),
                "sign_in": link.as_ref().map(|link| json!({ "link": link.printed, "file": link.file })),
                "gateway_runs": made.gateway_runs,
            });
            terminal::say(&terminal::json(&view, true));
        } else {
            let clients: &[Client] = if self.clients.is_empty() { &[Client::ClaudeCode, Client::Url] } else { &self.clients };
            clients.iter().for_each(|client| terminal::say(&entry.text(*client)));
            if let Some(link) = &link {
                terminal::say(&link.text());
            }
        }
        made.notes.iter().for_each(|line| terminal::note(&terminal::visible(line)));
        if !made.gateway_runs {
            terminal::note(&format!("Next: paraph serve{}", place.again()));
        }
        Ok(())
    }
}

/// Whom the first person is called when nobody can be asked: the user of this machine. No mail reaches them there.
fn local_address() -> String {
    let user = std::env::var("USER").unwrap_or_default().to_lowercase();
    let plain: String = user.chars().filter(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.')).take(60).collect();
    format!("{}@localhost", if plain.is_empty() { "operator" } else { &plain })
}

/// The folder of a file that is written or renamed.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
