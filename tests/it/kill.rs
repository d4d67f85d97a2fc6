//! `kill -9` of the real program: nothing acknowledged is lost, nothing is sent twice, no process is left over.

use crate::load::{Dice, Ledger, Load, RULES, Staff, rounds};
use crate::world::{Agent, World, all_gone, text_of};
use serde_json::{Value, json};
use std::time::Duration;

const ANN: &str = "ann@example.org";

fn dm(text: &str) -> Value {
    json!({"to": "@bob", "text": text})
}

fn id_of(call: &Value) -> &str {
    call["id"].as_str().expect("an id")
}

#[tokio::test]
async fn held_calls_survive_a_kill_and_are_sent_once_when_approved() {
    let world = World::with_demo_server("");
    let (token, ann) = (world.agent("support-bot").await, world.reviewer(ANN).await);
    let gateway = world.serve().await;
    let agent = Agent::connect(&gateway.mcp("demo"), &token).await;
    let texts = ["first of three", "second of three", "third of three"];
    let waiting: Vec<_> = texts.iter().map(|text| agent.begin("send_dm", dm(text))).collect();
    let desk = gateway.desk(&ann);
    let mut before = Vec::new();
    for text in texts {
        before.push(desk.held(text).await);
    }
    let children = gateway.children();
    assert!(!children.is_empty(), "the demo server runs below the gateway");
    gateway.kill().await;
    all_gone(&children).await;
    for request in waiting {
        let broken = request.await.expect("the request ends");
        assert!(broken.is_err(), "a request was answered by a killed gateway: {broken:?}");
    }

    let gateway = world.serve().await;
    let desk = gateway.desk(&ann);
    for call in &before {
        let after = desk.call(id_of(call)).await;
        for field in ["state", "version", "digest", "arguments", "agent", "rule", "message", "held_at", "expires_at"] {
            assert_eq!(after[field], call[field], "{field} of {} differs after the kill", id_of(call));
        }
        assert_eq!(after["agent_waiting"], false, "nobody can be waiting any more");
    }

    // One agent asks again and waits, one has gone for good, one was told no.
    let agent = Agent::connect(&gateway.mcp("demo"), &token).await;
    let again = agent.begin("send_dm", dm(texts[0]));
    crate::world::until("the identical call attaches", || async { (desk.call(id_of(&before[0])).await["agent_waiting"] == true).then_some(()) }).await;
    desk.approve(&desk.call(id_of(&before[0])).await).await;
    let answer = again.await.expect("the request ends").expect("the request is answered");
    assert_eq!(text_of(&answer["result"]), "Sent to @bob.", "{answer}");
    desk.approve(&desk.call(id_of(&before[1])).await).await;
    desk.settled(id_of(&before[1]), &["answered"]).await;
    desk.reject(&desk.call(id_of(&before[2])).await, "Not this one.").await;
    assert!(desk.calls("held").await.is_empty());
    assert_eq!(world.sent(), [(texts[0].to_owned(), 1), (texts[1].to_owned(), 1)].into());
    let export = world.audit_is_whole().await;
    assert!(export.contains("unclean_start"), "the kill is in the audit");
    for text in texts {
        assert!(!export.contains(text), "the audit carries a message's text");
    }
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn an_approval_outlives_a_kill_in_its_undo_window() {
    let world = World::with_demo_server("[hold]\nundo = \"2s\"\n");
    let (token, ann) = (world.agent("support-bot").await, world.reviewer(ANN).await);
    let gateway = world.serve().await;
    let agent = Agent::connect(&gateway.mcp("demo"), &token).await;
    let waiting = agent.begin("send_dm", dm("approved, then killed"));
    let desk = gateway.desk(&ann);
    let held = desk.held("approved, then killed").await;
    desk.approve(&held).await;
    gateway.kill().await;
    assert!(waiting.await.expect("the request ends").is_err());
    assert!(world.sent().is_empty(), "it was sent within the undo window");

    let gateway = world.serve().await;
    let answered = gateway.desk(&ann).settled(id_of(&held), &["answered"]).await;
    assert_eq!(answered["decisions"].as_array().map(Vec::len), Some(1), "{answered}");
    assert_eq!(world.sent(), [("approved, then killed".to_owned(), 1)].into());
    world.audit_is_whole().await;
}

/// Several agents hold and send, a reviewer decides, an auditor reads; the kill falls anywhere into that. `PARAPH_ROUNDS`
/// raises the number of kills.
#[tokio::test]
async fn a_hundred_kills_under_load_lose_nothing_and_send_nothing_twice() {
    let world = World::new(&format!("[hold]\nmax_held_per_agent = 100000\nmax_held = 1000000\n{RULES}"));
    let (staff, mut dice, rounds) = (Staff::of(&world).await, Dice::roll(), rounds(100));
    let (mut all, mut last) = (Ledger::default(), Ledger::default());
    for round in 0..rounds {
        let gateway = world.serve().await;
        assert_eq!(last.missing(&gateway, &staff).await, [""; 0], "lost by kill {round}");
        all.absorb(std::mem::take(&mut last));
        let load = Load::begin(&gateway, &staff, &format!("k{round}"), all.next_entry(), &mut dice).await;
        tokio::time::sleep(Duration::from_micros(dice.below(150_000))).await;
        gateway.kill().await;
        last = load.end();
    }
    all.absorb(last);
    let gateway = world.serve().await;
    all.settle(&world, &gateway, &staff, rounds).await;
    assert!(gateway.stop().await);
    eprintln!("{rounds} kills; acknowledged (calls, sent, audit entries, reads): {:?}", all.sizes());
}

/// Notes the moment at which each call reached it.
const CLOCKED: &str = r#"
import json, os, sys, time
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message: continue
    if message["method"] == "initialize":
        result = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "clocked", "version": "1"}}
    elif message["method"] == "tools/list":
        result = {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ["write_note", "read_note"]]}
    else:
        if message.get("params", {}).get("name") == "write_note":
            with open(os.environ["CLOCKED"], "a") as times: times.write("%d\n" % (time.time() * 1000))
        result = {"content": [{"type": "text", "text": "done"}]}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"#;

