//! What counts as delivered: an answer that a connection took and that was not seen closed for two seconds. First
//! at the gate, where time stands still until the test lets it pass; then on real connections.

use super::*;
use crate::life::{Desk, approve};
use paraph::domain::call::CallId;
use paraph::gate::{Delivery, Grace, Seat};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

const DM: &str = r#"{ "to":"@bob", "text":"Hello" }"#;

/// As many identical calls as wanted that wait for an approved call, with its outcome.
async fn settled(desk: &Desk, waiters: usize) -> (CallId, Vec<Seat>) {
    let ann = desk.reviewer("ann@example.org", Role::Reviewer, &[]).await;
    let mut seats = Vec::new();
    for _ in 0..waiters {
        seats.push(desk.seat("send_dm", DM).await);
    }
    let id = seats[0].call().clone();
    let shown = ann.read(&id).await.unwrap().call;
    ann.decide(&id, approve(&shown)).await.unwrap();
    for seat in &mut seats {
        assert!(matches!(seat.settled().await.unwrap(), Delivery::Result { earlier: None, .. }));
    }
    (id, seats)
}

async fn handed_to(seat: Seat) -> (Grace, CancellationToken) {
    let closed = CancellationToken::new();
    (seat.delivered_over(closed.clone()).await.unwrap(), closed)
}

async fn times(desk: &Desk, kind: &str) -> usize {
    desk.verified_kinds().await.iter().filter(|other| *other == kind).count()
}

