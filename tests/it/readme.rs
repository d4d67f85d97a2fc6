//! The README, followed by a machine: every command in it is run as it stands there, and every command must be
//! known here, so that a new one cannot be forgotten. What differs is said at its place: the port, the server's
//! program, and the answers a person would type.

use crate::world::{Agent, Front, Gateway, World, node, python, sdk_folder, until};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

const README: &str = include_str!("../../README.md");

/// The fenced blocks of a language, without indentation of the list they stand in.
fn blocks(language: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut open: Option<(usize, Vec<String>)> = None;
    for line in README.lines() {
        let text = line.trim_start();
        match &mut open {
            None if text == format!("```{language}") => open = Some((line.len() - text.len(), Vec::new())),
            None => {}
            Some(_) if text == "```" => found.extend(open.take().map(|(_, lines)| lines)),
            Some((indent, lines)) => lines.push(line.get(*indent..).unwrap_or_default().to_owned()),
        }
    }
    found
}

/// Runs one line of the README in a shell whose PATH finds our `paraph`, in the world's folder.
fn shell(world: &World, line: &str, token: Option<&str>, gateway: &Gateway) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_paraph")).parent().expect("a folder");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(world.path("")).env("PATH", path).env("PARAPH_URL", &gateway.url).env("HOME", world.path(""));
    command.stdin(Stdio::null()).kill_on_drop(true);
    if let Some(token) = token {
        command.env("PARAPH_TOKEN", token);
    }
    command
}

