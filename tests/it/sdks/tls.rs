//! The official SDKs over https, with an authority of the operator's own: the variable that their runtimes read is all
//! they need.

use super::{all, dm, sent};
use crate::net::Authority;
use crate::world::{Desk, Sdk, SdkAgent, World};
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn a_call_is_held_and_released_over_https() {
    let (world, authority) = (World::with_demo_server(""), Authority::new());
    authority.issue(&["localhost"], &world.path("cert.pem"), &world.path("key.pem"));
    std::fs::write(world.path("ca.pem"), &authority.pem).unwrap();
    world.listen("tls = { cert = \"cert.pem\", key = \"key.pem\" }");
    let (token, ann) = (world.agent("support-bot").await, world.reviewer("ann@example.org").await);
    let gateway = world.serve().await;
    let url = gateway.mcp("demo").replace("127.0.0.1", "localhost");
    let desk = Desk::over(authority.client(), &gateway.url.replace("127.0.0.1", "localhost"), &ann);
    let ca = Arc::new(world.path("ca.pem").into_os_string());
    let parts = Sdk::ALL.map(|sdk| {
        let (url, token, desk, ca) = (url.clone(), token.clone(), desk.clone(), ca.clone());
        (sdk, async move {
            let trust = [("SSL_CERT_FILE", ca.as_os_str()), ("NODE_EXTRA_CA_CERTS", ca.as_os_str())];
            let mut agent = SdkAgent::connect_with(sdk, &url, Some(&token), &trust).await;
            // None is a part of another: the desk finds a call by its text.
            let text = format!("from {sdk:?} over TLS");
            agent.begin(&json!({"do": "call", "name": "send_dm", "arguments": dm("@bob", &text)})).await;
            desk.approve(&desk.held(&text).await).await;
            sent(&agent.answer().await["ok"], "@bob");
        })
    });
    all(parts.into_iter()).await;
    assert!(gateway.stop().await);
}
