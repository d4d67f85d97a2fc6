//! From a held call to a mail in a folder, through the real gate and the real outbox. Time is tokio's paused
//! time, for the gate's clock too; Python's own mail parser reads what was written.

mod ends;
mod hostile;
mod looks;
mod reminders;
mod troubles;

use crate::fakes::{CountingUpstream, copy_folder, unlike_before};
use crate::life::{HOUR, settings};

use jiff::Timestamp;
use paraph::config::Show;
use paraph::domain::call::{Call, CallId};
use paraph::domain::message::MessagePointers;
use paraph::domain::people::{Agent, MailChoice, Person, Role};
use paraph::gate::people::NewAgent;
use paraph::gate::review::Decide;
use paraph::gate::{Admission, Ask, Clock, Gate, Reviewer, Settings};
use paraph::notify::{NotifySettings, Transport, run};
use paraph::store::in_memory::InMemory;
use paraph::store::on_sled::{OnSled, Settings as SledSettings};
use paraph::store::{Change, Kind, Row, Store};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Follows tokio's time.
struct PausedClock {
    start: tokio::time::Instant,
    drawn: AtomicU64,
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        let now = Timestamp::from_second(1_790_000_000).unwrap() + self.start.elapsed();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap()
    }

    fn random(&self, bytes: &mut [u8]) {
        unlike_before(&self.drawn, bytes);
    }
}

struct Office {
    gate: Gate,
    store: Arc<dyn Store>,
    clock: Arc<PausedClock>,
    upstream: Arc<CountingUpstream>,
    agent: Agent,
    home: tempfile::TempDir,
}

impl Office {
    async fn open() -> Office {
        Office::over(Arc::new(InMemory::new()), tempfile::tempdir().unwrap()).await
    }

    async fn over(store: Arc<dyn Store>, home: tempfile::TempDir) -> Office {
        let clock = Arc::new(PausedClock { start: tokio::time::Instant::now(), drawn: AtomicU64::new(0) });
        let upstream = Arc::new(CountingUpstream::default());
        let gate = gate_over(store.clone(), clock.clone(), upstream.clone());
        let token = gate.add_agent(NewAgent { name: "bot".into(), ..NewAgent::default() }).await.unwrap();
        let agent = gate.agent_by_token(&token).await.unwrap().unwrap();
        Office { gate, store, clock, upstream, agent, home }
    }

    /// A new process over what an earlier one kept.
    fn again(store: Arc<dyn Store>, clock: Arc<PausedClock>, agent: Agent, home: tempfile::TempDir) -> Office {
        let upstream = Arc::new(CountingUpstream::default());
        Office { gate: gate_over(store.clone(), clock.clone(), upstream.clone()), store, clock, upstream, agent, home }
    }

    /// The process ends in order; what it kept stays in the folder.
    async fn close(self, outbox: Option<JoinHandle<()>>) -> (tempfile::TempDir, Arc<PausedClock>, Agent) {
        let Office { gate, store, clock, upstream, agent, home } = self;
        gate.close(HOUR).await;
        if let Some(outbox) = outbox {
            outbox.await.unwrap();
        }
        drop((gate, store, upstream));
        (home, clock, agent)
    }

    async fn person(&self, email: &str, role: Role, groups: &[&str]) {
        self.gate.add_person(email, None, groups.iter().map(|&g| g.to_owned()).collect(), role).await.unwrap();
    }

    /// Somebody who may decide, as a signed-in person.
    async fn reviewer(&self, email: &str, role: Role) -> Reviewer {
        self.person(email, role, &[]).await;
        let token = self.gate.make_api_token(email, "test", HOUR).await.unwrap();
        self.gate.by_api_token(&token).await.unwrap().unwrap()
    }

    async fn decide(&self, reviewer: &Reviewer, id: &CallId, decide: fn(&Call) -> Decide) {
        let shown = reviewer.read(id).await.unwrap();
        reviewer.decide(id, decide(&shown.call)).await.unwrap();
    }

    async fn hold(&self, tool: &str, arguments: Value) -> CallId {
        self.hold_with(tool, arguments, None).await
    }

