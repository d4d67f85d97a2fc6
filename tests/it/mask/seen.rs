//! The call's page in a browser, with masked values and with a secret in the text. The pictures are left in
//! `target/screenshots` for people to look at.

use crate::world::{Agent, Browser, World, until};
use serde_json::json;

#[tokio::test]
async fn masked_values_and_a_secret_in_the_text_are_seen_on_the_page_and_survive_an_edit_there() {
    let world = World::with_demo_server("");
    let token = world.agent("support-bot").await;
    let ann = world.reviewer("ann@example.org").await;
    let gateway = world.serve().await;
    let (agent, desk) = (Agent::connect(&gateway.mcp("demo"), &token).await, gateway.desk(&ann));
    let browser = Browser::start(true).await;
    browser.visit(&world.told(&["reviewer", "link", "ann@example.org"]).await).await;
    browser.find_text("button", "Sign in").await.click().await.unwrap();
    browser.says("Needs you").await;
    let key = |tail: &str| format!("sk-{}{tail}", "proj-a1B2c3D4e5F6g7H8i9J0");
    let text = format!("Hello Bob, the new key is {} \u{2014} keep it safe!", key("t0"));
    let mut waiting = Vec::new();
    for (text, secret) in [("Just a first one", "hunter2-the-first"), (text.as_str(), "hunter2-the-second")] {
        waiting.push(agent.begin(
            "send_dm",
            json!({"to": "@bob", "text": text, "api_key": secret, "note": format!("log in with {}", key("n1")), "options": {"pin": 4711, "silent": true}}),
        ));
        until("it is held", || async { desk.calls("held").await.into_iter().find(|call| call["arguments"]["text"] == text) }).await;
    }
    let held = desk.calls("held").await.into_iter().find(|call| call["arguments"]["text"] == text.as_str()).unwrap();
    browser.visit(&format!("{}/calls/{}", gateway.url, held["id"].as_str().unwrap())).await;
    browser.find("form button[value=approve]").await;
    for part in [
        "This looks like a secret.",
        "an API key",
        "18 characters",
        "not the one that this agent used last",
        "the one that this agent used last",
        "Paraph shows these values to nobody",
    ] {
        browser.says(part).await;
    }
    let said = browser.text().await;
    assert!(!said.contains("hunter2") && !said.contains(&key("n1")) && !said.contains("4711"), "{said}");
    browser.find_text("mark", &key("t0")).await;
    browser.find_text("summary", "Raw call").await.click().await.unwrap();
    browser.pictures("call-masked").await;
    browser.find_text("summary", "Edit, then approve").await.click().await.unwrap();
    browser.says("Leave the mark in its place").await;
    browser.pictures("call-masked-edit").await;
    let area = browser.find("#edit-text").await;
    area.clear().await.unwrap();
    area.send_keys("Hello Bob, the key comes by another way.").await.unwrap();
    browser.find_text("button", "Approve as edited").await.click().await.unwrap();
    browser.says("A person edited this").await;
    until("it was sent", || async { world.sent().contains_key("Hello Bob, the key comes by another way.").then_some(()) }).await;
    let told = waiting.pop().unwrap().await.unwrap().unwrap().to_string();
    assert!(told.contains("hunter2-the-second"), "the agent is told what was really sent: {told}");
    browser.close_without_errors().await;
    assert!(gateway.stop().await);
}
