//! What an agent sends, read once and strictly: JSON-RPC messages whose parts stay the bytes they were. Two
//! readers of the same text must see the same message, so doubles and look-alike members are refused here,
//! before anything is judged. Called by `http` for every body, and by `batch` for each of its messages.

use super::error::Refusal;
use super::upstream::wire::Members;
use crate::domain::json;
use ::http::StatusCode;
use serde_json::Value;
use serde_json::value::RawValue;

/// The members of a JSON-RPC 2.0 message.
const ENVELOPE: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
/// The levels around `arguments`: the message and its params, in a batch one more. `arguments` alone may nest as
/// deep as is allowed.
const AROUND: usize = 2;
/// Characters of an id that is a string.
const MAX_ID: usize = 256;

/// The id of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Id {
    /// Its JSON text, as it came; echoed so.
    pub raw: String,
    /// The same id however it was escaped; for comparing.
    pub key: String,
}

/// One message.
#[derive(Debug)]
pub(super) enum Message<'a> {
    /// Wants an answer.
    Request { id: Id, method: String, params: Option<&'a RawValue> },
    /// Wants none.
    Notification { method: String, params: Option<&'a RawValue> },
    /// Answers a request of the server.
    Response { id: Id, answer: Result<&'a RawValue, &'a RawValue> },
}

/// What a body holds.
#[derive(Debug)]
pub(super) enum Body<'a> {
    One(Read<'a>),
    /// Each with its strictly parsed value; nothing else is known of them.
    Batch(Vec<(&'a RawValue, Value)>),
}

/// A message with the same text as one strictly parsed value.
#[derive(Debug)]
pub(super) struct Read<'a> {
    pub message: Message<'a>,
    pub value: Value,
}

impl Id {
    /// JSON-RPC 2.0, 4: a string or an integer; MCP forbids null.
    pub(super) fn read(raw: &RawValue) -> Option<Id> {
        let value: Value = serde_json::from_str(raw.get()).ok()?;
        let fits = match &value {
            Value::String(text) => text.chars().take(MAX_ID + 1).count() <= MAX_ID,
            Value::Number(number) => number.is_i64() || number.is_u64(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
        };
        fits.then(|| Id { raw: raw.get().to_owned(), key: value.to_string() })
    }
}

/// Reads a body, strictly and as a whole. The refusal carries the id whenever it could be read.
pub(super) fn read(body: &[u8]) -> Result<Body<'_>, Refusal> {
    let batch = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let value = json::strict_within(body, AROUND + usize::from(batch)).map_err(|why| not_strict(body, &why))?;
    let text = std::str::from_utf8(body).unwrap_or_default();
    let Value::Array(values) = value else { return one(text, value).map(Body::One) };
    let texts: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
    Ok(Body::Batch(texts.into_iter().zip(values).collect()))
}

/// Reads one message; `value` is its text, parsed strictly.
pub(super) fn one(text: &str, value: Value) -> Result<Read<'_>, Refusal> {
    let Some(members) = Members::read(text) else { return Err(envelope("no JSON object")) };
    let id = members.get("id").map(Id::read);
    let known = id.clone().flatten();
    let message = message(&members, id).map_err(|refusal| refusal.of(known.as_ref()))?;
    Ok(Read { message, value })
}

fn message<'a>(members: &Members<'a>, id: Option<Option<Id>>) -> Result<Message<'a>, Refusal> {
    if let Some(key) = look_alike(members, &ENVELOPE) {
        return Err(envelope(&format!("a message with a member that differs from \"{key}\" only in case")));
    }
    if members.get("jsonrpc").is_none_or(|version| string(version).as_deref() != Some("2.0")) {
        return Err(envelope("no JSON-RPC 2.0 message: \"jsonrpc\" must be \"2.0\""));
    }
    let id = match id {
        Some(None) => return Err(envelope("one whose id is neither an integer nor a string of at most 256 characters")),
        Some(Some(id)) => Some(id),
        None => None,
    };
    let (result, error, params) = (members.get("result"), members.get("error"), members.get("params"));
    let Some(method) = members.get("method") else {
        return match (id, result, error) {
            (Some(id), Some(result), None) => Ok(Message::Response { id, answer: Ok(result) }),
            (Some(id), None, Some(error)) => Ok(Message::Response { id, answer: Err(error) }),
            _ => Err(envelope("neither a request nor a response: it has no method, and not one result or error with an id")),
        };
    };
    if result.is_some() || error.is_some() {
        return Err(envelope("a request and a response at once"));
    }
    let Some(method) = string(method) else { return Err(envelope("one whose method is no string")) };
    if params.is_some_and(|params| !params.get().starts_with('{')) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, -32602, "params must be an object").at("/params"));
    }
    Ok(match id {
        Some(id) => Message::Request { id, method, params },
        None => Message::Notification { method, params },
    })
}

