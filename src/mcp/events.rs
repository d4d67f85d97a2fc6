//! One SSE answer: a bounded writer on our side, a body on the connection's. The body tells the writer when
//! the connection came back for more after the last event, which is when an answer counts as taken. The requests
//! of a batch have a writer each and share the body, which is a stream only if one of them needs it.
//! Used by `answer`, `batch`, `held`, `relay` and `listen`.

use super::error::json;
use ::http::{HeaderValue, StatusCode, header};
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How often a silent stream says that it lives; proxies and clients give up after 60 s or more.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);
const ALIVE: &[u8] = b": keep-alive\n\n";
/// What a client is asked to wait before it resumes a stream.
const RETRY_MS: u32 = 3_000;
/// Events that a slow connection may lag behind.
const LAG: usize = 16;

enum Event {
    More(Bytes),
    Last(Bytes, oneshot::Sender<()>),
    /// An answer of a batch that needs no stream: a JSON text.
    Plain(String),
}

/// Our side. Dropping it ends the stream, or its part of one.
pub(super) struct Writer {
    /// Boxed, because a channel makes room for 32 at once, and ten thousand streams wait with none in it.
    events: mpsc::Sender<Box<Event>>,
    /// The stream is shared, and keeps itself alive.
    shared: bool,
}

/// The answers to several requests, before it is known whether they need a stream.
pub(super) struct Joint(mpsc::Receiver<Box<Event>>);

/// Opens a stream.
pub(super) fn open() -> (Writer, Response) {
    let (events, waiting) = mpsc::channel(LAG);
    (Writer { events, shared: false }, stream(VecDeque::new(), waiting, None))
}

/// The first writer of several, whose answers come together.
pub(super) fn joint() -> (Writer, Joint) {
    let (events, waiting) = mpsc::channel(LAG);
    (Writer { events, shared: true }, Joint(waiting))
}

impl Joint {
    /// One JSON array, when within `quick` every writer has given its plain answer and is gone; 202 when none gave one.
    /// Otherwise a stream of what there is and of what comes, which ends with the last writer.
    pub(super) async fn response(self, quick: Duration) -> Response {
        let Joint(mut events) = self;
        let (mut texts, mut late) = (Vec::new(), std::pin::pin!(tokio::time::sleep(quick)));
        let streamed = loop {
            tokio::select! {
                biased;
                event = events.recv() => match event.map(|event| *event) {
                    Some(Event::Plain(text)) => texts.push(text),
                    None if texts.is_empty() => return StatusCode::ACCEPTED.into_response(),
                    None => return json(StatusCode::OK, format!("[{}]", texts.join(","))),
                    Some(event) => break Some(event),
                },
                () = &mut late => break None,
            }
        };
        stream(texts.into_iter().map(Event::Plain).chain(streamed).collect(), events, Some(KEEP_ALIVE))
    }
}

/// What is there already, then what comes. `quiet` is how long nothing may come before the stream says that it lives.
fn stream(ahead: VecDeque<Event>, coming: mpsc::Receiver<Box<Event>>, quiet: Option<Duration>) -> Response {
    let body = futures_util::stream::unfold((ahead, coming, None::<oneshot::Sender<()>>), move |(mut ahead, mut coming, taken)| async move {
        if let Some(taken) = taken {
            let _ = taken.send(());
        }
        let next = match (ahead.pop_front(), quiet) {
            (Some(event), _) => Some(event),
            (None, None) => coming.recv().await.map(|event| *event),
            (None, Some(quiet)) => {
                let next = tokio::time::timeout(quiet, coming.recv()).await;
                next.map_or(Some(Event::More(Bytes::from_static(ALIVE))), |event| event.map(|event| *event))
            }
        };
        let (bytes, taken) = match next? {
            Event::More(bytes) => (bytes, None),
            Event::Last(bytes, taken) => (bytes, Some(taken)),
            Event::Plain(text) => (event(None, &text), None),
        };
        Some((Ok::<_, Infallible>(bytes), (ahead, coming, taken)))
    });
    response(Body::from_stream(body))
}

