//! `paraph policy`: one call explained, a file of cases, and a policy.json as rules.

use super::{PROGRAM, Place};
use serde_json::{Value, json};

const POLICY: &str = r#"{ "version": "1", "tools": {
  "send_dm": {
    "require": [{ "path": "args.to", "op": "in", "value": ["@ann", "@bob"], "on_deny": "Only friends." }],
    "deny_if": [{ "path": "args.text", "op": "contains", "value": "http" }],
    "limits": [{ "counter": "dms", "window": "minute", "max": 2, "scope": "grant" }]
  },
  "read_inbox": {} } }"#;

/// A place whose server reads the policy above; a rule of ours holds what it lets through to Bob.
fn place() -> Place {
    let place = Place::new();
    std::fs::write(place.path().join("policy.json"), POLICY).unwrap();
    let config = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n[servers.demo]\ncommand = [{PROGRAM:?}, \"demo-server\"]\npolicy = \"policy.json\"\n\
         [[servers.demo.rules]]\nname = \"bob-is-read\"\ntools = [\"send_dm\"]\naction = \"require_approval\"\n\
         conditions = [{{ path = \"args.to\", op = \"eq\", value = \"@bob\" }}]\n"
    );
    std::fs::write(place.path().join("config.toml"), config).unwrap();
    place
}

fn write(place: &Place, name: &str, value: &Value) {
    std::fs::write(place.path().join(name), value.to_string()).unwrap();
}

fn explained(place: &Place, call: &Value) -> Value {
    write(place, "call.json", call);
    place.run(&["policy", "explain", "call.json", "--agent", "bot", "--json"]).json()
}

#[test]
fn an_explanation_names_what_decided_and_what_each_condition_found_and_no_text_of_the_call() {
    let place = place();
    let told = explained(&place, &json!({ "tool": "send_dm", "arguments": { "to": "@eve-secret", "text": "hi-secret" } }));
    assert_eq!((&told["verdict"], &told["rule"], &told["reason"]), (&json!("deny"), &json!("/tools/send_dm/require/0"), &json!("Only friends.")));
    assert_eq!(told["steps"][0]["conditions"][0], json!({ "at": "/tools/send_dm/require/0", "path": "args.to", "op": "in", "found": "no", "holds": false }));
    assert!(!told.to_string().contains("secret"), "{told}");
    let told = explained(&place, &json!({ "agent": "of-the-file", "server": "demo", "tool": "send_dm", "arguments": { "to": "@bob" } }));
    assert_eq!((&told["verdict"], &told["rule"], &told["agent"]), (&json!("hold"), &json!("bob-is-read"), &json!("bot")));
    let found: Vec<&Value> = told["steps"].as_array().unwrap().iter().map(|step| &step["conditions"][0]["found"]).collect();
    assert_eq!(found, [&json!("yes"), &json!("missing"), &Value::Null, &json!("yes")], "{told}");
    assert_eq!(
        (&told["limits"][0]["limit"], &told["limits"][0]["takes"], &told["limits"][0]["room"]),
        (&json!("/tools/send_dm/limits/dms"), &json!(1), &Value::Null)
    );
    assert_eq!(explained(&place, &json!({ "tool": "no_such" }))["rule"], "/default");
    assert!(!place.path().join("data").exists(), "explaining makes no data folder");
    let text = place.run(&["policy", "explain", "call.json", "--agent", "bot"]);
    assert_eq!((text.code, text.out.as_str()), (0, "deny by /default\n  /default (deny) applies\n"), "{}", text.err);
}

#[test]
fn an_explanation_says_whether_the_limits_have_room_beside_a_running_gateway_and_without() {
    let place = place();
    let call = json!({ "tool": "send_dm", "arguments": { "to": "@ann", "text": "hi" } });
    let gateway = place.serve();
    assert_eq!(explained(&place, &call)["limits"][0]["room"], true);
    let token = place.run(&["agent", "add", "bot"]).line().to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let agent = crate::world::Agent::connect(&format!("{}/mcp/demo", gateway.url), &token).await;
        for _ in 0..2 {
            let told = agent.request("tools/call", json!({ "name": "send_dm", "arguments": { "to": "@ann", "text": "hi" } })).await.unwrap();
            assert_ne!(told["result"]["isError"], true, "{told}");
        }
    });
    let full = explained(&place, &call)["limits"][0].clone();
    assert_eq!((&full["room"], full["room_at"].is_string()), (&json!(false), true), "{full}");
    gateway.stop();
    let full = explained(&place, &call)["limits"][0].clone();
    assert_eq!(full["room"], false, "{full}");
    let text = place.run(&["policy", "explain", "call.json", "--agent", "bot"]);
    assert!(text.out.contains("limit /tools/send_dm/limits/dms: takes 1 of 2 in 1m (grant); no room before "), "{}", text.out);
}

fn case(name: &str, call: &Value, verdict: &str, rule: Option<&str>) -> Value {
    let mut expect = json!({ "verdict": verdict });
    if let Some(rule) = rule {
        expect["rule"] = json!(rule);
    }
    json!({ "name": name, "call": call, "expect": expect })
}

