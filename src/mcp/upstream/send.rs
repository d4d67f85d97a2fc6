//! How a ticket is spent: `tools/call` written by us around the stored bytes, sent once.
//! Called by the gate alone, through its trait.

use super::{Reply, RequestFailure, Upstreams, wire};
use crate::gate::upstream::{InputSchema, Outgoing, Ready, Sent, ServerStatus, Ticket, Upstream};
use async_trait::async_trait;
use serde_json::value::RawValue;
use std::time::Duration;
use tokio::time::Instant;

/// A wait from which on the world may have moved.
const NOTICED: Duration = Duration::from_millis(20);

#[async_trait]
impl Upstream for Upstreams {
    async fn send(&self, ticket: Ticket) -> Sent {
        self.spend(ticket.spend()).await
    }

    async fn ready(&self, server: &str, agent: &str, approved: bool) -> Ready {
        let begun = Instant::now();
        let reached = match self.peer(server, agent, None).await {
            Ok(peer) => peer.ready(approved).await,
            Err(error) => Err(error.sentence),
        };
        match reached {
            Err(why) => Ready::Unreachable(why),
            Ok(()) if begun.elapsed() >= NOTICED => Ready::Waited,
            Ok(()) => Ready::AtOnce,
        }
    }

    async fn servers(&self) -> Vec<ServerStatus> {
        self.status()
    }

    async fn instance(&self, server: &str, agent: &str) -> Option<String> {
        Upstreams::instance(self, server, agent)
    }

    async fn input_schema(&self, server: &str, tool: &str, ask_for: Option<&str>) -> InputSchema {
        Upstreams::input_schema(self, server, tool, ask_for).await
    }

    async fn close_agent(&self, agent: &str) {
        Upstreams::close_agent(self, agent).await;
    }
}

impl Upstreams {
    async fn spend(&self, outgoing: Outgoing) -> Sent {
        if !is_object(&outgoing.arguments) || !outgoing.meta.as_deref().is_none_or(is_object) {
            return Sent::NeverLeft("The stored call is not valid JSON; nothing was sent.".to_owned());
        }
        // Nothing is started here: the call is on record as leaving, and nobody could take it back while it waits.
        let peer = match self.running(&outgoing.server, &outgoing.agent) {
            Ok(Some(peer)) => peer,
            Ok(None) => return Sent::NeverLeft(format!("Server {} ended before the call could leave.", outgoing.server)),
            Err(error) => return Sent::NeverLeft(error.sentence),
        };
        let call = wire::Call { tool: &outgoing.tool, arguments: &outgoing.arguments, meta: outgoing.meta.as_deref() };
        match peer.call(call, outgoing.relay, outgoing.cancel).await {
            Ok(Reply::Result(body)) => Sent::Result(body),
            Ok(Reply::Error(body)) => Sent::Error(body),
            Err(RequestFailure::NeverLeft(why)) => Sent::NeverLeft(why),
            Err(RequestFailure::Unknown(why)) => Sent::Unknown(why),
        }
    }
}

/// Whether a stored text is the JSON object that it was.
fn is_object(text: &str) -> bool {
    text.trim_ascii_start().starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Bounds, Server, Transport};
    use crate::domain::policy::Policy;
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;
    use tokio_util::sync::CancellationToken;

    /// A server of three answers: it says what it was sent in the result of the last.
    const SERVER: &str = r#"
read line; echo '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{}}}'
read line
IFS= read -r line; printf '{"jsonrpc":"2.0","id":2,"result":%s}\n' "$line"
read line
"#;

    fn outgoing(server: &str) -> Outgoing {
        Outgoing {
            server: server.to_owned(),
            agent: "a".to_owned(),
            tool: "send_dm".to_owned(),
            arguments: r#"{"n": 1.10,  "text":"a\nb \u00e9 \ud800"}"#.to_owned(),
            meta: Some(r#"{"traceparent":"00"}"#.to_owned()),
            relay: None,
            cancel: CancellationToken::new(),
        }
    }

    #[tokio::test]
    async fn a_ticket_sends_the_arguments_byte_for_byte_and_what_cannot_start_never_left() {
        let folder = tempfile::tempdir().unwrap();
        // The guard itself is tested with the real program in tests/it/upstreams.
        let guard = folder.path().join("guard");
        std::fs::write(&guard, "#!/bin/sh\nshift 2\nexec \"$@\"\n").unwrap();
        std::fs::set_permissions(&guard, std::fs::Permissions::from_mode(0o755)).unwrap();
        let server = |command: &[&str]| Server {
            transport: Transport::Process { command: command.iter().map(|&word| word.to_owned()).collect(), env: BTreeMap::new(), cwd: None, env_clear: false },
            methods: Vec::new(),
            timeout: Duration::from_secs(10),
            start_timeout: Duration::from_secs(10),
            policy: Policy::default(),
            messages: BTreeMap::new(),
        };
        let servers = [("good".to_owned(), server(&["sh", "-c", SERVER])), ("absent".to_owned(), server(&["/nowhere/at/all"]))];
        let upstreams = Upstreams::new(servers.into(), &Bounds::default(), guard);
        assert!(matches!(upstreams.spend(outgoing("good")).await, Sent::NeverLeft(_)), "a send starts nothing");
        assert!(!matches!(upstreams.ready("good", "a", true).await, Ready::Unreachable(_)));
        let Sent::Result(body) = upstreams.spend(outgoing("good")).await else { panic!("no result") };
        assert_eq!(
            body.get(),
            r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"send_dm","arguments":{"n": 1.10,  "text":"a\nb \u00e9 \ud800"},"_meta":{"traceparent":"00"}}}"#
        );
        assert!(matches!(upstreams.ready("absent", "a", true).await, Ready::Unreachable(_)));
        assert!(matches!(upstreams.spend(outgoing("absent")).await, Sent::NeverLeft(_)));
        assert!(matches!(upstreams.spend(outgoing("unheard of")).await, Sent::NeverLeft(_)));
        upstreams.shutdown().await;
        assert!(matches!(upstreams.spend(outgoing("good")).await, Sent::NeverLeft(_)));
    }
}
