//! Planted secrets in everything an agent or a person can hand in, a gateway that logs all it can, and then a search
//! through everything that comes out: log, mails, audit, pages, API, terminal, error pages. Backups and the data folder
//! hold the real values and are left out (semantics.md 18).

use crate::world::{Agent, Desk, Gateway, World, http, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// Repeats what it was given, in its answers and on its standard error.
pub(super) const PARROT: &str = r#"
[servers.parrot]
command = ["python3", "-c", """
import json, sys
object = {"type": "object"}
strict = {"type": "object", "properties": {"to": {"type": "string"}, "text": {"type": "string"}, "api_key": {"type": "string", "maxLength": 60}}, "additionalProperties": False}
tools = [{"name": name, "inputSchema": strict if name == "send_strict" else object} for name in ("send_dm", "send_strict", "send_fail", "send_die", "count", "drop_all")]
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    if method == "tools/call":
        said = json.dumps(message["params"]["arguments"])
        print("got " + said, file=sys.stderr, flush=True)
        if message["params"]["name"] == "send_die":
            sys.exit(3)
        if message["params"]["name"] == "send_fail":
            answer = {"error": {"code": -32000, "message": "cannot take " + said, "data": message["params"]["arguments"]}}
        else:
            answer = {"result": {"content": [{"type": "text", "text": "bad request: " + said}], "structuredContent": message["params"]["arguments"], "isError": True}}
        print(json.dumps({"jsonrpc": "2.0", "id": id, **answer}), flush=True)
        continue
    answers = {"initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "parrot", "version": "1"}}, "tools/list": {"tools": tools}}
    if id is not None:
        print(json.dumps({"jsonrpc": "2.0", "id": id, "result": answers.get(method, {})}), flush=True)
"""]
default = "deny"

[[servers.parrot.rules]]
name   = "held"
tools  = ["send_*"]
action = "require_approval"

[[servers.parrot.rules]]
name   = "counted"
tools  = ["count"]
when   = "args.n > 0"
action = "allow"
limits = [{ counter = "counted", window = "minute", max = 1, scope = { arg = "/api_key" } }]

[servers.parrot.messages.send_dm]
to = "/to"
text = "/text"
"#;

/// What was planted, by the way it came in. Put together here, so that no scanner takes this file for a leak.
fn planted() -> BTreeMap<&'static str, String> {
    let long = |seed: &str| seed.repeat(10);
    BTreeMap::from([
        ("by name", "planted-name-77ab01".to_owned()),
        ("by shape", format!("gh{}{}", "p_", long("a1B2"))),
        ("nested", "planted-nested-77ab02".to_owned()),
        ("in a list", "planted-list-77ab03".to_owned()),
        ("a member's name", format!("gl{}{}", "pat-", long("c3D4"))),
        ("a number", "770011223344".to_owned()),
        ("edited in", "planted-edit-77ab04".to_owned()),
        ("edited in wrongly", "planted-misedit-77ab05".to_owned()),
        ("a misfit", format!("planted-misfit-77ab06{}", long("e5F6G7"))),
        ("a misfit's name", format!("xo{}-{}", "xb", long("1234"))),
        ("denied", "planted-denied-77ab07".to_owned()),
        ("counted by", "planted-counted-77ab08".to_owned()),
        ("uncountable", "planted-uncountable-77ab12".to_owned()),
        ("rejected", "planted-rejected-77ab09".to_owned()),
        ("in an error", "planted-error-77ab10".to_owned()),
        ("on standard error", "planted-stderr-77ab13".to_owned()),
        ("as asked", "planted-asked-77ab11".to_owned()),
    ])
}

/// Everything that came out, by where.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(String, String)>>>);

impl Seen {
    fn add(&self, place: impl Into<String>, text: impl Into<String>) {
        self.0.lock().unwrap().push((place.into(), text.into()));
    }

    /// Where these stand, as they are or as JSON or a page would write them.
    fn with(&self, secrets: &BTreeMap<&'static str, String>) -> Vec<String> {
        let seen = self.0.lock().unwrap();
        seen.iter()
            .flat_map(|(place, text)| secrets.iter().filter(|(_, secret)| text.contains(secret.as_str())).map(move |(what, _)| format!("{place}: {what}")))
            .collect()
    }
}

/// A person at pages, API and terminal, whose every answer is kept.
struct Person<'w> {
    world: &'w World,
    gateway: &'w Gateway,
    desk: Desk,
    token: String,
    cookie: String,
    seen: Seen,
}

