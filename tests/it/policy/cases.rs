//! The shared case list, row by row: what PolicyLayer's documents and its open-source proxy do, and what Paraph does.
//! The rows drive the tests, so a row that is new, or that says something else, fails until somebody handles it.

use super::kept;
use super::listing::Listing;
use super::seeds::list_of;
use crate::fakes::Mood;
use crate::life::Desk;
use crate::world::{Agent, World};
use jiff::Timestamp;
use paraph::domain::limit::{Charge, Counter, CounterKey, GiveBack, Label, ONE, Take};
use paraph::domain::policy::{Action, Asked, Document, Judgement, Policy, PolicySpec};
use paraph::gate::{Admission, ServerSettings, Settings};
use paraph::store::in_memory::InMemory;
use paraph::store::on_sled::{OnSled, Settings as SledSettings};
use paraph::store::{Change, Kind, Row, Store as _, Views as _};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const OPERATORS: usize = 19;

pub fn rows(section: &str) -> Vec<Value> {
    let cases: Value = serde_json::from_str(&std::fs::read_to_string(kept("policylayer.json")).unwrap()).unwrap();
    cases[section].as_array().unwrap_or_else(|| panic!("no {section}")).clone()
}

/// What the row says that Paraph does.
fn ours(row: &Value) -> &Value {
    row.get("ours").or(row.get("expect")).or(row.get("resolves")).unwrap_or_else(|| panic!("a row without an outcome: {row}"))
}

