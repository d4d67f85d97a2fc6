//! Sittings about what does not go straight: nobody knows whether it was sent, a person wants another version, people
//! refuse three times, an operator pulls the brake. Each page is looked at by axe, too.

use super::accessibility::look;
use super::{ANN, Sitting, answer, same_document, sitting_with};
use crate::world::{Agent, text_of, until};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// A server that takes a call and dies before it answers: whether the message left cannot be known.
const LOSSY: &str = r#"
[servers.lossy]
command = ["sh", "-c", '''
while read -r line; do
  id=$(printf %s "$line" | sed -n 's/.*"id":\([0-9]*\|"[^"]*"\)[,}].*/\1/p')
  case "$line" in
    *'"tools/call"'*) exit 1 ;;
    *'"initialize"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"lossy","version":"1"}}}\n' "$id" ;;
    *'"tools/list"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"send_dm","inputSchema":{"type":"object"}}]}}\n' "$id" ;;
  esac
done
''']
default = "deny"

[[servers.lossy.rules]]
name   = "dms-need-a-person"
tools  = ["send_dm"]
action = "require_approval"

[servers.lossy.messages.send_dm]
to = "/to"
text = "/text"
"#;

impl Sitting {
    /// A message is approved, and its server dies over it.
    async fn lost(&self, text: &str) -> (String, JoinHandle<Result<Value, String>>) {
        let agent = Agent::connect(&self.gateway.mcp("lossy"), &self.token).await;
        let waiting = agent.begin("send_dm", json!({"to": "@carol", "text": text}));
        let call = self.desk.held(text).await;
        self.desk.approve(&call).await;
        let id = call["id"].as_str().unwrap().to_owned();
        self.desk.settled(&id, &["unconfirmed"]).await;
        (id, waiting)
    }
}

#[tokio::test]
async fn what_became_of_an_unknown_call_is_said_by_a_plain_form() {
    let sitting = sitting_with(false, LOSSY, "reviewer").await;
    let browser = &sitting.browser;
    let (id, waiting) = sitting.lost("The contract is in the mail.").await;
    assert!(text_of(&answer(waiting).await).starts_with("UNKNOWN whether it was sent"));
    browser.visit(&sitting.gateway.url).await;
    browser.says("Nobody knows whether some calls were sent.").await;
    browser.pictures("inbox-unknown").await;
    browser.find_text("a", "Show them").await.click().await.unwrap();
    browser.find_text("a", "The contract is in the mail.").await.click().await.unwrap();
    browser.says("Look at the recipient's side, then say what happened.").await;
    browser.pictures("call-unknown").await;
    browser.find("textarea[name=note]").await.send_keys("Carol has it.").await.unwrap();
    browser.find("button[name=sent][value=yes]").await.click().await.unwrap();
    browser.says("looked and says: it was sent.").await;
    browser.says("Carol has it.").await;
    browser.pictures("call-told").await;
    assert_eq!(sitting.desk.call(&id).await["outcome"]["result"], json!({"sent": true, "note": "Carol has it.", "by": ANN}));
}

#[tokio::test]
async fn asking_for_changes_reaches_the_agent_and_the_next_version_comes_with_the_comment() {
    let sitting = sitting_with(true, "", "reviewer").await;
    let browser = &sitting.browser;
    let (_, first) = sitting.held("Dear Bob, send me the slides for Friday until noon.").await;
    sitting.open("Dear Bob").await;
    // The browser asks for the comment that is missing.
    sitting.press("request_changes").await;
    browser.find("textarea:invalid").await.send_keys("Please say \"please\".").await.unwrap();
    sitting.press("request_changes").await;
    browser.says("sent back for changes over the page").await;
    let told = answer(first).await;
    assert!(text_of(&told).contains("A person asked for changes. This is not a tool failure.") && text_of(&told).contains("Please say"), "{told}");
    let (id, second) = sitting.held("Dear Bob, please send me the slides for Friday until noon.").await;
    sitting.open("please send me").await;
    browser.says("The next version of an earlier call").await;
    browser.says("Please say \"please\".").await;
    browser.pictures("call-next-version").await;
    browser.find_text("a", "an earlier call").await.click().await.unwrap();
    browser.says("Its next version").await;
    browser.pictures("call-changes-asked").await;
    browser.find_text("a", "please send me").await.click().await.unwrap();
    sitting.press("approve").await;
    assert_eq!(text_of(&answer(second).await), "Sent to @bob.");
    sitting.desk.settled(&id, &["answered"]).await;
    sitting.close().await;
}

