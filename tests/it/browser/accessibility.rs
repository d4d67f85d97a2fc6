//! The pages for people who see little, or use no pointer: axe looks for faults against WCAG 2.2 A and AA in every theme
//! and size, and the whole job is done with Tab and Enter. What axe cannot judge (does a sentence make sense when it is
//! read out?) stays with people.

use super::{ANN, HOSTILE, Sitting, answer, sitting};
use crate::world::{Browser, axe, text_of};
use serde_json::{Value, json};
use thirtyfour::prelude::*;

const DESKTOP: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);

/// What axe finds on the page as it is: a rule, the elements, what is wrong with them. Through WebDriver, which the
/// pages' content security policy does not bind.
async fn faults(browser: &Browser) -> Vec<String> {
    const RUN: &str = r#"
        const [done] = arguments;
        const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"];
        axe.run(document, { runOnly: { type: "tag", values: tags }, rules: { "target-size": { enabled: true } } }).then(
          (found) => done({ passed: found.passes.length, faults: found.violations.map((rule) =>
            `${rule.id}: ${rule.help}: ` + rule.nodes.map((node) => `${node.html} ${node.failureSummary}`).join(" | ")) }),
          (error) => done({ passed: 0, faults: [String(error)] }));"#;
    browser.driver.execute(axe(), vec![]).await.unwrap();
    let found: Value = browser.driver.execute_async(RUN, vec![]).await.unwrap().convert().unwrap();
    assert!(found["passed"].as_u64().unwrap() > 5, "axe looked at nothing: {found}");
    found["faults"].as_array().unwrap().iter().map(|fault| fault.as_str().unwrap().to_owned()).collect()
}

/// The page in both themes and both sizes; light and wide again afterwards.
pub async fn look(browser: &Browser, page: &str, all: &mut Vec<String>) {
    for theme in ["light", "dark"] {
        browser.theme(theme).await;
        for (width, height) in [DESKTOP, PHONE] {
            browser.size(width, height).await;
            all.extend(faults(browser).await.into_iter().map(|fault| format!("{page}, {theme}, {width} wide: {fault}")));
        }
    }
    browser.theme("light").await;
    browser.size(DESKTOP.0, DESKTOP.1).await;
}

#[tokio::test]
async fn the_pages_have_no_accessibility_faults_that_axe_can_find() {
    let sitting = sitting(true).await;
    let (browser, url) = (&sitting.browser, sitting.gateway.url.clone());
    let mut all = Vec::new();

    // Planted: axe finds what this test is there to find.
    browser.visit(&url).await;
    let plant = r#"document.querySelector(".empty img").removeAttribute("alt");
        document.querySelector(".empty p").style.cssText = "color: #888; background: #999";
        for (const letter of "abc") {
          const button = document.createElement("button");
          button.textContent = letter;
          button.style.cssText = "all: unset; display: inline-block; width: 9px; height: 9px";
          document.querySelector(".empty").append(button);
        }"#;
    browser.driver.execute(plant, vec![]).await.unwrap();
    let planted = faults(browser).await;
    for rule in ["image-alt: ", "color-contrast: ", "target-size: "] {
        assert!(planted.iter().any(|fault| fault.starts_with(rule)), "the planted {rule}was not found: {planted:#?}");
    }

    browser.visit(&url).await;
    browser.says("Nothing needs you").await;
    look(browser, "the empty inbox", &mut all).await;
    let (_, _other) = sitting.held("Could we move Friday's call to 15:00?").await;
    let (_, _hostile) = sitting.held(HOSTILE).await;
    let (_, approved) = sitting.held("The slides are ready.").await;
    browser.visit(&url).await;
    browser.find_text("a", "Friday's call").await;
    look(browser, "the inbox", &mut all).await;
    sitting.open("Friday's call").await;
    look(browser, "a held call", &mut all).await;
    sitting.open("Hello <script>").await;
    look(browser, "a hostile call", &mut all).await;
    sitting.press("reject").await;
    browser.find("textarea:invalid").await.send_keys("No.").await.unwrap();
    sitting.press("reject").await;
    browser.says("rejected over the page").await;
    look(browser, "a rejected call", &mut all).await;
    sitting.open("The slides are ready").await;
    sitting.press("approve").await;
    answer(approved).await;
    browser.says("Sent to @bob.").await;
    look(browser, "a sent call", &mut all).await;

    sitting.agent.request("tools/list", json!({})).await.unwrap();
    for (page, path, says) in [
        ("the audit", "/audit", ANN),
        ("the servers", "/servers", "delete_account"),
        ("what was decided", "/?show=done", "The slides are ready."),
        ("a page that is not there", "/calls/nothing", "To the inbox"),
    ] {
        browser.visit(&format!("{url}{path}")).await;
        browser.says(says).await;
        look(browser, page, &mut all).await;
    }
    browser.visit(&sitting.world.told(&["reviewer", "link", ANN]).await).await;
    browser.find_text("button", "Sign in").await;
    look(browser, "a sign-in link", &mut all).await;
    browser.visit(&url).await;
    browser.find_text("button", "Sign out").await.click().await.unwrap();
    browser.says("You are signed out").await;
    look(browser, "signed out", &mut all).await;

    assert!(all.is_empty(), "{} faults:\n{}", all.len(), all.join("\n"));
}

