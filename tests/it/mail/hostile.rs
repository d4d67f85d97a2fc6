//! Whatever an agent writes, wherever it can write: a mail has exactly its own headers, elements and links, and no
//! line of its text part passes for one of ours.

use super::{Office, header};
use crate::life::{HOUR, reject};
use paraph::domain::call::Call;
use paraph::domain::people::Role;
use paraph::gate::review::Decide;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Draws the same texts in every run.
struct Drawn(u64);

impl Drawn {
    fn next(&mut self, below: u64) -> u64 {
        // Knuth's MMIX; the low bits are poor.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    /// Pieces that mean something to a mail, a template or a terminal, between characters from all of Unicode.
    fn text(&mut self) -> String {
        const PIECES: [&str; 30] = [
            "\r\n",
            "\n",
            "\r",
            "Bcc: thief@example.org",
            "\r\n\r\n",
            "--paraph-",
            "<script>alert(1)</script>",
            "<a href=\"https://evil.example\">",
            "</div></body></html>",
            "https://evil.example/x",
            "www.evil.example",
            "mailto:thief@evil.example",
            "tel:112",
            "JAVASCRIPT:alert(1)",
            "data:text/html,x",
            "<img src=//evil.example>",
            "\u{202e}",
            "\u{200b}",
            "\u{feff}",
            "\u{2028}",
            "\u{85}",
            "\u{0}",
            "\u{1b}[2J",
            "{{ 7*7 }}",
            "&#60;b&#62;",
            "=?utf-8?q?x?=",
            "Agent:   somebody",
            "| x",
            "\" onmouseover=\"x",
            "]]>",
        ];
        let mut text = String::new();
        for _ in 0..=self.next(12) {
            match self.next(3) {
                0 => text.push_str(PIECES[usize::try_from(self.next(30)).unwrap()]),
                1 => text.extend(char::from_u32(u32::try_from(self.next(0x11_0000)).unwrap())),
                _ => text.extend(char::from_u32(u32::try_from(self.next(0x80)).unwrap())),
            }
        }
        text
    }
}

/// Headers, elements and attributes of our own mails.
const HEADERS: [&str; 13] = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "List-Id",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];
const ELEMENTS: [&str; 21] =
    ["html", "head", "title", "meta", "style", "body", "div", "span", "h1", "h2", "p", "strong", "bdi", "ol", "li", "a", "dl", "dt", "dd", "br", "b"];
const ATTRIBUTES: [&str; 6] = ["lang", "charset", "name", "content", "class", "dir"];

fn faults(mail: &Value, links: usize) -> Vec<String> {
    let mut faults = Vec::new();
    let strings = |what: &str| mail[what].as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let names: Vec<&str> = mail["headers"].as_array().unwrap().iter().map(|header| header[0].as_str().unwrap()).collect();
    let once: BTreeSet<&str> = names.iter().copied().collect();
    faults.extend(names.iter().filter(|name| !HEADERS.contains(name)).map(|name| format!("header {name}")));
    faults.extend((once.len() != names.len()).then(|| format!("a header twice: {names:?}")));
    for value in mail["headers"].as_array().unwrap() {
        let odd = |c: char| !c.is_ascii_graphic() && c != ' ';
        faults.extend(value[1].as_str().unwrap().contains(odd).then(|| format!("header {value}")));
    }
    faults.extend(strings("elements").iter().filter(|name| !ELEMENTS.contains(&name.as_str())).map(|name| format!("element {name}")));
    faults.extend(strings("attributes").iter().filter(|name| !ATTRIBUTES.contains(&name.as_str()) && *name != "href").map(|name| format!("attribute {name}")));
    let ours = |link: &String| link.starts_with("https://desk.example.org/");
    faults.extend(strings("links").iter().filter(|link| !ours(link)).map(|link| format!("link {link}")));
    faults.extend((strings("links").len() != links).then(|| format!("{} links", strings("links").len())));
    // What a mail program would make a link of by itself.
    let clickable = regex::Regex::new(r"(?i)[a-z]+://[^\s]|www\.\S|mailto:|tel:\d|javascript:|data:text|\bevil\.example").unwrap();
    for part in ["text", "words"] {
        let said = mail[part].as_str().unwrap().replace("https://desk.example.org/", "");
        faults.extend(clickable.find(&said).map(|found| format!("{part}: {} in {said}", found.as_str())));
        let hidden = |c: char| {
            (c.is_control() && c != '\n' && c != '\t' && c != '\r')
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
        };
        faults.extend(said.find(hidden).map(|at| format!("{part}: {:?}", said[at..].chars().next())));
    }
    // Whatever the agent wrote in its text stands behind a bar, and a label stands once.
    let text = mail["text"].as_str().unwrap();
    let labels = ["To:", "Agent:", "Server:", "Tool:", "Rule:", "Digest:", "Bcc:"];
    for label in labels {
        let most = usize::from(label != "Bcc:");
        faults.extend((text.lines().filter(|line| line.starts_with(label)).count() > most).then(|| format!("{label} twice in {text}")));
    }
    faults
}

