//! The answers to a `tools/call`: the server's bytes unchanged, or a sentence of ours as a tool result with
//! `isError`, which a model reads where it would never see an HTTP or JSON-RPC error (contract.md 4).
//! Called by `call` and `held`.

use super::error::Refusal;
use super::message::Id;
use super::upstream::Reply;
use super::upstream::wire::{Members, quoted};
use crate::gate::upstream::Sent;
use crate::gate::{Delivery, Notice, Wording};
use serde_json::value::RawValue;

/// A response with a `result` of these bytes.
pub(super) fn response(id: &Id, result: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{result}}}", id.raw)
}

/// A response with an `error` of these bytes.
pub(super) fn error(id: &Id, error: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{error}}}", id.raw)
}

/// A server's own answer.
pub(super) fn reply(id: &Id, reply: &Reply) -> String {
    match reply {
        Reply::Result(body) => response(id, body.get()),
        Reply::Error(body) => error(id, body.get()),
    }
}

/// A sentence of the gate.
pub(super) fn notice(id: &Id, notice: &Notice) -> String {
    let meta = format!(",\"_meta\":{{\"paraph/call\":{}}}", notice.meta);
    response(id, &told(&notice.text, &meta))
}

/// How an allowed call ended.
pub(super) fn sent(id: &Id, wording: Wording, sent: &Sent) -> String {
    match sent {
        Sent::Result(body) => response(id, body.get()),
        Sent::Error(body) => error(id, body.get()),
        Sent::NeverLeft(why) => response(id, &told(&format!("{}. {why}", wording.not_done()), "")),
        Sent::Unknown(why) => {
            let text = format!("UNKNOWN whether it was {}. {why} Do not repeat it before somebody has looked.", wording.done());
            response(id, &told(&text, ""))
        }
    }
}

/// What became of a held call.
pub(super) fn delivery(id: &Id, delivery: &Delivery) -> String {
    match delivery {
        Delivery::Result { body, earlier: None, edited: None } => response(id, body),
        Delivery::Result { body, earlier, edited } => {
            let blocks = edited.iter().chain(earlier);
            response(id, &blocks.fold(body.clone(), |body, block| with_block(&body, block)))
        }
        Delivery::Error(body) => error(id, body),
        Delivery::Notice(told) => notice(id, told),
    }
}

/// A fault of ours.
pub(super) fn failed(id: &Id, refusal: impl Into<Refusal>) -> String {
    refusal.into().of(Some(id)).text()
}

fn told(text: &str, meta: &str) -> String {
    format!("{{\"content\":[{}],\"isError\":true{meta}}}", block(text))
}

fn block(text: &str) -> String {
    format!("{{\"type\":\"text\",\"text\":{}}}", quoted(text))
}

/// Adds a text block at the end of `content`; every other byte of a value stays. A result that has no list of
/// content gets one with this block alone.
fn with_block(body: &str, text: &str) -> String {
    let Some(members) = Members::read(body) else { return body.to_owned() };
    let blocks = members.get("content").and_then(|content| serde_json::from_str::<Vec<&RawValue>>(content.get()).ok()).unwrap_or_default();
    let mut all: Vec<&str> = blocks.into_iter().map(RawValue::get).collect();
    let added = block(text);
    all.push(&added);
    members.with("content", Some(&format!("[{}]", all.join(","))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_without_an_answer_is_a_tool_error_that_says_whether_it_may_have_been_done() {
        let id = Id { raw: "1".to_owned(), key: "1".to_owned() };
        let [message, other] = [true, false].map(|message| Wording { message });
        let (never_left, unknown) = (Sent::NeverLeft("Server s refused the connection.".to_owned()), Sent::Unknown("Server s hung up.".to_owned()));
        assert_eq!(
            sent(&id, message, &never_left),
            r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"NOT SENT. Server s refused the connection."}],"isError":true}}"#
        );
        assert!(sent(&id, other, &never_left).contains("NOT DONE. Server s refused the connection."));
        assert!(sent(&id, message, &unknown).contains("UNKNOWN whether it was sent. Server s hung up. Do not repeat it"));
        assert!(sent(&id, other, &unknown).contains("UNKNOWN whether it was done. Server s hung up. Do not repeat it"));
    }

    #[test]
    fn a_block_is_added_and_every_other_value_keeps_its_bytes() {
        let body = r#"{"x": 1.10,"content":[ {"type":"odd","n":1e2 } ],"structuredContent":{ }}"#;
        assert_eq!(
            with_block(body, "Sent \"then\"."),
            r#"{"x":1.10,"content":[{"type":"odd","n":1e2 },{"type":"text","text":"Sent \"then\"."}],"structuredContent":{ }}"#
        );
        assert_eq!(with_block("{}", "a"), r#"{"content":[{"type":"text","text":"a"}]}"#);
    }
}
