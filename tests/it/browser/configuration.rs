//! A sitting while somebody edits the configuration: an operator's open page says that the file is not in force, shows
//! what is wrong in it, and falls silent when it is mended.

use super::accessibility::look;
use super::{same_document, sitting_with};
use crate::world::until;

#[tokio::test]
async fn an_open_page_says_that_the_config_has_mistakes_shows_them_and_falls_silent_when_they_are_mended() {
    let sitting = sitting_with(true, "", "operator").await;
    let (browser, url, file) = (&sitting.browser, sitting.gateway.url.clone(), sitting.world.path("config.toml"));
    let mut all = Vec::new();
    browser.visit(&url).await;
    browser.says("Needs you").await;
    browser.driver.execute("window.sameDocument = true", vec![]).await.unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("action = \"hide\"", "action = \"<img src=x onerror=alert(1)>\"").replace("reads   =", "reeds   =")).unwrap();
    browser.says("The config file has 2 mistakes").await;
    assert!(same_document(browser).await, "the page was loaded anew");
    browser.pictures("inbox-config-mistakes").await;
    look(browser, "an inbox above which the configuration has mistakes", &mut all).await;
    browser.find_text("a", "Show them").await.click().await.unwrap();
    for said in ["servers.demo.reeds", "Did you mean", "servers.demo.rules[3].action", "Policies in force"] {
        browser.says(said).await;
    }
    browser.pictures("config-mistakes").await;
    look(browser, "what is wrong in the configuration", &mut all).await;

    browser.visit(&url).await;
    browser.says("The config file has 2 mistakes").await;
    browser.driver.execute("window.sameDocument = true", vec![]).await.unwrap();
    std::fs::write(&file, text.replace("\"demo-server\"]", "\"demo-server\", \"--twice\"]")).unwrap();
    browser.says("A change of the config file waits for a restart").await;
    assert!(!browser.text().await.contains("The config file has"));
    browser.find_text("a", "Show it").await.click().await.unwrap();
    browser.says("servers.demo.command").await;
    browser.pictures("config-restart").await;
    look(browser, "what waits for a restart", &mut all).await;
    browser.visit(&url).await;
    browser.says("waits for a restart").await;
    std::fs::write(&file, text).unwrap();
    until("the notice goes", || async { (!browser.text().await.contains("waits for a restart")).then_some(()) }).await;
    assert!(all.is_empty(), "{} faults:\n{}", all.len(), all.join("\n"));
    sitting.close().await;
}
