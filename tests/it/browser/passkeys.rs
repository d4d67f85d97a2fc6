//! Passkeys in a real browser with a virtual authenticator (CDP domain `WebAuthn`): made, used alone, asked for after a
//! link, refused when replayed, touched or foreign, gone with their person.

use super::accessibility::look;
use crate::world::{Browser, Gateway, World, http, until};
use serde_json::{Value, json};

const ANN: &str = "ann@example.org";
const BEN: &str = "ben@example.org";

struct Desk {
    world: World,
    gateway: Gateway,
    browser: Browser,
    url: String,
}

/// Browsers offer passkeys on `localhost`, so that is what the gateway is called.
async fn desk() -> Desk {
    let world = World::with_demo_server("");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://localhost:{port}");
    let config = std::fs::read_to_string(world.path("config.toml")).unwrap();
    std::fs::write(world.path("config.toml"), config.replace("[listen]\n", &format!("[listen]\npublic_url = \"{url}\"\n"))).unwrap();
    world.told(&["reviewer", "add", ANN, "--role", "operator"]).await;
    world.told(&["reviewer", "add", BEN]).await;
    let gateway = world.serve_at(&format!("127.0.0.1:{port}")).await;
    let browser = Browser::start(true).await;
    browser.driver.cdp().send_raw("WebAuthn.enable", json!({})).await.unwrap();
    let options = json!({"protocol": "ctap2", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true, "isUserVerified": true, "automaticPresenceSimulation": true});
    browser.driver.cdp().send_raw("WebAuthn.addVirtualAuthenticator", json!({ "options": options })).await.unwrap();
    Desk { world, gateway, browser, url }
}

impl Desk {
    async fn by_link(&self, email: &str) {
        let link = self.world.told(&["reviewer", "link", email]).await;
        assert!(link.starts_with(&self.url), "{link}");
        self.browser.visit(&link).await;
        self.press("Sign in here").await;
    }

    async fn press(&self, button: &str) {
        self.browser.find_text("button", button).await.click().await.unwrap();
    }

    async fn sign_out(&self) {
        self.browser.visit(&self.url).await;
        self.press("Sign out").await;
        self.browser.says("You are signed out").await;
    }

    async fn add_passkey(&self, name: &str) {
        self.browser.visit(&format!("{}/account", self.url)).await;
        self.browser.find("#passkey-name").await.send_keys(name).await.unwrap();
        self.press("Add a passkey").await;
        self.browser.says("The passkey is yours now.").await;
        self.browser.says(name).await;
    }

