//! The input schemas of one server's tools, from its latest complete list. Each is compiled once, when it is listed,
//! on a thread that has the stack for it; one that did not change since the last list stays as it was compiled.
//! A schema that cannot be used is kept as the reason why, with one line in the log. Filled by `tools`.

use crate::domain::schema::{MAX_BYTES, STACK, Schema, Unusable};
use crate::gate::upstream::InputSchema;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Bytes of all schemas of one server together, a pattern counting for what it becomes.
const MAX_TOGETHER: usize = 8 * 1024 * 1024;
/// What a pattern counts for, bytes; several under `patternProperties`.
const PATTERN: usize = 8 * 1024;
const SEVERAL_PATTERNS: usize = 128 * 1024;
/// Characters of a tool's name in the log.
const NAMED: usize = 100;

/// The schemas of one server.
#[derive(Default)]
pub(super) struct Schemas {
    server: String,
    tools: Mutex<HashMap<String, Arc<Kept>>>,
    /// Held by the one thread that compiles behind.
    compiling: Mutex<bool>,
}

/// One tool's schema.
pub(super) struct Kept {
    server: String,
    tool: String,
    /// As the server wrote it; empty when it is too large to keep.
    text: String,
    compiled: OnceLock<Result<Arc<Schema>, Unusable>>,
}

impl Kept {
    fn new(server: &str, tool: &str, text: &str) -> Kept {
        Kept { server: server.to_owned(), tool: tool.chars().take(NAMED).collect(), text: text.to_owned(), compiled: OnceLock::new() }
    }

    /// One that was never tried; the same as before when the last list had the same fault, so that the log says it once.
    fn unusable(server: &str, tool: &str, why: &'static str, old: Option<&Arc<Kept>>) -> Arc<Kept> {
        if let Some(old) = old.filter(|old| old.fault() == Some(Unusable(why))) {
            return Arc::clone(old);
        }
        let kept = Kept { compiled: OnceLock::from(Err(Unusable(why))), ..Kept::new(server, tool, "") };
        kept.log(Unusable(why));
        Arc::new(kept)
    }

    fn log(&self, why: Unusable) {
        tracing::warn!(server = self.server, tool = ?self.tool, %why, "a tool's inputSchema cannot be used: its calls are not checked against it");
    }

    /// Why it cannot be used, as far as it was tried.
    pub(super) fn fault(&self) -> Option<Unusable> {
        self.compiled.get()?.as_ref().err().copied()
    }

    /// The schema, compiled now if it was not before.
    pub(super) async fn ready(self: Arc<Kept>) -> InputSchema {
        if self.compiled.get().is_none() {
            let kept = Arc::clone(&self);
            // Whoever compiles it behind may be in the middle of it: then this waits for that.
            let compiled = tokio::task::spawn_blocking(move || on_its_own_stack(move || kept.compile()));
            if !compiled.await.unwrap_or(false) {
                return InputSchema::Unusable(Unusable("could not be compiled"));
            }
        }
        match self.compiled.get() {
            Some(Ok(schema)) => InputSchema::Known(Arc::clone(schema)),
            Some(Err(unusable)) => InputSchema::Unusable(*unusable),
            None => InputSchema::NotListed,
        }
    }

    fn compile(&self) {
        self.compiled.get_or_init(|| {
            let compiled = Schema::compile(&self.text);
            compiled.map(Arc::new).inspect_err(|why| self.log(*why))
        });
    }
}

