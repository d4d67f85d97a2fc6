//! `paraph calls`: what waits for a person. A call of which nobody knows whether it was sent waits for a person as
//! much as a held one, and the way on is not obvious, so the list says it. Called by `calls` and `watch`.

use super::api::Api;
use super::show;
use crate::cli::fault::Fault;
use crate::cli::terminal;
use reqwest::Method;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Words of `--state`.
pub(super) const STATES: [&str; 11] =
    ["all", "held", "approved", "sending", "answered", "rejected", "changes_requested", "expired", "withdrawn", "lapsed", "unconfirmed"];
/// What waits for a person.
const WAITING: &str = "held,unconfirmed";

/// Every call of these kinds, the newest first, page by page. Nothing is marked as read by it.
pub(super) async fn all(api: &Api, states: Option<&str>, agent: Option<&str>, server: Option<&str>) -> Result<Vec<Value>, Fault> {
    let mut calls: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let filters = [("state", states), ("agent", agent), ("server", server), ("limit", Some("200")), ("cursor", cursor.as_deref())];
        let query: Vec<(&str, &str)> = filters.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        let mut page = api.ask(Method::GET, "/api/v1/calls", &query, None).await?;
        let found = page["calls"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let next = page["next"].as_str().map(str::to_owned);
        calls.extend(found);
        // A page may be short or empty and still have a next one; the same one again would never end.
        if next.is_none() || next == cursor {
            break;
        }
        cursor = next;
    }
    Ok(calls)
}

/// Prints them.
pub(super) async fn run(api: &Api, state: Option<&str>, agent: Option<&str>, server: Option<&str>, as_json: bool) -> Result<ExitCode, Fault> {
    let states = Some(state.unwrap_or(WAITING)).filter(|state| *state != "all");
    let calls = all(api, states, agent, server).await?;
    if as_json {
        terminal::say(&terminal::json(&json!({ "calls": calls }), true));
    } else if calls.is_empty() {
        let whose = if agent.or(server).is_some() { " of this agent or server" } else { "" };
        terminal::note(&match state {
            None => format!("Nothing{whose} waits for a person."),
            Some("all") => format!("There are no calls{whose}."),
            Some(state) => format!("There are no calls{whose} in the state {state}."),
        });
    } else {
        terminal::say(&terminal::table(&show::rows(&calls)));
        if let Some(hint) = hint(&calls) {
            terminal::note(&hint);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn hint(calls: &[Value]) -> Option<String> {
    let unconfirmed = |call: &&Value| call["state"] == "unconfirmed";
    let first = calls.iter().find(unconfirmed)?["id"].as_str().unwrap_or("ID");
    let which = match calls.iter().filter(unconfirmed).count() {
        1 => "1 call is".to_owned(),
        more => format!("{more} calls are"),
    };
    let first = terminal::visible(first);
    Some(format!(
        "{which} unconfirmed: nobody knows whether it was sent. Look at the recipient's side, then: paraph calls resolve {first} --sent (or --not-sent)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_what_to_do_about_an_unconfirmed_call() {
        let call = |id: &str, state: &str| json!({ "id": id, "state": state });
        assert_eq!(hint(&[call("c_1", "held"), call("c_2", "answered")]), None);
        let one = hint(&[call("c_1", "held"), call("c_2", "unconfirmed")]).unwrap();
        assert!(one.starts_with("1 call is unconfirmed") && one.contains("paraph calls resolve c_2 --sent"), "{one}");
        assert!(hint(&[call("c_2", "unconfirmed"), call("c_3", "unconfirmed")]).unwrap().starts_with("2 calls are"));
    }
}