    /// What the sign-in page would send, kept back.
    async fn answer(&self, page: &str) -> (String, String) {
        self.browser.visit(&format!("{}{page}", self.url)).await;
        let keep = "HTMLFormElement.prototype.requestSubmit = function () { window.kept = [this.elements.sealed.value, this.elements.answer.value]; }";
        self.browser.driver.execute(keep, vec![]).await.unwrap();
        self.press("Use my passkey").await;
        let kept = until("the passkey answered", || async {
            let kept = self.browser.driver.execute("return window.kept || null", vec![]).await.unwrap();
            kept.json().as_array().map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned()))
        });
        kept.await
    }

    async fn send(&self, path: &str, sealed: &str, answer: &str, cookie: &str) -> (u16, String) {
        let body = format!("sealed={}&answer={}", encoded(sealed), encoded(answer));
        let request = http().post(format!("{}{path}", self.gateway.url)).header("Content-Type", "application/x-www-form-urlencoded").header("Cookie", cookie);
        let response = request.body(body).send().await.unwrap();
        let cookies: Vec<String> = response.headers().get_all("set-cookie").iter().map(|value| value.to_str().unwrap().to_owned()).collect();
        (response.status().as_u16(), cookies.join("\n"))
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn a_passkey_is_made_signs_in_alone_and_ends_a_sign_in_that_a_link_began() {
    let desk = desk().await;
    let (browser, mut all) = (&desk.browser, Vec::new());
    desk.by_link(ANN).await;
    browser.says("Needs you").await;
    desk.add_passkey("Ann's laptop").await;
    browser.pictures("account-passkeys").await;
    look(browser, "an account with a passkey", &mut all).await;

    desk.sign_out().await;
    browser.visit(&format!("{}/sign-in", desk.url)).await;
    browser.pictures("sign-in-passkey").await;
    desk.press("Use my passkey").await;
    browser.says("Needs you").await;

    browser.visit(&format!("{}/account", desk.url)).await;
    desk.press("Always ask for a passkey").await;
    browser.says("your sign-ins end as you chose").await;
    desk.sign_out().await;
    desk.by_link(ANN).await;
    browser.says("One step is left").await;
    browser.pictures("sign-in-second").await;
    look(browser, "the second step of a sign-in", &mut all).await;
    browser.visit(&desk.url).await;
    browser.says("Please sign in").await;
    browser.visit(&format!("{}/sign-in/second", desk.url)).await;
    desk.press("Use my passkey").await;
    browser.says("Needs you").await;

    browser.visit(&format!("{}/account", desk.url)).await;
    desk.press("Remove").await;
    browser.says("The passkey is removed.").await;
    desk.sign_out().await;
    desk.by_link(ANN).await;
    browser.says("Needs you").await;
    assert!(all.is_empty(), "{} faults:\n{}", all.len(), all.join("\n"));
    let audit = desk.world.audit_is_whole().await;
    for kind in ["passkey.added", "second_factor.set", "passkey.removed", "\"how\":\"second_factor\"", "\"how\":\"passkey\""] {
        assert!(audit.contains(kind), "{kind} is not in the audit");
    }
}

#[tokio::test]
async fn who_lost_their_passkey_is_let_in_by_a_link_once_an_operator_ran_what_the_page_says() {
    let desk = desk().await;
    desk.by_link(BEN).await;
    desk.add_passkey("Ben's key").await;
    desk.press("Always ask for a passkey").await;
    desk.browser.says("your sign-ins end as you chose").await;
    desk.sign_out().await;
    desk.by_link(BEN).await;
    desk.browser.says("--no-passkeys").await;
    desk.browser.says(&desk.url).await;
    desk.world.told(&["reviewer", "set", BEN, "--no-passkeys"]).await;
    desk.by_link(BEN).await;
    desk.browser.says("Needs you").await;
    // Beside an operator: what they see of somebody with a second step.
    desk.add_passkey("Ben's new key").await;
    desk.press("Always ask for a passkey").await;
    desk.browser.says("your sign-ins end as you chose").await;
    desk.sign_out().await;
    desk.by_link(ANN).await;
    desk.browser.visit(&format!("{}/people", desk.url)).await;
    desk.browser.find_text("a", BEN).await.click().await.unwrap();
    desk.browser.find_text("summary", "They have lost a passkey").await.click().await.unwrap();
    desk.browser.pictures("person-passkey-lost").await;
    let mut all = Vec::new();
    look(&desk.browser, "a person with a passkey", &mut all).await;
    assert!(all.is_empty(), "{} faults:\n{}", all.len(), all.join("\n"));
    desk.press("Remove their passkeys").await;
    desk.browser.says("Their passkeys are gone").await;
}

#[tokio::test]
async fn an_answer_of_a_passkey_counts_once_unchanged_in_its_own_ceremony_and_for_an_active_person() {
    let desk = desk().await;
    desk.by_link(ANN).await;
    desk.add_passkey("Ann's laptop").await;
    desk.sign_out().await;

    let (sealed, answer) = desk.answer("/sign-in").await;
    let mut touched: Value = serde_json::from_str(&answer).unwrap();
    let signature = touched["response"]["signature"].as_str().unwrap().to_owned();
    let (head, tail) = signature.split_at(12);
    touched["response"]["signature"] = json!(format!("{}{}{}", &head[..11], if head.ends_with('A') { 'B' } else { 'A' }, tail));
    let (other_sealed, _) = desk.answer("/sign-in").await;
    for (what, sealed, answer) in [
        ("a touched signature", sealed.as_str(), touched.to_string()),
        ("another ceremony", other_sealed.as_str(), answer.clone()),
        ("a touched seal", &sealed.replacen(&sealed[..1], if sealed.starts_with('e') { "f" } else { "e" }, 1), answer.clone()),
        ("no answer", &sealed, String::new()),
        ("no JSON", &sealed, "{".repeat(4_000)),
        ("nothing", "", String::new()),
    ] {
        let (status, cookies) = desk.send("/sign-in/passkey", sealed, &answer, "").await;
        assert_eq!(status, 401, "{what}");
        assert!(!cookies.contains("paraph_session"), "{what}: {cookies}");
    }
    let (status, cookies) = desk.send("/sign-in/passkey", &sealed, &answer, "").await;
    assert_eq!((status, cookies.contains("paraph_session=ps_")), (303, true), "the right one lets in: {cookies}");
    let (status, cookies) = desk.send("/sign-in/passkey", &sealed, &answer, "").await;
    assert_eq!((status, cookies.contains("paraph_session")), (401, false), "a replay does not: {cookies}");

    // Ben's half-done sign-in is not ended by Ann's passkey, nor by an answer that was made for another page.
    let (sealed, answer) = desk.answer("/sign-in").await;
    assert_eq!(desk.send("/sign-in/second", &sealed, &answer, "paraph_half_way=ph_forged").await.0, 410);

    desk.world.told(&["reviewer", "add", "olga@example.org", "--role", "operator"]).await;
    desk.world.told(&["reviewer", "disable", ANN]).await;
    let (status, cookies) = desk.send("/sign-in/passkey", &sealed, &answer, "").await;
    assert_eq!((status, cookies.contains("paraph_session")), (401, false), "a disabled person stays out: {cookies}");
}