/// What counts is what the server saw, on the machine's own clock: a kill may take places away and never gives any.
#[tokio::test]
async fn kills_give_nobody_more_than_the_limit_in_any_stretch_of_two_seconds() {
    const MAX: usize = 6;
    const WINDOW: i64 = 2_000;
    let world = World::new(
        "[servers.clocked]\ncommand = [\"python3\", \"FOLDER/clocked.py\"]\nenv = { CLOCKED = \"FOLDER/times\" }\n\
         limits = [{ counter = \"rate\", window = \"2s\", max = 6 }]\n\
         [[servers.clocked.rules]]\nname = \"all\"\ntools = [\"write_*\"]\naction = \"allow\"\n",
    );
    std::fs::write(world.path("clocked.py"), CLOCKED).expect("a server");
    let (token, mut dice) = (world.agent("support-bot").await, Dice::roll());
    let kills = rounds(12);
    for _ in 0..kills {
        let gateway = world.serve().await;
        let agent = Agent::connect(&gateway.mcp("clocked"), &token).await;
        // The child is there before anything is counted: how long one takes to start is not what this is about.
        agent.request("tools/list", json!({})).await.expect("the tools");
        let hammers: Vec<_> = (0..4)
            .map(|hammer| {
                let agent = agent.clone();
                tokio::spawn(async move {
                    let mut turn = 0;
                    while agent.request("tools/call", json!({"name": "write_note", "arguments": {"turn": turn, "hammer": hammer}})).await.is_ok() {
                        turn += 1;
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_micros(dice.below(1_500_000))).await;
        gateway.kill().await;
        for hammer in hammers {
            hammer.await.expect("it ends with its gateway");
        }
    }
    let text = std::fs::read_to_string(world.path("times")).expect("something was sent");
    let times: Vec<i64> = text.lines().map(|line| line.parse().expect("a number")).collect();
    let most = times.iter().map(|from| times.iter().filter(|at| (*from..from + WINDOW).contains(at)).count()).max();
    assert!(most <= Some(MAX), "{most:?} within two seconds: {times:?}");
    assert_eq!(most, Some(MAX), "the limit was never reached, so nothing was tried: {times:?}");
    eprintln!("{kills} kills; {} sends, at most {most:?} within {WINDOW} ms", times.len());
}

/// Reading calls draw on blocks that were taken before: after a kill the rest of one counts as used, and nothing that
/// was answered is missing.
#[tokio::test]
async fn a_kill_leaves_a_limit_no_more_room_than_what_was_read_leaves() {
    let world = World::new(
        "[servers.demo]\ncommand = [\"PARAPH\", \"demo-server\"]\nenv = { DEMO_OUTBOX = \"FOLDER/outbox\" }\n\
         reads = [\"read_*\"]\nlimits = [{ counter = \"reading\", window = \"hour\", max = 100000 }]\n\
         [[servers.demo.rules]]\nname = \"reading\"\ntools = [\"read_*\"]\naction = \"allow\"\n",
    );
    let (token, ann, mut dice) = (world.agent("support-bot").await, world.reviewer(ANN).await, Dice::roll());
    let answered = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let used = async |gateway: &crate::world::Gateway| gateway.desk(&ann).get("/limits").await.1["counters"][0]["sent"].as_u64();
    let kills = rounds(5);
    for _ in 0..kills {
        let gateway = world.serve().await;
        let agent = Agent::connect(&gateway.mcp("demo"), &token).await;
        let hammers: Vec<_> = (0..4)
            .map(|_| {
                let (agent, answered) = (agent.clone(), answered.clone());
                tokio::spawn(async move {
                    while let Ok(answer) = agent.request("tools/call", json!({"name": "read_inbox", "arguments": {}})).await {
                        assert!(answer["result"].is_object(), "{answer}");
                        answered.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_micros(300_000 + dice.below(700_000))).await;
        gateway.kill().await;
        for hammer in hammers {
            hammer.await.expect("it ends with its gateway");
        }
        let gateway = world.serve().await;
        let (used, answered) = (used(&gateway).await, answered.load(std::sync::atomic::Ordering::SeqCst));
        assert!(answered > 0 && used >= Some(answered), "{used:?} counted of {answered} that were answered");
        eprintln!("{answered} answered, {used:?} counted");
        assert!(gateway.stop().await);
    }
}