    async fn hold_with(&self, tool: &str, arguments: Value, meta: Option<Value>) -> CallId {
        let ask = Ask {
            agent: self.agent.clone(),
            server: "demo".into(),
            tool: tool.into(),
            arguments: arguments.to_string(),
            value: arguments,
            meta: meta.map(|meta| meta.to_string()),
            trace: Vec::new(),
            session: None,
        };
        let Admission::Waiting(seat) = self.gate.admit(ask).await.unwrap() else { panic!("the call was not held") };
        seat.call().clone()
    }

    async fn dm(&self, text: &str) -> CallId {
        self.hold("send_dm", json!({ "to": "@bob", "text": text })).await
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("mail")
    }

    fn start(&self) -> JoinHandle<()> {
        self.start_showing(Show::Message)
    }

    fn start_showing(&self, show: Show) -> JoinHandle<()> {
        let settings = NotifySettings {
            public_url: "https://desk.example.org".into(),
            from: "Paraph <paraph@example.org>".into(),
            show,
            digest: Duration::from_secs(300),
        };
        tokio::spawn(run(self.gate.clone(), Transport::File { folder: self.folder() }, settings))
    }

    async fn letters(&self) -> usize {
        self.store.rows(Kind::Letter, None, 1000).await.unwrap().len()
    }

    /// Lets time pass until the outbox is empty.
    async fn emptied(&self) {
        for _ in 0..20_000 {
            if self.letters().await == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the outbox never became empty");
    }

    fn files(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.folder()) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "eml")).collect();
        paths.sort();
        paths
    }

    fn mails(&self) -> Vec<Value> {
        parsed_all(&self.files())
    }

    /// The mails whose file names begin with this, by their readers.
    fn mails_about(&self, begins: &str) -> Vec<(String, Value)> {
        let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins));
        let paths: Vec<PathBuf> = self.files().into_iter().filter(named).collect();
        let mut mails: Vec<_> = parsed_all(&paths).into_iter().map(|mail| (header(&mail, "To").to_owned(), mail)).collect();
        mails.sort_by(|(one, _), (other, _)| one.cmp(other));
        mails
    }

    async fn call(&self, id: &CallId) -> Call {
        self.store.call(id).await.unwrap().unwrap()
    }
}

fn gate_over(store: Arc<dyn Store>, clock: Arc<PausedClock>, upstream: Arc<CountingUpstream>) -> Gate {
    let mut settings: Settings = settings();
    let messages = &mut settings.servers.get_mut("demo").unwrap().messages;
    messages.insert("send_dm".into(), MessagePointers { to: "/to".into(), text: "/text".into() });
    Gate::open(store, upstream, clock, settings)
}

/// Also what a reader's program would make of the HTML: elements, links, and whether anything was left open.
const READER: &str = r#"
import sys, json, email, email.policy, html.parser
class Elements(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(); self.found = []; self.links = []; self.attributes = set(); self.words = ''; self.style = False
    def handle_starttag(self, tag, attributes):
        self.found.append(tag); self.style = tag == 'style'
        self.attributes |= {name for name, _ in attributes}
        self.links += [value for name, value in attributes if name in ('href', 'src', 'action', 'background', 'srcset')]
    def handle_endtag(self, tag):
        self.style = False
    def handle_data(self, data):
        self.words += '' if self.style else data
mails = []
for path in json.load(sys.stdin):
    m = email.message_from_binary_file(open(path, 'rb'), policy=email.policy.default)
    text, html = (p.get_content() for p in m.iter_parts())
    elements = Elements(); elements.feed(html); elements.close()
    mails.append({'headers': [[k, str(v)] for k, v in m.items()], 'text': text, 'html': html, 'defects': [str(d) for d in m.defects],
        'elements': elements.found, 'links': elements.links, 'attributes': sorted(elements.attributes), 'words': elements.words})
print(json.dumps(mails))
"#;

/// What an independent parser makes of the file.
fn parsed(path: &Path) -> Value {
    parsed_all(&[path.to_owned()]).remove(0)
}

fn parsed_all(paths: &[PathBuf]) -> Vec<Value> {
    let mut python = Command::new("python3").args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 is installed");
    python.stdin.take().unwrap().write_all(json!(paths).to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    let mails: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    for mail in &mails {
        assert_eq!(mail["defects"], json!([]));
    }
    mails
}

fn header<'a>(mail: &'a Value, name: &str) -> &'a str {
    let found: Vec<&str> = mail["headers"].as_array().unwrap().iter().filter(|h| h[0] == name).map(|h| h[1].as_str().unwrap()).collect();
    assert_eq!(found.len(), 1, "{name}");
    found[0]
}

