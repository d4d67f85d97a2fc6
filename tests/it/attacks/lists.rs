//! Hidden tools stay hidden, however a server packs its list: compressed, streamed, paged, huge, twice, or where no list
//! belongs. A list that cannot be read is an error, never passed on unread.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const LIST: &str = r#"{"tools":[{"name":"read_a"},{"name":"hidden_b"}]}"#;
const SHOWN: &str = r#"{"tools":[{"name":"read_a"}]}"#;

/// An answer with `LIST`, as JSON and as one event, compressed.
const COMPRESSED: [(&str, &str, &str); 6] = [
    (
        "application/json",
        "gzip",
        "H4sIAAAAAAACAz3KQQqAIBAF0Lv8tUS4nKtEiDUDGTaG2krm7rVq+3gDZyta7x0EP81wSAzyDlXakztooJeSG2gZ0HjJ96pEDhHmfjkSs2jYYKvZC8ZOPspTAAAA",
    ),
    ("application/json", "deflate", "eJw9ykEKgCAQBdC7/LVEuJyrRIg1Axk2htpK5u61avt4A2crWu8dBD/NcEgM8g5V2pM7aKCXkhtoGdB4yfeqRA4R5n45ErNo2GCr2QtD0xsG"),
    ("application/json", "br", "G1IAGIzUYs0Z7oxQ6VBuS/3yM2StigzVYhPrWOn0OcaBy/mN67YMJvcBGTeu6AwiUvCgZPf8t4FbQ9wDFxYkVfTEGLTFpIDJWHhUAQ=="),
    (
        "text/event-stream",
        "gzip",
        "H4sIAAAAAAACAz3KQQqAIBAF0L2niL+WiJZzlQiZGiHDNNRWMnevVdvHE25MQ8dZcyr3DsI8TrAIApotiq9PbKCOlnOsoKUj8eW/VzyLY6j95QgiPrkNuqoa8wKWdmoIWwAAAA==",
    ),
    (
        "text/event-stream",
        "deflate",
        "eJw9ykEKgCAQBdC9p4i/loiWc5UImRohwzTUVjJ3r1XbxxNuTEPHWXMq9w7CPE6wCAKaLYqvT2ygjpZzrKClI/Hlv1c8i2Oo/eUIIj65DbqqGvMCJ9odDg==",
    ),
    ("text/event-stream", "br", "G1oAQIzEOBbxRnEhBeK2/pJk+Yi8VZGjWmxiPU8dkT6nHLC35nFYlhxM7jk8HY8UrAYSJfivz38bWG0o98AUSxEkDj2odNhxPlk1HiNf2MgUAQ=="),
];

/// Tools of a large list; every third is hidden.
const MANY: usize = 5_000;