/// The identical call collects the outcome, and nobody is asked.
async fn collects(desk: &Desk, id: &CallId) {
    let mut again = desk.seat("send_dm", DM).await;
    assert_eq!(again.call(), id);
    let Delivery::Result { body, earlier: Some(block), .. } = again.settled().await.unwrap() else { panic!("no earlier result") };
    assert_eq!(body, RESULT);
    assert!(block.starts_with("Sent at ") && block.ends_with(" for your earlier call; nothing was sent now."), "{block}");
    assert_eq!((times(desk, "call.held").await, desk.upstream.count(DM)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_taken_back_when_its_connection_is_seen_closed_within_two_seconds() {
    let desk = Desk::new().await;
    let (id, mut seats) = settled(&desk, 1).await;
    let (grace, closed) = handed_to(seats.remove(0)).await;
    assert!(desk.call(&id).await.delivered);
    closed.cancel();
    // Nobody has watched yet: what the connection says counts all the same.
    collects(&desk, &id).await;
    grace.watch().await.unwrap();
    assert!(!desk.call(&id).await.delivered);
    assert_eq!((times(&desk, "call.delivered").await, times(&desk, "call.not_delivered").await), (1, 1));
    collects(&desk, &id).await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_counts_for_good_after_two_seconds() {
    let desk = Desk::new().await;
    let (id, mut seats) = settled(&desk, 1).await;
    let (grace, closed) = handed_to(seats.remove(0)).await;
    let watching = tokio::spawn(grace.watch());
    tokio::time::sleep(Duration::from_millis(1_999)).await;
    assert!(!watching.is_finished());
    watching.await.unwrap().unwrap();
    closed.cancel();
    assert!(desk.call(&id).await.delivered);
    assert_ne!(desk.seat("send_dm", DM).await.call(), &id);
    assert_eq!(times(&desk, "call.not_delivered").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_made_anew_on_the_open_connection_is_not_undone_when_it_closes() {
    let desk = Desk::new().await;
    let (id, mut seats) = settled(&desk, 1).await;
    let (grace, closed) = handed_to(seats.remove(0)).await;
    let new = desk.seat("send_dm", DM).await;
    assert_ne!(new.call(), &id);
    closed.cancel();
    grace.watch().await.unwrap();
    assert!(desk.call(&id).await.delivered);
    assert_eq!(desk.seat("send_dm", DM).await.call(), new.call());
}

#[tokio::test(start_paused = true)]
async fn of_several_deliveries_one_that_stands_is_enough() {
    for (first_closes, second_closes, delivered) in [(true, true, false), (true, false, true), (false, true, true)] {
        let desk = Desk::new().await;
        let (id, mut seats) = settled(&desk, 2).await;
        let (first, second) = (handed_to(seats.remove(0)).await, handed_to(seats.remove(0)).await);
        for ((grace, closed), closes) in [(first, first_closes), (second, second_closes)] {
            if closes {
                closed.cancel();
            }
            grace.watch().await.unwrap();
        }
        assert_eq!(desk.call(&id).await.delivered, delivered, "{first_closes} {second_closes}");
        let again = desk.seat("send_dm", DM).await;
        assert_eq!(again.call() == &id, !delivered);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_delivered_long_ago_is_not_taken_back_by_a_later_hand_over() {
    let desk = Desk::new().await;
    let (id, mut seats) = settled(&desk, 2).await;
    handed_to(seats.remove(0)).await.0.watch().await.unwrap();
    let (grace, closed) = handed_to(seats.remove(0)).await;
    closed.cancel();
    grace.watch().await.unwrap();
    assert!(desk.call(&id).await.delivered);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_was_taken_back_once_is_told_once_more_and_then_the_way_is_free() {
    let desk = Desk::new().await;
    let (id, mut seats) = settled(&desk, 1).await;
    let mut seat = seats.remove(0);
    for (hand_over, delivered) in [(1, false), (2, true)] {
        let (grace, closed) = handed_to(seat).await;
        closed.cancel();
        grace.watch().await.unwrap();
        assert_eq!(desk.call(&id).await.delivered, delivered, "hand-over {hand_over}");
        seat = desk.seat("send_dm", DM).await;
        assert_eq!(seat.call() == &id, !delivered, "hand-over {hand_over}");
    }
    assert_eq!(times(&desk, "call.not_delivered").await, 1);
}

#[tokio::test(start_paused = true)]
async fn of_requests_that_waited_together_none_is_told_twice_however_their_connections_close() {
    let desk = Desk::new().await;
    let (id, mut seats) = settled(&desk, 2).await;
    for waiter in ["first", "second"] {
        let (grace, closed) = handed_to(seats.remove(0)).await;
        closed.cancel();
        grace.watch().await.unwrap();
        assert!(!desk.call(&id).await.delivered, "nobody may have read what the {waiter} got");
    }
    collects(&desk, &id).await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_stops_takes_nothing_back() {
    let desk = Desk::new().await;
    let (id, mut seats) = settled(&desk, 1).await;
    let (grace, closed) = handed_to(seats.remove(0)).await;
    desk.gate.draining().cancel();
    closed.cancel();
    grace.watch().await.unwrap();
    assert!(desk.call(&id).await.delivered);
}

async fn raw_call(world: &World, further: &str) -> TcpStream {
    raw_post(world, &call(1, "send_dm", DM), further).await
}

/// A client that writes its own HTTP and reads only what it wants to; until a stream is open.
pub async fn raw_post(world: &World, body: &str, further: &str) -> TcpStream {
    let session = world.session.lock().unwrap().clone().unwrap();
    let head = format!(
        "POST /mcp/demo HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nauthorization: Bearer {}\r\nmcp-session-id: {session}\r\n\
         accept: application/json, text/event-stream\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{further}\r\n",
        world.port,
        world.token,
        body.len()
    );
    let mut stream = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    read_until(&mut stream, ": keep-alive\n\n\r\n").await;
    stream
}

pub async fn read_until(stream: &mut TcpStream, part: &str) {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(part) {
        let more = tokio::time::timeout(Duration::from_secs(20), stream.read_buf(&mut read)).await.expect("the rest comes").unwrap();
        assert_ne!(more, 0, "it ended without {part:?}: {}", String::from_utf8_lossy(&read));
    }
}

pub async fn until_in_audit(ann: &Reviewer, kind: &str) {
    crate::world::until(kind, || async { ann.entries(1, 1000).await.unwrap().iter().any(|entry| entry.kind == kind).then_some(()) }).await;
}

#[tokio::test]
async fn a_client_that_hangs_up_on_its_answer_collects_it_and_nobody_is_asked_again() {
    for reads in [false, true] {
        let world = World::new().await.ready().await;
        let ann = world.operator().await;
        let mut stream = raw_call(&world, "").await;
        let held = world.until(&ann, Presence::Waiting).await;
        decide(&ann, &held, Verdict::Approve, None).await;
        // The answer has come; what is not read of it is lost with the connection.
        stream.peek(&mut [0]).await.unwrap();
        if reads {
            read_until(&mut stream, "\"id\":1,\"result\"").await;
        }
        drop(stream);
        until_in_audit(&ann, "call.not_delivered").await;
        let again = world.post(call(2, "send_dm", DM)).await;
        let told: Value = serde_json::from_str(again.events().last().unwrap()).unwrap();
        let blocks = told["result"]["content"].as_array().unwrap();
        assert_eq!(blocks[0]["text"], "Sent.");
        assert!(blocks[1]["text"].as_str().unwrap().ends_with(" for your earlier call; nothing was sent now."), "{told}");
        assert_eq!(world.behind.of("tools/call").len(), 1);
        let entries = ann.entries(1, 1000).await.unwrap();
        assert_eq!(entries.iter().filter(|entry| entry.kind == "call.held").count(), 1);
    }
}

#[tokio::test]
async fn a_connection_that_is_ours_to_close_takes_nothing_back() {
    let world = World::new().await.ready().await;
    let ann = world.operator().await;
    let mut stream = raw_call(&world, "connection: close\r\n").await;
    let held = world.until(&ann, Presence::Waiting).await;
    decide(&ann, &held, Verdict::Approve, None).await;
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("\"id\":1,\"result\""), "{rest}");
    let again = world.open(call(2, "send_dm", DM)).await;
    assert_ne!(world.until(&ann, Presence::Waiting).await.id, held.id);
    assert!(!ann.entries(1, 1000).await.unwrap().iter().any(|entry| entry.kind == "call.not_delivered"));
    drop(again);
}