impl Schemas {
    pub(super) fn of(server: &str) -> Schemas {
        Schemas { server: server.to_owned(), ..Schemas::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Kept>>> {
        self.tools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn of_tool(&self, name: &str) -> Option<Arc<Kept>> {
        self.lock().get(name).cloned()
    }

    /// A complete list came: only its schemas count from now on. Of two tools of one name the last one counts.
    pub(super) fn replace(&self, listed: impl Iterator<Item = (String, Option<Box<RawValue>>)>) {
        let mut tools = self.lock();
        let old = std::mem::take(&mut *tools);
        let mut together = 0usize;
        for (name, schema) in listed {
            let old = old.get(&name);
            let unusable = |why| Kept::unusable(&self.server, &name, why, old);
            let kept = match &schema {
                None => unusable("is missing"),
                Some(schema) if schema.get().len() > MAX_BYTES => unusable("has more than 256 KiB"),
                Some(schema) => {
                    together = together.saturating_add(weight(schema.get()));
                    match old.filter(|old| old.text == schema.get()) {
                        Some(old) => Arc::clone(old),
                        None if together > MAX_TOGETHER => unusable("is left out, because the server's schemas are too large together"),
                        None => Arc::new(Kept::new(&self.server, &name, schema.get())),
                    }
                }
            };
            tools.insert(name, kept);
        }
    }

    /// Compiles what is not compiled yet, on one thread per server; calls meanwhile compile what they need.
    pub(super) fn compile_behind(this: &Arc<Schemas>) {
        {
            let mut compiling = this.compiling.lock().unwrap_or_else(PoisonError::into_inner);
            if std::mem::replace(&mut *compiling, true) {
                return;
            }
        }
        let schemas = Arc::clone(this);
        let begun = std::thread::Builder::new().name("schemas".to_owned()).stack_size(STACK).spawn(move || {
            while let Some(kept) = schemas.next() {
                kept.compile();
            }
        });
        if begun.is_err() {
            // No thread to be had: each schema is compiled when a call needs it.
            *this.compiling.lock().unwrap_or_else(PoisonError::into_inner) = false;
        }
    }

    /// The next one to compile. When there is none, the thread is over in the same instant.
    fn next(&self) -> Option<Arc<Kept>> {
        let mut compiling = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.lock().values().find(|kept| kept.compiled.get().is_none()).map(Arc::clone);
        *compiling = next.is_some();
        next
    }
}

/// What a schema may come to in memory, roughly.
fn weight(text: &str) -> usize {
    text.len() + text.matches("\"pattern\"").count() * PATTERN + text.matches("\"patternProperties\"").count() * SEVERAL_PATTERNS
}

/// Runs to its end on a thread with enough stack; false when that was not possible.
fn on_its_own_stack(work: impl FnOnce() + Send + 'static) -> bool {
    let thread = std::thread::Builder::new().name("schema".to_owned()).stack_size(STACK).spawn(work);
    thread.is_ok_and(|thread| thread.join().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::upstream::wire::raw;
    use serde_json::json;

    fn list(tools: &[(&str, Option<&str>)]) -> Vec<(String, Option<Box<RawValue>>)> {
        tools.iter().map(|(name, schema)| ((*name).to_owned(), schema.map(|schema| raw(schema.to_owned())))).collect()
    }

    async fn fits(schemas: &Schemas, tool: &str, value: serde_json::Value) -> Option<bool> {
        let InputSchema::Known(schema) = schemas.of_tool(tool)?.ready().await else { return None };
        Some(schema.check_small(&value) == Some(crate::domain::schema::Fit::Fits))
    }

    #[tokio::test]
    async fn a_new_list_replaces_the_old_one_and_what_did_not_change_stays_compiled() {
        let schemas = Arc::new(Schemas::of("demo"));
        schemas.replace(list(&[("a", Some(r#"{"type":"object"}"#)), ("b", Some(r#"{"required":["x"]}"#))]).into_iter());
        assert_eq!(fits(&schemas, "a", json!({})).await, Some(true));
        assert_eq!(fits(&schemas, "b", json!({})).await, Some(false));
        let (a, b) = (schemas.of_tool("a").unwrap(), schemas.of_tool("b").unwrap());
        schemas.replace(list(&[("a", Some(r#"{"type":"object"}"#)), ("b", Some(r#"{"required":["y"]}"#)), ("c", None)]).into_iter());
        assert!(Arc::ptr_eq(&a, &schemas.of_tool("a").unwrap()) && !Arc::ptr_eq(&b, &schemas.of_tool("b").unwrap()));
        assert_eq!(fits(&schemas, "b", json!({"x": 1})).await, Some(false));
        assert_eq!(fits(&schemas, "b", json!({"y": 1})).await, Some(true));
        assert_eq!(schemas.of_tool("c").unwrap().fault(), Some(Unusable("is missing")));
        schemas.replace(list(&[("c", None)]).into_iter());
        assert!(schemas.of_tool("a").is_none());
    }

    #[tokio::test]
    async fn too_much_is_left_out_and_what_comes_before_it_is_kept() {
        let schemas = Arc::new(Schemas::of("demo"));
        let large = format!(r#"{{"description":"{}"}}"#, "d".repeat(MAX_BYTES - 100));
        let over = format!(r#"{{"description":"{}"}}"#, "d".repeat(MAX_BYTES));
        let names: Vec<String> = (0..40).map(|n| format!("t{n}")).collect();
        let mut tools: Vec<(&str, Option<&str>)> = names.iter().map(|name| (name.as_str(), Some(large.as_str()))).collect();
        tools.push(("over", Some(over.as_str())));
        schemas.replace(list(&tools).into_iter());
        assert_eq!(fits(&schemas, "t0", json!({})).await, Some(true));
        assert!(schemas.of_tool("t39").unwrap().fault().unwrap().0.contains("together"));
        assert!(schemas.of_tool("over").unwrap().fault().unwrap().0.contains("256 KiB"));
    }
}
