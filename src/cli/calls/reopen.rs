//! What opens a way again: an approval is taken back before the call left, or an agent may write again to a
//! recipient after three refusals. Both answer 1 when there was nothing to open. Called by `calls`.

use super::api::Api;
use super::decide;
use crate::cli::fault::Fault;
use crate::cli::terminal;
use std::process::ExitCode;

/// Takes an approval back.
pub(super) async fn undo(api: &Api, id: &str, as_json: bool) -> Result<ExitCode, Fault> {
    decide::tell(&api.undo(id).await?, as_json);
    Ok(ExitCode::SUCCESS)
}

/// Opens the way to a call's recipient.
pub(super) async fn lift(api: &Api, id: &str, as_json: bool) -> Result<ExitCode, Fault> {
    let answer = api.lift(id).await?;
    let lifted = answer["lifted"].as_bool().ok_or_else(|| Fault::new(3, "the gateway gave another answer than was asked for"))?;
    if as_json {
        terminal::say(&terminal::json(&answer, true));
    }
    if lifted {
        terminal::note("The agent may write to this recipient again; its calls are held as before.");
        return Ok(ExitCode::SUCCESS);
    }
    Err(Fault::new(1, "the way to this call's recipient was not closed"))
}
