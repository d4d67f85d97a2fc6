//! What the gate needs of the world beyond it: somebody who spends a ticket. The trait stands here and not in
//! `mcp`, so that the gate knows no transport; `mcp/upstream` implements it and `serve` joins the two.
//! A ticket is the right to send one call once; only `gate` makes one, and only after the record of the send
//! is durable.

use crate::domain::schema::{Schema, Unusable};
use async_trait::async_trait;
use serde_json::value::RawValue;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The right to send one call once. Not `Clone`, and no other module can make one.
#[derive(Debug)]
pub struct Ticket {
    outgoing: Outgoing,
}

/// What is to be sent.
#[derive(Debug)]
pub struct Outgoing {
    /// The upstream's name.
    pub server: String,
    /// For whom: upstream instances are per agent.
    pub agent: String,
    /// The tool.
    pub tool: String,
    /// JSON text of `arguments`, to be sent byte for byte.
    pub arguments: String,
    /// JSON text of `_meta` without the progress token; `None` for none.
    pub meta: Option<String>,
    /// Where the upstream's messages during this call go; `None` when no client is there for them.
    pub relay: Option<Relay>,
    /// Cancelled when the agent takes its request back: forward `notifications/cancelled`.
    pub cancel: CancellationToken,
}

/// Carries an upstream's messages during one call (progress, log messages, requests such as sampling) to the
/// agent's stream: each is one JSON-RPC message as text.
#[derive(Debug, Clone)]
pub struct Relay {
    /// The agent's own progress token as JSON text, to be put back into progress notifications.
    pub progress_token: Option<String>,
    /// Bounded; a full channel makes the upstream wait.
    pub messages: mpsc::Sender<Box<RawValue>>,
}

/// How a send ended (semantics.md 19).
#[derive(Debug, Clone)]
pub enum Sent {
    /// A JSON-RPC response came. The body is the JSON text of its `result`, byte for byte.
    Result(Box<RawValue>),
    /// A JSON-RPC error came, or an HTTP 4xx. The body is the JSON text of an `error` object.
    Error(Box<RawValue>),
    /// Provably no byte left: spawn, DNS, connect or TLS failed. The sentence holds nothing of the call.
    NeverLeft(String),
    /// Anything else: timeout, reset, child exit, 5xx. The sentence holds nothing of the call.
    Unknown(String),
}

/// Whether a call could leave at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// It could before, too.
    AtOnce,
    /// It took a while until it could: what was decided before has to be looked at again.
    Waited,
    /// It cannot, for this reason. A send would wait for the server behind everything that is on record by then, so the
    /// call is not to be handed over.
    Unreachable(String),
}

/// What the gate asks of the edge towards servers.
#[async_trait]
pub trait Upstream: Send + Sync + 'static {
    /// Waits until a call to this server for this agent could leave at once: the instance runs, its session answers.
    /// Nothing of a call leaves. The session of an approved call is tried in any case.
    async fn ready(&self, _server: &str, _agent: &str, _approved: bool) -> Ready {
        Ready::AtOnce
    }

    /// Sends the call once, waits for its end at most the server's timeout, never sends it again.
    async fn send(&self, ticket: Ticket) -> Sent;

    /// Every server's state and last seen tools, in the order of the config.
    async fn servers(&self) -> Vec<ServerStatus>;

    /// The name of the instance that runs for this agent now, another one after every start of a child or session;
    /// `None` while none runs. Servers keep state such as an active account, and a start forgets it.
    async fn instance(&self, server: &str, agent: &str) -> Option<String>;

    /// A tool's `inputSchema` as the server listed it last, whoever asked for the list. With `ask_for`, a server that
    /// was never listed is asked first, in this agent's instance and at most for its `start_timeout`.
    async fn input_schema(&self, server: &str, tool: &str, ask_for: Option<&str>) -> InputSchema;

    /// The agent was revoked: nothing may run in its name any more.
    async fn close_agent(&self, agent: &str);
}

/// What is known of a tool's `inputSchema`.
#[derive(Debug, Clone)]
pub enum InputSchema {
    /// Arguments can be held against it.
    Known(Arc<Schema>),
    /// The server listed one that cannot be used.
    Unusable(Unusable),
    /// The tool is not in the list, or there is no list.
    NotListed,
}

/// One server as `/servers` shows it.
#[derive(Debug, Clone)]
pub struct ServerStatus {
    /// Its name in the config.
    pub name: String,
    /// `stdio` or `http`.
    pub transport: &'static str,
    /// Whether it can be reached.
    pub state: ServerState,
    /// The tools it listed last; `None` when it was never asked.
    pub tools: Option<Vec<ToolInfo>>,
}

/// Whether a server can be reached.
#[derive(Debug, Clone)]
pub enum ServerState {
    /// Nobody has asked for it yet.
    Idle,
    /// At least one instance answers.
    Up {
        /// How many instances run.
        instances: usize,
    },
    /// The last start or request failed.
    Down {
        /// What happened, whose fault, what to do.
        why: String,
        /// The last lines of its standard error (stdio only); hostile text.
        stderr: Vec<String>,
    },
}

/// One tool as `tools/list` told of it. All of it is hostile text.
#[derive(Debug, Clone)]
pub struct ToolInfo {
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: Option<String>,
    /// Why its arguments cannot be checked; `None` when they can, or nobody has tried yet.
    pub unusable: Option<Unusable>,
}

impl Ticket {
    /// Only for a send that is already on record.
    pub(in crate::gate) fn new(outgoing: Outgoing) -> Ticket {
        Ticket { outgoing }
    }

    /// Spends the ticket.
    pub fn spend(self) -> Outgoing {
        self.outgoing
    }
}
