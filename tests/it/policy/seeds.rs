//! The five published policies, unchanged, each before a server that lists the published tools; and the two of the
//! README.

use super::kept;
use super::listing::Listing;
use crate::world::{Agent, Gateway, World};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const NAMES: [&str; 5] = ["agentdm", "avatarbook", "fruitflies", "instagram-dm", "just-facebook"];
const README: &str = include_str!("../../../README.md");

fn text(name: &str) -> String {
    std::fs::read_to_string(kept(&format!("seeds/{name}"))).unwrap()
}

fn tools(name: &str) -> Value {
    serde_json::from_str(&text(&format!("tools/{name}.json"))).unwrap()
}

/// The one tool that the policy names.
fn dm_tool(name: &str) -> String {
    let policy: Value = serde_json::from_str(&text(&format!("policies/{name}.json"))).unwrap();
    let names: Vec<&String> = policy["tools"].as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 1);
    names[0].clone()
}

/// A gateway before these lists; `sections` says more of each server.
async fn before(lists: &[(&str, &str)], policies: &[(&str, String)], more: &str) -> (World, Gateway, Arc<Listing>) {
    let listed = lists.iter().map(|(server, tools_of)| ((*server).to_owned(), json!({ "tools": tools(tools_of), "nextCursor": "p2" })));
    let listing = Listing::serve(listed.collect()).await;
    let server = |(name, _): &(&str, &str)| format!("[servers.{name}]\nurl = \"{}\"\npolicy = \"policies/{name}.json\"\n{more}\n", listing.url(name));
    let world = World::new(&lists.iter().map(server).collect::<String>());
    std::fs::create_dir(world.path("policies")).unwrap();
    for (name, policy) in policies {
        std::fs::write(world.path(&format!("policies/{name}.json")), policy).unwrap();
    }
    let gateway = world.serve().await;
    (world, gateway, listing)
}

async fn call(agent: &Agent, tool: &str, arguments: Value) -> Value {
    agent.request("tools/call", json!({ "name": tool, "arguments": arguments })).await.unwrap()["result"].clone()
}

