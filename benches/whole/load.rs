//! Closed-loop load: so many keep-alive connections, each with one call under way. Raw sockets and requests written once,
//! because the load shares the machine with what it measures; every answer is checked all the same, since a fast
//! refusal is no throughput. `Connection` is also how the other scenarios speak to Paraph. Used by `calls` and others.

use super::histogram::Histogram;
use serde_json::{Value, json};
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// The revision that agents speak here.
pub const REVISION: &str = "2025-11-25";
/// A head of an answer longer than this is a mistake.
const HEAD: usize = 16 << 10;
/// An answer that has not come so long after the measured time is lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// The bytes of a request. The header lines end in `\r\n` each; `Host` and `Content-Length` are added.
pub fn request(method: &str, path: &str, host: SocketAddr, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The header lines that an MCP client sends with a POST; `token` and `session` may be empty.
pub fn mcp_headers(token: &str, session: &str) -> String {
    let mut lines = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n".to_owned();
    if !token.is_empty() {
        lines += &format!("Authorization: Bearer {token}\r\n");
    }
    if !session.is_empty() {
        lines += &format!("Mcp-Session-Id: {session}\r\nMcp-Protocol-Version: {REVISION}\r\n");
    }
    lines
}

/// The head of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// `Mcp-Session-Id`, or empty.
    pub session: String,
    /// The first `name=value` of every `Set-Cookie`.
    pub cookies: Vec<String>,
    /// It is an event stream.
    pub stream: bool,
    /// Where its body ends.
    pub body: Extent,
}

/// How the end of a body is known (RFC 9112, 6.3). One that ends with the connection is a mistake here.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Extent {
    /// There is none.
    #[default]
    Nothing,
    /// After so many bytes.
    Length(usize),
    /// After the chunk without bytes.
    Chunked,
}

/// One keep-alive connection.
pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    /// What of `read` was used up.
    at: usize,
    body: Vec<u8>,
}

impl Connection {
    /// Connects, without Nagle's wait.
    pub async fn open(address: SocketAddr) -> Result<Connection, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, read: Vec::with_capacity(4 << 10), at: 0, body: Vec::new() })
    }

    /// Sends a request and reads its whole answer.
    pub async fn ask(&mut self, request: &[u8]) -> Result<(Head, &[u8]), Error> {
        self.send(request).await?;
        let head = self.head().await?;
        let body = self.body(&head).await?;
        Ok((head, body))
    }

    /// Sends a request. The one before must have been read to its end.
    pub async fn send(&mut self, request: &[u8]) -> Result<(), Error> {
        self.stream.write_all(request).await
    }

    /// Reads the head of an answer.
    pub async fn head(&mut self) -> Result<Head, Error> {
        self.body.clear();
        self.read.drain(..self.at);
        self.at = 0;
        loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                self.at = end + 4;
                let head = std::str::from_utf8(&self.read[..end]).ok().and_then(parse);
                return head.ok_or_else(|| wrong("a head that is none"));
            }
            if self.read.len() > HEAD {
                return Err(wrong("a head without an end"));
            }
            self.more().await?;
        }
    }

    /// Reads the body that belongs to the head; an event stream up to its end.
    pub async fn body(&mut self, head: &Head) -> Result<&[u8], Error> {
        self.body.clear();
        match head.body {
            Extent::Nothing => {}
            Extent::Length(length) => {
                while self.read.len() - self.at < length {
                    self.more().await?;
                }
                self.body.extend_from_slice(&self.read[self.at..self.at + length]);
                self.at += length;
            }
            Extent::Chunked => while self.chunk().await? {},
        }
        Ok(&self.body)
    }

    /// Appends the next chunk of a chunked body (RFC 9112, 7.1) to what `part` returns; false after the last one.
    pub async fn chunk(&mut self) -> Result<bool, Error> {
        let line = self.line().await?;
        let size = line.split(';').next().and_then(|size| usize::from_str_radix(size.trim(), 16).ok()).ok_or_else(|| wrong("a chunk without a size"))?;
        while self.read.len() - self.at < size + 2 {
            self.more().await?;
        }
        let end = self.at + size;
        if &self.read[end..end + 2] != b"\r\n" {
            return Err(wrong("a chunk that does not end"));
        }
        self.body.extend_from_slice(&self.read[self.at..end]);
        self.read.drain(..end + 2);
        self.at = 0;
        Ok(size > 0)
    }

    /// What of the body was read so far.
    pub fn part(&self) -> &[u8] {
        &self.body
    }

    async fn line(&mut self) -> Result<String, Error> {
        loop {
            let rest = &self.read[self.at..];
            if let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&rest[..end]).into_owned();
                self.at += end + 2;
                return Ok(line);
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), Error> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

