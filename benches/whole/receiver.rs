//! An MCP server inside the load process, so that one clock says when a decision was written and when the first byte of
//! the forwarded call came. It counts connections and calls that are open at once. Used by `decide` and `growth`.

use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Calls that nobody has looked at yet.
const ROOM: usize = 1 << 17;

/// One forwarded call.
pub struct Arrived {
    /// Its argument `text`.
    pub text: String,
    pub first_byte: Instant,
}

/// How many now and at most.
#[derive(Default)]
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// What is the same for all connections.
struct Shared {
    arrived: mpsc::Sender<Arrived>,
    connections: Gauge,
    calls: Gauge,
    answers_after: Duration,
}

/// A running server.
pub struct Receiver {
    /// `http://127.0.0.1:PORT/mcp`
    pub url: String,
    arrived: mpsc::Receiver<Arrived>,
    shared: Arc<Shared>,
}

impl Gauge {
    fn up(&self) {
        self.most.fetch_max(self.now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn down(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Receiver {
    /// Starts it; calls are answered so long after they came.
    pub async fn start(answers_after: Duration) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/mcp", listener.local_addr().expect("an address"));
        let (sender, arrived) = mpsc::channel(ROOM);
        let shared = Arc::new(Shared { arrived: sender, connections: Gauge::default(), calls: Gauge::default(), answers_after });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move {
                    shared.connections.up();
                    serve(stream, &shared).await;
                    shared.connections.down();
                });
            }
        });
        Receiver { url, arrived, shared }
    }

    /// The next call that comes.
    pub async fn next(&mut self) -> Arrived {
        let next = tokio::time::timeout(Duration::from_secs(120), self.arrived.recv()).await;
        next.expect("a forwarded call within two minutes").expect("the server runs")
    }

    /// The calls that came and that nobody took yet are forgotten, and the highest numbers begin anew.
    pub fn reset(&mut self) {
        while self.arrived.try_recv().is_ok() {}
        for gauge in [&self.shared.connections, &self.shared.calls] {
            gauge.most.store(gauge.now.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// The most connections and the most calls that were open at once.
    pub fn most(&self) -> (usize, usize) {
        (self.shared.connections.most.load(Ordering::Relaxed), self.shared.calls.most.load(Ordering::Relaxed))
    }
}

/// Answers until the client leaves.
async fn serve(mut stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let mut read = Vec::new();
    loop {
        let mut first_byte = None;
        let (head, length) = loop {
            if let Some(end) = read.windows(4).position(|four: &[u8]| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
                read.drain(..end + 4);
                let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
                break (head, length.unwrap_or(0usize));
            }
            if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
                return;
            }
            first_byte.get_or_insert_with(Instant::now);
        };
        while read.len() < length {
            if !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
                return;
            }
        }
        let body: Vec<u8> = read.drain(..length).collect();
        let answer = if head.starts_with("post") { answer(&body, first_byte.unwrap_or_else(Instant::now), shared).await } else { refused(&head) };
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

fn refused(head: &str) -> Vec<u8> {
    let status = if head.starts_with("delete") { "204 No Content" } else { "405 Method Not Allowed\r\ncontent-length: 0" };
    format!("HTTP/1.1 {status}\r\n\r\n").into_bytes()
}

async fn answer(body: &[u8], first_byte: Instant, shared: &Shared) -> Vec<u8> {
    let message: Value = serde_json::from_slice(body).expect("JSON from the gateway");
    let Some(id) = message.get("id") else { return b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_vec() };
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => {
            json!({"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "receiver", "version": "1"}})
        }
        "tools/list" => json!({"tools": tools()}),
        "tools/call" => {
            let text = message["params"]["arguments"]["text"].as_str().unwrap_or_default().to_owned();
            let read_only = message["params"]["name"].as_str().is_some_and(|name| name.starts_with("read_"));
            if !read_only {
                shared.calls.up();
                shared.arrived.try_send(Arrived { text, first_byte }).expect("room for a forwarded call");
                if !shared.answers_after.is_zero() {
                    tokio::time::sleep(shared.answers_after).await;
                }
                shared.calls.down();
            }
            json!({"content": [{"type": "text", "text": "Done."}], "isError": false})
        }
        _ => json!({}),
    };
    let answer = json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}", answer.len()).into_bytes()
}

fn tools() -> Value {
    let text = json!({"type": "string"});
    let message = json!({"type": "object", "properties": {"to": text, "text": text}, "required": ["to", "text"]});
    let named = |name: &str| json!({"name": name, "description": "For measuring.", "inputSchema": message});
    json!([named("send_dm"), named("post_note"), named("read_inbox")])
}
