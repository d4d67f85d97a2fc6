//! One SSE answer: a bounded writer on our side, a body on the connection's. The body tells the writer when
//! the connection came back for more after the last event, which is when an answer counts as taken.
//! Used by `held`, `relay`, `resume` and `listen`.

use ::http::{HeaderValue, header};
use axum::body::{Body, Bytes};
use axum::response::Response;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How often a silent stream says that it lives; proxies and clients give up after 60 s or more.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What a client is asked to wait before it resumes a stream.
const RETRY_MS: u32 = 3_000;
/// Events that a slow connection may lag behind.
const LAG: usize = 16;

enum Event {
    More(Bytes),
    Last(Bytes, oneshot::Sender<()>),
}

/// Our side. Dropping it ends the stream.
pub(super) struct Writer {
    events: mpsc::Sender<Event>,
}

/// Opens a stream.
pub(super) fn open() -> (Writer, Response) {
    let (events, waiting) = mpsc::channel(LAG);
    let body = futures_util::stream::unfold((waiting, None::<oneshot::Sender<()>>), |(mut waiting, taken)| async move {
        if let Some(taken) = taken {
            let _ = taken.send(());
        }
        let (bytes, taken) = match waiting.recv().await? {
            Event::More(bytes) => (bytes, None),
            Event::Last(bytes, taken) => (bytes, Some(taken)),
        };
        Some((Ok::<_, Infallible>(bytes), (waiting, taken)))
    });
    (Writer { events }, response(Body::from_stream(body)))
}

/// A stream that ends at once.
pub(super) fn nothing() -> Response {
    response(Body::empty())
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
        let _ = self.events.try_send(Event::More(Bytes::from(format!("id: {id}\nretry: {RETRY_MS}\ndata:\n\n"))));
    }

    /// Waits while the connection is slow; false when it is gone.
    pub(super) async fn message(&self, json: &str) -> bool {
        self.events.send(Event::More(event(None, json))).await.is_ok()
    }

    /// Left out when the connection is slow: a later one tells the same.
    pub(super) fn maybe(&self, json: &str) {
        let _ = self.events.try_send(Event::More(event(None, json)));
    }

    /// A comment, so that nobody takes the silence for death.
    pub(super) fn keep_alive(&self) {
        let _ = self.events.try_send(Event::More(Bytes::from_static(b": keep-alive\n\n")));
    }

    /// The answer; true when the connection took it and came back.
    pub(super) async fn last(&self, id: Option<&str>, json: &str) -> bool {
        let (sender, taken) = oneshot::channel();
        self.events.send(Event::Last(event(id, json), sender)).await.is_ok() && taken.await.is_ok()
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

    #[test]
    fn json_of_several_lines_is_one_event_with_its_id_before_it() {
        assert_eq!(event(Some("c_1.1.Nw"), "{}"), "id: c_1.1.Nw\nevent: message\ndata: {}\n\n");
        assert_eq!(event(None, "{\r\n \"a\": 1\n}"), "event: message\ndata: {\ndata:  \"a\": 1\ndata: }\n\n");
    }
}
