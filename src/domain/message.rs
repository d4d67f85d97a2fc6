//! What is the message in a call's arguments: to whom, which text, and whether that was configured or guessed.
//! The page and the mails show a message as a message; a guess is marked as one. Called by `gate/hold`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// To whom and what text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The recipient as the arguments name it.
    pub to: String,
    /// The text, whole.
    pub text: String,
    /// JSON Pointer (RFC 6901) of the recipient in the arguments.
    pub to_pointer: String,
    /// JSON Pointer of the text.
    pub text_pointer: String,
    /// True when neither the config nor our list of known tools says so.
    pub guessed: bool,
}

/// Where the message is in a tool's arguments, as the config says (`[servers.X.messages.TOOL]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePointers {
    /// JSON Pointer of the recipient.
    pub to: String,
    /// JSON Pointer of the text.
    pub text: String,
}

/// Finds the message: configured pointers first, then the known messaging tools, then a guess by name.
pub fn find(tool: &str, arguments: &Value, configured: Option<&MessagePointers>) -> Option<Message> {
    let _ = (tool, arguments, configured);
    None
}

/// Whether a tool's call is a message by its name alone: decides "NOT SENT" against "NOT DONE".
pub fn is_message_tool(tool: &str, configured: bool) -> bool {
    configured || tool.contains("message") || tool.contains("dm")
}
