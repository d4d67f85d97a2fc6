//! An agent's body: read without a panic, and what its parts say is what its one value says.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for value in paraph::mcp::read_message(body).unwrap_or_default() {
        assert_eq!(value["jsonrpc"], "2.0");
    }
});
