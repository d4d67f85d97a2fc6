//! A reviewer in a real browser: signs in, reads, decides. Each test is one sitting. Pictures of the pages are left in
//! `target/screenshots` for people to look at.

mod accessibility;
mod account;
mod configuration;
mod inbox;
mod insecure;
mod limits;
mod mailing;
mod outcomes;
mod passkeys;

pub use accessibility::look;
mod people;
mod troubles;

use crate::world::{Agent, Browser, Desk, Gateway, World, text_of, until};
use serde_json::{Value, json};
use thirtyfour::prelude::*;
use tokio::task::JoinHandle;

const ANN: &str = "ann@example.org";

/// Markup, template braces, bidirectional, invisible and look-alike characters, a very long word.
const HOSTILE: &str = "Hello <script>alert('stolen')</script><img src=x onerror=alert(1)> \u{202e}txet desrever\u{202c} zero\u{200b}width \
                       p\u{0430}ypal.com bell\u{7} </textarea></title><h1 id=forged>Approved</h1> {{7*7}} \
                       wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww END-OF-TEXT";

fn dm(text: &str) -> Value {
    json!({"to": "@bob", "text": text})
}

struct Sitting {
    browser: Browser,
    agent: Agent,
    token: String,
    /// Ann's API token.
    ann: String,
    desk: Desk,
    gateway: Gateway,
    world: World,
}

/// A gateway, an agent, and Ann, a reviewer, signed in by her one-time link.
async fn sitting(javascript: bool) -> Sitting {
    sitting_with(javascript, "", "reviewer").await
}

/// The same with further sections of the config, and with another role for Ann.
async fn sitting_with(javascript: bool, sections: &str, role: &str) -> Sitting {
    sitting_in(World::with_demo_server(sections), javascript, role).await
}

/// The same in a world of one's own.
async fn sitting_in(world: World, javascript: bool, role: &str) -> Sitting {
    let token = world.agent("support-bot").await;
    world.told(&["reviewer", "add", ANN, "--role", role]).await;
    let ann = world.told(&["reviewer", "token", ANN]).await;
    let gateway = world.serve().await;
    let agent = Agent::connect(&gateway.mcp("demo"), &token).await;
    let browser = Browser::start(javascript).await;
    let link = world.told(&["reviewer", "link", ANN]).await;
    assert!(link.starts_with(&gateway.url), "the link points at the bound address: {link}");
    browser.visit(&link).await;
    browser.find_text("button", "Sign in").await.click().await.unwrap();
    browser.says("Needs you").await;
    let desk = gateway.desk(&ann);
    Sitting { browser, agent, token, ann, desk, gateway, world }
}

impl Sitting {
    /// The agent calls; returns when the call is held.
    async fn held(&self, text: &str) -> (String, JoinHandle<Result<Value, String>>) {
        let waiting = self.agent.begin("send_dm", dm(text));
        let call = until("the call is held", || async { self.desk.calls("held").await.into_iter().find(|call| call["arguments"]["text"] == text) }).await;
        (call["id"].as_str().unwrap().to_owned(), waiting)
    }

    /// From the inbox to the call, by its row.
    async fn open(&self, text: &str) {
        self.browser.visit(&self.gateway.url).await;
        self.browser.find_text("a", text).await.click().await.unwrap();
        self.browser.find("form button[value=approve]").await;
    }

    async fn press(&self, verdict: &str) {
        self.browser.find(&format!("form button[value={verdict}]")).await.click().await.unwrap();
    }

    async fn close(self) {
        self.browser.close_without_errors().await;
        assert!(self.gateway.stop().await, "the gateway ended badly:\n{}", std::fs::read_to_string(self.world.path("gateway.log")).unwrap());
    }
}

/// The result that a waiting request got.
async fn answer(waiting: JoinHandle<Result<Value, String>>) -> Value {
    waiting.await.unwrap().expect("the request is answered")["result"].clone()
}

#[tokio::test]
async fn a_reviewer_signs_in_reads_the_message_approves_it_and_the_agent_is_answered() {
    let sitting = sitting(true).await;
    let browser = &sitting.browser;
    browser.visit(&sitting.gateway.url).await;
    browser.pictures("inbox-empty").await;
    let (_, other) = sitting.held("Could we move Friday's call to 15:00? The room is taken before that.").await;
    let (id, waiting) = sitting.held("Hello Bob,\n\nthe slides are ready. Shall I send them to the whole group, or to you alone?\n\nKind regards").await;
    browser.visit(&sitting.gateway.url).await;
    browser.find_text("a", "Hello Bob").await;
    browser.pictures("inbox").await;

    sitting.open("Hello Bob").await;
    for part in ["@bob", "Shall I send them to the whole group, or to you alone?", "Kind regards", "support-bot", "dms-need-a-person"] {
        browser.says(part).await;
    }
    browser.pictures("call").await;
    assert!(sitting.world.sent().is_empty(), "reading sends nothing");
    sitting.press("approve").await;
    browser.says("approved over the page").await;
    let sent = answer(waiting).await;
    assert_eq!(text_of(&sent), "Sent to @bob.");
    sitting.desk.settled(&id, &["answered"]).await;
    browser.says("Sent to @bob.").await;
    assert!(browser.find(".fate").await.text().await.unwrap().starts_with("Sent"), "the message says something else than the panel");
    browser.pictures("call-sent").await;

    let (audit, servers) = (format!("{}/audit", sitting.gateway.url), format!("{}/servers", sitting.gateway.url));
    browser.visit(&audit).await;
    browser.says(ANN).await;
    browser.pictures("audit").await;
    sitting.agent.request("tools/list", json!({})).await.unwrap();
    browser.visit(&servers).await;
    browser.says("delete_account").await;
    browser.pictures("servers").await;
    other.abort();
    sitting.close().await;
}

