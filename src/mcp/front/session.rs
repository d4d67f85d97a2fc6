//! The session at the gateway. The client makes it once; when the gateway has forgotten it (404), the client's own
//! `initialize` and `notifications/initialized` are said again for it, and their answers are not shown. One renewal
//! serves every request that found the session gone. Called by `mod` (begin) and by whoever posts.

use super::bridge::Front;
use super::gateway::{self, Answer, Failure, Headers, is_away};
use super::line::{self, Asked, Message};
use super::pause::Pause;
use super::told::{self, Lost};
use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// A notification of ours, in the place of one that the client never sent.
const INITIALIZED: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// One session.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Counts up; 0 is none.
    pub number: u64,
    pub headers: Headers,
}

#[derive(Clone)]
enum Phase {
    /// The client has not said `initialize`, or was refused.
    Fresh,
    Opening,
    Open(Arc<Session>),
}

/// The session of this front.
pub(super) struct Sessions {
    phase: watch::Sender<Phase>,
    hello: Mutex<Hello>,
    renewing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Hello {
    said: Option<(Bytes, Asked)>,
    /// What was agreed on: another revision in a renewed session would not be the client's.
    revision: Option<String>,
    count: u64,
}

/// What became of an `initialize`.
enum Welcome {
    /// What the client is to see, and the session.
    Open(Vec<String>, Headers, String),
    /// An answer without a session: an error of JSON-RPC, which says what.
    Answered(Vec<String>),
    /// For good: 401, 403 or 404, with the body.
    Refused(StatusCode, String),
    /// A gateway that is not there yet.
    Away,
}

/// How the client's own `initialize` ended, when not well.
pub(super) enum Refusal {
    /// It would be refused again; a sentence, and what the client is told.
    ForGood(String),
    Unreachable,
}

impl Sessions {
    pub(super) fn new() -> Sessions {
        Sessions { phase: watch::Sender::new(Phase::Fresh), hello: Mutex::default(), renewing: tokio::sync::Mutex::default() }
    }

    fn hello(&self) -> MutexGuard<'_, Hello> {
        self.hello.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on messages wait for the session. Gives the one that was there before; `None` when one is being made
    /// already.
    pub(super) fn begin(&self) -> Option<Option<Arc<Session>>> {
        match self.phase.send_replace(Phase::Opening) {
            Phase::Opening => None,
            Phase::Fresh => Some(None),
            Phase::Open(old) => Some(Some(old)),
        }
    }

    /// The session; one without a name before there is any.
    pub(super) async fn current(&self) -> Arc<Session> {
        let mut phase = self.phase.subscribe();
        let settled = phase.wait_for(|phase| !matches!(phase, Phase::Opening)).await;
        match settled.as_deref() {
            Ok(Phase::Open(session)) => session.clone(),
            Ok(Phase::Fresh | Phase::Opening) | Err(_) => Arc::default(),
        }
    }

    /// Says the client's `initialize` until it is answered or `wait` is over.
    pub(super) async fn open(&self, front: &Front, message: &Message, wait: Duration) -> Result<(), Refusal> {
        let Some(asked) = message.asked.first() else { return Ok(()) };
        let mut pause = Pause::new(wait);
        loop {
            match welcome(front, &message.text, asked).await {
                Ok(Welcome::Open(texts, headers, revision)) => {
                    {
                        let mut hello = self.hello();
                        hello.said = Some((message.text.clone(), asked.clone()));
                        hello.revision = Some(revision);
                    }
                    // Before the client can see the answer.
                    self.is_open(headers);
                    front.say_all(texts).await;
                    return Ok(());
                }
                Ok(Welcome::Answered(texts)) => {
                    self.phase.send_replace(Phase::Fresh);
                    front.say_all(texts).await;
                    return Ok(());
                }
                Ok(Welcome::Refused(status, body)) => return Err(Refusal::ForGood(sentence(status, &body))),
                Ok(Welcome::Away) | Err(_) => {
                    if !pause.again().await {
                        return Err(Refusal::Unreachable);
                    }
                }
            }
        }
    }

