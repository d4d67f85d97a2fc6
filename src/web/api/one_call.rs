//! `GET /api/v1/calls/{id}`: one call, whole; serving it is recorded as a view, so that its reader may decide.
//! Only here CALL says whether its recipient is closed, its server was started anew, when a limit would let it leave if
//! it were approved now, and what of it is masked or looks like a secret, which costs reads.
//! An answer to HEAD carries no text, so it is no view.

use super::super::{WebState, masked};
use super::caller::Caller;
use super::problem;
use crate::domain::call::CallId;
use crate::domain::mask::{imitates, looks_like};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

/// Serves it.
pub async fn show(caller: Caller, State(state): State<WebState>, method: Method, Path(id): Path<String>) -> Response {
    let id = CallId(id);
    let found = if method == Method::HEAD { caller.reviewer.look(&id).await } else { caller.reviewer.read(&id).await };
    let listed = match found {
        Ok(listed) => listed,
        Err(error) => return problem::refused(&state, &error),
    };
    let leaves_at = match caller.reviewer.leaves_at(&listed.call).await {
        Ok(limited) => limited.map(|limited| limited.until),
        Err(failure) => return problem::failure(&failure),
    };
    match caller.reviewer.is_closed(&listed.call).await {
        Ok(closed) => {
            let mut call = listed.to_json();
            let masks = match masked::json(&caller.reviewer, &listed).await {
                Ok(masks) => masks,
                Err(failure) => return problem::failure(&failure),
            };
            if let Some(message) = &listed.call.message {
                let parts = [("to", &message.to, &message.to_pointer), ("text", &message.text, &message.text_pointer)];
                let named = |which: &dyn Fn(&str, bool) -> bool| -> Value {
                    parts
                        .iter()
                        .filter(|(_, text, pointer)| which(text, masked::over(&listed, pointer).is_some()))
                        .map(|(name, ..)| Value::from(*name))
                        .collect()
                };
                call["message"]["secrets"] = serde_json::json!(looks_like(&message.text));
                call["message"]["masked"] = named(&|_, masked| masked);
                call["message"]["imitates_mark"] = named(&|text, masked| !masked && imitates(text));
            }
            if let Value::Object(members) = &mut call {
                members.insert("leaves_at".to_owned(), serde_json::json!(leaves_at));
                members.insert("masked".to_owned(), masks);
                members.insert("recipient_closed".to_owned(), Value::Bool(closed));
                members.insert("server_restarted".to_owned(), Value::Bool(caller.reviewer.server_restarted(&listed.call).await));
            }
            Json(call).into_response()
        }
        Err(failure) => problem::failure(&failure),
    }
}