fn parse(head: &str) -> Option<Head> {
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let mut found = Head { status, ..Head::default() };
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            found.body = Extent::Length(value.parse().ok()?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            found.body = value.eq_ignore_ascii_case("chunked").then_some(Extent::Chunked)?;
        } else if name.eq_ignore_ascii_case("mcp-session-id") {
            found.session = value.to_owned();
        } else if name.eq_ignore_ascii_case("content-type") {
            found.stream = value.starts_with("text/event-stream");
        } else if name.eq_ignore_ascii_case("set-cookie") {
            found.cookies.push(value.split(';').next()?.to_owned());
        }
    }
    let complete = matches!(status, 204 | 304) || found.body != Extent::Nothing;
    complete.then_some(found)
}

/// Opens an MCP session; its id, or empty when the server has none.
pub async fn initialize(connection: &mut Connection, address: SocketAddr, path: &str, headers: &str) -> Result<String, Error> {
    let hello = json!({"protocolVersion": REVISION, "capabilities": {}, "clientInfo": {"name": "load", "version": "1"}});
    let hello = json!({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": hello}).to_string();
    let (head, _) = connection.ask(&request("POST", path, address, headers, hello.as_bytes())).await?;
    if head.status != 200 {
        return Err(wrong(&format!("initialize was answered with {}", head.status)));
    }
    let mut more = headers.to_owned();
    if !head.session.is_empty() {
        more += &format!("Mcp-Session-Id: {}\r\nMcp-Protocol-Version: {REVISION}\r\n", head.session);
    }
    let done = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    connection.ask(&request("POST", path, address, &more, done)).await?;
    Ok(head.session)
}

/// A body of a `tools/call` of this many bytes; the id is a number of ten digits that `Call` counts on.
pub fn tools_call(tool: &str, bytes: usize) -> Vec<u8> {
    let with = |text: &str| {
        let arguments = json!({"to": "@bob", "text": text});
        json!({"jsonrpc": "2.0", "id": FIRST_ID, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}).to_string()
    };
    with(&"See you at half past twelve. ".repeat(bytes / 29 + 1)[..bytes.saturating_sub(with("").len())]).into_bytes()
}

const FIRST_ID: u64 = 1_000_000_000;
const DIGITS: usize = 10;

/// The same call again and again, each time with the next id, and the answer that it must get.
pub struct Call {
    request: Vec<u8>,
    /// Where the id stands.
    id_at: usize,
    next: u64,
    expected: Value,
    /// The last answer that was read as JSON and found right, and where the id stands in it.
    known: Option<(Vec<u8>, usize)>,
}

impl Call {
    /// A whole request with a body of `tools_call`, and the `result` that is expected.
    pub fn new(request: Vec<u8>, expected: Value) -> Result<Call, String> {
        let id_at = find(&request, FIRST_ID.to_string().as_bytes()).ok_or("a request without an id")?;
        Ok(Call { request, id_at, next: FIRST_ID, expected, known: None })
    }

    /// The bytes of the next call.
    pub fn next(&mut self) -> &[u8] {
        self.next += 1;
        write_id(&mut self.request[self.id_at..self.id_at + DIGITS], self.next);
        &self.request
    }

    /// Whether this answers the last call: as bytes when all but the id is as before, else as JSON.
    pub fn is_answered(&mut self, head: &Head, body: &[u8]) -> bool {
        if head.status != 200 {
            return false;
        }
        if let Some((known, at)) = &mut self.known {
            write_id(&mut known[*at..*at + DIGITS], self.next);
            if known == body {
                return true;
            }
        }
        let text = String::from_utf8_lossy(body);
        let mut messages = text.lines().map(|line| if head.stream { line.strip_prefix("data:").unwrap_or_default() } else { line });
        let right =
            messages.any(|line| serde_json::from_str::<Value>(line).is_ok_and(|answer| answer["id"] == json!(self.next) && answer["result"] == self.expected));
        if right && let Some(at) = find(body, self.next.to_string().as_bytes()) {
            self.known = Some((body.to_vec(), at));
        }
        right
    }
}

fn write_id(digits: &mut [u8], id: u64) {
    let mut rest = id;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

fn find(within: &[u8], what: &[u8]) -> Option<usize> {
    within.windows(what.len()).position(|part| part == what)
}

/// What a load found.
#[derive(Clone, Default)]
pub struct Figures {
    /// Right answers within the measured time.
    pub calls: u64,
    /// Wrong and lost ones, in the warm-up too.
    pub wrong: u64,
    /// The first of them.
    pub complaint: Option<String>,
    /// The measured time.
    pub took: Duration,
    /// Time from the first byte sent to the last one read, of the right answers.
    pub latency: Histogram,
}

impl Figures {
    /// Right answers in a second.
    pub fn per_second(&self) -> f64 {
        self.calls as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }

    /// Adds what another load found beside this one; the longer time counts.
    pub fn join(&mut self, other: Figures) {
        self.calls += other.calls;
        self.wrong += other.wrong;
        self.complaint = self.complaint.take().or(other.complaint);
        self.took = self.took.max(other.took);
        self.latency.join(&other.latency);
    }
}

/// Drives every connection for the warm-up and then for the measured time; `begin` and `end` are called around the latter.
pub async fn drive(workers: Vec<(Connection, Call)>, warm_up: Duration, measured: Duration, mut mark: impl FnMut(Mark)) -> Figures {
    let from = Instant::now() + warm_up;
    let until = from + measured;
    let mut set = JoinSet::new();
    for (connection, call) in workers {
        set.spawn(timeout_at(until + PATIENCE, one(connection, call, from, until)));
    }
    tokio::time::sleep_until(from).await;
    mark(Mark::Begin);
    tokio::time::sleep_until(until).await;
    mark(Mark::End);
    let mut figures = Figures::default();
    while let Some(done) = set.join_next().await {
        let lost = |cause: String| Figures { wrong: 1, complaint: Some(cause), ..Figures::default() };
        figures.join(match done {
            Ok(Ok(found)) => found,
            Ok(Err(_)) => lost("an answer never came".into()),
            Err(cause) => lost(cause.to_string()),
        });
    }
    figures.took = measured;
    assert_eq!(figures.calls, figures.latency.count(), "every right answer has its time");
    figures
}

/// The ends of the measured time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mark {
    /// The warm-up is over.
    Begin,
    /// What is answered from here on does not count.
    End,
}

async fn one(mut connection: Connection, mut call: Call, from: Instant, until: Instant) -> Figures {
    let mut figures = Figures::default();
    let mut sent = Instant::now();
    while sent < until {
        let answer = connection.ask(call.next()).await;
        let now = Instant::now();
        match answer {
            Ok((head, body)) if call.is_answered(&head, body) => {
                if sent >= from && now <= until {
                    figures.calls += 1;
                    figures.latency.record(now - sent);
                }
            }
            Ok((head, body)) => {
                figures.wrong += 1;
                let said: String = String::from_utf8_lossy(body).chars().take(300).collect();
                figures.complaint.get_or_insert_with(|| format!("{}: {said}", head.status));
            }
            Err(cause) => {
                figures.wrong += 1;
                figures.complaint.get_or_insert_with(|| cause.to_string());
                return figures;
            }
        }
        sent = now;
    }
    figures
}