/// The known name that a member of the object differs from only in case.
pub(super) fn look_alike<'k>(members: &Members<'_>, known: &[&'k str]) -> Option<&'k str> {
    // No two of the known names are alike, so a member that is one of them cannot look like another.
    let mut unknown = members.0.iter().filter(|(key, _)| !known.iter().any(|name| key == name));
    unknown.find_map(|(key, _)| known.iter().copied().find(|name| looks_like(key, name)))
}

/// Whether two names are the same but for case, or the same.
pub(super) fn looks_like(one: &str, other: &str) -> bool {
    if one.is_ascii() && other.is_ascii() { one.eq_ignore_ascii_case(other) } else { folded(one) == folded(other) }
}

/// Simple case folding: over the capital letter, so that U+017F and U+212A meet their ASCII twins.
pub(super) fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

pub(super) fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn envelope(what: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, -32600, format!("The message is {what}."))
}

fn not_strict(body: &[u8], why: &json::NotStrict) -> Refusal {
    if why.not_json {
        return Refusal::new(StatusCode::BAD_REQUEST, -32700, format!("The body cannot be read: {}.", why.reason));
    }
    let members = std::str::from_utf8(body).ok().and_then(Members::read);
    // An id that stands twice is no id to answer to.
    let id = members.as_ref().filter(|members| members.0.iter().filter(|(key, _)| key == "id").count() == 1).and_then(|members| members.get("id"));
    let id = id.and_then(Id::read);
    let pointer = why.pointer.as_str();
    let code = if pointer == "/params" || pointer.starts_with("/params/") { -32602 } else { -32600 };
    Refusal::new(StatusCode::BAD_REQUEST, code, format!("The message is refused: {}.", why.reason)).at(pointer).of(id.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(body: &str) -> (i64, Option<String>, Option<String>) {
        let refusal = read(body.as_bytes()).unwrap_err();
        (refusal.code, refusal.pointer.clone(), refusal.id.clone())
    }

    #[test]
    fn a_message_is_refused_with_its_id_and_the_place() {
        let deep = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"m","params":{}{}}}"#, "{\"a\":".repeat(70) + "1", "}".repeat(70));
        let deep_at = format!("/params{}", "/a".repeat(65));
        let rows: [(&str, i64, Option<&str>, Option<&str>); 25] = [
            ("{", -32700, None, None),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"x":NaN}}"#, -32700, None, None),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"m","method":"m"}]"#, -32600, Some("/0/method"), None),
            ("7", -32600, None, None),
            (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"m"}"#, -32600, Some("/id"), None),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":{"b":1,"\u0062":2}}}"#, -32602, Some("/params/a/b"), Some("1")),
            (r#"{"jsonrpc":"2.0","id":"x","method":"m","params":{"a":12345678901234567890123}}"#, -32602, Some("/params/a"), Some("\"x\"")),
            (&deep, -32602, Some(&deep_at), Some("7")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":[1e400]}}"#, -32602, Some("/params/a/0"), Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":{"b":"\ud800"}}}"#, -32602, Some("/params/a/b"), Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"\udfff":1}}"#, -32602, Some("/params"), Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#, -32600, Some("/method"), Some("1")),
            (r#"{"jsonrpc":"2.0","id":"\ud800","method":"m"}"#, -32600, Some("/id"), None),
            (r#"{"jsonrpc":"2.0","id":1e400,"method":"m"}"#, -32600, Some("/id"), None),
            (r#"{"jsonrpc":"2.0","id":1,"result":{"a":1e400}}"#, -32600, Some("/result/a"), Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"Method":"m","method":"m"}"#, -32600, None, Some("1")),
            ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"param\u{17f}\":{}}", -32600, None, Some("1")),
            (r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#, -32600, None, Some("1")),
            (r#"{"id":1,"method":"m"}"#, -32600, None, Some("1")),
            (r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#, -32600, None, None),
            (r#"{"jsonrpc":"2.0","id":1.0,"method":"m"}"#, -32600, None, None),
            (r#"{"jsonrpc":"2.0","id":{},"method":"m"}"#, -32600, None, None),
            (r#"{"jsonrpc":"2.0","id":1,"method":5}"#, -32600, None, Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":[1]}"#, -32602, Some("/params"), Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#, -32600, None, Some("1")),
        ];
        for (body, code, pointer, id) in rows {
            assert_eq!(refused(body), (code, pointer.map(str::to_owned), id.map(str::to_owned)), "{body}");
        }
        let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"m"}}"#, "x".repeat(257));
        assert_eq!(refused(&long).0, -32600);
    }

    #[test]
    fn an_id_is_echoed_as_it_came_and_compared_unescaped() {
        let body = br#"{"jsonrpc":"2.0","id":"\u0061","method":"m"}"#;
        let Body::One(Read { message: Message::Request { id, .. }, .. }) = read(body).unwrap() else { panic!("a request") };
        assert_eq!((id.raw.as_str(), id.key.as_str()), (r#""\u0061""#, r#""a""#));
    }

    /// A message of few members, some of them twice or spelled otherwise.
    fn any_message() -> impl Strategy<Value = String> {
        let member = prop_oneof![
            12 => prop::sample::select(vec![
                r#""jsonrpc":"2.0""#, r#""id":1"#, r#""id":"\u0061""#, r#""method":"tools/call""#, r#""method":"tools\/call""#, r#""params":{}"#, r#""params":{ "name":"a" }"#,
                r#""params":{"name":"a","arguments":{"n": 1.10}}"#, r#""result":{"x":[ ]}"#, r#""error":{"code":1}"#,
            ]),
            3 => prop::sample::select(vec![
                r#""id":null"#, r#""id":1.0"#, r#""id":{}"#, r#""Id":1"#, r#""METHOD":"ping""#, "\"param\u{17f}\":{}", r#""\u006dethod":"ping""#, r#""params":[]"#, r#""params":{"a":1,"a":2}"#,
                r#""params":{"a":1e400}"#, r#""result":null"#, r#""x":{"id":2}"#, r#""jsonrpc":2"#, r#""method":7"#, r#""id":"\ud800""#,
            ]),
        ];
        let gap = || prop::sample::select(vec!["", "", " ", "\n"]);
        let members = prop::collection::vec((member, gap()), 0..6);
        (members, gap(), any::<bool>()).prop_map(|(members, gap, versioned)| {
            let first = if versioned { vec![r#""jsonrpc":"2.0""#.to_owned()] } else { Vec::new() };
            let members = first.into_iter().chain(members.into_iter().map(|(member, gap)| format!("{gap}{member}{gap}"))).collect::<Vec<_>>();
            format!("{gap}{{{}}}{gap}", members.join(","))
        })
    }

    fn rounds(usual: u32) -> ProptestConfig {
        ProptestConfig::with_cases(std::env::var("PARAPH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).map_or(usual, |rounds: u32| rounds.max(usual)))
    }

    proptest! {
        #![proptest_config(rounds(20_000))]

        #[test]
        fn a_message_has_the_parts_that_its_one_value_has_and_a_refusal_names_its_id(body in any_message()) {
            let lenient: Option<Value> = serde_json::from_str(&body).ok();
            match read(body.as_bytes()) {
                Ok(Body::Batch(_)) => prop_assert!(false, "an object is no batch"),
                Ok(Body::One(Read { message, value })) => {
                    prop_assert_eq!(Some(&value), lenient.as_ref());
                    let (id, method, params) = match message {
                        Message::Request { id, method, params } => (Some(id), Some(method), params),
                        Message::Notification { method, params } => (None, Some(method), params),
                        Message::Response { id, answer } => {
                            prop_assert_eq!(value.get("result").is_some(), answer.is_ok());
                            (Some(id), None, None)
                        }
                    };
                    prop_assert_eq!(id.map(|id| serde_json::from_str::<Value>(&id.raw).unwrap()), value.get("id").cloned());
                    prop_assert_eq!(method.as_deref(), value.get("method").and_then(Value::as_str));
                    // A response has no params; what it calls so is dropped.
                    let asked = value.get("params").filter(|_| method.is_some());
                    prop_assert_eq!(params.map(|params| serde_json::from_str::<Value>(params.get()).unwrap()), asked.cloned());
                }
                Err(refusal) => {
                    prop_assert!([-32700, -32600, -32602].contains(&refusal.code));
                    prop_assert!(refusal.status.is_client_error());
                    if let Some(id) = &refusal.id {
                        prop_assert_eq!(body.matches(&format!("\"id\":{id}")).count(), 1);
                    }
                    prop_assert!(serde_json::from_str::<Value>(&refusal.text()).is_ok());
                }
            }
        }
    }

    #[test]
    fn a_batch_is_strict_as_a_whole_and_its_messages_are_read_one_by_one() {
        let nested = |levels: usize| format!(r#" [{{"params":{{"arguments":{}1{}}}}}]"#, "{\"a\":".repeat(levels), "}".repeat(levels));
        assert!(read(nested(64).as_bytes()).is_ok());
        assert_eq!(refused(&nested(65)).0, -32600);
        let Body::Batch(elements) = read(br#"[7, {"jsonrpc":"2.0", "method":"m"},{"ID":1}]"#).unwrap() else { panic!("a batch") };
        let read: Vec<_> = elements.into_iter().map(|(text, value)| one(text.get(), value)).collect();
        assert!(matches!(&read[..], [Err(_), Ok(Read { message: Message::Notification { .. }, .. }), Err(_)]), "{read:?}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn a_mutated_request_is_refused_or_still_a_message(at in 0usize..90, byte in any::<u8>()) {
            let mut body = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send_dm","arguments":{"n":1}}}"#.to_vec();
            body[at] = byte;
            if let Ok(Body::One(read)) = read(&body) {
                // What the parts say is what the one parsed value says.
                if let Message::Request { params: Some(params), .. } = read.message {
                    prop_assert_eq!(&serde_json::from_str::<Value>(params.get()).unwrap(), &read.value["params"]);
                }
            }
        }
    }
}
