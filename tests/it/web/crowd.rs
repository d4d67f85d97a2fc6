//! Very many held calls: a page reads and shows as much for thousands as for a few, its numbers are true, and an open page
//! is not told of each by itself.

use super::live::until;
use super::*;
use paraph::domain::audit::Fact;
use paraph::domain::call::{Call, CallId, State, Verdict};
use paraph::domain::digest::Digest;
use paraph::store::{Change, Store as _};
use std::sync::atomic::Ordering;

/// Further held calls like this one, each a little later, to be seen by these groups.
async fn crowd(desk: &Desk, like: &CallId, numbers: std::ops::Range<u64>, groups: &[&str]) {
    crowd_since(desk, like, numbers, groups, Duration::ZERO).await;
}

/// The same, held so much earlier.
async fn crowd_since(desk: &Desk, like: &CallId, numbers: std::ops::Range<u64>, groups: &[&str], earlier: Duration) {
    let like = paraph::store::Views::call(desk.store.as_ref(), like).await.unwrap().unwrap();
    for number in numbers {
        let id = CallId(format!("c_{number:032x}"));
        let digest = Digest::of_bytes(&number.to_be_bytes());
        let held_at = like.held_at + Duration::from_millis(number + 1) - earlier;
        let reviewers = groups.iter().map(|group| (*group).to_owned()).collect();
        let recipient = None;
        let call = Call { id: id.clone(), revision: 1, asked_digest: digest.clone(), digest, held_at, reviewers, recipient, views: Vec::new(), ..like.clone() };
        let fact = Fact { kind: "call.held", call: Some(id), actor: "agent:support-bot".into(), data: json!({}).into() };
        desk.store.commit(Change::of_call(held_at, call, fact)).await.unwrap();
    }
}

/// Records that the store hands out for a page, once nobody else reads.
async fn read_for(desk: &Desk, ann: &desk::Browser<'_>, path: &str) -> usize {
    let once = async || {
        let before = desk.read.load(Ordering::Relaxed);
        assert_eq!(ann.get(path).await.0, StatusCode::OK, "{path}");
        desk.read.load(Ordering::Relaxed) - before
    };
    // Something of the gate's own may read in between, and only adds.
    let mut least = once().await;
    for _ in 0..4 {
        least = least.min(once().await);
    }
    least
}

#[tokio::test]
async fn no_page_reads_more_records_when_thousands_are_held() {
    let desk = Desk::open().await;
    let id = desk.hold("hi").await;
    crowd(&desk, &id, 0..60, &[]).await;
    let olga = desk.sign_in("olga@example.org").await;
    let ann = desk.sign_in("ann@example.org").await;
    let call = format!("/calls/{id}");
    let paths =
        ["/", "/?show=soon", "/?show=agent", "/?show=unconfirmed", &call, "/notices", "/agents", "/agents/support-bot", "/people", "/limits", "/servers"];
    let mut few = Vec::new();
    for path in paths {
        few.push((path, read_for(&desk, &olga, path).await));
    }
    let anns = read_for(&desk, &ann, "/").await;
    crowd(&desk, &id, 60..3_000, &[]).await;
    for (path, few) in few {
        assert_eq!(read_for(&desk, &olga, path).await, few, "{path}");
    }
    assert_eq!(read_for(&desk, &ann, "/").await, anns);
}

#[tokio::test]
async fn a_reviewer_finds_the_one_call_of_their_group_behind_thousands_of_another() {
    let desk = Desk::open().await;
    let id = desk.ask("send_message", &json!({"to": "@ceo", "message": "for the board"})).await.call().clone();
    crowd(&desk, &id, 0..2_500, &["board"]).await;
    crowd(&desk, &id, 2_500..2_501, &["desk"]).await;
    let ann = desk.sign_in("ann@example.org").await;
    let (_, page) = ann.get("/").await;
    assert_eq!(page.matches("data-call=").count(), 1, "{page}");
    assert!(page.contains("Needs you <span class=\"count\">1</span>") && !page.contains("Next page"), "{page}");
    let (_, all) = desk.sign_in("olga@example.org").await.get("/").await;
    assert!(all.contains("Needs you <span class=\"count\">2,502</span>") && all.contains("Next page"));
}

