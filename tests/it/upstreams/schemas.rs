//! What is known of the tools of a real child process: whoever asked for its list, and before anybody has.

use super::*;
use paraph::gate::upstream::{InputSchema, Upstream as _};
use serde_json::json;

/// Lists what the file says, and notes in another one that it was started and asked.
const SERVER: &str = r#"
import json, os, sys
tools, notes = sys.argv[1], sys.argv[2]
def note(word): open(notes, "a").write(word + "\n")
note("start")
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    if method == "initialize": answer = {"result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}}
    elif method == "tools/list":
        note("list")
        answer = {"result": {"tools": json.load(open(tools))}} if os.path.exists(tools) else {"error": {"code": -32603, "message": "no list"}}
    else: continue
    print(json.dumps({"jsonrpc": "2.0", "id": id, **answer}), flush=True)
"#;

struct Listing {
    folder: tempfile::TempDir,
    all: Upstreams,
}

impl Listing {
    fn new() -> Listing {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let command = ["python3".to_owned(), "-c".to_owned(), SERVER.to_owned(), path("tools"), path("notes")].into();
        let all = upstreams(server(Transport::Process { command, env: BTreeMap::new(), cwd: None, env_clear: false }), &Bounds::default());
        Listing { folder, all }
    }

    fn lists(&self, tools: &Value) {
        std::fs::write(self.folder.path().join("tools"), tools.to_string()).unwrap();
    }

    fn noted(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("notes")).unwrap_or_default()
    }

    async fn takes(&self, ask_for: Option<&str>, arguments: Value) -> Option<bool> {
        match self.all.input_schema("it", "send_dm", ask_for).await {
            InputSchema::Known(schema) => Some(schema.check_small(&arguments) == Some(paraph::domain::schema::Fit::Fits)),
            InputSchema::Unusable(_) | InputSchema::NotListed => None,
        }
    }
}

fn needs(name: &str) -> Value {
    json!([{"name": "send_dm", "inputSchema": {"type": "object", "required": [name]}}])
}

#[tokio::test]
async fn a_server_is_asked_once_in_the_agents_instance_and_a_later_list_replaces_the_first() {
    let listing = Listing::new();
    listing.lists(&needs("to"));
    assert_eq!(listing.takes(None, json!({"to": 1})).await, None);
    assert_eq!(listing.noted(), "");
    let both = tokio::join!(listing.takes(Some("agent"), json!({"to": 1})), listing.takes(Some("agent"), json!({"text": 1})));
    assert_eq!(both, (Some(true), Some(false)));
    assert_eq!(listing.noted(), "start\nlist\n");
    assert!(listing.all.instance("it", "agent").await.is_some());
    // Another agent's own list is the latest.
    listing.lists(&needs("text"));
    let peer = listing.all.peer("it", "other", None).await.unwrap();
    peer.request("tools/list", None, None, CancellationToken::new()).await.unwrap();
    assert_eq!(listing.takes(Some("agent"), json!({"text": 1})).await, Some(true));
    assert_eq!(listing.takes(None, json!({"to": 1})).await, Some(false));
    assert!(matches!(listing.all.input_schema("it", "unheard of", None).await, InputSchema::NotListed));
    assert!(matches!(listing.all.input_schema("nowhere", "send_dm", Some("agent")).await, InputSchema::NotListed));
    listing.all.shutdown().await;
}

#[tokio::test]
async fn a_server_that_does_not_list_is_not_asked_again_by_every_call() {
    let listing = Listing::new();
    for _ in 0..5 {
        assert_eq!(listing.takes(Some("agent"), json!({})).await, None);
    }
    assert_eq!(listing.noted(), "start\nlist\n");
    // A list that comes some other way counts at once.
    listing.lists(&needs("to"));
    listing.all.refresh_tools("it").await.unwrap();
    assert_eq!(listing.takes(Some("agent"), json!({"to": 1})).await, Some(true));
    listing.all.shutdown().await;
}

#[tokio::test]
async fn a_schema_that_cannot_be_used_is_told_of_on_the_servers_page_and_hides_no_other() {
    let listing = Listing::new();
    let beyond = json!({"type": "object", "properties": {"to": {"$ref": "https://example.org/handle.json"}}});
    listing.lists(&json!([{"name": "send_dm", "inputSchema": {"type": "object"}}, {"name": "beyond", "inputSchema": beyond}, {"name": "without"}]));
    listing.all.refresh_tools("it").await.unwrap();
    assert_eq!(listing.takes(None, json!({})).await, Some(true));
    assert!(matches!(listing.all.input_schema("it", "beyond", None).await, InputSchema::Unusable(why) if why.0.contains("another document")));
    assert!(matches!(listing.all.input_schema("it", "without", None).await, InputSchema::Unusable(why) if why.0 == "is missing"));
    let status = listing.all.servers().await.remove(0);
    let faults: Vec<_> = status.tools.unwrap().into_iter().map(|tool| tool.unusable.map(|why| why.0)).collect();
    assert_eq!(faults, [None, Some("refers to another document, which Paraph does not fetch"), Some("is missing")]);
    listing.all.shutdown().await;
}

/// The message tools of five servers as people run them, written down from their documentation.
#[tokio::test]
async fn the_message_tools_of_five_servers_tell_a_good_call_from_a_bad_one() {
    let text = || json!({"type": "string", "description": "A text."});
    let closed = |schema: Value| {
        let mut schema = schema;
        schema["additionalProperties"] = json!(false);
        schema
    };
    let two = |to: &str, message: &str| json!({"title": "Arguments", "type": "object", "properties": {to: text(), message: text()}, "required": [to, message]});
    let alias = json!({"type": "object", "properties": {"to": text(), "message": {"type": "string", "maxLength": 10_000}, "reply_to_message_id": {"type": "string", "format": "uuid"}},
        "required": ["to", "message"]});
    let signed = json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "required": ["to_agent_id", "content"],
        "properties": {"to_agent_id": text(), "content": {"type": "string", "minLength": 1, "maxLength": 5_000}, "agent_id": text()}});
    let keyed =
        json!({"type": "object", "properties": {"api_key": text(), "to_handle": text(), "content": text()}, "required": ["api_key", "to_handle", "content"]});
    for (schema, good, bad) in [
        (two("username", "message"), json!({"username": "bob", "message": "hi"}), json!({"username": "bob"})),
        (two("user_id", "message"), json!({"user_id": "5", "message": "hi", "more": 1}), json!({"user_id": 5, "message": "hi"})),
        (closed(alias), json!({"to": "@bob", "message": "hi", "reply_to_message_id": "not a uuid"}), json!({"to": "@bob", "message": "hi", "cc": "@eve"})),
        (closed(signed), json!({"to_agent_id": "a", "content": "hi"}), json!({"to_agent_id": "a", "content": ""})),
        (keyed, json!({"api_key": "k", "to_handle": "bob", "content": "hi"}), json!({"to_handle": "bob", "content": "hi"})),
    ] {
        let listing = Listing::new();
        listing.lists(&json!([{"name": "send_dm", "inputSchema": schema}]));
        assert_eq!(listing.takes(Some("agent"), good).await, Some(true), "{schema}");
        assert_eq!(listing.takes(Some("agent"), bad).await, Some(false), "{schema}");
        listing.all.shutdown().await;
    }
}
