//! Work for a gateway that will not live to finish it: agents that hold and send, a reviewer who decides all the time, an
//! auditor who reads along. Everything the gateway acknowledged is kept in a ledger, and the next gateway on the same data
//! is held to it. Used by `kill`, `power` and `full`.

use crate::world::{Agent, Gateway, World, http, text_of, until};
use paraph::domain::digest::Digest;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const ANN: &str = "ann@example.org";
const AGENTS: [&str; 3] = ["bot-a", "bot-b", "bot-c"];
/// Calls of one agent that wait at the same time.
const WAITING: usize = 4;
/// Audit entries in one answer; a small one is likelier to be whole when the gateway is killed.
const TOGETHER: u64 = 25;
/// How long an agent waits before it gives up on one call; the call stays.
const PATIENCE: Duration = Duration::from_millis(400);

/// Rules of the load: notes go out by themselves, everything else to a person.
pub const RULES: &str = r#"
[servers.demo]
command = ["PARAPH", "demo-server"]
env     = { DEMO_OUTBOX = "FOLDER/outbox" }
default = "deny"
reads   = ["read_*"]

[[servers.demo.rules]]
name   = "notes-go-out"
tools  = ["send_dm"]
conditions = [{ path = "args.to", op = "eq", value = "@notes" }]
action = "allow"

[[servers.demo.rules]]
name   = "dms-need-a-person"
tools  = ["send_dm"]
action = "require_approval"

[[servers.demo.rules]]
name   = "reading-is-free"
tools  = ["read_*"]
action = "allow"
"#;

