//! What operators install: the unit and the image say what the program needs, and a log that is read by machines is one
//! object a line, whatever agents and servers put into their names.

use crate::world::{World, http, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A directive may stand more than once.
fn directives(unit: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut found = BTreeMap::<&str, Vec<&str>>::new();
    for (name, value) in unit.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')) {
        found.entry(name).or_default().push(value);
    }
    found
}

/// The seconds of a constant of the program, as its source has them.
fn seconds_of(source: &str, constant: &str) -> u64 {
    let line = source.lines().find(|line| line.contains(&format!("const {constant}: Duration"))).unwrap_or_else(|| panic!("no {constant}"));
    line.split("from_secs(").nth(1).and_then(|rest| rest.split(')').next()?.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

/// What is wrong with a unit.
fn faults(unit: &str) -> Vec<String> {
    let found = directives(unit);
    let one = |name: &str| found.get(name).and_then(|values| values.first()).copied().unwrap_or_default();
    let mut faults = Vec::new();
    let needed = seconds_of(&file("src/gate/mod.rs"), "DRAIN") + seconds_of(&file("src/serve/running.rs"), "HANG_UP");
    if one("TimeoutStopSec").parse::<u64>().is_ok_and(|given| given <= needed) || one("TimeoutStopSec").is_empty() {
        faults.push(format!("the gateway may need {needed} s to stop"));
    }
    for (name, value) in [
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
        ("User", "paraph"),
        ("KillMode", "mixed"),
        ("Restart", "on-failure"),
        ("RestartPreventExitStatus", "2"),
        ("StateDirectoryMode", "0700"),
        ("UMask", "0077"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("PrivateUsers", "yes"),
        ("ProtectProc", "invisible"),
        ("ProtectKernelTunables", "yes"),
        ("ProtectControlGroups", "yes"),
        ("RestrictNamespaces", "yes"),
        ("RestrictSUIDSGID", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("SystemCallFilter", "@system-service"),
    ] {
        if !found.contains_key(name) || one(name) != value {
            faults.push(format!("{name} is not {value:?}"));
        }
    }
    for (name, value) in found.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value))) {
        // A folder of configuration that systemd makes belongs to root, and the gateway cannot read it.
        if *name == "ConfigurationDirectory" || (*name == "MemoryDenyWriteExecute" && *value == "yes") {
            faults.push(format!("{name}={value} keeps something from working"));
        }
    }
    faults
}

#[test]
fn the_unit_gives_the_gateway_time_to_stop_and_nothing_it_does_not_need() {
    let unit = file("deploy/paraph.service");
    assert_eq!(faults(&unit), [] as [&str; 0]);
    for (from, to) in [("TimeoutStopSec=40", "TimeoutStopSec=30"), ("kill -HUP", "kill -USR1"), ("ProtectSystem=strict", "ProtectSystem=yes")] {
        assert_eq!(faults(&unit.replace(from, to)).len(), 1, "{to} is not noticed");
    }
    assert!(file("deploy/paraph.sysusers.conf").lines().any(|line| line.starts_with("u paraph ")));
}

#[test]
fn the_image_is_built_by_the_compiler_that_the_manifest_names_and_from_files_that_are_there() {
    let (image, manifest) = (file("deploy/Containerfile"), file("Cargo.toml"));
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"')).unwrap();
    assert!(image.contains(&format!("\nFROM rust:{version}-slim-bookworm AS build\n")), "not the compiler of rust-version = {version}");
    for line in ["USER 10001:10001", "ENTRYPOINT [\"paraph\"]", "VOLUME /data", "ENV PARAPH_LOG_FORMAT=json"] {
        assert!(image.lines().any(|found| found == line), "no {line}");
    }
    assert!(image.contains("--owner=paraph --group=paraph --mode=0700 /data"));
    let named = file(".containerignore");
    let wanted: Vec<&str> = named.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(named.lines().any(|line| line == "*"), "everything else stays out");
    for name in &wanted {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists(), "{name} is not there");
    }
    for needed in ["src", "static", "templates", "Cargo.toml", "Cargo.lock", "benches", "tests/it/main.rs", "LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(wanted.contains(&needed), "{needed} is not let in");
    }
    for document in ["deploy/paraph.service", "deploy/paraph.sysusers.conf", "deploy/Containerfile"] {
        assert!(file("docs/operations.md").contains(document), "{document} is not documented");
    }
}

/// Lines that a program which takes them for log lines must not find.
const FORGED: &str = "x\n{\"timestamp\":\"2026-01-01T00:00:00Z\",\"level\":\"INFO\",\"fields\":{\"message\":\"FORGED\"}}\r\n2026-01-01T00:00:00.000000Z  INFO FORGED \u{1b}[31mred\u{1b}[0m";

