//! One message of an agent in its session: taken up, which costs no time and notes that a request is under way,
//! then carried out, which may take as long as a person thinks. Apart, so that all messages of a batch are under
//! way before the first is carried out. Nothing reaches a server that is not in the agreed revision, and no
//! `tools/call` that the gate has not judged. Called by `http` and `batch`.

use super::answer::Answer;
use super::error::Refusal;
use super::http::Caller;
use super::message::{self, Id, Message, Read};
use super::session::{Cancelled, Entry, Session};
use super::upstream::Reply;
use super::upstream::wire::Members;
use super::{call, list, relay, result};
use ::http::StatusCode;
use serde_json::value::RawValue;
use std::sync::Arc;

/// What a message asks for. It owns its parts, so that it can be carried out in a task.
pub(super) enum Work {
    /// `tools/call`.
    Call { id: Id, entry: Entry, asked: Box<call::Asked> },
    /// Every other request.
    Pass { id: Id, entry: Entry, method: String, params: Option<Box<RawValue>> },
    /// A notification.
    Tell { method: String, params: Option<Box<RawValue>> },
    /// The answer to a request of the server.
    Respond { id: Id, reply: Reply },
}

impl Work {
    /// Whether it is a request.
    pub(super) fn wants_answer(&self) -> bool {
        matches!(self, Work::Call { .. } | Work::Pass { .. })
    }
}

impl Caller {
    /// Takes up a message; a request is under way from now on, under its id.
    pub(super) fn take_up(&self, session: &Arc<Session>, read: Read<'_>) -> Result<Work, Refusal> {
        let Read { message, value } = read;
        let owned = |params: Option<&RawValue>| params.map(ToOwned::to_owned);
        Ok(match message {
            Message::Request { id, method, params } => {
                let entry = session.begin(&id).ok_or_else(|| {
                    let why = "A request with this id is under way in this session, or too many requests are.";
                    Refusal::new(StatusCode::BAD_REQUEST, -32600, why).of(Some(&id))
                })?;
                if method == "tools/call" {
                    let read = call::read(&self.agent, &self.server, params, value, self.now.arguments);
                    let asked = read.map_err(|refusal| refusal.of(Some(&id)))?;
                    Work::Call { id, entry, asked: Box::new(asked) }
                } else {
                    Work::Pass { id, entry, method, params: owned(params) }
                }
            }
            Message::Notification { method, params } => Work::Tell { method, params: owned(params) },
            Message::Response { id, answer } => {
                Work::Respond { id, reply: answer.map_or_else(|error| Reply::Error(error.to_owned()), |result| Reply::Result(result.to_owned())) }
            }
        })
    }

    /// Carries it out, up to its answer or to the stream that the answer comes over.
    pub(super) async fn carry_out(&self, session: &Session, work: Work) -> Result<Answer, Refusal> {
        match work {
            Work::Call { id, entry, asked } => call::answer(self, id, entry, *asked).await,
            Work::Pass { id, entry, method, params } => self.pass(session, id, method, params, entry).await,
            Work::Tell { method, params } => self.notification(session, &method, params.as_deref()).await.map(|()| Answer::Nothing),
            Work::Respond { id, reply } => {
                self.response(session, &id, reply).await;
                Ok(Answer::Nothing)
            }
        }
    }

    /// Every request but `tools/call`.
    async fn pass(&self, session: &Session, id: Id, method: String, params: Option<Box<RawValue>>, entry: Entry) -> Result<Answer, Refusal> {
        if method == "ping" {
            return Ok(Answer::Text(result::response(&id, "{}")));
        }
        if !(session.revision.requests(&method) || self.extra(&method)) {
            return Err(Refusal::call(-32601, "There is no such method here.").of(Some(&id)));
        }
        let state = &self.state;
        let peer = state.upstreams.peer(&self.server, &self.agent.name, None).await.map_err(|error| self.unreachable(&error.sentence).of(Some(&id)))?;
        let token = params.as_ref().and_then(|params| {
            let members = Members::read(params.get())?;
            Some(Members::read(members.get("_meta")?.get())?.get("progressToken")?.get().to_owned())
        });
        let (gate, server, agent) = (state.gate.clone(), self.server.clone(), self.agent.name.clone());
        let answer = relay::answer(entry, token, &state.tasks, |relay, cancel| async move {
            match peer.request(&method, params.as_deref(), Some(relay), cancel).await {
                Ok(Reply::Result(body)) if method == "tools/list" => match list::without(body.get(), |tool| gate.hides(&server, &agent, tool)) {
                    Some(body) => result::response(&id, &body),
                    None => result::failed(&id, Refusal::call(-32603, format!("Server {server} answered tools/list with something that is no list of tools."))),
                },
                Ok(reply) => result::reply(&id, &reply),
                Err(failure) => result::failed(&id, Refusal::call(-32603, failure.to_string())),
            }
        });
        Ok(answer.await)
    }

    /// Whether the operator lets this method pass; never one that a lenient server could take for `tools/call`, which
    /// is judged, or for `tools/list`, which is filtered.
    fn extra(&self, method: &str) -> bool {
        let plain: String = message::folded(method).chars().filter(|letter| letter.is_alphanumeric()).collect();
        let ours = ["toolscall", "toolslist"].iter().any(|method| plain.contains(method));
        !ours && self.now.servers.get(&self.server).is_some_and(|globs| globs.is_match(method))
    }

    async fn notification(&self, session: &Session, method: &str, params: Option<&RawValue>) -> Result<(), Refusal> {
        match method {
            "tools/call" => self.state.gate.note_dropped(&self.agent, &self.server).await?,
            "notifications/cancelled" => {
                let named = params.and_then(|params| Members::read(params.get())).and_then(|params| params.get("requestId").and_then(Id::read));
                if let Some(Cancelled::Left(call)) = named.map(|id| session.cancel(&id)) {
                    self.state.gate.cancel_late(&call).await?;
                }
            }
            _ if session.revision.notifications(method) || self.extra(method) => {
                let peer = self.state.upstreams.peer(&self.server, &self.agent.name, None).await;
                let told = match &peer {
                    Ok(peer) => peer.notify(method, params).await.map_err(|failure| failure.to_string()),
                    Err(error) => Err(error.sentence.clone()),
                };
                // Nobody waits for the answer to a notification.
                if let Err(why) = told {
                    tracing::info!(server = self.server, agent = self.agent.name, why, "a notification did not reach the server");
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn response(&self, session: &Session, id: &Id, reply: Reply) {
        let Some(theirs) = session.answers(id) else { return };
        let told = match self.state.upstreams.peer(&self.server, &self.agent.name, None).await {
            Ok(peer) => peer.respond(&theirs, reply).await.map_err(|failure| failure.to_string()),
            Err(error) => Err(error.sentence),
        };
        if let Err(why) = told {
            tracing::info!(server = self.server, agent = self.agent.name, why, "an agent's answer did not reach the server");
        }
    }
}
