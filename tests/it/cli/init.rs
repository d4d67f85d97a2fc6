//! `paraph init` and `paraph scan`: what is shown, written and printed, before servers of every kind; and the whole way
//! from nothing to a message that a person approved, over stdio and HTTP.

use super::{Gateway, PROGRAM, Ran, is_secret};
use crate::world::{self, Agent, until};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Lists what it is told to; every call is answered.
const SERVER: &str = r#"
import json, sys
tools = json.load(open(sys.argv[1]))
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message: continue
    result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
    if message["method"] == "tools/list":
        at = int(message.get("params", {}).get("cursor", "0"))
        result = {"tools": tools[at:at + 100]}
        if at + 100 < len(tools): result["nextCursor"] = str(at + 100)
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"#;

/// Runs a command on a terminal of its own and types one line at each question.
const TERMINAL: &str = r#"
import os, pty, sys
at = sys.argv.index("--")
answers = sys.argv[1:at]
pid, fd = pty.fork()
if pid == 0: os.execv(sys.argv[at + 1], sys.argv[at + 1:])
out = b""
while True:
    try: read = os.read(fd, 65536)
    except OSError: break
    if not read: break
    out += read
    if answers and out.endswith(b": ") and b"\n" in out: os.write(fd, answers.pop(0).encode() + b"\n")
sys.stdout.buffer.write(out.replace(b"\r\n", b"\n"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

/// A folder without a configuration.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.0.path()).env_remove("PARAPH_URL").env_remove("PARAPH_TOKEN").env_remove("PARAPH_LOG").env_remove("NO_COLOR");
        command.env("DEMO_OUTBOX", self.path("outbox")).env("TERM", "xterm").stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(PROGRAM, arguments).output().unwrap())
    }

    /// `paraph init NAME --yes …`.
    fn init(&self, name: &str, more: &[&str]) -> Ran {
        self.run(&[&["init", name, "--yes"], more].concat())
    }

    /// The same on a terminal, with what a person types.
    fn typed(&self, answers: &[&str], arguments: &[&str]) -> Ran {
        Ran::of(self.command("python3", &[&["-c", TERMINAL], answers, &["--", PROGRAM], arguments].concat()).output().unwrap())
    }

    /// A server that lists these tools, as the words of its command.
    fn server(&self, tools: &Value) -> [String; 3] {
        std::fs::write(self.path("server.py"), SERVER).unwrap();
        std::fs::write(self.path("tools.json"), tools.to_string()).unwrap();
        ["python3".into(), self.path("server.py").display().to_string(), self.path("tools.json").display().to_string()]
    }

    fn config(&self) -> String {
        std::fs::read_to_string(self.path("config.toml")).unwrap()
    }

    /// The configuration passes without a warning.
    fn is_fine(&self) {
        assert_eq!(self.run(&["check"]).line(), "config.toml is fine.", "{}", self.config());
    }

    fn is_untouched(&self) -> bool {
        !self.path("config.toml").exists() && !self.path("data").exists()
    }

    fn serve(&self, env: &[(&str, &str)]) -> Gateway {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let mut child = self.command(PROGRAM, &["serve"]).envs(env.iter().copied()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("listening on ").expect("the promised line").to_owned();
        Gateway { child, url }
    }
}

/// An address that was free just now.
fn address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// The token in a printed entry.
fn token_in(out: &str) -> String {
    let token = out.split("Authorization: Bearer ").nth(1).unwrap().split(['"', '\n']).next().unwrap();
    assert!(is_secret(token, "pa_"), "{out}");
    token.to_owned()
}

const DEMO: [&str; 3] = ["--", PROGRAM, "demo-server"];

fn with_demo<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [more, &DEMO].concat()
}

