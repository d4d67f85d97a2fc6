//! `/audit`: the chain, newest first, or the entries of one call. The chain has no index by call, so a filtered
//! page looks through a bounded stretch and links to the next one.

use super::WebState;
use super::moment::Moment;
use super::page::{self, Frame};
use super::session::SignedIn;
use super::shown::Shown;
use crate::domain::audit::Entry;
use crate::domain::json;
use crate::gate::Failure;
use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;

/// Entries on one page.
const ROWS: usize = 50;
/// Entries looked through for one page.
const STRETCH: u64 = 2_000;
/// Entries read at once.
const READ: u64 = 200;

#[derive(Debug, Deserialize)]
pub struct Wanted {
    before: Option<u64>,
    #[serde(default)]
    call: String,
}

struct Line {
    seq: u64,
    at: Moment,
    kind: String,
    /// What happened, where the kind alone does not say it.
    means: Option<&'static str>,
    actor: String,
    call: Option<String>,
    data: Shown,
    hash: String,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    frame: Frame,
    lines: Vec<Line>,
    call: String,
    older: Option<u64>,
    last: u64,
}

/// `GET /audit?before=SEQ&call=c_…`
pub async fn show(by: SignedIn, State(state): State<WebState>, wanted: Result<Query<Wanted>, QueryRejection>) -> Response {
    let Ok(Query(wanted)) = wanted else { return page::wrong_query(&state, &by).await };
    match audit(&by, &state, wanted).await {
        Ok(audit) => page::html(&state, StatusCode::OK, &audit),
        Err(failure) => page::failure(&state, Some(&by), &failure),
    }
}

async fn audit(by: &SignedIn, state: &WebState, wanted: Wanted) -> Result<Audit, Failure> {
    let last = by.reviewer.last_entry().await?;
    let top = wanted.before.unwrap_or(u64::MAX).min(last.saturating_add(1));
    let floor = top.saturating_sub(STRETCH).max(1);
    let mut before = top;
    let mut lines = Vec::new();
    let now = state.gate.clock().now();
    while before > floor && lines.len() < ROWS {
        let from = before.saturating_sub(READ).max(floor);
        let entries = by.reviewer.entries(from, usize::try_from(before - from).unwrap_or(ROWS)).await?;
        let mut full = false;
        for entry in entries.into_iter().rev().filter(|entry| entry.seq < before) {
            if wanted.call.is_empty() || entry.call.as_ref().is_some_and(|id| id.as_str() == wanted.call) {
                full = lines.len() + 1 == ROWS;
                let seq = entry.seq;
                lines.push(line(entry, now));
                if full {
                    before = seq;
                    break;
                }
            }
        }
        if !full {
            before = from;
        }
    }
    Ok(Audit { frame: Frame::new(state, Some(by), "audit").await, lines, call: wanted.call, older: (before > 1).then_some(before), last })
}

fn line(entry: Entry, now: Timestamp) -> Line {
    Line {
        seq: entry.seq,
        at: Moment::new(entry.at, now),
        means: means(&entry.kind),
        kind: entry.kind,
        actor: entry.actor,
        call: entry.call.map(|id| id.to_string()),
        data: Shown::new(&json::canonical(&entry.data)),
        hash: entry.hash,
    }
}

fn means(kind: &str) -> Option<&'static str> {
    match kind {
        "call.limited" => Some("Not let through: a limit or a bound was full. The agent was told when to come back."),
        "call.put_off" => Some("Approved, and waits for its turn at a full limit."),
        "limit.counted_anew" => Some("Writing took long, so the send counts from when it could leave."),
        _ => None,
    }
}