fn many(from: usize) -> String {
    let tool = |number: usize| {
        let name = if number.is_multiple_of(3) { "hidden" } else { "read" };
        format!(r#"{{"name":"{name}_{number}","description":"{}","inputSchema":{{"type":"object"}}}}"#, "d".repeat(900))
    };
    let tools: Vec<String> = (from..from + MANY).map(tool).collect();
    format!(r#"{{"tools":[{}],"nextCursor":"page {}"}}"#, tools.join(","), from + MANY)
}

/// Results that are lists in some way, and what the agent gets; `None` is an error.
const RESULTS: [(&str, &str, Option<&str>); 17] = [
    ("plain", LIST, Some(SHOWN)),
    (
        "paged",
        r#"{"nextCursor":"p2","tools":[{"name":"hidden_b"},{"name":"read_a"}],"_meta":{"x": 1.10}}"#,
        Some(r#"{"nextCursor":"p2","tools":[{"name":"read_a"}],"_meta":{"x": 1.10}}"#),
    ),
    ("escaped", r#"{"\u0074ools":[{"name":"read_a"},{"n\u0061me":"hidden\u005fb"}]}"#, Some(SHOWN)),
    ("twice, first clean", r#"{"tools":[{"name":"read_a"}],"tools":[{"name":"hidden_b"}]}"#, None),
    ("twice, last clean", r#"{"tools":[{"name":"hidden_b"}],"tools":[{"name":"read_a"}]}"#, None),
    ("twice, one escaped", r#"{"tools":[{"name":"read_a"}],"t\u006fols":[{"name":"hidden_b"}]}"#, None),
    ("a second in capitals", r#"{"tools":[{"name":"read_a"}],"TOOLS":[{"name":"hidden_b"}]}"#, None),
    ("a second with a long s", "{\"tools\":[{\"name\":\"read_a\"}],\"tool\u{17f}\":[{\"name\":\"hidden_b\"}]}", None),
    ("only in capitals", r#"{"Tools":[{"name":"hidden_b"}]}"#, None),
    ("an object", r#"{"tools":{"0":{"name":"hidden_b"}}}"#, None),
    ("null", r#"{"tools":null,"x":"hidden_b"}"#, None),
    ("no list", r#"{"content":[{"type":"text","text":"hidden_b"}]}"#, None),
    ("an array", r#"[{"name":"hidden_b"}]"#, None),
    ("a string", r#""hidden_b""#, None),
    (
        "names twice",
        r#"{"tools":[{"name":"read_a"},{"name":"read_b","name":"hidden_b"},{"name":"hidden_b","name":"read_b"},{"name":"read_c","Name":"hidden_b"},{"NAME":"hidden_b"}]}"#,
        Some(SHOWN),
    ),
    ("names that are none", r#"{"tools":[{"name":"read_a"},{"name":["hidden_b"]},{"name":null,"title":"hidden_b"},"hidden_b",["hidden_b"],{}]}"#, Some(SHOWN)),
    ("empty", r#"{"tools":[]}"#, Some(r#"{"tools":[]}"#)),
];

fn answer(id: &Value, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

fn typed(kind: &str, body: impl Into<Body>) -> Response<Body> {
    Response::builder().header("content-type", kind).body(body.into()).unwrap()
}

/// Packs its list as the cursor says.
async fn pack(body: Bytes) -> Response<Body> {
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(id) = message.get("id") else { return Response::builder().status(202).body(Body::empty()).unwrap() };
    let (method, cursor) = (message["method"].as_str().unwrap_or_default(), message["params"]["cursor"].as_str().unwrap_or_default());
    if method == "initialize" {
        return typed("application/json", answer(id, r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#));
    }
    if method != "tools/list" {
        return typed("application/json", answer(id, r#"{"prompts":[{"name":"how to use hidden_b"}]}"#));
    }
    if let Some((_, result, _)) = RESULTS.iter().find(|(name, _, _)| *name == cursor) {
        return typed("application/json", answer(id, result));
    }
    let event = |text: &str| format!("data: {text}\n\n");
    let list = answer(id, LIST);
    let noise = [
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"listing"}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"tools":[{"name":"hidden_b"}]}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/tools/list_\u0063hanged","params":{"tools":[{"name":"hidden_b"}]}}"#,
    ];
    let many = || answer(id, &many(cursor.rsplit(' ').next().and_then(|from| from.parse().ok()).unwrap_or(0)));
    match cursor {
        "event" => typed("text/event-stream", event(&list)),
        "event after others" => typed("text/event-stream", format!("{}{}", noise.map(event).concat(), event(&list))),
        "event of many lines" => typed("text/event-stream", format!("id: 1\nevent: message\ndata: {}\n\n", list.replace(',', "\ndata: ,\r\ndata: "))),
        "event and another" => typed("text/event-stream", format!("{}{}", event(&answer(id, SHOWN)), event(&list))),
        "foreign first" => typed("text/event-stream", format!("{}{}", event(&answer(&json!(9_999), LIST)), event(&answer(id, SHOWN)))),
        "in small pieces" => {
            let pieces: Vec<_> = list.into_bytes().chunks(3).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
            typed("application/json", Body::from_stream(futures_util::stream::iter(pieces)))
        }
        "batch" => typed("application/json", format!("[{list}]")),
        "two texts" => typed("application/json", format!("{}{list}", answer(id, SHOWN))),
        "two results" => typed("application/json", format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{SHOWN},"result":{LIST}}}"#)),
        "mark" => typed("application/json", format!("\u{feff}{list}")),
        "utf-16" => typed("application/json; charset=utf-16", list.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()),
        "html" => typed("text/html", list),
        "error" => typed("application/json", format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-7,"message":"no list","data":{LIST}}}}}"#)),
        "error 400" => Response::builder()
            .status(400)
            .body(Body::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-7,"message":"no list","d\u0061ta":{LIST}}}}}"#)))
            .unwrap(),
        "said to be compressed" => {
            Response::builder().header("content-type", "application/json").header("content-encoding", "gzip").body(Body::from(list)).unwrap()
        }
        _ if cursor.starts_with("page") => typed("application/json", many()),
        _ if cursor.starts_with("event page") => typed("text/event-stream", event(&many())),
        _ => {
            let (number, declared) = cursor.split_once(' ').unwrap();
            let (kind, coding, body) = COMPRESSED[number.parse::<usize>().unwrap()];
            let builder = Response::builder().header("content-type", kind);
            let builder = if declared == "declared" { builder.header("content-encoding", coding) } else { builder };
            builder.body(Body::from(STANDARD.decode(body).unwrap())).unwrap()
        }
    }
}

/// Answers with the result that the cursor is, and gives what it got away in nothing.
const CHILD: &str = r#"
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message: continue
    result = '{"protocolVersion":"2025-11-25","capabilities":{}}'
    if message["method"] == "tools/list":
        print('{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"tools":[{"name":"hidden_b"}]}}')
        result = message["params"]["cursor"]
    print('{"jsonrpc":"2.0","id":%d,"result":%s}' % (message["id"], result), flush=True)
"#;

async fn site() -> Site {
    let url = at_a_port(axum::Router::new().fallback(pack)).await;
    let hides_all = Policy::build(PolicySpec { default: Action::Allow, rules: vec![rule("nothing", "*", Action::Hide)], ..PolicySpec::default() }).unwrap();
    let servers = [
        ("http".to_owned(), (at_url(url.clone()), policy(Action::Allow))),
        ("stdio".to_owned(), (child(CHILD, ""), policy(Action::Allow))),
        ("closed".to_owned(), (at_url(url.clone()), policy(Action::Deny))),
        ("hides all".to_owned(), (at_url(url.clone()), hides_all)),
        ("hides by default".to_owned(), (at_url(url), policy(Action::Hide))),
    ];
    let servers = servers.map(|(name, server)| (name.replace(' ', "-"), server));
    Site::before(servers.into(), BTreeMap::new(), tempfile::tempdir().unwrap()).await
}

async fn list(site: &Site, server: &str, session: &str, cursor: &str) -> Raw {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"cursor": cursor}});
    site.post(server, session, body.to_string().as_bytes()).await
}

/// The answer to the list, as JSON or as the last event.
fn result(raw: &Raw) -> &str {
    let text = raw.body.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap_or(&raw.body);
    text.strip_prefix(r#"{"jsonrpc":"2.0","id":1,"result":"#).and_then(|text| text.strip_suffix('}')).unwrap_or_else(|| panic!("no result: {raw:?}"))
}

#[tokio::test]
async fn a_list_is_filtered_whatever_shape_it_has_or_is_an_error() {
    let site = site().await;
    for (server, revision) in [("http", "2025-06-18"), ("http", "2025-11-25"), ("stdio", "2025-06-18"), ("stdio", "2025-11-25")] {
        let session = site.session(server, revision).await;
        for (name, sent, shown) in RESULTS {
            let raw = list(&site, server, &session, if server == "stdio" { sent } else { name }).await;
            match shown {
                Some(shown) => assert_eq!(result(&raw), shown, "{name}"),
                None => assert_eq!(raw.error(), Some(-32603), "{name}: {raw:?}"),
            }
            assert!(!raw.body.contains("hidden"), "{name}: {raw:?}");
        }
    }
    site.upstreams.shutdown().await;
}

#[tokio::test]
async fn a_list_is_asked_for_by_one_name_only() {
    let site = site().await;
    let session = site.session("http", "2025-11-25").await;
    let asked = |method: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"cursor":"plain"}}}}"#);
    for method in ["tools\\/list", "\\u0074ools/list", "tools/lis\\u0074"] {
        assert_eq!(result(&site.post("http", &session, asked(method).as_bytes()).await), SHOWN, "{method}");
    }
    for method in ["Tools/List", "TOOLS/LIST", "tools/list ", " tools/list", "tools/list\\u0000", "tools//list", "tool\u{17f}/list"] {
        assert_eq!(site.post("http", &session, asked(method).as_bytes()).await.error(), Some(-32601), "{method}");
    }
}

#[tokio::test]
async fn a_compressed_list_is_refused_and_the_operator_reads_why() {
    let site = site().await;
    let session = site.session("http", "2025-11-25").await;
    for number in 0..COMPRESSED.len() {
        for declared in ["declared", "undeclared"] {
            let raw = list(&site, "http", &session, &format!("{number} {declared}")).await;
            assert_eq!(raw.error(), Some(-32603), "{number} {declared} {raw:?}");
            let why = raw.json()["error"]["message"].as_str().unwrap().to_owned();
            assert_eq!(why.contains("compressed"), declared == "declared", "{why}");
        }
    }
    let raw = list(&site, "http", &session, "said to be compressed").await;
    assert_eq!(raw.error(), Some(-32603), "{raw:?}");
}

#[tokio::test]
async fn a_list_in_a_stream_or_in_pieces_is_filtered_and_a_notification_carries_none() {
    let site = site().await;
    let session = site.session("http", "2025-11-25").await;
    for packed in ["event", "event after others", "event of many lines", "event and another", "foreign first", "in small pieces", "html"] {
        let raw = list(&site, "http", &session, packed).await;
        assert_eq!(result(&raw), SHOWN, "{packed}");
        assert!(!raw.body.contains("hidden"), "{packed}: {raw:?}");
        assert_eq!(raw.body.matches("list_changed").count(), if packed == "event after others" { 2 } else { 0 }, "{raw:?}");
    }
    for packed in ["batch", "two texts", "two results", "mark", "utf-16"] {
        let raw = list(&site, "http", &session, packed).await;
        assert_eq!(raw.error(), Some(-32603), "{packed}: {raw:?}");
        assert!(!raw.body.contains("hidden"), "{packed}: {raw:?}");
    }
    for packed in ["error", "error 400"] {
        let raw = list(&site, "http", &session, packed).await;
        assert_eq!(raw.body, r#"{"jsonrpc":"2.0","id":1,"error":{"code":-7,"message":"no list"}}"#, "{packed}");
    }
}

#[tokio::test]
async fn a_list_of_five_thousand_tools_is_filtered_page_by_page() {
    let site = site().await;
    let session = site.session("http", "2025-11-25").await;
    for kind in ["page", "event page"] {
        for from in [0, MANY] {
            let raw = list(&site, "http", &session, &format!("{kind} {from}")).await;
            let list: Value = serde_json::from_str(result(&raw)).unwrap();
            let names: Vec<&str> = list["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
            let expected: Vec<String> = (from..from + MANY).filter(|number| !number.is_multiple_of(3)).map(|number| format!("read_{number}")).collect();
            assert_eq!(names, expected);
            assert_eq!(list["nextCursor"], format!("page {}", from + MANY));
            assert!(raw.body.len() > 3 << 20 && !raw.body.contains("hidden"));
        }
    }
}

fn call(id: u32, tool: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": {}}}).to_string()
}

#[tokio::test]
async fn who_hides_everything_shows_an_empty_list_and_knows_no_tool() {
    let site = site().await;
    let session = site.session("hides-all", "2025-11-25").await;
    assert_eq!(result(&list(&site, "hides-all", &session, "plain").await), r#"{"tools":[]}"#);
    for tool in ["read_a", "hidden_b", "delete_account", "no_such_tool", "*"] {
        let raw = site.post("hides-all", &session, call(7, tool).as_bytes()).await;
        assert_eq!((raw.status, raw.body), (200, format!(r#"{{"jsonrpc":"2.0","id":7,"error":{{"code":-32602,"message":"Unknown tool: {tool}"}}}}"#)));
    }
}

/// Under a default that denies or allows, a tool that no rule names is judged by that default, and says so; only what is
/// hidden answers as unknown. Whether the server has it makes no difference to either.
#[tokio::test]
async fn a_hidden_tool_answers_as_one_that_the_server_does_not_have() {
    let site = site().await;
    for (server, there, not_there) in [("http", "hidden_b", "hidden_x"), ("closed", "hidden_b", "hidden_x"), ("hides-by-default", "hidden_b", "no_such_tool")] {
        let session = site.session(server, "2025-11-25").await;
        let answers = [there, not_there].map(|tool| (tool, call(7, tool)));
        let mut seen = Vec::new();
        for (tool, body) in answers {
            let raw = site.post(server, &session, body.as_bytes()).await;
            let head: Vec<String> =
                raw.head.lines().filter(|line| !line.starts_with("date:") && !line.starts_with("content-length:")).map(str::to_owned).collect();
            seen.push((raw.status, head, raw.body.replace(tool, "TOOL")));
        }
        assert_eq!(seen[0], seen[1], "{server}");
        assert!(seen[0].2.contains("Unknown tool: TOOL"), "{seen:?}");
    }
}

#[tokio::test]
async fn prompts_and_resources_that_name_a_hidden_tool_are_left_alone() {
    let site = site().await;
    let session = site.session("http", "2025-11-25").await;
    for method in ["prompts/list", "prompts/get", "resources/list", "resources/read"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
        assert_eq!(result(&site.post("http", &session, body.as_bytes()).await), r#"{"prompts":[{"name":"how to use hidden_b"}]}"#);
    }
}
