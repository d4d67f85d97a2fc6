//! The canonical form can be read back and is its own canonical form, so equal digests are equal values. Doubles of
//! these sizes are written as integers too long for the reader (RFC 8785): they are hashed, never read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paraph::domain::json::{canonical, strict};
use serde_json::Value;

fn too_long(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64() && number.as_f64().is_some_and(|double| (9.2e18..1e21).contains(&double.abs())),
        Value::Array(items) => items.iter().any(too_long),
        Value::Object(members) => members.values().any(too_long),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

fuzz_target!(|text: &[u8]| {
    let Ok(value) = strict(text) else { return };
    let once = canonical(&value);
    if !too_long(&value) {
        assert_eq!(canonical(&strict(once.as_bytes()).expect("a canonical text is strict")), once);
    }
});
