//! "Look again", pushed to open pages and to the API as server-sent events. An event names a call and its state
//! and nothing else; the receiver reads the rest with its own rights. A stream asks at every event, and once a
//! minute, whether its person may still be there; it ends when they may not and when the process goes down. What happens at
//! once is told of together. A page is told of many calls at once only that there is much to look at: ten thousand
//! decisions are a few events for it. A program waits for the ids, so it gets each, and "look" when it could not keep up.

use super::WebState;
use super::notices;
use super::page;
use super::session::SignedIn;
use crate::domain::call::CallId;
use crate::gate::{Hint, Reviewer};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, BoxStream, SelectAll};
use futures_util::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use serde_json::json;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_stream::wrappers::{BroadcastStream, WatchStream};

/// How often a silent stream asks whether its person may still be there.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// How often a comment keeps proxies from closing a silent stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Between two looks at what was heard; the first is at once.
const PACE: Duration = Duration::from_millis(250);
/// The same after an event that says to look at everything, which costs the receiver more.
const AFTER_EVERYTHING: Duration = Duration::from_secs(1);
/// News that are heard in one go: more than all sources keep for a reader that is behind.
const AT_ONCE: usize = 4096;

/// What a stream was opened with.
pub enum Credential {
    /// A session cookie, by a page.
    Session(String),
    /// An API token, by a program.
    Token(String),
}

impl Credential {
    /// Calls between two looks that are told of one by one; of more it is told that anything may have changed.
    fn one_by_one(&self) -> usize {
        match self {
            Credential::Session(_) => 20,
            Credential::Token(_) => 2_000,
        }
    }

    /// What was held longer than this before a stream was opened is not new: it stands in the list that the first event asks
    /// for. A call is on record a little later than it says that it was held. A page shows what is new to a person, so it
    /// must not call new what only was mailed or read meanwhile; a program is rather told once too often.
    fn before(&self) -> Duration {
        match self {
            Credential::Session(_) => Duration::from_secs(5),
            Credential::Token(_) => Duration::from_secs(60),
        }
    }

    /// Calls of which a stream knows what it told last; about a quarter of a kilobyte each.
    fn remembered(&self) -> usize {
        match self {
            Credential::Session(_) => 500,
            Credential::Token(_) => 2_000,
        }
    }
}

/// `GET /live`: for open pages.
pub async fn stream(by: SignedIn, State(state): State<WebState>) -> Response {
    match open(&state, Credential::Session(by.secret.clone())) {
        Some(response) => response,
        None => {
            let detail = "The page works without live updates; load it again to see what is new. An operator can raise bounds.live_pages.";
            let mut response = page::problem(&state, Some(&by), StatusCode::SERVICE_UNAVAILABLE, "Too many pages are open", detail).await;
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("30"));
            response
        }
    }
}