async fn listed(agent: &Agent) -> (Vec<String>, Value) {
    let list = agent.request("tools/list", json!({})).await.unwrap()["result"].clone();
    (list["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect(), list["nextCursor"].clone())
}

fn names(tools: &Value) -> Vec<String> {
    tools.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_five_published_policies_work_unchanged() {
    let lists = NAMES.map(|name| (name, name));
    let policies = NAMES.map(|name| (name, text(&format!("policies/{name}.json"))));
    let (world, gateway, listing) = before(&lists, &policies, "").await;
    let token = world.agent("support-bot").await;
    for name in NAMES {
        let agent = Agent::connect(&gateway.mcp(name), &token).await;
        let dm = dm_tool(name);
        assert_eq!(listed(&agent).await, (names(&tools(name)), json!("p2")), "{name}: denied tools are listed");
        for tool in names(&tools(name)).iter().filter(|tool| **tool != dm) {
            let told = call(&agent, tool, json!({})).await;
            let meta = &told["_meta"]["paraph/call"];
            assert_eq!((&told["isError"], &meta["state"], &meta["rule"]), (&json!(true), &json!("denied"), &json!("/default")), "{name} {tool}: {told}");
        }
        for number in 0..30 {
            let told = call(&agent, &dm, json!({ "message": number })).await;
            assert_eq!(told["content"][0]["text"], "Sent.", "{name}: {told}");
        }
        let told = call(&agent, &dm, json!({ "message": 31 })).await;
        let meta = &told["_meta"]["paraph/call"];
        assert_eq!((&told["isError"], &meta["state"]), (&json!(true), &json!("limited")), "{name}: {told}");
        assert_eq!(meta["reason"], format!("limit /tools/{dm}/limits/{dm}_rate is full"));
        let wait = meta["retryAfterMs"].as_u64().unwrap();
        assert!((1..=60_200).contains(&wait), "{name}: {wait}");
        assert_eq!((listing.called(name, &dm), listing.calls(name)), (30, 30), "{name}");
    }
    let audit = world.audit_is_whole().await;
    assert!(audit.contains("\"rule\":\"/default\""), "the audit names the policy file's own rule");
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn with_hide_denied_only_what_may_pass_is_listed_and_the_rest_still_answers_as_denied() {
    let (world, gateway, listing) = before(&[("quiet", "instagram-dm")], &[("quiet", text("policies/instagram-dm.json"))], "hide_denied = true").await;
    let agent = Agent::connect(&gateway.mcp("quiet"), &world.agent("support-bot").await).await;
    assert_eq!(listed(&agent).await, (vec!["send_dm".to_owned()], json!("p2")));
    assert_eq!(call(&agent, "read_dms", json!({})).await["_meta"]["paraph/call"]["state"], "denied");
    assert_eq!(listing.calls("quiet"), 0);
    assert!(gateway.stop().await);
}

/// The policies in the README's fenced JSON.
fn readme_policies() -> Vec<String> {
    let mut found = Vec::new();
    for (number, block) in README.split("```").enumerate() {
        if let (1, Some(text)) = (number % 2, block.strip_prefix("json\n").filter(|text| text.contains("\"tools\""))) {
            found.push(text.to_owned());
        }
    }
    found
}

#[tokio::test]
async fn both_policies_of_the_readme_do_what_the_readme_says() {
    let [published, held] = <[String; 2]>::try_from(readme_policies()).expect("the README has two policies");
    assert_eq!(published.trim_end(), text("policies/instagram-dm.json").trim_end(), "the published one stands there unchanged");
    let lists = [("as-published", "instagram-dm"), ("held", "instagram-dm")];
    let (world, gateway, listing) = before(&lists, &[("as-published", published), ("held", held)], "reads = [\"read_*\", \"health_check\"]").await;
    let token = world.agent("support-bot").await;
    let dm = json!({ "username": "bob", "message": "Hello Bob" });
    let agent = Agent::connect(&gateway.mcp("as-published"), &token).await;
    assert_eq!(call(&agent, "send_dm", dm.clone()).await["content"][0]["text"], "Sent.");
    assert_eq!(call(&agent, "read_dms", json!({})).await["_meta"]["paraph/call"]["state"], "denied");

    let agent = Agent::connect(&gateway.mcp("held"), &token).await;
    for tool in ["read_dms", "health_check"] {
        assert_eq!(call(&agent, tool, json!({})).await["content"][0]["text"], "Sent.", "{tool}");
    }
    let desk = gateway.desk(&world.reviewer("ann@example.org").await);
    let waiting = agent.begin("send_dm", dm);
    let held = desk.held("Hello Bob").await;
    assert_eq!((&held["rule"], listing.called("held", "send_dm")), (&json!("/tools/send_dm/require_approval"), 0));
    let (id, digest) = (held["id"].as_str().unwrap(), held["digest"].as_str().unwrap());
    let mut approve = tokio::process::Command::new(env!("CARGO_BIN_EXE_paraph"));
    approve.args(["calls", "approve", id, "--digest", digest]).env("PARAPH_URL", &gateway.url);
    let token = world.told(&["reviewer", "token", "ann@example.org"]).await;
    let approved = approve.env("PARAPH_TOKEN", token).output().await.unwrap();
    assert!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
    let answered = waiting.await.unwrap().unwrap();
    assert_eq!(answered["result"]["content"][0]["text"], "Sent.", "{answered}");
    assert_eq!(listing.called("held", "send_dm"), 1);
    assert!(gateway.stop().await);
}

/// Lists of other tests.
pub fn list_of(names: &[&str]) -> BTreeMap<String, Value> {
    let tools: Vec<Value> = names.iter().map(|name| json!({ "name": name, "inputSchema": { "type": "object" } })).collect();
    [("it".to_owned(), json!({ "tools": tools, "nextCursor": "p2" }))].into()
}
