//! Many connections at once: idle ones cost the others nothing, too many are turned away in plain words, and a process
//! with few descriptors keeps some for itself.

use super::*;
use crate::world::{SOON, World, http, until};
use serde_json::json;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

#[tokio::test]
async fn two_hundred_idle_connections_hinder_nobody() {
    let world = World::with_demo_server("");
    let token = world.agent("support-bot").await;
    let gateway = world.serve().await;
    let address = gateway.url.strip_prefix("http://").unwrap();
    let mut idle = Vec::new();
    for number in 0..200 {
        let mut line = TcpStream::connect(address).await.unwrap();
        // Half of them began to say something.
        if number % 2 == 0 {
            line.write_all(b"POST /mcp/demo HTTP/1.1\r\nhost:").await.unwrap();
        }
        idle.push(line);
    }
    let agent = crate::world::Agent::connect(&gateway.mcp("demo"), &token).await;
    let inbox = agent.request("tools/call", json!({"name": "read_inbox", "arguments": {"limit": 1}})).await.unwrap();
    assert!(inbox["result"]["content"].is_array(), "{inbox}");
    assert!(gateway.stop().await, "they do not hinder its end either");
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_there_is_room_when_another_closes() {
    let bounds = Bounds { connections: 3, ..Bounds::default() };
    let site = Site::open(|listening| listening, &bounds).await;
    let mut inside = Vec::new();
    for _ in 0..3 {
        let mut line = site.connect().await;
        line.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        line.read_exact(&mut [0; 12]).await.unwrap();
        inside.push(line);
    }
    let mut outside = site.connect().await;
    let said = to_end(&mut outside).await;
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("retry-after: 10"), "{said:?}");
    inside.pop();
    let site = &site;
    until("there is room again", || async { (site.page("/").await == "here").then_some(()) }).await;
}

#[tokio::test]
async fn strangers_cannot_take_the_last_descriptor() {
    let world = World::with_demo_server("");
    let (token, ann) = (world.agent("support-bot").await, world.reviewer("ann@example.org").await);
    let program = env!("CARGO_BIN_EXE_paraph");
    let serve = format!("ulimit -n 160 && exec {program} serve --listen 127.0.0.1:0 --config {}", world.path("config.toml").display());
    let log = std::fs::File::create(world.path("gateway.log")).unwrap();
    let mut child = Command::new("sh").args(["-c", &serve]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(SOON, lines.next_line()).await.unwrap().unwrap().expect("it listens");
    let url = line.strip_prefix("listening on ").unwrap().to_owned();
    let mut strangers = Vec::new();
    for _ in 0..300 {
        let mut line = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
        let _turned_away = line.write_all(b"GET /").await;
        strangers.push(line);
    }
    let mut turned_away = 0;
    for line in &mut strangers {
        let mut said = [0; 12];
        let waited = tokio::time::timeout(Duration::from_millis(20), line.read_exact(&mut said)).await;
        turned_away += usize::from(waited.is_ok());
    }
    assert!(turned_away >= 200, "of 300 connections {turned_away} were turned away");
    drop(strangers);
    // The store, a server's process and the desk have what they need, before and after.
    let agent = until("there is room again", || async { http().get(format!("{url}/healthz")).send().await.ok().filter(|answer| answer.status() == 200) }).await;
    drop(agent);
    let agent = crate::world::Agent::connect(&format!("{url}/mcp/demo"), &token).await;
    let asked = agent.begin("send_dm", json!({"to": "@bob", "text": "still here"}));
    let desk = crate::world::Desk::over(http(), &url, &ann);
    desk.approve(&desk.held("still here").await).await;
    assert!(asked.await.unwrap().unwrap()["result"]["content"].is_array());
    let log = std::fs::read_to_string(world.path("gateway.log")).unwrap();
    assert!(log.contains("the system allows fewer open files than bounds.connections needs"), "{log}");
    assert!(log.contains("connections are turned away"), "{log}");
    child.kill().await.unwrap();
}
