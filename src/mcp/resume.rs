//! Resuming the stream of a held call with `Last-Event-ID` (MCP 2025-11-25, transports, "Resumability and
//! Redelivery"). An event id says which call and which request of the client it belongs to, so nothing needs to
//! be remembered: a stream that broke with the whole gateway is resumed like any other.
//! Called by `http` for GET, and by `held` for the ids.

use super::error::Refusal;
use super::held::{self, Waiting};
use super::http::Caller;
use super::message::Id;
use super::session::Session;
use crate::domain::call::CallId;
use ::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::value::RawValue;
use std::sync::Arc;

const LAST_EVENT_ID: &str = "last-event-id";

/// `c_<32 hex>.<0 or 1>.<base64url of the JSON text of the request's id>`.
pub(super) struct EventId {
    call: CallId,
    /// Its event was the answer: nothing comes after it.
    answer: bool,
    request: Id,
}

/// The id of the first event of a held call's stream.
pub(super) fn first(call: &CallId, request: &Id) -> String {
    id(call, '0', request)
}

/// The id of its answer.
pub(super) fn last(call: &CallId, request: &Id) -> String {
    id(call, '1', request)
}

fn id(call: &CallId, which: char, request: &Id) -> String {
    format!("{call}.{which}.{}", URL_SAFE_NO_PAD.encode(&request.raw))
}

impl EventId {
    fn read(text: &str) -> Option<EventId> {
        let mut parts = text.split('.');
        let (Some(call), Some(which), Some(request), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else { return None };
        let bits = call.strip_prefix("c_")?;
        if bits.len() != 32 || !bits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let answer = match which {
            "0" => false,
            "1" => true,
            _ => return None,
        };
        let request = String::from_utf8(URL_SAFE_NO_PAD.decode(request).ok()?).ok()?;
        let raw = RawValue::from_string(request).ok()?;
        Some(EventId { call: CallId(call.to_owned()), answer, request: Id::read(&raw)? })
    }
}

impl Caller {
    /// What this GET resumes. An id that is not of our form is as good as none: it is of another server.
    pub(super) fn resumes_from(&self, session: &Session) -> Option<EventId> {
        let text = self.headers.get(LAST_EVENT_ID).filter(|_| session.revision.resumes())?;
        EventId::read(text.to_str().ok()?)
    }

    /// The rest of the stream: what the request waits for. After its answer, and for a request that was taken back,
    /// there is none: nobody would read it, and what it took would count as delivered. 405 is how this revision says
    /// "no stream", and clients stop trying. Whether a call of somebody
    /// else is there is not said.
    pub(super) async fn resume(&self, session: &Arc<Session>, from: EventId) -> Result<Response, Refusal> {
        let (gate, agent) = (&self.state.gate, &self.agent.name);
        let failed = |failure| Refusal { status: StatusCode::SERVICE_UNAVAILABLE, ..Refusal::from(failure) };
        let unknown = || Refusal::new(StatusCode::NOT_FOUND, -32600, "There is no stream of this agent at this server with such a Last-Event-ID.");
        if from.answer {
            let own = gate.has_call(agent, &self.server, &from.call).await.map_err(failed)?;
            return Err(if own { nothing() } else { unknown() });
        }
        if session.took_back(&from.request) {
            return Err(nothing());
        }
        // It sits before the old connection's place is given up: to a reviewer the agent never left.
        let seat = gate.resume(agent, &self.server, &from.call).await.map_err(failed)?.ok_or_else(unknown)?;
        let Some(entry) = session.resume(&from.request, seat.call()) else {
            let why = "Another request with this id is under way in this session, or too many requests are.";
            return Err(Refusal::new(StatusCode::CONFLICT, -32600, why));
        };
        Ok(held::answer(self, Waiting { seat, entry, id: from.request, progress: None }).alone(&self.state.tasks))
    }
}

fn nothing() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, -32600, "Nothing comes after this event.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_gives_back_the_call_and_the_request_id_as_it_came() {
        let call = CallId::from_random([0xab; 16]);
        for raw in ["7", "-1", r#""a""#, r#""\u0061.b""#, r#""ü""#] {
            let request = Id::read(&RawValue::from_string(raw.to_owned()).unwrap()).unwrap();
            for (text, answer) in [(first(&call, &request), false), (last(&call, &request), true)] {
                assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
                let read = EventId::read(&text).unwrap();
                assert_eq!((read.call, read.answer, read.request), (call.clone(), answer, request.clone()));
            }
        }
    }

    #[test]
    fn what_is_not_of_our_form_is_no_event_id() {
        let call = "c_abababababababababababababababab";
        assert!(EventId::read(&format!("{call}.0.Nw")).is_some());
        for wrong in [
            String::new(),
            call.to_owned(),
            format!("{call}.0"),
            format!("{call}.0."),
            format!("{call}.2.Nw"),
            format!("{call}.0.Nw.0"),
            format!("{call}.0.Nw=="),
            format!("{call}.0.bnVsbA"),
            format!("{call}.0.__8"),
            format!("{}.0.Nw", call.to_uppercase()),
            format!("{call}0.0.Nw"),
            "d_abababababababababababababababab.0.Nw".to_owned(),
        ] {
            assert!(EventId::read(&wrong).is_none(), "{wrong}");
        }
    }
}