impl Person<'_> {
    async fn page(&self, path: &str) -> String {
        let answer = http().get(format!("{}{path}", self.gateway.url)).header("cookie", &self.cookie).send().await.unwrap();
        let text = answer.text().await.unwrap();
        self.seen.add(format!("page {path}"), &text);
        text
    }

    async fn form(&self, path: &str, fields: &[(&str, &str)]) -> u16 {
        let body: String = fields.iter().map(|(name, value)| format!("{name}={}&", percent(value))).collect();
        let asked = http().post(format!("{}{path}", self.gateway.url)).header("cookie", &self.cookie).header("origin", &self.gateway.url);
        let answer = asked.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        self.seen.add(format!("form {path}"), answer.text().await.unwrap());
        status
    }

    async fn api(&self, path: &str) -> Value {
        let answer = http().get(format!("{}/api/v1{path}", self.gateway.url)).bearer_auth(&self.token).send().await.unwrap();
        let text = answer.text().await.unwrap();
        self.seen.add(format!("API {path}"), &text);
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    async fn decide(&self, call: &Value, decision: Value) -> u16 {
        let mut body = json!({"verdict": "approve", "digest": call["digest"], "version": call["version"]});
        body.as_object_mut().unwrap().extend(decision.as_object().unwrap().clone());
        let (status, answer) = self.desk.post(&format!("/calls/{}/decision", call["id"].as_str().unwrap()), &body).await;
        self.seen.add(format!("API decision {status}"), answer.to_string());
        status
    }

    async fn terminal(&self, arguments: &[&str]) {
        let token = self.world.path("token").display().to_string();
        let told = self.world.run(&[&["calls"], arguments, &["--url", &self.gateway.url, "--token-file", &token]].concat()).await;
        self.seen.add(format!("terminal {arguments:?}"), format!("{}{}", String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr)));
    }

    /// Everything that can be seen of a call.
    async fn look_at(&self, id: &str) {
        for part in ["", "/row", "/panel"] {
            self.page(&format!("/calls/{id}{part}")).await;
        }
        for part in ["", "/outcome"] {
            self.api(&format!("/calls/{id}{part}")).await;
        }
        self.terminal(&["show", id]).await;
        self.terminal(&["show", id, "--json"]).await;
    }
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The parts of every mail, decoded.
fn mails(world: &World) -> String {
    let script = "import email, email.policy, glob, sys\n\
                  for name in glob.glob(sys.argv[1] + '/*.eml'):\n\
                  \x20 mail = email.message_from_binary_file(open(name, 'rb'), policy=email.policy.default)\n\
                  \x20 print(dict(mail.items()))\n\
                  \x20 for part in mail.walk():\n\
                  \x20   if not part.is_multipart(): print(part.get_content())\n";
    let told = Command::new("python3").args(["-c", script]).arg(world.path("mail")).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    String::from_utf8(told.stdout).unwrap()
}

async fn held(person: &Person<'_>, tool: &str) -> Value {
    let call = until(&format!("{tool} is held"), || async { person.desk.calls("held").await.into_iter().find(|call| call["tool"] == tool) }).await;
    person.api(&format!("/calls/{}", call["id"].as_str().unwrap())).await
}

fn listen(gateway: &Gateway, token: &str, seen: &Seen) -> tokio::task::JoinHandle<()> {
    let (asked, seen) = (http().get(format!("{}/api/v1/events", gateway.url)).bearer_auth(token), seen.clone());
    tokio::spawn(async move {
        let mut events = asked.send().await.unwrap();
        while let Ok(Some(chunk)) = events.chunk().await {
            seen.add("events", String::from_utf8_lossy(&chunk));
        }
    })
}

