//! Whether arguments fit the tool's `inputSchema`, asked after the policy and before anybody is. Small checks run on
//! the spot; others on a thread of their own, of which a server's schemas keep at most two busy, and only so long:
//! what could not be checked in time does not fit. A schema that is not known stops no call (the server checks for
//! itself); a held call then says on its page that nobody checked. Called by `admit` and `edit`.

use super::Gate;
use super::upstream::InputSchema;
use crate::domain::schema::{Fit, STACK, Schema};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// The name under which a misfit is refused; where a rule's name would stand.
pub(super) const INPUT_SCHEMA: &str = "inputSchema";
/// How long a check may take, waiting for its turn included. Its work is bounded to well below a second; the rest is
/// for a machine that has other things to do.
const LONGEST_CHECK: Duration = Duration::from_secs(5);
/// Checks of one server's schemas at once that are not small.
const AT_ONCE: usize = 2;

/// The threads on which larger checks run.
#[derive(Default)]
pub(super) struct Checks(Mutex<HashMap<String, Arc<Semaphore>>>);

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Checked {
    /// They fit.
    Fit,
    /// They do not, or it could not be said in time: why, for the agent.
    Refused(String),
    /// There is nothing to hold them against: why, for the page.
    Unknown(String),
}

impl Checks {
    /// Only servers that listed a schema are asked for, so there are not many.
    fn door(&self, server: &str) -> Arc<Semaphore> {
        let mut doors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(doors.entry(server.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))))
    }
}

impl Gate {
    /// Holds arguments against the schema that the server listed last. `ask_for` is an agent in whose instance a
    /// server may be asked for its tools first, when it was never listed.
    pub(super) async fn check_arguments(&self, server: &str, tool: &str, arguments: &Value, ask_for: Option<&str>) -> Checked {
        let schema = match self.inner.upstream.input_schema(server, tool, ask_for).await {
            InputSchema::Known(schema) => schema,
            InputSchema::Unusable(why) => return Checked::Unknown(format!("its inputSchema {why}")),
            InputSchema::NotListed => return Checked::Unknown("the server has not listed this tool".to_owned()),
        };
        let fit = match schema.check_small(arguments) {
            Some(fit) => Some(fit),
            None => tokio::time::timeout(LONGEST_CHECK, self.check_apart(server, schema, arguments.clone())).await.ok().flatten(),
        };
        match fit {
            Some(Fit::Fits) => Checked::Fit,
            Some(Fit::Not(misfit)) => Checked::Refused(misfit.sentence()),
            Some(Fit::TooCostly) => Checked::Refused("the arguments cannot be checked: it would take too long".to_owned()),
            None => Checked::Refused("the arguments could not be checked in time".to_owned()),
        }
    }

    /// On a thread with enough stack. It keeps its turn until it has ended, also when nobody waits for it any more.
    async fn check_apart(&self, server: &str, schema: Arc<Schema>, arguments: Value) -> Option<Fit> {
        let turn = self.inner.checks.door(server).acquire_owned().await.ok()?;
        let check = move || {
            let thread = std::thread::Builder::new().name("arguments".to_owned()).stack_size(STACK).spawn(move || schema.check(&arguments));
            let fit = thread.ok().and_then(|thread| thread.join().ok());
            drop(turn);
            fit
        };
        tokio::task::spawn_blocking(check).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::upstream::{Sent, ServerStatus, Ticket, Upstream};
    use crate::gate::{Settings, SystemClock};
    use crate::store::in_memory::InMemory;
    use async_trait::async_trait;
    use serde_json::json;

    /// Lists the same tool on every server.
    struct Lists(Arc<Schema>);

    #[async_trait]
    impl Upstream for Lists {
        async fn send(&self, _ticket: Ticket) -> Sent {
            Sent::NeverLeft("nothing is sent here".into())
        }

        async fn servers(&self) -> Vec<ServerStatus> {
            Vec::new()
        }

        async fn instance(&self, _server: &str, _agent: &str) -> Option<String> {
            None
        }

        async fn input_schema(&self, _server: &str, _tool: &str, _ask_for: Option<&str>) -> InputSchema {
            InputSchema::Known(Arc::clone(&self.0))
        }

        async fn close_agent(&self, _agent: &str) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_gets_no_turn_is_refused_in_time_and_other_servers_go_on() {
        let schema = Schema::compile(r#"{"properties":{"text":{"pattern":"^a+$"}}}"#).unwrap();
        let gate = Gate::open(Arc::new(InMemory::default()), Arc::new(Lists(Arc::new(schema))), Arc::new(SystemClock), Settings::default());
        let check = |server: &'static str, text: &str| {
            let (gate, arguments) = (gate.clone(), json!({ "text": text }));
            async move { gate.check_arguments(server, "send_dm", &arguments, None).await }
        };
        assert_eq!(check("one", "aaa").await, Checked::Fit);
        // Two checks of this server's schemas do not end.
        let turns = gate.inner.checks.door("one").acquire_many_owned(2).await.unwrap();
        let begun = tokio::time::Instant::now();
        assert_eq!(check("one", "aaa").await, Checked::Refused("the arguments could not be checked in time".to_owned()));
        assert_eq!(begun.elapsed(), LONGEST_CHECK);
        assert_eq!(check("two", "aaa").await, Checked::Fit);
        drop(turns);
        assert_eq!(check("one", "b").await, Checked::Refused("/text must match the pattern ^a+$".to_owned()));
    }
}