#[test]
fn cases_are_judged_and_each_that_differs_is_told() {
    let place = place();
    let dm = |to: &str| json!({ "agent": "bot", "tool": "send_dm", "arguments": { "to": to } });
    let good =
        [case("friends", &dm("@ann"), "allow", Some("/tools/send_dm")), case("bob", &dm("@bob"), "hold", None), case("others", &dm("@eve"), "deny", None)];
    write(&place, "cases.json", &json!(good));
    let ran = place.run(&["policy", "test", "cases.json"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "3 case(s): 3 as expected, 0 not.\n"), "{}", ran.err);
    let bad = [good[0].clone(), case("bob passes", &dm("@bob"), "allow", None), case("which rule", &dm("@eve"), "deny", Some("/default"))];
    write(&place, "cases.json", &json!(bad));
    let ran = place.run(&["policy", "test", "cases.json"]);
    let expected = "NOT bob passes: expected allow by any rule, got hold by bob-is-read\n\
                    NOT which rule: expected deny by /default, got deny by /tools/send_dm/require/0\n3 case(s): 1 as expected, 2 not.\n";
    assert_eq!((ran.code, ran.out.as_str()), (1, expected));
    let json = place.run(&["policy", "test", "cases.json", "--json"]);
    let told: Value = serde_json::from_str(&json.out).unwrap();
    let named = place.run(&["policy", "test", "cases.json", "--agent", "other", "--server", "demo"]);
    assert_eq!((named.code, named.out.as_str()), (1, expected), "what a case names counts");
    assert_eq!((json.code, &told["as_expected"], &told["failures"][0]["got"]["rule"]), (1, &json!(1), &json!("bob-is-read")));
}

#[test]
fn files_that_cannot_be_used_are_2_and_say_what_is_wrong() {
    let place = place();
    for (text, why) in [
        ("[]", "no case"),
        ("{", "not valid JSON"),
        (r#"[{"name": "x", "call": {"tool": "t", "tool": "t"}, "expect": {"verdict": "deny"}}]"#, "twice"),
        (r#"[{"name": "x", "call": {"tool": "t", "agent": "a"}, "expect": {"verdict": "maybe"}}]"#, "maybe"),
        (r#"[{"name": "x", "call": {"tool": "t", "agent": "a", "args": {}}, "expect": {"verdict": "deny"}}]"#, "args"),
        (r#"[{"name": "x", "call": {"tool": "t"}, "expect": {"verdict": "deny"}}]"#, "--agent"),
        (r#"[{"name": "x", "call": {"tool": "t", "agent": "a", "server": "other"}, "expect": {"verdict": "deny"}}]"#, "no server called"),
    ] {
        std::fs::write(place.path().join("cases.json"), text).unwrap();
        let ran = place.run(&["policy", "test", "cases.json"]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{text}");
        assert!(ran.err.contains(why), "{text}: {}", ran.err);
    }
    std::fs::write(place.path().join("call.json"), r#"{"tool": "t", "arguments": []}"#).unwrap();
    for arguments in
        [&["policy", "explain", "call.json", "--agent", "a"][..], &["policy", "explain", "gone.json"], &["policy", "import", "gone.json"], &["policy"]]
    {
        let ran = place.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
    }
}

#[test]
fn an_imported_policy_judges_as_the_file_did() {
    let place = place();
    let cases: Vec<Value> = [("@ann", "hi", "allow"), ("@eve", "hi", "deny"), ("@ann", "http://x", "deny")]
        .into_iter()
        .map(|(to, text, verdict)| case(text, &json!({ "agent": "bot", "tool": "send_dm", "arguments": { "to": to, "text": text } }), verdict, None))
        .collect();
    write(&place, "cases.json", &json!(cases));
    assert_eq!(place.run(&["policy", "test", "cases.json"]).code, 0);
    let printed = place.run(&["policy", "import", "policy.json", "--server", "demo"]);
    assert_eq!((printed.code, printed.err.as_str()), (0, ""));
    let config = printed.out.replacen('\n', &format!("\ncommand = [{PROGRAM:?}, \"demo-server\"]\n"), 1);
    std::fs::write(place.path().join("config.toml"), config).unwrap();
    let ran = place.run(&["policy", "test", "cases.json"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "3 case(s): 3 as expected, 0 not.\n"), "{}", ran.err);
}

#[test]
fn what_rules_cannot_say_is_refused_by_name_and_mistakes_come_with_their_lines() {
    let place = place();
    let pattern =
        json!({ "version": "1", "tools": { "send_dm": { "require": [{ "path": "args.to", "op": "regex", "value": "^@" }], "require_approval": true } } });
    write(&place, "policy.json", &pattern);
    let ran = place.run(&["policy", "import", "policy.json"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("policy.json: /tools/send_dm/require/0: ") && ran.err.contains("Use policy = \"policy.json\""), "{}", ran.err);
    std::fs::write(place.path().join("policy.json"), "{\n  \"version\": \"1\",\n  \"tool\": {},\n  \"default\": \"maybe\"\n}\n").unwrap();
    for arguments in [&["policy", "import", "policy.json"][..], &["check"]] {
        let ran = place.run(arguments);
        let told = format!("{}{}", ran.out, ran.err);
        assert_eq!(ran.code, 2);
        assert!(told.contains("policy.json:3: /tool: ") && told.contains("policy.json:4: /default: "), "{told}");
    }
}
