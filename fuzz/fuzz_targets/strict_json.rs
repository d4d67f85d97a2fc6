//! Whatever is accepted is what a lenient reader reads too, and is accepted again when we write it; what is refused is
//! refused at a place that the text has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paraph::domain::json::strict;
use serde_json::Value;

fuzz_target!(|text: &[u8]| {
    let lenient = serde_json::from_slice::<Value>(text);
    match (strict(text), lenient) {
        (Ok(value), lenient) => {
            assert_eq!(lenient.ok().as_ref(), Some(&value));
            assert_eq!(strict(value.to_string().as_bytes()).ok(), Some(value));
        }
        (Err(refused), Ok(lenient)) => {
            assert!(!refused.not_json && lenient.pointer(&refused.pointer).is_some(), "{refused}");
        }
        (Err(_), Err(_)) => {}
    }
});
