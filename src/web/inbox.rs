//! `/`: what needs the reader first, oldest first so that rows keep their places; what leaves soon, what waits
//! for its agent, what nobody knows and what is done behind further tabs. Tabs and filters are links, so the page
//! works without a script.

use super::WebState;
use super::lists::{DONE, List};
use super::moment::Moment;
use super::page::{self, Frame};
use super::row::Row;
use super::session::SignedIn;
use super::shown::Shown;
use crate::domain::people::Role;
use crate::gate::{Failure, Listed, Tally};
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
    let tally = by.reviewer.tally().await?;
    let now = state.gate.clock().now();
    let rows = page.calls.into_iter().map(|call| Row::new(by, &Listed { presence: state.gate.presence(&call), call, masks: Vec::new() }, now)).collect();
    let closed = if list == List::Needs { by.reviewer.closed_ways().await? } else { Vec::new() };
    Ok(Inbox {
        frame: Frame::new(state, Some(by), if list == List::Unknown { "unknown" } else { "inbox" }).await,
        tabs: tabs(list, &tally),
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
fn tabs(current: List, tally: &Tally) -> Vec<Tab> {
    let tab = |list: List| Tab {
        label: list.heading(),
        show: list.word(),
        current: list == current || matches!((list, current), (List::Done(None), List::Done(_))),
        // "0" is worth knowing only of what needs the reader.
        count: list.count(tally).filter(|count| *count > 0 || list == List::Needs).map(in_groups),
        warns: list == List::Unknown,
    };
    let all = [List::Needs, List::Unknown, List::Soon, List::Agent, List::Done(None)];
    all.into_iter().filter(|list| *list != List::Unknown || tally.unconfirmed > 0 || current == List::Unknown).map(tab).collect()
}

/// A number as it is read: `10,000`.
fn in_groups(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn filters(current: List) -> Vec<Tab> {
    let List::Done(one) = current else { return Vec::new() };
    let tab = |list: List, label, current| Tab { label, show: list.word(), current, count: None, warns: false };
    let all = tab(List::Done(None), "All", one.is_none());
    let each = DONE.iter().enumerate().map(|(at, (_, label))| tab(List::Done(Some(at)), label, one == Some(at)));
    std::iter::once(all).chain(each).collect()
}

#[cfg(test)]
mod tests {
    use super::in_groups;

    #[test]
    fn a_number_has_a_comma_before_every_third_digit_from_the_end() {
        assert_eq!([0, 999, 1_000, 10_000, 1_234_567].map(in_groups), ["0", "999", "1,000", "10,000", "1,234,567"]);
    }
}
