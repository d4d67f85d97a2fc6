//! One line of a client, looked at just enough to know who waits for an answer to it. Nothing is written anew: what
//! goes to the gateway are the client's bytes, and what comes back loses line breaks and blanks between tokens, where
//! JSON has no meaning for them, and only when it had a line break. Called by `mod` and `request`.

use crate::mcp::upstream::wire::Members;
use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A request that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// JSON text of its id, as it came.
    pub id: String,
    /// The same id however it was escaped.
    pub key: String,
    pub method: String,
}

/// What a line is to the front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Begins a session.
    Initialize,
    /// One request, or a batch with at least one.
    Requests,
    /// `notifications/initialized`.
    Initialized,
    /// Takes back the request of this key.
    Cancel(String),
    /// A notification, an answer to the server, or what only the gateway can name.
    Other,
}

/// One message, or a batch of them.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub text: Bytes,
    pub kind: Kind,
    pub asked: Vec<Asked>,
    pub batch: bool,
}

/// Reads a line; `None` when it is no JSON in UTF-8.
pub(super) fn read(line: Vec<u8>) -> Option<Message> {
    let text = std::str::from_utf8(&line).ok()?;
    let whole: &RawValue = serde_json::from_str(text).ok()?;
    let batch = whole.get().starts_with('[');
    let asked: Vec<Asked> = parts(whole.get()).iter().filter_map(|members| asked(members)).collect();
    let kind = match (&asked[..], batch) {
        ([one], false) if one.method == "initialize" => Kind::Initialize,
        ([], false) => alone(&Members::read(whole.get()).unwrap_or(Members(Vec::new()))),
        ([], true) => Kind::Other,
        _ => Kind::Requests,
    };
    Some(Message { text: Bytes::from(line), kind, asked, batch })
}

/// Which requests a text of the gateway answers, by their keys.
pub(super) fn answered(text: &str) -> Vec<String> {
    let is_answer = |members: &Members<'_>| members.get("method").is_none() && (members.get("result").is_some() || members.get("error").is_some());
    parts(text).iter().filter(|members| is_answer(members)).filter_map(|members| Some(key(members.get("id")?))).collect()
}

/// The `error` member of an answer that names no request.
pub(super) fn nameless_error(text: &str) -> Option<String> {
    let members = Members::read(text)?;
    let nameless = members.get("id").is_none_or(|id| id.get() == "null");
    members.get("error").filter(|error| nameless && error.get().starts_with('{')).map(|error| error.get().to_owned())
}

/// `error.code` of an answer.
pub(super) fn error_code(text: &str) -> Option<i64> {
    let members = Members::read(text)?;
    Members::read(members.get("error")?.get())?.get("code")?.get().parse().ok()
}

/// The text on one line, value for value and byte for byte; `None` when it is no JSON.
pub(super) fn relaid(text: &str) -> Option<Cow<'_, str>> {
    let text = serde_json::from_str::<&RawValue>(text).ok()?.get();
    if !text.contains(['\n', '\r']) {
        return Some(Cow::Borrowed(text));
    }
    let (mut out, mut quoted, mut escaped) = (String::with_capacity(text.len()), false, false);
    for letter in text.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' | '\t' | '\n' | '\r' if !quoted => continue,
            _ => {}
        }
        out.push(letter);
    }
    Some(Cow::Owned(out))
}

fn parts(text: &str) -> Vec<Members<'_>> {
    if text.trim_start().starts_with('[') {
        let elements: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
        return elements.into_iter().filter_map(|element| Members::read(element.get())).collect();
    }
    Members::read(text).into_iter().collect()
}

fn asked(members: &Members<'_>) -> Option<Asked> {
    let id = members.get("id").filter(|id| id.get() != "null")?;
    let method: String = serde_json::from_str(members.get("method")?.get()).ok()?;
    Some(Asked { id: id.get().to_owned(), key: key(id), method })
}

fn alone(members: &Members<'_>) -> Kind {
    let method = members.get("method").and_then(|method| serde_json::from_str::<String>(method.get()).ok());
    match method.as_deref() {
        Some("notifications/initialized") => Kind::Initialized,
        Some("notifications/cancelled") => {
            let named = members.get("params").and_then(|params| Members::read(params.get())).and_then(|params| params.get("requestId").map(key));
            named.map_or(Kind::Other, Kind::Cancel)
        }
        _ => Kind::Other,
    }
}