#[tokio::test]
async fn an_open_page_says_when_the_agent_leaves_and_keeps_what_was_typed() {
    let sitting = sitting_with(true, "", "reviewer").await;
    let browser = &sitting.browser;
    let (_, waiting) = sitting.held("Are you there?").await;
    sitting.open("Are you there?").await;
    browser.says("The agent is waiting for the answer.").await;
    browser.find("textarea[name=reason]").await.send_keys("half a sen").await.unwrap();
    browser.driver.execute("window.sameDocument = true", vec![]).await.unwrap();
    waiting.abort();
    browser.says("The agent has gone and may ask again. Approving sends it all the same").await;
    // The focus and the place in the text stayed: the person goes on typing.
    browser.driver.active_element().await.unwrap().send_keys("tence").await.unwrap();
    assert_eq!(browser.find("textarea[name=reason]").await.prop("value").await.unwrap().as_deref(), Some("half a sentence"));
    assert!(same_document(browser).await, "the page was loaded anew");
    sitting.close().await;
}

#[tokio::test]
async fn an_operator_pulls_the_brake_and_what_was_about_to_leave_is_held_again() {
    let sitting = sitting_with(true, "[hold]\nundo = \"10m\"", "operator").await;
    let (browser, url) = (&sitting.browser, sitting.gateway.url.clone());
    let mut all = Vec::new();
    let (id, _waiting) = sitting.held("This must not go out.").await;
    let (_, _other) = sitting.held("Neither must this.").await;
    sitting.open("This must not go out.").await;
    browser.says("after the undo window of 10 min").await;
    browser.pictures("call-undo-window").await;
    sitting.press("approve").await;
    browser.says("It goes out in 9 min").await;
    browser.pictures("call-sending-soon").await;
    look(browser, "a call that leaves soon", &mut all).await;
    browser.visit(&format!("{url}/?show=soon")).await;
    browser.find_text("button", "Undo").await;
    browser.pictures("inbox-sending-soon").await;
    look(browser, "what leaves soon", &mut all).await;

    browser.find_text("a", "Pause").await.click().await.unwrap();
    browser.says("Pause everything").await;
    browser.pictures("pause").await;
    look(browser, "the switch", &mut all).await;
    browser.find("textarea[name=reason]").await.send_keys("The bot writes to everybody.").await.unwrap();
    browser.find("button.stop").await.click().await.unwrap();
    browser.says("One approval was taken back").await;
    browser.pictures("paused").await;
    look(browser, "the switch that is on", &mut all).await;
    assert_eq!(sitting.desk.call(&id).await["state"], "held");
    sitting.open("This must not go out.").await;
    browser.says("Paraph is paused").await;
    browser.pictures("call-paused").await;
    look(browser, "a held call during a pause", &mut all).await;
    browser.driver.execute("window.sameDocument = true", vec![]).await.unwrap();

    // An open page learns of it without a reload, in both directions.
    for (path, body, there) in [("/resume", Value::Null, false), ("/pause", json!({"reason": "Once more."}), true)] {
        assert_eq!(sitting.desk.post(path, &body).await.0, 200);
        until("the notice comes and goes", || async { (browser.text().await.contains("Nothing is sent and new calls are refused") == there).then_some(()) })
            .await;
    }
    browser.says("Once more.").await;
    assert!(same_document(browser).await, "the page was loaded anew");
    assert!(sitting.world.sent().is_empty());
    assert!(all.is_empty(), "{} faults:\n{}", all.len(), all.join("\n"));
    sitting.close().await;
}

