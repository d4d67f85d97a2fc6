//! Every mail as a person sees it: in a real browser, light and dark, on a desk and on a phone; axe finds no fault.
//! Pictures are left in `target/screenshots` for people to look at.

use super::{Office, header};
use crate::browser::look;
use crate::fakes::Mood;
use crate::life::{HOUR, approve, reject};
use crate::world::Browser;
use paraph::config::Show;
use paraph::domain::audit::Fact;
use paraph::domain::call::{Call, Verdict};
use paraph::domain::letter::{Letter, Trouble};
use paraph::domain::people::Role;
use paraph::gate::Clock as _;
use paraph::gate::resolve::Resolution;
use paraph::gate::review::Decide;
use paraph::store::{Change, Row};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const LONG: &str = "Hi Bob,\n\nthank you for the quick answer. I have moved Friday's call to 15:00 and asked Cleo to bring the numbers of the last quarter. \
                    If that does not suit you, say so until Thursday noon.\n\nThe agenda is at https://wiki.example.org/agenda, the room is 4.12.\n\nBest,\nYour support team";
const HOSTILE: &str = "Hello <script>alert('stolen')</script><img src=x onerror=alert(1)> \u{202e}txet desrever\u{202c} zero\u{200b}width \
                       p\u{0430}ypal.com </div></body><h1>Approved</h1> wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww";

async fn office(show: Show) -> (Office, paraph::gate::Reviewer, tokio::task::JoinHandle<()>) {
    let office = Office::open().await;
    office.gate.resume_work().await.unwrap();
    office.gate.add_person("ann@example.org", Some("Ann Archer".into()), Vec::new(), Role::Reviewer).await.unwrap();
    office.person("ben@example.org", Role::Reviewer, &[]).await;
    office.person("olga@example.org", Role::Operator, &["none"]).await;
    let token = office.gate.make_api_token("ann@example.org", "test", HOUR * 100).await.unwrap();
    let ann = office.gate.by_api_token(&token).await.unwrap().unwrap();
    let outbox = office.start_showing(show);
    (office, ann, outbox)
}

/// Makes one mail of each kind; the HTML of each by a name for its picture.
async fn mails() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut take = |name: &str, mail: &Value| {
        found.insert(name.to_owned(), mail["html"].as_str().unwrap().to_owned());
    };
    let (office, ann, outbox) = office(Show::Message).await;
    let message = office.dm(LONG).await;
    let hostile = office.dm(HOSTILE).await;
    let action =
        office.hold("send_pair", json!({ "folder": "invoices/2026", "recursive": true, "older_than_days": 400, "note": "see https://evil.example" })).await;
    office.emptied().await;
    take("message", &office.mails_about(&format!("held-{message}"))[0].1);
    take("hostile", &office.mails_about(&format!("held-{hostile}"))[0].1);
    take("action", &office.mails_about(&format!("held-{action}"))[0].1);
    tokio::time::sleep(HOUR * 13).await;
    take("reminder", &office.mails_about(&format!("reminder-{message}"))[0].1);
    let reason = |call: &Call| Decide { reason: Some("Bob is on holiday until Monday.\nPlease write to Cleo instead.".into()), ..reject(call) };
    office.decide(&ann, &message, reason).await;
    let changes = |call: &Call| Decide { verdict: Verdict::RequestChanges, reason: Some("Say which folder first.".into()), ..approve(call) };
    office.decide(&ann, &action, changes).await;
    office.decide(&ann, &hostile, approve).await;
    office.emptied().await;
    tokio::time::sleep(HOUR).await;
    for (name, id) in [("rejected", &message), ("changes", &action), ("sent", &hostile)] {
        take(name, &office.mails_about(&format!("settled-{id}"))[0].1);
    }
    *office.upstream.mood.lock().unwrap() = Mood::Vanishes;
    let vanished = office.dm("Your parcel has left our house today.").await;
    office.decide(&ann, &vanished, approve).await;
    tokio::time::sleep(HOUR).await;
    take("unconfirmed", &office.mails_about(&format!("unconfirmed-{vanished}"))[0].1);
    let call = office.call(&vanished).await;
    ann.resolve(&vanished, Resolution { sent: true, version: call.version, note: Some("It stands in the chat.".into()) }).await.unwrap();
    tokio::time::sleep(HOUR).await;
    take("resolved", &office.mails_about(&format!("settled-{vanished}"))[0].1);

    let all = [Trouble::UpstreamDown { server: "chat".into() }, Trouble::DiskLow, Trouble::Unconfirmed { calls: 2 }];
    office.gate.tell_operators(&all).await.unwrap();
    let now = office.clock.now();
    let fact = Fact { kind: "link.mailed", call: None, actor: "paraph".into(), data: json!({}).into() };
    office.store.commit(Change::of_row(now, Row::Letter(Letter::about_sign_in("1", "ann@example.org", now)), fact)).await.unwrap();
    office.emptied().await;
    take("trouble", &office.mails_about("trouble-")[0].1);
    take("sign-in", &office.mails_about("sign-in-")[0].1);

    // A digest: what waits, and what is settled since.
    *office.upstream.mood.lock().unwrap() = Mood::Answers;
    let to = async |name: &str, text: &str| office.hold("send_dm", json!({ "to": name, "text": text })).await;
    let early = [to("@cleo", "The numbers of the last quarter are in the usual folder.").await, to("dora@example.com", "See you at 15:00.").await];
    office.emptied().await;
    outbox.abort();
    for (n, name) in ["@eve", "@fred", "@gina", "@hugo", "@ida", "@jack", "@kim", "@liv", "@max", "@nora", "@otto"].iter().enumerate() {
        to(name, &format!("Good morning! Your order {} is on its way and should be with you by Thursday, if the weather lets it; see https://track.example/{n} for where it is.", 4017 + n)).await;
    }
    office.hold("send_pair", json!({ "folder": "invoices/2026", "recursive": true })).await;
    for (id, decide) in early.iter().zip([reject as fn(&Call) -> Decide, approve]) {
        office.decide(&ann, id, decide).await;
    }
    tokio::time::sleep(HOUR).await;
    office.start();
    office.emptied().await;
    let lists = office.mails_about("list-");
    let (_, list) = lists.iter().max_by_key(|(_, mail)| header(mail, "Subject").len()).expect("a list");
    take("list", list);

    let (office, ann, _outbox) = self::office(Show::Link).await;
    let id = office.dm(LONG).await;
    office.emptied().await;
    take("link", &office.mails_about("held-")[0].1);
    office.decide(&ann, &id, reject).await;
    office.emptied().await;
    take("link-rejected", &office.mails_about("settled-")[0].1);
    found
}

#[test]
fn every_mail_can_be_read_by_everybody_in_light_and_dark_on_a_desk_and_on_a_phone() {
    let paused = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let mails = paused.block_on(mails());
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let browser = Browser::start(true).await;
        let mut faults = Vec::new();
        for (name, html) in &mails {
            let file = folder.path().join(format!("{name}.html"));
            std::fs::write(&file, html).unwrap();
            browser.visit(&format!("file://{}", file.display())).await;
            browser.find("h1").await;
            look(&browser, name, &mut faults).await;
            browser.pictures(&format!("mail-{name}")).await;
        }
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
        browser.close_without_errors().await;
    });
}
