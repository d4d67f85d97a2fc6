//! `/agents/{name}`: one agent: what it may use and whose it is, another token, its end. What revoking it withdraws
//! stands beside the button. Operators change, auditors read.

use super::WebState;
use super::agents::{self, Choice, Typed};
use super::call_page::Banner;
use super::form::Submitted;
use super::moment::{Moment, span};
use super::office::{self, Refused};
use super::page::{self, Frame};
use super::person::revision;
use super::session::SignedIn;
use super::shown::Shown;
use crate::gate::agents::{AgentEdit, ListedAgent};
use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};

#[derive(Template)]
#[template(path = "agent.html")]
struct AgentPage {
    frame: Frame,
    banner: Option<Banner>,
    name: String,
    revision: u64,
    state: &'static str,
    servers: Vec<Shown>,
    owner: Option<Shown>,
    keep_open: Option<String>,
    added: Moment,
    expires: Option<Moment>,
    revoked: Option<Moment>,
    used: Option<Moment>,
    old_until: Option<Moment>,
    open: usize,
    choices: Vec<Choice>,
    typed: Typed,
    owners: Vec<String>,
    operator: bool,
}

/// What the form said when it was refused: its fields and the servers.
type Written = Option<(Typed, Vec<String>)>;

/// `GET /agents/{name}`
pub async fn show(by: SignedIn, State(state): State<WebState>, Path(name): Path<String>) -> Response {
    answer(&state, &by, &name, StatusCode::OK, None, None).await
}

/// `POST /agents/{name}`
pub async fn change(State(state): State<WebState>, Path(name): Path<String>, form: Submitted) -> Response {
    let done = async {
        let registrar = form.by.reviewer.registrar()?;
        let edit = AgentEdit {
            servers: Some(agents::servers(&form)?),
            owner: Some(agents::owner(&form)),
            keep_open: Some(office::time(form.field("keep_open"))?),
            shown: Some(revision(&form)?),
        };
        Ok(registrar.set_agent(&name, edit).await.map(drop)?)
    };
    let done: Result<(), Refused> = done.await;
    match done {
        Ok(()) => Redirect::to(&format!("/agents/{name}")).into_response(),
        Err(refused) => {
            let written = (!matches!(refused, Refused::Told(StatusCode::CONFLICT, _))).then(|| (agents::typed(&form), form.all("server")));
            not_done(&state, &form.by, &name, refused, written).await
        }
    }
}

/// `POST /agents/{name}/rotate`
pub async fn rotate(State(state): State<WebState>, Path(name): Path<String>, form: Submitted) -> Response {
    let done = async {
        let token = form.by.reviewer.registrar()?.rotate_agent(&name).await?;
        Ok((token, one(&form.by, &name).await?.agent.servers))
    };
    let done: Result<(String, Vec<String>), Refused> = done.await;
    match done {
        Ok((token, servers)) => agents::handed_over(&state, &form.by, name, token, &servers, true).await,
        Err(refused) => not_done(&state, &form.by, &name, refused, None).await,
    }
}

/// `POST /agents/{name}/revoke`
pub async fn revoke(State(state): State<WebState>, Path(name): Path<String>, form: Submitted) -> Response {
    let done = async { Ok(form.by.reviewer.registrar()?.revoke_agent(&name).await.map(drop)?) };
    let done: Result<(), Refused> = done.await;
    match done {
        Ok(()) => Redirect::to(&format!("/agents/{name}")).into_response(),
        Err(refused) => not_done(&state, &form.by, &name, refused, None).await,
    }
}

async fn not_done(state: &WebState, by: &SignedIn, name: &str, refused: Refused, written: Written) -> Response {
    match refused.banner(state, by).await {
        Ok((status, banner)) => answer(state, by, name, status, Some(banner), written).await,
        Err(response) => response,
    }
}

async fn answer(state: &WebState, by: &SignedIn, name: &str, status: StatusCode, banner: Option<Banner>, written: Written) -> Response {
    match filled(state, by, name, banner, written).await {
        Ok(agent) => page::html(state, status, &agent),
        Err(refused) => refused.page(state, by).await,
    }
}

async fn one(by: &SignedIn, name: &str) -> Result<ListedAgent, Refused> {
    by.reviewer.agents().await?.into_iter().find(|listed| listed.agent.name == name).ok_or(Refused::NotThere)
}

async fn filled(state: &WebState, by: &SignedIn, name: &str, banner: Option<Banner>, written: Written) -> Result<AgentPage, Refused> {
    let ListedAgent { agent, used_at, open } = one(by, name).await?;
    let now = state.gate.clock().now();
    let at = |at| Moment::new(at, now);
    let (typed, chosen) = written.unwrap_or_else(|| {
        let owner = agent.owner.clone().unwrap_or_default();
        (Typed { every: agent.servers.is_empty(), owner, keep_open: agents::as_typed(agent.keep_open), ..Typed::default() }, agent.servers.clone())
    });
    Ok(AgentPage {
        frame: Frame::new(state, Some(by), "agents").await,
        banner,
        revision: agent.revision,
        state: agent.state(now),
        servers: office::shown(&agent.servers),
        owner: agent.owner.as_deref().map(Shown::new),
        keep_open: agent.keep_open.map(|time| span(time.as_secs())),
        added: at(agent.added_at),
        expires: agent.expires_at.map(at),
        revoked: agent.revoked_at.map(at),
        used: used_at.map(at),
        old_until: agent.old_token.filter(|old| now < old.until).map(|old| at(old.until)),
        open,
        choices: agents::choices(state, &chosen),
        typed,
        owners: agents::owners(by).await?,
        operator: by.reviewer.may_switch(),
        name: agent.name,
    })
}
