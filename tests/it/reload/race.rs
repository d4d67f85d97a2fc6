//! Reloads between two policies while calls are judged, held, approved and sent: whatever happens in between, one
//! call is judged by one policy, and its entries name that one. A real gate over the in-memory engine.

use crate::life::{Desk, approve, settings};
use paraph::domain::people::Role;
use paraph::domain::policy::{Action, Policy, PolicySpec, RuleSpec};
use paraph::gate::{Admission, Ask, ServerSettings, Settings};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// Every verdict under names that begin with the letter, and a deadline of that many hours.
fn one(letter: char, hours: u32) -> Settings {
    let rule = |name: &str, tool: &str, action| RuleSpec {
        name: format!("{letter}-{name}"),
        tools: vec![tool.into()],
        agents: vec!["*".into()],
        action,
        ..RuleSpec::default()
    };
    // What one allows the other refuses or holds.
    let (first, second, third) =
        if letter == 'a' { (Action::Allow, Action::Deny, Action::RequireApproval) } else { (Action::Deny, Action::RequireApproval, Action::Allow) };
    let rules = vec![rule("first", "first", first), rule("second", "second", second), rule("third", "third", third)];
    let policy = Policy::build(PolicySpec { server: "demo".into(), rules, ..PolicySpec::default() }).unwrap();
    let mut settings = Settings { servers: [("demo".to_owned(), ServerSettings { policy, ..ServerSettings::default() })].into(), ..settings() };
    settings.hold.expires_in = HOUR * hours;
    settings.hold.max_held_per_agent = 100_000;
    settings.hold.max_held = 100_000;
    settings
}

fn digest(settings: &Settings) -> Value {
    json!(settings.servers["demo"].digest())
}

