//! What servers are asked in Paraph's own name: at the start once, and again as long as one is down, so that one that
//! is back is known to be back before an agent needs it: the notice goes, `/servers` and `/metrics` say so. A server
//! that answered last is not disturbed. Tasks of `serve::start`, and of a reload.

use super::Upstreams;
use super::instances::OWN_NAME;
use crate::gate::upstream::ServerState;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often it is looked who is down.
const LOOK: Duration = Duration::from_secs(30);
/// One that stays down is asked at so many looks, and then at every so many.
const SELDOM: u32 = 10;

impl Upstreams {
    /// Asks these servers once for their tools, so that `/servers` and a failing start are seen before the first
    /// agent comes, and ends what was started for that.
    pub async fn survey(&self, names: &[String]) {
        for name in names {
            match self.refresh_tools(name).await {
                Ok(tools) => tracing::info!(server = name, tools = tools.len(), "the server lists its tools"),
                Err(error) => tracing::warn!(server = name, cause = %error, "the server does not list its tools; /servers shows its last lines"),
            }
        }
        self.close_agent(OWN_NAME).await;
    }

    /// Asks until it is dropped.
    pub async fn revisit(&self) {
        let mut in_vain = BTreeMap::<String, u32>::new();
        loop {
            tokio::time::sleep(LOOK).await;
            let down: Vec<String> =
                self.status().into_iter().filter(|server| matches!(server.state, ServerState::Down { .. })).map(|server| server.name).collect();
            in_vain.retain(|name, _| down.contains(name));
            let mut turn = Vec::new();
            for name in down {
                let looks = in_vain.entry(name.clone()).or_default();
                *looks = looks.saturating_add(1);
                if *looks <= SELDOM || looks.is_multiple_of(SELDOM) {
                    turn.push(name);
                }
            }
            // Side by side: one that lets us wait holds up no other.
            join_all(turn.iter().map(|name| self.ask_again(name))).await;
        }
    }

    async fn ask_again(&self, server: &str) {
        // What fails is in the log and in the server's state.
        if let Ok(tools) = self.refresh_tools(server).await {
            tracing::info!(server, tools = tools.len(), "the server is back and lists its tools");
        }
        self.close_instance(server, OWN_NAME).await;
    }
}
