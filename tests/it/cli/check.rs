//! `paraph check`: what it says of a configuration that works, with and without data and a running gateway. It never
//! starts a server and never ends with another code than 0 for it.

use super::{PROGRAM, Place};
use serde_json::{Value, json};

/// A place whose only server has these rules.
fn place(rules: &[String]) -> Place {
    let place = Place::new();
    let config = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n[mail]\ntransport = \"off\"\n[servers.demo]\ncommand = [{PROGRAM:?}, \"demo-server\"]\ndefault = \"deny\"\n{}",
        rules.concat()
    );
    std::fs::write(place.path().join("config.toml"), config).unwrap();
    place
}

fn rule(name: &str, lines: &str) -> String {
    format!("[[servers.demo.rules]]\nname = \"{name}\"\n{lines}\n")
}

#[test]
fn a_warning_names_file_line_and_key_and_ends_with_0() {
    let place = place(&[rule("first", "tools = [\"send_*\"]\naction = \"allow\""), rule("second", "tools = [\"send_dm\"]\naction = \"deny\"")]);
    let ran = place.run(&["check"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.out);
    assert!(lines[0].starts_with("warning: config.toml:12: servers.demo.rules[1]: rule \"second\" is never reached: \"first\" before it"), "{}", lines[0]);
    assert_eq!(lines[1], "config.toml is fine.");
    let told: Value = place.run(&["check", "--json"]).json();
    assert_eq!(told["mistakes"], json!([]));
    let warning = &told["warnings"][0];
    assert_eq!((&warning["file"], &warning["line"], &warning["key"]), (&json!("config.toml"), &json!(12), &json!("servers.demo.rules[1]")));
    assert!(warning["problem"].is_string() && warning["mend"].as_str().unwrap().starts_with("Move it up"));
}

#[test]
fn agents_that_nobody_added_are_told_once_there_is_data() {
    let place = place(&[rule("bots", "tools = [\"send_dm\"]\nagents = [\"mailbot\", \"desk-*\"]\naction = \"allow\"")]);
    assert_eq!(place.run(&["check"]).line(), "config.toml is fine.");
    assert_eq!(place.run(&["agent", "add", "mail-bot"]).code, 0);
    let ran = place.run(&["check"]);
    assert!(
        ran.out.contains("config.toml:11: servers.demo.rules[0].agents[0]: \"mailbot\" matches no active agent of this server. Did you mean \"mail-bot\"?"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("rules[0].agents[1]: \"desk-*\" matches no active agent"), "{}", ran.out);
    assert_eq!(place.run(&["agent", "add", "mailbot"]).code, 0);
    assert_eq!(place.run(&["agent", "add", "desk-1"]).code, 0);
    assert_eq!(place.run(&["check"]).line(), "config.toml is fine.");
}

#[tokio::test]
async fn tools_are_compared_with_what_the_running_gateway_saw_last_and_no_server_is_started_for_it() {
    let place = place(&[rule("dms", "tools = [\"Send_DM\", \"send_dm\"]\naction = \"allow\""), rule("gone", "tools = [\"remove_*\"]\naction = \"deny\"")]);
    let token = place.run(&["agent", "add", "bot"]).line().to_owned();
    assert_eq!(place.run(&["check"]).line(), "config.toml is fine.", "nothing is known without a gateway");
    let gateway = place.serve();
    let agent = crate::world::Agent::connect(&format!("{}/mcp/demo", gateway.url), &token).await;
    agent.request("tools/list", json!({})).await.unwrap();
    let ran = place.run(&["check"]);
    assert_eq!(ran.code, 0);
    let warnings: Vec<&str> = ran.out.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 2, "{}", ran.out);
    assert!(
        warnings[0]
            .contains("config.toml:10: servers.demo.rules[0].tools[0]: \"Send_DM\" matches no tool that the server listed last. Did you mean \"send_dm\"?")
    );
    assert!(warnings[1].contains("servers.demo.rules[1].tools[0]: \"remove_*\" matches no tool that the server listed last. Check the spelling"));
    drop(agent);
    gateway.stop();
    assert_eq!(place.run(&["check"]).line(), "config.toml is fine.");
}
