//! Other rules while the gate runs: on record first, then in force all at once. A call is judged by the one
//! configuration it found at the door, and again before it is sent; nothing that is stamped on a held call moves
//! (semantics.md 21). Only calls whose server is gone are taken back. Called by `reload` with settings that were read
//! without a mistake.

use super::{Failure, Gate, ServerSettings, Settings};
use crate::domain::audit::Fact;
use crate::domain::call::Call;
use crate::store::Query;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Why calls of a server that was taken out of the config are withdrawn.
pub(super) const GONE: &str = "the server is not in the config any more";
/// Calls looked at in one read.
const TOGETHER: usize = 100;

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

    /// Takes back the open calls of servers that are not in the config any more; how many it looked at.
    pub async fn withdraw_homeless(&self) -> Result<usize, Failure> {
        let mut homeless = 0;
        let mut query = Query { states: vec!["held".into(), "approved".into()], limit: TOGETHER, ..Query::default() };
        loop {
            let page = self.inner.store.calls(&query).await.map_err(|e| self.failed(&e))?;
            for call in &page.calls {
                homeless += usize::from(self.if_its_server_left(call).await?);
            }
            if page.next.is_none() {
                return Ok(homeless);
            }
            query.cursor = page.next;
        }
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