/// A server that puts line ends wherever a text may stand.
const HOSTILE: &str = r#"
import json, sys
forged = json.loads(sys.argv[1])
print(forged, file=sys.stderr, flush=True)
def answer(id, result): print(json.dumps({"jsonrpc": "2.0", "id": id, "result": result}), flush=True)
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    if method == "initialize" and sys.argv[2] == "refuses": print(json.dumps({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": forged}}), flush=True)
    elif method == "initialize": answer(id, {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": forged, "version": forged}})
    elif method == "tools/list": answer(id, {"tools": [{"name": "send_" + forged, "description": forged, "inputSchema": {"type": forged}}]})
    elif method == "tools/call": print(json.dumps({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": forged}}), flush=True)
"#;

/// A gateway, a hostile agent and hostile servers; everything that was logged meanwhile, and what was secret.
async fn hostile_log(format: &str) -> (String, Vec<String>) {
    let rule = "default = \"allow\"\n\n[[servers.NAME.rules]]\nname = \"sends\"\ntools = [\"send_*\"]\naction = \"require_approval\"\n\n";
    let server = |name: &str, mood: &str| {
        format!("[servers.{name}]\ncommand = [\"python3\", \"FOLDER/hostile.py\", '{}', \"{mood}\"]\n{}", json!(FORGED), rule.replace("NAME", name))
    };
    let world = World::new(&format!("{}{}", server("odd", "lists"), server("closed", "refuses")));
    std::fs::write(world.path("hostile.py"), HOSTILE).unwrap();
    let token = world.agent("bot").await;
    let gateway = world.serve_with(&[("PARAPH_LOG_FORMAT", OsStr::new(format)), ("PARAPH_LOG", OsStr::new("debug"))]).await;
    let ann = world.reviewer("ann@example.org").await;
    let agent = crate::world::Agent::connect(&gateway.mcp("odd"), &token).await;
    agent.request("tools/list", json!({})).await.unwrap();
    let _waiting = agent.begin(&format!("send_{FORGED}"), json!({ FORGED: FORGED }));
    let held = until("the call is held", || async { gateway.desk(&ann).calls("held").await.into_iter().next() }).await;
    let held = gateway.desk(&ann).call(held["id"].as_str().unwrap()).await;
    gateway.desk(&ann).reject(&held, &format!("No. {FORGED}")).await;
    let _ = agent.request(&format!("read_{FORGED}"), json!({})).await;
    let _ = agent.request("tools/call", json!({"name": format!("read_{FORGED}"), "arguments": {"text": FORGED}})).await;
    agent.notify(&format!("notifications/{FORGED}"), json!({ "reason": FORGED })).await;
    for (name, value) in
        [("mcp-session-id", "x\t{\"level\":\"FORGED\"}"), ("origin", "http://FORGED"), ("user-agent", "FORGED\t\u{e9}"), ("mcp-protocol-version", "FORGED")]
    {
        let value = reqwest::header::HeaderValue::from_bytes(value.as_bytes()).unwrap();
        let sent = http().post(gateway.mcp("odd")).bearer_auth(&token).header(name, value).body(format!("{{\"{}", FORGED.replace('"', ""))).send().await;
        sent.unwrap();
    }
    let _ = http().get(format!("{}/FORGED%0A%7B%22level%22%3A1%7D?a=%0AFORGED", gateway.url)).send().await.unwrap();
    let _ = http().post(gateway.mcp("closed")).bearer_auth(&token).header("content-type", "application/json").header("accept", "application/json, text/event-stream").body(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": FORGED, "version": FORGED}}}).to_string()).send().await.unwrap();
    until("the server that refuses is in the log", || async { gateway.log().contains("closed").then_some(()) }).await;
    let log = gateway.log_path();
    assert!(gateway.stop().await);
    (std::fs::read_to_string(log).unwrap(), vec![token, ann, "ann@example.org".into(), "@bob".into()])
}

#[tokio::test]
async fn a_log_for_machines_is_one_object_a_line_from_the_first_to_the_last_and_nobody_can_put_one_in() {
    let (log, secrets) = hostile_log("json").await;
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\n\n{log}"));
        let at = entry["timestamp"].as_str().unwrap_or_else(|| panic!("no timestamp: {line}"));
        at.parse::<jiff::Timestamp>().unwrap();
        assert!(["ERROR", "WARN", "INFO", "DEBUG"].contains(&entry["level"].as_str().unwrap()), "{line}");
        let message = entry["fields"]["message"].as_str().unwrap_or_else(|| panic!("no message: {line}"));
        assert!(message != "FORGED" && !at.starts_with("2026-01-01"), "{line}");
        assert!(!line.contains('\u{1b}') && !line.contains("\\u001b[32m"), "{line}");
    }
    assert!(log.contains("a call is held") && log.contains("this is the head of the audit chain"), "{log}");
    secrets.iter().for_each(|secret| assert!(!log.contains(secret), "{secret} stands in\n{log}"));
}

#[tokio::test]
async fn nobody_can_put_a_line_into_a_log_for_people() {
    let (log, secrets) = hostile_log("text").await;
    for line in log.lines().filter(|line| line.contains("FORGED")) {
        assert!(!line.starts_with('{') && !line.starts_with("2026-01-01") && !line.starts_with("FORGED"), "{line}\n\n{log}");
    }
    assert!(log.contains("FORGED"), "nothing was tried: {log}");
    assert!(!log.contains('\u{1b}'), "{log}");
    secrets.iter().for_each(|secret| assert!(!log.contains(secret), "{secret} stands in\n{log}"));
}
