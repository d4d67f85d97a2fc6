//! `/`: what needs the reader first, oldest first so that rows keep their places; what leaves soon, what waits
//! for its agent, what nobody knows and what is done behind further tabs. Tabs and filters are links, so the page
//! works without a script.

use super::WebState;
use super::lists::{Counts, DONE, List};
use super::moment::Moment;
use super::page::{self, Frame};
use super::row::Row;
use super::session::SignedIn;
use super::shown::Shown;
use crate::domain::people::Role;
use crate::gate::{Failure, Listed};
use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as Parameters, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

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
    /// How many, where that is worth knowing.
    count: Option<String>,
    /// The number is a warning.
    warns: bool,
}

/// A recipient to whom nothing more of an agent goes through.
struct ClosedWay {
    /// The last refused call.
    id: String,
    agent: String,
    to: Option<Shown>,
    since: Option<Moment>,
}

#[derive(Template)]
#[template(path = "inbox.html")]
struct Inbox {
    frame: Frame,
    tabs: Vec<Tab>,
    filters: Vec<Tab>,
    closed: Vec<ClosedWay>,
    rows: Vec<Row>,
    show: &'static str,
    heading: &'static str,
    next: Option<String>,
    later_page: bool,
    reads_only: bool,
}

/// `GET /?show=needs|soon|agent|unconfirmed|done|STATE&cursor=…`
pub async fn show(by: SignedIn, State(state): State<WebState>, wanted: Result<Parameters<Wanted>, QueryRejection>) -> Response {
    let Ok(Parameters(wanted)) = wanted else { return page::wrong_query(&state, &by).await };
    match inbox(&by, &state, wanted).await {
        Ok(inbox) => page::html(&state, StatusCode::OK, &inbox),
        Err(failure) => page::failure(&state, Some(&by), &failure),
    }
}

async fn inbox(by: &SignedIn, state: &WebState, wanted: Wanted) -> Result<Inbox, Failure> {
    let list = List::named(&wanted.show);
    let later_page = wanted.cursor.is_some();
    let page = list.page(&by.reviewer, wanted.cursor).await?;
    let counts = Counts::of(&by.reviewer).await?;
    let now = state.gate.clock().now();
    let rows = page.calls.into_iter().map(|call| Row::new(by, &Listed { presence: state.gate.presence(&call), call, masks: Vec::new() }, now)).collect();
    let closed = if list == List::Needs { by.reviewer.closed_ways().await? } else { Vec::new() };
    Ok(Inbox {
        frame: Frame::new(state, Some(by), if list == List::Unknown { "unknown" } else { "inbox" }).await,
        tabs: tabs(list, &counts),
        filters: filters(list),
        closed: closed
            .into_iter()
            .map(|(call, refusals)| ClosedWay {
                id: call.id.to_string(),
                agent: refusals.agent,
                to: call.message.as_ref().map(|message| Shown::new(&message.to)),
                since: refusals.closed_at.map(|at| Moment::new(at, now)),
            })
            .collect(),
        rows,
        show: list.word(),
        heading: list.heading(),
        next: page.next,
        later_page,
        reads_only: by.reviewer.person().role == Role::Auditor,
    })
}

/// "Unknown" is a tab only while there is something behind it: it is what must not happen.
fn tabs(current: List, counts: &Counts) -> Vec<Tab> {
    let tab = |list: List, count: Option<String>, warns| Tab {
        label: list.heading(),
        show: list.word(),
        current: list == current || matches!((list, current), (List::Done(None), List::Done(_))),
        count,
        warns,
    };
    let some = |count: &super::lists::Count| (!count.none).then(|| count.shown.clone());
    let mut tabs = vec![tab(List::Needs, Some(counts.needs.shown.clone()), false)];
    if !counts.unknown.none || current == List::Unknown {
        tabs.push(tab(List::Unknown, some(&counts.unknown), true));
    }
    tabs.push(tab(List::Soon, some(&counts.soon), false));
    tabs.push(tab(List::Agent, some(&counts.agent), false));
    tabs.push(tab(List::Done(None), None, false));
    tabs
}

fn filters(current: List) -> Vec<Tab> {
    let List::Done(one) = current else { return Vec::new() };
    let tab = |list: List, label, current| Tab { label, show: list.word(), current, count: None, warns: false };
    let all = tab(List::Done(None), "All", one.is_none());
    let each = DONE.iter().enumerate().map(|(at, (_, label))| tab(List::Done(Some(at)), label, one == Some(at)));
    std::iter::once(all).chain(each).collect()
}
