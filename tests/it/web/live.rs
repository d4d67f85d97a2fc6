//! Live streams: they tell who may see, end for who may not, and have a bound.

use super::crowd::read_on;
use super::*;

/// Reads the stream until a text was in it; `false` when it ended before.
pub(super) async fn until(answer: &mut reqwest::Response, seen: &mut String, text: &str) -> bool {
    while !seen.contains(text) {
        match tokio::time::timeout(Duration::from_secs(20), answer.chunk()).await.unwrap() {
            Ok(Some(bytes)) => seen.push_str(&String::from_utf8_lossy(&bytes)),
            Ok(None) | Err(_) => return false,
        }
    }
    true
}

#[tokio::test]
async fn a_stream_tells_of_visible_calls_only_and_ends_when_its_person_is_disabled() {
    let desk = Desk::open().await;
    let ann = desk.sign_in("ann@example.org").await;
    let mut live = ann.request(Method::GET, "/live").send().await.unwrap();
    assert_eq!(live.headers()["content-type"], "text/event-stream");
    let mut seen = String::new();
    assert!(until(&mut live, &mut seen, "event: look").await);
    let secret = desk.ask("send_message", &json!({"to": "@ceo", "message": "board"})).await.call().clone();
    let id = desk.hold("hi").await;
    assert!(until(&mut live, &mut seen, id.as_str()).await);
    assert!(seen.contains("event: call.held") && !seen.contains(secret.as_str()) && !seen.contains("@bob"), "{seen}");
    desk.gate.disable_person("ann@example.org").await.unwrap();
    let after = desk.hold("another").await;
    assert!(!until(&mut live, &mut seen, after.as_str()).await, "{seen}");
}

#[tokio::test]
async fn the_api_streams_ids_and_states() {
    let desk = Desk::open().await;
    let token = desk.token("ann@example.org").await;
    let mut events = desk.api(&token, Method::GET, "/api/v1/events", None).await;
    let mut seen = String::new();
    assert!(until(&mut events, &mut seen, "event: look").await);
    let id = desk.hold("hi").await;
    assert!(until(&mut events, &mut seen, &format!("{{\"id\":\"{id}\",\"state\":\"held\"}}")).await);
    let ann = desk.sign_in("ann@example.org").await;
    let shown = ann.open(&id).await;
    ann.decide(&id, &shown, "reject", "no").await;
    assert!(until(&mut events, &mut seen, "event: call.changed").await && until(&mut events, &mut seen, "\"state\":\"rejected\"").await);
}

#[tokio::test]
async fn a_stream_tells_of_a_held_call_once_and_of_nothing_that_nobody_sees() {
    let desk = Desk::open().await;
    let token = desk.token("ann@example.org").await;
    let mut events = desk.api(&token, Method::GET, "/api/v1/events", None).await;
    let mut seen = String::new();
    assert!(until(&mut events, &mut seen, "event: look").await);
    let seat = desk.ask("send_dm", &json!({"to": "@bob", "text": "hi"})).await;
    let id = seat.call().clone();
    assert!(until(&mut events, &mut seen, "event: call.held").await);
    // The record is written anew for each of these, and looks the same.
    let ann = desk.reviewer("ann@example.org").await;
    for _ in 0..3 {
        ann.read(&id).await.unwrap();
    }
    desk.reviewer("ben@example.org").await.read(&id).await.unwrap();
    let next = desk.hold("another").await;
    assert!(until(&mut events, &mut seen, &format!("event: call.held\ndata: {{\"id\":\"{next}\"")).await, "{seen}");
    let of_the_first: Vec<&str> = seen.split("\n\n").filter(|event| event.contains(id.as_str())).collect();
    assert_eq!(of_the_first.iter().filter(|event| event.contains("call.held")).count(), 1, "{seen}");
    assert!(of_the_first.len() <= 2, "at most one more, for its agent that waits: {seen}");
}

#[tokio::test]
async fn one_stream_too_many_is_refused_and_all_end_when_the_gate_drains() {
    let desk = Desk::with(HoldSettings::default(), "", 1).await;
    desk.gate.add_person("cy@example.org", None, Vec::new(), Role::Reviewer).await.unwrap();
    let (ann, token) = (desk.sign_in("ann@example.org").await, desk.token("cy@example.org").await);
    let mut live = ann.request(Method::GET, "/live").send().await.unwrap();
    assert_eq!(live.status(), StatusCode::OK);
    let answer = desk.api(&token, Method::GET, "/api/v1/events", None).await;
    assert_eq!((answer.status(), answer.headers().contains_key("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, true));
    desk.gate.close(Duration::from_secs(1)).await;
    assert!(!until(&mut live, &mut String::new(), "never").await);
}

#[tokio::test]
async fn a_stream_tells_when_an_agent_comes_and_leaves_and_not_that_its_call_is_new() {
    let desk = Desk::open().await;
    let seat = desk.ask("send_dm", &json!({"to": "@bob", "text": "hi"})).await;
    let id = seat.call().clone();
    let ann = desk.sign_in("ann@example.org").await;
    let row = async || ann.get(&format!("/calls/{id}/row")).await.1;
    assert!(row().await.contains("-waiting\""));
    let mut live = ann.request(Method::GET, "/live").send().await.unwrap();
    let mut seen = String::new();
    assert!(until(&mut live, &mut seen, "event: look").await);
    drop(seat);
    assert!(until(&mut live, &mut seen, &format!("{{\"id\":\"{id}\",\"state\":\"held\"}}")).await);
    assert!(seen.contains("event: call.changed") && !seen.contains("event: call.held"), "{seen}");
    assert!(row().await.contains("-gone\"") && row().await.contains("which has gone"));
}

#[tokio::test]
async fn an_agent_that_is_back_after_a_flood_is_told_of_although_its_call_looks_as_it_did_before() {
    let desk = Desk::open().await;
    let (ann, token) = (desk.sign_in("ann@example.org").await, desk.token("ann@example.org").await);
    let mut seats = Vec::new();
    for number in 0..40 {
        seats.push(desk.ask("send_dm", &json!({"to": "@bob", "text": number.to_string()})).await);
    }
    let page = ann.request(Method::GET, "/live").send().await.unwrap();
    let program = desk.api(&token, Method::GET, "/api/v1/events", None).await;
    let mut streams = [page, program].map(|live| (live, String::new()));
    for (live, seen) in &mut streams {
        assert!(until(live, seen, "event: look").await);
    }
    let hi = json!({"to": "@bob", "text": "hi"});
    seats.push(desk.ask("send_dm", &hi).await);
    let id = seats[40].call().clone();
    let named = format!("{{\"id\":\"{id}\",\"state\":\"held\"}}");
    for (live, seen) in &mut streams {
        assert!(until(live, seen, &named).await);
        seen.clear();
    }
    // All requests end with "pending" in one breath; then one agent asks again.
    drop(seats);
    for (live, seen) in &mut streams {
        read_on(live, seen, |seen| seen.contains(&named) || seen.contains("event: look")).await;
        seen.clear();
    }
    let back = desk.ask("send_dm", &hi).await;
    assert_eq!(back.call(), &id, "the identical call attaches to the one that waits");
    for (live, seen) in &mut streams {
        read_on(live, seen, |seen| seen.contains(&named)).await;
        assert!(!seen.contains("event: call.held"), "it is not new: {seen}");
    }
}
