//! The official SDKs, which start the front themselves and see a server like any other.

use super::REVISION;
use crate::world::{Address, Sdk, SdkAgent, World, text_of, until};
use serde_json::json;

async fn through(sdk: Sdk) {
    let (address, world) = (Address::keep(), World::with_demo_server(""));
    let (token, ann) = (world.agent("desktop").await, world.reviewer("ann@example.org").await);
    let gateway = world.serve_at(&address.name).await;
    let desk = gateway.desk(&ann);
    let mut agent = SdkAgent::over_stdio(sdk, &gateway.url, &token).await;
    assert_eq!(agent.ready["server"]["name"], "paraph-demo-server", "{}", agent.ready);
    assert!(agent.ready["revision"].is_null() || agent.ready["revision"] == REVISION, "{}", agent.ready);
    assert!(agent.tools().await.contains(&"send_dm".to_owned()));
    let dm = |text: &str| json!({"to": "@bob", "text": text});
    agent.begin_call("send_dm", dm("approved at once")).await;
    desk.approve(&desk.held("approved at once").await).await;
    assert_eq!(text_of(&agent.result().await), "Sent to @bob.");
    // Its user stops a call, and the gateway hears of it.
    if sdk.tells_when_it_stops() {
        agent.begin_stoppable_call("send_dm", dm("stopped")).await;
        let id = desk.held("stopped").await["id"].as_str().unwrap().to_owned();
        assert!(agent.stop().await.get("error").is_some());
        until("the call is cancelled", || async { (desk.call(&id).await["presence"] == "cancelled").then_some(()) }).await;
    }
    // The gateway is killed under a call, and the SDK sees nothing of it.
    agent.begin_call("send_dm", dm("over a kill")).await;
    let held = desk.held("over a kill").await;
    gateway.kill().await;
    let gateway = world.serve_at(&address.name).await;
    let desk = gateway.desk(&ann);
    let id = held["id"].as_str().unwrap();
    until("the call is waited for again", || async { (desk.call(id).await["presence"] == "waiting").then_some(()) }).await;
    desk.approve(&desk.call(id).await).await;
    let result = agent.result().await;
    assert_eq!((text_of(&result), &result["structuredContent"]["to"]), ("Sent to @bob.", &json!("@bob")));
    assert_eq!(world.sent(), [("approved at once".to_owned(), 1), ("over a kill".to_owned(), 1)].into());
}

#[tokio::test]
async fn the_python_sdk_calls_through_the_front_and_over_a_kill_of_the_gateway() {
    through(Sdk::Python).await;
}

#[tokio::test]
async fn the_second_python_sdk_calls_through_the_front_and_over_a_kill_of_the_gateway() {
    through(Sdk::Python2).await;
}

#[tokio::test]
async fn the_typescript_sdk_calls_through_the_front_and_over_a_kill_of_the_gateway() {
    through(Sdk::TypeScript).await;
}

#[tokio::test]
async fn the_second_typescript_sdk_calls_through_the_front_and_over_a_kill_of_the_gateway() {
    through(Sdk::TypeScript2).await;
}
