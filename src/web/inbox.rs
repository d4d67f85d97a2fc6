//! `/`: what needs the reader first, oldest first so that rows keep their places; what is on the way and what is
//! done behind two more tabs. Filters are links, so the page works without a script.

use super::WebState;
use super::page::{self, Frame};
use super::row::Row;
use super::session::SignedIn;
use crate::gate::{Failure, Listed, Query};
use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as Parameters, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

/// Rows on one page.
const ROWS: usize = 50;
/// More held calls than this are shown as "99+".
const COUNTED: usize = 100;

const MOVING: [&str; 2] = ["approved", "sending"];
/// The states of "Done" with their filter's label.
const DONE: [(&str, &str); 6] =
    [("answered", "Sent"), ("rejected", "Rejected"), ("expired", "Expired"), ("withdrawn", "Taken back"), ("lapsed", "Lapsed"), ("unconfirmed", "Unconfirmed")];

#[derive(Debug, Deserialize)]
pub struct Wanted {
    #[serde(default)]
    show: String,
    cursor: Option<String>,
}

/// One link of the tabs or filters.
struct Tab {
    label: &'static str,
    show: &'static str,
    current: bool,
}

#[derive(Template)]
#[template(path = "inbox.html")]
struct Inbox {
    frame: Frame,
    tabs: Vec<Tab>,
    filters: Vec<Tab>,
    waiting: String,
    rows: Vec<Row>,
    show: &'static str,
    heading: &'static str,
    next: Option<String>,
    later_page: bool,
    reads_only: bool,
}

/// `GET /?show=needs|moving|done|STATE&cursor=…`
pub async fn show(by: SignedIn, State(state): State<WebState>, wanted: Result<Parameters<Wanted>, QueryRejection>) -> Response {
    let Ok(Parameters(wanted)) = wanted else { return page::wrong_query(&state, &by) };
    match inbox(&by, &state, wanted).await {
        Ok(inbox) => page::html(&state, StatusCode::OK, &inbox),
        Err(failure) => page::failure(&state, Some(&by), &failure),
    }
}

async fn inbox(by: &SignedIn, state: &WebState, wanted: Wanted) -> Result<Inbox, Failure> {
    let one_state = DONE.iter().find(|(word, _)| *word == wanted.show);
    let (show, heading, states): (&'static str, &'static str, Vec<&str>) = match (wanted.show.as_str(), one_state) {
        (_, Some((word, label))) => (word, label, vec![word]),
        ("moving", None) => ("moving", "On the way", MOVING.to_vec()),
        ("done", None) => ("done", "Done", DONE.iter().map(|(word, _)| *word).chain(["changes_requested"]).collect()),
        _ => ("needs", "Needs you", vec!["held"]),
    };
    let newest_first = show != "needs";
    let later_page = wanted.cursor.is_some();
    let query = Query { states: owned(&states), newest_first, limit: ROWS, cursor: wanted.cursor, ..Query::default() };
    let page = by.reviewer.calls(query).await?;
    let held = by.reviewer.calls(Query { states: owned(&["held"]), limit: COUNTED, ..Query::default() }).await?.calls.len();
    let now = state.gate.clock().now();
    let rows = page.calls.into_iter().map(|call| Row::new(&Listed { presence: state.gate.presence(&call), call }, now)).collect();
    let done = show == "done" || one_state.is_some();
    let tab = |label, key, current| Tab { label, show: key, current };
    let mut filters = Vec::new();
    if done {
        filters.push(tab("All", "done", show == "done"));
        filters.extend(DONE.iter().map(|(word, label)| tab(label, word, show == *word)));
    }
    Ok(Inbox {
        frame: Frame::new(state, Some(by), "inbox"),
        tabs: vec![tab("Needs you", "needs", show == "needs"), tab("On the way", "moving", show == "moving"), tab("Done", "done", done)],
        filters,
        waiting: if held >= COUNTED { format!("{}+", COUNTED - 1) } else { held.to_string() },
        rows,
        show,
        heading,
        next: page.next,
        later_page,
        reads_only: by.reviewer.person().role == crate::domain::people::Role::Auditor,
    })
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
