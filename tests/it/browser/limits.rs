//! Limits in a browser: the page of all, and a call that a full one keeps here, before the click and after it.

use super::accessibility::look;
use super::{HOSTILE, sitting_in};
use crate::world::World;
use serde_json::{Value, json};
use std::time::Duration;

/// As long as it takes to look at everything while a window is full.
const WINDOW: Duration = Duration::from_secs(25);

#[tokio::test]
async fn a_full_limit_is_said_before_the_click_and_counted_down_after_it() {
    let world = World::with_demo_server("");
    let file = world.path("config.toml");
    let limits =
        r#"limits = [{ counter = "dm_rate", window = "25s", max = 3 }, { counter = "per_recipient", window = "hour", max = 40, scope = { arg = "/to" } }]"#;
    let config = std::fs::read_to_string(&file).unwrap().replace("[servers.demo]\n", &format!("[servers.demo]\n{limits}\n"));
    std::fs::write(&file, config).unwrap();
    let sitting = sitting_in(world, true, "operator").await;
    let (browser, url) = (&sitting.browser, sitting.gateway.url.clone());
    let mut all = Vec::new();
    let (first, _one) = sitting.held("The first of two.").await;
    let (_, _two) = sitting.held("The second of two.").await;
    let hostile = sitting.agent.begin("send_dm", json!({"to": &HOSTILE[..120], "text": "Hostile"}));
    sitting.desk.held("Hostile").await;
    let asked = tokio::time::Instant::now();
    hostile.abort();
    browser.visit(&format!("{url}/limits")).await;
    browser.says("3 of 3 asked").await;
    browser.pictures("limits").await;
    look(browser, "the limits", &mut all).await;
    // What was asked for counts no more, and reading takes the places of what would be sent.
    tokio::time::sleep_until(asked + WINDOW + Duration::from_secs(1)).await;
    for page in 0..3 {
        let answer: Value = sitting.agent.request("tools/call", json!({"name": "read_inbox", "arguments": {"limit": page + 1}})).await.unwrap();
        assert_eq!(answer["result"]["isError"], false, "{answer}");
    }
    sitting.open("The first of two.").await;
    browser.says("is full: if you approve now it leaves at about").await;
    browser.pictures("call-limit-full").await;
    sitting.press("approve").await;
    browser.says("It waits for the limit /limits/dm_rate and goes out").await;
    browser.pictures("call-waits-for-limit").await;
    look(browser, "a call that waits for a limit", &mut all).await;
    let told = sitting.agent.request("tools/call", json!({"name": "read_inbox", "arguments": {}})).await.unwrap();
    assert_eq!(told["result"]["_meta"]["paraph/call"]["rule"], "/limits/dm_rate", "{told}");
    sitting.desk.settled(&first, &["answered"]).await;
    browser.says("It was sent, and the server answered.").await;
    assert_eq!(all, [""; 0]);
    sitting.close().await;
}
