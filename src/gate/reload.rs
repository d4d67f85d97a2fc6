//! Other rules while the gate runs: on record first, then in force all at once. A call is judged by the one
//! configuration it found at the door, and again before it is sent; nothing that is stamped on a held call moves
//! (semantics.md 21). Only calls whose server is gone are taken back. Called by `reload` with settings that were read
//! without a mistake.

use super::open::OpenCalls;
use super::{Failure, Gate, ServerSettings, Settings};
use crate::domain::audit::Fact;
use crate::domain::call::Call;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Why calls of a server that was taken out of the config are withdrawn.
pub(super) const GONE: &str = "the server is not in the config any more";

impl Gate {
    /// Puts these settings in the place of the present ones. When a policy changed, the entry that names it is
    /// durable before it judges anything; if it cannot be written, everything stays as it was. Call
    /// [`Gate::withdraw_homeless`] afterwards. One reload at a time.
    pub async fn reload(&self, settings: Settings) -> Result<(), Failure> {
        let changed = changes(&self.settings(), &settings);
        if !changed.is_empty() {
            self.record(Fact { kind: "policy.reloaded", call: None, actor: "operator".into(), data: json!({ "servers": changed }).into() }).await?;
        }
        self.inner.settings.store(Arc::new(settings));
        Ok(())
    }

    /// Takes back the open calls of servers that are not in the config any more; how many there were.
    pub async fn withdraw_homeless(&self) -> Result<usize, Failure> {
        let (mut open, mut homeless) = (OpenCalls::of(self.states_to_look_at().await?), 0);
        while let Some(call) = open.next(self).await? {
            homeless += usize::from(self.if_its_server_left(&call).await?);
        }
        Ok(homeless)
    }

    /// A call that was judged before a reload and held after it is seen by nobody else.
    pub(super) async fn if_its_server_left(&self, call: &Call) -> Result<bool, Failure> {
        if self.settings().servers.contains_key(&call.server) {
            return Ok(false);
        }
        self.withdraw(&call.id, GONE, "policy").await?;
        Ok(true)
    }

    /// The policies with which a gateway begins to serve.
    pub(super) fn policies_loaded(&self) -> Fact {
        let settings = self.settings();
        let digests: Map<String, Value> = settings.servers.iter().map(|(name, server)| (name.clone(), json!(server.digest()))).collect();
        Fact { kind: "policy.loaded", call: None, actor: "paraph".into(), data: json!({ "servers": digests }).into() }
    }
}

/// Every server whose policy is another one, with both digests; `null` where there is no such server.
fn changes(before: &Settings, after: &Settings) -> Map<String, Value> {
    let names = before.servers.keys().chain(after.servers.keys().filter(|name| !before.servers.contains_key(*name)));
    let changed = names.filter_map(|name| {
        let (from, to) = (before.server(name).map(ServerSettings::digest), after.server(name).map(ServerSettings::digest));
        (from != to).then(|| (name.clone(), json!({ "from": from, "to": to })))
    });
    changed.collect()
}