/// Opens a stream; `None` when there are too many.
pub fn open(state: &WebState, credential: Credential) -> Option<Response> {
    let permit = state.streams.clone().try_acquire_owned().ok()?;
    // Everything is subscribed to before the first event tells the receiver to look, so nothing is missed.
    let sources = stream::select_all([
        source(state.gate.watch(), |hint: Hint| hint.call.map_or(News::Rows, News::Changed)),
        source(state.gate.watch_presence(), News::Presence),
        WatchStream::from_changes(state.settings.standing.subscribe()).map(|_| News::Missed).boxed(),
        WatchStream::from_changes(state.gate.troubles()).map(|_| News::Missed).boxed(),
        WatchStream::from_changes(state.gate.mailing().subscribe()).map(|_| News::Missed).boxed(),
    ]);
    let feed = Feed {
        state: state.clone(),
        told: Told::of(credential.remembered()),
        since: state.gate.clock().now() - credential.before(),
        credential,
        sources,
        switch: None,
        ready: VecDeque::new(),
        not_before: Instant::now(),
        _permit: permit,
    };
    let events = stream::unfold(feed, |mut feed| async move {
        let event = feed.next().await?;
        Some((Ok::<Event, Infallible>(event), feed))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // A proxy that collects answers would keep every event until the stream ends.
    response.headers_mut().insert("x-accel-buffering", header::HeaderValue::from_static("no"));
    Some(response)
}

/// What a source says.
enum News {
    /// This call may have changed.
    Changed(CallId),
    /// The agent of this call came or left; the record is the same.
    Presence(CallId),
    /// Something that is no call may have changed.
    Rows,
    /// The source fell behind, or tells of no detail: anything may have changed.
    Missed,
    /// The source ended.
    Over,
}

/// One source of news; it ends with [`News::Over`].
fn source<T: Clone + Send + 'static>(receiver: broadcast::Receiver<T>, said: fn(T) -> News) -> BoxStream<'static, News> {
    let heard = BroadcastStream::new(receiver).map(move |heard| match heard {
        Ok(heard) => said(heard),
        Err(BroadcastStreamRecvError::Lagged(_)) => News::Missed,
    });
    heard.chain(stream::once(async { News::Over })).boxed()
}

/// What was said between two looks.
struct Heard {
    /// These calls, and whether each may be new.
    calls: Vec<(CallId, bool)>,
    /// Where each of them stands there.
    places: HashMap<CallId, usize>,
    /// Calls that it takes.
    most: usize,
    /// Something that is no call.
    rows: bool,
    /// Anything may have changed.
    everything: bool,
}

impl Heard {
    fn of(most: usize) -> Heard {
        Heard { calls: Vec::new(), places: HashMap::new(), most, rows: false, everything: false }
    }

    /// `None` when the source has ended.
    fn hear(&mut self, news: News) -> Option<()> {
        match news {
            News::Changed(id) => self.call(id, true),
            News::Presence(id) => self.call(id, false),
            News::Rows => self.rows = true,
            News::Missed => self.everything = true,
            News::Over => return None,
        }
        Some(())
    }

    fn call(&mut self, id: CallId, may_be_new: bool) {
        if let Some((_, new)) = self.places.get(&id).and_then(|place| self.calls.get_mut(*place)) {
            *new |= may_be_new;
        } else if self.calls.len() < self.most {
            self.places.insert(id.clone(), self.calls.len());
            self.calls.push((id, may_be_new));
        } else {
            self.everything = true;
        }
    }
}

struct Feed {
    state: WebState,
    credential: Credential,
    sources: SelectAll<BoxStream<'static, News>>,
    /// The kill switch's revision as it was last told of; `None` before the first event.
    switch: Option<u64>,
    told: Told,
    /// A call that was held before this is not new to the receiver.
    since: Timestamp,
    /// Events that are to be given.
    ready: VecDeque<Event>,
    /// When what was heard is looked at again.
    not_before: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    /// The next event; `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        if self.switch.is_none() {
            self.switch = Some(notices::switch(&self.state).await.revision);
            return Some(look_at_everything());
        }
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let heard = self.listen().await?;
            let reviewer = self.reviewer().await?;
            self.look(&reviewer, heard).await;
        }
    }

    /// What was said since the last look; nothing after a silent minute. `None` when the sources or the process end.
    async fn listen(&mut self) -> Option<Heard> {
        let draining = self.state.gate.draining();
        let mut heard = Heard::of(self.credential.one_by_one());
        let first = tokio::select! {
            () = draining.cancelled() => return None,
            news = self.sources.next() => news?,
            () = tokio::time::sleep(ASK_AGAIN) => return Some(heard),
        };
        heard.hear(first)?;
        let names_each = matches!(self.credential, Credential::Token(_));
        loop {
            tokio::select! {
                biased;
                () = draining.cancelled() => return None,
                () = tokio::time::sleep_until(self.not_before) => break,
                // What a program is to be told of by name must not fall out of the sources meanwhile.
                news = self.sources.next(), if names_each => heard.hear(news?)?,
            }
        }
        for _ in 0..AT_ONCE {
            // All that is there: by itself a source gives a part of it, so that other tasks get their turn.
            let Some(news) = unconstrained(self.sources.next()).now_or_never() else { break };
            heard.hear(news?)?;
        }
        Some(heard)
    }

    /// Makes events of what was heard.
    async fn look(&mut self, reviewer: &Reviewer, heard: Heard) {
        let turned = heard.rows && self.switch_was_turned().await;
        let everything = turned || heard.everything;
        if everything {
            self.told.forget_looks();
            self.ready.push_back(look_at_everything());
        }
        if !everything || matches!(self.credential, Credential::Token(_)) {
            for (id, may_be_new) in heard.calls {
                let event = self.about(reviewer, &id, may_be_new).await;
                self.ready.extend(event);
            }
        }
        self.not_before = Instant::now() + if everything { AFTER_EVERYTHING } else { PACE };
    }

    /// The event about one call, if this person may see it and sees something else than the receiver was told of last.
    async fn about(&mut self, reviewer: &Reviewer, id: &CallId, may_be_new: bool) -> Option<Event> {
        let (state, look, held_at) = reviewer.glance(id).await.ok()?;
        let name = self.told.event(id, look, may_be_new && state == "held" && held_at >= self.since)?;
        Some(Event::default().event(name).data(json!({ "id": id, "state": state }).to_string()))
    }

    /// A hint about rows does not say which: only the kill switch concerns open pages.
    async fn switch_was_turned(&mut self) -> bool {
        let now = Some(notices::switch(&self.state).await.revision);
        std::mem::replace(&mut self.switch, now) != now
    }

    /// The person, if they may still be there.
    async fn reviewer(&mut self) -> Option<Reviewer> {
        let gate = &self.state.gate;
        let found = match &self.credential {
            Credential::Session(secret) => gate.by_session(secret).await,
            Credential::Token(secret) => gate.by_api_token(secret).await,
        };
        found.ok().flatten()
    }
}