fn document(value: &Value) -> Document {
    Document::read(&value.to_string()).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

fn policy(value: &Value) -> Policy {
    Policy::build(PolicySpec { server: "demo".into(), document: Some(document(value)), ..PolicySpec::default() }).unwrap()
}

fn judged(value: &Value, tool: &str, arguments: &Value) -> Judgement {
    policy(value).judge(&Asked { agent: "bot", tool, arguments, session: None, now: jiff::Timestamp::UNIX_EPOCH })
}

/// Whether a requirement lets the call through.
fn required(path: &Value, op: &Value, value: &Value, arguments: &Value) -> bool {
    let text = json!({ "version": "1", "tools": { "t": { "require": [{ "path": path, "op": op, "value": value }] } } });
    judged(&text, "t", arguments).action == Action::Allow
}

/// Pointers of the mistakes in a text.
fn mistakes(value: &Value) -> Vec<String> {
    Document::read(&value.to_string()).expect_err("a mistake").into_iter().map(|mistake| mistake.pointer).collect()
}

#[test]
fn every_operator_row() {
    let rows = rows("operators");
    assert!(rows.len() >= OPERATORS);
    for row in rows {
        let path = row.get("path").cloned().unwrap_or_else(|| json!("args.x"));
        let arguments = row.get("args").cloned().unwrap_or_else(|| json!({ "x": row["actual"] }));
        assert_eq!(json!(required(&path, &row["op"], &row["value"], &arguments)), *ours(&row), "{row}");
    }
}

#[test]
fn every_path_row() {
    for row in rows("paths") {
        let arguments = &row["args"];
        match (ours(&row), row.get("resolves")) {
            (_, Some(resolves)) if !resolves.is_null() => assert!(required(&row["path"], &json!("eq"), resolves, arguments), "{row}"),
            (expect, _) if *expect == "deny" => {
                for op in ["eq", "neq"] {
                    assert!(!required(&row["path"], &json!(op), &json!("x"), arguments), "{row}");
                }
            }
            (ours, _) if *ours == "JSON pointer form can" => {
                assert!(!required(&row["path"], &json!("eq"), &json!(1), arguments), "{row}");
                assert!(required(&json!("/a.b"), &json!("eq"), &json!(1), arguments), "{row}");
            }
            _ => panic!("nobody handles this row: {row}"),
        }
    }
}

#[tokio::test]
async fn every_decision_row() {
    let listing = Listing::serve(list_of(&["send_dm", "secret", "other"])).await;
    let section = |name: &str, more: &str| format!("[servers.{name}]\nurl = \"{}\"\npolicy = \"{name}.json\"\n{more}\n", listing.url("it"));
    let world = World::new(&[section("hides", ""), section("hides-all", ""), section("quiet", "hide_denied = true")].concat());
    for (name, hide) in [("hides", json!(["secret"])), ("hides-all", json!(["*"])), ("quiet", json!([]))] {
        std::fs::write(world.path(&format!("{name}.json")), json!({ "version": "1", "hide": hide, "tools": { "send_dm": {}, "secret": {} } }).to_string())
            .unwrap();
    }
    let gateway = world.serve().await;
    let token = world.agent("bot").await;
    let on_top = |condition: Value| json!({ "version": "1", "tools": { "t": { "require": [{ "path": "args.a", "op": "eq", "value": 1 }] }, "*": { "require": [condition] } } });
    let list = async |server: &str| {
        let agent = Agent::connect(&gateway.mcp(server), &token).await;
        let list = agent.request("tools/list", json!({})).await.unwrap()["result"].clone();
        let names: Vec<String> = list["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
        (names, list["nextCursor"].clone(), agent)
    };
    for row in rows("decision") {
        match (row["name"].as_str().unwrap(), ours(&row).as_str().unwrap()) {
            ("no policy entry, default omitted", "deny (default deny)") => {
                assert_eq!(judged(&json!({ "version": "1" }), row["call"].as_str().unwrap(), &json!({})).rule, "/default");
            }
            ("default deny, listed with empty rules", "allow") => {
                assert_eq!(judged(&json!({ "version": "1", "default": "deny", "tools": { "t": {} } }), "t", &json!({})).action, Action::Allow);
            }
            ("default deny, wildcard rule applies on top of a listed tool", "deny when the wildcard rule fails") => {
                let text = on_top(json!({ "path": "args.b", "op": "exists" }));
                assert_eq!(judged(&text, "t", &json!({ "a": 1 })).action, Action::Deny);
                assert_eq!(judged(&text, "t", &json!({ "a": 1, "b": 1 })).action, Action::Allow);
                assert_eq!(judged(&text, "unlisted", &json!({ "a": 1, "b": 1 })).rule, "/default", "the wildcard rescues nothing");
            }
            ("tool rule passes, wildcard fails", "deny, rule = wildcard's") => {
                let denied = judged(&on_top(json!({ "path": "args.b", "op": "exists" })), "t", &json!({ "a": 1 }));
                assert_eq!((denied.action, denied.rule.as_str()), (Action::Deny, "/tools/*/require/0"));
            }
            ("hidden tool in tools/list", "removed; nextCursor kept") => {
                let (names, next, agent) = list("hides").await;
                assert_eq!((names, next), (vec!["send_dm".to_owned(), "other".to_owned()], json!("p2")));
                let called = agent.request("tools/call", json!({ "name": "secret", "arguments": {} })).await.unwrap();
                assert_eq!(called["error"]["code"], -32602, "as an unknown tool: {called}");
            }
            ("hide ['*']", "empty list, every call denied") => {
                let (names, _, agent) = list("hides-all").await;
                assert_eq!(names, Vec::<String>::new());
                let called = agent.request("tools/call", json!({ "name": "send_dm", "arguments": {} })).await.unwrap();
                assert_eq!(called["error"]["code"], -32602, "{called}");
            }
            ("tools/list under default deny", "option to hide them") => {
                assert_eq!(list("quiet").await.0, ["send_dm", "secret"]);
                assert_eq!(list("hides").await.0, ["send_dm", "other"], "without the option they are listed");
            }
            ("deny of a notification (no id)", "no answer, audited") => {
                let (_, _, agent) = list("hides").await;
                agent.notify("tools/call", json!({ "name": "other", "arguments": {} })).await;
                crate::world::until("the dropped call in the audit", || async {
                    let audit = world.told(&["audit", "export"]).await;
                    audit.contains("\"kind\":\"call.dropped\"").then_some(())
                })
                .await;
            }
            _ => panic!("nobody handles this row: {row}"),
        }
    }
    assert_eq!(listing.calls("it"), 0, "nothing reached the server");
    assert!(gateway.stop().await);
}

fn charge(max: u64, amount: u64) -> Charge {
    let label = Label { server: Some("s".into()), counter: "c".into(), scope: "grant".into(), value: "a".into() };
    Charge { key: CounterKey::of(&label), label, name: "c".into(), window: MINUTE, max: max * ONE, amount: amount * ONE, reason: None }
}

fn take(max: u64, amount: u64) -> Take {
    Take { charge: charge(max, amount), asked: true, sent: true, most_keys: 1 }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

fn sent(counter: &Counter, now: i64) -> u64 {
    counter.sent.used(at(now), MINUTE) / ONE
}

/// A limit that counts `args.amount`.
fn counting(amount: &Value) -> Judgement {
    let limit = json!([{ "counter": "spent", "window": "day", "max": 100, "scope": "grant", "increment_from": "args.amount" }]);
    judged(&json!({ "version": "1", "tools": { "t": { "limits": limit } } }), "t", &json!({ "amount": amount }))
}

#[tokio::test]
async fn every_counter_row() {
    for row in rows("counters") {
        let outcome = ours(&row);
        match row["name"].as_str().unwrap() {
            "first reserve" => {
                let (amount, max) = (row["ops"][0][1].as_u64().unwrap(), row["ops"][0][2].as_u64().unwrap());
                let counter = Counter::of(&charge(max, amount)).taken(&take(max, amount), at(0)).unwrap();
                assert_eq!(json!(["ok", sent(&counter, 0)]), *outcome);
            }
            "one reservation of exactly the limit" => {
                assert_eq!(outcome, "ok; then 1 more denied");
                let (limit, amount) = (row["limit"].as_u64().unwrap(), row["ops"][0][1].as_u64().unwrap());
                let counter = Counter::of(&charge(limit, amount)).taken(&take(limit, amount), at(0)).unwrap();
                assert!(counter.clone().taken(&take(limit, 1), at(1)).is_err());
            }
            "rollback 3 of 5" => {
                let counter = Counter::of(&charge(9, 1)).taken(&take(9, 3), at(0)).and_then(|counter| counter.clone().taken(&take(9, 2), at(1))).unwrap();
                let back = counter.clone().given_back(&GiveBack { key: counter.key.clone(), at: at(0), amount: 3 * ONE, asked: false }, at(2));
                assert_eq!(json!(sent(&back, 2)), *outcome);
            }
            "rollback / reset / get of unknown key" => {
                assert_eq!(outcome, "no error, 0");
                let (store, key) = (InMemory::default(), charge(1, 1).key);
                let back = vec![GiveBack { key: key.clone(), at: at(0), amount: ONE, asked: false }];
                store.commit(Change { given_back: back, ..Change::of_facts(at(1), Vec::new()) }).await.unwrap();
                assert_eq!(store.row(Kind::Counter, key.as_str()).await.unwrap(), None);
            }
            "gap of several windows" => {
                assert_eq!(outcome, "restarts");
                let counter = Counter::of(&charge(1, 1)).taken(&take(1, 1), at(0)).unwrap();
                assert_eq!(sent(&counter, 600), 0);
                assert!(counter.clone().taken(&take(1, 1), at(600)).is_ok());
            }
            "value survives reopen of the store" => assert_eq!(json!(reopened().await), *outcome),
            "key prefix isolation between servers" => {
                assert_eq!(outcome, "separate counters");
                let key = |server: &str| CounterKey::of(&Label { server: Some(server.into()), ..charge(1, 1).label });
                assert!(key("a") != key("b") && key("a").group() != key("b").group());
                assert_ne!(CounterKey::of(&Label { server: None, ..charge(1, 1).label }).group(), key("a").group());
            }
            "rollback arriving after the window turned" => {
                assert_eq!(outcome, "no effect on the new window");
                let counter = Counter::of(&charge(2, 1)).taken(&take(2, 1), at(0)).and_then(|counter| counter.clone().taken(&take(2, 1), at(70))).unwrap();
                let back = counter.clone().given_back(&GiveBack { key: counter.key.clone(), at: at(0), amount: ONE, asked: false }, at(71));
                assert_eq!((sent(&counter, 71), sent(&back, 71)), (1, 1));
            }
            "limit 3; upstream answers result.isError 6 times" => {
                assert_eq!(outcome, "counted");
                assert_eq!(executed_of(6).await, 3);
            }
            "increment_from amount -1000000" => {
                assert_eq!(outcome, "reject negative / non-finite");
                let denied = counting(&json!(-1_000_000));
                assert_eq!((denied.action, denied.rule.as_str()), (Action::Deny, "/tools/t/limits/spent"));
                assert!(denied.reason.unwrap().contains("negative"));
                assert_eq!(counting(&json!(1_000_000)).action, Action::Deny);
            }
            "increment_from amount \"5\" or null" => {
                assert_eq!(outcome, "deny with a clear reason");
                for amount in [json!("5"), Value::Null] {
                    assert_eq!(counting(&amount).reason.as_deref(), Some("the argument that this limit counts is not a number"), "{amount}");
                }
            }
            _ => panic!("nobody handles this row: {row}"),
        }
    }
}

async fn reopened() -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let store = OnSled::open(&data, &SledSettings::default()).unwrap();
    store.commit(Change { takes: Take::at_once(&[charge(10, 7)], 10), ..Change::of_facts(at(0), Vec::new()) }).await.unwrap();
    store.close().await;
    drop(store);
    let store = OnSled::open(&data, &SledSettings::default()).unwrap();
    let row = store.row(Kind::Counter, charge(10, 7).key.as_str()).await.unwrap();
    let Some(Row::Counter(counter)) = row else { panic!("the counter is gone") };
    store.close().await;
    sent(&counter, 1)
}

/// How many of so many calls reach a server that answers every one with `isError`, under a limit of 3.
async fn executed_of(calls: usize) -> usize {
    let limits = json!([{ "counter": "c", "window": "minute", "max": 3, "scope": "grant" }]);
    let policy = policy(&json!({ "version": "1", "tools": { "write_note": { "limits": limits } } }));
    let server = ServerSettings { policy, messages: Default::default() };
    let desk = Desk::over(Arc::new(InMemory::default()), Settings { servers: [("demo".to_owned(), server)].into(), ..Settings::default() }).await;
    *desk.upstream.mood.lock().unwrap() = Mood::ToolError;
    for _ in 0..calls {
        if let Admission::Allowed(pass) = desk.admit("write_note", "{}").await {
            pass.send(None, Default::default()).await;
        }
    }
    desk.upstream.count("{}")
}

#[test]
fn every_config_row() {
    for row in rows("config") {
        let case = row.get("case").or(row.get("yaml_or_json")).unwrap().as_str().unwrap();
        let tool = |rules: Value| json!({ "version": "1", "tools": { "t": rules } });
        match (case, ours(&row).as_str().unwrap()) {
            ("unknown keys ('defualt','tool')", "reject unknown keys") => {
                assert_eq!(mistakes(&json!({ "version": "1", "defualt": "allow", "tool": {} })), ["/defualt", "/tool"]);
            }
            ("default 'maybe'", "error") => assert_eq!(mistakes(&json!({ "version": "1", "default": "maybe" })), ["/default"]),
            ("path not args./state.", "error") => {
                assert_eq!(mistakes(&tool(json!({ "require": [{ "path": "text", "op": "exists" }] }))), ["/tools/t/require/0/path"]);
            }
            ("deny rule with conditions; evaluate rule without conditions; empty rule name", "error each") => {
                assert_eq!(mistakes(&tool(json!({ "action": "deny", "require": [{ "path": "args.a", "op": "exists" }] }))), ["/tools/t/require"]);
                assert_eq!(mistakes(&tool(json!({ "action": "evaluate" }))), ["/tools/t/action"]);
                assert_eq!(mistakes(&json!({ "version": "1", "tools": { "": {} } })), ["/tools/"]);
            }
            ("two rules with same counter on one tool", "error") => {
                let limit = json!({ "counter": "c", "window": "minute", "max": 1 });
                assert_eq!(mistakes(&tool(json!({ "limits": [limit, limit] }))), ["/tools/t/limits/1/counter"]);
            }
            ("hide: empty entry, duplicate entry", "error") => {
                assert_eq!(mistakes(&json!({ "version": "1", "hide": ["", "a", "a"] })), ["/hide/0", "/hide/2"]);
            }
            // Reading again is no matter of this format: the tests of the reload hold these two.
            ("hot reload: in-place write", "new rules within 100 ms + debounce") => {}
            ("hot reload: mv new over old (editors, ConfigMap, ansible)", "must be seen") => {}
            _ => panic!("nobody handles this row: {row}"),
        }
    }
}
