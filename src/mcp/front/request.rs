//! The life of one request (or batch): posted once, followed until its last answer, resumed when its stream breaks.
//! It is posted again only when that cannot do anything twice: when it provably never arrived, when the gateway answered
//! that it has no such session, or when its method changes nothing. What the client takes back is told to the gateway
//! by this task, so that it can never overtake the request. Started by `mod`.

use super::bridge::{Cancel, Front, Place};
use super::gateway::{self, Answer, Failure, is_away};
use super::line::{self, Asked, Message};
use super::pause::Pause;
use super::session::{Session, sentence};
use super::told::{self, Lost};
use crate::mcp::upstream::leave::Leave;
use crate::mcp::upstream::sse::Events;
use bytes::Bytes;
use reqwest::{Response, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Sessions made anew for one request: a gateway that forgets each at once is no gateway.
const RENEWALS: u32 = 3;
/// Before a broken stream is resumed, when the gateway named no time.
const RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// A gateway that is there answers a GET at once.
const GET: Duration = Duration::from_secs(30);
/// JSON-RPC: the method does not exist.
const NO_METHOD: i64 = -32601;

/// Methods of MCP that do the same when they are asked twice.
const REPEATABLE: [&str; 13] = [
    "ping",
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "logging/setLevel",
    "tasks/get",
    "tasks/list",
];

/// What to do after an attempt.
enum Next {
    Done,
    /// Nothing was done; post it again.
    Again,
    /// The same, when the gateway is there again.
    Later(Lost),
    Lost(Lost),
}

/// One request on its way.
pub(super) struct Request {
    front: Arc<Front>,
    message: Message,
    place: Place,
    /// Who has no answer yet and still wants one.
    waiting: Vec<Asked>,
    /// Told to the gateway when the stream opens: what was told before may have come before the request, or to a gateway
    /// that died of something else.
    untold: Vec<Bytes>,
    /// Until it waits in a stream.
    quick: Option<TaskTrackerToken>,
}

impl Request {
    pub(super) fn new(front: Arc<Front>, message: Message, place: Place, quick: TaskTrackerToken) -> Request {
        let waiting = message.asked.clone();
        Request { front, message, place, waiting, untold: Vec::new(), quick: Some(quick) }
    }

    /// Until everybody has an answer.
    pub(super) async fn run(mut self) {
        let Some(lost) = self.exchange().await else { return };
        let told: Vec<String> = self.waiting.iter().map(|asked| lost.told(asked)).collect();
        self.front.say_all(told).await;
    }

    async fn exchange(&mut self) -> Option<Lost> {
        let (mut pause, mut renewals) = (Pause::new(self.front.patience), 0);
        loop {
            let front = self.front.clone();
            let session = tokio::select! {
                biased;
                Some(cancel) = self.place.cancels.recv() => {
                    if self.kept_back(cancel) {
                        return None;
                    }
                    continue;
                }
                session = front.ready() => session,
            };
            let next = match self.post(&session).await {
                None => return None,
                Some(Err(Failure::NeverLeft)) => Next::Later(Lost::NeverLeft),
                Some(Err(Failure::Broke)) => self.broke(),
                Some(Ok(response)) => {
                    pause.well();
                    self.answer(response, &session, &mut renewals).await
                }
            };
            match next {
                Next::Done => return None,
                Next::Again => {}
                Next::Lost(lost) => return Some(lost),
                Next::Later(lost) => loop {
                    tokio::select! {
                        biased;
                        Some(cancel) = self.place.cancels.recv() => {
                            if self.kept_back(cancel) {
                                return None;
                            }
                        }
                        more = pause.again() => if more { break } else { return Some(lost) },
                    }
                },
            }
        }
    }

    /// A cancel while nothing is at the gateway; true when nothing has to go there any more.
    fn kept_back(&mut self, cancel: Cancel) -> bool {
        self.no_longer_waits(cancel);
        !self.message.batch
    }

    /// Posts it once; `None` when the client took it back before it left.
    async fn post(&mut self, session: &Arc<Session>) -> Option<Result<Response, Failure>> {
        let (front, text, leave) = (self.front.clone(), self.message.text.clone(), Arc::new(Leave::default()));
        let mut posting = std::pin::pin!(front.gateway.post(text, &session.headers, &leave));
        loop {
            tokio::select! {
                response = &mut posting => return Some(response),
                Some(cancel) = self.place.cancels.recv() => {
                    if !self.message.batch && leave.stay() {
                        self.kept_back(cancel);
                        return None;
                    }
                    self.front.tell_beside(cancel.text.clone(), CancellationToken::new());
                    self.no_longer_waits(cancel);
                }
            }
        }
    }

    /// The client wants no answer; the gateway is told when the stream is open.
    fn no_longer_waits(&mut self, cancel: Cancel) {
        self.waiting.retain(|asked| asked.key != cancel.key);
        self.untold.push(cancel.text);
    }

    /// The connection broke after the request had left.
    fn broke(&self) -> Next {
        let repeatable = self.message.asked.iter().all(|asked| REPEATABLE.contains(&asked.method.as_str()));
        if repeatable && !self.message.batch { Next::Later(Lost::Unknown) } else { Next::Lost(Lost::Unknown) }
    }

    async fn answer(&mut self, response: Response, session: &Session, renewals: &mut u32) -> Next {
        let status = response.status();
        let body = match gateway::read(response).await {
            Answer::Events(events) => return self.follow(events).await,
            Answer::Body(None) => return self.broke(),
            Answer::Body(Some(body)) => body,
        };
        let refused = line::error_code(&body);
        if status == StatusCode::NOT_FOUND && session.headers.session.is_some() && refused != Some(NO_METHOD) {
            *renewals += 1;
            if *renewals > RENEWALS {
                return Next::Lost(Lost::Refused(sentence(status, &body)));
            }
            return match self.front.sessions.renew(&self.front, session.number).await {
                Ok(_) => Next::Again,
                Err(lost) => Next::Lost(lost),
            };
        }
        if !status.is_success() && refused.is_none() {
            // Not the gateway's own words.
            return match is_away(status) || status.is_server_error() {
                true => self.broke(),
                false => Next::Lost(Lost::Refused(sentence(status, &body))),
            };
        }
        self.pass(&body).await;
        // Without a body it was taken back, or what answers is no gateway.
        if self.waiting.is_empty() { Next::Done } else { Next::Lost(Lost::Unknown) }
    }

    /// Hands a text on and notes whom it answers. A refusal that names nobody is for all of them.
    async fn pass(&mut self, text: &str) {
        if let Some(error) = line::nameless_error(text) {
            let told: Vec<String> = self.waiting.drain(..).map(|asked| told::error_of(&asked.id, &error)).collect();
            return self.front.say_all(told).await;
        }
        let answered = line::answered(text);
        if self.front.say(text).await {
            self.waiting.retain(|asked| !answered.contains(&asked.key));
        }
    }

    /// Reads a stream to its end, also after the answer: who hangs up early has not got it (semantics.md 8).
    async fn follow(&mut self, mut events: Events) -> Next {
        self.quick = None;
        let (mut last_event, mut retry) = (None::<String>, RETRY);
        loop {
            let (open, mut told) = (CancellationToken::new(), std::mem::take(&mut self.untold));
            told.iter().for_each(|cancel| self.front.tell_beside(cancel.clone(), open.clone()));
            let whole = loop {
                let event = tokio::select! {
                    biased;
                    Some(cancel) = self.place.cancels.recv() => {
                        self.front.tell_beside(cancel.text.clone(), open.clone());
                        self.no_longer_waits(cancel);
                        told.append(&mut self.untold);
                        continue;
                    }
                    event = events.next() => event,
                };
                let Some(Ok(event)) = event else { break event.is_none() };
                last_event = event.id.or(last_event);
                retry = event.retry.map_or(retry, |retry| Duration::from_millis(retry).min(LONGEST_RETRY));
                if let Some(data) = event.data.filter(|data| !data.is_empty()) {
                    self.pass(&data).await;
                }
            };
            if !whole {
                // Nothing is told in the stream's place: the next gateway would not know yet what it is about.
                open.cancel();
                self.untold = told;
            }
            if self.waiting.is_empty() && (self.untold.is_empty() || last_event.is_none()) {
                return Next::Done;
            }
            let Some(id) = &last_event else { return self.broke() };
            events = match self.resume(id, retry).await {
                Ok(events) => events,
                Err(next) => return next,
            };
        }
    }

    /// Opens the rest of a broken stream, which executes nothing (MCP 2025-11-25, transports, "Resumability").
    async fn resume(&mut self, last_event: &str, retry: Duration) -> Result<Events, Next> {
        let (mut pause, mut renewed) = (Pause::new(self.front.patience), false);
        let mut wait = std::pin::pin!(tokio::time::sleep(retry));
        loop {
            tokio::select! {
                biased;
                Some(cancel) = self.place.cancels.recv() => {
                    // Not before the stream is open again: a cancel that came first would find nothing to cancel.
                    self.no_longer_waits(cancel);
                }
                () = &mut wait => break,
            }
        }
        loop {
            let front = self.front.clone();
            let session = front.sessions.current().await;
            let got = tokio::time::timeout(GET, front.gateway.get(Some(last_event), &session.headers)).await;
            if let Ok(Ok(response)) = got {
                let status = response.status();
                let body = match gateway::read(response).await {
                    Answer::Events(events) => return Ok(events),
                    Answer::Body(body) => body.unwrap_or_default(),
                };
                match status {
                    StatusCode::NOT_FOUND if !renewed => {
                        renewed = true;
                        if let Err(lost) = front.sessions.renew(&front, session.number).await {
                            return Err(Next::Lost(if lost == Lost::NeverLeft { Lost::Held } else { lost }));
                        }
                        continue;
                    }
                    StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(Next::Lost(Lost::Refused(sentence(status, &body)))),
                    StatusCode::CONFLICT => {}
                    _ if status.is_server_error() => {}
                    _ => return Err(Next::Lost(Lost::Held)),
                }
            }
            loop {
                tokio::select! {
                    biased;
                    Some(cancel) = self.place.cancels.recv() => self.no_longer_waits(cancel),
                    more = pause.again() => if more { break } else { return Err(Next::Lost(Lost::Held)) },
                }
            }
        }
    }
}
