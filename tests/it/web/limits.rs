//! What people see of limits: the page of all, the call's page before and after the click, the API, `/servers`.

use super::Desk;
use crate::fakes::ManualClock;
use paraph::domain::policy::{LimitSpec, ScopeSpec};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn limit(counter: &str, max: u64, scope: ScopeSpec) -> LimitSpec {
    LimitSpec { counter: counter.into(), window: HOUR, max, scope, increment_from: None, on_deny: None }
}

fn dm(to: &str, text: &str) -> Value {
    json!({ "to": to, "text": text })
}

#[tokio::test]
async fn the_page_shows_each_counter_with_what_is_used_of_it() {
    let desk = Desk::limited(vec![limit("rate", 30, ScopeSpec::Grant), limit("all", 1000, ScopeSpec::Global)]).await;
    let olga = desk.sign_in("olga@example.org").await;
    let (status, empty) = olga.get("/limits").await;
    assert!(status == StatusCode::OK && empty.contains("30 in an hour") && empty.contains("/limits/rate") && empty.contains("for each agent"), "{empty}");
    assert!(empty.contains("all servers") && empty.contains("Nothing is used.") && empty.contains("href=\"/limits\" aria-current=\"page\""));
    let first = desk.hold("one").await;
    desk.hold("two").await;
    desk.approve(&first).await;
    desk.settled(&first, "answered").await;
    let (_, page) = olga.get("/limits").await;
    assert!(page.contains("2 of 30 asked") && page.contains("1 of 30 sent") && page.contains("2 of 1000 asked"), "{page}");
    assert!(page.contains("support-bot") && !page.contains("next place"));
    assert_eq!(page.matches("<meter ").count(), 4);
    let (_, servers) = olga.get("/servers").await;
    assert!(servers.contains("at most 30 in an hour, for each agent"), "{servers}");
}

#[tokio::test]
async fn a_gateway_without_limits_says_how_to_get_one() {
    let desk = Desk::open().await;
    let (_, page) = desk.sign_in("ann@example.org").await.get("/limits").await;
    assert!(page.contains("No limit is configured.") && page.contains("limits = [{ counter"));
    let (_, page) = desk.sign_in("ann@example.org").await.get("/limits?counter=nothing").await;
    assert!(page.contains("There is no such counter in the config."));
}

#[tokio::test]
async fn recipients_are_shown_to_operators_and_auditors_revealed_and_escaped_and_to_no_reviewer() {
    let desk = Desk::limited(vec![limit("rate", 30, ScopeSpec::Grant), limit("per_recipient", 1, ScopeSpec::Arg("/to".into()))]).await;
    desk.ask("send_dm", &dm("@eve<script>\u{202e}", "hi")).await;
    for (email, sees) in [("olga@example.org", true), ("aud@example.org", true), ("ann@example.org", false)] {
        let (_, page) = desk.sign_in(email).await.get("/limits").await;
        assert_eq!(page.contains("@eve&#60;script&#62;") && page.contains(">U+202E<"), sees, "{email}: {page}");
        assert!(!page.contains("<script>\u{202e}") && page.contains("1 of 30 asked"), "{email}");
        assert_eq!(page.contains("is shown to operators and auditors"), !sees, "{email}");
        assert_eq!(page.contains("full, next place"), sees, "{email}");
        let answer = desk.api(&desk.token(email).await, Method::GET, "/api/v1/limits", None).await.json::<Value>().await.unwrap();
        assert_eq!(answer.to_string().contains("@eve"), sees, "{email}: {answer}");
        assert_eq!(answer["limits"].as_array().map(Vec::len), Some(2));
    }
}

#[tokio::test]
async fn a_counter_with_many_keys_shows_the_fullest_and_pages_through_all() {
    let desk = Desk::limited(vec![limit("per_recipient", 3, ScopeSpec::Arg("/to".into()))]).await;
    for number in 0..12 {
        desk.ask("send_dm", &dm(&format!("@r{number:02}"), "hi")).await;
    }
    desk.ask("send_dm", &dm("@r07", "again")).await;
    let olga = desk.sign_in("olga@example.org").await;
    let (_, page) = olga.get("/limits").await;
    assert!(
        page.matches("<li>\n<p class=\"whose\">").count() == 8 && page.contains("2 of 3 asked") && page.contains("Everything that per_recipient counts"),
        "{page}"
    );
    let (_, alone) = olga.get("/limits?counter=per_recipient&server=demo").await;
    assert!((0..12).all(|number| alone.contains(&format!("@r{number:02}"))), "{alone}");
    let token = desk.token("olga@example.org").await;
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let page = desk.api(&token, Method::GET, &format!("/api/v1/limits?limit=5{cursor}"), None).await.json::<Value>().await.unwrap();
        seen.extend(page["counters"].as_array().unwrap().iter().map(|counter| counter["value"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    seen.sort();
    assert_eq!(seen, (0..12).map(|number| format!("@r{number:02}")).collect::<Vec<_>>());
    for wrong in ["limit=0", "limit=201", "limit=x", "colour=red"] {
        assert_eq!(desk.api(&token, Method::GET, &format!("/api/v1/limits?{wrong}"), None).await.status(), StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
}

#[tokio::test]
async fn the_page_says_before_the_click_when_it_would_leave_and_after_it_what_it_waits_for() {
    let clock = Arc::new(ManualClock::default());
    let desk = Desk::limited_at(vec![limit("rate", 2, ScopeSpec::Grant)], clock.clone()).await;
    let first = desk.hold("one").await;
    let second = desk.hold("two").await;
    // Asked long ago: the place that is asked for is free again, and the one that is sent from is not.
    clock.advance(2 * HOUR);
    let ann = desk.sign_in("ann@example.org").await;
    let token = desk.token("ann@example.org").await;
    let call = |id: String| {
        let (desk, token) = (&desk, &token);
        async move { desk.api(token, Method::GET, &format!("/api/v1/calls/{id}"), None).await.json::<Value>().await.unwrap() }
    };
    let (_, free) = ann.get(&format!("/calls/{second}")).await;
    assert!(free.contains("Approving sends it all the same, at once.") && !free.contains("is full"));
    assert_eq!(call(second.to_string()).await["leaves_at"], Value::Null);
    for counted in 0..2 {
        desk.allowed("read_dms", &json!({ "page": counted })).await;
    }
    desk.approve(&first).await;
    desk.settled(&first, "approved").await;
    let (_, page) = ann.get(&format!("/calls/{second}")).await;
    assert!(page.contains("The limit <b>/limits/rate</b> is full: if you approve now it leaves at about "), "{page}");
    assert!(page.contains("Approving sends it all the same when its turn comes") && page.contains("a limit is full</p>"), "{page}");
    assert!(call(second.to_string()).await["leaves_at"].is_string());
    crate::world::until("it waits", || async { call(first.to_string()).await["waits_for"].is_string().then_some(()) }).await;
    assert_eq!(call(first.to_string()).await["waits_for"], "/limits/rate");
    let (_, waiting) = ann.get(&format!("/calls/{first}")).await;
    assert!(waiting.contains("It waits for the limit /limits/rate and goes out") && waiting.contains("Sending soon"), "{waiting}");
}
