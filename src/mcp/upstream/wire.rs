//! JSON-RPC towards servers, as text: what comes in is read as an envelope of borrowed raw values, so that
//! results and unknown members stay the bytes they were; what goes out is written around raw values.
//! Called by `board` (in), `peer` (out) and the two links.

use crate::mcp::message::looks_like;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Write as _;

/// One JSON-RPC message of a server, not yet judged.
#[derive(serde::Deserialize)]
pub(in crate::mcp) struct Envelope<'a> {
    #[serde(borrow)]
    pub jsonrpc: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub method: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "object")]
    pub error: Option<&'a RawValue>,
}

/// `null` is a value here, not an absence.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// An error is an object (JSON-RPC 2.0, 5.1). Servers that write every member of a response say `"error": null` beside
/// their result, and an agent that got that as its answer would take the call for failed.
fn object<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    present(from).map(|value| value.filter(|value| value.get().starts_with('{')))
}

/// Reads a message; `None` for anything that is not JSON-RPC 2.0 (noise).
pub(in crate::mcp) fn read(text: &str) -> Option<Envelope<'_>> {
    serde_json::from_str::<Envelope<'_>>(text).ok().filter(|message| message.jsonrpc == "2.0")
}

/// The members of an object in their order, values untouched.
pub(in crate::mcp) struct Members<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Members<'a>, D::Error> {
        struct Read<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Read<'a> {
            type Value = Members<'a>;

            fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                to.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'a>, A::Error> {
                let mut members = Vec::new();
                while let Some(Key(key)) = map.next_key::<Key<'a>>()? {
                    members.push((key, map.next_value::<&'a RawValue>()?));
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Read(std::marker::PhantomData))
    }
}

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Members<'a> {
    /// Reads an object; `None` when the text is none.
    pub(in crate::mcp) fn read(text: &'a str) -> Option<Members<'a>> {
        serde_json::from_str(text).ok()
    }

    pub(in crate::mcp) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// Drops members whose name differs from this one only in case; whether there were any.
    fn lose_twins(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(key, _)| key == name || !looks_like(key, name));
        self.0.len() < before
    }

    /// Writes the object with one member replaced where it stands, added at the end, or (for `None`) left out.
    pub(in crate::mcp) fn with(&self, name: &str, value: Option<&str>) -> String {
        let mut out = String::from("{");
        let mut found = false;
        for (key, old) in &self.0 {
            let text = if key == name {
                found = true;
                match value {
                    Some(new) => new,
                    None => continue,
                }
            } else {
                old.get()
            };
            member(&mut out, key, text);
        }
        if let Some(new) = value.filter(|_| !found) {
            member(&mut out, name, new);
        }
        out.push('}');
        out
    }
}

fn member(out: &mut String, key: &str, value: &str) {
    if out.len() > 1 {
        out.push(',');
    }
    out.push_str(&quoted(key));
    out.push(':');
    out.push_str(value);
}

/// A JSON string.
pub(in crate::mcp) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// A raw value of text known to be JSON.
pub(in crate::mcp) fn raw(text: String) -> Box<RawValue> {
    RawValue::from_string(text).unwrap_or_default()
}

/// A request. When `token` is set, `params._meta.progressToken` becomes our id; otherwise any token in there
/// is the agent's own, which must not leave, and is taken out.
pub(in crate::mcp) fn request(id: u64, method: &str, params: Option<&RawValue>, token: bool) -> String {
    let params = with_token(params.map(RawValue::get), token.then(|| id.to_string()).as_deref());
    let mut out = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":{}", quoted(method));
    if let Some(params) = params {
        out.push_str(",\"params\":");
        out.push_str(&params);
    }
    out.push('}');
    out
}

fn with_token<'a>(params: Option<&'a str>, token: Option<&str>) -> Option<Cow<'a, str>> {
    let Some(text) = params else {
        return token.map(|token| Cow::Owned(format!("{{\"_meta\":{{\"progressToken\":{token}}}}}")));
    };
    let Some(mut members) = Members::read(text) else { return Some(Cow::Borrowed(text)) };
    // A reader that folds case would take a member that looks alike for ours.
    let mut changed = members.lose_twins("_meta");
    let mut meta = members.get("_meta").and_then(|meta| Members::read(meta.get()));
    changed |= meta.as_mut().is_some_and(|meta| meta.lose_twins("progressToken"));
    match (meta, token) {
        (Some(meta), token) if changed || token.is_some() || meta.get("progressToken").is_some() => {
            Some(Cow::Owned(members.with("_meta", Some(&meta.with("progressToken", token)))))
        }
        (None, Some(token)) => Some(Cow::Owned(members.with("_meta", Some(&format!("{{\"progressToken\":{token}}}"))))),
        (None, None) if changed => Some(Cow::Owned(members.with("_meta", None))),
        _ => Some(Cow::Borrowed(text)),
    }
}

/// A `tools/call` in the parts that we write it of. `arguments` and `meta` are JSON texts; the first passes byte for byte.
pub(in crate::mcp) struct Call<'a> {
    pub tool: &'a str,
    pub arguments: &'a str,
    pub meta: Option<&'a str>,
}

