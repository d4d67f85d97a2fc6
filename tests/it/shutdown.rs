//! Stopping the real program: waiting requests are answered, streams end, a send under way finishes, the log names
//! the head of the audit chain, the exit code is 0; a second signal ends at once, and what was under way then is
//! unknown afterwards, never sent again.

use crate::world::{Agent, Gateway, World, http, text_of, until};
use serde_json::{Value, json};
use std::path::Path;

const ANN: &str = "ann@example.org";

/// Notes what it was asked to send and answers when the file `go` is there.
const SLOW: &str = r#"
import json, os, sys, time
folder = sys.argv[1]
def answer(id, result): print(json.dumps({"jsonrpc": "2.0", "id": id, "result": result}), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    if method == "initialize": answer(id, {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "slow", "version": "1"}})
    elif method == "tools/list": answer(id, {"tools": [{"name": "send_dm", "inputSchema": {"type": "object"}}]})
    elif method == "tools/call":
        with open(os.path.join(folder, "outbox"), "a") as outbox: outbox.write(json.dumps(message["params"]["arguments"]) + "\n")
        while not os.path.exists(os.path.join(folder, "go")): time.sleep(0.02)
        answer(id, {"content": [{"type": "text", "text": "Sent slowly."}]})
"#;

fn slow_world() -> World {
    let world = World::new(
        r#"
[servers.slow]
command = ["python3", "FOLDER/slow.py", "FOLDER"]

[[servers.slow.rules]]
name   = "dms-need-a-person"
tools  = ["send_dm"]
action = "require_approval"
"#,
    );
    std::fs::write(world.path("slow.py"), SLOW).expect("a server");
    world
}

fn dm(text: &str) -> Value {
    json!({"to": "@bob", "text": text})
}

fn id_of(call: &Value) -> &str {
    call["id"].as_str().expect("an id")
}

async fn exists(path: &Path) {
    until("the server was asked to send", || async { path.exists().then_some(()) }).await;
}

/// One call that is being sent and one that waits for a person.
async fn one_leaves_and_one_waits(gateway: &Gateway, world: &World, tokens: &(String, String)) -> (Waiting, Waiting) {
    let (agent, desk) = (Agent::connect(&gateway.mcp("slow"), &tokens.0).await, gateway.desk(&tokens.1));
    let leaving = agent.begin("send_dm", dm("this one leaves"));
    let held = desk.held("this one leaves").await;
    desk.approve(&held).await;
    exists(&world.path("outbox")).await;
    let waiting = agent.begin("send_dm", dm("this one waits"));
    let held_on = desk.held("this one waits").await;
    ((leaving, held), (waiting, held_on))
}

type Waiting = (tokio::task::JoinHandle<Result<Value, String>>, Value);

async fn answer_of(request: tokio::task::JoinHandle<Result<Value, String>>) -> Value {
    request.await.expect("the request ends").expect("the request is answered")["result"].clone()
}

#[tokio::test]
async fn told_to_stop_it_answers_who_waits_finishes_what_leaves_and_names_the_head_of_the_chain() {
    let world = slow_world();
    let tokens = (world.agent("support-bot").await, world.reviewer(ANN).await);
    let gateway = world.serve().await;
    let ((leaving, sent), (waiting, held)) = one_leaves_and_one_waits(&gateway, &world, &tokens).await;
    let mut events = http().get(format!("{}/api/v1/events", gateway.url)).bearer_auth(&tokens.1).send().await.expect("a stream");
    let log_so_far = gateway.log();
    assert!(!log_so_far.contains("this is the head of the audit chain"));

    let (log, health) = (world.path("gateway.log"), format!("{}/readyz", gateway.url));
    let stopping = tokio::spawn(gateway.stop());
    let pending = answer_of(waiting).await;
    assert!(text_of(&pending).starts_with("NOT SENT YET. A person must approve this"), "{pending}");
    assert_eq!(pending["_meta"]["paraph/call"]["id"], held["id"]);
    while let Ok(Some(_)) = events.chunk().await {}
    // Not ready any more: no answer at all, or "draining".
    if let Ok(answer) = http().get(health).send().await {
        assert_eq!(answer.status().as_u16(), 503);
    }
    assert!(!stopping.is_finished(), "a send is under way");
    std::fs::write(world.path("go"), "").expect("a file");
    let delivered = answer_of(leaving).await;
    assert_eq!(text_of(&delivered), "Sent slowly.");
    assert!(stopping.await.expect("it stops"), "the exit code is 0");

    let export = world.audit_is_whole().await;
    let head: Value = serde_json::from_str(export.lines().last().expect("a head line")).expect("JSON");
    let hash = head["head"]["hash"].as_str().expect("a hash");
    let log = std::fs::read_to_string(log).expect("the log");
    let last = log.lines().rfind(|line| line.contains("this is the head of the audit chain")).expect("the head is logged");
    assert!(last.contains(hash), "{last} does not name {hash}");

    let gateway = world.serve().await;
    let desk = gateway.desk(&tokens.1);
    assert_eq!(desk.call(id_of(&sent)).await["state"], "answered");
    assert_eq!(desk.call(id_of(&held)).await["state"], "held");
    assert!(!world.audit_is_whole().await.contains("unclean_start"));
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_what_was_being_sent_is_unknown_afterwards() {
    let world = slow_world();
    let tokens = (world.agent("support-bot").await, world.reviewer(ANN).await);
    let gateway = world.serve().await;
    let ((leaving, sent), (waiting, held)) = one_leaves_and_one_waits(&gateway, &world, &tokens).await;
    gateway.signal();
    // The first signal has arrived once the waiting request is answered.
    assert!(text_of(&answer_of(waiting).await).starts_with("NOT SENT YET."));
    assert!(!gateway.stop().await, "it ended at once, which is not a success");
    assert!(leaving.await.expect("the request ends").is_err(), "nobody knows the answer yet");

    let gateway = world.serve().await;
    let desk = gateway.desk(&tokens.1);
    assert_eq!(desk.call(id_of(&sent)).await["state"], "unconfirmed");
    assert_eq!(desk.call(id_of(&held)).await["state"], "held");
    std::fs::write(world.path("go"), "").expect("a file");
    let agent = Agent::connect(&gateway.mcp("slow"), &tokens.0).await;
    let again = answer_of(agent.begin("send_dm", dm("this one leaves"))).await;
    assert_eq!(text_of(&again), "UNKNOWN whether it was sent. Do not send it again; a person is checking.");
    let asked = std::fs::read_to_string(world.path("outbox")).expect("the outbox");
    assert_eq!(asked.lines().count(), 1, "it was sent again:\n{asked}");
    assert!(world.audit_is_whole().await.contains("unclean_start"));
}
