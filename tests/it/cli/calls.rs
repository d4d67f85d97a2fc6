//! `paraph calls` after a decision: what is unknown, what is taken back, what is to be changed, what was closed.

use crate::world::{Agent, Desk, Gateway, World, text_of};
use serde_json::{Value, json};

/// A server that takes a call and is gone: nobody knows what became of it.
const FRAIL: &str = r#"
[servers.frail]
command = ["python3", "-c", """
import json, os, sys
for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    if method == "tools/call":
        os._exit(3)
    answers = {"initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "frail", "version": "1"}},
               "tools/list": {"tools": [{"name": "send_dm", "inputSchema": {"type": "object"}}]}}
    if "id" in message:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": answers.get(method, {})}), flush=True)
"""]
default = "deny"

[[servers.frail.rules]]
name   = "held"
tools  = ["send_dm"]
action = "require_approval"

[servers.frail.messages.send_dm]
to = "/to"
text = "/text"
"#;

/// A world with a reviewer at the terminal.
struct Terminal {
    world: World,
    gateway: Gateway,
    desk: Desk,
    agent: String,
}

/// Exit code, standard output, standard error.
type Told = (i32, String, String);

impl Terminal {
    async fn open(further: &str) -> Terminal {
        let world = World::with_demo_server(&format!("{further}\n{FRAIL}"));
        let (agent, ann) = (world.agent("support-bot").await, world.reviewer("ann@example.org").await);
        std::fs::write(world.path("token"), &ann).unwrap();
        let gateway = world.serve().await;
        let desk = gateway.desk(&ann);
        Terminal { world, gateway, desk, agent }
    }

    async fn agent(&self, server: &str) -> Agent {
        Agent::connect(&self.gateway.mcp(server), &self.agent).await
    }