#[tokio::test(start_paused = true)]
async fn whatever_an_agent_writes_a_mail_has_only_its_own_headers_elements_and_links() {
    let office = Office::open().await;
    office.gate.resume_work().await.unwrap();
    let ann = office.reviewer("ann@example.org", Role::Reviewer).await;
    office.person("ben@example.org", Role::Reviewer, &[]).await;
    let outbox = office.start();
    let mut drawn = Drawn(7);
    let mut calls = Vec::new();
    for _ in 0..60 {
        let (to, text, other) = (drawn.text(), drawn.text(), drawn.text());
        calls.push(match drawn.next(3) {
            0 => office.hold("send_dm", json!({ "to": to, "text": text })).await,
            1 => office.hold("send_dm", json!({ "to": to, "text": text, drawn.text(): other })).await,
            _ => office.hold(&format!("send_{other}"), json!({ to: text })).await,
        });
        tokio::time::sleep(HOUR / 12).await;
    }
    office.emptied().await;
    for id in &calls {
        // Agent text often comes back in a person's reason.
        let quoting = |call: &Call| Decide { reason: Some(format!("No: {}", call.arguments)), ..reject(call) };
        office.decide(&ann, id, quoting).await;
        tokio::time::sleep(HOUR / 12).await;
    }
    office.emptied().await;
    let mails = office.mails();
    assert_eq!(mails.len(), 60 * 3, "a mail each for two, and the end for the one who did not decide");
    let faults: Vec<String> = mails.iter().flat_map(|mail| faults(mail, 1)).collect();
    assert!(faults.is_empty(), "{} faults: {:#?}", faults.len(), &faults[..faults.len().min(5)]);
    assert!(mails.iter().any(|mail| header(mail, "Subject").contains("send_?")), "the tools' names were hostile");

    // Many at once, in one list.
    outbox.abort();
    for _ in 0..30 {
        office.hold("send_dm", json!({ "to": drawn.text(), "text": drawn.text() })).await;
    }
    tokio::time::sleep(HOUR / 12).await;
    office.start();
    office.emptied().await;
    let lists = office.mails_about("list-");
    assert_eq!(lists.len(), 2);
    for (_, list) in &lists {
        let found: Vec<String> = faults_of_list(list);
        assert!(found.is_empty(), "{found:#?}");
    }
}

/// A list has its labels once for every call.
fn faults_of_list(mail: &Value) -> Vec<String> {
    let calls = mail["text"].as_str().unwrap().matches("https://desk.example.org/calls/").count();
    faults(mail, calls + 1).into_iter().filter(|fault| !fault.contains(" twice in ")).collect()
}

#[test]
fn a_planted_fault_is_found() {
    let clean = json!({ "headers": [["To", "x"]], "elements": ["p"], "attributes": ["class", "href"], "links": ["https://desk.example.org/"], "text": "To: x", "words": "x" });
    assert_eq!(faults(&clean, 1), Vec::<String>::new());
    for (what, planted) in [
        ("headers", json!([["Bcc", "x"]])),
        ("headers", json!([["Subject", "x\u{e9}"]])),
        ("elements", json!(["script"])),
        ("attributes", json!(["onclick"])),
        ("links", json!(["https://evil.example"])),
        ("text", json!("see www.x.y")),
        ("text", json!("To: x\nTo: y")),
        ("words", json!("a\u{202e}b")),
    ] {
        let mut mail = clean.clone();
        mail[what] = planted;
        assert_eq!(faults(&mail, 1).len(), 1, "{what}");
    }
}
