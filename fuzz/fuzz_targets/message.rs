//! An agent's body: read without a panic, and what its parts say is what its one value says.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Some(value) = paraph::mcp::read_message(body) {
        assert_eq!(value["jsonrpc"], "2.0");
    }
});
