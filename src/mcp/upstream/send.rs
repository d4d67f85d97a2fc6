//! How a ticket is spent: `tools/call` written by us around the stored bytes, sent once.
//! Called by the gate alone, through its trait.

use super::{Reply, RequestFailure, Upstreams, wire};
use crate::gate::upstream::{Outgoing, Sent, ServerStatus, Ticket, Upstream};
use async_trait::async_trait;
use serde_json::value::RawValue;

#[async_trait]
impl Upstream for Upstreams {
    async fn send(&self, ticket: Ticket) -> Sent {
        let outgoing = ticket.spend();
        let Ok(params) = RawValue::from_string(params(&outgoing)) else {
            return Sent::NeverLeft("The stored call is not valid JSON; nothing was sent.".to_owned());
        };
        let peer = match self.peer(&outgoing.server, &outgoing.agent, None).await {
            Ok(peer) => peer,
            Err(error) => return Sent::NeverLeft(error.sentence),
        };
        match peer.request("tools/call", Some(&params), outgoing.relay, outgoing.cancel).await {
            Ok(Reply::Result(body)) => Sent::Result(body),
            Ok(Reply::Error(body)) => Sent::Error(body),
            Err(RequestFailure::NeverLeft(why)) => Sent::NeverLeft(why),
            Err(RequestFailure::Unknown(why)) => Sent::Unknown(why),
        }
    }

    async fn servers(&self) -> Vec<ServerStatus> {
        self.status()
    }
}

fn params(outgoing: &Outgoing) -> String {
    let meta = outgoing.meta.as_ref().map(|meta| format!(",\"_meta\":{meta}")).unwrap_or_default();
    format!("{{\"name\":{},\"arguments\":{}{meta}}}", wire::quoted(&outgoing.tool), outgoing.arguments)
}