async fn run(world: &World, line: &str, token: Option<&str>, gateway: &Gateway) -> String {
    let Output { status, stdout, stderr } = shell(world, line, token, gateway).output().await.expect("a shell");
    assert!(status.success(), "{line}\nended with {status}:\n{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("UTF-8").trim_end().to_owned()
}

/// A held direct message; its id and digest.
async fn hold(agent: &Agent, desk: &crate::world::Desk, text: &str) -> (String, String) {
    drop(agent.begin("send_dm", json!({"to": "@bob", "text": text})));
    let call = desk.held(text).await;
    (call["id"].as_str().expect("an id").to_owned(), call["digest"].as_str().expect("a digest").to_owned())
}

/// The README's gateway, with the demo server in the place of its server.
async fn readme_gateway() -> (World, Gateway) {
    let [config] = &blocks("toml")[..] else { panic!("the README has one config") };
    let world = World::new("");
    let demo = format!("command = [\"{}\", \"demo-server\"]", env!("CARGO_BIN_EXE_paraph"));
    let text = config.join("\n");
    let server = text.lines().find(|line| line.starts_with("command = ")).expect("the README's server has a command");
    std::fs::write(world.path("config.toml"), format!("[listen]\naddress = \"127.0.0.1:0\"\n\n{}\n", text.replace(server, &demo))).unwrap();
    let gateway = world.serve().await;
    (world, gateway)
}

#[tokio::test]
async fn every_command_of_the_readme_does_what_the_readme_says() {
    let (world, gateway) = readme_gateway().await;
    let mut desk_token = String::new();
    let mut agent = None;
    for line in blocks("sh").concat() {
        let command = line.split(" #").next().unwrap_or_default().trim();
        let token = (!desk_token.is_empty()).then_some(desk_token.as_str());
        match command {
            "cargo run --release -- demo" => {
                let told = run(&world, "paraph demo --decide approve", None, &gateway).await;
                assert!(told.contains("held, then approved and sent"), "{told}");
            }
            // Into an empty folder, and with what a person would type.
            "paraph init dm -- insta-mcp" => {
                let line = "mkdir init && cd init && paraph init dm --yes --reviewer you@example.org -- paraph demo-server 2>&1";
                let told = run(&world, line, None, &gateway).await;
                let printed = [
                    "TOOL ",
                    "send_dm ",
                    "# Claude Code",
                    "claude mcp add --transport http dm http://127.0.0.1:8420/mcp/dm --header \"Authorization: Bearer pa_",
                ];
                let printed = printed.into_iter().chain([
                    "# Any other client over Streamable HTTP",
                    "URL:    ",
                    "Header: Authorization: Bearer pa_",
                    "# Sign in as you@example.org",
                ]);
                for line in printed {
                    let there = |text: &str| text.lines().any(|shown| shown.trim_start().starts_with(line));
                    assert!(there(&told) && there(README), "{line:?} in {told}");
                }
                assert!(world.path("init/data/first-sign-in").exists() && run(&world, "cd init && paraph check", None, &gateway).await.ends_with("is fine."));
            }
            "paraph scan dm" => assert!(run(&world, command, None, &gateway).await.contains("[[servers.dm.rules]]")),
            "cargo install --path . --locked" => assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock").exists()),
            "tests/run" => assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run").exists()),
            "paraph serve" => assert!(gateway.url.starts_with("http://")),
            "paraph reviewer add ann@example.org --role operator" => {
                let link = run(&world, command, None, &gateway).await;
                assert!(link.starts_with(&gateway.url) && link.lines().count() == 1, "{link}");
            }
            "paraph reviewer add ben@example.org --group desk --name Ben" => {
                assert!(run(&world, command, None, &gateway).await.starts_with(&gateway.url));
            }
            "paraph reviewer set ben@example.org --role auditor" | "paraph reviewer sign-out ben@example.org" => {
                run(&world, command, None, &gateway).await;
                let people: Value = serde_json::from_str(&run(&world, "paraph reviewer list --json", None, &gateway).await).expect("JSON");
                let ben = people["people"].as_array().and_then(|people| people.iter().find(|one| one["email"] == "ben@example.org")).expect("Ben");
                assert_eq!((&ben["role"], &ben["groups"]), (&json!("auditor"), &json!(["desk"])));
            }
            "paraph agent rotate support-bot" => {
                let fresh = run(&world, command, None, &gateway).await;
                Agent::connect(&gateway.mcp("dm"), &fresh).await;
            }
            "paraph agent revoke support-bot" => {
                run(&world, command, None, &gateway).await;
                assert!(run(&world, "paraph agent list", None, &gateway).await.lines().any(|line| line.contains("support-bot") && line.contains("revoked")));
            }
            "paraph agent add support-bot --server dm" => {
                let token = run(&world, command, None, &gateway).await;
                agent = Some(Agent::connect(&gateway.mcp("dm"), &token).await);
            }
            "(umask 077; paraph agent add claude-code --server dm > ~/.paraph-claude-code.token)"
            | "(umask 077; paraph agent add desktop --server dm --keep-open 3m > ~/.paraph-desktop.token)" => {
                assert_eq!(run(&world, command, None, &gateway).await, "");
                let file = world.path(command.rsplit_once("~/").expect("a file").1.trim_end_matches(')'));
                assert_eq!(std::fs::metadata(file).expect("the token's file").permissions().mode() & 0o777, 0o600);
            }
            // What the client would be given, and whether it works.
            command if command.starts_with("claude mcp add --transport http dm ") => {
                let given = run(&world, &format!("claude() {{ printf '%s\\n' \"$@\"; }}; {command}"), None, &gateway).await;
                let given: Vec<&str> = given.lines().collect();
                let [url, "--header", header] = given[5..] else { panic!("{given:?}") };
                let token = header.strip_prefix("Authorization: Bearer ").expect("a header");
                Agent::connect(&url.replace("http://127.0.0.1:8420", &gateway.url), token).await;
            }
            "export PARAPH_URL=http://127.0.0.1:8420" => {}
            "export PARAPH_TOKEN=$(paraph reviewer token ann@example.org)" => {
                desk_token = run(&world, &format!("{command}; printf %s \"$PARAPH_TOKEN\""), None, &gateway).await;
            }
            "paraph calls" => assert!(!run(&world, "paraph calls --json", token, &gateway).await.contains("c_")),
            "paraph calls show ID" => {
                let (id, _) = hold(agent.as_ref().expect("an agent"), &gateway.desk(&desk_token), "shown").await;
                assert!(run(&world, &command.replace("ID", &id), token, &gateway).await.contains("shown"));
                assert!(run(&world, "paraph calls", token, &gateway).await.contains(&id));
            }
            // Without a terminal nobody can be asked, so the digest that was read is named.
            "paraph calls approve ID" => {
                let (id, digest) = hold(agent.as_ref().expect("an agent"), &gateway.desk(&desk_token), "yes").await;
                run(&world, &format!("{} --digest {digest}", command.replace("ID", &id)), token, &gateway).await;
                gateway.desk(&desk_token).settled(&id, &["answered"]).await;
            }
            "paraph calls reject ID --reason \"Too early, ask Bob first.\"" => {
                let (id, _) = hold(agent.as_ref().expect("an agent"), &gateway.desk(&desk_token), "no").await;
                run(&world, &command.replace("ID", &id), token, &gateway).await;
                assert_eq!(gateway.desk(&desk_token).call(&id).await["state"], "rejected");
            }
            "paraph calls changes ID --reason \"Shorter, please.\"" => {
                let (id, _) = hold(agent.as_ref().expect("an agent"), &gateway.desk(&desk_token), "at length").await;
                run(&world, &command.replace("ID", &id), token, &gateway).await;
                assert_eq!(gateway.desk(&desk_token).call(&id).await["state"], "changes_requested");
            }
            // Whether each of the three has something to do is the story of tests/it/cli/calls.rs; here it is known and reaches its call.
            "paraph calls undo ID" | "paraph calls lift ID" | "paraph calls resolve ID --sent" => {
                let (id, _) = hold(agent.as_ref().expect("an agent"), &gateway.desk(&desk_token), command).await;
                let yes = if command.contains("resolve") { " --yes" } else { "" };
                let line = format!("{}{yes}", command.replace("ID", &id));
                let Output { status, stderr, .. } = shell(&world, &line, token, &gateway).output().await.expect("a shell");
                let told = String::from_utf8_lossy(&stderr).into_owned();
                assert_eq!(status.code(), Some(1), "{line}: {told}");
                assert!(["no approval to take back", "not closed", "nothing to resolve"].iter().any(|why| told.contains(why)), "{line}: {told}");
            }
            "paraph pause --reason \"The account sends nonsense.\"" | "paraph resume" => {
                run(&world, command, None, &gateway).await;
            }
            "paraph pause --show" => assert!(run(&world, command, None, &gateway).await.ends_with("by operator: The account sends nonsense.")),
            "paraph calls watch" => {
                let mut watching = shell(&world, &format!("exec {command}"), token, &gateway).stdout(Stdio::piped()).spawn().expect("a shell");
                let mut lines = BufReader::new(watching.stdout.take().expect("standard output")).lines();
                let (agent, desk) = (agent.as_ref().expect("an agent"), gateway.desk(&desk_token));
                // The watcher may still be connecting: something new happens until it has told of something.
                let mut number = 0;
                let told = loop {
                    number += 1;
                    hold(agent, &desk, &format!("watched {number}")).await;
                    let waited = tokio::time::timeout(std::time::Duration::from_secs(1), lines.next_line()).await;
                    if let Ok(line) = waited {
                        break line.expect("a line").expect("the watcher goes on");
                    }
                    assert!(number < 60, "the watcher tells of nothing");
                };
                assert!(told.contains("c_"), "{told}");
                watching.kill().await.expect("a watcher to end");
            }
            "paraph audit export --out audit.ndjson" | "paraph audit verify audit.ndjson" => {
                run(&world, command, None, &gateway).await;
            }
            "" => {}
            other => panic!("the README has a command that no test runs: {other}"),
        }
    }
    let check = run(&world, "paraph check", None, &gateway).await;
    // The demo server stands in for the README's, and has one tool less.
    let warned: Vec<&str> = check.lines().filter(|line| line.contains("config.toml:") && !line.contains("\"health_check\" matches no tool")).collect();
    assert!(warned.is_empty() && check.ends_with("config.toml is fine."), "{check}");
    until("the mail about a held message", || async { std::fs::read_dir(world.path("data/mail")).ok().and_then(|mut files| files.next()).map(drop) }).await;
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn every_client_entry_of_the_readme_reaches_the_server() {
    let (world, gateway) = readme_gateway().await;
    let token = run(&world, "paraph agent add somebody --keep-open 3m", None, &gateway).await;
    std::fs::write(world.path("token"), format!("{token}\n")).unwrap();
    let here = |text: &str| {
        text.replace("http://127.0.0.1:8420", &gateway.url)
            .replace("/home/ann/.paraph-desktop.token", &world.path("token").display().to_string())
            .replace("${env:PARAPH_AGENT_TOKEN}", &token)
            .replace("${input:paraph-token}", &token)
    };
    let mut seen = Vec::new();
    for block in blocks("json") {
        let entry: Value = serde_json::from_str(&block.join("\n")).expect("JSON");
        let Some(server) = entry.pointer("/mcpServers/dm").or(entry.pointer("/servers/dm")) else { continue };
        if let Some(command) = server["command"].as_str() {
            let arguments: Vec<String> = server["args"].as_array().expect("args").iter().map(|one| here(one.as_str().expect("a text"))).collect();
            // As a client starts it: without a shell and with little in the environment.
            let mut started = Command::new(command);
            let program = Path::new(env!("CARGO_BIN_EXE_paraph")).parent().expect("a folder");
            started.args(arguments).env_clear().env("PATH", program);
            let mut front = Front::of(started);
            front.hello("2025-11-25").await;
            front.ask(1, "tools/list", json!({})).await;
            assert!(front.answer_to(1).await["result"].to_string().contains("send_dm"));
            front.close();
            assert_eq!(front.ended().await, (Some(0), Vec::new()));
            seen.push("started");
        } else {
            let header = here(server["headers"]["Authorization"].as_str().expect("a header"));
            let url = here(server["url"].as_str().expect("a url"));
            Agent::connect(&url, header.strip_prefix("Bearer ").expect("a token")).await;
            // VS Code asks for what the entry names.
            if let Some(input) = entry.pointer("/inputs/0") {
                assert_eq!((&input["type"], &input["password"]), (&json!("promptString"), &json!(true)));
                assert!(server["headers"]["Authorization"].as_str().unwrap().contains(&format!("${{input:{}}}", input["id"].as_str().unwrap())));
            }
            seen.push(if entry["inputs"].is_array() { "asked for" } else { "from the environment" });
        }
    }
    assert_eq!(seen, ["started", "from the environment", "asked for"]);
    assert!(gateway.stop().await);
}

#[tokio::test]
async fn the_programs_of_the_readme_run_as_they_stand_there() {
    let (world, gateway) = readme_gateway().await;
    let token = run(&world, "paraph agent add somebody", None, &gateway).await;
    run(&world, "paraph reviewer add ann@example.org --role operator", None, &gateway).await;
    let desk = gateway.desk(&run(&world, "paraph reviewer token ann@example.org", None, &gateway).await);
    std::os::unix::fs::symlink(sdk_folder().join("node_modules"), world.path("node_modules")).unwrap();
    for (language, file, runs, text) in [("python", "agent.py", python(), "Hello from Python"), ("js", "agent.mjs", node(), "Hello from JavaScript")] {
        let [program] = &blocks(language)[..] else { panic!("one program in {language}") };
        std::fs::write(world.path(file), program.join("\n").replace("http://127.0.0.1:8420", &gateway.url)).unwrap();
        let mut running = Command::new(runs);
        running.arg(world.path(file)).env("PARAPH_AGENT_TOKEN", &token).current_dir(world.path("")).kill_on_drop(true);
        let running = running.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        desk.approve(&desk.held(text).await).await;
        let Output { status, stdout, stderr } = running.wait_with_output().await.expect("its end");
        assert!(status.success(), "{language}: {}", String::from_utf8_lossy(&stderr));
        assert_eq!(String::from_utf8_lossy(&stdout).trim_end(), "Sent to @bob.", "{language}");
    }
    assert!(gateway.stop().await);
}
