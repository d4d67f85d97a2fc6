//! `/servers`: each server's state, the last words of one that is down, and its tools with the verdict each
//! would get. Reads only.

use super::WebState;
use super::limits;
use super::page::{self, Frame};
use super::session::SignedIn;
use super::shown::Shown;
use crate::domain::policy::Action;
use crate::gate::ServerView;
use crate::gate::upstream::ServerState;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

struct Server {
    name: String,
    transport: &'static str,
    label: String,
    tone: &'static str,
    why: Option<Shown>,
    stderr: Vec<Shown>,
    tools: Option<Vec<Tool>>,
}

struct Tool {
    name: Shown,
    description: Option<Shown>,
    verdict: &'static str,
    tone: &'static str,
    rule: String,
    depends: bool,
    limits: Vec<String>,
    unusable: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "servers.html")]
struct Servers {
    frame: Frame,
    servers: Vec<Server>,
}

/// `GET /servers`
pub async fn show(by: SignedIn, State(state): State<WebState>) -> Response {
    let servers = by.reviewer.servers().await.into_iter().map(server).collect();
    page::html(&state, StatusCode::OK, &Servers { frame: Frame::new(&state, Some(&by), "servers").await, servers })
}

fn server(view: ServerView) -> Server {
    let (label, tone, why, stderr) = match view.status.state {
        ServerState::Idle => ("Not asked yet".to_owned(), "quiet", None, Vec::new()),
        ServerState::Up { instances: 1 } => ("Up".to_owned(), "good", None, Vec::new()),
        ServerState::Up { instances } => (format!("Up, {instances} instances"), "good", None, Vec::new()),
        ServerState::Down { why, stderr } => ("Down".to_owned(), "bad", Some(Shown::new(&why)), stderr.iter().map(|line| Shown::new(line)).collect()),
    };
    let tools = view.tools.map(|tools| {
        let lines = tools.into_iter().map(|(tool, preview)| {
            let (verdict, tone) = match preview.action {
                Action::Allow => ("allowed", "good"),
                Action::Deny => ("denied", "bad"),
                Action::RequireApproval => ("held for a person", "wait"),
                Action::Hide => ("hidden", "quiet"),
            };
            let description = tool.description.as_deref().map(Shown::beginning);
            Tool {
                name: Shown::new(&tool.name),
                description,
                verdict,
                tone,
                rule: preview.rule,
                depends: preview.depends,
                limits: preview.limits.iter().map(limits::in_words).collect(),
                unusable: tool.unusable.map(|why| why.0),
            }
        });
        lines.collect()
    });
    Server { name: view.status.name, transport: view.status.transport, label, tone, why, stderr, tools }
}