#[tokio::test]
async fn a_page_without_a_call_of_theirs_leads_a_reviewer_on_to_the_one_behind_it() {
    let desk = Desk::open().await;
    let board = desk.ask("send_message", &json!({"to": "@ceo", "message": "for the board"})).await.call().clone();
    let call = paraph::store::Views::call(desk.store.as_ref(), &board).await.unwrap().unwrap();
    let (at, fact) = (call.held_at, Fact { kind: "call.lapsed", call: Some(board.clone()), actor: "paraph".into(), data: json!({}).into() });
    desk.store.commit(Change::of_call(at, Call { state: State::Lapsed { at }, ..call.touched() }, fact)).await.unwrap();
    crowd(&desk, &board, 0..1, &["desk"]).await;
    crowd(&desk, &board, 1..8_100, &["board"]).await;
    let ann = desk.sign_in("ann@example.org").await;
    let (_, page) = ann.get("/?show=done").await;
    assert!(!page.contains("Nothing here yet") && page.contains("There is more on the next one"), "{page}");
    let (_, rest) = page.split_once("cursor=").expect("a way on");
    let cursor = rest.split('"').next().unwrap();
    let (_, next) = ann.get(&format!("/?show=done&cursor={cursor}")).await;
    assert_eq!(next.matches("data-call=").count(), 1, "{next}");
}

#[tokio::test]
async fn a_page_of_a_thousand_long_texts_stays_below_a_hundred_kilobytes() {
    let desk = Desk::open().await;
    let id = desk.hold(&"A long text with <b>tags</b> & \u{202e}signs. ".repeat(500)).await;
    crowd(&desk, &id, 0..1_000, &[]).await;
    let olga = desk.sign_in("olga@example.org").await;
    for path in ["/", "/?show=soon", "/agents", "/audit"] {
        let (status, page) = olga.get(path).await;
        assert_eq!(status, StatusCode::OK);
        assert!(page.len() < 100_000, "{path} has {} bytes", page.len());
    }
}

#[tokio::test]
async fn what_waits_for_its_agent_is_found_behind_thousands_that_leave() {
    let desk = Desk::open().await;
    let id = desk.hold("hi").await;
    let like = paraph::store::Views::call(desk.store.as_ref(), &id).await.unwrap().unwrap();
    let far = like.held_at + Duration::from_secs(3_600);
    for number in 0..300_u64 {
        let digest = Digest::of_bytes(&number.to_be_bytes());
        let state = State::Approved { at: like.held_at, release_at: far, send_by: far, tries: 0 };
        let id = CallId(format!("c_{number:032x}"));
        let held_at = like.held_at + Duration::from_millis(number + 1);
        let call = Call { id: id.clone(), revision: 1, asked_digest: digest.clone(), digest, held_at, state, cancelled: number == 299, ..like.clone() };
        let fact = Fact { kind: "call.held", call: Some(id), actor: "agent:support-bot".into(), data: json!({}).into() };
        desk.store.commit(Change::of_call(held_at, call, fact)).await.unwrap();
    }
    let olga = desk.sign_in("olga@example.org").await;
    let (_, page) = olga.get("/?show=agent").await;
    assert_eq!(page.matches("data-call=").count(), 1, "{page}");
    assert!(page.contains("Waiting for agent <span class=\"count\">1</span>") && page.contains("Sending soon <span class=\"count\">299</span>"), "{page}");
}