    /// A session in the place of the one with this number, which is gone.
    pub(super) async fn renew(&self, front: &Front, gone: u64) -> Result<Arc<Session>, Lost> {
        let _one_at_a_time = self.renewing.lock().await;
        let current = self.current().await;
        if current.number != gone {
            return Ok(current);
        }
        let (said, agreed) = {
            let hello = self.hello();
            (hello.said.clone(), hello.revision.clone())
        };
        let Some((text, asked)) = said else { return Err(Lost::Refused("There is no session; begin with initialize.".to_owned())) };
        let mut pause = Pause::new(front.patience);
        loop {
            match welcome(front, &text, &asked).await {
                Ok(Welcome::Open(_, headers, revision)) if Some(&revision) == agreed.as_ref() => {
                    // Some servers take nothing before it.
                    let _ = front.gateway.tell(Bytes::from_static(INITIALIZED), &headers).await;
                    let session = self.is_open(headers);
                    front.note("the gateway had forgotten the session; a new one was made");
                    return Ok(session);
                }
                Ok(Welcome::Open(..)) => return Err(Lost::Refused("The gateway speaks another revision of MCP than before; restart the client.".to_owned())),
                Ok(Welcome::Refused(status, body)) => return Err(Lost::Refused(sentence(status, &body))),
                Ok(Welcome::Answered(_)) => return Err(Lost::Refused("The gateway refused to begin a new session.".to_owned())),
                Ok(Welcome::Away) | Err(_) => {
                    if !pause.again().await {
                        return Err(Lost::NeverLeft);
                    }
                }
            }
        }
    }

    fn is_open(&self, headers: Headers) -> Arc<Session> {
        let number = {
            let mut hello = self.hello();
            hello.count += 1;
            hello.count
        };
        let session = Arc::new(Session { number, headers });
        self.phase.send_replace(Phase::Open(session.clone()));
        session
    }

    /// The session as it is now, without waiting.
    pub(super) fn last(&self) -> Option<Arc<Session>> {
        match &*self.phase.borrow() {
            Phase::Open(session) => Some(session.clone()),
            Phase::Fresh | Phase::Opening => None,
        }
    }
}

/// One `initialize`, which does nothing that a second one would do twice.
async fn welcome(front: &Front, text: &Bytes, asked: &Asked) -> Result<Welcome, Failure> {
    let response = front.gateway.post(text.clone(), &Headers::default(), &Arc::default()).await?;
    let (status, session) = (response.status(), gateway::session_of(&response));
    let texts = match gateway::read(response).await {
        Answer::Events(mut events) => {
            let mut texts = Vec::new();
            while let Some(Ok(event)) = events.next().await {
                texts.extend(event.data.filter(|data| !data.is_empty()));
            }
            texts
        }
        Answer::Body(body) => body.into_iter().filter(|body| !body.trim().is_empty()).collect(),
    };
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) {
        return Ok(Welcome::Refused(status, texts.concat()));
    }
    if is_away(status) || texts.is_empty() {
        return Ok(Welcome::Away);
    }
    let answer = texts.iter().find(|text| line::answered(text).contains(&asked.key));
    let answer = answer.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let revision = answer.as_ref().and_then(|answer| answer["result"]["protocolVersion"].as_str());
    Ok(match revision.filter(|_| status.is_success()) {
        Some(revision) => {
            let headers = Headers { session, revision: HeaderValue::from_str(revision).ok() };
            Welcome::Open(texts, headers, revision.to_owned())
        }
        None => Welcome::Answered(texts.into_iter().map(|text| named(text, asked)).collect()),
    })
}

/// The same text, or its error under the id of who asked when it names nobody.
fn named(text: String, asked: &Asked) -> String {
    line::nameless_error(&text).map_or(text, |error| told::error_of(&asked.id, &error))
}

/// Why this client is not let in, and what to do.
pub(super) fn sentence(status: StatusCode, body: &str) -> String {
    let why = line::nameless_error(body).and_then(|error| serde_json::from_str::<Value>(&error).ok());
    let why = why.and_then(|error| error["message"].as_str().map(|why| format!("{} ", why.chars().take(500).collect::<String>()))).unwrap_or_default();
    let what = match status {
        StatusCode::UNAUTHORIZED => "The gateway does not know the token, or it was revoked or has expired; `paraph agent add` makes one.",
        StatusCode::FORBIDDEN => "The gateway does not let this agent in; `paraph agent list` says which servers it may use.",
        StatusCode::NOT_FOUND => "What answers at this URL has no such server; `paraph connect --help` says what the URL looks like.",
        _ => return format!("{why}The gateway answered HTTP {}.", status.as_u16()),
    };
    format!("{why}{what}")
}