#[tokio::test]
async fn a_rejection_tells_the_agent_the_reviewers_reason() {
    let sitting = sitting(true).await;
    let (id, waiting) = sitting.held("Pay at once, or else").await;
    sitting.open("Pay at once").await;
    sitting.browser.find("textarea[name=reason]").await.send_keys("We do not threaten <people>.").await.unwrap();
    sitting.press("reject").await;
    sitting.browser.says("We do not threaten <people>.").await;
    let refused = answer(waiting).await;
    assert_eq!(refused["_meta"]["paraph/call"]["state"], "rejected", "{refused}");
    assert!(text_of(&refused).contains("We do not threaten <people>"), "{refused}");
    assert_eq!(sitting.desk.call(&id).await["decisions"][0]["via"], "page");
    sitting.browser.pictures("call-rejected").await;
    assert!(sitting.world.sent().is_empty());
    sitting.close().await;
}

#[tokio::test]
async fn open_pages_learn_of_new_calls_and_of_decisions_made_elsewhere_without_a_reload() {
    let sitting = sitting(true).await;
    let browser = &sitting.browser;
    let (first, _waiting) = sitting.held("the first of two").await;
    browser.visit(&sitting.gateway.url).await;
    browser.find_text("a", "the first of two").await;
    browser.driver.execute("window.sameDocument = true", vec![]).await.unwrap();
    let (_, _also_waiting) = sitting.held("the second of two").await;
    let pill = browser.find_text("a", "1 new").await;
    assert!(same_document(browser).await, "the page was loaded anew");
    browser.pictures("inbox-news").await;
    pill.click().await.unwrap();
    browser.find_text("a", "the second of two").await;
    browser.find_text("a", "the first of two").await;

    sitting.open("the first of two").await;
    browser.driver.execute("window.sameDocument = true", vec![]).await.unwrap();
    sitting.desk.reject(&sitting.desk.call(&first).await, "Settled from a script.").await;
    browser.says("Settled from a script.").await;
    browser.says("rejected over the api").await;
    assert!(same_document(browser).await, "the page was loaded anew");
    assert!(browser.find(".fate").await.text().await.unwrap().starts_with("Rejected"), "the message says something else than the panel");
    assert!(browser.driver.find_all(By::Css("form button[value=approve]")).await.unwrap().is_empty(), "a settled call still has a form");
    sitting.close().await;
}

async fn same_document(browser: &Browser) -> bool {
    browser.driver.execute("return window.sameDocument === true", vec![]).await.unwrap().convert().unwrap()
}

#[tokio::test]
async fn everything_works_by_plain_forms_with_javascript_switched_off() {
    let sitting = sitting(false).await;
    let browser = &sitting.browser;
    let (_, approved) = sitting.held("approve me without a script").await;
    sitting.open("approve me without a script").await;
    sitting.press("approve").await;
    browser.says("approved over the page").await;
    assert_eq!(text_of(&answer(approved).await), "Sent to @bob.");

    let (_, rejected) = sitting.held("reject me without a script").await;
    sitting.open("reject me without a script").await;
    browser.find("textarea[name=reason]").await.send_keys("Not this way.").await.unwrap();
    sitting.press("reject").await;
    browser.says("Not this way.").await;
    assert!(text_of(&answer(rejected).await).contains("Not this way"));

    // A form that was overtaken: the second click learns who was first.
    let (id, overtaken) = sitting.held("somebody else is faster").await;
    sitting.open("somebody else is faster").await;
    sitting.desk.reject(&sitting.desk.call(&id).await, "I was first.").await;
    sitting.press("approve").await;
    browser.says("Already").await;
    browser.says("I was first.").await;
    browser.pictures("call-overtaken-without-javascript").await;
    assert!(text_of(&answer(overtaken).await).contains("I was first"));
    assert_eq!(sitting.world.sent(), [("approve me without a script".to_owned(), 1)].into());
}

#[tokio::test]
async fn hostile_text_is_shown_whole_and_never_runs() {
    let sitting = sitting(true).await;
    let browser = &sitting.browser;
    let (_, _waiting) = sitting.held(HOSTILE).await;
    browser.visit(&sitting.gateway.url).await;
    browser.find_text("a", "Hello <script>").await;
    browser.pictures("inbox-hostile").await;
    sitting.open("Hello <script>").await;
    let shown = browser.find(".bubble .text").await.text().await.unwrap();
    for part in ["<script>alert('stolen')</script>", "<img src=x onerror=alert(1)>", "</textarea></title>", "{{7*7}}", "END-OF-TEXT"] {
        assert!(shown.contains(part), "{part} is not shown: {shown}");
    }
    for mark in ["202E", "200B", "202C"] {
        assert!(shown.contains(mark), "U+{mark} is not marked: {shown}");
    }
    assert!(!shown.contains('\u{202e}') && !shown.contains('\u{200b}'), "an invisible character reached the page as it is");
    for forged in ["#forged", "img[src=x]", ".bubble script"] {
        assert!(browser.driver.find_all(By::Css(forged)).await.unwrap().is_empty(), "{forged} is on the page");
    }
    browser.pictures("call-hostile").await;
    // An open alert would make this fail.
    assert!(browser.driver.get_alert_text().await.is_err(), "a script of the message ran");
    sitting.close().await;
}
