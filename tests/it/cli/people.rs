//! People and agents from the terminal: rotation, edits, tokens and sessions, the same with and without a running
//! gateway.

use super::{Place, is_secret};
use serde_json::{Value, json};

#[test]
fn agents_and_people_are_changed_without_a_gateway() {
    changes(&Place::new());
}

#[test]
fn agents_and_people_are_changed_beside_a_running_gateway() {
    let place = Place::new();
    let gateway = place.serve();
    changes(&place);
    gateway.stop();
}

fn agent(place: &Place) -> Value {
    place.run(&["agent", "list", "--json"]).json()["agents"][0].clone()
}

fn person(place: &Place, email: &str) -> Value {
    let people = place.run(&["reviewer", "list", "--json"]).json();
    people["people"].as_array().unwrap().iter().find(|person| person["email"] == email).unwrap().clone()
}

fn changes(place: &Place) {
    let first = place.run(&["agent", "add", "bot", "--server", "demo"]);
    let second = place.run(&["agent", "rotate", "bot"]);
    assert!(is_secret(second.line(), "pa_") && second.line() != first.line());
    assert!(second.err.contains("one hour"), "{}", second.err);
    assert!(agent(place)["old_until"].is_string() && agent(place)["used_at"].is_null());
    assert!(place.run(&["agent", "list"]).out.contains("LAST USED"));
    let slip = place.run(&["agent", "set", "bot", "--server", "dmeo", "--owner", "Ann@example.org", "--keep-open", "4m"]);
    assert_eq!((slip.code, slip.out.as_str()), (0, ""));
    assert!(slip.err.contains("no server called dmeo") && slip.err.contains("Changed."), "{}", slip.err);
    let set = agent(place);
    assert_eq!((&set["servers"], &set["owner"], &set["keep_open_ms"]), (&json!(["dmeo"]), &json!("ann@example.org"), &json!(240_000)));
    assert_eq!(place.run(&["agent", "set", "bot", "--every-server", "--no-owner", "--no-keep-open"]).code, 0);
    let set = agent(place);
    assert_eq!((&set["servers"], &set["owner"], &set["keep_open_ms"]), (&json!([]), &Value::Null, &Value::Null));
    for nobody in [["agent", "rotate", "none"].as_slice(), &["agent", "set", "none", "--every-server"], &["agent", "revoke", "none"]] {
        let ran = place.run(nobody);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{nobody:?}");
        assert!(ran.err.contains("no active agent called none"), "{}", ran.err);
    }

    place.run(&["reviewer", "add", "olga@example.org", "--role", "operator"]).line();
    place.run(&["reviewer", "add", "ann@example.org", "--name", "Ann", "--group", "desk"]).line();
    assert_eq!(place.run(&["reviewer", "set", "ANN@example.org", "--group", "sales", "--group", "north wing", "--role", "auditor", "--name", ""]).code, 0);
    let ann = person(place, "ann@example.org");
    assert_eq!((&ann["groups"], &ann["role"], &ann["name"]), (&json!(["sales", "north wing"]), &json!("auditor"), &Value::Null));
    assert_eq!(place.run(&["reviewer", "set", "ann@example.org", "--no-groups"]).code, 0);
    assert_eq!((&person(place, "ann@example.org")["groups"], &person(place, "ann@example.org")["role"]), (&json!([]), &json!("auditor")));
    let last = place.run(&["reviewer", "set", "olga@example.org", "--role", "reviewer"]);
    assert_eq!(last.code, 1);
    assert!(last.err.contains("last operator"), "{}", last.err);

    assert_eq!(place.run(&["reviewer", "tokens", "ann@example.org", "--json"]).json(), json!({"tokens": []}));
    let token = place.run(&["reviewer", "token", "ann@example.org"]).line().to_owned();
    place.run(&["reviewer", "token", "ann@example.org", "--expires", "1d"]).line();
    let listed = place.run(&["reviewer", "tokens", "ann@example.org", "--json"]).json();
    let tokens = listed["tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 2);
    assert!(tokens.iter().all(|token| token["name"] == "command line"), "{listed}");
    place.run(&["reviewer", "token", "olga@example.org", "--name", "night job"]).line();
    assert!(place.run(&["reviewer", "tokens", "olga@example.org"]).out.contains("night job"));
    for name in ["", " ", "a\nb"] {
        assert_eq!(place.run(&["reviewer", "token", "olga@example.org", "--name", name]).code, 2, "{name:?}");
    }
    let none = place.run(&["reviewer", "set", "ann@example.org", "--no-passkeys"]);
    assert_eq!((none.code, none.out.as_str()), (0, ""), "{}", none.err);
    assert!(none.err.contains("Passkeys removed: 0"), "{}", none.err);
    assert_eq!(place.run(&["reviewer", "set", "nobody@example.org", "--no-passkeys"]).code, 1);
    assert_eq!(place.run(&["reviewer", "set", "ann@example.org", "--no-passkeys", "--name", "A"]).code, 2);
    assert!(!listed.to_string().contains(&token) && tokens[0]["used_at"].is_null() && tokens[0]["made_at"].is_string());
    let id = tokens[0]["id"].as_str().unwrap();
    let shown = place.run(&["reviewer", "tokens", "ann@example.org"]);
    assert!(shown.out.contains(id) && shown.out.contains("LAST USED"), "{}", shown.out);
    assert_eq!(place.run(&["reviewer", "revoke-token", "olga@example.org", id]).code, 1, "it is not hers");
    assert_eq!(place.run(&["reviewer", "revoke-token", "ann@example.org", id]).code, 0);
    assert_eq!(place.run(&["reviewer", "revoke-token", "ann@example.org", id]).code, 1);
    assert_eq!(place.run(&["reviewer", "tokens", "ann@example.org", "--json"]).json()["tokens"].as_array().unwrap().len(), 1);

    place.run(&["reviewer", "link", "ann@example.org"]).line();
    let out = place.run(&["reviewer", "sign-out", "ann@example.org"]);
    assert_eq!((out.code, out.out.as_str()), (0, ""));
    assert!(out.err.contains("ended: 2"), "{}", out.err);
    assert_eq!(place.run(&["reviewer", "enable", "ann@example.org"]).code, 1, "she is not disabled");
    assert_eq!(place.run(&["reviewer", "disable", "ann@example.org"]).code, 0);
    assert_eq!(place.run(&["reviewer", "enable", "ann@example.org"]).code, 0);
    assert_eq!(place.run(&["reviewer", "tokens", "ann@example.org", "--json"]).json(), json!({"tokens": []}));
    for command in [["reviewer", "tokens"], ["reviewer", "sign-out"], ["reviewer", "enable"]] {
        assert_eq!(place.run(&[command[0], command[1], "nobody@example.org"]).code, 1, "{command:?}");
    }
    let entries = place.run(&["audit", "export"]).out;
    for kind in ["agent.rotated", "agent.changed", "person.changed", "person.enabled", "person.signed_out", "token.revoked"] {
        assert!(entries.contains(&format!("\"kind\":\"{kind}\"")), "{kind}");
    }
}

#[test]
fn check_says_which_rules_ask_for_people_who_are_not_there_also_beside_a_running_gateway() {
    let place = Place::new();
    let gateway = place.serve();
    place.run(&["agent", "add", "bot", "--owner", "ann@example.org"]).line();
    place.run(&["reviewer", "add", "ann@example.org", "--group", "desk"]).line();
    assert_eq!(place.run(&["check"]).line(), "config.toml is fine.", "one is enough, also an owner");
    let config = std::fs::read_to_string(place.path().join("config.toml")).unwrap();
    std::fs::write(place.path().join("config.toml"), config.replace("reviewers = [\"desk\"]", "reviewers = [\"desk\"]\napprovals = 2")).unwrap();
    place.run(&["reviewer", "add", "ben@example.org", "--group", "desk"]).line();
    let two = place.run(&["check"]);
    assert!(two.out.contains("needs 2 approval(s), but 1 active reviewer(s) may decide calls of agent \"bot\", whose owner does not count"), "{}", two.out);
    place.run(&["reviewer", "set", "ben@example.org", "--no-groups"]);
    let one = place.run(&["check"]);
    assert!(one.out.contains("but 1 active reviewer(s) may decide its calls; they go to operators"), "{}", one.out);
    gateway.stop();
}