impl Call<'_> {
    /// What [`request`] makes of the same params, without reading them again.
    pub(in crate::mcp) fn request(&self, id: u64, token: bool) -> String {
        let token = token.then(|| id.to_string());
        let token = token.as_deref();
        let mut meta = self.meta.and_then(Members::read);
        let changed = meta.as_mut().is_some_and(|meta| meta.lose_twins("progressToken"));
        let meta = match meta {
            Some(meta) if changed || token.is_some() || meta.get("progressToken").is_some() => Some(Cow::Owned(meta.with("progressToken", token))),
            None if token.is_some() => Some(Cow::Owned(format!("{{\"progressToken\":{}}}", token.unwrap_or_default()))),
            Some(_) | None => self.meta.map(Cow::Borrowed),
        };
        let (tool, rest) = (quoted(self.tool), meta.as_deref().map_or(0, str::len));
        let mut out = String::with_capacity(128 + tool.len() + self.arguments.len() + rest);
        let _ = write!(out, "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":{tool},\"arguments\":{}", self.arguments);
        if let Some(meta) = meta {
            out.push_str(",\"_meta\":");
            out.push_str(&meta);
        }
        out.push_str("}}");
        out
    }
}

/// A notification.
pub(in crate::mcp) fn notification(method: &str, params: Option<&RawValue>) -> String {
    match params {
        Some(params) => format!("{{\"jsonrpc\":\"2.0\",\"method\":{},\"params\":{}}}", quoted(method), params.get()),
        None => format!("{{\"jsonrpc\":\"2.0\",\"method\":{}}}", quoted(method)),
    }
}

/// `notifications/cancelled` for our own request.
pub(in crate::mcp) fn cancelled(id: u64, reason: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{id},\"reason\":{}}}}}", quoted(reason))
}

/// A response to a server's request: `name` is `result` or `error`.
pub(in crate::mcp) fn response(id: &RawValue, name: &str, body: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"{name}\":{body}}}", id.get())
}

/// An `error` object.
pub(in crate::mcp) fn error(code: i32, message: &str) -> String {
    format!("{{\"code\":{code},\"message\":{}}}", quoted(message))
}

/// Of an `error` object, its code and message: what else a server puts there could be a list that nobody filters.
pub(in crate::mcp) fn bare_error(error: &RawValue) -> Box<RawValue> {
    let Some(members) = Members::read(error.get()).filter(|members| members.0.iter().any(|(key, _)| key != "code" && key != "message")) else {
        return error.to_owned();
    };
    let of = |name: &str, otherwise: &str| members.get(name).map_or_else(|| otherwise.to_owned(), |value| value.get().to_owned());
    raw(format!("{{\"code\":{},\"message\":{}}}", of("code", "-32603"), of("message", "\"\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_we_write_says_what_the_same_params_say() {
        let metas = [
            None,
            Some("{}"),
            Some(r#"{"a":1,"b":[ ]}"#),
            Some(r#"{"a":1,"progressToken":"agent","PROGRESSTOKEN":3}"#),
            Some(r#"{"PROGRESSTOKEN":3}"#),
            Some("{\"progre\u{17f}\u{17f}Token\":3}"),
        ];
        for (meta, token) in metas.into_iter().flat_map(|meta| [(meta, true), (meta, false)]) {
            let call = Call { tool: "a \"b\"\n", arguments: r#"{ "n": 1.10,"\u0061":[ ]}"#, meta };
            let with = meta.map(|meta| format!(",\"_meta\":{meta}")).unwrap_or_default();
            let params = raw(format!("{{\"name\":{},\"arguments\":{}{with}}}", quoted(call.tool), call.arguments));
            assert_eq!(call.request(7, token), request(7, "tools/call", Some(&params), token), "{meta:?}");
        }
    }

    #[test]
    fn a_progress_token_is_replaced_and_everything_else_keeps_its_bytes() {
        let params = raw(r#"{"name":"x","arguments":{ "n": 1.10 },"_meta":{"a":1,"progressToken":"agent","b":[ ]}}"#.to_owned());
        assert_eq!(
            request(7, "tools/call", Some(&params), true),
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","arguments":{ "n": 1.10 },"_meta":{"a":1,"progressToken":7,"b":[ ]}}}"#
        );
        assert!(!request(7, "tools/call", Some(&params), false).contains("progressToken"));
        // A reader that folds case would take the agent's own for ours, and its progress would find another request.
        for twins in [
            r#"{"_meta":{"progressToken":1,"PROGRESSTOKEN":3,"a":1}}"#,
            r#"{"_meta":{"ProgressToken":3,"a":1}}"#,
            "{\"_meta\":{\"progre\u{17f}\u{17f}Token\":3,\"a\":1}}",
        ] {
            let told = request(7, "prompts/get", Some(&raw(twins.to_owned())), true);
            let read: serde_json::Value = serde_json::from_str(&told).unwrap();
            assert_eq!(read["params"]["_meta"], serde_json::json!({"progressToken": 7, "a": 1}), "{told}");
            assert!(request(7, "prompts/get", Some(&raw(twins.to_owned())), false).ends_with(r#""params":{"_meta":{"a":1}}}"#));
        }
        let twin = raw(r#"{"name":"x","_META":{"progressToken":3}}"#.to_owned());
        assert!(request(7, "prompts/get", Some(&twin), false).ends_with(r#""params":{"name":"x"}}"#));
        assert!(request(7, "prompts/get", Some(&twin), true).ends_with(r#""params":{"name":"x","_meta":{"progressToken":7}}}"#));
        assert_eq!(request(1, "ping", None, false), r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
        assert_eq!(request(1, "x", None, true), r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"progressToken":1}}}"#);
    }

    #[test]
    fn a_null_result_is_an_answer_and_a_log_line_is_noise() {
        assert_eq!(read(r#"{"jsonrpc":"2.0","id":1,"result":null}"#).unwrap().result.unwrap().get(), "null");
        assert!(read(r#"{"level":"info"}"#).is_none());
        assert!(read("Listening…").is_none());
        assert!(read(r#"{"jsonrpc":"2.0","id":1,"id":2,"result":{}}"#).is_none());
    }
}
