//! Signing in and the account in a real browser: from a mail's link to a call, through the mail box, to that call; a password
//! that is set and used; what a stranger sees. Without a script everything works; with one, axe looks.

use super::accessibility::look;
use super::{ANN, Sitting, sitting};
use crate::world::until;
use std::path::PathBuf;

const GOOD: &str = "wintermantel fuchs 9";

/// The link in the newest mail about signing in.
async fn mailed_link(sitting: &Sitting) -> String {
    let folder = sitting.world.path("mail");
    let text = until("a mail with a link", || async {
        let files: Vec<PathBuf> = std::fs::read_dir(&folder).ok()?.map(|entry| entry.unwrap().path()).collect();
        let mail = files.iter().find(|path| path.file_name().unwrap().to_string_lossy().starts_with("sign-in-"))?;
        std::fs::read_to_string(mail).ok()
    })
    .await;
    // Quoted-printable (RFC 2045, 6.7): long lines are broken by a `=` at their end.
    let text = text.replace("=\r\n", "").replace("=\n", "");
    let start = text.find(&format!("{}/sign-in/", sitting.gateway.url)).unwrap_or_else(|| panic!("no link in {text}"));
    text[start..].split_whitespace().next().unwrap().to_owned()
}

async fn sign_out(sitting: &Sitting) {
    sitting.browser.visit(&sitting.gateway.url).await;
    sitting.browser.find_text("button", "Sign out").await.click().await.unwrap();
    sitting.browser.says("You are signed out").await;
}

async fn type_into(sitting: &Sitting, css: &str, text: &str) {
    let field = sitting.browser.find(css).await;
    field.clear().await.unwrap();
    field.send_keys(text).await.unwrap();
}

#[tokio::test]
async fn without_a_script_one_comes_back_through_the_mail_box_to_the_call_sets_a_password_and_uses_it() {
    let sitting = sitting(false).await;
    let (browser, url) = (&sitting.browser, sitting.gateway.url.clone());
    let (id, _waiting) = sitting.held("Shall we meet at nine?").await;
    sign_out(&sitting).await;
    browser.visit(&format!("{url}/calls/{id}")).await;
    browser.says("Please sign in").await;
    browser.pictures("sign-in").await;
    type_into(&sitting, "#link-address", ANN).await;
    browser.find_text("button", "Mail me a link").await.click().await.unwrap();
    browser.says("If this address belongs to somebody here, a link is on its way.").await;
    browser.pictures("sign-in-sent").await;
    browser.visit(&mailed_link(&sitting).await).await;
    browser.find_text("button", "Sign in here").await.click().await.unwrap();
    browser.says("Shall we meet at nine?").await;
    assert_eq!(browser.driver.current_url().await.unwrap().path(), format!("/calls/{id}"));

    browser.find("a.who").await.click().await.unwrap();
    browser.says("Your account").await;
    browser.pictures("account").await;
    type_into(&sitting, "#new", "annexample12").await;
    type_into(&sitting, "#again", "annexample12").await;
    browser.find_text("button", "Set the password").await.click().await.unwrap();
    browser.says("among the first that somebody would guess").await;
    browser.pictures("account-refused").await;
    type_into(&sitting, "#new", GOOD).await;
    type_into(&sitting, "#again", GOOD).await;
    browser.find_text("button", "Set the password").await.click().await.unwrap();
    browser.says("Your password is set.").await;
    browser.find_text("summary", "Make a token").await.click().await.unwrap();
    type_into(&sitting, "#token-name", "night job").await;
    browser.find_text("button", "Make a token").await.click().await.unwrap();
    browser.says("Your new token").await;
    browser.pictures("account-token").await;
    browser.find_text("a", "I have copied it").await.click().await.unwrap();
    browser.says("night job").await;
    browser.pictures("account-used").await;

    sign_out(&sitting).await;
    type_into(&sitting, "#address", ANN).await;
    type_into(&sitting, "#password", "a wrong one").await;
    browser.find_text("button", "Sign in").await.click().await.unwrap();
    browser.says("Address and password do not belong together").await;
    browser.pictures("sign-in-wrong").await;
    type_into(&sitting, "#password", GOOD).await;
    browser.find_text("button", "Sign in").await.click().await.unwrap();
    browser.says("Needs you").await;
}

#[tokio::test]
async fn the_pages_of_signing_in_and_the_account_have_no_faults_that_axe_can_find() {
    let sitting = sitting(true).await;
    let (browser, url) = (&sitting.browser, sitting.gateway.url.clone());
    let mut all = Vec::new();
    browser.visit(&format!("{url}/account")).await;
    look(browser, "the account", &mut all).await;
    browser.find_text("summary", "Make a token").await.click().await.unwrap();
    type_into(&sitting, "#token-name", "night job").await;
    browser.find_text("button", "Make a token").await.click().await.unwrap();
    browser.says("Your new token").await;
    look(browser, "a new token", &mut all).await;
    type_into(&sitting, "#new", "annexample12").await;
    type_into(&sitting, "#again", "annexample13").await;
    browser.find_text("button", "Set the password").await.click().await.unwrap();
    browser.says("The two new passwords differ").await;
    look(browser, "an account that was not changed", &mut all).await;
    browser.find_text("button", "Sign out everywhere").await.click().await.unwrap();
    browser.says("You are signed out").await;
    look(browser, "the ways to sign in", &mut all).await;
    type_into(&sitting, "#address", ANN).await;
    for number in 0..11 {
        type_into(&sitting, "#password", &format!("guess {number}")).await;
        browser.find_text("button", "Sign in").await.click().await.unwrap();
        browser.says(if number < 10 { "do not belong together" } else { "Too many tries" }).await;
    }
    browser.pictures("sign-in-too-many").await;
    look(browser, "too many tries", &mut all).await;
    type_into(&sitting, "#link-address", "nobody@example.org").await;
    browser.find_text("button", "Mail me a link").await.click().await.unwrap();
    browser.says("Look into your mail").await;
    look(browser, "a link that may be on its way", &mut all).await;
    assert!(all.is_empty(), "{} faults:\n{}", all.len(), all.join("\n"));
}
