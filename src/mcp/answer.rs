//! What one request is answered with, before it is known how that goes back: alone in its own HTTP response, or
//! beside others in the stream of a batch. What a stream shows is driven by one future, whoever opened it.
//! Made by `work`, `call`, `relay` and `held`; sent by `http`, `resume` and `batch`.

use super::error::json;
use super::events::{self, Writer};
use ::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::future::Future;
use std::pin::Pin;
use tokio_util::task::TaskTracker;

/// Runs until nothing more comes; dropping the writer ends its part of the stream.
type Drive = Box<dyn FnOnce(Writer) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// One answer.
pub(super) enum Answer {
    /// The JSON-RPC text.
    Text(String),
    /// None: the request was taken back, or it was no request.
    Nothing,
    /// It comes over a stream.
    Stream(Drive),
}

impl Answer {
    /// An answer that comes over a stream.
    pub(super) fn stream<D, F>(drive: D) -> Answer
    where
        D: FnOnce(Writer) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Answer::Stream(Box::new(move |writer| Box::pin(drive(writer))))
    }

    /// As an HTTP response of its own.
    pub(super) fn alone(self, tasks: &TaskTracker) -> Response {
        match self {
            Answer::Text(text) => json(StatusCode::OK, text),
            Answer::Nothing => StatusCode::ACCEPTED.into_response(),
            Answer::Stream(drive) => {
                let (writer, response) = events::open();
                tasks.spawn(drive(writer));
                response
            }
        }
    }
}
