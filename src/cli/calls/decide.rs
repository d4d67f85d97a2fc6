//! Approve, reject and ask for changes from a terminal. The call is fetched whole, which tells the gateway that this person was
//! served its text; a digest on the command line must be that of the text as it is now. Called by `calls`.

use super::api::Api;
use super::show;
use crate::cli::fault::Fault;
use crate::cli::terminal;
use crate::domain::json::strict;
use serde_json::Value;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Bytes of a file of arguments, at most; the gateway's own bound is smaller unless it was raised far.
const ARGUMENTS_BYTES: u64 = 16 * 1024 * 1024;

/// What the command line says about an approval.
pub(super) struct Approval {
    /// Of the text that was shown.
    pub(super) digest: Option<String>,
    /// For the record.
    pub(super) reason: Option<String>,
    /// A file with other arguments.
    pub(super) arguments: Option<PathBuf>,
}

/// Shows the whole call, asks unless the digest was named, approves.
pub(super) async fn approve(api: &Api, id: &str, approval: Approval, json: bool) -> Result<ExitCode, Fault> {
    let Approval { digest, reason, arguments } = approval;
    let arguments = arguments.as_deref().map(read).transpose()?;
    if digest.is_none() && !terminal::can_ask() {
        return Err(Fault::usage("without a terminal nobody can be asked: name the text you read with --digest; `paraph calls show ID` prints it"));
    }
    let call = api.call(id).await?;
    present(&show::text(&call), json);
    if let Some(arguments) = &arguments {
        present(&format!("\nInstead of these arguments\n{}", terminal::json(arguments, true)), json);
    }
    match digest {
        Some(digest) => same(&call, &digest)?,
        None if call["state"] != "held" => return Err(Fault::new(1, format!("the call is already {}", call["state"].as_str().unwrap_or("settled")))),
        None => {
            if !ask("Send this? Type yes: ").await? {
                return Err(Fault::new(1, "not approved; the call is still held"));
            }
        }
    }
    tell(&api.approve(&call, reason.as_deref(), arguments.as_ref()).await?, json);
    Ok(ExitCode::SUCCESS)
}

/// Rejects or asks for changes, with a reason.
pub(super) async fn refuse(api: &Api, id: &str, verdict: &str, digest: Option<String>, reason: &str, json: bool) -> Result<ExitCode, Fault> {
    if reason.trim().is_empty() {
        return Err(Fault::usage("--reason is empty: the agent is told it, so that it knows what to do now"));
    }
    let call = api.call(id).await?;
    if let Some(digest) = digest {
        same(&call, &digest)?;
    }
    tell(&api.decide(&call, verdict, Some(reason)).await?, json);
    Ok(ExitCode::SUCCESS)
}

/// A file of arguments. It is read as strictly as the gateway reads an agent's, so that no reader could understand it
/// in another way.
fn read(file: &Path) -> Result<Value, Fault> {
    let failed = |why: String| Fault::usage(format!("--arguments {}: {why}", file.display()));
    let mut text = Vec::new();
    let opened = std::fs::File::open(file).and_then(|open| open.take(ARGUMENTS_BYTES + 1).read_to_end(&mut text));
    opened.map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > ARGUMENTS_BYTES {
        return Err(failed("has more than 16 MiB".to_owned()));
    }
    match strict(&text) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err(failed("is not a JSON object".to_owned())),
        Err(why) => Err(failed(format!("is not JSON that Paraph accepts: {why}"))),
    }
}

fn same(call: &Value, digest: &str) -> Result<(), Fault> {
    if call["digest"].as_str() == Some(digest) {
        return Ok(());
    }
    Err(Fault::new(1, "the call's text has another digest than the one you named; read it again with `paraph calls show ID`"))
}

/// A call before a question about it; with `--json` standard output is for the answer alone.
pub(super) fn present(text: &str, json: bool) {
    if json { terminal::note(text) } else { terminal::say(text) }
}

/// What became of the call.
pub(super) fn tell(call: &Value, json: bool) {
    if json {
        terminal::say(&terminal::json(call, true));
    } else {
        let word = |key: &str| terminal::visible(call[key].as_str().unwrap_or("-"));
        terminal::say(&format!("{} is {}.", word("id"), terminal::state(&word("state").replace('_', " "))));
    }
}

/// Asks; only a typed yes is one.
pub(super) async fn ask(question: &str) -> Result<bool, Fault> {
    let typed = terminal::answer(question).await.map_err(|error| Fault::new(1, format!("the answer could not be read: {error}")))?;
    Ok(typed.eq_ignore_ascii_case("yes"))
}
