//! Over plain http under a name that is not this machine's: there browsers send neither `Sec-Fetch-Site` nor, under
//! `no-referrer`, a real `Origin`, and every form of ours would be refused as a foreign one.

use crate::world::{Agent, Browser, World};
use serde_json::json;

const ANN: &str = "ann@example.org";

#[tokio::test]
async fn over_plain_http_a_person_signs_in_and_decides_and_a_foreign_form_is_still_refused() {
    let world = World::with_demo_server("");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://paraph.test:{port}");
    let config = std::fs::read_to_string(world.path("config.toml")).unwrap();
    let listen = format!("[listen]\npublic_url = \"{url}\"\ninsecure_http = true\n");
    std::fs::write(world.path("config.toml"), config.replace("[listen]\n", &listen)).unwrap();
    let (token, _) = (world.agent("bot").await, world.reviewer(ANN).await);
    let gateway = world.serve_at(&format!("127.0.0.1:{port}")).await;
    let agent = Agent::connect(&gateway.mcp("demo"), &token).await;
    let waiting = agent.begin("send_dm", json!({"to": "@bob", "text": "over plain http"}));

    let browser = Browser::start_with(true, &["--host-resolver-rules=MAP *.test 127.0.0.1"]).await;
    let link = world.told(&["reviewer", "link", ANN]).await;
    assert!(link.starts_with(&url), "{link}");
    browser.visit(&link).await;
    browser.find_text("button", "Sign in here").await.click().await.unwrap();
    browser.says("This page travels unencrypted").await;
    browser.find_text("a", "over plain http").await.click().await.unwrap();
    browser.find("form button[value=approve]").await.click().await.unwrap();
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(answer["result"]["isError"], json!(false), "{answer}");

    // A form of another page.
    let foreign = format!("data:text/html,<form method=post action='{url}/sign-in/link'><button>Win</button></form>");
    browser.visit(&foreign).await;
    browser.find_text("button", "Win").await.click().await.unwrap();
    browser.says("came from another site").await;
}
