//! `/agents`: every agent with what it may use, whose it is and what waits of it, and the form that adds one. Its token
//! is shown once, on the page that answers the form. Operators change, auditors read. One agent's page is `agent`.

use super::WebState;
use super::call_page::Banner;
use super::form::Submitted;
use super::moment::{Moment, span};
use super::office::{self, Refused};
use super::page::{self, Frame};
use super::session::SignedIn;
use super::shown::Shown;
use crate::gate::agents::{ListedAgent, NewAgent};
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use std::time::Duration;

/// One row.
struct Line {
    name: String,
    servers: Vec<Shown>,
    owner: Option<Shown>,
    keep_open: Option<String>,
    expires: Option<Moment>,
    used: Option<Moment>,
    open: usize,
    state: &'static str,
}

/// A server in a form.
pub struct Choice {
    /// Its name.
    pub name: String,
    /// It is granted.
    pub chosen: bool,
}

/// What somebody wrote into the form of an agent.
#[derive(Default)]
pub struct Typed {
    /// Its name; not for one that is there.
    pub name: String,
    /// Every server.
    pub every: bool,
    /// Its owner's address.
    pub owner: String,
    /// A time.
    pub keep_open: String,
    /// A time; only for a new one.
    pub expires: String,
}

#[derive(Template)]
#[template(path = "agents.html")]
struct Agents {
    frame: Frame,
    banner: Option<Banner>,
    lines: Vec<Line>,
    choices: Vec<Choice>,
    typed: Typed,
    owners: Vec<String>,
    operator: bool,
}

/// A token, this once.
#[derive(Template)]
#[template(path = "agent_token.html")]
struct Token {
    frame: Frame,
    name: String,
    token: String,
    rotated: bool,
    /// Where the agent connects, by server.
    addresses: Vec<(String, String)>,
}

/// `GET /agents`
pub async fn show(by: SignedIn, State(state): State<WebState>) -> Response {
    answer(&state, &by, StatusCode::OK, None, Typed::default(), &[]).await
}

/// `POST /agents`
pub async fn add(State(state): State<WebState>, form: Submitted) -> Response {
    match added(&form).await {
        Ok((name, token, servers)) => handed_over(&state, &form.by, name, token, &servers, false).await,
        Err(refused) => match refused.banner(&state, &form.by).await {
            Ok((status, banner)) => answer(&state, &form.by, status, Some(banner), typed(&form), &form.all("server")).await,
            Err(response) => response,
        },
    }
}

async fn added(form: &Submitted) -> Result<(String, String, Vec<String>), Refused> {
    let registrar = form.by.reviewer.registrar()?;
    let new = NewAgent {
        name: form.field("name").trim().to_owned(),
        servers: servers(form)?,
        owner: owner(form),
        keep_open: office::time(form.field("keep_open"))?,
        expires_in: office::time(form.field("expires"))?,
    };
    let (name, servers) = (new.name.clone(), new.servers.clone());
    Ok((name, registrar.add_agent(new).await?, servers))
}

/// The page with a fresh token.
pub async fn handed_over(state: &WebState, by: &SignedIn, name: String, token: String, servers: &[String], rotated: bool) -> Response {
    let all: Vec<String> = state.gate.settings().servers.keys().cloned().collect();
    let granted = if servers.is_empty() { all.as_slice() } else { servers };
    let addresses = granted.iter().map(|server| (server.clone(), format!("{}/mcp/{server}", state.settings.public_url))).collect();
    page::html(state, StatusCode::OK, &Token { frame: Frame::new(state, Some(by), "agents").await, name, token, rotated, addresses })
}

/// What it is to use. Nothing chosen is no choice: who takes the last server away must not give all of them.
pub fn servers(form: &Submitted) -> Result<Vec<String>, Refused> {
    let chosen = form.all("server");
    match (form.field("every").is_empty(), chosen.is_empty()) {
        (false, true) => Ok(Vec::new()),
        (true, false) => Ok(chosen),
        (false, false) | (true, true) => Err(Refused::wrong("Choose either every server or the ones that it may use.")),
    }
}

/// Whose it is to be.
pub fn owner(form: &Submitted) -> Option<String> {
    Some(form.field("owner").trim().to_owned()).filter(|owner| !owner.is_empty())
}

/// What a form says, for when it is shown again.
pub fn typed(form: &Submitted) -> Typed {
    let typed = |name: &str| form.field(name).to_owned();
    Typed { name: typed("name"), every: !form.field("every").is_empty(), owner: typed("owner"), keep_open: typed("keep_open"), expires: typed("expires") }
}

/// The servers of the config, and granted ones that are not there any more.
pub fn choices(state: &WebState, granted: &[String]) -> Vec<Choice> {
    let settings = state.gate.settings();
    let gone = granted.iter().filter(|name| !settings.servers.contains_key(*name)).cloned();
    let names: Vec<String> = settings.servers.keys().cloned().chain(gone).collect();
    names.into_iter().map(|name| Choice { chosen: granted.contains(&name), name }).collect()
}

/// The addresses that an owner's field offers.
pub async fn owners(by: &SignedIn) -> Result<Vec<String>, Refused> {
    let people = by.reviewer.people().await?.into_iter().map(|listed| listed.person);
    Ok(people.filter(|person| person.disabled_at.is_none()).map(|person| person.email).collect())
}

/// A time as its field takes it.
pub fn as_typed(time: Option<Duration>) -> String {
    time.map_or_else(String::new, |time| match (time.as_millis() % 1000, time.as_secs()) {
        (0, seconds) if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        (0, seconds) if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        (0, seconds) => format!("{seconds}s"),
        (_, _) => format!("{}ms", time.as_millis()),
    })
}

async fn answer(state: &WebState, by: &SignedIn, status: StatusCode, banner: Option<Banner>, typed: Typed, chosen: &[String]) -> Response {
    match list(state, by, banner, typed, chosen).await {
        Ok(agents) => page::html(state, status, &agents),
        Err(refused) => refused.page(state, by).await,
    }
}

async fn list(state: &WebState, by: &SignedIn, banner: Option<Banner>, typed: Typed, chosen: &[String]) -> Result<Agents, Refused> {
    let agents = by.reviewer.agents().await?;
    let now = state.gate.clock().now();
    Ok(Agents {
        frame: Frame::new(state, Some(by), "agents").await,
        banner,
        lines: agents.into_iter().map(|listed| line(listed, now)).collect(),
        choices: choices(state, chosen),
        typed,
        owners: owners(by).await?,
        operator: by.reviewer.may_switch(),
    })
}

fn line(listed: ListedAgent, now: Timestamp) -> Line {
    let ListedAgent { agent, used_at, open } = listed;
    Line {
        state: agent.state(now),
        servers: office::shown(&agent.servers),
        owner: agent.owner.as_deref().map(Shown::new),
        keep_open: agent.keep_open.map(|time| span(time.as_secs())),
        expires: agent.expires_at.map(|at| Moment::new(at, now)),
        used: used_at.map(|at| Moment::new(at, now)),
        name: agent.name,
        open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_goes_into_its_field_as_it_is_read_from_it() {
        for (millis, text) in [(7_200_000, "2h"), (240_000, "4m"), (90_000, "90s"), (1500, "1500ms")] {
            let time = Duration::from_millis(millis);
            assert_eq!((as_typed(Some(time)).as_str(), crate::config::time(text)), (text, Some(time)));
        }
    }
}