#[tokio::test(start_paused = true)]
async fn a_held_call_becomes_one_mail_for_everybody_who_may_decide() {
    let office = Office::open().await;
    office.person("ann@example.org", Role::Reviewer, &["desk"]).await;
    office.person("ben@example.org", Role::Operator, &["desk"]).await;
    office.person("cleo@example.org", Role::Reviewer, &["other"]).await;
    office.person("dora@example.org", Role::Auditor, &["desk"]).await;
    office.start();
    let id = office.hold("send_desk", json!({ "id": 7, "on": true })).await;
    office.emptied().await;
    let mails = office.mails();
    let mut to: Vec<&str> = mails.iter().map(|mail| header(mail, "To")).collect();
    to.sort_unstable();
    assert_eq!(to, ["ann@example.org", "ben@example.org"]);
    let mail = &mails[0];
    assert_eq!(header(mail, "From"), "Paraph <paraph@example.org>");
    assert_eq!(header(mail, "Auto-Submitted"), "auto-generated");
    assert_eq!(header(mail, "X-Auto-Response-Suppress"), "All");
    assert!(header(mail, "List-Id").ends_with("<held-calls.paraph.desk.example.org>"));
    assert!(header(mail, "Message-ID").starts_with(&format!("<held-{id}.")));
    assert_eq!(header(mail, "References"), header(mail, "In-Reply-To"));
    assert_ne!(header(&mails[0], "Message-ID"), header(&mails[1], "Message-ID"));
    let text = mail["text"].as_str().unwrap();
    for part in ["bot", "send_desk", "only-desk", "Direct messages are read by a person first.", "|   \"id\": 7,", "UTC"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.contains(&format!("https://desk.example.org/calls/{id}")));
    let words = office.call(&id).await.digest.words();
    assert_eq!(words.split(' ').count(), 4);
    assert!(text.contains(&words) && mail["html"].as_str().unwrap().contains(&words), "{words}");
}

#[tokio::test(start_paused = true)]
async fn nothing_an_agent_writes_becomes_a_header_a_tag_or_a_link() {
    let office = Office::open().await;
    office.person("ann@example.org", Role::Reviewer, &[]).await;
    office.start();
    let evil = "x\r\nBcc: thief@example.org\r\n\r\n<script>alert(1)</script><a href=\"https://evil.example/\">go</a> www.evil.example \u{202e}";
    office.hold("send_dm", json!({ "to": evil, "text": evil })).await;
    office.hold(&format!("send_{evil}"), json!({ "a": evil })).await;
    office.emptied().await;
    let mails = office.mails();
    assert_eq!(mails.len(), 2);
    for mail in &mails {
        let names: Vec<&str> = mail["headers"].as_array().unwrap().iter().map(|h| h[0].as_str().unwrap()).collect();
        assert!(!names.contains(&"Bcc"), "{names:?}");
        assert!(header(mail, "Subject").starts_with("Held: "));
        let html = mail["html"].as_str().unwrap();
        assert!(!html.contains("<script") && html.contains("&#60;script&#62;"), "{html}");
        assert_eq!(html.matches("href=").count() - html.matches("href=&#34;").count() - html.matches("href=\\&#34;").count(), 1, "only our link: {html}");
        assert!(!mail["text"].as_str().unwrap().lines().any(|line| line.starts_with("Bcc")));
        for part in [html, mail["text"].as_str().unwrap()] {
            assert!(!part.contains("evil.example") && !part.contains("https://evil") && !part.contains('\u{202e}'), "{part}");
        }
    }
}

