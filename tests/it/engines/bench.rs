//! What the tests of the engines share: an engine that can be closed and opened again, and records to write.

use jiff::Timestamp;
use paraph::domain::audit::{self, Entry, Fact, Head};
use paraph::domain::call::{Call, CallId, State, Terms};
use paraph::domain::digest::Digest;
use paraph::domain::letter::Letter;
use paraph::domain::pause::{Pause, Stopped};
use paraph::domain::people::{Agent, Credential, CredentialKind, Person, Role};
use paraph::domain::recipient::{RecipientKey, Refusals};
use paraph::store::in_memory::InMemory;
use paraph::store::on_sled::{OnSled, OpenError, Settings};
use paraph::store::{Change, CommitError, Kind, Page, Query, Row, Store};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// An engine to test, and how to open it again.
pub(super) struct Bench {
    pub(super) folder: Option<tempfile::TempDir>,
    pub(super) store: Option<Arc<dyn Store>>,
}

impl Bench {
    pub(super) fn in_memory() -> Bench {
        Bench { folder: None, store: Some(Arc::new(InMemory::new())) }
    }

    pub(super) fn on_sled() -> Bench {
        let mut bench = Bench { folder: Some(tempfile::tempdir().unwrap()), store: None };
        bench.reopen();
        bench
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.as_ref().unwrap().path().join("data")
    }

    /// Closes and opens; nothing for an engine that keeps nothing.
    pub(super) fn reopen(&mut self) {
        if self.folder.is_some() {
            self.store = None;
            self.store = Some(Arc::new(open(&self.path()).unwrap()));
        }
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        self.store.as_ref().unwrap()
    }
}

pub(super) fn open(path: &Path) -> Result<OnSled, OpenError> {
    OnSled::open(path, &Settings { cache_bytes: 8 * 1024 * 1024, ..Settings::default() })
}

pub(super) fn ms(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + ms).unwrap()
}

pub(super) fn fact(kind: &'static str) -> Fact {
    Fact { kind, call: None, actor: "paraph".into(), data: json!({ "n": 1, "share": 0.25 }).into() }
}

pub(super) fn call(number: u32, agent: &str) -> Call {
    let asked = Digest::of_call("mail", "send", &json!({ "n": number }));
    Call {
        id: CallId(format!("c_{number:032x}")),
        revision: 1,
        version: 1,
        state: State::Held { expires_at: ms(1_000_000 + i64::from(number)) },
        server: "mail".into(),
        tool: "send".into(),
        agent: agent.into(),
        arguments: format!("{{\"n\":{number}}}"),
        asked_arguments: None,
        unchecked: None,
        digest: asked.clone(),
        asked_digest: asked,
        rule: "ask".into(),
        reason: Some("outside".into()),
        reviewers: Vec::new(),
        approvals: 1,
        message: None,
        recipient: Some(RecipientKey::of(agent, "mail", &(number % 3).to_string())),
        last_sent: None,
        revises: None,
        meta_dropped: false,
        trace: vec![("traceparent".into(), "00-1-2-00".into())],
        session: None,
        waits_for: None,
        shadows: Vec::new(),
        held_at: ms(i64::from(number)),
        terms: Terms { expires_in: Duration::from_secs(900), undo: Duration::from_secs(5), permit_for: Duration::from_secs(60) },
        instance: None,
        cancelled: false,
        delivered: false,
        taken_back: false,
        erased_at: None,
        decisions: Vec::new(),
        views: Vec::new(),
        told: Vec::new(),
        remind_at: None,
    }
}

pub(super) fn person(email: &str, revision: u64, name: &str) -> Row {
    Row::Person(Person { revision, ..Person::new(email, Some(name.into()), vec!["sales".into()], Role::Reviewer, ms(0)) })
}

pub(super) fn agent(name: &str, revision: u64) -> Row {
    Row::Agent(Agent {
        old_token: None,
        name: name.into(),
        revision,
        token: Digest::of_bytes(name.as_bytes()),
        servers: Vec::new(),
        owner: None,
        keep_open: Some(Duration::from_secs(50)),
        added_at: ms(0),
        expires_at: None,
        revoked_at: None,
    })
}

pub(super) fn link(secret: &str) -> Row {
    Row::Credential(Credential::new(secret, CredentialKind::Link, "ana@example.com", ms(0), ms(900_000)))
}

pub(super) fn letter(id: &str, revision: u64) -> Row {
    let about = Letter::about_hold(&CallId("c_1".into()), 1, ms(0));
    Row::Letter(Letter { id: id.into(), revision, attempts: u32::try_from(revision).unwrap(), next_at: ms(1), ..about })
}

pub(super) fn refusals(to: &str, revision: u64) -> Row {
    let none = Refusals::none(RecipientKey::of("bot", "mail", to), "bot", "mail");
    Row::Refusals(Refusals { revision, ..none.refused_again(&CallId("c_1".into()), ms(5)) })
}

pub(super) fn pause(revision: u64) -> Row {
    let stopped = (revision % 2 == 1).then(|| Stopped { at: ms(5), by: "operator".into(), reason: "lunch".into() });
    Row::Pause(Pause { revision, stopped })
}

pub(super) fn hold(call: Call) -> Change {
    Change::of_call(ms(0), call, fact("call.held"))
}

pub(super) async fn put(store: &Arc<dyn Store>, call: Call) -> Call {
    store.commit(hold(call.clone())).await.unwrap();
    call
}

pub(super) async fn put_row(store: &Arc<dyn Store>, row: Row) -> Result<Head, CommitError> {
    store.commit(Change::of_row(ms(0), row, fact("row.put"))).await
}

pub(super) fn take_away(kind: Kind, key: &str) -> Change {
    Change { removed: vec![(kind, key.to_owned())], ..Change::of_facts(ms(0), vec![fact("row.removed")]) }
}

pub(super) trait Renamed {
    fn renamed(self, number: u32) -> Self;
}

impl Renamed for Call {
    fn renamed(self, number: u32) -> Call {
        Call { id: CallId(format!("c_{number:032x}")), ..self }
    }
}

pub(super) fn long(bytes: usize, salt: &str) -> String {
    salt.chars().chain("0123456789äöü😀\n".chars().cycle()).take(bytes).collect()
}

pub(super) fn ids(page: &Page) -> Vec<&str> {
    page.calls.iter().map(|call| call.id.as_str()).collect()
}

/// Follows the cursors to the end.
pub(super) async fn walk(store: &Arc<dyn Store>, query: &Query) -> Vec<Call> {
    let mut query = query.clone();
    let mut all = Vec::new();
    for _ in 0..1_000 {
        let page = store.calls(&query).await.unwrap();
        assert!(page.calls.len() <= query.limit);
        all.extend(page.calls);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return all,
        }
    }
    panic!("the cursors do not end");
}

pub(super) async fn verified(store: &Arc<dyn Store>) -> Vec<Entry> {
    let entries = store.entries(1, 10_000).await.unwrap();
    let head = entries.iter().try_fold(Head::default(), |head, entry| audit::follow(&head, entry)).unwrap();
    assert_eq!(head, store.head().await.unwrap());
    entries
}
