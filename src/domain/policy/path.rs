//! Where in the arguments a condition looks: `args.a.b`, or a JSON Pointer (RFC 6901) for keys that have a dot.
//! Told apart are an argument that is not there and one whose place cannot exist because something on the way is
//! no object or array: the second is a wrong type, and wrong types fail closed. Called by `condition`.

use serde_json::Value;

/// The keys on the way, outermost first; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::domain) struct ArgumentPath(Vec<String>);

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::domain) enum Found<'a> {
    /// This value, perhaps null.
    Here(&'a Value),
    /// Nothing.
    Missing,
    /// Something on the way is no object and no array.
    WrongType,
}

impl ArgumentPath {
    /// Reads either notation; the error says what is wrong with it.
    pub(in crate::domain) fn parse(text: &str) -> Result<ArgumentPath, &'static str> {
        if let Some(pointer) = text.strip_prefix('/') {
            return pointer.split('/').map(unescape).collect::<Option<_>>().map(ArgumentPath).ok_or("has a ~ that is neither ~0 nor ~1");
        }
        let dotted = text.strip_prefix("args.").ok_or("does not start with args. or /")?;
        if dotted.split('.').any(str::is_empty) {
            return Err("has an empty key");
        }
        Ok(ArgumentPath(dotted.split('.').map(str::to_owned).collect()))
    }

    /// Walks the arguments. A key into an array must be an index as RFC 6901 writes it.
    pub(in crate::domain) fn find<'a>(&self, arguments: &'a Value) -> Found<'a> {
        let mut at = arguments;
        for key in &self.0 {
            let next = match at {
                Value::Object(members) => members.get(key),
                Value::Array(items) => match index(key) {
                    Some(index) => items.get(index),
                    None => return Found::WrongType,
                },
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Found::WrongType,
            };
            match next {
                Some(value) => at = value,
                None => return Found::Missing,
            }
        }
        Found::Here(at)
    }
}

impl std::fmt::Display for ArgumentPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "args.{}", self.0.join("."))
    }
}

fn unescape(key: &str) -> Option<String> {
    let mut parts = key.split('~');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escaped, rest) = part.strip_prefix('0').map(|rest| ('~', rest)).or_else(|| part.strip_prefix('1').map(|rest| ('/', rest)))?;
        out.push(escaped);
        out.push_str(rest);
    }
    Some(out)
}

fn index(key: &str) -> Option<usize> {
    let plain = key == "0" || (!key.starts_with('0') && key.bytes().all(|byte| byte.is_ascii_digit()));
    if plain { key.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_notations_find_the_same_argument() {
        let arguments = json!({"a": {"b": 1}, "c": [10, 20], "a.b": 2, "x/y~z": 3, "": 4});
        for (path, expected) in [("args.a.b", 1), ("/a/b", 1), ("/a.b", 2), ("/x~1y~0z", 3), ("/c/1", 20), ("args.c.0", 10), ("/", 4)] {
            assert_eq!(ArgumentPath::parse(path).unwrap().find(&arguments), Found::Here(&json!(expected)), "{path}");
        }
    }

    #[test]
    fn missing_and_impossible_places_are_told_apart() {
        let arguments = json!({"recipient": "not-a-map", "list": [1], "none": null});
        for (path, expected) in [
            ("args.other", Found::Missing),
            ("args.list.1", Found::Missing),
            ("args.recipient.email", Found::WrongType),
            ("args.list.first", Found::WrongType),
            ("args.list.00", Found::WrongType),
            ("args.none.x", Found::WrongType),
        ] {
            assert_eq!(ArgumentPath::parse(path).unwrap().find(&arguments), expected, "{path}");
        }
    }

    #[test]
    fn a_path_that_means_nothing_is_refused() {
        for path in ["", "args", "args.", "args..a", "args.a.", "text", "state.x", "/a~2", "/a~"] {
            assert!(ArgumentPath::parse(path).is_err(), "{path}");
        }
    }
}
