//! `GET /api/v1/audit`: entries of the chain as NDJSON, one a line, read from the store as the receiver takes
//! them, up to the entry that was last when the request came.

use super::super::WebState;
use super::caller::Caller;
use super::problem;
use crate::gate::Reviewer;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;

/// Entries read at once.
const READ: u64 = 200;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    from: Option<u64>,
    limit: Option<u64>,
}

struct Export {
    reviewer: Reviewer,
    from: u64,
    end: u64,
}

/// Streams them.
pub async fn export(caller: Caller, State(state): State<WebState>, wanted: Result<Query<Wanted>, QueryRejection>) -> Response {
    let Ok(Query(wanted)) = wanted else {
        return problem::problem(&state, StatusCode::UNPROCESSABLE_ENTITY, "The query may have from (a number, 1 is the first entry) and limit, once each.");
    };
    let last = match caller.reviewer.last_entry().await {
        Ok(last) => last,
        Err(failure) => return problem::failure(&failure),
    };
    let from = wanted.from.unwrap_or(1).max(1);
    let end = from.saturating_add(wanted.limit.unwrap_or(u64::MAX)).min(last.saturating_add(1));
    let chunks = stream::unfold(Some(Export { reviewer: caller.reviewer, from, end }), |export| async move {
        let mut export = export?;
        match export.chunk().await? {
            Ok(lines) => Some((Ok(lines), Some(export))),
            // The connection is cut, so that a receiver cannot take a part for the whole.
            Err(error) => Some((Err(error), None)),
        }
    });
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))], Body::from_stream(chunks)).into_response()
}

impl Export {
    async fn chunk(&mut self) -> Option<Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> {
        if self.from >= self.end {
            return None;
        }
        let next = self.from.saturating_add(READ).min(self.end);
        let most = usize::try_from(next - self.from).unwrap_or(1);
        let entries = match self.reviewer.entries(self.from, most).await {
            Ok(entries) => entries,
            Err(failure) => return Some(Err(failure.into())),
        };
        self.from = next;
        let mut lines = Vec::new();
        for entry in entries.iter().filter(|entry| entry.seq < next) {
            if let Err(error) = serde_json::to_writer(&mut lines, entry) {
                return Some(Err(error.into()));
            }
            lines.push(b'\n');
        }
        Some(Ok(lines.into()))
    }
}
