//! What an agent is told when a message cannot be taken: JSON-RPC errors, with an HTTP status where HTTP is at
//! fault. Sentences are ours; of the message only its id and the place are echoed, to the agent alone.
//! Used by every file of this edge towards agents.

use super::message::Id;
use super::upstream::wire::quoted;
use crate::gate::Failure;
use ::http::{HeaderValue, StatusCode, header};
use axum::body::Body;
use axum::response::{IntoResponse, Response};

/// A message that is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub code: i64,
    pub message: String,
    /// JSON Pointer into the body.
    pub pointer: Option<String>,
    /// JSON text of the id; `None` for null.
    pub id: Option<String>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: i64, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into(), pointer: None, id: None }
    }

    /// An error that belongs to a well-formed request: SDKs show it only when HTTP says 200.
    pub(super) fn call(code: i64, message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::OK, code, message)
    }

    pub(super) fn at(self, pointer: &str) -> Refusal {
        Refusal { pointer: Some(pointer.to_owned()).filter(|pointer| !pointer.is_empty()), ..self }
    }

    pub(super) fn of(self, id: Option<&Id>) -> Refusal {
        Refusal { id: id.map(|id| id.raw.clone()).or(self.id), ..self }
    }

    /// The same for a message that stands in a batch at this place.
    pub(super) fn inside(self, at: usize) -> Refusal {
        Refusal { pointer: Some(format!("/{at}{}", self.pointer.unwrap_or_default())), ..self }
    }

    /// The JSON-RPC text.
    pub(super) fn text(&self) -> String {
        let at = self.pointer.as_ref().map(|pointer| format!(",\"data\":{{\"pointer\":{}}}", quoted(pointer))).unwrap_or_default();
        let error = format!("{{\"code\":{},\"message\":{}{at}}}", self.code, quoted(&self.message));
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{error}}}", self.id.as_deref().unwrap_or("null"))
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal::call(-32603, failure.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json(self.status, self.text());
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST, GET, DELETE"));
        }
        response
    }
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
