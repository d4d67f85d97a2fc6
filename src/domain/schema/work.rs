//! How much a check would have to do: every pair of a part of the schema and a part of the arguments that a validator
//! could come by, counted without evaluating anything. It may count too much and never too little, so what is within
//! the bound ends soon, and the depth of a validator's recursion is bounded with it.

use serde_json::{Map, Value};
use std::cell::OnceCell;
use std::collections::HashMap;

/// A pattern with look-around or back references may step back often on one text.
const FANCY: usize = 5_000;
/// Letters that a pattern reads in the time of one step.
const LETTERS: usize = 64;

/// How much may be counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Steps.
    pub steps: usize,
    /// Steps down from the whole schema to one part: a validator recurses as deep.
    pub down: u32,
    /// Patterns may be matched at all.
    pub patterns: bool,
}

/// What a check would have to do.
#[derive(Debug)]
pub(super) struct Work {
    /// Steps whose errors a validator collects before it can say which of several forms fits.
    pub collected: usize,
}

/// The place a reference names within its own document: the fragment without its `#`.
pub(super) fn local<'a>(target: &'a str, own: Option<&str>) -> Option<&'a str> {
    let rest = own.and_then(|own| target.strip_prefix(own.trim_end_matches('#'))).unwrap_or(target);
    let fragment = rest.strip_prefix('#')?;
    // Escapes could name another place than the one that is counted.
    (!fragment.contains('%')).then_some(fragment)
}

/// A part of the schema that is to be held against a part of the arguments.
struct Pair<'a> {
    schema: &'a Value,
    instance: &'a Value,
    down: u32,
    collects: bool,
}

struct Walk<'a> {
    root: &'a Value,
    own: Option<&'a str>,
    /// Looked for when the first reference by name is met; most schemas have none.
    anchors: OnceCell<HashMap<&'a str, Vec<&'a Value>>>,
    pairs: Vec<Pair<'a>>,
    bounds: Bounds,
    steps: usize,
    collected: usize,
    /// Parts of the arguments.
    parts: usize,
}

impl Work {
    /// Counts; `None` as soon as it is more than the bounds allow, or cannot be counted.
    pub(super) fn count(root: &Value, arguments: &Value, bounds: Bounds) -> Option<Work> {
        let parts = parts(arguments, bounds.steps)?;
        let own = root.get("$id").and_then(Value::as_str);
        let mut walk = Walk { root, own, anchors: OnceCell::new(), pairs: Vec::new(), bounds, steps: 0, collected: 0, parts };
        walk.push(root, arguments, 0, false)?;
        while let Some(pair) = walk.pairs.pop() {
            walk.pair(&pair)?;
        }
        Some(Work { collected: walk.collected })
    }
}

impl<'a> Walk<'a> {
    fn spend(&mut self, steps: usize) -> Option<()> {
        self.steps = self.steps.saturating_add(steps);
        (self.steps <= self.bounds.steps).then_some(())
    }

    fn push(&mut self, schema: &'a Value, instance: &'a Value, down: u32, collects: bool) -> Option<()> {
        self.spend(1)?;
        self.collected += usize::from(collects);
        if down > self.bounds.down {
            return None;
        }
        self.pairs.push(Pair { schema, instance, down: down + 1, collects });
        Some(())
    }

    fn pair(&mut self, pair: &Pair<'a>) -> Option<()> {
        let Value::Object(schema) = pair.schema else { return Some(()) };
        self.values(schema, pair.instance)?;
        self.in_place(schema, pair)?;
        match pair.instance {
            Value::Object(members) => {
                if schema.contains_key("unevaluatedProperties") {
                    // What is left over is found by going through everything beside it again, for each member.
                    (0..members.len()).try_for_each(|_| self.in_place(schema, pair))?;
                }
                self.members(schema, members, pair)
            }
            Value::Array(items) => {
                if schema.contains_key("unevaluatedItems") {
                    (0..items.len()).try_for_each(|_| self.in_place(schema, pair))?;
                }
                self.items(schema, items, pair)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(()),
        }
    }

    /// Keywords that look at the value itself.
    fn values(&mut self, schema: &'a Map<String, Value>, instance: &'a Value) -> Option<()> {
        let compared = if instance.is_object() || instance.is_array() { self.parts } else { 1 };
        for name in ["enum", "const"] {
            if let Some(wanted) = schema.get(name) {
                self.spend(compared.saturating_add(wanted.as_array().map_or(1, Vec::len)))?;
            }
        }
        if schema.contains_key("uniqueItems") && instance.is_array() {
            self.spend(self.parts)?;
        }
        if let (Some(Value::String(pattern)), Value::String(text)) = (schema.get("pattern"), instance) {
            self.pattern(pattern, text.len())?;
        }
        Some(())
    }

    fn pattern(&mut self, pattern: &str, letters: usize) -> Option<()> {
        if !self.bounds.patterns {
            return None;
        }
        self.spend(1 + letters / LETTERS + if is_fancy(pattern) { FANCY } else { 0 })
    }

    /// Keywords that hold another schema against the same value.
    fn in_place(&mut self, schema: &'a Map<String, Value>, pair: &Pair<'a>) -> Option<()> {
        for (name, value) in schema {
            let collects = pair.collects || matches!(name.as_str(), "anyOf" | "oneOf");
            match (name.as_str(), value) {
                ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(target)) => {
                    for place in self.places(target)? {
                        self.push(place, pair.instance, pair.down, collects)?;
                    }
                }
                ("allOf" | "anyOf" | "oneOf", Value::Array(all)) => all.iter().try_for_each(|one| self.push(one, pair.instance, pair.down, collects))?,
                ("not" | "if" | "then" | "else", one) => self.push(one, pair.instance, pair.down, collects)?,
                ("dependentSchemas" | "dependencies" | "extends" | "$extends", Value::Object(all)) => {
                    all.values().try_for_each(|one| self.push(one, pair.instance, pair.down, collects))?;
                }
                _ => {}
            }
        }
        Some(())
    }

