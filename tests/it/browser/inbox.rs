//! The inbox with more calls than a page holds: its pages say where they stand, and its numbers follow what others do.

use super::{dm, sitting};
use crate::world::until;
use thirtyfour::prelude::*;

#[tokio::test]
async fn an_inbox_of_several_pages_says_where_one_is_and_counts_along_with_what_others_decide() {
    let sitting = sitting(true).await;
    let browser = &sitting.browser;
    let (first, _) = sitting.held("the oldest of them").await;
    let mut waiting = Vec::new();
    for number in 0..54 {
        waiting.push(sitting.agent.begin("send_dm", dm(&format!("one of many: {number}"))));
    }
    let held = until("55 are held", || async { Some(sitting.desk.calls("held").await).filter(|held| held.len() == 55) }).await;
    browser.visit(&sitting.gateway.url).await;
    browser.says("The 50 that have waited longest; the others are on the next pages.").await;
    browser.find_text("a", "Needs you 55").await;
    browser.pictures("inbox-page-1").await;

    // The newest stands on the other page, and only the number can say that it is decided.
    let newest = held[0]["id"].as_str().unwrap();
    sitting.desk.reject(&sitting.desk.call(newest).await, "not today").await;
    browser.find_text("a", "Needs you 54").await;
    let (last, _) = sitting.held("the last of them").await;
    browser.find_text("a", "Needs you 55").await;
    assert!(browser.driver.title().await.unwrap().starts_with('('), "a tab behind others says that there is something new");
    let pill = browser.driver.find(By::Id("pill")).await.unwrap();
    assert!(!pill.is_displayed().await.unwrap(), "this page, loaded again, would not show it");

    browser.find_text("a", "Next page").await.click().await.unwrap();
    browser.says("These came later than those on the pages before; it is the last page.").await;
    browser.says("the last of them").await;
    browser.pictures("inbox-page-2").await;
    let (newer, _) = sitting.held("newer still").await;
    browser.find_text("a", "1 new").await.click().await.unwrap();
    browser.says("newer still").await;
    assert!(browser.text().await.contains("it is the last page"), "the pill shows what is new where one is");

    let later = browser.driver.find_all(By::Css(".row")).await.unwrap();
    let mut left = Vec::new();
    for row in later {
        left.push(row.attr("data-call").await.unwrap().unwrap());
    }
    assert!(left.contains(&last) && left.contains(&newer) && !left.contains(&first) && left.len() == 6, "{left:?}");
    for id in &left {
        sitting.desk.reject(&sitting.desk.call(id).await, "no").await;
    }
    browser.driver.refresh().await.unwrap();
    browser.says("Nothing is left on this page.").await;
    browser.pictures("inbox-page-empty").await;
    browser.find_text("a", "First page").await.click().await.unwrap();
    browser.says("the oldest of them").await;
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    sitting.close().await;
}
