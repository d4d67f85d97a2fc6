//! `[servers.NAME]`: how a server is reached, what may pass, its rules, and where its messages are.
//! Called by `Config::parse`.

use super::address;
use super::read::{Node, Section};
use super::secret::Secret;
use super::sections::{LONGEST, SHORTEST, folder};
use super::source::Source;
use super::{Server, Transport, rules};
use crate::domain::message::MessagePointers;
use crate::domain::policy::LimitView;
use globset::Glob;
use http::HeaderName;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// Headers that belong to the protocol: an operator's value would break or fake a request.
const OURS: [&str; 11] = [
    "accept",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "transfer-encoding",
    "upgrade",
];
const SERVERS: &str = "Add a table [servers.NAME] with command = [\"PROGRAM\"] or url = \"https://…\".";

/// Whether a server may be called so: 1 to 64 letters, digits, `_` and `-`, because it stands in a URL.
pub fn is_server_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

pub(super) fn servers(file: &mut Section<'_>, source: &mut Source<'_>) -> BTreeMap<String, Server> {
    let mut servers = BTreeMap::new();
    let entries = match file.take(source, "servers") {
        Some(node) => match node.section(source, SERVERS) {
            Some(section) => section.all(source),
            None => return servers,
        },
        None => Vec::new(),
    };
    if entries.is_empty() {
        source.mistake("servers", "there is no server, so there would be nothing to guard", SERVERS);
    }
    let mut seen = HashSet::new();
    for (name, node) in entries {
        if !is_server_name(name) {
            node.mistake(source, "is not a server's name", "Use 1 to 64 letters, digits, _ and -; it stands in the URL /mcp/NAME.");
        } else if !seen.insert(name.to_ascii_lowercase()) {
            node.mistake(source, "another server's name differs only in case", "Give it a name that cannot be mixed up.");
        }
        if let Some(server) = server(name, &node, source) {
            servers.insert(name.to_owned(), server);
        }
    }
    global_counters(&servers, source);
    servers
}

/// A global counter counts for every server, so all limits on it must agree; those of one server are compared when
/// its policy is built.
fn global_counters(servers: &BTreeMap<String, Server>, source: &mut Source<'_>) {
    let mut seen: HashMap<String, (&str, LimitView)> = HashMap::new();
    for (name, server) in servers {
        for limit in server.policy.limits().into_iter().filter(|limit| limit.scope == "global") {
            match seen.get(&limit.counter) {
                Some((other, first)) if (first.window, first.max) != (limit.window, limit.max) => {
                    let problem = format!(
                        "limit {:?} of server {other} counts with the same global counter {:?} and has another window or max",
                        first.name, limit.counter
                    );
                    source.mistake(&format!("servers.{name}.{}.counter", limit.at), problem, "Give it a name of its own, or the same window and max.");
                }
                Some(_) => {}
                None => drop(seen.insert(limit.counter.clone(), (name, limit))),
            }
        }
    }
}

fn server(name: &str, node: &Node<'_>, source: &mut Source<'_>) -> Option<Server> {
    let mut section = node.section(source, SERVERS)?;
    let transport = transport(&mut section, source);
    let methods = section.take(source, "methods").and_then(|node| methods(&node, source)).unwrap_or_default();
    let mut time = |name, default| {
        let node = section.take(source, name);
        node.and_then(|node| node.time(source, SHORTEST, LONGEST)).unwrap_or(Duration::from_secs(default))
    };
    let (timeout, start_timeout) = (time("timeout", 120), time("start_timeout", 30));
    if let Some(node) = section.take(source, "instances") {
        node.choice(source, "a way to run instances", &[("per_agent", ())], &["shared"]);
    }
    let policy = rules::policy(name, &mut section, source);
    let messages = section.take(source, "messages").map(|node| messages(&node, source)).unwrap_or_default();
    section.finish(source);
    Some(Server { transport: transport?, methods, timeout, start_timeout, policy, messages })
}

fn transport(section: &mut Section<'_>, source: &mut Source<'_>) -> Option<Transport> {
    const ONE: &str = "Write either command = [\"PROGRAM\", \"ARGUMENT\"] or url = \"https://…\".";
    let key = section.key.clone();
    let (command, url) = (section.take(source, "command"), section.take(source, "url"));
    let (env, cwd, env_clear) = (section.take(source, "env"), section.take(source, "cwd"), section.take(source, "env_clear"));
    let headers = section.take(source, "headers");
    match (&command, &url) {
        (Some(_), Some(url)) => url.mistake(source, "stands beside command; a server is reached in one way", ONE),
        (None, None) => source.mistake(&key, "has neither command nor url", ONE),
        (Some(_), None) => meaningless(headers.as_ref(), "url", source),
        (None, Some(_)) => [&env, &cwd, &env_clear].into_iter().for_each(|node| meaningless(node.as_ref(), "command", source)),
    }
    // Everything is read before anything is given up, so that all mistakes show.
    let command = command.map(|node| command_line(&node, source));
    let url = url.map(|node| endpoint(&node, source));
    let env = env.map(|node| variables(&node, source)).unwrap_or_default();
    let cwd = cwd.and_then(|node| folder(&node, source));
    let env_clear = env_clear.and_then(|node| node.flag(source)).unwrap_or(false);
    let headers = headers.map(|node| header_lines(&node, source)).unwrap_or_default();
    match (command, url) {
        (Some(command), _) => Some(Transport::Process { command: command?, env, cwd, env_clear }),
        (None, Some(url)) => Some(Transport::Http { url: url?, headers }),
        (None, None) => None,
    }
}

