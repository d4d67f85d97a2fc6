//! An agent as the scenarios need it: it asks for calls that a person must approve and leaves as soon as they are held,
//! or waits. A call is durable when the head of its stream comes: `gate::hold` answers only after the committer's sync,
//! and `mcp::held` opens the stream only with what `hold` gave it. Every answer that is not the expected one ends the run.

use crate::load::{Connection, initialize, mcp_headers, request};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The longest that any answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// One session of one agent.
#[derive(Clone)]
pub struct Asker {
    address: SocketAddr,
    path: String,
    headers: String,
    name: String,
    asked: u64,
}

/// A call that is held, and the connection on which its agent waits; dropping it is leaving.
pub struct Waits {
    pub call: String,
    /// From writing the request to the answer's head, in which everything is durable; connecting is not in it.
    pub took: Duration,
    pub connection: Connection,
}

impl Asker {
    /// Opens a session at `/mcp/{server}`.
    pub async fn enter(address: SocketAddr, server: &str, name: &str, token: &str) -> Asker {
        let path = format!("/mcp/{server}");
        let mut connection = connect(address).await;
        let session = initialize(&mut connection, address, &path, &mcp_headers(token, "")).await.expect("a session");
        assert!(!session.is_empty(), "{name} got no session: initialize was refused");
        Asker { address, path, headers: mcp_headers(token, &session), name: name.to_owned(), asked: 0 }
    }

    /// One session each for these tokens; the agents are called `bot-0` and on.
    pub async fn enter_all(address: SocketAddr, server: &str, tokens: &[String]) -> Vec<Asker> {
        let mut askers = Vec::with_capacity(tokens.len());
        for (number, token) in tokens.iter().enumerate() {
            askers.push(Asker::enter(address, server, &format!("bot-{number}"), token).await);
        }
        askers
    }

    /// A connection to the gateway.
    pub async fn connect(&self) -> Connection {
        connect(self.address).await
    }

    /// Arguments of about 200 bytes that nobody has asked for before, to a recipient of their own.
    pub fn next_message(&mut self) -> Value {
        self.asked += 1;
        let text = format!("{} {}: see you at the café at 12:30, the table is booked for four and the menu has what you like.", self.name, self.asked);
        json!({"to": format!("@{}-{}", self.name, self.asked), "text": text})
    }

    /// Asks for the next message and reads until it is held.
    pub async fn hold(&mut self) -> Waits {
        let message = self.next_message();
        self.hold_this(&message).await
    }

    /// The same with these arguments.
    pub async fn hold_this(&mut self, arguments: &Value) -> Waits {
        let asked = self.request("send_dm", arguments);
        let mut connection = self.connect().await;
        let begun = Instant::now();
        let held = timeout(PATIENCE, async {
            connection.send(&asked).await?;
            let head = connection.head().await?;
            let took = begun.elapsed();
            if head.status != 200 || !head.stream {
                let body = connection.body(&head).await?;
                panic!("the call was not held: {} {}", head.status, String::from_utf8_lossy(body));
            }
            while id_in(connection.part()).is_none() {
                assert!(connection.chunk().await?, "the stream ended at once: {}", String::from_utf8_lossy(connection.part()));
            }
            std::io::Result::Ok(took)
        });
        let took = held.await.expect("a held call in time").expect("the gateway answers");
        let call = id_in(connection.part()).expect("an id");
        Waits { call, took, connection }
    }

    /// A call that is answered at once, over a connection that stays; how long it took.
    pub async fn call(&mut self, connection: &mut Connection, tool: &str, arguments: &Value) -> Duration {
        let asked = self.request(tool, arguments);
        let begun = Instant::now();
        let (head, body) = timeout(PATIENCE, connection.ask(&asked)).await.expect("an answer in time").expect("the gateway answers");
        let took = begun.elapsed();
        let text = String::from_utf8_lossy(body);
        assert!(head.status == 200 && text.contains(r#""isError":false"#), "{tool} was not answered as meant: {} {text}", head.status);
        took
    }

    fn request(&mut self, tool: &str, arguments: &Value) -> Vec<u8> {
        self.asked += 1;
        let message = json!({"jsonrpc": "2.0", "id": self.asked, "method": "tools/call", "params": {"name": tool, "arguments": arguments}});
        request("POST", &self.path, self.address, &self.headers, message.to_string().as_bytes())
    }
}

impl Waits {
    /// Waits for the call's end, which must be the server's answer.
    pub async fn answered(mut self) {
        let end = timeout(PATIENCE, async {
            while self.connection.chunk().await? {}
            std::io::Result::Ok(())
        });
        end.await.expect("an answer in time").expect("the gateway answers");
        let told = String::from_utf8_lossy(self.connection.part());
        assert!(told.contains(r#""isError":false"#), "the approved call was not answered as meant: {told}");
    }
}

async fn connect(address: SocketAddr) -> Connection {
    Connection::open(address).await.unwrap_or_else(|cause| panic!("no connection to the gateway: {cause}"))
}

/// The call's id in the first event of its stream, `id: c_….0.…`.
fn id_in(part: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(part).ok()?;
    let id = text.strip_prefix("id: ")?.split_once('.')?.0;
    id.starts_with("c_").then(|| id.to_owned())
}
