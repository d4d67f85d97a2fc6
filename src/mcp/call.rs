//! `tools/call`: read once, judged by the gate, answered as the gate says. The arguments that go on are the
//! bytes that were read, in an envelope we write; nothing else of the params passes but `_meta`.
//! Called by `work`.

use super::answer::Answer;
use super::error::Refusal;
use super::held::{self, Progress, Waiting};
use super::http::Caller;
use super::lasting::Lasting;
use super::message::{Id, look_alike, string};
use super::session::Entry;
use super::upstream::wire::Members;
use super::{relay, result};
use crate::domain::people::Agent;
use crate::gate::{Admission, Ask, Failure};
use serde_json::Value;
use serde_json::value::RawValue;

/// The members of its params, of all revisions.
const KNOWN: [&str; 6] = ["name", "arguments", "_meta", "task", "requestState", "inputResponses"];
/// Trace context (W3C), passed on with held calls too.
const TRACE: [&str; 3] = ["traceparent", "tracestate", "baggage"];
/// Characters of a tool's name, and of one trace member.
const MAX_NAME: usize = 1_024;
const MAX_TRACE: usize = 8_192;

/// A call as it was asked.
pub(super) struct Asked {
    ask: Ask,
    /// JSON text.
    progress_token: Option<String>,
}

/// Reads the params. `value` is the whole message, parsed strictly from the same bytes.
pub(super) fn read(agent: &Agent, server: &str, params: Option<&RawValue>, mut value: Value, bound: usize) -> Result<Asked, Refusal> {
    let refuse = |what: &str, at: &str| Refusal::call(-32602, what).at(at);
    let Some(params) = params.and_then(|params| Members::read(params.get())) else { return Err(refuse("tools/call needs params", "/params")) };
    if let Some(name) = look_alike(&params, &KNOWN) {
        return Err(refuse(&format!("a member of params differs from \"{name}\" only in case"), "/params"));
    }
    let Some(tool) = params.get("name").and_then(string) else { return Err(refuse("name must be a string", "/params/name")) };
    if tool.is_empty() || tool.chars().count() > MAX_NAME {
        return Err(refuse("name must have 1 to 1024 characters", "/params/name"));
    }
    let arguments = params.get("arguments").map_or("{}", RawValue::get);
    if !arguments.starts_with('{') {
        return Err(refuse("arguments must be an object", "/params/arguments"));
    }
    if arguments.len() > bound {
        return Err(refuse(&format!("arguments have more than {bound} bytes"), "/params/arguments"));
    }
    let parsed = value.pointer_mut("/params/arguments").map_or_else(|| Value::Object(serde_json::Map::new()), Value::take);
    let meta = match params.get("_meta") {
        None => None,
        Some(meta) if meta.get().starts_with('{') => Members::read(meta.get()),
        Some(_) => return Err(refuse("_meta must be an object", "/params/_meta")),
    };
    let progress_token = meta.as_ref().and_then(|meta| meta.get("progressToken"));
    if progress_token.is_some_and(|token| Id::read(token).is_none()) {
        return Err(refuse("progressToken must be a string of at most 256 characters or an integer", "/params/_meta/progressToken"));
    }
    let trace = |name: &str| {
        let text = meta.as_ref()?.get(name).and_then(string)?;
        (text.len() <= MAX_TRACE).then(|| (name.to_owned(), text))
    };
    let ask = Ask {
        agent: agent.clone(),
        server: server.to_owned(),
        tool,
        arguments: arguments.to_owned(),
        value: parsed,
        meta: meta.as_ref().map(|meta| meta.with("progressToken", None)).filter(|meta| meta != "{}"),
        session: None,
        trace: TRACE.into_iter().filter_map(trace).collect(),
    };
    Ok(Asked { ask, progress_token: progress_token.map(|token| token.get().to_owned()) })
}

/// Has it judged and answers.
pub(super) async fn answer(caller: &Caller, id: Id, entry: Entry, asked: Asked) -> Result<Answer, Refusal> {
    let Asked { mut ask, progress_token } = asked;
    ask.session = Some(entry.session().word().to_owned());
    let gate = &caller.state.gate;
    let tool = ask.tool.clone();
    let judging = gate.clone();
    let judged = async move { (judging.admit(ask).await, entry) };
    let tasks = caller.state.tasks.clone();
    let left = move |(admission, entry): (Result<Admission, Failure>, Entry)| match admission {
        // A client that left meanwhile may still cancel what is being held for it.
        Ok(Admission::Waiting(seat)) => entry.leave(seat.call()),
        Ok(Admission::Allowed(pass)) => drop(tasks.spawn(pass.abandon())),
        Ok(Admission::Refused(_) | Admission::Unknown) | Err(_) => {}
    };
    let Some((admission, entry)) = Lasting::new(&caller.state.tasks, judged, left).await else {
        return Err(Refusal::call(-32603, "Paraph could not judge the call; nothing was sent.").of(Some(&id)));
    };
    match admission {
        Err(failure) => Err(Refusal::from(failure).of(Some(&id))),
        Ok(Admission::Unknown) => Err(Refusal::call(-32602, format!("Unknown tool: {tool}")).of(Some(&id))),
        Ok(Admission::Refused(notice)) => Ok(Answer::Text(result::notice(&id, &notice))),
        Ok(Admission::Allowed(pass)) => {
            let wording = pass.wording();
            let send = |relay, cancel| async move { result::sent(&id, wording, &pass.send(Some(relay), cancel).await) };
            Ok(relay::answer(entry, progress_token, &caller.state.tasks, send).await)
        }
        Ok(Admission::Waiting(seat)) => {
            entry.waits_for(seat.call());
            let progress = progress_token.map(|token| Progress { token, message: format!("Waiting for a person to approve {tool} ({})", seat.call()) });
            Ok(held::answer(caller, Waiting { seat, entry, id, progress }))
        }
    }
}
