//! Reference servers behind the gateway: "everything" over stdio and over Streamable HTTP, the Python time server over
//! stdio. What an agent sees through the gateway is what the server says.

use crate::world::{EverythingServer, Sdk, SdkAgent, World, text_of, time_server_python};
use serde_json::{Value, json};

const ANN: &str = "ann@example.org";

const EVERYTHING_RULES: &str = r#"
default = "allow"

[[servers.everything.rules]]
name   = "sums-need-a-person"
tools  = ["get-sum", "get-structured-content"]
action = "require_approval"
reason = "Sums are checked by a person."

[[servers.everything.rules]]
name   = "no-environment"
tools  = ["get-env"]
action = "deny"
reason = "The environment holds secrets."

[[servers.everything.rules]]
name   = "no-images"
tools  = ["get-tiny-image"]
action = "hide"
"#;

/// Everything but tools/call, which must come through as if the gateway were not there.
const PLAIN_STEPS: [&str; 5] = [
    r#"{"do": "ping"}"#,
    r#"{"do": "prompts"}"#,
    r#"{"do": "prompt", "name": "args-prompt", "arguments": {"city": "Graz"}}"#,
    r#"{"do": "resources"}"#,
    r#"{"do": "resource", "uri": "demo://resource/static/document/architecture.md"}"#,
];

async fn everything_behind_the_gateway(transport: &str, direct: &str, sdk: Sdk) {
    let world = World::new(&format!("[servers.everything]\n{transport}\n{EVERYTHING_RULES}"));
    let (token, ann) = (world.agent("assistant").await, world.reviewer(ANN).await);
    let gateway = world.serve().await;
    let desk = gateway.desk(&ann);
    let mut agent = SdkAgent::connect(sdk, &gateway.mcp("everything"), Some(&token)).await;
    let mut direct = SdkAgent::connect(sdk, direct, None).await;

    assert_eq!(agent.ready["server"], direct.ready["server"]);
    for step in PLAIN_STEPS {
        let step: Value = serde_json::from_str(step).unwrap();
        assert_eq!(agent.fine(step.clone()).await, direct.fine(step.clone()).await, "{step} differs behind the gateway");
    }

    let mut listed = direct.fine(json!({"do": "tools"})).await;
    listed["tools"].as_array_mut().unwrap().retain(|tool| tool["name"] != "get-tiny-image");
    assert_eq!(agent.fine(json!({"do": "tools"})).await, listed, "the list differs by more than the hidden tool");

    let echo = json!({"do": "call", "name": "echo", "arguments": {"message": "Grüße, 世界 \u{1f30d}"}});
    assert_eq!(agent.fine(echo.clone()).await, direct.fine(echo).await);
    let denied = agent.call("get-env", json!({})).await;
    assert_eq!((&denied["isError"], &denied["_meta"]["paraph/call"]["state"]), (&json!(true), &json!("denied")), "{denied}");
    let hidden = agent.step(json!({"do": "call", "name": "get-tiny-image", "arguments": {}})).await;
    assert_eq!(hidden["error"]["code"], -32602, "{hidden}");

    agent.begin_call("get-sum", json!({"a": 20, "b": 22})).await;
    let held = desk.held("22").await;
    desk.approve(&held).await;
    assert_eq!(agent.result().await, direct.call("get-sum", json!({"a": 20, "b": 22})).await, "a released call's result differs");

    agent.begin_call("get-structured-content", json!({"location": "Chicago"})).await;
    let held = desk.held("Chicago").await;
    desk.reject(&held, "Not today.").await;
    let refused = agent.result().await;
    assert_eq!(refused["_meta"]["paraph/call"]["state"], "rejected", "{refused}");
    assert!(text_of(&refused).starts_with("NOT DONE."), "a sum is no message: {refused}");
}

#[tokio::test]
async fn everything_over_stdio_is_what_it_is_without_the_gateway() {
    let direct = EverythingServer::over_http().await;
    everything_behind_the_gateway(&format!("command = {}", EverythingServer::command()), &direct.url, Sdk::Python).await;
}

#[tokio::test]
async fn everything_over_http_is_what_it_is_without_the_gateway() {
    let server = EverythingServer::over_http().await;
    everything_behind_the_gateway(&format!("url = {:?}", server.url), &server.url, Sdk::TypeScript).await;
}

#[tokio::test]
async fn progress_of_an_allowed_call_reaches_the_agent() {
    let world = World::new(&format!("[servers.everything]\ncommand = {}\n{EVERYTHING_RULES}", EverythingServer::command()));
    let token = world.agent("assistant").await;
    let gateway = world.serve().await;
    let mut agent = SdkAgent::connect(Sdk::TypeScript, &gateway.mcp("everything"), Some(&token)).await;
    let call = json!({"do": "call", "name": "trigger-long-running-operation", "arguments": {"duration": 1, "steps": 3}, "progress": true});
    let done = agent.fine(call).await;
    let seen: Vec<i64> = done["reports"].as_array().unwrap().iter().map(|report| report["progress"].as_i64().unwrap()).collect();
    assert_eq!(seen, [1, 2, 3], "{done}");
}

#[tokio::test]
async fn the_time_server_tells_the_time_and_converts_when_a_person_agrees() {
    let world = World::new(&format!(
        "[servers.time]\ncommand = [{:?}, \"-m\", \"mcp_server_time\", \"--local-timezone\", \"UTC\"]\ndefault = \"deny\"\n\n\
         [[servers.time.rules]]\nname = \"now\"\ntools = [\"get_*\"]\naction = \"allow\"\n\n\
         [[servers.time.rules]]\nname = \"conversion\"\ntools = [\"convert_*\"]\naction = \"require_approval\"\n",
        time_server_python().display().to_string()
    ));
    let (token, ann) = (world.agent("assistant").await, world.reviewer(ANN).await);
    let gateway = world.serve().await;
    let mut agent = SdkAgent::connect(Sdk::Python, &gateway.mcp("time"), Some(&token)).await;
    assert_eq!(agent.ready["server"]["name"], "mcp-time");
    let now = agent.call("get_current_time", json!({"timezone": "Europe/Vienna"})).await;
    assert_eq!(now["structuredContent"]["timezone"], "Europe/Vienna", "{now}");

    agent.begin_call("convert_time", json!({"source_timezone": "Asia/Tokyo", "time": "09:30", "target_timezone": "Asia/Kolkata"})).await;
    let desk = gateway.desk(&ann);
    desk.approve(&desk.held("09:30").await).await;
    let converted = agent.result().await;
    assert_eq!(converted["isError"], false, "{converted}");
    assert!(text_of(&converted).contains("-3.5h"), "{converted}");

    // The server's own refusal of bad arguments comes through as it is.
    agent.begin_call("convert_time", json!({"source_timezone": "Nowhere/At_All", "time": "09:30", "target_timezone": "UTC"})).await;
    desk.approve(&desk.held("Nowhere/At_All").await).await;
    let refused = agent.result().await;
    assert_eq!(refused["isError"], true, "{refused}");
    assert!(text_of(&refused).contains("Nowhere/At_All"), "{refused}");
}