#[tokio::test]
async fn the_pages_of_what_does_not_go_straight_have_no_faults_that_axe_can_find() {
    let sitting = sitting_with(true, LOSSY, "operator").await;
    let (browser, url) = (&sitting.browser, sitting.gateway.url.clone());
    let mut all = Vec::new();
    let (id, _unknown) = sitting.lost("The contract is in the mail.").await;
    browser.visit(&format!("{url}/?show=unconfirmed")).await;
    browser.says("The contract is in the mail.").await;
    look(browser, "what nobody knows", &mut all).await;
    browser.visit(&format!("{url}/calls/{id}")).await;
    browser.find("button[name=sent][value=no]").await;
    look(browser, "an unknown call", &mut all).await;
    browser.find("button[name=sent][value=no]").await.click().await.unwrap();
    browser.says("looked and says").await;
    look(browser, "a call that somebody settled", &mut all).await;

    let (first, asked) = sitting.held("Dear Bob, send me the slides for Friday until noon.").await;
    let (status, _) = sitting.desk.decide(&sitting.desk.call(&first).await, "request_changes", Some("Say please.")).await;
    assert_eq!(status, 200);
    answer(asked).await;
    let (second, _waiting) = sitting.held("Dear Bob, please send me the slides for Friday until noon.").await;
    let (third, _also_waiting) = sitting.held("Something else altogether").await;
    for (page, id) in [("a next version", &second), ("a call that was sent back", &first)] {
        browser.visit(&format!("{url}/calls/{id}")).await;
        browser.says("version").await;
        look(browser, page, &mut all).await;
    }
    for (id, text) in [(second, None), (third, None), (String::new(), Some("The last of three"))] {
        let id = if let Some(text) = text { sitting.held(text).await.0 } else { id };
        sitting.desk.reject(&sitting.desk.call(&id).await, "No.").await;
        browser.visit(&format!("{url}/calls/{id}")).await;
    }
    browser.says("The way is closed.").await;
    browser.pictures("call-closed-way").await;
    look(browser, "a call to a closed recipient", &mut all).await;
    browser.visit(&url).await;
    browser.says("Closed after three refusals").await;
    browser.pictures("inbox-closed-way").await;
    look(browser, "an inbox with a closed way", &mut all).await;
    browser.find_text("button", "Let messages through again").await.click().await.unwrap();
    browser.says("Rejected").await;
    let (again, _) = sitting.held("It goes through again.").await;
    browser.visit(&format!("{url}/calls/{again}")).await;
    assert!(all.is_empty(), "{} faults:\n{}", all.len(), all.join("\n"));
    sitting.close().await;
}

#[tokio::test]
async fn a_reviewer_mends_a_message_and_reads_what_was_changed() {
    let sitting = sitting_with(true, "[hold]\nundo = \"10m\"", "reviewer").await;
    let browser = &sitting.browser;
    let mut all = Vec::new();
    let (id, _waiting) = sitting.held("You still owe me 40 euros, pay now!").await;
    sitting.open("You still owe me").await;
    browser.find_text("summary", "Edit, then approve").await.click().await.unwrap();
    let field = browser.find("textarea[name=text]").await;
    browser.pictures("call-edit").await;
    look(browser, "the edit form", &mut all).await;
    field.clear().await.unwrap();
    field.send_keys("May I remind you of the 40 euros, please?").await.unwrap();
    browser.find_text("button", "Approve as edited").await.click().await.unwrap();
    browser.says("A person edited this").await;
    browser.find("del").await;
    browser.find("ins").await;
    browser.pictures("call-edited").await;
    look(browser, "an edited call", &mut all).await;
    let call = sitting.desk.call(&id).await;
    assert_eq!(
        (&call["arguments"]["text"], &call["asked"]["arguments"]["text"]),
        (&json!("May I remind you of the 40 euros, please?"), &json!("You still owe me 40 euros, pay now!"))
    );
    assert!(all.is_empty(), "{} faults:\n{}", all.len(), all.join("\n"));
    sitting.close().await;
}