    async fn calls(&self, arguments: &[&str]) -> Told {
        let token = self.world.path("token").display().to_string();
        let output = self.world.run(&[&["calls"], arguments, &["--url", &self.gateway.url, "--token-file", &token]].concat()).await;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// A held call of this text; its id.
    async fn hold(&self, agent: &Agent, text: &str) -> String {
        drop(agent.begin("send_dm", dm(text)));
        id_of(&self.desk.held(text).await)
    }
}

fn dm(text: &str) -> Value {
    json!({"to": "@bob", "text": text})
}

fn id_of(call: &Value) -> String {
    call["id"].as_str().unwrap().to_owned()
}

async fn send(agent: &Agent, text: &str) -> Value {
    agent.request("tools/call", json!({"name": "send_dm", "arguments": dm(text)})).await.unwrap()["result"].clone()
}

#[tokio::test]
async fn a_call_of_which_nobody_knows_whether_it_was_sent_is_listed_with_what_to_do_and_resolved_once() {
    let terminal = Terminal::open("").await;
    let agent = terminal.agent("frail").await;
    let id = terminal.hold(&agent, "perhaps").await;
    terminal.desk.approve(&terminal.desk.call(&id).await).await;
    terminal.desk.settled(&id, &["unconfirmed"]).await;
    let (code, list, hint) = terminal.calls(&[]).await;
    assert!(code == 0 && list.contains(&id), "{list}");
    assert!(hint.contains("1 call is unconfirmed") && hint.contains(&format!("paraph calls resolve {id} --sent")), "{hint}");
    assert_eq!(send(&agent, "perhaps").await["_meta"]["paraph/call"]["state"], "unconfirmed");

    let (code, out, why) = terminal.calls(&["resolve", &id, "--not-sent"]).await;
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(why.contains("--yes"), "{why}");
    let (code, out, why) = terminal.calls(&["resolve", &id, "--not-sent", "--note", "not in the sent folder", "--yes"]).await;
    assert_eq!(code, 0, "{why}");
    assert!(out.contains("| perhaps") && out.ends_with(&format!("{id} is answered.\n")), "the whole message and what became of it: {out}");
    let told = send(&agent, "perhaps").await;
    assert!(told.to_string().contains("not in the sent folder"), "the agent is told what the person found: {told}");

    let (code, _, why) = terminal.calls(&["resolve", &id, "--sent", "--yes"]).await;
    assert_eq!(code, 1);
    assert!(why.contains("the call is answered") && why.contains("nothing to resolve"), "{why}");
    assert_eq!(terminal.calls(&[]).await.2, "Nothing waits for a person.\n");
    assert_eq!(terminal.calls(&["resolve", "c_none", "--sent", "--yes"]).await.0, 1);
    assert!(terminal.world.audit_is_whole().await.contains("call.resolved"));
}

#[tokio::test]
async fn an_approval_is_taken_back_in_its_undo_window_and_not_twice() {
    let terminal = Terminal::open("[hold]\nundo = \"10m\"\n").await;
    let agent = terminal.agent("demo").await;
    let id = terminal.hold(&agent, "wait").await;
    terminal.desk.approve(&terminal.desk.call(&id).await).await;
    let (code, out, why) = terminal.calls(&["undo", &id]).await;
    assert_eq!((code, out), (0, format!("{id} is held.\n")), "{why}");
    let (code, out, why) = terminal.calls(&["undo", &id]).await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(why.contains("no approval to take back"), "{why}");
    terminal.desk.reject(&terminal.desk.call(&id).await, "no").await;
    assert!(terminal.calls(&["undo", &id]).await.2.contains("too late, nothing was taken back: the call is rejected"));
    assert!(terminal.world.sent().is_empty());
}

#[tokio::test]
async fn an_agent_is_asked_for_another_text_and_told_which() {
    let terminal = Terminal::open("").await;
    let agent = terminal.agent("demo").await;
    let waiting = agent.begin("send_dm", dm("too long"));
    let id = id_of(&terminal.desk.held("too long").await);
    assert_eq!(terminal.calls(&["changes", &id]).await.0, 2);
    assert_eq!(terminal.calls(&["changes", &id, "--reason", " "]).await.0, 2);
    assert_eq!(terminal.calls(&["changes", &id, "--reason", "Shorter.", "--digest", "sha256:00"]).await.0, 1);
    let (code, out, why) = terminal.calls(&["changes", &id, "--reason", "Shorter, please."]).await;
    assert_eq!((code, out), (0, format!("{id} is changes requested.\n")), "{why}");
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(answer["result"]["_meta"]["paraph/call"]["state"], "changes_requested");
    assert!(text_of(&answer["result"]).contains("Shorter, please"), "{answer}");
}

#[tokio::test]
async fn a_way_that_three_refusals_closed_is_opened_again() {
    let terminal = Terminal::open("").await;
    let agent = terminal.agent("demo").await;
    let mut id = String::new();
    for text in ["first", "second", "third"] {
        id = terminal.hold(&agent, text).await;
        if text == "first" {
            let (code, _, why) = terminal.calls(&["lift", &id]).await;
            assert!(code == 1 && why.contains("not closed"), "{why}");
        }
        terminal.desk.reject(&terminal.desk.call(&id).await, "no").await;
    }
    assert_eq!(send(&agent, "fourth").await["_meta"]["paraph/call"]["rule"], "three-refusals");
    let (code, out, why) = terminal.calls(&["lift", &id, "--json"]).await;
    assert_eq!((code, serde_json::from_str::<Value>(&out).unwrap()), (0, json!({"lifted": true})), "{why}");
    terminal.hold(&agent, "fifth").await;
}

#[tokio::test]
async fn a_call_is_edited_from_a_file_and_the_agent_is_told_what_was_really_sent() {
    let terminal = Terminal::open("").await;
    let agent = terminal.agent("demo").await;
    let waiting = agent.begin("send_dm", dm("You owe me 40 euros!"));
    let call = terminal.desk.held("40 euros").await;
    let (id, digest) = (id_of(&call), call["digest"].as_str().unwrap().to_owned());
    let file = terminal.world.path("mended.json").display().to_string();
    let approve = async |text: &str, digest: &str| {
        std::fs::write(&file, text).unwrap();
        terminal.calls(&["approve", &id, "--digest", digest, "--arguments", &file]).await
    };
    for (text, code, says) in [
        ("{", 2, "not JSON that Paraph accepts"),
        ("[]", 2, "is not a JSON object"),
        (r#"{"to":"@bob","to":"@eve","text":"x"}"#, 2, "the same key stands twice"),
        (r#"{"to":"@bob"}"#, 1, "must have a member \"text\""),
    ] {
        let (ended, _, why) = approve(text, &digest).await;
        assert!(ended == code && why.contains(says), "{text}: {ended} {why}");
    }
    let mended = r#"{"to":"@bob","text":"May I remind you of the 40 euros?"}"#;
    assert_eq!(approve(mended, "sha256:00").await.0, 1);
    assert_eq!(terminal.calls(&["approve", &id, "--digest", &digest, "--arguments", "nowhere.json"]).await.0, 2);
    let (code, out, why) = approve(mended, &digest).await;
    assert_eq!(code, 0, "{why}");
    assert!(out.contains("You owe me") && out.contains("Instead of these arguments") && out.contains("May I remind you"), "{out}");
    let answer = waiting.await.unwrap().unwrap()["result"].clone();
    let blocks: Vec<&str> = answer["content"].as_array().unwrap().iter().map(|block| block["text"].as_str().unwrap()).collect();
    assert_eq!(blocks.len(), 2, "{answer}");
    assert_eq!(blocks[1], format!("A person changed this before approving it. Sent with these arguments: {mended}"));
    assert!(answer.get("isError").is_none_or(|error| error == false));
    assert_eq!(terminal.world.sent().keys().collect::<Vec<_>>(), ["May I remind you of the 40 euros?"]);
    let (_, shown, _) = terminal.calls(&["show", &id]).await;
    assert!(shown.contains("A person edited this. The agent asked for") && shown.contains("You owe me"), "{shown}");
    assert!(terminal.world.audit_is_whole().await.contains("call.edited"));
}

#[tokio::test]
async fn what_the_servers_own_schema_does_not_take_reaches_nobody() {
    let terminal = Terminal::open("").await;
    let agent = terminal.agent("demo").await;
    let told = agent.request("tools/call", json!({"name": "send_dm", "arguments": {"to": 5, "text": "x"}})).await.unwrap()["result"].clone();
    assert_eq!((&told["isError"], &told["_meta"]["paraph/call"]["rule"]), (&json!(true), &json!("inputSchema")));
    assert!(text_of(&told).contains("/to must be of type string"), "{told}");
    assert_eq!(terminal.calls(&[]).await.2, "Nothing waits for a person.\n");
}