#[tokio::test]
async fn a_thousand_calls_at_once_are_a_few_events_on_an_open_page() {
    let desk = Desk::open().await;
    let id = desk.hold("hi").await;
    let olga = desk.sign_in("olga@example.org").await;
    let mut live = olga.request(Method::GET, "/live").send().await.unwrap();
    let mut seen = String::new();
    assert!(until(&mut live, &mut seen, "event: look").await);
    let before = desk.read.load(Ordering::Relaxed);
    crowd(&desk, &id, 0..1_000, &[]).await;
    // It comes after the others, so whatever is told of them was told before it, or is told by it.
    let looks = seen.matches("event: look").count();
    crate::world::until("it is told that there is much to look at", || async { (desk.read.load(Ordering::Relaxed) > before).then_some(()) }).await;
    while seen.matches("event: look").count() == looks {
        let bytes = tokio::time::timeout(Duration::from_secs(20), live.chunk()).await.unwrap().unwrap().unwrap();
        seen.push_str(&String::from_utf8_lossy(&bytes));
    }
    // Told by name, or by a look when it came in one breath with the last of the crowd.
    let looks = seen.matches("event: look").count();
    desk.decide(&id, Verdict::Reject, Some("no")).await;
    while !seen.contains("\"state\":\"rejected\"") && seen.matches("event: look").count() == looks {
        let bytes = tokio::time::timeout(Duration::from_secs(20), live.chunk()).await.unwrap().unwrap().unwrap();
        seen.push_str(&String::from_utf8_lossy(&bytes));
    }
    assert!(seen.matches("event: ").count() < 200, "{} events", seen.matches("event: ").count());
    assert!(desk.read.load(Ordering::Relaxed) - before < 2_000, "{} reads", desk.read.load(Ordering::Relaxed) - before);
}

/// Reads on until this is true of what was seen; a stream that only stays open does not count as telling more.
pub(super) async fn read_on(live: &mut reqwest::Response, seen: &mut String, enough: impl Fn(&str) -> bool) {
    let reading = async {
        while !enough(seen) {
            let bytes = live.chunk().await.unwrap().expect("the stream goes on");
            seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    };
    tokio::time::timeout(crate::world::SOON, reading).await.expect("it is told within the time");
}

#[tokio::test]
async fn a_program_is_told_of_each_of_many_calls_that_are_held_at_once() {
    let desk = Desk::open().await;
    let id = desk.hold("hi").await;
    let token = desk.token("ann@example.org").await;
    let mut events = desk.api(&token, Method::GET, "/api/v1/events", None).await;
    let mut seen = String::new();
    assert!(until(&mut events, &mut seen, "event: look").await);
    for crowds in 0..3 {
        crowd(&desk, &id, crowds * 300..(crowds + 1) * 300, &[]).await;
        // Not a call, and told of as everything: it must not hide those that came in the same breath.
        desk.gate.pause("a look at it", "olga@example.org").await.unwrap();
        desk.gate.resume_sending("olga@example.org").await.unwrap();
    }
    read_on(&mut events, &mut seen, |seen| seen.matches("event: call.held").count() >= 900).await;
    for number in 0..900 {
        let held = format!("event: call.held\ndata: {{\"id\":\"c_{number:032x}\",\"state\":\"held\"}}\n\n");
        assert_eq!(seen.matches(&held).count(), 1, "{held}");
    }
}

#[tokio::test]
async fn a_program_that_misses_some_is_told_that_it_must_list_them() {
    let desk = Desk::open().await;
    let id = desk.hold("hi").await;
    let token = desk.token("ann@example.org").await;
    let mut events = desk.api(&token, Method::GET, "/api/v1/events", None).await;
    let mut seen = String::new();
    assert!(until(&mut events, &mut seen, "event: look").await);
    // More than a stream can be behind, without a pause in which it could read.
    crowd(&desk, &id, 0..5_000, &[]).await;
    read_on(&mut events, &mut seen, |seen| seen.matches("event: look").count() == 2 || seen.matches("event: call.held").count() == 5_000).await;
}

#[tokio::test]
async fn what_was_held_long_before_a_stream_was_opened_is_not_told_of_as_new() {
    let desk = Desk::open().await;
    let id = desk.hold("hi").await;
    let (ann, token) = (desk.sign_in("ann@example.org").await, desk.token("ann@example.org").await);
    let page = ann.request(Method::GET, "/live").send().await.unwrap();
    let program = desk.api(&token, Method::GET, "/api/v1/events", None).await;
    for (number, mut live) in (0..).zip([page, program]) {
        let mut seen = String::new();
        assert!(until(&mut live, &mut seen, "event: look").await);
        // It is written about, as when it was read or mailed.
        crowd_since(&desk, &id, number..number + 1, &[], Duration::from_secs(3_600)).await;
        read_on(&mut live, &mut seen, |seen| seen.contains(&format!("c_{number:032x}"))).await;
        assert!(seen.contains("event: call.changed") && !seen.contains("event: call.held"), "{seen}");
    }
}
