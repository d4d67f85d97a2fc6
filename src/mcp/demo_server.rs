//! The MCP server of `paraph demo-server`: direct messages to nobody, over stdio. It shows what a server does
//! with calls that arrive; tests count its sends. Called by `cli` alone; it shares nothing with the gateway.

use serde_json::{Value, json};
use std::io::{self, Write as _};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// The environment variable with a file that gets one JSON line per message sent.
pub const OUTBOX: &str = "DEMO_OUTBOX";

const REVISIONS: [&str; 2] = ["2025-11-25", "2025-06-18"];
const CONTACTS: [(&str, &str); 3] = [("@alice", "Alice Arden"), ("@bob", "Bob Barker"), ("@carol", "Carol Chen")];

/// Serves until standard input ends.
///
/// # Errors
/// When standard input or output breaks, or the file of `DEMO_OUTBOX` cannot be written.
pub async fn run() -> io::Result<()> {
    let mut server = Server { outbox: std::env::var_os(OUTBOX).map(Into::into), sent: 0 };
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut out = tokio::io::stdout();
    while let Some(line) = lines.next_line().await? {
        if let Some(answer) = server.answer(&line)? {
            out.write_all(format!("{answer}\n").as_bytes()).await?;
            out.flush().await?;
        }
    }
    Ok(())
}

struct Server {
    outbox: Option<std::path::PathBuf>,
    sent: u64,
}

/// A tool's answer: its text, its structured content, and whether it went wrong.
type Said = (String, Option<Value>, bool);

impl Server {
    fn answer(&mut self, line: &str) -> io::Result<Option<Value>> {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            return Ok(Some(json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "Not JSON."}})));
        };
        // Notifications and answers need none.
        let (Some(id), Some(method)) = (message.get("id"), message["method"].as_str()) else { return Ok(None) };
        let params = &message["params"];
        let result = match method {
            "initialize" => Ok(hello(params)),
            "ping" => Ok(json!({})),
            "tools/list" => Ok(json!({"tools": tools()})),
            "tools/call" => self.call(params)?,
            _ => Err((-32601, "There is no such method.".to_owned())),
        };
        Ok(Some(match result {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err((code, message)) => json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}),
        }))
    }

    fn call(&mut self, params: &Value) -> io::Result<Result<Value, (i32, String)>> {
        let arguments = &params["arguments"];
        let (text, structured, is_error) = match params["name"].as_str().unwrap_or_default() {
            "send_dm" => self.send(arguments)?,
            "read_inbox" => inbox(arguments),
            "list_contacts" => {
                let contacts: Vec<Value> = CONTACTS.iter().map(|(handle, name)| json!({"handle": handle, "name": name})).collect();
                let names: Vec<&str> = CONTACTS.iter().map(|(handle, _)| *handle).collect();
                (names.join(", "), Some(json!({"contacts": contacts})), false)
            }
            "delete_account" => ("The account is deleted.".to_owned(), None, false),
            _ => return Ok(Err((-32602, "There is no such tool.".to_owned()))),
        };
        let mut result = json!({"content": [{"type": "text", "text": text}], "isError": is_error});
        if let Some(structured) = structured {
            result["structuredContent"] = structured;
        }
        Ok(Ok(result))
    }

    fn send(&mut self, arguments: &Value) -> io::Result<Said> {
        let (Some(to), Some(text)) = (arguments["to"].as_str(), arguments["text"].as_str()) else {
            return Ok(("send_dm needs to and text, both strings.".to_owned(), None, true));
        };
        self.sent += 1;
        let id = format!("dm_{}", self.sent);
        if let Some(path) = &self.outbox {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
            file.write_all(format!("{}\n", json!({"id": id, "to": to, "text": text})).as_bytes())?;
        }
        Ok((format!("Sent to {to}."), Some(json!({"id": id, "to": to})), false))
    }
}

