//! How the program is used: help, wrong use, `check`, and commands that cannot reach anything.

use super::{PROGRAM, Place, Ran};
use std::process::Command;

#[test]
fn every_command_explains_itself_with_examples() {
    let place = Place::new();
    let commands = [
        "",
        "serve",
        "demo",
        "init",
        "scan",
        "check",
        "agent add",
        "agent list",
        "agent revoke",
        "agent rotate",
        "agent set",
        "reviewer add",
        "reviewer list",
        "reviewer disable",
        "reviewer link",
        "reviewer token",
        "reviewer tokens",
        "reviewer revoke-token",
        "reviewer sign-out",
        "reviewer set",
        "reviewer enable",
        "calls",
        "calls show",
        "calls approve",
        "calls reject",
        "calls changes",
        "calls undo",
        "calls resolve",
        "calls lift",
        "calls watch",
        "audit export",
        "audit verify",
        "audit key",
        "policy explain",
        "policy test",
        "policy import",
        "pause",
        "resume",
        "connect",
        "completions",
        "man",
    ];
    for command in commands {
        let arguments: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let help = place.run(&arguments);
        assert_eq!((help.code, help.err.as_str()), (0, ""), "{command}");
        assert!(help.out.contains("Examples:"), "{command}: {}", help.out);
        assert!(!help.out.contains('\u{1b}'), "colours only on a terminal");
    }
}

#[test]
fn wrong_use_is_2_and_says_so_on_standard_error() {
    let place = Place::new();
    let long = "x".repeat(501);
    let wrong: [&[&str]; 35] = [
        &["no-such-command"],
        &["agent"],
        &["agent", "add"],
        &["agent", "add", "a", "--expires", "soon"],
        &["reviewer", "add", "a@b.c", "--role", "king"],
        &["calls", "--state", "lost"],
        &["audit", "export", "--from", "0"],
        &["audit", "verify", "no-such-file"],
        &["serve", "--listen", "nowhere"],
        &["agent", "add", "two words"],
        &["agent", "add", ""],
        &["agent", "add", "b", "--owner", "nobody in particular"],
        &["reviewer", "add", "ann"],
        &["reviewer", "add", "ann@exa mple.org"],
        &["pause"],
        &["pause", "--reason", " "],
        &["pause", "--reason", &long],
        &["pause", "--show", "--reason", "x"],
        &["pause", "--reason", "x", "--json"],
        &["calls", "resolve", "c_1"],
        &["calls", "resolve", "c_1", "--sent", "--not-sent"],
        &["audit", "verify", "config.toml", "--head", "yesterday's"],
        &["reviewer", "add", "ann@example.org", "--group", ""],
        &["reviewer", "add", "ann@example.org", "--group", "a,b"],
        &["reviewer", "add", "ann@example.org", "--name", "a\u{202e}b"],
        &["reviewer", "set", "ann@example.org"],
        &["reviewer", "set", "ann@example.org", "--group", "a", "--no-groups"],
        &["agent", "set", "a"],
        &["agent", "set", "a", "--server", "demo", "--every-server"],
        &["connect", "demo"],
        &["connect", "demo", "--url", "http://127.0.0.1:1"],
        &["connect", "demo", "--url", "127.0.0.1:1", "--token-file", "config.toml"],
        &["connect", "demo", "--url", "http://127.0.0.1:1", "--token-file", "no-such-file"],
        &["connect", "demo", "--url", "http://127.0.0.1:1", "--token-file", "config.toml"],
        &["completions", "tcsh"],
    ];
    for arguments in wrong {
        let ran = place.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
        assert!(!ran.err.is_empty());
    }
}

#[test]
fn without_a_configuration_a_bare_paraph_says_how_to_begin() {
    let empty = tempfile::tempdir().unwrap();
    let ran = Ran::of(Command::new(PROGRAM).current_dir(empty.path()).output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("paraph demo") && ran.err.contains("paraph init"), "{}", ran.err);
}

