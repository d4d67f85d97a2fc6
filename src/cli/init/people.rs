//! The agent and the reviewer of `paraph init`, through the running gateway or over the store: whoever is there already
//! is used and told. Looked up before anything is written, so that a name that cannot be used is known in time.
//! Called by `init`.

use super::clients::{Client, DESKTOP_KEEP_OPEN};
use super::{Init, file};
use crate::cli::fault::Fault;
use crate::cli::reviewer::sign_in_link;
use crate::cli::settings::millis;
use crate::config::Config;
use crate::control::{AgentView, Answer, Line, LineError, Request};
use crate::domain::people::{Person, Role};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a running gateway may take to read the configuration again and to ask the new server for its tools.
const TAKE_UP: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// The first operator's link, a file of the data folder.
const FIRST: &str = "first-sign-in";

/// Who is there, and who the agent will be.
pub(super) struct Plan {
    people: Vec<Person>,
    agent: String,
    /// It is there; its token was shown when it was made.
    agent_exists: bool,
}

/// What was made.
pub(super) struct Made {
    pub(super) agent: String,
    pub(super) token: Option<String>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) public_url: String,
    pub(super) link: Option<Link>,
    pub(super) gateway_runs: bool,
    /// The running gateway does not apply the file.
    pub(super) refused: bool,
    pub(super) notes: Vec<String>,
}

/// A one-time link.
pub(super) struct Link {
    pub(super) email: String,
    url: String,
    /// Of the first operator.
    pub(super) first: bool,
}

/// Where it went.
pub(super) struct Delivered {
    email: String,
    pub(super) printed: String,
    pub(super) file: Option<PathBuf>,
    life: &'static str,
}

impl Plan {
    /// Asks who is there. Without a data folder there is nobody, and none is made for the question.
    /// `stands`: the server is there already, and what was planned for it then is what is missing.
    pub(super) async fn make(init: &Init, config: &Config, stands: bool) -> Result<Plan, Fault> {
        let (mut people, mut agents) = (Vec::new(), Vec::new());
        if config.store.path.exists() {
            let mut line = Line::open(config).await?;
            let known = known(&mut line).await;
            line.close().await;
            (people, agents) = known?;
        }
        let disabled = |person: &&Person| person.disabled_at.is_some();
        if let Some(person) =
            people.iter().filter(disabled).find(|person| init.reviewer.as_ref().is_some_and(|email| email.eq_ignore_ascii_case(&person.email)))
        {
            return Err(Fault::usage(format!("{} was disabled; name another reviewer", person.email)));
        }
        let taken = |name: &str| agents.iter().any(|agent| agent.name == name);
        let agent = match &init.agent {
            Some(name) => name.clone(),
            None => {
                let base: String = init.name.chars().take(50).chain("-agent".chars()).collect();
                let mut names = std::iter::once(base.clone()).chain((2..).map(|number| format!("{base}-{number}")));
                names.find(|name| stands || !taken(name)).unwrap_or(base)
            }
        };
        let ordinary = agent.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.'));
        if !(1..=64).contains(&agent.len()) || !ordinary {
            return Err(Fault::usage("an agent's name has 1 to 64 letters, digits, dots, dashes or underscores"));
        }
        match agents.iter().find(|known| known.name == agent) {
            Some(known) if !may_use(known, &init.name) => {
                Err(Fault::usage(format!("the agent {agent} is {} or may not use {}; name another with --agent", known.state, init.name)))
            }
            found => Ok(Plan { people, agent, agent_exists: found.is_some() }),
        }
    }

    /// The agent's name.
    pub(super) fn agent(&self) -> &str {
        &self.agent
    }

    /// Whether the agent is there.
    pub(super) fn has_agent(&self) -> bool {
        self.agent_exists
    }

    /// Whether nothing is left to make.
    pub(super) fn is_done(&self, init: &Init) -> bool {
        let is = |email: &String| self.people.iter().any(|person| person.email.eq_ignore_ascii_case(email));
        self.agent_exists && self.somebody_decides() && init.reviewer.as_ref().is_none_or(is)
    }

    /// Whether anybody could decide already.
    pub(super) fn somebody_decides(&self) -> bool {
        self.people.iter().any(|person| person.disabled_at.is_none() && person.role != Role::Auditor)
    }

    /// Makes the agent and the reviewer.
    pub(super) async fn carry_out(self, init: &Init, config: &Config, reviewer: Option<String>) -> Result<Made, Fault> {
        let mut line = Line::open(config).await?;
        let made = self.over(&mut line, init, config, reviewer).await;
        line.close().await;
        made
    }

