//! What a server listed last: the tools of its latest complete `tools/list`, whoever asked for it, and why it
//! could not be reached last. Filled by `peer` and `start`, read by the page `/servers` and by the gate, which holds
//! arguments against the schemas.

use super::UpstreamError;
use super::schemas::Schemas;
use super::wire::Members;
use crate::domain::schema::Unusable;
use crate::gate::upstream::{InputSchema, ToolInfo};
use serde_json::value::RawValue;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Tools remembered of one server.
const MAX_TOOLS: usize = 2_000;
/// A list that was asked for in vain is not asked for again by a call before this is over.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// Characters remembered of one description.
const MAX_DESCRIPTION: usize = 4_000;

/// The memory of one server.
#[derive(Default)]
pub(super) struct Seen {
    memory: Mutex<Memory>,
    schemas: Arc<Schemas>,
    /// When a call last asked in vain for the list; held while one asks.
    asked_in_vain: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Memory {
    tools: Option<Vec<Tool>>,
    /// The server said since that its list is another one now.
    stale: bool,
    /// A list being read page by page: the cursor of its next page, and the tools so far.
    paging: Option<(String, Vec<Tool>)>,
    down: Option<UpstreamError>,
}

#[derive(Clone)]
struct Tool {
    name: String,
    description: Option<String>,
    /// As long as the list is not complete, the text of the schema; afterwards it is in `Schemas`.
    schema: Option<Box<RawValue>>,
}

#[derive(serde::Deserialize)]
struct Page {
    tools: Vec<Box<RawValue>>,
    #[serde(rename = "nextCursor")]
    next: Option<String>,
}

#[derive(serde::Deserialize)]
struct Listed {
    name: String,
    description: Option<String>,
    #[serde(rename = "inputSchema")]
    schema: Option<Box<RawValue>>,
}

impl Seen {
    /// Nothing was seen yet of this server.
    pub(super) fn of(server: &str) -> Seen {
        Seen { memory: Mutex::default(), schemas: Arc::new(Schemas::of(server)), ..Seen::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page of `tools/list` came.
    pub(super) fn listed(&self, params: Option<&RawValue>, result: &RawValue) {
        let Ok(page) = serde_json::from_str::<Page>(result.get()) else { return };
        let cursor = params.and_then(|params| Members::read(params.get())).and_then(|params| params.get("cursor"));
        let cursor = cursor.and_then(|cursor| serde_json::from_str::<String>(cursor.get()).ok());
        let mut memory = self.lock();
        let mut tools = match (cursor, memory.paging.take()) {
            (None, _) => Vec::new(),
            (Some(cursor), Some((expected, tools))) if cursor == expected => tools,
            // A page of a list whose beginning was not seen.
            (Some(_), other) => {
                memory.paging = other;
                return;
            }
        };
        let room = MAX_TOOLS.saturating_sub(tools.len());
        // One tool that cannot be read does not hide the others.
        let listed = page.tools.iter().filter_map(|tool| serde_json::from_str::<Listed>(tool.get()).ok());
        let cut = |text: String| text.chars().take(MAX_DESCRIPTION).collect();
        tools.extend(listed.take(room).map(|tool| Tool { name: tool.name, description: tool.description.map(cut), schema: tool.schema }));
        match page.next {
            Some(next) => memory.paging = Some((next, tools)),
            None => {
                self.schemas.replace(tools.iter_mut().map(|tool| (tool.name.clone(), tool.schema.take())));
                memory.tools = Some(tools);
                memory.stale = false;
                drop(memory);
                Schemas::compile_behind(&self.schemas);
            }
        }
    }

    pub(super) fn tools(&self) -> Option<Vec<ToolInfo>> {
        let tools = self.lock().tools.clone()?;
        let unusable = |name: &str| -> Option<Unusable> { self.schemas.of_tool(name)?.fault() };
        let info = |tool: Tool| ToolInfo { unusable: unusable(&tool.name), name: tool.name, description: tool.description };
        Some(tools.into_iter().map(info).collect())
    }

    /// Whether there is a complete list that still counts.
    pub(super) fn is_listed(&self) -> bool {
        let memory = self.lock();
        memory.tools.is_some() && !memory.stale
    }

    /// The server said that its list is another one now: what was listed is shown on, and nothing is held against it.
    pub(super) fn changed(&self) {
        let mut memory = self.lock();
        memory.stale = true;
        memory.paging = None;
    }

    /// Has the list asked for before a call is judged: one asks, the others wait for that, and what was asked for in
    /// vain is not asked for again by every call.
    pub(super) async fn ask_once<T, E>(&self, within: Duration, list: impl Future<Output = Result<T, E>>) {
        let mut in_vain = self.asked_in_vain.lock().await;
        if !self.is_listed() && in_vain.is_none_or(|at| at.elapsed() >= ASK_AGAIN) {
            let listed = tokio::time::timeout(within, list).await;
            *in_vain = (!matches!(listed, Ok(Ok(_)))).then(Instant::now);
        }
    }

    /// What is known of a tool's schema.
    pub(super) async fn input_schema(&self, tool: &str) -> InputSchema {
        match self.schemas.of_tool(tool).filter(|_| self.is_listed()) {
            Some(kept) => kept.ready().await,
            None => InputSchema::NotListed,
        }
    }

    /// The last start or request failed, or (for `None`) worked.
    pub(super) fn reached(&self, failure: Option<UpstreamError>) {
        self.lock().down = failure;
    }

    pub(super) fn down(&self) -> Option<UpstreamError> {
        self.lock().down.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::upstream::wire::raw;

    fn names(seen: &Seen) -> Option<Vec<String>> {
        seen.tools().map(|tools| tools.into_iter().map(|tool| tool.name).collect())
    }

    #[tokio::test]
    async fn after_the_server_said_that_its_list_changed_nothing_is_held_against_the_old_one() {
        let (seen, list) = (Seen::default(), raw(r#"{"tools":[{"name":"a","inputSchema":{"type":"object"}}]}"#.to_owned()));
        seen.listed(None, &list);
        assert!(seen.is_listed() && matches!(seen.input_schema("a").await, InputSchema::Known(_)));
        seen.changed();
        assert!(!seen.is_listed() && matches!(seen.input_schema("a").await, InputSchema::NotListed));
        assert_eq!(names(&seen), Some(vec!["a".to_owned()]), "the page shows on what was listed");
        seen.listed(None, &list);
        assert!(matches!(seen.input_schema("a").await, InputSchema::Known(_)));
    }

    #[test]
    fn a_list_counts_when_its_last_page_came() {
        let seen = Seen::default();
        seen.listed(None, &raw(r#"{"tools":[{"name":"a","x":1},{"title":"nameless"}],"nextCursor":"p2"}"#.to_owned()));
        assert_eq!(names(&seen), None);
        seen.listed(Some(&raw(r#"{"cursor":"stray"}"#.to_owned())), &raw(r#"{"tools":[{"name":"z"}]}"#.to_owned()));
        assert_eq!(names(&seen), None);
        seen.listed(Some(&raw(r#"{"cursor":"p2"}"#.to_owned())), &raw(r#"{"tools":[{"name":"b"}]}"#.to_owned()));
        assert_eq!(names(&seen), Some(vec!["a".to_owned(), "b".to_owned()]));
    }
}