/// In real time: sled's thread does not keep paused time from running ahead.
#[tokio::test]
async fn a_letter_survives_a_restart_and_a_repeat_overwrites_the_same_file() {
    let home = tempfile::tempdir().unwrap();
    let [kept, earlier] = ["data", "earlier"].map(|name| home.path().join(name));
    let opened = |path: &Path| -> Arc<dyn Store> { Arc::new(OnSled::open(path, &SledSettings::default()).unwrap()) };

    let office = Office::over(opened(&kept), home).await;
    office.person("ann@example.org", Role::Reviewer, &[]).await;
    let call = office.dm("Hello").await;
    let (home, clock, agent) = office.close(None).await;
    assert!(!home.path().join("mail").exists());
    copy_folder(&kept, &earlier);

    // A new process: it delivers once and writes down that it did.
    let store = opened(&kept);
    let office = Office::again(store, clock, agent, home);
    let outbox = office.start();
    office.emptied().await;
    let sent = office.files();
    assert_eq!(sent.len(), 1);
    let name = sent[0].file_name().unwrap().to_string_lossy();
    assert!(name.starts_with(&format!("held-{call}")) && !name.contains("ann"), "{name:?}");
    let first = parsed(&sent[0]);
    let (home, clock, agent) = office.close(Some(outbox)).await;

    // One that lost the record of it: it delivers again, to the same name, under the same Message-ID.
    std::fs::write(&sent[0], "to be overwritten").unwrap();
    let store = opened(&earlier);
    let office = Office::again(store, clock, agent, home);
    office.start();
    office.emptied().await;
    assert_eq!(office.files(), sent);
    let again = parsed(&sent[0]);
    assert_eq!(header(&again, "Message-ID"), header(&first, "Message-ID"));
    assert_eq!(again["text"], first["text"]);
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_written_is_tried_again_later_and_later() {
    let office = Office::open().await;
    office.person("ann@example.org", Role::Reviewer, &[]).await;
    std::fs::write(office.folder(), "in the way").unwrap();
    office.start();
    let begun = tokio::time::Instant::now();
    office.dm("Hello").await;
    // 5 + 10 + 20 + 40 s: five attempts in the first 76 s, the next one at 155 s.
    tokio::time::sleep_until(begun + Duration::from_secs(100)).await;
    let entries = office.store.entries(1, 1000).await.unwrap();
    assert_eq!(entries.iter().filter(|entry| entry.kind == "letter.failed").count(), 5);
    std::fs::remove_file(office.folder()).unwrap();
    office.emptied().await;
    assert_eq!(office.mails().len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(160), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn more_than_ten_held_calls_leave_as_one_mail_that_lists_them() {
    let office = Office::open().await;
    office.person("ann@example.org", Role::Reviewer, &[]).await;
    for n in 0..12 {
        office.dm(&format!("Message {n}\nand more")).await;
    }
    office.start();
    office.emptied().await;
    let mails = office.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(header(&mails[0], "Subject"), "12 calls wait for you");
    let text = mails[0]["text"].as_str().unwrap();
    assert_eq!(text.matches("/calls/c_").count(), 12);
    assert!(text.contains("| Message 11\n") && !text.contains("and more"));
}

#[tokio::test(start_paused = true)]
async fn a_settled_call_sends_no_mail() {
    let office = Office::open().await;
    office.person("ann@example.org", Role::Reviewer, &[]).await;
    office.dm("Hello").await;
    office.gate.revoke_agent("bot").await.unwrap();
    office.start();
    office.emptied().await;
    assert!(office.mails().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reviewer_who_is_added_later_is_still_told() {
    let office = Office::open().await;
    office.start();
    office.dm("Hello").await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(office.letters().await, 1);
    office.person("ann@example.org", Role::Reviewer, &[]).await;
    office.emptied().await;
    assert_eq!(office.mails().len(), 1);
}

impl Office {
    /// The person chooses; the record is what a page of theirs would write.
    async fn chooses(&self, email: &str, mail: MailChoice) {
        let Some(Row::Person(person)) = self.store.row(Kind::Person, email).await.unwrap() else { panic!("{email} is nobody") };
        let next = Person { revision: person.revision + 1, mail, ..person };
        let change = Change { rows: vec![Row::Person(next)], ..Change::of_facts(self.clock.now(), Vec::new()) };
        self.store.commit(change).await.unwrap();
    }

    /// Subjects of the mails to this person so far.
    fn subjects_to(&self, email: &str) -> Vec<String> {
        self.mails().iter().filter(|mail| header(mail, "To").contains(email)).map(|mail| header(mail, "Subject").to_owned()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn five_mails_in_ten_minutes_and_what_comes_beyond_is_one_list() {
    let office = Office::open().await;
    office.person("ann@example.org", Role::Reviewer, &[]).await;
    office.start();
    for n in 0..9 {
        office.dm(&format!("Message {n}")).await;
        tokio::time::sleep(Duration::from_secs(15)).await;
    }
    // 9 calls in 120 s: five left at once, four wait for the list five minutes after the first of them.
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!((office.mails().len(), office.letters().await), (5, 4));
    office.emptied().await;
    let subjects = office.subjects_to("ann@example.org");
    assert_eq!(subjects.len(), 6, "{subjects:?}");
    assert_eq!(subjects.iter().filter(|subject| subject.contains("4 calls wait")).count(), 1, "{subjects:?}");
    // A letter that waits is no letter that failed.
    let entries = office.store.entries(1, 1000).await.unwrap();
    assert!(entries.iter().all(|entry| entry.kind != "letter.failed"));
}

#[tokio::test(start_paused = true)]
async fn one_persons_list_keeps_nobody_else_waiting_and_everybody_gets_what_they_chose() {
    let office = Office::open().await;
    for name in ["each", "lists", "none"] {
        office.person(&format!("{name}@example.org"), Role::Reviewer, &[]).await;
    }
    office.chooses("lists@example.org", MailChoice::Digest).await;
    office.chooses("none@example.org", MailChoice::Off).await;
    office.start();
    office.dm("Message 1").await;
    office.dm("Message 2").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((office.subjects_to("each@").len(), office.subjects_to("lists@").len()), (2, 0));
    office.emptied().await;
    assert_eq!(office.subjects_to("lists@"), ["2 calls wait for you"]);
    assert_eq!((office.subjects_to("each@").len(), office.subjects_to("none@").len()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn who_wants_no_mail_gets_none_and_the_letter_is_put_away() {
    let office = Office::open().await;
    office.person("ann@example.org", Role::Reviewer, &[]).await;
    office.chooses("ann@example.org", MailChoice::Off).await;
    office.start();
    office.dm("Message").await;
    office.emptied().await;
    assert!(office.mails().is_empty());
    let entries = office.store.entries(1, 1000).await.unwrap();
    assert!(entries.iter().any(|entry| entry.kind == "letter.dropped" && entry.data["why"] == "not_needed"));
}

#[tokio::test(start_paused = true)]
async fn many_letters_for_a_folder_that_cannot_be_written_cost_one_attempt_at_a_time() {
    let office = Office::open().await;
    office.person("ann@example.org", Role::Reviewer, &[]).await;
    std::fs::write(office.folder(), "in the way").unwrap();
    for n in 0..40 {
        office.dm(&format!("Message {n}")).await;
    }
    office.start();
    tokio::time::sleep(Duration::from_secs(300)).await;
    let failing = office.gate.mailing().now();
    assert!(failing.failing.is_some_and(|failing| failing.cause.contains("folder")) && failing.waiting == 40);
    let entries = office.store.entries(1, 1000).await.unwrap();
    let failed = entries.iter().filter(|entry| entry.kind == "letter.failed").count();
    assert!(failed <= 8, "one for each attempt, not for each letter: {failed}");
    std::fs::remove_file(office.folder()).unwrap();
    office.emptied().await;
    assert!(office.gate.mailing().now().failing.is_none());
    assert!(office.mails().len() <= 4, "{}", office.mails().len());
}
