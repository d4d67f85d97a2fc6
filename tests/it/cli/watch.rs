//! `paraph calls watch`: every held call gets its line, also when many come at once and when the stream only says that
//! there is much to look at; and watching reads nothing.

use crate::world::{Agent, World, until};
use axum::Json;
use axum::extract::{Query, State};
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The command under way, and its lines so far.
struct Watch {
    lines: Arc<Mutex<Vec<String>>>,
    _child: Child,
}

impl Watch {
    fn start(url: &str, token: &str, further: &[&str]) -> Watch {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paraph"));
        command.args(["calls", "watch", "--url", url]).args(further).env("PARAPH_TOKEN", token);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let mut read = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = lines.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = read.next_line().await {
                into.lock().unwrap().push(line);
            }
        });
        Watch { lines, _child: child }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Lines that say of this call that it is held.
    fn held(&self, id: &str) -> usize {
        let line = format!("call.held  {id}  held");
        self.lines().iter().filter(|one| **one == line).count()
    }

    /// Waits for this line.
    async fn says(&self, line: &str) {
        until(line, || async { self.lines().iter().any(|one| one == line).then_some(()) }).await;
    }
}

#[tokio::test]
async fn a_hundred_and_forty_calls_at_once_are_a_line_each_and_nobody_has_read_them() {
    let world = World::with_demo_server("[hold]\nmax_held_per_agent = 200\n");
    let (agent, ann) = (world.agent("support-bot").await, world.reviewer("ann@example.org").await);
    let gateway = world.serve().await;
    let desk = gateway.desk(&ann);
    let agent = Agent::connect(&gateway.mcp("demo"), &agent).await;
    let mut waiting = vec![agent.begin("send_dm", json!({"to": "@bob", "text": "before anybody watches"}))];
    let first = until("the first call", || async { desk.calls("held").await.pop() }).await["id"].as_str().unwrap().to_owned();
    let watch = Watch::start(&gateway.url, &ann, &[]);
    until("what is held already", || async { (watch.held(&first) == 1).then_some(()) }).await;
    // The second time the stream has just been told of many.
    for crowd in 1..=2 {
        waiting.extend((0..70).map(|number| agent.begin("send_dm", json!({"to": "@bob", "text": format!("{crowd}/{number}")}))));
        let held = until("all are held", || async { Some(desk.calls("held").await).filter(|held| held.len() == 1 + crowd * 70) }).await;
        let missing = || held.iter().filter(|call| watch.held(call["id"].as_str().unwrap()) == 0).count();
        until("a line for each", || async { (missing() == 0).then_some(()) }).await;
        let twice = held.iter().filter(|call| watch.held(call["id"].as_str().unwrap()) > 1).count();
        assert_eq!(twice, 0, "a line too many for {twice} calls");
    }
    assert!(!world.audit_is_whole().await.contains("call.viewed"), "watching reads nothing");
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

/// How many lists were read to their end, and the ids in each.
type Looks = (Arc<AtomicUsize>, Arc<Vec<Vec<&'static str>>>);

/// A gateway that says only "look", and at every look has other calls.
async fn says_look(lists: Vec<Vec<&'static str>>) -> String {
    let asked = Arc::new(AtomicUsize::new(0));
    let list = async |State((asked, lists)): State<Looks>, Query(query): Query<HashMap<String, String>>| {
        assert_eq!(query["state"], "held");
        let calls: Vec<Value> = lists[asked.load(Ordering::SeqCst)].iter().map(|id| json!({"id": id, "state": "held"})).collect();
        // A call on each page; only the end of the last one is the end of the look.
        let page = query.get("cursor").map_or(0, |cursor| cursor.parse::<usize>().unwrap());
        let next = (page + 1 < calls.len()).then(|| (page + 1).to_string());
        if next.is_none() {
            asked.fetch_add(1, Ordering::SeqCst);
        }
        Json(json!({"calls": calls.get(page).into_iter().collect::<Vec<_>>(), "next": next}))
    };
    let events = async |State((asked, lists)): State<Looks>| {
        let looks = stream::unfold(0, move |number| {
            let (asked, of) = (asked.clone(), lists.len());
            async move {
                until("the look before is over", || async { (asked.load(Ordering::SeqCst) >= number.min(of)).then_some(()) }).await;
                match number {
                    number if number < of => Some((Event::default().event("look").data("{}"), number + 1)),
                    number if number == of => {
                        Some((Event::default().event("call.changed").data(json!({"id": "c_a", "state": "rejected"}).to_string()), number + 1))
                    }
                    _ => std::future::pending().await,
                }
            }
        });
        Sse::new(looks.map(Ok::<Event, Infallible>))
    };
    let app = axum::Router::new().route("/api/v1/calls", get(list)).route("/api/v1/events", get(events)).with_state((asked, Arc::new(lists)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

#[tokio::test]
async fn a_look_is_a_line_for_each_held_call_that_had_none() {
    let url = says_look(vec![vec!["c_b", "c_a"], vec![], vec!["c_d", "c_c", "c_b"]]).await;
    let (text, as_json) = (Watch::start(&url, "t", &[]), Watch::start(&says_look(vec![vec!["c_a"]]).await, "t", &["--json"]));
    text.says("call.changed  c_a  rejected").await;
    let expected =
        ["call.held  c_a  held", "call.held  c_b  held", "call.held  c_b  held", "call.held  c_c  held", "call.held  c_d  held", "call.changed  c_a  rejected"];
    assert_eq!(text.lines(), expected, "c_b was not held at the second look, so at the third it is held again");
    as_json.says(r#"{"event":"call.changed","data":{"id":"c_a","state":"rejected"}}"#).await;
    assert_eq!(as_json.lines()[..2], [r#"{"event":"look","data":{}}"#, r#"{"event":"call.held","data":{"id":"c_a","state":"held"}}"#]);
}
