//! Asking a server for its tools once, in a process or session of its own that ends with it, and showing what they
//! probably do. Whatever the server writes is hostile: it is shown through `terminal::visible` and never acted on.
//! Called by `init` and `scan`.

use super::fault::Fault;
use super::serve::own_program;
use super::terminal;
use crate::config::{Bounds, Server};
use crate::domain::risk::{Judged, Risk, judge};
use crate::mcp::upstream::{Peer, Reply, UpstreamError, Upstreams};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

/// In whose name the server is asked.
const OWN_NAME: &str = "(paraph)";
/// Tools of one server, as many as a running gateway remembers.
const TOOLS: usize = 2_000;
/// Pages of one list.
const PAGES: usize = 50;
/// Characters of a name or a reason in a table.
const SHOWN: usize = 60;
/// Characters of a server's error.
const MESSAGE: usize = 300;

#[derive(serde::Deserialize)]
struct Page {
    tools: Vec<Box<RawValue>>,
    #[serde(rename = "nextCursor")]
    next: Option<String>,
}

/// Starts the server, lists its tools, ends it, judges them.
pub(super) async fn of(name: &str, server: &Server, bounds: &Bounds) -> Result<Vec<Judged>, Fault> {
    let mut server = server.clone();
    // A person waits at the terminal.
    server.timeout = server.timeout.min(server.start_timeout);
    let upstreams = Upstreams::new(BTreeMap::from([(name.to_owned(), server)]), bounds, own_program()?);
    let listed = match upstreams.peer(name, OWN_NAME, None).await {
        Ok(peer) => list(&peer).await.map_err(|sentence| {
            let UpstreamError { sentence, stderr } =
                UpstreamError { sentence: format!("Server {name} did not list its tools. {sentence}"), stderr: peer.stderr() };
            failed(&sentence, &stderr)
        }),
        Err(UpstreamError { sentence, stderr }) => Err(failed(&sentence, &stderr)),
    };
    upstreams.shutdown().await;
    let tools = judge(&listed?);
    if tools.is_empty() {
        return Err(Fault::new(1, format!("server {name} runs and lists no tools, so there is nothing to hold or to allow")));
    }
    Ok(tools)
}

async fn list(peer: &Peer) -> Result<Vec<String>, String> {
    let mut tools = Vec::new();
    let mut params: Option<Box<RawValue>> = None;
    for _ in 0..PAGES {
        let reply = peer.request("tools/list", params.as_deref(), None, CancellationToken::new()).await.map_err(|failure| failure.to_string())?;
        let result = match reply {
            Reply::Result(result) => result,
            Reply::Error(error) => return Err(in_its_words(&error)),
        };
        let page: Page = serde_json::from_str(result.get()).map_err(|_| "Its answer is not a list of tools.".to_owned())?;
        tools.extend(page.tools.iter().map(|tool| tool.get().to_owned()));
        if tools.len() > TOOLS {
            return Err(format!("It has more than {TOOLS}."));
        }
        let Some(next) = page.next else { return Ok(tools) };
        params = Some(serde_json::value::to_raw_value(&json!({ "cursor": next })).map_err(|error| error.to_string())?);
    }
    Err(format!("Its list has more than {PAGES} pages."))
}

/// An error of the server's, on one short line.
fn in_its_words(error: &RawValue) -> String {
    #[derive(serde::Deserialize)]
    struct Said {
        message: String,
    }
    match serde_json::from_str::<Said>(error.get()) {
        Ok(said) => format!("It answered with an error: {}", shortened(&said.message, MESSAGE)),
        Err(_) => "It answered with an error.".to_owned(),
    }
}

/// What happened, what to do, and the server's last words.
fn failed(sentence: &str, stderr: &[String]) -> Fault {
    let mut text = sentence.to_owned();
    if sentence.contains("HTTP 401") || sentence.contains("HTTP 403") {
        text.push_str(" Give them with --header 'Authorization={env:VARIABLE}'; the variable holds the whole value, such as \"Bearer …\".");
    }
    if sentence.contains("start_timeout") {
        text.push_str(" Here: --start-timeout 2m.");
    }
    if !stderr.is_empty() {
        text.push_str("\nIts last words on standard error:");
        stderr.iter().for_each(|line| {
            text.push_str("\n  | ");
            text.push_str(line);
        });
    }
    Fault::new(1, text)
}

/// For `--json`.
pub(super) fn view(tools: &[Judged]) -> Value {
    let view = |tool: &Judged| {
        let message = tool.message.as_ref().map(|message| json!({ "to": message.to, "text": message.text }));
        json!({ "name": tool.name, "risk": tool.risk.word(), "verdict": tool.risk.verdict(), "why": tool.why, "message": message })
    };
    tools.iter().map(view).collect()
}

/// A table for a person: what is held first, what is denied last.
pub(super) fn table(tools: &[Judged]) -> String {
    let mut sorted: Vec<&Judged> = tools.iter().collect();
    sorted.sort_by_key(|tool| tool.risk);
    let mut rows = vec![["TOOL", "WHY", "VERDICT"].map(str::to_owned).to_vec()];
    rows.extend(sorted.iter().map(|tool| {
        let why = match tool.risk {
            Risk::Dangerous => format!("dangerous: {}", tool.why),
            Risk::Sends | Risk::Reads | Risk::Takes | Risk::Unclear => tool.why.clone(),
        };
        vec![cut(&tool.name), cut(&why), terminal::verdict(tool.risk.verdict())]
    }));
    terminal::table(&rows)
}

/// How many of each.
pub(super) fn summary(tools: &[Judged]) -> String {
    let count = |verdict: &str| tools.iter().filter(|tool| tool.risk.verdict() == verdict).count();
    format!("{} tools: {} held, {} allowed, {} denied", tools.len(), count("held"), count("allowed"), count("denied"))
}

/// A text of the server's on one short line.
pub(super) fn cut(text: &str) -> String {
    shortened(text, SHOWN)
}

fn shortened(text: &str, most: usize) -> String {
    let shown = terminal::visible(text);
    if shown.chars().count() <= most { shown } else { shown.chars().take(most - 1).chain(['…']).collect() }
}