fn key(id: &RawValue) -> String {
    serde_json::from_str::<Value>(id.get()).map_or_else(|_| id.get().to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind(line: &str) -> Option<(Kind, Vec<String>)> {
        read(line.as_bytes().to_vec()).map(|message| (message.kind, message.asked.into_iter().map(|asked| asked.id).collect()))
    }

    #[test]
    fn a_line_is_known_by_who_waits_for_it() {
        let rows = [
            (r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}"#, Kind::Initialize, vec!["0"]),
            (r#"{"method":"tools\/call","params":{},"jsonrpc":"2.0","id":"\u0061"}"#, Kind::Requests, vec![r#""\u0061""#]),
            (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, Kind::Initialized, vec![]),
            (r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"\u0061"}}"#, Kind::Cancel(r#""a""#.to_owned()), vec![]),
            (r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#, Kind::Other, vec![]),
            (r#"{"jsonrpc":"2.0","id":3,"result":{"method":"x"}}"#, Kind::Other, vec![]),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"b"},{"id":2,"method":"c"},7]"#, Kind::Requests, vec!["1", "2"]),
            (r#"[{"jsonrpc":"2.0","method":"b"}]"#, Kind::Other, vec![]),
            (r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#, Kind::Other, vec![]),
            ("7", Kind::Other, vec![]),
        ];
        for (line, expected, ids) in rows {
            assert_eq!(kind(line), Some((expected, ids.into_iter().map(str::to_owned).collect())), "{line}");
        }
        for line in ["", "{", "hello", "{\"a\":1}}", "{\"id\":1,\"method\":\"\u{0}\"}"] {
            assert_eq!(kind(line), None, "{line}");
        }
        assert!(read(b"{\"a\":\"\xff\"}".to_vec()).is_none());
    }

    #[test]
    fn an_answer_names_its_request_and_a_question_of_the_server_none() {
        assert_eq!(answered(r#"{"jsonrpc":"2.0","id":"\u0061","result":null}"#), [r#""a""#]);
        assert_eq!(answered(r#"[{"id":1,"result":{}},{"id":2,"error":{}},{"id":3,"method":"m"}]"#), ["1", "2"]);
        assert!(answered(r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}"#).is_empty());
        let refusal = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}"#;
        assert_eq!((nameless_error(refusal).as_deref(), error_code(refusal)), (Some(r#"{"code":-32600,"message":"no"}"#), Some(-32600)));
        assert_eq!(nameless_error(r#"{"id":1,"error":{}}"#), None);
    }

    #[test]
    fn numbers_and_doubles_and_escapes_keep_their_bytes_on_one_line() {
        let printed = "{\r\n  \"a\": 1.10,\n\t\"a\": 12345678901234567890123,\n  \"t\": \" x\\\\\\\"\\n y \",\n  \"e\": [ ]\n}\n";
        assert_eq!(relaid(printed).unwrap(), "{\"a\":1.10,\"a\":12345678901234567890123,\"t\":\" x\\\\\\\"\\n y \",\"e\":[]}");
        // Without a line break nothing is touched but what stands around it.
        assert_eq!(relaid(" {\"a\": [ 1.0 ]} ").unwrap(), "{\"a\": [ 1.0 ]}");
        assert!(relaid("{\n").is_none());
    }

    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("1.10".to_owned()),
            Just("-0".to_owned()),
            Just("null".to_owned()),
            any::<String>().prop_map(|text| Value::String(text).to_string()),
            any::<i64>().prop_map(|number| number.to_string()),
        ];
        let gap = || prop::sample::select(vec!["", " ", "\n", "\r\n\t", "\r"]);
        leaf.prop_recursive(4, 40, 5, move |inner| {
            let members = prop::collection::vec((any::<String>(), gap(), inner.clone(), gap()), 0..5);
            prop_oneof![
                (prop::collection::vec((inner, gap()), 0..5), gap()).prop_map(|(items, gap)| {
                    format!("[{gap}{}{gap}]", items.iter().map(|(item, gap)| format!("{item}{gap}")).collect::<Vec<_>>().join(","))
                }),
                (members, gap()).prop_map(|(members, last)| {
                    let members = members.iter().map(|(name, gap, value, after)| format!("{gap}{}{gap}:{gap}{value}{after}", Value::String(name.clone())));
                    format!("{{{last}{}{last}}}", members.collect::<Vec<_>>().join(","))
                }),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_text_on_one_line_is_the_same_text_but_for_what_stands_between_tokens(text in any_json()) {
            let one = relaid(&text).unwrap();
            prop_assert!(!one.contains(['\n', '\r']));
            let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            prop_assert_eq!(parse(&one), parse(&text));
            let bare = |text: &str| text.chars().filter(|letter| !letter.is_ascii_whitespace()).collect::<String>();
            prop_assert_eq!(bare(&one), bare(&text));
            prop_assert_eq!(relaid(&one).unwrap(), one.clone());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let _ = (read(bytes), relaid(&text), answered(&text), nameless_error(&text), error_code(&text));
        }

        #[test]
        fn a_mutated_request_is_read_or_refused(at in 0usize..85, byte in any::<u8>()) {
            let mut line = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send_dm","arguments":{}}}"#.to_vec();
            line[at] = byte;
            if let Some(message) = read(line.clone()) {
                prop_assert_eq!(&message.text[..], &line[..]);
                prop_assert!(message.asked.len() <= 1);
            }
        }
    }
}
