//! `/metrics` of the real program, scraped on both of its addresses and read by the documentation's own table.

use crate::world::{Agent, World, http, until};
use serde_json::json;
use std::collections::BTreeSet;

const ANN: &str = "ann@example.org";

pub async fn scrape(url: &str, token: Option<&str>) -> (u16, String) {
    let mut request = http().get(url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// The value of one series.
pub fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// The names of a scrape, without what a histogram or a counter appends to them.
fn names(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_scrape_needs_a_token_on_the_main_address_and_none_on_its_own() {
    let world = World::with_demo_server("");
    let config = std::fs::read_to_string(world.path("config.toml")).unwrap();
    let apart = config.replace("[listen]\n", "[listen]\nmetrics = \"127.0.0.1:0\"\n");
    std::fs::write(world.path("config.toml"), apart).unwrap();
    let (agent, token) = (world.agent("bot").await, world.reviewer(ANN).await);
    let gateway = world.serve().await;
    let client = Agent::connect(&gateway.mcp("demo"), &agent).await;
    let waiting = client.begin("send_dm", json!({"to": "@bob", "text": "planted words"}));
    gateway.desk(&token).held("planted words").await;

    let main = format!("{}/metrics", gateway.url);
    assert_eq!(scrape(&main, None).await.0, 401);
    assert_eq!(scrape(&main, Some("pt_wrong")).await.0, 401);
    assert_eq!(scrape(&main, Some(&agent)).await.0, 401, "an agent's token is none of a person's");
    let foreign = http().get(&main).header("Host", "evil.example").bearer_auth(&token).send().await.unwrap();
    assert_eq!(foreign.status().as_u16(), 403);

    let log = gateway.log();
    let own = log.lines().find_map(|line| line.split("metrics=").nth(1)).unwrap_or_else(|| panic!("no address in the log:\n{log}"));
    for (status, text) in [scrape(&main, Some(&token)).await, scrape(own.trim(), None).await] {
        assert_eq!(status, 200, "{text}");
        assert_eq!(value(&text, "paraph_held_calls"), Some(1.0), "{text}");
        assert_eq!(value(&text, "paraph_ready"), Some(1.0));
        assert_eq!(value(&text, "paraph_audit_entries_total{kind=\"call.held\"}"), Some(1.0));
        assert_eq!(value(&text, "paraph_server_up{server=\"demo\"}"), Some(1.0));
        for secret in ["planted", "@bob", "bot", ANN, &token, &agent] {
            assert!(!text.contains(secret), "{secret} stands in\n{text}");
        }
    }
    waiting.abort();
}

#[tokio::test]
async fn the_documentation_lists_exactly_what_a_scrape_tells() {
    let world = World::with_demo_server("");
    let token = world.reviewer(ANN).await;
    let gateway = world.serve().await;
    let main = format!("{}/metrics", gateway.url);
    // The first scrape is what the second one counts.
    scrape(&main, Some(&token)).await;
    // The servers are asked for their tools after the start; until then none of them is up or down.
    let told = until("the demo server was asked", async || {
        let (_, text) = scrape(&main, Some(&token)).await;
        text.contains("paraph_server_up{").then(|| names(&text))
    })
    .await;
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let listed = docs.lines().filter_map(|line| line.strip_prefix("| `paraph_")?.split('`').next().map(|name| format!("paraph_{name}")));
    // A counter's and an info's type line leaves out what its series append.
    let plain = |name: String| name.split('{').next().unwrap().trim_end_matches("_total").trim_end_matches("_info").to_owned();
    assert_eq!(listed.map(plain).collect::<BTreeSet<_>>(), told.into_iter().map(plain).collect());
}