#[test]
fn what_sends_is_held_what_reads_is_allowed_and_the_rest_denied() {
    let folder = Folder::new();
    let ran = folder.init("dm", &with_demo(&["--reviewer", "Ann@example.org"]));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let config = folder.config();
    assert!(config.contains("[servers.dm]\ncommand = [") && config.contains("reads = [\"read_inbox\", \"list_contacts\"]"), "{config}");
    assert!(config.contains("tools = [\"send_dm\"]\naction = \"require_approval\""), "{config}");
    assert!(config.contains("#   delete_account  dangerous: its name says delete"), "{config}");
    assert!(config.contains("[servers.dm.messages.send_dm]\nto = \"/to\"\ntext = \"/text\"\n"), "{config}");
    assert_eq!(folder.path("config.toml").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(ran.err.contains("4 tools: 1 held, 2 allowed, 1 denied.") && ran.err.ends_with("Next: paraph serve\n"), "{}", ran.err);
    assert!(!ran.err.contains('\u{1b}') && !ran.out.contains('\u{1b}'), "colours only on a terminal");
    // Standard output is what goes into the client, and the link.
    let token = token_in(&ran.out);
    assert!(ran.out.contains("claude mcp add --transport http dm http://127.0.0.1:8420/mcp/dm --header \"Authorization: Bearer "), "{}", ran.out);
    assert!(!ran.err.contains(&token));
    let link = std::fs::read_to_string(folder.path("data/first-sign-in")).unwrap();
    assert!(ran.out.ends_with(&link) && ran.out.contains("first-sign-in, which only you can read"), "{}", ran.out);
    assert!(is_secret(link.trim().strip_prefix("http://127.0.0.1:8420/sign-in/").unwrap(), "pl_"), "{link}");
    assert_eq!(folder.path("data/first-sign-in").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    folder.is_fine();
    let people = folder.run(&["reviewer", "list", "--json"]).json();
    assert_eq!((&people["people"][0]["email"], &people["people"][0]["role"]), (&json!("ann@example.org"), &json!("operator")));
    let agents = folder.run(&["agent", "list", "--json"]).json();
    assert_eq!((&agents["agents"][0]["name"], &agents["agents"][0]["servers"]), (&json!("dm-agent"), &json!(["dm"])));
    // The first link lives for an hour, every other for a quarter.
    assert_eq!(folder.run(&["reviewer", "link", "ann@example.org"]).code, 0);
    let export = folder.run(&["audit", "export"]).out;
    let life = |entry: &Value| {
        let at = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        (at(&entry["data"]["expires_at"]) - at(&entry["at"])).total(jiff::Unit::Minute).unwrap().round()
    };
    let links: Vec<f64> = export
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|entry| entry["kind"] == "link.made")
        .map(|entry| life(&entry))
        .collect();
    assert_eq!(links, [60.0, 15.0], "{export}");
}

#[test]
fn a_configuration_that_is_there_stays_as_it_is_and_gets_one_more_server() {
    let folder = Folder::new();
    let before = "# mine\n[listen]\naddress = '127.0.0.1:8421' # odd   \n\n\n[mail]\ntransport = \"off\"\n[servers.old]\ncommand = [\"x\"]";
    std::fs::write(folder.path("config.toml"), before).unwrap();
    std::fs::set_permissions(folder.path("config.toml"), std::fs::Permissions::from_mode(0o640)).unwrap();
    let ran = folder.init("dm", &with_demo(&[]));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let now = folder.config();
    assert!(now.starts_with(before) && now[before.len()..].starts_with("\n\n# Written by"), "{now}");
    assert_eq!(folder.path("config.toml").metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert!(ran.out.contains("@localhost; works once, for 1 hour"), "{}", ran.out);
    assert!(ran.out.contains("http://127.0.0.1:8421/mcp/dm"), "{}", ran.out);
    // Twice: the name is taken; under another name the agent gets a name of its own and the people stay.
    for (name, why) in [("dm", "has a server called dm already"), ("DM", "has a server called dm already"), ("old", "has a server called old")] {
        let again = folder.init(name, &with_demo(&[]));
        assert!(again.code == 2 && again.err.contains(why) && again.out.is_empty(), "{}", again.err);
    }
    assert_eq!(folder.config(), now);
    assert_eq!(folder.run(&["reviewer", "add", "olga@example.org", "--role", "operator"]).code, 0);
    assert_eq!(folder.run(&["agent", "add", "two-agent"]).code, 0);
    let second = folder.init("two", &with_demo(&["--reviewer", "ben@example.org"]));
    assert_eq!(second.code, 0, "{}", second.err);
    assert!(second.out.contains("Sign in as ben@example.org; works once, for 15 minutes\nhttp://127.0.0.1:8421/sign-in/pl_"), "{}", second.out);
    assert!(folder.run(&["agent", "list"]).out.contains("two-agent-2"));
    let people = folder.run(&["reviewer", "list", "--json"]).json();
    let ben = people["people"].as_array().unwrap().iter().find(|person| person["email"] == "ben@example.org").unwrap();
    assert_eq!(ben["role"], "reviewer", "only the first is an operator");
    let known = folder.init("three", &with_demo(&["--agent", "two-agent"]));
    assert!(known.code == 0 && known.err.contains("two-agent is there already") && known.out.contains("Bearer TOKEN"), "{}\n{}", known.err, known.out);
    let stranger = folder.init("four", &with_demo(&["--agent", "dm-agent"]));
    assert!(stranger.code == 2 && stranger.err.contains("may not use four"), "{}", stranger.err);
    assert!(!folder.config().contains("four"));
    folder.is_fine();
}

#[test]
fn nothing_is_appended_where_it_would_not_be_read() {
    for (before, why) in [
        ("[listen]\naddress = 7\n[servers.x]\ncommand = [\"x\"]\n", "config.toml:2: listen.address"),
        ("servers = { x = { command = [\"x\"] } }\n", "cannot be appended to config.toml"),
        ("[servers.x\n", "config.toml:1"),
    ] {
        let folder = Folder::new();
        std::fs::write(folder.path("config.toml"), before).unwrap();
        let ran = folder.init("dm", &with_demo(&[]));
        assert!(ran.code == 2 && ran.err.contains(why), "{before}: {}", ran.err);
        assert_eq!(folder.config(), before);
    }
    // A file without any server is where most people stand who read the README before.
    let folder = Folder::new();
    std::fs::write(folder.path("config.toml"), "[store]\npath = \"elsewhere\"\n").unwrap();
    assert_eq!(folder.init("dm", &with_demo(&["--reviewer", "ann@example.org"])).code, 0);
    assert!(folder.path("elsewhere/first-sign-in").exists());
    folder.is_fine();
}

#[test]
fn without_an_address_the_first_person_is_called_like_the_user_of_this_machine() {
    let folder = Folder::new();
    let ran = folder.init("dm", &DEMO);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("@localhost; works once") && ran.out.contains("/sign-in/pl_"), "{}", ran.out);
    let people = folder.run(&["reviewer", "list", "--json"]).json();
    assert_eq!(people["people"][0]["role"], "operator");
    // Somebody decides already: nobody is made beside them.
    assert_eq!(folder.init("two", &DEMO).code, 0);
    assert_eq!(folder.run(&["reviewer", "list", "--json"]).json()["people"].as_array().unwrap().len(), 1);
}

#[test]
fn on_a_terminal_a_person_sees_it_and_says_yes() {
    let folder = Folder::new();
    let arguments = with_demo(&["init", "dm"]);
    let no = folder.typed(&["no"], &arguments);
    assert!(no.code == 1 && no.out.contains("nothing was written") && folder.is_untouched(), "{}", no.out);
    let yes = folder.typed(&["yes", "ann", "ann@example.org"], &arguments);
    assert_eq!(yes.code, 0, "{}\n{}", yes.out, yes.err);
    for shown in ["\u{1b}[33mheld", "[[servers.dm.rules]]", "Write this to config.toml? Type yes: ", "Your mail address", "a person is named by a mail address"]
    {
        assert!(yes.out.contains(shown), "{shown:?} in {}", yes.out);
    }
    // The first operator's link goes to a terminal.
    assert!(yes.out.contains("Sign in as ann@example.org; works once, for 1 hour\nhttp://127.0.0.1:8420/sign-in/pl_"), "{}", yes.out);
    assert!(!folder.path("data/first-sign-in").exists());
    folder.is_fine();
    // Without a terminal nobody is asked, and nothing is taken for a yes.
    let silent = folder.run(&with_demo(&["init", "two"]));
    assert!(silent.code == 2 && silent.err.contains("--yes") && silent.out.is_empty(), "{}", silent.err);
}

#[test]
fn a_server_that_does_not_answer_is_told_in_words_and_leaves_nothing() {
    let folder = Folder::new();
    let script = |text: &str| ["--start-timeout", "1s", "--", "sh", "-c", text].map(str::to_owned).to_vec();
    let nobody = format!("http://{}/mcp", address());
    for (more, why) in [
        (script("echo the password is missing >&2; exit 3"), "| the password is missing"),
        (script("sleep 60"), "did not answer initialize within 1 s"),
        (script("while echo garbage; do sleep 0.01; done"), "did not answer initialize within 1 s"),
        (vec!["--".into(), "no-such-program-anywhere".into()], "could not be started"),
        (vec!["--url".into(), nobody], "cannot be reached"),
    ] {
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let ran = folder.init("dm", &more);
        assert!(ran.code == 1 && ran.err.contains(why) && ran.out.is_empty(), "{more:?}: {}", ran.err);
        assert!(folder.is_untouched());
    }
    let none = folder.server(&json!([]));
    let ran = folder.init("dm", &["--", &none[0], &none[1], &none[2]]);
    assert!(ran.code == 1 && ran.err.contains("lists no tools") && folder.is_untouched(), "{}", ran.err);
    let long = ["--start-timeout", "1s"];
    assert!(folder.init("dm", &[&long[..], &["--", "sleep", "60"]].concat()).err.contains("--start-timeout 2m"));
}

#[test]
fn wrong_use_starts_nothing() {
    let folder = Folder::new();
    std::fs::write(folder.path("token"), "mine").unwrap();
    let wrong: [(&[&str], &str); 15] = [
        (&["init", "a b", "--yes", "--", "x"], "is not a server's name"),
        (&["init", "dm", "--yes"], "which server?"),
        (&["init", "dm", "--yes", "--url", "ftp://x"], "url is not an http or https URL"),
        (&["init", "dm", "--yes", "--url", "http://x", "--", "y"], "cannot be used with"),
        (&["init", "dm", "--yes", "--env", "PARAPH_TEST_NOT_SET", "--", "x"], "\"PARAPH_TEST_NOT_SET\" is not set"),
        (&["init", "dm", "--yes", "--env", "API_KEY=hush", "--", "x"], "sounds like a secret"),
        (&["init", "dm", "--yes", "--url", "http://x", "--header", "Authorization: Bearer hush"], "sounds like a secret"),
        (&["init", "dm", "--yes", "--url", "http://x", "--header", "Host=y"], "headers.Host"),
        (&["init", "dm", "--yes", "--token-file", "token", "--", "x"], "is there already"),
        (&["init", "dm", "--yes", "--token-file", "nowhere/token", "--", "x"], "nowhere is no folder"),
        (&["init", "dm", "--yes", "--config", "nowhere/config.toml", "--", "x"], "nowhere is no folder"),
        (&["init", "dm", "--yes", "--", "x", "--api-key", "hush2026"], "(--api-key) looks like a secret"),
        (&["init", "dm", "--yes", "--listen", "127.0.0.1:0", "--", "x"], "port 0"),
        (&["init", "dm", "--yes", "--reviewer", "ann", "--", "x"], "a mail address"),
        (&["scan", "dm"], "there is no such file"),
    ];
    for (arguments, why) in wrong {
        let ran = folder.run(arguments);
        assert!(ran.code == 2 && ran.err.contains(why) && ran.out.is_empty(), "{arguments:?}: {}", ran.err);
    }
    assert!(folder.is_untouched() && std::fs::read_to_string(folder.path("token")).unwrap() == "mine");
}

#[test]
fn names_that_want_to_be_something_else_are_denied_and_shown_as_they_are() {
    let folder = Folder::new();
    let tool = |name: &str| json!({"name": name, "description": "\u{1b}[2J", "inputSchema": {"type": "object", "properties": {}}});
    let hostile =
        ["read_x\"]\naction = \"allow\"\n#", "read_\u{1b}[2J", "read_\u{202e}smd", "r\u{435}ad_dms", "read_*", "*", "read_a", "read_a", "", "read_'''"];
    let tools: Vec<Value> = hostile.iter().map(|name| tool(name)).chain([tool("read_dms"), json!({"name": 7}), json!("read_b")]).collect();
    let words = folder.server(&json!(tools));
    let ran = folder.init("dm", &["--", &words[0], &words[1], &words[2]]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let config = folder.config();
    assert!(config.contains("reads = [\"read_dms\"]") && config.contains("tools = [\"read_dms\"]"), "{config}");
    assert_eq!(config.matches("action = ").count(), 2, "one rule, and one that stands in a comment: {config}");
    assert!(config.contains("#   read_x\"][U+000A]action"), "{config}");
    for text in [&config, &ran.err, &ran.out] {
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
    folder.is_fine();
    // The same from a scan, which writes nothing.
    let scan = folder.run(&["scan", "dm", "--json"]).json();
    assert_eq!(scan["tools"].as_array().unwrap().iter().filter(|tool| tool["verdict"] == "allowed").count(), 1);
}

#[test]
fn a_thousand_tools_become_one_server() {
    let folder = Folder::new();
    let tools: Vec<Value> = (0..1000).map(|number| json!({"name": format!("{}_{number}", ["get", "send", "tidy", "delete"][number % 4])})).collect();
    let words = folder.server(&json!(tools));
    let ran = folder.init("many", &["--reviewer", "ann@example.org", "--", &words[0], &words[1], &words[2]]);
    assert!(ran.code == 0 && ran.err.contains("1000 tools: 250 held, 250 allowed, 500 denied."), "{}", ran.err.lines().last().unwrap_or_default());
    folder.is_fine();
    let tools: Vec<Value> = (0..2001).map(|number| json!({"name": format!("get_{number}")})).collect();
    folder.server(&json!(tools));
    let ran = folder.init("more", &["--", &words[0], &words[1], &words[2]]);
    assert!(ran.code == 1 && ran.err.contains("more than 2000"), "{}", ran.err);
}

#[test]
fn a_scan_prints_a_policy_that_can_be_used_as_it_is() {
    let folder = Folder::new();
    let ran = folder.run(&with_demo(&["scan", "dm"]));
    assert!(ran.code == 0 && ran.err.contains("send_dm") && folder.is_untouched(), "{}", ran.err);
    std::fs::write(folder.path("config.toml"), &ran.out).unwrap();
    folder.is_fine();
    assert_eq!(folder.run(&["scan", "dm"]).out.lines().filter(|line| line.starts_with("[[servers.dm.rules]]")).count(), 2);
    let unknown = folder.run(&["scan", "elsewhere"]);
    assert!(unknown.code == 2 && unknown.err.contains("it has dm"), "{}", unknown.err);
    let view = folder.run(&["scan", "dm", "--json"]).json();
    assert_eq!(
        view["tools"][0],
        json!({"name": "send_dm", "risk": "sends", "verdict": "held", "why": "takes a recipient and a text", "message": {"to": "/to", "text": "/text"}})
    );
}

#[test]
fn with_a_token_file_the_token_is_printed_nowhere() {
    let folder = Folder::new();
    let every =
        ["--token-file", "agent token", "--client", "claude-code", "--client", "claude-desktop", "--client", "cursor", "--client", "vscode", "--client", "url"];
    let ran = folder.init("dm", &with_demo(&every));
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!ran.out.contains("pa_") && !ran.err.contains("pa_") && ran.out.contains("$(cat 'agent token')"), "{}", ran.out);
    let token = std::fs::read_to_string(folder.path("agent token")).unwrap();
    assert!(is_secret(token.trim_end(), "pa_"));
    assert_eq!(folder.path("agent token").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let agents = folder.run(&["agent", "list", "--json"]).json();
    assert_eq!(agents["agents"][0]["keep_open_ms"], 180_000, "Claude Desktop gives up after four minutes");
}

/// A person who signs in with a link and decides with the page's own forms.
struct Person {
    http: reqwest::Client,
    url: String,
    cookie: String,
}

impl Person {
    async fn sign_in(link: &str) -> Person {
        let http = world::http();
        let url = link.split("/sign-in/").next().unwrap().to_owned();
        let answer = http.post(link).header("origin", &url).send().await.unwrap();
        assert_eq!(answer.status(), 303, "{link}");
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        Person { http, url, cookie }
    }

    async fn page(&self, path: &str) -> String {
        self.http.get(format!("{}{path}", self.url)).header("cookie", &self.cookie).send().await.unwrap().text().await.unwrap()
    }

    /// Approves the one call that waits.
    async fn approve(&self) {
        let path = until("a held call on the page", || async {
            let page = self.page("/").await;
            let at = page.find("/calls/c_")?;
            Some(page[at..].split(['"', '?', '#']).next().unwrap().to_owned())
        })
        .await;
        let page = self.page(&path).await;
        let hidden = |name: &str| {
            page.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{name} in {page}")).1.split('"').next().unwrap().to_owned()
        };
        let fields = ["csrf", "digest", "version"]
            .map(|name| format!("{name}={}", hidden(name).replace(':', "%3A").replace('+', "%2B").replace('=', "%3D").replace('/', "%2F")));
        let asked = self.http.post(format!("{}{path}/decision", self.url)).header("cookie", &self.cookie).header("origin", &self.url);
        let answer = asked
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("{}&verdict=approve&reason=", fields.join("&")))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 303);
    }
}

fn link_in(folder: &Folder) -> String {
    std::fs::read_to_string(folder.path("data/first-sign-in")).unwrap().trim().to_owned()
}

/// The agent sends with what was printed, the person decides with what was written.
async fn first_held_call(url: &str, token: &str, link: &str, outbox: &Path) {
    let agent = Agent::connect(url, token).await;
    let waiting = agent.begin("send_dm", json!({"to": "@bob", "text": "the first one"}));
    let ann = Person::sign_in(link).await;
    ann.approve().await;
    let answer = waiting.await.unwrap().unwrap();
    assert_eq!(answer["result"]["content"][0]["text"], "Sent to @bob.", "{answer}");
    assert_eq!(std::fs::read_to_string(outbox).unwrap().matches("the first one").count(), 1);
    let denied = agent.request("tools/call", json!({"name": "delete_account", "arguments": {}})).await.unwrap();
    assert_eq!(denied["result"]["_meta"]["paraph/call"]["state"], "denied", "{denied}");
    let read = agent.request("tools/call", json!({"name": "read_inbox", "arguments": {}})).await.unwrap();
    assert_eq!(read["result"]["isError"], false, "{read}");
}

#[tokio::test]
async fn from_nothing_to_the_first_approved_message_over_stdio() {
    let folder = Folder::new();
    let at = address();
    let ran = folder.init("dm", &with_demo(&["--listen", &at, "--reviewer", "ann@example.org"]));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let gateway = folder.serve(&[]);
    assert_eq!(gateway.url, format!("http://{at}"));
    first_held_call(&format!("http://{at}/mcp/dm"), &token_in(&ran.out), &link_in(&folder), &folder.path("outbox")).await;
    gateway.stop();
}

#[tokio::test]
async fn from_nothing_to_the_first_approved_message_over_http_and_with_a_gateway_running() {
    // The server behind HTTP, with a credential of its own, is another gateway that lets everything through.
    let (behind, at) = (Folder::new(), address());
    let config = format!("[listen]\naddress = {at:?}\n[servers.open]\ncommand = [{PROGRAM:?}, \"demo-server\"]\ndefault = \"allow\"\n");
    std::fs::write(behind.path("config.toml"), config).unwrap();
    let upstream = behind.serve(&[]);
    let key = behind.run(&["agent", "add", "front"]).line().to_owned();
    let url = format!("{}/mcp/open", upstream.url);

    let folder = Folder::new();
    let locked = folder.init("far", &["--url", &url]);
    assert!(locked.code == 1 && locked.err.contains("HTTP 401") && locked.err.contains("--header 'Authorization={env:VARIABLE}'"), "{}", locked.err);
    assert!(folder.is_untouched());

    // A gateway runs already, before another server.
    let at = address();
    assert_eq!(folder.init("near", &with_demo(&["--listen", &at, "--reviewer", "ann@example.org"])).code, 0);
    let bearer = format!("Bearer {key}");
    let gateway = folder.serve(&[("FAR_AUTH", &bearer)]);
    let arguments = ["init", "far", "--yes", "--json", "--url", &url, "--header", "Authorization={env:FAR_AUTH}"];
    let ran = Ran::of(folder.command(PROGRAM, &arguments).env("FAR_AUTH", &bearer).output().unwrap());
    let view = ran.json();
    assert!(!folder.config().contains(&key) && folder.config().contains("headers = { Authorization = { env = \"FAR_AUTH\" } }"));
    assert_eq!((&view["gateway_runs"], &view["reviewer"]), (&json!(true), &Value::Null), "{view}");
    assert!(!ran.err.contains("Next: paraph serve") && !ran.err.contains("has not asked"), "{}", ran.err);
    first_held_call(view["url"].as_str().unwrap(), view["agent"]["token"].as_str().unwrap(), &link_in(&folder), &behind.path("outbox")).await;
    gateway.stop();
    upstream.stop();
}

#[test]
fn what_changed_under_the_question_is_not_overwritten() {
    let folder = Folder::new();
    // The server itself writes the file while it is asked for its tools.
    let meddler = format!("echo '# meddled' > {}; exec {PROGRAM} demo-server", folder.path("config.toml").display());
    let ran = folder.init("dm", &["--", "sh", "-c", &meddler]);
    assert!(ran.code == 1 && ran.err.contains("was changed meanwhile"), "{}", ran.err);
    assert_eq!(folder.config(), "# meddled\n");
    assert!(!folder.path("data").exists());
}

#[test]
fn of_several_at_once_none_loses_the_server_of_another() {
    let folder = Folder::new();
    let names = ["a", "b", "c", "d"];
    let begun = names.map(|name| {
        let mut command = folder.command(PROGRAM, &with_demo(&["init", name, "--yes", "--reviewer", "ann@example.org"]));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    let ended = begun.map(|child| Ran::of(child.wait_with_output().unwrap()));
    let config = folder.config();
    for (name, ran) in names.iter().zip(&ended) {
        let told = ran.err.contains(&format!("[servers.{name}] is written."));
        let stands = config.contains(&format!("[servers.{name}]\n"));
        assert_eq!(told, stands, "{name}: {}\n{config}", ran.err);
        assert!(stands || ran.code != 0, "{name}: {}", ran.err);
    }
    assert!(ended.iter().any(|ran| ran.code == 0), "{}", ended[0].err);
    // Whoever was not first says it again.
    for name in names {
        let again = folder.init(name, &with_demo(&["--reviewer", "ann@example.org"]));
        assert!(matches!(again.code, 0 | 2), "{}", again.err);
        assert!(folder.config().contains(&format!("[servers.{name}]\n")));
    }
    assert_eq!(folder.run(&["agent", "list", "--json"]).json()["agents"].as_array().unwrap().len(), names.len());
    folder.is_fine();
}

#[test]
fn what_was_stopped_half_way_is_finished_by_the_same_command() {
    let folder = Folder::new();
    let at = address();
    let arguments = with_demo(&["--listen", &at, "--reviewer", "ann@example.org", "--token-file", "token"]);
    assert_eq!(folder.init("dm", &arguments).code, 0);
    let config = folder.config();
    // As if it had been killed behind the file.
    std::fs::remove_dir_all(folder.path("data")).unwrap();
    std::fs::remove_file(folder.path("token")).unwrap();
    let again = folder.init("dm", &arguments);
    assert!(again.code == 0 && again.err.contains("[servers.dm] stands in config.toml already"), "{}", again.err);
    assert!(again.out.contains("/sign-in/pl_") && is_secret(std::fs::read_to_string(folder.path("token")).unwrap().trim_end(), "pa_"), "{}", again.out);
    assert_eq!(folder.config(), config, "the file stays as it is");
    let third = folder.init("dm", &arguments);
    for way in ["paraph agent add NAME --server dm", "paraph agent rotate dm-agent", "paraph reviewer link EMAIL"] {
        assert!(third.code == 2 && third.err.contains(way), "{}", third.err);
    }
    // The person alone was missing.
    let ben = folder.init("dm", &with_demo(&["--reviewer", "ben@example.org"]));
    assert!(ben.code == 0 && ben.err.contains("paraph agent rotate dm-agent") && ben.out.contains("Sign in as ben@example.org"), "{}\n{}", ben.err, ben.out);
    let other = folder.init("dm", &["--", "another-program"]);
    assert!(other.code == 2 && other.err.contains("paraph agent add dm-agent --server dm"), "{}", other.err);
    assert_eq!(folder.config(), config);
}

#[test]
fn a_running_gateway_that_refuses_the_configuration_is_told_of() {
    let folder = Folder::new();
    let at = address();
    assert_eq!(folder.init("near", &with_demo(&["--listen", &at, "--reviewer", "ann@example.org"])).code, 0);
    let gateway = folder.serve(&[]);
    let arguments = with_demo(&["init", "two", "--yes", "--env", "PARAPH_TEST_ONLY_HERE"]);
    let ran = Ran::of(folder.command(PROGRAM, &arguments).env("PARAPH_TEST_ONLY_HERE", "1").output().unwrap());
    assert_eq!(ran.code, 1, "{}", ran.err);
    for part in ["[servers.two] is written", "The running gateway refused the configuration", "servers.two.env", "set it there and restart the gateway"] {
        assert!(ran.err.contains(part), "{part:?} in {}", ran.err);
    }
    assert!(is_secret(&token_in(&ran.out), "pa_"), "the agent was made all the same");
    gateway.stop();
}

#[test]
fn a_link_that_leads_nowhere_is_not_replaced() {
    let folder = Folder::new();
    std::os::unix::fs::symlink("elsewhere.toml", folder.path("config.toml")).unwrap();
    let ran = folder.init("dm", &DEMO);
    assert!(ran.code == 2 && ran.err.contains("is a link to a file that is not there"), "{}", ran.err);
    assert!(folder.path("config.toml").is_symlink() && !folder.path("elsewhere.toml").exists());
}

#[test]
fn files_of_the_command_are_found_from_where_it_was_typed() {
    let folder = Folder::new();
    folder.server(&json!([{"name": "read_x"}]));
    std::fs::create_dir(folder.path("etc")).unwrap();
    let ran = folder.init("dm", &["--config", "etc/config.toml", "--", "python3", "server.py", "tools.json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let config = std::fs::read_to_string(folder.path("etc/config.toml")).unwrap();
    let here = folder.0.path().canonicalize().unwrap();
    assert!(config.contains(&format!("cwd = {:?}\n", here.display().to_string())), "{config}");
    // With the configuration beside it the command means the same as typed.
    assert_eq!(folder.init("dm", &["--", "python3", "server.py", "tools.json"]).code, 0);
    assert!(!folder.config().contains("cwd"));
}

#[test]
fn what_a_server_says_when_it_lists_nothing_is_repeated_visibly() {
    let folder = Folder::new();
    let refusing = SERVER.replace("print(json.dumps({\"jsonrpc\": \"2.0\", \"id\": message[\"id\"], \"result\": result}), flush=True)", "answer = {\"error\": {\"code\": -32000, \"message\": \"not signed in\\x1b[2J\"}} if message[\"method\"] == \"tools/list\" else {\"result\": result}\n    print(json.dumps({\"jsonrpc\": \"2.0\", \"id\": message[\"id\"], **answer}), flush=True)");
    assert_ne!(refusing, SERVER);
    let words = folder.server(&json!([]));
    std::fs::write(folder.path("server.py"), refusing).unwrap();
    let ran = folder.init("dm", &["--", &words[0], &words[1], &words[2]]);
    assert!(ran.code == 1 && ran.err.contains("It answered with an error: not signed in[U+001B][2J") && folder.is_untouched(), "{}", ran.err);
}