/// Random numbers from a seed that a failing test prints.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// `PARAPH_SEED`, or another seed every time.
    pub fn roll() -> Dice {
        let asked = std::env::var("PARAPH_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = asked.unwrap_or_else(|| RandomState::new().hash_one("a seed"));
        eprintln!("PARAPH_SEED={seed}");
        Dice(seed | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn another(&mut self) -> Dice {
        Dice(self.below(u64::MAX >> 12) | 1)
    }
}

/// How often, unless `PARAPH_ROUNDS` says otherwise.
pub fn rounds(usual: usize) -> usize {
    std::env::var("PARAPH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

/// Who works, by their tokens.
pub struct Staff {
    agents: Vec<String>,
    ann: String,
}

impl Staff {
    pub async fn of(world: &World) -> Staff {
        let mut agents = Vec::new();
        for name in AGENTS {
            agents.push(world.agent(name).await);
        }
        Staff { agents, ann: world.reviewer(ANN).await }
    }
}

/// What was seen of one call.
#[derive(Debug, Clone, Default)]
struct Seen {
    tag: String,
    digest: String,
    state: String,
    /// Asked of the gateway, answered or not.
    tried: BTreeSet<&'static str>,
}

/// What a gateway acknowledged.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    calls: BTreeMap<String, Seen>,
    entries: BTreeMap<u64, Value>,
    /// Tags of notes and messages whose agent was told that they are sent.
    told: BTreeSet<String>,
    /// Tag and digest of the notes that were begun.
    notes: BTreeMap<String, String>,
    /// Answers to the calls of reading tools.
    reads: usize,
}

impl Ledger {
    /// The number of the first audit entry that was not seen yet.
    pub fn next_entry(&self) -> u64 {
        self.entries.keys().next_back().map_or(1, |last| last + 1)
    }

    /// How much was acknowledged: calls, decisions, answers and audit entries.
    pub fn size(&self) -> usize {
        self.calls.values().map(|seen| 1 + usize::from(seen.state != "held")).sum::<usize>() + self.told.len() + self.entries.len()
    }

    /// Held or decided calls, messages and notes sent, audit entries, reads.
    pub fn sizes(&self) -> [usize; 4] {
        [self.calls.len(), self.told.len(), self.entries.len(), self.reads]
    }

    /// Takes in what a later life acknowledged.
    pub fn absorb(&mut self, later: Ledger) {
        for (id, seen) in later.calls {
            let mut tried = seen.tried.clone();
            if let Some(before) = self.calls.get(&id) {
                tried.extend(&before.tried);
            }
            self.calls.insert(id, Seen { tried, ..seen });
        }
        self.entries.extend(later.entries);
        self.told.extend(later.told);
        self.notes.extend(later.notes);
        self.reads += later.reads;
    }

    fn saw(&mut self, call: &Value) -> Option<()> {
        let text = call["arguments"]["text"].as_str()?;
        let seen = self.calls.entry(call["id"].as_str()?.to_owned()).or_default();
        (seen.tag, seen.digest, seen.state) = (tag_of(text).to_owned(), call["digest"].as_str()?.to_owned(), call["state"].as_str()?.to_owned());
        Some(())
    }

    /// What of it a gateway on the same data does not know; empty when nothing was lost.
    pub async fn missing(&self, gateway: &Gateway, staff: &Staff) -> Vec<String> {
        self.compare(gateway, staff).await.0
    }

    /// The same, and every call's state.
    async fn compare(&self, gateway: &Gateway, staff: &Staff) -> (Vec<String>, BTreeMap<&str, String>) {
        let api = Api::of(gateway, staff);
        let (mut missing, mut states) = (Vec::new(), BTreeMap::new());
        for (id, seen) in &self.calls {
            let Some((200, call)) = api.get(&format!("/calls/{id}")).await else {
                missing.push(format!("{id} is not there; it was {}", seen.state));
                continue;
            };
            let text = call["arguments"]["text"].as_str().unwrap_or_default();
            let state = call["state"].as_str().unwrap_or_default();
            if call["digest"] != seen.digest.as_str()
                || Digest::of_call("demo", "send_dm", &call["arguments"]).as_str() != seen.digest
                || tag_of(text) != seen.tag
            {
                missing.push(format!("{id} has another text"));
            }
            states.insert(id.as_str(), state.to_owned());
            if !seen.may_be(state) {
                missing.push(format!("{id} was {} and is {state}; asked was {:?}", seen.state, seen.tried));
            }
        }
        if let (Some(first), Some(last)) = (self.entries.keys().next(), self.entries.keys().next_back()) {
            let entries = api.entries(*first, last - first + 1).await.unwrap_or_default();
            missing.extend(self.entries.iter().filter(|(seq, entry)| entries.get(seq) != Some(entry)).map(|(seq, _)| format!("entry {seq} is not there")));
        }
        (missing, states)
    }

    /// Everything at the end: all of the above, and of every message whether it may have left, how often, and whether the
    /// audit says so. The gateway must have come to rest; `kills` is how often one before it was ended.
    pub async fn settle(&self, world: &World, gateway: &Gateway, staff: &Staff, kills: usize) {
        let api = Api::of(gateway, staff);
        until("everything approved has left", || async {
            let (status, page) = api.get("/calls?state=approved,sending&limit=1").await?;
            (status == 200 && page["calls"].as_array()?.is_empty()).then_some(())
        })
        .await;
        let (missing, states) = self.compare(gateway, staff).await;
        assert_eq!(missing, [""; 0], "acknowledged and lost");
        let sent = sent(world);
        for (tag, times) in &sent {
            assert_eq!(*times, 1, "{tag} was sent more than once");
        }
        let mut by_tag = BTreeMap::new();
        for (id, seen) in &self.calls {
            by_tag.insert(seen.tag.as_str(), seen);
            let times = sent.get(&seen.tag).copied().unwrap_or(0);
            let state = states[id.as_str()].as_str();
            let may = match state {
                "answered" => 1..=1,
                "unconfirmed" => 0..=1,
                _ => 0..=0,
            };
            assert!(may.contains(&times), "{id} is {state} and was sent {times} times");
        }
        let export = world.audit_is_whole().await;
        let entries: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        let digests: BTreeSet<&str> =
            entries.iter().filter(|entry| entry["kind"] == "call.allowed").filter_map(|entry| entry["data"]["digest"].as_str()).collect();
        for tag in sent.keys() {
            match (self.notes.get(tag), by_tag.get(tag.as_str())) {
                (Some(digest), _) => assert!(digests.contains(digest.as_str()), "{tag} was sent and the audit does not say so"),
                (None, seen) => assert!(seen.is_some_and(|seen| seen.tried.contains("approve")), "{tag} was sent and nobody approved it"),
            }
        }
        for tag in &self.told {
            assert_eq!(sent.get(tag), Some(&1), "an agent was told that {tag} is sent");
        }
        // With what came before: an entry behind `closed` would make a clean stop look unclean.
        let unclean: Vec<_> = entries.windows(2).filter(|two| two[1]["kind"] == "unclean_start").map(|two| &two[0]["kind"]).collect();
        assert_eq!(unclean.len(), kills, "every unclean start is in the audit, and no other; before them: {unclean:?}");
    }
}

impl Seen {
    /// Whether a call that was last seen like this may be in this state later.
    fn may_be(&self, state: &str) -> bool {
        let released = ["approved", "sending", "answered", "unconfirmed"];
        match self.state.as_str() {
            "held" => {
                state == "held" || (self.tried.contains("approve") && released.contains(&state)) || (self.tried.contains("reject") && state == "rejected")
            }
            "approved" => released.contains(&state),
            "sending" => released[1..].contains(&state),
            settled => settled == state,
        }
    }
}

/// The word that a text begins with; no two messages share one.
fn tag_of(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

/// How often each message arrived at the demo server. A line may be torn when its writer was killed; the tag is enough.
pub fn sent(world: &World) -> BTreeMap<String, usize> {
    let outbox = std::fs::read(world.path("outbox")).unwrap_or_default();
    let mut sent = BTreeMap::new();
    for found in String::from_utf8_lossy(&outbox).split("\"text\":\"").skip(1) {
        *sent.entry(tag_of(found).to_owned()).or_default() += 1;
    }
    sent
}

/// The work under way. Ends when dropped.
pub struct Load {
    ledger: Arc<Mutex<Ledger>>,
    _work: JoinSet<()>,
}

impl Load {
    /// Begins; returns as soon as the gateway has acknowledged something. `name` makes the texts unlike any other load's;
    /// the auditor reads on from entry `from`.
    pub async fn begin(gateway: &Gateway, staff: &Staff, name: &str, from: u64, dice: &mut Dice) -> Load {
        let ledger: Arc<Mutex<Ledger>> = Arc::default();
        let mut work = JoinSet::new();
        let url = gateway.mcp("demo");
        let connect = staff.agents.iter().map(|token| Agent::connect(&url, token));
        for (number, agent) in futures_util::future::join_all(connect).await.into_iter().enumerate() {
            work.spawn(hold_and_send(agent.clone(), format!("{name}-{number}"), ledger.clone(), dice.another()));
            work.spawn(note_and_read(agent, format!("{name}-{number}n"), ledger.clone(), dice.another()));
        }
        work.spawn(review(Api::of(gateway, staff), ledger.clone(), dice.another()));
        work.spawn(audit(Api::of(gateway, staff), from, ledger.clone()));
        let load = Load { ledger, _work: work };
        until("the gateway acknowledges something", || async { (load.size() > 0).then_some(()) }).await;
        load
    }

    pub fn size(&self) -> usize {
        self.ledger.lock().unwrap().size()
    }

    /// Everything that was acknowledged until now. Call it after the gateway has ended.
    pub fn end(self) -> Ledger {
        self.ledger.lock().unwrap().clone()
    }
}

/// A short text, one that is stored in pieces, or one that becomes a file of its own.
fn text(tag: &str, number: u64, dice: &mut Dice) -> String {
    let bytes = match number % 8 {
        3 => 66_000 + dice.below(40_000),
        1 | 5 => 600 + dice.below(12_000),
        _ => dice.below(200),
    };
    let filling: String = "0123456789 äöü".chars().cycle().take(usize::try_from(bytes).unwrap()).collect();
    format!("{tag} {filling}")
}

async fn hold_and_send(agent: Agent, name: String, ledger: Arc<Mutex<Ledger>>, mut dice: Dice) {
    let room = Arc::new(Semaphore::new(WAITING));
    let mut waiting = JoinSet::new();
    for number in 0.. {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let (agent, ledger, tag) = (agent.clone(), ledger.clone(), format!("{name}-{number}"));
        let text = text(&tag, number, &mut dice);
        waiting.spawn(async move {
            let asked = agent.request("tools/call", json!({"name": "send_dm", "arguments": {"to": "@bob", "text": text}}));
            if let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, asked).await
                && text_is_sent(&answer)
            {
                ledger.lock().unwrap().told.insert(tag);
            }
            drop(place);
        });
        while waiting.try_join_next().is_some() {}
    }
}

async fn note_and_read(agent: Agent, name: String, ledger: Arc<Mutex<Ledger>>, mut dice: Dice) {
    for number in 0.. {
        let tag = format!("{name}-{number}");
        let arguments = json!({"to": "@notes", "text": text(&tag, number, &mut dice)});
        let digest = Digest::of_call("demo", "send_dm", &arguments).to_string();
        ledger.lock().unwrap().notes.insert(tag.clone(), digest);
        let Ok(answer) = agent.request("tools/call", json!({"name": "send_dm", "arguments": arguments})).await else { return };
        if text_is_sent(&answer) {
            ledger.lock().unwrap().told.insert(tag);
        }
        if agent.request("tools/call", json!({"name": "read_inbox", "arguments": {}})).await.is_ok() {
            ledger.lock().unwrap().reads += 1;
        }
    }
}

fn text_is_sent(answer: &Value) -> bool {
    answer["result"]["isError"] == false && text_of(&answer["result"]).starts_with("Sent to")
}

/// Decides most of what is held: sends, refuses, leaves.
async fn review(api: Api, ledger: Arc<Mutex<Ledger>>, mut dice: Dice) {
    let mut left = BTreeSet::new();
    loop {
        let Some((200, page)) = api.get("/calls?state=held&limit=6").await else { return };
        for call in page["calls"].as_array().into_iter().flatten() {
            ledger.lock().unwrap().saw(call);
        }
        let ids: Vec<String> = page["calls"].as_array().into_iter().flatten().filter_map(|call| call["id"].as_str().map(str::to_owned)).collect();
        for id in ids.into_iter().filter(|id| !left.contains(id)).collect::<Vec<_>>() {
            let verdict = match dice.below(10) {
                0..6 => "approve",
                6..8 => "reject",
                _ => {
                    left.insert(id);
                    continue;
                }
            };
            let Some((200, call)) = api.get(&format!("/calls/{id}")).await else { return };
            let decision = json!({"verdict": verdict, "digest": call["digest"], "version": call["version"], "reason": "A reason."});
            {
                let mut ledger = ledger.lock().unwrap();
                ledger.saw(&call);
                ledger.calls.entry(id.clone()).or_default().tried.insert(verdict);
            }
            let Some((status, decided)) = api.post(&format!("/calls/{id}/decision"), &decision).await else { return };
            if status == 200 {
                ledger.lock().unwrap().saw(&decided);
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Reads the audit as it grows.
async fn audit(api: Api, mut from: u64, ledger: Arc<Mutex<Ledger>>) {
    loop {
        let Some(entries) = api.entries(from, TOGETHER).await else { return };
        from = entries.keys().next_back().map_or(from, |last| last + 1);
        ledger.lock().unwrap().entries.extend(entries);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The API, as long as there is somebody who answers.
struct Api {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Api {
    fn of(gateway: &Gateway, staff: &Staff) -> Api {
        Api { http: http(), url: format!("{}/api/v1", gateway.url), token: staff.ann.clone() }
    }

    async fn get(&self, path: &str) -> Option<(u16, Value)> {
        read(self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let asked = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.token);
        read(asked.header("content-type", "application/json").body(body.to_string())).await
    }

    async fn entries(&self, from: u64, most: u64) -> Option<BTreeMap<u64, Value>> {
        let asked = self.http.get(format!("{}/audit?from={from}&limit={most}", self.url)).bearer_auth(&self.token);
        let answer = asked.send().await.ok().filter(|answer| answer.status() == 200)?.text().await.ok()?;
        let entry = |line: &str| {
            let entry: Value = serde_json::from_str(line).expect("a whole answer has whole lines");
            (entry["seq"].as_u64().expect("a number"), entry)
        };
        Some(answer.lines().map(entry).collect())
    }
}

async fn read(asked: reqwest::RequestBuilder) -> Option<(u16, Value)> {
    let answer = asked.send().await.ok()?;
    let status = answer.status().as_u16();
    let body = answer.bytes().await.ok()?;
    Some((status, serde_json::from_slice(&body).ok()?))
}
