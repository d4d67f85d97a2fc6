//! What a server listed last: the tools of its latest complete `tools/list`, whoever asked for it, and why it
//! could not be reached last. Filled by `peer` and `start`, read by the page `/servers`.

use super::UpstreamError;
use super::wire::Members;
use crate::gate::upstream::ToolInfo;
use serde_json::value::RawValue;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tools remembered of one server.
const MAX_TOOLS: usize = 2_000;
/// Characters remembered of one description.
const MAX_DESCRIPTION: usize = 4_000;

/// The memory of one server.
#[derive(Default)]
pub(super) struct Seen(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    tools: Option<Vec<ToolInfo>>,
    /// A list being read page by page: the cursor of its next page, and the tools so far.
    paging: Option<(String, Vec<ToolInfo>)>,
    down: Option<UpstreamError>,
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
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        tools.extend(listed.take(room).map(|tool| ToolInfo { name: tool.name, description: tool.description.map(cut) }));
        match page.next {
            Some(next) => memory.paging = Some((next, tools)),
            None => memory.tools = Some(tools),
        }
    }

    pub(super) fn tools(&self) -> Option<Vec<ToolInfo>> {
        self.lock().tools.clone()
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