fn response(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl Writer {
    /// The stream's first event: from here it can be resumed. It goes into an empty queue.
    pub(super) fn begin(&self, id: &str) {
        let _ = self.events.try_send(Box::new(Event::More(Bytes::from(format!("id: {id}\nretry: {RETRY_MS}\ndata:\n\n")))));
    }

    /// Waits while the connection is slow; false when it is gone.
    pub(super) async fn message(&self, json: &str) -> bool {
        self.events.send(Box::new(Event::More(event(None, json)))).await.is_ok()
    }

    /// Left out when the connection is slow: a later one tells the same.
    pub(super) fn maybe(&self, json: &str) {
        let _ = self.events.try_send(Box::new(Event::More(event(None, json))));
    }

    /// A comment, so that nobody takes the silence for death.
    pub(super) fn keep_alive(&self) {
        if !self.shared {
            let _ = self.events.try_send(Box::new(Event::More(Bytes::from_static(ALIVE))));
        }
    }

    /// One for another request of the same batch.
    pub(super) fn another(&self) -> Writer {
        Writer { events: self.events.clone(), shared: self.shared }
    }

    /// The answers need a stream from now on.
    pub(super) async fn streams(&self) {
        let _ = self.events.send(Box::new(Event::More(Bytes::from_static(ALIVE)))).await;
    }

    /// An answer that needs no stream.
    pub(super) async fn plain(&self, json: String) {
        let _ = self.events.send(Box::new(Event::Plain(json))).await;
    }

    /// The answer; true when the connection took it and came back.
    pub(super) async fn last(&self, id: Option<&str>, json: &str) -> bool {
        let (sender, taken) = oneshot::channel();
        self.events.send(Box::new(Event::Last(event(id, json), sender))).await.is_ok() && taken.await.is_ok()
    }

    /// Until the connection is gone.
    pub(super) async fn gone(&self) {
        self.events.closed().await;
    }
}

/// A server's JSON may be printed over several lines; between tokens a line end is a line end.
fn event(id: Option<&str>, json: &str) -> Bytes {
    let mut text = String::with_capacity(json.len() + 32);
    if let Some(id) = id {
        text.push_str("id: ");
        text.push_str(id);
        text.push('\n');
    }
    text.push_str("event: message\n");
    for line in json.split(['\n', '\r']).filter(|line| !line.is_empty()) {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;

    #[tokio::test]
    async fn an_answer_counts_as_taken_when_the_connection_comes_back_for_more() {
        let (writer, response) = open();
        let last = tokio::spawn(async move { writer.last(None, "{}").await });
        let mut body = response.into_body().into_data_stream();
        assert_eq!(body.next().await.unwrap().unwrap(), "event: message\ndata: {}\n\n");
        assert!(!last.is_finished());
        assert!(body.next().await.is_none());
        assert!(last.await.unwrap());
    }

    #[tokio::test]
    async fn an_answer_that_the_connection_dropped_was_not_taken() {
        let (writer, response) = open();
        let last = tokio::spawn(async move { writer.last(None, "{}").await });
        let mut body = response.into_body().into_data_stream();
        assert!(body.next().await.is_some());
        drop(body);
        assert!(!last.await.unwrap());
    }

    #[tokio::test]
    async fn a_slow_connection_loses_keep_alives_and_no_message() {
        let (writer, response) = open();
        for _ in 0..LAG * 2 {
            writer.keep_alive();
        }
        let sent = tokio::spawn(async move { writer.message("1").await });
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        assert!(sent.await.unwrap());
        assert_eq!(body.split(|byte| *byte == b':').count() - 1, LAG + 2);
    }

    async fn text_of(response: Response) -> String {
        String::from_utf8(axum::body::to_bytes(response.into_body(), 10_000).await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn plain_answers_that_are_there_at_once_are_one_array_and_none_is_no_body() {
        let quick = Duration::from_millis(250);
        let (writer, joint) = joint();
        let other = writer.another();
        tokio::spawn(async move { other.plain("1".to_owned()).await });
        tokio::spawn(async move {
            tokio::time::sleep(quick / 2).await;
            writer.plain("{\n}".to_owned()).await;
        });
        let response = joint.response(quick).await;
        assert_eq!((response.status(), &response.headers()["content-type"]), (StatusCode::OK, &HeaderValue::from_static("application/json")));
        assert_eq!(text_of(response).await, "[1,{\n}]");

        let (writer, joint) = super::joint();
        drop(writer);
        let response = joint.response(quick).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        assert_eq!(text_of(response).await, "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_makes_a_stream_that_keeps_itself_alive() {
        let (writer, joint) = joint();
        let late = writer.another();
        writer.plain("1".to_owned()).await;
        drop(writer);
        tokio::spawn(async move {
            // Its own keep-alives are not wanted.
            late.keep_alive();
            tokio::time::sleep(KEEP_ALIVE * 2 + Duration::from_secs(1)).await;
            late.plain("2".to_owned()).await;
        });
        let alive = ": keep-alive\n\n";
        assert_eq!(
            text_of(joint.response(Duration::from_millis(250)).await).await,
            format!("event: message\ndata: 1\n\n{alive}{alive}event: message\ndata: 2\n\n")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_that_needs_a_stream_opens_it_at_once() {
        let (writer, joint) = joint();
        writer.another().plain("1".to_owned()).await;
        writer.streams().await;
        let before = tokio::time::Instant::now();
        let response = joint.response(Duration::from_secs(1)).await;
        assert_eq!(before.elapsed(), Duration::ZERO);
        drop(writer);
        assert_eq!(text_of(response).await, "event: message\ndata: 1\n\n: keep-alive\n\n");
    }

    #[tokio::test]
    async fn each_of_several_answers_on_one_stream_is_taken_by_itself() {
        let (first, joint) = joint();
        let second = first.another();
        let first = tokio::spawn(async move { first.last(None, "1").await });
        let mut body = joint.response(Duration::from_secs(1)).await.into_body().into_data_stream();
        assert_eq!(body.next().await.unwrap().unwrap(), "event: message\ndata: 1\n\n");
        assert!(!first.is_finished());
        let second = tokio::spawn(async move { second.last(None, "2").await });
        assert_eq!(body.next().await.unwrap().unwrap(), "event: message\ndata: 2\n\n");
        assert!(first.await.unwrap());
        drop(body);
        assert!(!second.await.unwrap());
    }

    #[test]
    fn json_of_several_lines_is_one_event_with_its_id_before_it() {
        assert_eq!(event(Some("c_1.1.Nw"), "{}"), "id: c_1.1.Nw\nevent: message\ndata: {}\n\n");
        assert_eq!(event(None, "{\r\n \"a\": 1\n}"), "event: message\ndata: {\ndata:  \"a\": 1\ndata: }\n\n");
    }
}
