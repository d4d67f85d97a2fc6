//! An allowed call on its way: its entry is durable before it is sent, unless an operator declared that the
//! tool only reads; then the entry follows at most 100 ms later. Called by `mcp` with what `admit` let through.

use super::admit::Ask;
use super::upstream::{Outgoing, Relay, Sent, Ticket};
use super::{Failure, Gate};
use crate::domain::audit::Fact;
use crate::domain::digest::Digest;
use serde_json::json;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

/// The right to forward one allowed call once.
pub struct Pass {
    gate: Gate,
    ask: Ask,
    digest: Digest,
    rule: String,
}

impl Pass {
    pub(super) fn new(gate: Gate, ask: Ask, digest: Digest, rule: String) -> Pass {
        Pass { gate, ask, digest, rule }
    }

    /// Sends the call and waits for its end.
    pub async fn send(self, relay: Option<Relay>, cancel: CancellationToken) -> Result<Sent, Failure> {
        let Pass { gate, ask, digest, rule } = self;
        // A stop waits for it: its end is still to be written.
        let _under_way = gate.inner.lives.sends.token();
        let fact = gate.verdict_fact("call.allowed", &ask, &digest, &rule);
        if gate.only_reads(&ask.server, &ask.tool) {
            gate.inner.behind.push(fact).await;
        } else {
            gate.record(fact).await?;
        }
        let (server, tool, agent) = (ask.server.clone(), ask.tool.clone(), ask.agent.name.clone());
        let ticket =
            Ticket::new(Outgoing { server: ask.server, agent: ask.agent.name, tool: ask.tool, arguments: ask.arguments, meta: ask.meta, relay, cancel });
        let sent = gate.inner.upstream.send(ticket).await;
        let data = json!({ "server": server, "tool": tool, "digest": digest, "end": end_of(&sent), "body": body_of(&sent).map(|body| Digest::of_bytes(body.get().as_bytes())) });
        gate.inner.behind.push(Fact { kind: "call.ended", call: None, actor: format!("agent:{agent}"), data }).await;
        Ok(sent)
    }
}

/// How a send ended, in one word for the audit.
pub(super) fn end_of(sent: &Sent) -> &'static str {
    match sent {
        Sent::Result(body) if is_tool_error(body) => "tool_error",
        Sent::Result(_) => "ok",
        Sent::Error(_) => "protocol_error",
        Sent::NeverLeft(_) => "never_left",
        Sent::Unknown(_) => "unknown",
    }
}

fn body_of(sent: &Sent) -> Option<&RawValue> {
    match sent {
        Sent::Result(body) | Sent::Error(body) => Some(body),
        Sent::NeverLeft(_) | Sent::Unknown(_) => None,
    }
}

/// Whether a tool result says `isError: true` (MCP, server/tools, "Error Handling").
pub(super) fn is_tool_error(result: &RawValue) -> bool {
    #[derive(serde::Deserialize)]
    struct Result {
        #[serde(default, rename = "isError")]
        is_error: bool,
    }
    serde_json::from_str::<Result>(result.get()).is_ok_and(|result| result.is_error)
}
