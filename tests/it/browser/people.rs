//! An operator manages people and agents in a real browser; every page in both themes and sizes, looked at by axe, and
//! the forms once more without a script.

use super::accessibility::look;
use super::{ANN, sitting_in};
use crate::world::{Agent, World, until};
use serde_json::json;

#[tokio::test]
async fn an_operator_manages_people_and_agents() {
    let rule =
        "\n[[servers.demo.rules]]\nname = \"money-needs-two\"\ntools = [\"pay\"]\naction = \"require_approval\"\nreviewers = [\"board\"]\napprovals = 2\n";
    let world = World::with_demo_server("");
    let file = world.path("config.toml");
    let config =
        std::fs::read_to_string(&file).unwrap().replace("[[servers.demo.rules]]\nname   = \"dms", &format!("{rule}\n[[servers.demo.rules]]\nname   = \"dms"));
    std::fs::write(&file, config).unwrap();
    let sitting = sitting_in(world, true, "operator").await;
    let (browser, url, world) = (&sitting.browser, sitting.gateway.url.clone(), &sitting.world);
    world.told(&["reviewer", "add", "aud@example.org", "--role", "auditor", "--name", "Aud Audley"]).await;
    world.told(&["reviewer", "add", "zoe@example.org", "--name", "Zoë \u{5d6}\u{5d5}\u{5d0}\u{5d9}", "--group", "board", "--group", "north wing"]).await;
    world.told(&["reviewer", "disable", "zoe@example.org"]).await;
    let mut all = Vec::new();
    browser.visit(&url).await;
    browser.says("A rule asks for people who are not there").await;
    browser.pictures("inbox-rule-without-people").await;
    browser.find_text("a", "Show it").await.click().await.unwrap();
    browser.says("nobody it asks for is active").await;
    browser.pictures("people").await;
    look(browser, "the people", &mut all).await;
    browser.find("input[name=email]").await.send_keys("ben@example.org").await.unwrap();
    browser.find("input[name=name]").await.send_keys("Ben Bell").await.unwrap();
    browser.find("input[name=groups]").await.send_keys("board, desk").await.unwrap();
    browser.find_text("button", "Add").await.click().await.unwrap();
    browser.says("Ways in").await;
    world.told(&["reviewer", "token", "ben@example.org"]).await;
    browser.find_text("button", "Mail a sign-in link").await.click().await.unwrap();
    browser.says("on its way to them by mail").await;
    until("the link is mailed", || async {
        let mails = std::fs::read_dir(world.path("mail")).ok()?;
        mails.filter_map(Result::ok).any(|mail| std::fs::read_to_string(mail.path()).is_ok_and(|mail| mail.contains("ben@example.org"))).then_some(())
    })
    .await;
    browser.pictures("person").await;
    look(browser, "a person", &mut all).await;
    browser.find_text("button", "Disable").await.click().await.unwrap();
    browser.says("Let in again").await;
    browser.pictures("person-disabled").await;
    look(browser, "a disabled person", &mut all).await;

    let (_, waiting) = sitting.held("It waits while its agent is revoked.").await;
    browser.visit(&format!("{url}/agents")).await;
    browser.says("support-bot").await;
    browser.find("input[name=name]").await.send_keys("mail-bot").await.unwrap();
    browser.find("input[name=server]").await.click().await.unwrap();
    browser.find("input[name=owner]").await.send_keys(ANN).await.unwrap();
    browser.pictures("agents").await;
    look(browser, "the agents", &mut all).await;
    browser.find_text("button", "Add and show its token").await.click().await.unwrap();
    browser.says("It is shown this once").await;
    browser.pictures("agent-token").await;
    look(browser, "an agent's token", &mut all).await;
    let token = browser.find("pre.secret").await.text().await.unwrap();
    Agent::connect(&sitting.gateway.mcp("demo"), &token).await.request("tools/list", json!({})).await.unwrap();
    browser.visit(&format!("{url}/agents")).await;
    browser.find_text("a", "support-bot").await.click().await.unwrap();
    browser.says("One open call is withdrawn").await;
    browser.pictures("agent").await;
    look(browser, "an agent", &mut all).await;
    browser.find_text("button", "Revoke support-bot").await.click().await.unwrap();
    browser.says("revoked").await;
    let told = waiting.await.unwrap().unwrap();
    assert_eq!(told["result"]["_meta"]["paraph/call"]["state"], "withdrawn", "{told}");
    assert_eq!(all, [""; 0]);
    sitting.close().await;
}

#[tokio::test]
async fn people_and_agents_are_managed_by_plain_forms_with_javascript_switched_off() {
    let sitting = sitting_in(World::with_demo_server(""), false, "operator").await;
    let (browser, url) = (&sitting.browser, sitting.gateway.url.clone());
    browser.visit(&format!("{url}/people")).await;
    browser.find("input[name=email]").await.send_keys("cy@example.org").await.unwrap();
    browser.find_text("button", "Add").await.click().await.unwrap();
    browser.says("Ways in").await;
    browser.find("input[name=groups]").await.send_keys("desk").await.unwrap();
    browser.find_text("button", "Save").await.click().await.unwrap();
    browser.visit(&format!("{url}/agents")).await;
    browser.find("input[name=name]").await.send_keys("mail-bot").await.unwrap();
    browser.find("input[name=every]").await.click().await.unwrap();
    browser.find_text("button", "Add and show its token").await.click().await.unwrap();
    browser.says("It is shown this once").await;
    browser.find_text("a", "I have it").await.click().await.unwrap();
    browser.find_text("button", "Make a new token").await.click().await.unwrap();
    browser.says("The token before it counts for one hour more.").await;
    let people = sitting.world.told(&["reviewer", "list"]).await;
    assert!(people.lines().any(|line| line.starts_with("cy@example.org") && line.contains("desk")), "{people}");
}
