//! What the client is told when the gateway cannot answer: a tool result for a call, because a model reads that and
//! takes an error for a broken tool, and a JSON-RPC error for everything else. Every sentence says whether anything was
//! sent and what to do. Called by `request` and `mod`.

use super::line::Asked;
use crate::mcp::upstream::wire::quoted;

/// The call was held when its stream broke, and the gateway did not come back.
const HELD: &str = "NOT KNOWN YET. The gateway went away while this call waited for a person, and did not come back in time. \
    It is still held there: call again with exactly the same arguments to wait for it; that sends nothing twice.";

/// Nobody saw whether the call was held or allowed.
const UNKNOWN: &str = "UNKNOWN whether this was done. The connection to the gateway broke before there was an answer. \
    If a person must approve it, it is still held, and calling again with exactly the same arguments waits for it and sends nothing twice. \
    If no approval is needed, it may have been done already, and calling again could do it twice: check first, or ask the user.";

const NEVER_LEFT: &str = "NOT DONE. The gateway could not be reached, and this call never left this computer. Tell the user, or try again later.";

/// Why there is no answer of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lost {
    /// Provably nothing arrived.
    NeverLeft,
    /// It arrived, or may have.
    Unknown,
    /// A call that waited for a person.
    Held,
    /// The gateway, or what stands before it, said no; nothing was done. A sentence.
    Refused(String),
}

impl Lost {
    /// The JSON-RPC text for one request.
    pub(super) fn told(&self, asked: &Asked) -> String {
        let is_call = asked.method == "tools/call";
        match self {
            Lost::Refused(why) => error(Some(&asked.id), -32603, why),
            Lost::NeverLeft if is_call => result(&asked.id, NEVER_LEFT),
            Lost::NeverLeft => error(Some(&asked.id), -32603, "The gateway could not be reached."),
            Lost::Unknown if is_call => result(&asked.id, UNKNOWN),
            Lost::Held if is_call => result(&asked.id, HELD),
            Lost::Unknown | Lost::Held => error(Some(&asked.id), -32603, "The connection to the gateway broke before there was an answer."),
        }
    }
}

/// A JSON-RPC error; without an id for a message that could not be read.
pub(super) fn error(id: Option<&str>, code: i32, message: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{{\"code\":{code},\"message\":{}}}}}", id.unwrap_or("null"), quoted(message))
}

/// The gateway's error, for the request that it could not name.
pub(super) fn error_of(id: &str, error: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}")
}

fn result(id: &str, text: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":{}}}],\"isError\":true}}}}", quoted(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_lost_call_is_a_tool_result_and_every_other_lost_request_an_error() {
        let asked = |method: &str| Asked { id: "\"a\"".to_owned(), key: "\"a\"".to_owned(), method: method.to_owned() };
        for lost in [Lost::NeverLeft, Lost::Unknown, Lost::Held] {
            let told: Value = serde_json::from_str(&lost.told(&asked("tools/call"))).unwrap();
            assert_eq!((&told["id"], &told["result"]["isError"]), (&Value::from("a"), &Value::from(true)), "{told}");
            let told: Value = serde_json::from_str(&lost.told(&asked("tools/list"))).unwrap();
            assert_eq!(told["error"]["code"], -32603);
        }
        let told: Value = serde_json::from_str(&Lost::Refused("no \"x\"".to_owned()).told(&asked("tools/call"))).unwrap();
        assert_eq!(told["error"]["message"], "no \"x\"");
    }
}