#[test]
fn check_prints_every_mistake_with_file_line_key_and_mend() {
    let place = Place::new();
    let good = place.run(&["check"]);
    assert_eq!(good.line(), "config.toml is fine.");
    let broken = "[listen]\naddress = 7\n[hold]\nexpires_in = \"soon\"\n[servers.x]\ncommand = [\"y\"]\ndefault = \"maybe\"\ncolour = 1\n";
    std::fs::write(place.path().join("config.toml"), broken).unwrap();
    let bad = place.run(&["check"]);
    assert_eq!(bad.code, 2);
    for line in
        ["config.toml:2: listen.address: ", "config.toml:4: hold.expires_in: ", "config.toml:7: servers.x.default: ", "config.toml:8: servers.x.colour: "]
    {
        assert!(bad.out.lines().any(|told| told.starts_with(line)), "{line} is missing in {}", bad.out);
    }
    let json = place.run(&["check", "--json"]);
    assert_eq!(json.code, 2);
    let told: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert!(told["mistakes"].as_array().unwrap().len() >= 4);
    assert!(told["mistakes"].as_array().unwrap().iter().all(|one| one["line"].as_u64().unwrap() > 0 && one["mend"].is_string()));
    let serve = place.run(&["serve"]);
    assert_eq!(serve.code, 2, "what check refuses does not start");
}

#[test]
fn check_warns_of_a_rule_that_nobody_may_decide_and_makes_no_data_folder() {
    let place = Place::new();
    assert_eq!(place.run(&["check"]).code, 0);
    assert!(!place.path().join("data").exists());
    assert_eq!(place.run(&["reviewer", "add", "ann@example.org", "--group", "elsewhere"]).code, 0);
    let warned = place.run(&["check"]);
    assert_eq!(warned.code, 0);
    assert!(warned.out.contains("servers.demo: rule \"dms\" needs"), "{}", warned.out);
    assert_eq!(place.run(&["reviewer", "add", "bea@example.org", "--group", "desk"]).code, 0);
    assert_eq!(place.run(&["check"]).line(), "config.toml is fine.");
}

#[test]
fn a_token_that_everybody_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let file = place.path().join("token");
    std::fs::write(&file, "pa_x").unwrap();
    for (mode, warned) in [(0o644, true), (0o600, false)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let ran = place.run(&["connect", "demo", "--url", "http://127.0.0.1:1", "--wait", "1ms", "--token-file", "token"]);
        assert_eq!(ran.err.contains("everybody on this computer can read the token in token; chmod 600 token"), warned, "{}", ran.err);
    }
}

#[test]
fn calls_without_a_gateway_are_3_and_without_a_token_2() {
    let place = Place::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let asked = |arguments: &[&str], token: Option<&str>| {
        let mut command = place.command(arguments);
        command.env("PARAPH_URL", format!("http://{nobody}"));
        if let Some(token) = token {
            command.env("PARAPH_TOKEN", token);
        }
        Ran::of(command.output().unwrap())
    };
    for arguments in [
        &["calls"][..],
        &["calls", "show", "c_1"],
        &["calls", "watch"],
        &["calls", "reject", "c_1", "--reason", "no"],
        &["calls", "undo", "c_1"],
        &["calls", "lift", "c_1"],
    ] {
        assert_eq!(asked(arguments, Some("pt_x")).code, 3, "{arguments:?}");
        assert_eq!(asked(arguments, None).code, 2, "{arguments:?}");
    }
    let unread = asked(&["calls", "approve", "c_1"], Some("pt_x"));
    assert_eq!(unread.code, 2, "without a terminal nobody can be asked");
    assert!(unread.err.contains("--digest"), "{}", unread.err);
    assert_eq!(asked(&["calls", "reject", "c_1"], Some("pt_x")).code, 2, "a refusal needs a reason");
    assert_eq!(asked(&["calls", "changes", "c_1"], Some("pt_x")).code, 2, "so does a wish for changes");
    let unasked = asked(&["calls", "resolve", "c_1", "--sent"], Some("pt_x"));
    assert_eq!(unasked.code, 2, "without a terminal nobody can be asked");
    assert!(unasked.err.contains("--yes"), "{}", unasked.err);
    assert_eq!(asked(&["calls", "show", "../agents"], Some("pt_x")).code, 2);
}
