//! Commands about data: the same answers whether a gateway runs, does not run, or has just died.

use super::{PROGRAM, Place, Ran, is_secret};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;

#[test]
fn agents_are_added_listed_and_revoked_without_a_gateway() {
    agents_and_people(&Place::new(), "http://127.0.0.1:0");
}

#[test]
fn agents_are_added_listed_and_revoked_beside_a_running_gateway() {
    let place = Place::new();
    let gateway = place.serve();
    let socket = place.path().join("data/control.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    agents_and_people(&place, &gateway.url);
    gateway.stop();
    assert!(!socket.exists());
    let agents = place.run(&["agent", "list", "--json"]).json();
    assert_eq!(agents["agents"][0]["state"], "revoked", "it is on record after the stop");
}

/// The same story, whoever holds the store.
fn agents_and_people(place: &Place, url: &str) {
    let added = place.run(&["agent", "add", "bot", "--server", "demo", "--keep-open", "4m", "--expires", "90d"]);
    assert!(is_secret(added.line(), "pa_"), "{}", added.out);
    let twice = place.run(&["agent", "add", "bot"]);
    assert_eq!((twice.code, twice.out.as_str()), (1, ""));
    assert!(twice.err.contains("already an agent called bot"), "{}", twice.err);
    let slip = place.run(&["agent", "add", "other", "--server", "dmeo"]);
    assert!(slip.err.contains("no server called dmeo"), "{}", slip.err);

    let agents = place.run(&["agent", "list", "--json"]).json();
    assert_eq!(agents["agents"][0]["name"], "bot");
    assert_eq!(agents["agents"][0]["state"], "active");
    assert_eq!(agents["agents"][0]["keep_open_ms"], 240_000);
    assert!(!agents.to_string().contains("token"), "not even the hash of a token is shown");
    assert!(place.run(&["agent", "list"]).out.contains("bot"));

    let revoked = place.run(&["agent", "revoke", "bot"]);
    assert_eq!((revoked.code, revoked.out.as_str()), (0, ""));
    assert_eq!(place.run(&["agent", "revoke", "bot"]).code, 1);
    assert_eq!(place.run(&["agent", "list", "--json"]).json()["agents"][0]["state"], "revoked");

    let link = place.run(&["reviewer", "add", "Ann@Example.org", "--name", "Ann", "--group", "desk", "--role", "operator"]);
    assert!(is_secret(link.line(), &format!("{url}/sign-in/pl_")), "{}", link.out);
    assert!(is_secret(place.run(&["reviewer", "link", "ann@example.org"]).line(), &format!("{url}/sign-in/pl_")));
    assert!(is_secret(place.run(&["reviewer", "token", "ann@example.org"]).line(), "pt_"));
    let people = place.run(&["reviewer", "list", "--json"]).json();
    assert_eq!(people["people"][0]["email"], "ann@example.org");
    assert_eq!((&people["people"][0]["role"], &people["people"][0]["groups"][0]), (&"operator".into(), &"desk".into()));
    let last = place.run(&["reviewer", "disable", "ann@example.org"]);
    assert_eq!(last.code, 1);
    assert!(last.err.contains("last operator"), "{}", last.err);
    assert_eq!(place.run(&["reviewer", "token", "nobody@example.org"]).code, 1);
}

#[test]
fn data_alone_is_enough_for_commands_about_data() {
    let place = Place::new();
    assert_eq!(place.run(&["agent", "add", "bot"]).code, 0, "what the configuration names is made, before the first serve too");
    let (empty, data) = (tempfile::tempdir().unwrap(), place.path().join("data").display().to_string());
    let run = |arguments: &[&str]| Ran::of(Command::new(PROGRAM).args(arguments).current_dir(empty.path()).output().unwrap());
    assert!(is_secret(run(&["agent", "add", "other", "--data", &data]).line(), "pa_"));
    assert_eq!(run(&["--data", &data, "agent", "list", "--json"]).json()["agents"].as_array().unwrap().len(), 2);
    assert_eq!(run(&["agent", "list"]).code, 2, "without both nobody knows which data is meant");
}

#[test]
fn a_slip_in_data_makes_no_new_folder() {
    let place = Place::new();
    assert_eq!(place.run(&["agent", "add", "bot"]).code, 0);
    std::fs::create_dir(place.path().join("empty")).unwrap();
    let commands: [&[&str]; 6] =
        [&["agent", "add", "x"], &["agent", "list"], &["reviewer", "add", "a@b.c"], &["audit", "export"], &["pause", "--reason", "x"], &["resume"]];
    for slip in ["dta", "empty"] {
        for command in commands {
            let ran = place.run(&[command, &["--data", slip]].concat());
            assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{command:?}");
            assert!(ran.err.contains(&format!("there is no store at {slip}")) && ran.err.contains("paraph serve"), "{}", ran.err);
        }
    }
    assert!(!place.path().join("dta").exists());
    assert_eq!(std::fs::read_dir(place.path().join("empty")).unwrap().count(), 0);
}

#[test]
fn a_socket_that_a_killed_gateway_left_behind_is_no_obstacle() {
    let place = Place::new();
    drop(place.serve());
    assert!(place.path().join("data/control.sock").exists(), "killed, it could not tidy up");
    assert!(is_secret(place.run(&["agent", "add", "bot"]).line(), "pa_"));
    let gateway = place.serve();
    assert_eq!(place.run(&["agent", "list", "--json"]).json()["agents"][0]["name"], "bot");
    gateway.stop();
}

#[test]
fn a_store_in_use_by_somebody_who_does_not_answer_is_3() {
    let place = Place::new();
    let gateway = place.serve();
    std::fs::remove_file(place.path().join("data/control.sock")).unwrap();
    let ran = place.run(&["agent", "list"]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert!(ran.err.contains("in use"), "{}", ran.err);
    gateway.stop();
}

#[test]
fn nonsense_on_the_control_socket_is_answered_and_the_gateway_goes_on() {
    let place = Place::new();
    let gateway = place.serve();
    let long = "x".repeat(100_000);
    for nonsense in ["", "nonsense", "{\"ask\":\"everything\"}", "{\"ask\":\"agents\",\"more\":1}", &long] {
        let mut socket = UnixStream::connect(place.path().join("data/control.sock")).unwrap();
        // A line beyond the bound is cut off while it is still being written.
        let _ = socket.write_all(format!("{nonsense}\n").as_bytes());
        let mut answer = String::new();
        if BufReader::new(socket).read_line(&mut answer).is_ok() && nonsense.len() < 1000 {
            assert!(answer.contains("not_understood"), "{nonsense}: {answer}");
        }
    }
    assert_eq!(place.run(&["agent", "list", "--json"]).code, 0);
    gateway.stop();
}