fn look_at_everything() -> Event {
    Event::default().event("look").data("{}")
}

/// What a stream has told of: a call is written about for reasons that nobody sees, such as a mail that left.
struct Told {
    /// How many calls it remembers.
    most: usize,
    calls: HashMap<CallId, Last>,
    /// The oldest first.
    order: VecDeque<CallId>,
}

/// What was told of one call.
struct Last {
    /// `None` after "look at everything": what the receiver saw then is not known here.
    look: Option<String>,
    /// It was told of as one that may be new.
    held: bool,
}

impl Told {
    fn of(most: usize) -> Told {
        Told { most, calls: HashMap::new(), order: VecDeque::new() }
    }

    /// The receiver looks at everything, and may see what it was not told of: whatever comes next is told.
    fn forget_looks(&mut self) {
        self.calls.values_mut().for_each(|last| last.look = None);
    }

    /// The event's name, or `None` when there is nothing new. `call.held` says that the call may be new to the receiver, and
    /// comes once.
    fn event(&mut self, id: &CallId, look: String, held: bool) -> Option<&'static str> {
        let name = |held| if held { "call.held" } else { "call.changed" };
        if let Some(last) = self.calls.get_mut(id) {
            let first = held && !last.held;
            let same = last.look.as_ref() == Some(&look) && !first;
            last.look = Some(look);
            last.held |= held;
            return (!same).then_some(name(first));
        }
        self.order.push_back(id.clone());
        self.calls.insert(id.clone(), Last { look: Some(look), held });
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.calls.remove(&oldest);
        }
        Some(name(held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> CallId {
        CallId(name.to_owned())
    }

    #[test]
    fn a_call_is_told_of_as_held_once_and_as_changed_only_when_it_looks_different() {
        let mut told = Told::of(9);
        let mut events = |look: &str, held| told.event(&id("a"), look.to_owned(), held);
        assert_eq!(events("1", true), Some("call.held"));
        assert_eq!(events("1", true), None);
        assert_eq!(events("1", false), None);
        assert_eq!(events("2", false), Some("call.changed"));
        assert_eq!(events("1", true), Some("call.changed"), "it is held again, and not new");
    }

    #[test]
    fn a_call_whose_agent_was_told_of_first_is_still_told_of_as_held() {
        let mut told = Told::of(9);
        assert_eq!(told.event(&id("a"), "1".to_owned(), false), Some("call.changed"));
        assert_eq!(told.event(&id("a"), "1".to_owned(), true), Some("call.held"));
        assert_eq!(told.event(&id("a"), "1".to_owned(), true), None);
    }

    #[test]
    fn after_a_look_at_everything_a_call_is_told_of_again_and_is_not_new() {
        let mut told = Told::of(9);
        assert_eq!(told.event(&id("a"), "waiting".to_owned(), true), Some("call.held"));
        told.forget_looks();
        assert_eq!(told.event(&id("a"), "waiting".to_owned(), true), Some("call.changed"));
        assert_eq!(told.event(&id("a"), "waiting".to_owned(), true), None);
    }

    #[test]
    fn many_calls_at_once_are_heard_as_everything_and_a_few_one_by_one() {
        let most = Credential::Session(String::new()).one_by_one();
        let mut heard = Heard::of(most);
        for number in 0..most {
            heard.hear(News::Presence(id(&number.to_string()))).unwrap();
            heard.hear(News::Changed(id(&number.to_string()))).unwrap();
        }
        assert!(!heard.everything && heard.calls.len() == most && heard.calls.iter().all(|(_, new)| *new));
        (0..10_000).for_each(|number| heard.hear(News::Changed(id(&number.to_string()))).unwrap());
        assert!(heard.everything && heard.calls.len() == most);
        assert!(heard.hear(News::Over).is_none());
    }

    #[test]
    fn a_stream_remembers_so_many_calls_and_no_more() {
        let mut told = Told::of(5);
        for number in 0..=5 {
            told.event(&id(&number.to_string()), "1".to_owned(), true);
        }
        assert_eq!((told.calls.len(), told.order.len()), (5, 5));
        assert_eq!(told.event(&id("1"), "1".to_owned(), true), None);
    }
}