    async fn over(self, line: &mut Line, init: &Init, config: &Config, reviewer: Option<String>) -> Result<Made, Fault> {
        let gateway_runs = line.is_gateway();
        let mut notes = Vec::new();
        let taken = if gateway_runs { taken_up(line, &init.name).await? } else { Taken::Up };
        let refused = matches!(taken, Taken::Refused(_));
        match taken {
            Taken::Up => {}
            Taken::NotYet => notes.push(format!("The running gateway has not asked {} for its tools yet: see its page /servers and its log.", init.name)),
            Taken::Refused(mistakes) => {
                notes.push(
                    "The running gateway refused the configuration. Nothing of the file is applied until that is mended, also no later change:".to_owned(),
                );
                notes.extend(mistakes.into_iter().map(|mistake| format!("  {mistake}")));
                notes.push(
                    "A variable has to be set where the gateway runs, not only here: set it there and restart the gateway, or name a {file:PATH}, which needs no restart."
                        .to_owned(),
                );
            }
        }
        let desktop = init.clients.contains(&Client::ClaudeDesktop);
        let (mut token, mut token_file) = (None, init.token_file.clone());
        let mut public_url = None;
        if self.agent_exists {
            notes.push(format!(
                "The agent {0} is there already; its token was shown when it was made. For another token: paraph agent rotate {0}; for another agent: --agent NAME.",
                self.agent
            ));
        } else {
            let keep_open = init.keep_open.or(desktop.then_some(DESKTOP_KEEP_OPEN));
            let (name, servers) = (self.agent.clone(), vec![init.name.clone()]);
            let request = Request::AddAgent { name, servers, owner: None, keep_open_ms: keep_open.map(millis), expires_in_ms: None };
            let response = line.ask(request).await?;
            public_url = Some(response.public_url);
            let Answer::Secret(secret) = response.answer else { return Err(unexpected()) };
            if desktop && token_file.is_none() {
                token_file = Some(config.store.path.join(format!("{}.token", self.agent)));
            }
            if let Some(path) = &token_file {
                file::write(path, &format!("{secret}\n"))
                    .map_err(|error| Fault::new(1, format!("the token could not be written to {}: {error}", path.display())))?;
            }
            token = Some(secret);
        }
        let link = match reviewer {
            Some(email) => {
                let (link, url) = self.link(line, &email).await?;
                public_url = Some(url);
                Some(link)
            }
            None => {
                notes.push(match self.somebody_decides() {
                    true => "People who decide are there already; a new sign-in link: paraph reviewer link EMAIL".to_owned(),
                    false => "Nobody can decide yet: paraph reviewer add YOU@EXAMPLE.ORG --role operator".to_owned(),
                });
                None
            }
        };
        let public_url = match public_url {
            Some(url) => url,
            None => line.ask(Request::People {}).await?.public_url,
        };
        Ok(Made { agent: self.agent, token, token_file, public_url, link, gateway_runs, refused, notes })
    }

    async fn link(&self, line: &mut Line, email: &str) -> Result<(Link, String), Fault> {
        let known = self.people.iter().any(|person| person.email.eq_ignore_ascii_case(email));
        let first = self.people.is_empty();
        let request = if known {
            Request::Link { email: email.to_owned() }
        } else {
            let role = if first { Role::Operator } else { Role::Reviewer };
            Request::AddPerson { email: email.to_owned(), name: None, groups: Vec::new(), role, first }
        };
        let response = line.ask(request).await?;
        let Answer::Secret(secret) = response.answer else { return Err(unexpected()) };
        Ok((Link { email: email.to_lowercase(), url: sign_in_link(&response.public_url, &secret), first }, response.public_url))
    }
}

impl Link {
    /// Printed, as the contract promises; without a terminal the first operator's also goes into a file of its own, for
    /// whoever finds nothing but the folder later.
    pub(super) fn deliver(&self, data: &Path) -> Result<Delivered, Fault> {
        let life = if self.first { "1 hour" } else { "15 minutes" };
        let delivered = Delivered { email: self.email.clone(), printed: self.url.clone(), file: None, life };
        if !self.first || std::io::stdout().is_terminal() {
            return Ok(delivered);
        }
        let path = data.join(FIRST);
        file::write(&path, &format!("{}\n", self.url)).map_err(|error| {
            Fault::new(1, format!("the sign-in link could not be written to {}: {error}; `paraph reviewer link {}` makes another", path.display(), self.email))
        })?;
        Ok(Delivered { file: Some(path), ..delivered })
    }
}

impl Delivered {
    /// For a person.
    pub(super) fn text(&self) -> String {
        let (email, life) = (&self.email, self.life);
        let kept = self.file.as_ref().map(|path| format!("; also in {}, which only you can read", path.display())).unwrap_or_default();
        format!("# Sign in as {email}; works once, for {life}{kept}\n{}", self.printed)
    }
}

async fn known(line: &mut Line) -> Result<(Vec<Person>, Vec<AgentView>), LineError> {
    let people = match line.ask(Request::People {}).await?.answer {
        Answer::People(people) => people,
        _ => Vec::new(),
    };
    let agents = match line.ask(Request::Agents {}).await?.answer {
        Answer::Agents(agents) => agents,
        _ => Vec::new(),
    };
    Ok((people, agents))
}

/// What the running gateway made of the new server.
enum Taken {
    Up,
    NotYet,
    /// With the mistakes that it found.
    Refused(Vec<String>),
}

/// Waits until the running gateway has listed the new server's tools, or refused the file.
async fn taken_up(line: &mut Line, server: &str) -> Result<Taken, Fault> {
    let about_it = format!("servers.{server}.");
    let deadline = tokio::time::Instant::now() + TAKE_UP;
    loop {
        if let Answer::Tools(tools) = line.ask(Request::Tools {}).await?.answer
            && tools.contains_key(server)
        {
            return Ok(Taken::Up);
        }
        let over = tokio::time::Instant::now() >= deadline;
        if let Answer::Configuration(mistakes) = line.ask(Request::Configuration {}).await?.answer
            && !mistakes.is_empty()
            // Others may be those of the file as it was before.
            && (over || mistakes.iter().any(|mistake| mistake.contains(&about_it)))
        {
            return Ok(Taken::Refused(mistakes));
        }
        if over {
            return Ok(Taken::NotYet);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn may_use(agent: &AgentView, server: &str) -> bool {
    agent.state == "active" && (agent.servers.is_empty() || agent.servers.iter().any(|granted| granted == server))
}

fn unexpected() -> Fault {
    Fault::new(3, "the running gateway gave another answer than was asked for; restart it")
}
