//! `paraph calls resolve`: a person says what became of a call of which nobody knows whether it left. Saying "not
//! sent" lets the agent make the same call anew, so the whole call is shown and the person is asked.
//! Called by `calls`.

use super::api::Api;
use super::{decide, show};
use crate::cli::fault::Fault;
use crate::cli::terminal;
use serde_json::{Value, json};
use std::process::ExitCode;

/// What the person found out.
#[derive(Debug)]
pub(super) struct Found {
    /// It was sent.
    pub(super) sent: bool,
    /// Told to the agent.
    pub(super) note: Option<String>,
}

/// Shows the whole call, asks unless told not to, says it.
pub(super) async fn run(api: &Api, id: &str, found: Found, yes: bool, as_json: bool) -> Result<ExitCode, Fault> {
    if !yes && !terminal::can_ask() {
        return Err(Fault::usage("without a terminal nobody can be asked: `paraph calls show ID` prints the call, --yes resolves it without a question"));
    }
    let call = api.call(id).await?;
    decide::present(&show::text(&call), as_json);
    if call["state"] != "unconfirmed" {
        let state = terminal::visible(call["state"].as_str().unwrap_or("?")).replace('_', " ");
        return Err(Fault::new(1, format!("the call is {state}: there is no doubt whether it was sent, so there is nothing to resolve")));
    }
    if !yes && !decide::ask(question(found.sent)).await? {
        return Err(Fault::new(1, "not resolved; the call is still unconfirmed"));
    }
    decide::tell(&api.resolve(&call, &body(&call, &found)).await?, as_json);
    Ok(ExitCode::SUCCESS)
}

fn question(sent: bool) -> &'static str {
    if sent { "Say that this WAS sent? Type yes: " } else { "Say that this was NOT sent? The agent may then send it again. Type yes: " }
}

/// Names the version that was shown, so that of two people the second is told.
fn body(call: &Value, found: &Found) -> Value {
    json!({ "sent": found.sent, "version": call["version"], "note": found.note })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolution_names_the_version_that_was_shown() {
        let call = json!({ "id": "c_1", "version": 4, "state": "unconfirmed" });
        assert_eq!(body(&call, &Found { sent: true, note: None }), json!({ "sent": true, "version": 4, "note": null }));
        let found = Found { sent: false, note: Some("not in the sent folder".into()) };
        assert_eq!(body(&call, &found), json!({ "sent": false, "version": 4, "note": "not in the sent folder" }));
    }
}
