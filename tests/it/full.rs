//! A disk that fills up or refuses, below the real program (tests/shadow plays it): the floor keeps the gateway going, a
//! failed write or sync ends it with 70, the ballast lets it start again, and nothing acknowledged is lost on the way.

use crate::load::{Dice, Ledger, Load, RULES, Staff};
use crate::world::{Agent, Disk, Gateway, World, http, text_of, until};
use serde_json::{Value, json};
use std::process::{Command, Stdio};

const PARAPH: &str = env!("CARGO_BIN_EXE_paraph");
const MIB: u64 = 1 << 20;
const HOLD: &str = "[hold]\nmax_held_per_agent = 10000\n";

/// A world whose gateway has this floor.
fn world(min_free: &str) -> World {
    let world = World::new(&format!("{HOLD}{RULES}"));
    let path = world.path("config.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, config.replace("engine = \"sled\"\n", &format!("engine = \"sled\"\nmin_free = \"{min_free}\"\n"))).unwrap();
    world
}

async fn asks(agent: &Agent, tool: &str, arguments: Value) -> Value {
    agent.request("tools/call", json!({"name": tool, "arguments": arguments})).await.expect("an answer")["result"].clone()
}

#[tokio::test]
async fn below_the_floor_new_work_is_refused_and_the_rest_goes_on() {
    let world = world("256MiB");
    let disk = Disk::below(&world);
    disk.order(&format!("full {}", 1024 * MIB));
    let (token, ann) = (world.agent("bot").await, world.reviewer("ann@example.org").await);
    let gateway = world.serve_with(&disk.mount()).await;
    assert_eq!(std::fs::metadata(world.path("data/ballast")).unwrap().len(), 16 * MIB);
    let (agent, desk) = (Agent::connect(&gateway.mcp("demo"), &token).await, gateway.desk(&ann));
    let before = json!({"to": "@bob", "text": "held before the floor"});
    let _waiting = agent.begin("send_dm", before.clone());
    let held = desk.held("before the floor").await;

    disk.order(&format!("full {}", disk.used() + 200 * MIB));
    until("the gateway sees it", || async { gateway.log().contains("nearly full").then_some(()) }).await;
    for to in ["@bob", "@notes"] {
        let refused = asks(&agent, "send_dm", json!({"to": to, "text": "below the floor"})).await;
        assert!(text_of(&refused).starts_with("NOT SENT. Limit reached. Not before "), "{refused}");
        let meta = &refused["_meta"]["paraph/call"];
        assert_eq!((&meta["state"], &meta["reason"]), (&json!("limited"), &json!("the gateway's disk is nearly full")), "{refused}");
    }
    assert_eq!(asks(&agent, "read_inbox", json!({})).await["isError"], false, "reading goes on");
    assert_eq!(http().get(format!("{}/readyz", gateway.url)).send().await.unwrap().status(), 200);
    let again = agent.begin("send_dm", before);
    desk.approve(&desk.call(held["id"].as_str().unwrap()).await).await;
    let answer = again.await.unwrap().unwrap();
    assert_eq!(text_of(&answer["result"]), "Sent to @bob.", "the identical call attaches, and deciding goes on");

    disk.order(&format!("full {}", 1024 * MIB));
    until("the gateway sees it", || async { gateway.log().contains("room on the disk again").then_some(()) }).await;
    let _waiting = agent.begin("send_dm", json!({"to": "@bob", "text": "above the floor"}));
    desk.held("above the floor").await;
    for line in ["nearly full", "room on the disk again"] {
        assert_eq!(gateway.log().matches(line).count(), 1, "said once a crossing: {line}");
    }
    let export = world.audit_is_whole().await;
    let refused = export.lines().filter(|line| line.contains("\"call.limited\"") && line.contains("\"min_free\""));
    assert_eq!(refused.count(), 2);
    assert!(gateway.stop().await);
}

/// Everybody works; then the disk gets this order. What was acknowledged until the gateway ended by itself.
async fn ended_by_the_disk(gateway: Gateway, staff: &Staff, disk: &Disk, orders: impl FnOnce() -> String) -> Ledger {
    let load = Load::begin(&gateway, staff, "f", 1, &mut Dice::roll()).await;
    until("the load is on", || async { (load.size() >= 60).then_some(()) }).await;
    let (ready, log) = (format!("{}/readyz", gateway.url), gateway.log_path());
    let http = http();
    let mut seen = vec![http.get(&ready).send().await.expect("an answer").status().as_u16()];
    let probe = tokio::spawn(async move {
        while let Ok(answer) = http.get(&ready).send().await {
            seen.push(answer.status().as_u16());
        }
        seen
    });
    disk.order(&orders());
    let code = gateway.ended().await;
    assert_eq!(code, Some(70), "{}", std::fs::read_to_string(log).unwrap());
    let mut seen = probe.await.unwrap();
    seen.dedup();
    assert!([[200].as_slice(), &[200, 503]].contains(&seen.as_slice()), "once not ready, it is not ready again: {seen:?}");
    load.end()
}

#[tokio::test]
async fn a_full_disk_ends_the_gateway_and_the_ballast_lets_it_start_again() {
    let world = world("0B");
    let disk = Disk::below(&world);
    let staff = Staff::of(&world).await;
    let full = || format!("full {}", disk.used());
    let ledger = ended_by_the_disk(world.serve_with(&disk.mount()).await, &staff, &disk, full).await;

    // Still full to the last byte.
    disk.order(&full());
    let gateway = world.serve_with(&disk.mount()).await;
    assert!(gateway.log().contains("the ballast was deleted"), "{}", gateway.log());
    assert!(!world.path("data/ballast").exists());
    assert_eq!(ledger.missing(&gateway, &staff).await, [""; 0]);
    assert!(gateway.stop().await);

    // There is no second ballast.
    disk.order(&full());
    let mut command = Command::new(PARAPH);
    command.args(["serve", "--config"]).arg(world.path("config.toml")).envs(disk.mount()).stdin(Stdio::null());
    let refused = command.output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("is full") && said.contains("make room there and start again") && !said.contains("panicked"), "{said}");

    disk.order("");
    let gateway = world.serve_with(&disk.mount()).await;
    ledger.settle(&world, &gateway, &staff, 1).await;
    assert!(world.path("data/ballast").exists(), "with room there is a ballast again");
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn a_failed_sync_ends_the_gateway_and_loses_nothing_even_if_the_power_goes_too() {
    let world = world("256MiB");
    let disk = Disk::below(&world);
    let staff = Staff::of(&world).await;
    let ledger = ended_by_the_disk(world.serve_with(&disk.mount()).await, &staff, &disk, || "broken".to_owned()).await;
    disk.lose_power();
    disk.order("");
    let gateway = world.serve().await;
    ledger.settle(&world, &gateway, &staff, 1).await;
    assert!(gateway.stop().await);
}
