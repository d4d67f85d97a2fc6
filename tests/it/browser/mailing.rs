//! A sitting while the mail server is down: an operator's open page says so with the cause, and falls silent when mails
//! leave again.

use super::accessibility::look;
use super::{same_document, sitting_with};
use crate::world::until;

#[tokio::test]
async fn an_open_page_says_that_mails_do_not_leave_and_falls_silent_when_they_do() {
    let sitting = sitting_with(true, "", "operator").await;
    let (browser, url, file) = (&sitting.browser, sitting.gateway.url.clone(), sitting.world.path("config.toml"));
    let mut all = Vec::new();
    let text = std::fs::read_to_string(&file).unwrap();
    let down = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let smtp = format!("transport = \"smtp\"\nurl = \"smtp://localhost:{down}?tls=none\"");
    std::fs::write(&file, text.replace("transport = \"file\"", &smtp)).unwrap();
    browser.visit(&url).await;
    browser.says("Needs you").await;
    browser.driver.execute("window.sameDocument = true", vec![]).await.unwrap();
    let (_, _waiting) = sitting.held("Hello Bob").await;
    browser.says("Mails do not leave").await;
    browser.says("The mail server could not be reached. 1 letter waits and none is lost.").await;
    assert!(same_document(browser).await, "the page was loaded anew");
    browser.pictures("inbox-no-mail").await;
    look(browser, "an inbox above which mails do not leave", &mut all).await;
    std::fs::write(&file, text).unwrap();
    until("the notice goes", || async { (!browser.text().await.contains("Mails do not leave")).then_some(()) }).await;
    assert!(same_document(browser).await, "the page was loaded anew");
    assert!(all.is_empty(), "{} faults:\n{}", all.len(), all.join("\n"));
    sitting.close().await;
}
