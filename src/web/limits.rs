//! `/limits`: each counter of the config with the limits that draw on it, and what is used of each of its keys.
//! Scope values are agents' text. One counter's keys are shown in full behind a link, because there may be one for
//! every recipient. Reads only; whose keys a reader may see is the gate's answer.

use super::WebState;
use super::moment::{Moment, span};
use super::page::{self, Frame};
use super::session::SignedIn;
use super::shown::Shown;
use crate::domain::limit::ONE;
use crate::domain::policy::LimitView;
use crate::gate::Failure;
use crate::gate::limits::Usage;
use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;
use std::time::Duration;

/// Keys read for one counter on the page of all.
const LOOKED_AT: usize = 500;
/// The fullest of them that are shown.
const FULLEST: usize = 8;
/// Keys on the page of one counter.
const ROWS: usize = 100;

/// The query of the page.
#[derive(Debug, Deserialize)]
pub struct Wanted {
    /// Only this counter.
    counter: Option<String>,
    /// Of this server; of all without it.
    server: Option<String>,
    after: Option<String>,
}

/// One counter.
struct Card {
    server: Option<String>,
    counter: String,
    size: String,
    /// The limits that draw on it: name, and who has a key of their own.
    limits: Vec<(String, String)>,
    keys: Vec<Key>,
    /// More keys than are shown.
    more: bool,
    /// Where the next stretch of this counter begins.
    next: Option<String>,
    kept_back: bool,
    /// Full until then, whatever is counted: the store was restored.
    restored: Option<Moment>,
}

/// One key of a counter.
struct Key {
    whose: &'static str,
    value: Option<Shown>,
    asked: Bar,
    sent: Bar,
    /// When the next one fits; `None` while there is room.
    room: Option<Moment>,
}

/// How much of one ledger is used.
struct Bar {
    /// For the reader: `17 of 30`.
    words: String,
    /// In hundredths, at most 100.
    percent: u64,
}

#[derive(Template)]
#[template(path = "limits.html")]
struct Limits {
    frame: Frame,
    cards: Vec<Card>,
    /// One counter alone.
    alone: bool,
    later_page: bool,
}

/// `GET /limits?counter=NAME&server=NAME&after=KEY`
pub async fn show(by: SignedIn, State(state): State<WebState>, wanted: Result<Query<Wanted>, QueryRejection>) -> Response {
    let Ok(Query(wanted)) = wanted else { return page::wrong_query(&state, &by).await };
    match cards(&by, &state, &wanted).await {
        Ok(cards) => {
            let (alone, later_page) = (wanted.counter.is_some(), wanted.after.is_some());
            page::html(&state, StatusCode::OK, &Limits { frame: Frame::new(&state, Some(&by), "limits").await, cards, alone, later_page })
        }
        Err(failure) => page::failure(&state, Some(&by), &failure),
    }
}

async fn cards(by: &SignedIn, state: &WebState, wanted: &Wanted) -> Result<Vec<Card>, Failure> {
    let now = state.gate.clock().now();
    let mut counters: Vec<(Option<String>, LimitView, Card)> = Vec::new();
    for (server, limit) in by.reviewer.limits() {
        let owner = (limit.scope != "global").then(|| server.clone());
        let who = (if owner.is_none() { format!("{server}: {}", limit.name) } else { limit.name.clone() }, each(&limit));
        match counters.iter_mut().find(|(of, known, _)| *of == owner && known.counter == limit.counter) {
            Some((_, _, card)) => card.limits.push(who),
            None => {
                let card = Card {
                    server: owner.clone(),
                    counter: limit.counter.clone(),
                    size: size(&limit),
                    limits: vec![who],
                    keys: Vec::new(),
                    more: false,
                    next: None,
                    kept_back: false,
                    restored: by.reviewer.full_since_restore(limit.window).map(|at| Moment::new(at, now)),
                };
                counters.push((owner, limit, card));
            }
        }
    }
    let asked_for = |card: &Card| wanted.counter.as_ref().is_none_or(|counter| *counter == card.counter && wanted.server == card.server);
    let mut cards = Vec::new();
    for (owner, limit, mut card) in counters {
        if !asked_for(&card) {
            continue;
        }
        let alone = wanted.counter.is_some();
        let after = wanted.after.as_deref().filter(|_| alone);
        let mut used = by.reviewer.usage(Some((owner.as_deref(), &limit.counter)), after, if alone { ROWS } else { LOOKED_AT }).await?;
        used.counters.retain(|usage| usage.asked > 0 || usage.sent > 0);
        if !alone {
            used.counters.sort_by_key(|usage| std::cmp::Reverse(usage.asked.max(usage.sent)));
            card.more = used.counters.len() > FULLEST || used.next.is_some();
            used.counters.truncate(FULLEST);
        }
        card.next = used.next.filter(|_| alone);
        card.kept_back = used.kept_back > 0;
        card.keys = used.counters.iter().map(|usage| key(usage, &limit, now)).collect();
        cards.push(card);
    }
    Ok(cards)
}

