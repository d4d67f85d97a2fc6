//! The MCP server behind everything that is measured: two tools, a fixed answer, and as little work as can be, over
//! Streamable HTTP without a framework and over standard input and output. A process of its own, so that its CPU is no
//! peer's. Started by `calls` as `role-upstream` and by Paraph as `role-stdio`.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter};
use tokio::net::{TcpListener, TcpStream};

/// A tool that changes nothing.
pub const READING: &str = "read_note";
/// A tool that sends.
pub const SENDING: &str = "send_note";
/// Asked with `GET`: how many tool calls came, as a number.
const COUNT: &str = "/count";

/// Of a JSON-RPC message what is needed here.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: &'a str,
}

/// The result of every tool call.
pub fn result() -> Value {
    json!({"content": [{"type": "text", "text": "It is done."}], "isError": false})
}

/// Answers, once written.
struct Answers {
    initialize: String,
    list: String,
    call: String,
    calls: AtomicU64,
}

impl Answers {
    fn new() -> Answers {
        let schema = json!({
            "type": "object",
            "properties": {"to": {"type": "string"}, "text": {"type": "string"}},
            "required": ["to", "text"]
        });
        let tool = |name: &str| json!({"name": name, "description": "A note.", "inputSchema": schema});
        let hello = json!({
            "protocolVersion": super::load::REVISION,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "upstream", "version": "1"}
        });
        Answers {
            initialize: hello.to_string(),
            list: json!({"tools": [tool(READING), tool(SENDING)]}).to_string(),
            call: result().to_string(),
            calls: AtomicU64::new(0),
        }
    }

    /// The answer to a message; none to a notification.
    fn to(&self, message: &[u8]) -> Result<Option<String>, Error> {
        let message: Message<'_> = serde_json::from_slice(message).map_err(Error::from)?;
        let Some(id) = message.id else { return Ok(None) };
        let result = match message.method {
            "tools/call" => {
                self.calls.fetch_add(1, Ordering::Relaxed);
                &self.call
            }
            "tools/list" => &self.list,
            "initialize" => &self.initialize,
            "ping" => "{}",
            _ => return Ok(Some(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"no such method"}}}}"#))),
        };
        Ok(Some(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)))
    }
}

/// Prints its address and serves until the end of the world.
pub async fn over_http() -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    super::report::say(&format!("listening on {}", listener.local_addr()?));
    serve(listener).await
}

/// Serves on this listener.
pub async fn serve(listener: TcpListener) -> Result<(), Error> {
    let answers = Arc::new(Answers::new());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A client that hangs up is no fault.
        tokio::spawn(connection(stream, answers.clone()));
    }
}

async fn connection(mut stream: TcpStream, answers: Arc<Answers>) -> Result<(), Error> {
    let mut read: Vec<u8> = Vec::with_capacity(32 << 10);
    let mut written = String::with_capacity(1 << 10);
    loop {
        let (end, length, post) = loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = std::str::from_utf8(&read[..at]).map_err(|_| Error::from(ErrorKind::InvalidData))?;
                break (at + 4, length(head)?, if head.starts_with("POST") { None } else { Some(head.contains(COUNT)) });
            }
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        };
        while read.len() < end + length {
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        }
        let answer = match post {
            None => answers.to(&read[end..end + length])?,
            Some(true) => Some(answers.calls.load(Ordering::Relaxed).to_string()),
            Some(false) => None,
        };
        written.clear();
        match answer {
            Some(body) => {
                written += "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
                written += &body.len().to_string();
                written += "\r\n\r\n";
                written += &body;
            }
            None if post.is_none() => written += "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
            None => written += "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n",
        }
        stream.write_all(written.as_bytes()).await?;
        read.drain(..end + length);
    }
}

/// The length of the body. One of unknown length comes from no peer here.
fn length(head: &str) -> Result<usize, Error> {
    let mut fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    let named = |name: &str, field: &&(&str, &str)| field.0.eq_ignore_ascii_case(name);
    if fields.clone().any(|field| named("transfer-encoding", &&field)) {
        return Err(Error::new(ErrorKind::InvalidData, "a body of unknown length"));
    }
    let length = fields.find(|field| named("content-length", &field)).map_or("0", |(_, value)| value.trim());
    length.parse().map_err(|_| ErrorKind::InvalidData.into())
}

/// How many tool calls the server over HTTP received so far.
pub async fn count(address: SocketAddr) -> u64 {
    let mut connection = super::load::Connection::open(address).await.expect("a connection to the upstream");
    let asked = super::load::request("GET", COUNT, address, "", b"");
    let (_, body) = connection.ask(&asked).await.expect("the upstream's count");
    String::from_utf8_lossy(body).parse().expect("a number")
}

/// The same server for Paraph's stdio upstream: a message is a line.
pub async fn over_stdio() -> Result<(), Error> {
    let answers = Answers::new();
    let mut lines = BufReader::with_capacity(64 << 10, tokio::io::stdin());
    let mut out = BufWriter::with_capacity(64 << 10, tokio::io::stdout());
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).await? > 0 {
        if let Some(answer) = answers.to(&line)? {
            out.write_all(answer.as_bytes()).await?;
            out.write_all(b"\n").await?;
        }
        // What is read already is answered before anything is written, as one write.
        if lines.buffer().is_empty() {
            out.flush().await?;
        }
        line.clear();
    }
    Ok(())
}