fn meaningless(node: Option<&Node<'_>>, needed: &str, source: &mut Source<'_>) {
    if let Some(node) = node {
        node.mistake(source, format!("means nothing for a server without {needed}"), "Leave it out.");
    }
}

fn command_line(node: &Node<'_>, source: &mut Source<'_>) -> Option<Vec<String>> {
    const MEND: &str = "Write the program and each argument as a text of its own: command = [\"PROGRAM\", \"ARGUMENT\"].";
    let words = node.texts(source, MEND)?;
    if words.first().is_some_and(|program| !program.is_empty()) && !words.iter().any(|word| word.contains('\0')) {
        return Some(words);
    }
    node.mistake(source, "names no program", MEND);
    None
}

fn endpoint(node: &Node<'_>, source: &mut Source<'_>) -> Option<String> {
    const MEND: &str = "Write the server's MCP endpoint, such as \"https://mcp.example.org/mcp\"; credentials belong into headers.";
    address::endpoint(node.text(source, MEND)?).map_err(|problem| node.mistake(source, problem, MEND)).ok()
}

fn variables(node: &Node<'_>, source: &mut Source<'_>) -> BTreeMap<String, Secret> {
    let mut variables = BTreeMap::new();
    for (name, node) in node.section(source, "Write env = { NAME = \"value\" }.").map(|section| section.all(source)).unwrap_or_default() {
        if name.is_empty() || name.contains(['=', '\0']) {
            node.mistake(source, "is not the name of an environment variable", "Use letters, digits and _.");
        }
        let Some(value) = source.secret(&node) else { continue };
        if value.expose().contains('\0') {
            node.mistake(source, "has a zero byte, which no environment can hold", "Take it out.");
        }
        variables.insert(name.to_owned(), value);
    }
    variables
}

fn header_lines(node: &Node<'_>, source: &mut Source<'_>) -> BTreeMap<String, Secret> {
    let mut headers = BTreeMap::new();
    for (name, node) in node.section(source, "Write headers = { Authorization = { env = \"NAME\" } }.").map(|section| section.all(source)).unwrap_or_default() {
        let lower = name.to_ascii_lowercase();
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            node.mistake(source, "is not the name of a header", "Use letters, digits and -.");
        } else if OURS.contains(&lower.as_str()) {
            node.mistake(source, "is a header that the gateway sets itself", "Leave it out.");
        } else if headers.keys().any(|other: &String| other.eq_ignore_ascii_case(name)) {
            node.mistake(source, "this header stands here twice, in another case", "Keep one of them.");
        }
        let Some(value) = source.secret(&node) else { continue };
        if !value.expose().bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            node.mistake(source, "has characters that no header can carry", "Use one line of printable ASCII.");
        }
        if lower == "authorization" && !node.is_table() {
            source.warn(&node.key, "this credential stands in the file itself", "Write { env = \"NAME\" } or { file = \"PATH\" } instead.");
        }
        headers.insert(name.to_owned(), value);
    }
    headers
}

fn methods(node: &Node<'_>, source: &mut Source<'_>) -> Option<Vec<String>> {
    const MEND: &str = "Write a list of method names or patterns, such as [\"vendor/*\"].";
    let mut methods = Vec::new();
    for item in node.list(source, MEND)? {
        let text = item.text(source, MEND)?;
        // The bound keeps globset's matcher, which panics on a pattern too large for it, out of reach.
        if text.is_empty() || text.len() > 200 || Glob::new(text).is_err() {
            item.mistake(source, "is not a pattern", MEND);
        }
        methods.push(text.to_owned());
    }
    Some(methods)
}

fn messages(node: &Node<'_>, source: &mut Source<'_>) -> BTreeMap<String, MessagePointers> {
    const MEND: &str = "Write [servers.NAME.messages.TOOL] with to = \"/to\" and text = \"/text\".";
    let mut messages = BTreeMap::new();
    for (tool, node) in node.section(source, MEND).map(|section| section.all(source)).unwrap_or_default() {
        let Some(mut section) = node.section(source, MEND) else { continue };
        let to = section.need(source, "to", "Write where the recipient is, such as to = \"/to\".").and_then(|node| pointer(&node, source));
        let text = section.need(source, "text", "Write where the text is, such as text = \"/text\".").and_then(|node| pointer(&node, source));
        section.finish(source);
        if let (Some(to), Some(text)) = (to, text) {
            messages.insert(tool.to_owned(), MessagePointers { to, text });
        }
    }
    messages
}

/// A JSON Pointer (RFC 6901) to a member; the empty one would be all arguments.
fn pointer(node: &Node<'_>, source: &mut Source<'_>) -> Option<String> {
    const MEND: &str = "Write a JSON Pointer: \"/to\", \"/message/text\"; ~1 for / and ~0 for ~ within a key.";
    let text = node.text(source, MEND)?;
    let escapes_are_whole = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if text.starts_with('/') && escapes_are_whole {
        return Some(text.to_owned());
    }
    node.mistake(source, "is not a JSON Pointer", MEND);
    None
}