fn key(usage: &Usage, limit: &LimitView, now: Timestamp) -> Key {
    let label = &usage.counter.label;
    let bar = |used: u64| Bar {
        words: format!("{} of {}", number(used), limit.max),
        percent: (used / ONE.max(1)).saturating_mul(100).div_ceil(limit.max.max(1)).min(100),
    };
    Key {
        whose: whose(&label.scope),
        value: (!label.value.is_empty()).then(|| Shown::beginning(label.value.strip_prefix("text ").unwrap_or(&label.value))),
        asked: bar(usage.asked),
        sent: bar(usage.sent),
        room: usage.room_at.map(|at| Moment::new(at, now)),
    }
}

/// Millionths as a person writes them.
fn number(millionths: u64) -> String {
    let (whole, rest) = (millionths / ONE, millionths % ONE);
    if rest == 0 { whole.to_string() } else { format!("{whole}.{}", format!("{rest:06}").trim_end_matches('0')) }
}

/// One limit in a line.
pub fn in_words(limit: &LimitView) -> String {
    format!("at most {}, {}", size(limit), each(limit))
}

fn size(limit: &LimitView) -> String {
    format!("{} in {}", limit.max, length(limit.window))
}

/// `1 min` and `1 h` read as what they are.
fn length(window: Duration) -> String {
    match window.as_secs() {
        1 => "a second".to_owned(),
        60 => "a minute".to_owned(),
        3600 => "an hour".to_owned(),
        86_400 => "a day".to_owned(),
        seconds => span(seconds),
    }
}

fn each(limit: &LimitView) -> String {
    let scope = match limit.scope {
        "grant" => "for each agent",
        "session" => "for each session",
        "tool" => "for each tool",
        "server" => "for the whole server",
        "global" => "for all servers together",
        _ => return format!("for each value of {}", limit.argument.as_deref().unwrap_or("an argument")),
    };
    scope.to_owned()
}

fn whose(scope: &str) -> &'static str {
    match scope {
        "grant" => "Agent",
        "session" => "Session",
        "tool" => "Tool",
        "server" => "The whole server",
        "global" => "All servers together",
        _ => "Value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_windows_read_like_a_person_writes_them() {
        for (millionths, words) in [(17 * ONE, "17"), (290_000, "0.29"), (1, "0.000001"), (0, "0")] {
            assert_eq!(number(millionths), words);
        }
        let limit = |seconds, scope| LimitView {
            at: String::new(),
            name: "n".into(),
            counter: "c".into(),
            window: Duration::from_secs(seconds),
            max: 30,
            scope,
            argument: (scope == "arg").then(|| "/to".into()),
        };
        assert_eq!(in_words(&limit(60, "grant")), "at most 30 in a minute, for each agent");
        assert_eq!(in_words(&limit(5400, "arg")), "at most 30 in 1 h 30 min, for each value of /to");
    }
}