async fn key(browser: &Browser, key: Key) {
    browser.driver.action_chain().send_keys(key).perform().await.unwrap();
}

/// Goes on by Tab until the focus is on this; at every stop it must be seen: outlined, in the window, with nothing over it.
async fn tab_to(browser: &Browser, css: &str) {
    const STOP: &str = r#"
        const [css] = arguments, at = document.activeElement, box = at.getBoundingClientRect(), style = getComputedStyle(at);
        const inside = (x, y) => { const top = document.elementFromPoint(x, y); return !!top && (at.contains(top) || top.contains(at) && top !== document.body && top.closest("a, button") !== null); };
        const x = box.left + box.width / 2, y = box.top + Math.min(box.height / 2, 20);
        return { here: at.matches(css), name: at.outerHTML.slice(0, 120), body: at === document.body,
          outlined: at.matches(":focus-visible") && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
          shown: box.bottom > 0 && box.top < innerHeight && inside(x, y) };"#;
    let mut stops = Vec::new();
    for _ in 0..30 {
        key(browser, Key::Tab).await;
        let stop: Value = browser.driver.execute(STOP, vec![json!(css)]).await.unwrap().convert().unwrap();
        assert!(stop["body"] == true || (stop["outlined"] == true && stop["shown"] == true), "the focus is not to be seen: {stop}");
        if stop["here"] == true {
            return;
        }
        stops.push(stop["name"].clone());
    }
    panic!("Tab never reaches {css}; it stopped at {stops:#?}");
}

async fn approved_by_keyboard(sitting: &Sitting, text: &str) {
    let browser = &sitting.browser;
    let (_, waiting) = sitting.held(text).await;
    browser.visit(&sitting.gateway.url).await;
    browser.find_text("a", text).await;
    tab_to(browser, ".skip").await;
    tab_to(browser, ".row a").await;
    key(browser, Key::Enter).await;
    browser.says("will be sent exactly like this").await;
    tab_to(browser, "textarea[name=reason]").await;
    tab_to(browser, "form button[value=approve]").await;
    key(browser, Key::Enter).await;
    browser.says("approved over the page").await;
    assert_eq!(text_of(&answer(waiting).await), "Sent to @bob.");
}

#[tokio::test]
async fn the_whole_job_is_done_with_the_keyboard_alone_and_the_focus_is_always_seen() {
    let sitting = sitting(true).await;
    for ((width, height), text) in [(DESKTOP, "by keyboard on a desk"), (PHONE, "by keyboard on a phone")] {
        sitting.browser.size(width, height).await;
        approved_by_keyboard(&sitting, text).await;
    }
    sitting.close().await;
}
