//! A person at the pages with a cookie, or at the API with a token: lists, reads and decides. One connection each, so
//! that as many of them as wanted work at the same time. Every answer that is not the expected one ends the run.

use crate::figures::Times;
use crate::load::{Connection, request};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// The longest that any answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// One connection of one person.
pub struct Officer {
    connection: Connection,
    address: SocketAddr,
    headers: String,
}

/// What a decision has to name.
#[derive(Debug, Clone)]
pub struct Shown {
    pub call: String,
    digest: String,
    version: u64,
}

impl Officer {
    /// With an API token.
    pub async fn with_token(address: SocketAddr, token: &str) -> Officer {
        Officer::enter(address, format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n")).await
    }

    /// With a session's cookie.
    pub async fn with_cookie(address: SocketAddr, cookie: &str) -> Officer {
        Officer::enter(address, format!("Cookie: {cookie}\r\nAccept: text/html\r\n")).await
    }

    async fn enter(address: SocketAddr, headers: String) -> Officer {
        let connection = Connection::open(address).await.expect("a connection to the gateway");
        Officer { connection, address, headers }
    }

    /// `GET`, which must be answered with 200: the body, and how long its first byte took.
    pub async fn get(&mut self, path: &str) -> (Vec<u8>, Duration) {
        self.ask("GET", path, "").await
    }

    async fn ask(&mut self, method: &str, path: &str, body: &str) -> (Vec<u8>, Duration) {
        let asked = request(method, path, self.address, &self.headers, body.as_bytes());
        let begun = Instant::now();
        let answer = timeout(PATIENCE, async {
            self.connection.send(&asked).await?;
            let head = self.connection.head().await?;
            let took = begun.elapsed();
            let body = self.connection.body(&head).await?.to_vec();
            std::io::Result::Ok((head.status, body, took))
        });
        let (status, body, took) = answer.await.expect("an answer in time").expect("the gateway answers");
        assert_eq!(status, 200, "{method} {path}: {}", String::from_utf8_lossy(&body));
        (body, took)
    }

    async fn json(&mut self, path: &str) -> Value {
        let (body, _) = self.get(path).await;
        serde_json::from_slice(&body).expect("JSON of the API")
    }

    /// Ids of held calls, newest first.
    pub async fn held(&mut self, most: usize) -> Vec<String> {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        while ids.len() < most {
            let page = self.json(&format!("/api/v1/calls?state=held&limit=200{cursor}")).await;
            ids.extend(page["calls"].as_array().expect("calls").iter().filter_map(|call| call["id"].as_str().map(str::to_owned)));
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        ids.truncate(most);
        ids
    }

    /// Reads a call, which is needed before deciding it.
    pub async fn view(&mut self, call: &str) -> Shown {
        let shown = self.json(&format!("/api/v1/calls/{call}")).await;
        assert_eq!(shown["state"], "held", "{shown}");
        let digest = shown["digest"].as_str().expect("a digest").to_owned();
        Shown { call: call.to_owned(), digest, version: shown["version"].as_u64().expect("a version") }
    }

    /// Approves: when the request was written, and how long its answer took.
    pub async fn approve(&mut self, shown: &Shown) -> (Instant, Duration) {
        let body = json!({"verdict": "approve", "digest": shown.digest, "version": shown.version}).to_string();
        let begun = Instant::now();
        let (answer, took) = self.ask("POST", &format!("/api/v1/calls/{}/decision", shown.call), &body).await;
        let call: Value = serde_json::from_slice(&answer).expect("a call");
        assert_eq!(call["decisions"][0]["verdict"], "approve", "{call}");
        (begun, took)
    }
}

/// Reads all, over so many connections.
pub async fn view_all(address: SocketAddr, token: &str, calls: Vec<String>, at_once: usize) -> Vec<Shown> {
    let mut working = JoinSet::new();
    for share in shares(calls, at_once) {
        let token = token.to_owned();
        working.spawn(async move {
            let mut officer = Officer::with_token(address, &token).await;
            let mut shown = Vec::with_capacity(share.len());
            for call in share {
                shown.push(officer.view(&call).await);
            }
            shown
        });
    }
    working.join_all().await.into_iter().flatten().collect()
}

/// Approves all, over so many connections; how long the answers took.
pub async fn approve_all(address: SocketAddr, token: &str, shown: Vec<Shown>, at_once: usize) -> Times {
    let mut working = JoinSet::new();
    for share in shares(shown, at_once) {
        let token = token.to_owned();
        working.spawn(async move {
            let mut officer = Officer::with_token(address, &token).await;
            let mut times = Times::default();
            for one in share {
                times.add(officer.approve(&one).await.1);
            }
            times
        });
    }
    let mut times = Times::default();
    working.join_all().await.into_iter().for_each(|one| times.extend(one));
    times
}

fn shares<T>(all: Vec<T>, at_once: usize) -> Vec<Vec<T>> {
    let mut shares: Vec<Vec<T>> = (0..at_once).map(|_| Vec::new()).collect();
    all.into_iter().enumerate().for_each(|(number, one)| shares[number % at_once].push(one));
    shares
}