/// Judges many calls at once while `settings` follow each other again and again.
async fn stir(desk: &Arc<Desk>, settings: &[Settings], asks: impl Fn(usize) -> Ask) {
    let over = Arc::new(AtomicBool::new(false));
    let (reloading, done, turns) = (desk.clone(), over.clone(), settings.to_vec());
    let reloads = tokio::spawn(async move {
        let mut count = 0;
        while !done.load(Ordering::Relaxed) {
            for settings in &turns {
                reloading.gate.reload(settings.clone()).await.unwrap();
                reloading.gate.withdraw_homeless().await.unwrap();
                tokio::task::yield_now().await;
                count += 1;
            }
        }
        count
    });
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..600 {
        let (desk, ask) = (desk.clone(), asks(number));
        calls.spawn(async move {
            let tool = ask.tool.clone();
            match desk.gate.admit(ask).await.unwrap() {
                Admission::Allowed(pass) => drop(pass.send(None, Default::default()).await),
                Admission::Refused(_) | Admission::Unknown => {}
                Admission::Waiting(seat) => assert_ne!(tool, "", "{}", seat.call()),
            }
        });
        if number % 8 == 7 {
            while calls.join_next().await.transpose().unwrap().is_some() {}
        }
    }
    while calls.join_next().await.transpose().unwrap().is_some() {}
    over.store(true, Ordering::Relaxed);
    let count: usize = reloads.await.unwrap();
    assert!(count > 20, "only {count} reloads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_judged_by_one_whole_policy_and_its_entries_name_it() {
    let (a, b) = (one('a', 1), one('b', 2));
    let desk = Arc::new(Desk::over(Arc::new(paraph::store::in_memory::InMemory::default()), a.clone()).await);
    let now = desk.gate.clock().now();
    stir(&desk, &[b.clone(), a.clone()], |number| desk.ask_of(["first", "second", "third"][number % 3], &format!("{{\"n\":{number}}}"))).await;
    let policies = [("a", digest(&a), 1), ("b", digest(&b), 2)];
    let mut seen = BTreeSet::new();
    for entry in desk.store.entries(1, 100_000).await.unwrap() {
        let Some(rule) = entry.data.get("rule").and_then(Value::as_str) else { continue };
        let (letter, _, hours) = policies.iter().find(|(_, digest, _)| entry.data["policy"] == *digest).expect("it names one of the two");
        assert!(rule.starts_with(letter), "{}", entry.data);
        if entry.kind == "call.held" {
            assert_eq!(entry.data["expires_at"], json!(now + HOUR * *hours), "{}", entry.data);
            assert_eq!(desk.call(entry.call.as_ref().unwrap()).await.rule, rule);
        }
        seen.insert((entry.kind, *letter));
    }
    let all = ["call.allowed", "call.denied", "call.held"].into_iter().flat_map(|kind| [(kind.to_owned(), "a"), (kind.to_owned(), "b")]);
    assert_eq!(seen, all.collect(), "both policies gave every verdict");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_held_call_outlives_a_server_that_goes_while_it_is_judged() {
    let here = one('a', 1);
    let gone = Settings { servers: Default::default(), ..here.clone() };
    let desk = Arc::new(Desk::over(Arc::new(paraph::store::in_memory::InMemory::default()), here.clone()).await);
    stir(&desk, &[here, gone.clone()], |number| desk.ask_of("third", &format!("{{\"n\":{number}}}"))).await;
    assert!(desk.gate.settings().servers.is_empty(), "the last one was without the server");
    let kinds = desk.verified_kinds().await;
    assert!(kinds.iter().any(|kind| kind == "call.held"));
    assert_eq!(desk.store.held().await.unwrap(), 0);
}

#[tokio::test]
async fn the_entry_of_a_reload_names_every_server_that_changed_and_stands_before_its_first_verdict() {
    let (a, b) = (one('a', 1), one('b', 2));
    let desk = Desk::over(Arc::new(paraph::store::in_memory::InMemory::default()), a.clone()).await;
    let second = b.servers["demo"].clone();
    let both = Settings { servers: [("demo".to_owned(), second.clone()), ("new".to_owned(), second.clone())].into(), ..b.clone() };
    // Nothing of a policy changed: nothing to tell.
    desk.gate.reload(Settings { hold: b.hold.clone(), ..a.clone() }).await.unwrap();
    desk.gate.reload(both).await.unwrap();
    desk.admit("first", "{}").await;
    desk.gate.reload(Settings { servers: [("new".to_owned(), second)].into(), ..b.clone() }).await.unwrap();
    let entries = desk.store.entries(1, 1000).await.unwrap();
    let told: Vec<_> = entries
        .iter()
        .filter(|entry| entry.kind.starts_with("policy.") || entry.kind == "call.denied")
        .map(|entry| (entry.kind.as_str(), &entry.data))
        .collect();
    let (a, b) = (digest(&a), digest(&b));
    let servers = |servers: Value| json!({ "servers": servers });
    assert_eq!(told[0], ("policy.loaded", &servers(json!({ "demo": a }))));
    assert_eq!(told[1], ("policy.reloaded", &servers(json!({ "demo": {"from": a, "to": b}, "new": {"from": null, "to": b} }))));
    assert_eq!((told[2].0, &told[2].1["policy"]), ("call.denied", &b));
    assert_eq!(told[3], ("policy.reloaded", &servers(json!({ "demo": {"from": b, "to": null} }))));
    assert_eq!(told.len(), 4);
}

#[tokio::test]
async fn what_is_stamped_on_a_held_call_stays_and_only_a_refusal_stops_it() {
    let desk = Desk::new().await;
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let ben = desk.reviewer("ben@example.org", Role::Reviewer, &[]).await;
    let seat = desk.seat("send_pair", "{\"to\":\"@bob\",\"text\":\"both\"}").await;
    let id = seat.call().clone();
    let shown = ann.read(&id).await.unwrap().call;
    ann.decide(&id, approve(&shown)).await.unwrap();
    let before = desk.call(&id).await;
    // One approval is enough now, and it would wait for nobody: the call keeps its two.
    let mut other = settings();
    other.hold.expires_in = HOUR * 99;
    let rule = RuleSpec { name: "all-free".into(), tools: vec!["*".into()], agents: vec!["*".into()], action: Action::Allow, ..RuleSpec::default() };
    let policy = Policy::build(PolicySpec { server: "demo".into(), rules: vec![rule], ..PolicySpec::default() }).unwrap();
    other.servers = [("demo".to_owned(), ServerSettings { policy, ..ServerSettings::default() })].into();
    desk.gate.reload(other).await.unwrap();
    desk.gate.withdraw_homeless().await.unwrap();
    assert_eq!(desk.call(&id).await, before, "nothing of it moved");
    let shown = ben.read(&id).await.unwrap().call;
    ben.decide(&id, approve(&shown)).await.unwrap();
    assert_eq!(desk.until(&id, "answered").await.rule, "two-people");
}
