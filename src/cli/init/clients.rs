//! What goes into each MCP client: a command or a few lines of its configuration, ready to be pasted. A client that can
//! only start a process gets `paraph connect`. With a token file no entry holds the token. Called by `init`.

use clap::ValueEnum;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// Claude Desktop gives up on a tool after four minutes and does not ask again by itself.
pub(super) const DESKTOP_KEEP_OPEN: Duration = Duration::from_secs(180);
/// Stands where a token would, when the token was shown at another time.
const UNKNOWN: &str = "TOKEN";

/// Clients whose entry is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Client {
    /// `claude mcp add …`
    ClaudeCode,
    /// Through `paraph connect`
    ClaudeDesktop,
    /// .cursor/mcp.json
    Cursor,
    /// .vscode/mcp.json
    Vscode,
    /// Any other: URL and header
    Url,
}

/// Where an agent connects, and as whom.
pub(super) struct Entry<'a> {
    pub(super) server: &'a str,
    /// The gateway's public URL.
    pub(super) base: &'a str,
    /// `None` when it was shown before.
    pub(super) token: Option<&'a str>,
    /// Where the token was written.
    pub(super) token_file: Option<&'a Path>,
}

impl Entry<'_> {
    pub(super) fn url(&self) -> String {
        format!("{}/mcp/{}", self.base, self.server)
    }

    /// The token, if it is to be shown.
    pub(super) fn shown_token(&self) -> Option<&str> {
        self.token.filter(|_| self.token_file.is_none())
    }

    /// A heading and what is to be pasted.
    pub(super) fn text(&self, client: Client) -> String {
        let (server, url) = (self.server, self.url());
        let (heading, entry) = match client {
            Client::ClaudeCode => {
                let token = match self.token_file {
                    Some(path) => format!("$(cat {})", quoted(path)),
                    None => self.shown_token().unwrap_or(UNKNOWN).to_owned(),
                };
                ("Claude Code", format!("claude mcp add --transport http {server} {url} --header \"Authorization: Bearer {token}\""))
            }
            Client::ClaudeDesktop => ("Claude Desktop, in claude_desktop_config.json", pretty(&json!({ "mcpServers": { server: self.process() } }))),
            Client::Cursor => ("Cursor, in .cursor/mcp.json", pretty(&json!({ "mcpServers": { server: self.http(false) } }))),
            Client::Vscode => ("VS Code, in .vscode/mcp.json", pretty(&json!({ "servers": { server: self.http(true) } }))),
            Client::Url => {
                let token = match self.token_file {
                    Some(path) => format!("(the text in {})", path.display()),
                    None => self.shown_token().unwrap_or(UNKNOWN).to_owned(),
                };
                ("Any other client over Streamable HTTP", format!("URL:    {url}\nHeader: Authorization: Bearer {token}"))
            }
        };
        format!("# {heading}\n{entry}\n")
    }

    /// JSON has no place for "read it from a file", so a token file needs the process.
    fn http(&self, typed: bool) -> Value {
        if self.token_file.is_some() {
            return self.process();
        }
        let mut entry = json!({ "url": self.url(), "headers": { "Authorization": format!("Bearer {}", self.shown_token().unwrap_or(UNKNOWN)) } });
        if typed {
            entry["type"] = json!("http");
        }
        entry
    }

    fn process(&self) -> Value {
        // Such clients have another PATH than a shell.
        let program = std::env::current_exe().map_or_else(|_| "paraph".to_owned(), |path| path.display().to_string());
        let mut arguments = vec!["connect".to_owned(), self.server.to_owned(), "--url".to_owned(), self.base.to_owned()];
        let file = self.token_file.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string());
        arguments.extend(["--token-file".to_owned(), file.unwrap_or_else(|| "FILE-WITH-THE-TOKEN".to_owned())]);
        json!({ "command": program, "args": arguments })
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// For a shell, within double quotes of ours.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = path.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '/' | '.' | '_' | '-'));
    if plain { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(token: Option<&'a str>, token_file: Option<&'a Path>) -> Entry<'a> {
        Entry { server: "dm", base: "http://127.0.0.1:8420", token, token_file }
    }

    #[test]
    fn with_a_token_file_no_entry_holds_the_token() {
        let every = [Client::ClaudeCode, Client::ClaudeDesktop, Client::Cursor, Client::Vscode, Client::Url];
        for client in every {
            assert!(!entry(Some("pa_x"), Some(Path::new("t/a b.token"))).text(client).contains("pa_x"), "{client:?}");
            let text = entry(Some("pa_x"), None).text(client);
            assert_eq!(text.contains("pa_x"), client != Client::ClaudeDesktop, "{text}");
        }
        assert!(entry(None, None).text(Client::Url).ends_with("Bearer TOKEN\n"));
        assert!(entry(None, Some(Path::new("a'b"))).text(Client::ClaudeCode).contains("$(cat 'a'\\''b')"));
    }

    #[test]
    fn json_entries_are_json() {
        for client in [Client::ClaudeDesktop, Client::Cursor, Client::Vscode] {
            let text = entry(Some("pa_x"), None).text(client);
            let (heading, json) = text.split_once('\n').unwrap();
            assert!(heading.starts_with("# ") && serde_json::from_str::<Value>(json).is_ok(), "{text}");
        }
    }
}