fn inbox(arguments: &Value) -> Said {
    let messages = [
        json!({"from": "@bob", "text": "Are we still on for Friday?"}),
        json!({"from": "@alice", "text": "The invoice is paid, thank you."}),
        json!({"from": "@carol", "text": "Could you send me the slides?"}),
    ];
    let limit = arguments["limit"].as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(messages.len());
    let shown = &messages[..limit.min(messages.len())];
    let lines: Vec<String> =
        shown.iter().map(|one| format!("{}: {}", one["from"].as_str().unwrap_or_default(), one["text"].as_str().unwrap_or_default())).collect();
    (lines.join("\n"), Some(json!({"messages": shown})), false)
}

fn hello(params: &Value) -> Value {
    let asked = params["protocolVersion"].as_str().unwrap_or_default();
    let revision = REVISIONS.iter().find(|known| **known == asked).unwrap_or(&REVISIONS[0]);
    json!({
        "protocolVersion": revision,
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "paraph-demo-server", "title": "Paraph's demo server", "version": env!("CARGO_PKG_VERSION")},
        "instructions": "Direct messages to people who do not exist. Nothing leaves this computer.",
    })
}

fn tools() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!([
        {
            "name": "send_dm",
            "title": "Send a direct message",
            "description": "Sends a direct message to one person.",
            "inputSchema": {
                "type": "object",
                "properties": {"to": text("The person's handle, such as @bob."), "text": text("What to write.")},
                "required": ["to", "text"],
            },
            "outputSchema": {
                "type": "object",
                "properties": {"id": text("The message's id."), "to": text("The person's handle.")},
                "required": ["id", "to"],
            },
            "annotations": {"readOnlyHint": false, "destructiveHint": false, "openWorldHint": true},
        },
        {
            "name": "read_inbox",
            "title": "Read the inbox",
            "description": "Reads the newest messages.",
            "inputSchema": {"type": "object", "properties": {"limit": {"type": "integer", "minimum": 1, "description": "How many at most."}}},
            "annotations": {"readOnlyHint": true},
        },
        {
            "name": "list_contacts",
            "title": "List contacts",
            "description": "Lists the people messages can go to.",
            "inputSchema": {"type": "object", "properties": {}},
            "annotations": {"readOnlyHint": true},
        },
        {
            "name": "delete_account",
            "title": "Delete the account",
            "description": "Deletes the account and every message in it.",
            "inputSchema": {"type": "object", "properties": {}},
            "annotations": {"readOnlyHint": false, "destructiveHint": true},
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sent_message_is_counted_and_written_to_the_outbox() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = folder.path().join("outbox.jsonl");
        let mut server = Server { outbox: Some(outbox.clone()), sent: 0 };
        let mut call = |text: &str| {
            let line = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "send_dm", "arguments": {"to": "@bob", "text": text}}});
            server.answer(&line.to_string()).unwrap().unwrap()
        };
        assert_eq!(call("a")["result"]["content"][0]["text"], "Sent to @bob.");
        assert_eq!(call("b")["result"]["structuredContent"]["id"], "dm_2");
        assert_eq!(std::fs::read_to_string(outbox).unwrap().lines().count(), 2);
    }

    #[test]
    fn an_unknown_revision_gets_the_newest_and_a_notification_no_answer() {
        let mut server = Server { outbox: None, sent: 0 };
        let hello = server.answer(r#"{"jsonrpc":"2.0","id":"a","method":"initialize","params":{"protocolVersion":"1999-01-01"}}"#).unwrap().unwrap();
        assert_eq!((hello["id"].as_str(), hello["result"]["protocolVersion"].as_str()), (Some("a"), Some("2025-11-25")));
        assert_eq!(server.answer(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).unwrap(), None);
        assert_eq!(server.answer(r#"{"jsonrpc":"2.0","id":2,"method":"nothing"}"#).unwrap().unwrap()["error"]["code"], -32601);
    }
}