#[tokio::test]
async fn no_planted_secret_comes_out_anywhere() {
    let secrets = planted();
    // In the message's own text and recipient a secret is shown to those who decide, and nowhere else.
    let told = BTreeMap::from([("the text", format!("sk-{}{}", "proj-", "h7J8".repeat(9))), ("the recipient", format!("gh{}{}", "p_", "k9L0".repeat(9)))]);
    let seen = Seen::default();
    // What may not even hold the message.
    let silent = Seen::default();

    let world = World::new(PARROT);
    let agent_token = world.agent("support-bot").await;
    world.told(&["reviewer", "add", "olga@example.org", "--role", "operator"]).await;
    let token = world.told(&["reviewer", "token", "olga@example.org"]).await;
    std::fs::write(world.path("token"), &token).unwrap();
    let gateway = world.serve_with(&[("PARAPH_LOG", OsStr::new("trace"))]).await;
    let link = world.told(&["reviewer", "link", "olga@example.org"]).await;
    let signed_in = http().post(&link).header("origin", &gateway.url).send().await.unwrap();
    let cookies = signed_in.headers().get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap());
    let cookie = cookies.collect::<Vec<_>>().join("; ");
    assert!(!cookie.is_empty(), "signed in");
    let person = Person { world: &world, gateway: &gateway, desk: gateway.desk(&token), token: token.clone(), cookie, seen: seen.clone() };
    let events = listen(&gateway, &token, &silent);
    let agent = Agent::connect(&gateway.mcp("parrot"), &agent_token).await;

    // Held with everything in it, looked at from all sides, edited wrongly and rightly, answered by a parrot.
    let waiting = agent.begin(
        "send_dm",
        json!({
            "to": told["the recipient"], "text": format!("Your key is {}.", told["the text"]), "api_key": secrets["by name"], "note": format!("see {}", secrets["by shape"]),
            "deep": {"login": {"password": secrets["nested"]}, "cookies": [secrets["in a list"]]}, "map": {(secrets["a member's name"].clone()): {"x": 1}},
            "card": {"pin": secrets["a number"].parse::<u64>().unwrap()}, "client_secret": secrets["as asked"],
        }),
    );
    let call = held(&person, "send_dm").await;
    let id = call["id"].as_str().unwrap();
    assert_eq!(call["masked"].as_array().map(Vec::len), Some(7), "{call}");
    person.look_at(id).await;
    person.page("/").await;
    person.api("/calls").await;
    person.terminal(&["--json"]).await;
    person.terminal(&["approve", id, "--digest", "sha256:00"]).await;
    let page = person.page(&format!("/calls/{id}")).await;
    assert!(page.contains("This looks like a secret.") && page.contains("class=\"masks\"") && page.contains("<mark class=\"secret\">"), "{page}");
    let (_, csrf) = page.split_once("name=\"csrf\" value=\"").unwrap();
    let csrf = csrf.split_once('"').unwrap().0;
    let (digest, version) = (call["digest"].as_str().unwrap(), call["version"].to_string());
    let form = [("csrf", csrf), ("digest", digest), ("version", &version), ("verdict", "reject"), ("reason", "")];
    assert_eq!(person.form(&format!("/calls/{id}/decision"), &form).await, 422);
    let mut edited = call["arguments"].clone();
    edited["note"] = edited["api_key"].clone();
    assert_eq!(person.decide(&call, json!({"arguments": edited})).await, 422);
    edited["note"] = json!({"$masked": secrets["edited in wrongly"]});
    assert_eq!(person.decide(&call, json!({"arguments": edited})).await, 422);
    let mut edited = call["arguments"].clone();
    edited["api_key"] = json!(secrets["edited in"]);
    assert_eq!(person.decide(&call, json!({"arguments": edited})).await, 200);
    assert_eq!(person.decide(&call, json!({})).await, 409);
    let answered = waiting.await.unwrap().unwrap().to_string();
    for what in ["by shape", "nested", "in a list", "a member's name", "a number", "edited in"] {
        assert!(answered.contains(&secrets[what]), "the real value went out and came back to its agent: {what}");
    }
    person.desk.settled(id, &["answered"]).await;
    person.look_at(id).await;

    // Rejected, and an answer that is an error of the protocol.
    let waiting = agent.begin("send_fail", json!({"to": "@bob", "text": "x", "token": secrets["rejected"]}));
    let call = held(&person, "send_fail").await;
    assert_eq!(person.decide(&call, json!({"verdict": "reject", "reason": "not to him"})).await, 200);
    waiting.await.unwrap().unwrap();
    person.look_at(call["id"].as_str().unwrap()).await;
    let waiting = agent.begin("send_fail", json!({"to": "@bob", "text": "y", "secret_key": secrets["in an error"]}));
    let call = held(&person, "send_fail").await;
    assert_eq!(person.decide(&call, json!({})).await, 200);
    waiting.await.unwrap().unwrap();
    person.desk.settled(call["id"].as_str().unwrap(), &["answered"]).await;
    person.look_at(call["id"].as_str().unwrap()).await;

    // The server's last words are shown to people, too.
    let waiting = agent.begin("send_die", json!({"to": "@bob", "text": "z", "access_token": secrets["on standard error"]}));
    let call = held(&person, "send_die").await;
    assert_eq!(person.decide(&call, json!({})).await, 200);
    waiting.await.unwrap().unwrap();
    person.desk.settled(call["id"].as_str().unwrap(), &["unconfirmed"]).await;
    person.look_at(call["id"].as_str().unwrap()).await;
    until("the page of servers has its last words", || async { person.page("/servers").await.contains("got {").then_some(()) }).await;

    // What no person is asked about: misfits, refusals, limits, a rule that cannot be judged.
    for (tool, arguments) in [
        ("send_strict", json!({"to": "@bob", "text": "x", "api_key": secrets["a misfit"]})),
        ("send_strict", json!({"to": "@bob", "text": "x", (secrets["a misfit's name"].clone()): 1})),
        ("drop_all", json!({"api_key": secrets["denied"]})),
        ("count", json!({"n": 1, "api_key": secrets["counted by"]})),
        ("count", json!({"n": 1, "api_key": secrets["counted by"]})),
        ("count", json!({"n": secrets["uncountable"], "api_key": secrets["uncountable"]})),
        ("no_such_tool", json!({"api_key": secrets["denied"]})),
    ] {
        agent.request("tools/call", json!({"name": tool, "arguments": arguments})).await.unwrap();
    }
    agent.request("tools/call", json!({"name": "send_dm", "arguments": [secrets["a misfit"]]})).await.unwrap();

    for path in ["/", "/?show=done", "/audit", "/servers", "/limits", "/config", "/pause", "/notices"] {
        person.page(path).await;
    }
    for path in ["/calls?limit=200", "/limits", "/config", "/pause"] {
        person.api(path).await;
    }
    person.terminal(&["--state", "all", "--json"]).await;
    person.terminal(&["--state", "all"]).await;
    seen.add(
        "mails",
        until("a mail of every held call", || async { (std::fs::read_dir(world.path("mail")).is_ok_and(|files| files.count() >= 3)).then(|| mails(&world)) })
            .await,
    );

    // Neither a person's text nor an agent's belongs here.
    let quiet = Person { seen: silent.clone(), ..person };
    for path in ["/audit", "/calls/c_none", "/nowhere", "/?show=done&cursor=nonsense", "/limits", "/config"] {
        quiet.page(path).await;
    }
    quiet.api("/audit?from=1&limit=1000").await;
    quiet.api("/calls/c_none").await;
    silent.add("audit export", world.audit_is_whole().await);
    assert!(gateway.stop().await, "the gateway ended badly");
    events.abort();
    let log = std::fs::read_to_string(world.path("gateway.log")).unwrap();
    assert!(log.contains("DEBUG"), "the gateway logs all that it says of itself");
    silent.add("log", log);

    assert!(!seen.with(&told).is_empty() && seen.with(&told).iter().any(|place| place.starts_with("mails")), "what people decide about is shown to them");
    let leaks = [seen.with(&secrets), silent.with(&secrets), silent.with(&told)].concat();
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[tokio::test]
async fn a_mail_that_only_links_holds_neither_secrets_nor_the_message() {
    let secrets = planted();
    let world = World::new(PARROT);
    let config = std::fs::read_to_string(world.path("config.toml")).unwrap();
    std::fs::write(world.path("config.toml"), config.replace("[mail]\n", "[mail]\nshow = \"link\"\n")).unwrap();
    let (agent, token) = (world.agent("support-bot").await, world.reviewer("ann@example.org").await);
    let gateway = world.serve().await;
    let agent = Agent::connect(&gateway.mcp("parrot"), &agent).await;
    let arguments = json!({"to": secrets["denied"], "text": secrets["edited in"], "api_key": secrets["by name"], "note": secrets["by shape"]});
    let _waiting = agent.begin("send_dm", arguments);
    let held = gateway.desk(&token).held("$masked").await;
    let mail = until("a mail", || async { Some(mails(&world)).filter(|text| text.contains(held["id"].as_str().unwrap())) }).await;
    let leaks: Vec<&str> = secrets.iter().filter(|(_, secret)| mail.contains(secret.as_str())).map(|(what, _)| *what).collect();
    assert!(leaks.is_empty() && !mail.contains("$masked"), "{leaks:?}");
    assert!(gateway.stop().await);
}