    fn members(&mut self, schema: &'a Map<String, Value>, members: &'a Map<String, Value>, pair: &Pair<'a>) -> Option<()> {
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, value) in members {
            if let Some(one) = properties.and_then(|properties| properties.get(name)) {
                self.push(one, value, pair.down, pair.collects)?;
            }
            for (pattern, one) in patterns.into_iter().flatten() {
                self.pattern(pattern, name.len())?;
                self.push(one, value, pair.down, pair.collects)?;
            }
            for rest in ["additionalProperties", "unevaluatedProperties"] {
                if let Some(one) = schema.get(rest) {
                    self.push(one, value, pair.down, pair.collects)?;
                }
            }
            if let Some(names) = schema.get("propertyNames") {
                self.spend(1 + name.len() / LETTERS)?;
                // Which text it is makes no difference but for its length, which is counted.
                self.push(names, &SOME_NAME, pair.down, true)?;
            }
        }
        Some(())
    }

    fn items(&mut self, schema: &'a Map<String, Value>, items: &'a [Value], pair: &Pair<'a>) -> Option<()> {
        for name in ["items", "prefixItems", "additionalItems", "unevaluatedItems", "contains"] {
            match schema.get(name) {
                Some(Value::Array(by_place)) => {
                    by_place.iter().zip(items).try_for_each(|(one, item)| self.push(one, item, pair.down, pair.collects))?;
                }
                Some(one) => items.iter().try_for_each(|item| self.push(one, item, pair.down, pair.collects))?,
                None => {}
            }
        }
        Some(())
    }

    fn places(&self, target: &'a str) -> Option<Vec<&'a Value>> {
        let fragment = local(target, self.own)?;
        if fragment.is_empty() || fragment.starts_with('/') {
            return Some(vec![self.root.pointer(fragment)?]);
        }
        self.anchors.get_or_init(|| anchors(self.root)).get(fragment).cloned()
    }
}

/// Stands for a member's name where `propertyNames` looks at one.
static SOME_NAME: Value = Value::String(String::new());

/// How many values there are, all depths together; `None` when more than `most`.
fn parts(value: &Value, most: usize) -> Option<usize> {
    let (mut count, mut values) = (0usize, vec![value]);
    while let Some(value) = values.pop() {
        count += 1;
        if count + values.len() > most {
            return None;
        }
        match value {
            Value::Array(items) => values.extend(items),
            Value::Object(members) => values.extend(members.values()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    Some(count)
}

fn anchors(root: &Value) -> HashMap<&str, Vec<&Value>> {
    let mut found: HashMap<&str, Vec<&Value>> = HashMap::new();
    let mut nodes = vec![root];
    while let Some(node) = nodes.pop() {
        match node {
            Value::Array(items) => nodes.extend(items),
            Value::Object(members) => {
                for name in ["$anchor", "$dynamicAnchor", "$id", "id"] {
                    if let Some(Value::String(anchor)) = members.get(name) {
                        found.entry(anchor.trim_start_matches('#')).or_default().push(node);
                    }
                }
                nodes.extend(members.values());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    found
}

/// Whether a pattern needs more than one look at each letter.
fn is_fancy(pattern: &str) -> bool {
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, letters.peek()) {
            ('\\', Some(next)) if next.is_ascii_digit() || *next == 'k' => return true,
            ('\\', _) => {
                letters.next();
            }
            ('(', Some('?')) => {
                letters.next();
                if letters.peek() != Some(&':') {
                    return true;
                }
            }
            ('+' | '*' | '?' | '}', Some('+')) => return true,
            _ => {}
        }
    }
    false
}
