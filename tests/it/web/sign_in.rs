//! Signing in over HTTP, as browsers do it: what is answered, to whom, how often, and what strangers learn of it.

mod account;
mod links;
mod passwords;
mod sessions;

use super::Desk;
use super::desk::{form, hidden};
use crate::fakes::ManualClock;
use paraph::domain::people::Person;
use paraph::domain::sign_in::SignInSettings;
use paraph::gate::Settings;
use paraph::store::{Change, Kind, Row, Store as _, Views as _};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const ANN: &str = "ann@example.org";
const BEN: &str = "ben@example.org";
const NOBODY: &str = "nix@example.org";
const GOOD: &str = "wintermantel fuchs 9";
const MINUTE: Duration = Duration::from_secs(60);

/// A desk whose mails leave, and its clock.
async fn desk() -> (Desk, Arc<ManualClock>) {
    desk_with(SignInSettings::default(), true).await
}

async fn desk_with(sign_in: SignInSettings, letters: bool) -> (Desk, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    (Desk::at_the_door(Settings { sign_in, letters, ..Settings::default() }, clock.clone()).await, clock)
}

/// An answer, with what differs between two equal ones taken out.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A browser without a script, with its cookies, at an address.
struct Jar<'a> {
    desk: &'a Desk,
    cookies: BTreeMap<String, String>,
    from: String,
}

impl<'a> Jar<'a> {
    fn new(desk: &'a Desk, from: &str) -> Jar<'a> {
        Jar { desk, cookies: BTreeMap::new(), from: from.to_owned() }
    }

    async fn send(&mut self, method: Method, path: &str, body: Option<String>, further: &[(&str, &str)]) -> Answer {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = self.desk.request(method, path).header("cookie", cookies.join("; ")).header("x-from", &self.from);
        request = request.header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0<script>");
        for (name, value) in further {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await.unwrap();
        self.keep(answer.headers());
        let (status, headers) = (answer.status(), answer.headers().clone());
        let headers = headers.iter().filter(|(name, _)| name.as_str() != "date");
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        let body = answer.text().await.unwrap();
        Answer { status, headers, body }
    }

    fn keep(&mut self, headers: &HeaderMap) {
        for line in headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()) {
            assert!(line.contains("; HttpOnly; SameSite=Lax") && line.contains("; Path=/;"), "{line}");
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            match line.contains("Max-Age=0;") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, None, &[]).await
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let origin = self.desk.url.clone();
        self.send(Method::POST, path, Some(form(fields)), &[("origin", &origin)]).await
    }

    /// The same with the token of the page's forms.
    async fn act(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = hidden(&self.get("/account").await.body, "csrf");
        let mut all = vec![("csrf", csrf.as_str())];
        all.extend(fields);
        self.post(path, &all).await
    }

    async fn with_password(&mut self, address: &str, password: &str) -> Answer {
        self.post("/sign-in/password", &[("address", address), ("password", password)]).await
    }

    async fn with_link(&mut self, email: &str) -> Answer {
        let link = self.desk.gate.make_link(email).await.unwrap();
        self.post(&format!("/sign-in/{link}"), &[]).await
    }

    fn session(&self) -> Option<&String> {
        self.cookies.get("paraph_session")
    }
}

/// The person sets a password, in a browser that is known to them from then on.
async fn with_password<'a>(desk: &'a Desk, email: &str, password: &str) -> Jar<'a> {
    let mut jar = Jar::new(desk, "198.51.100.1");
    assert_eq!(jar.with_link(email).await.status, StatusCode::SEE_OTHER);
    let set = jar.act("/account/password", &[("new", password), ("again", password)]).await;
    assert_eq!((set.status, set.header("location")), (StatusCode::SEE_OTHER, Some("/account?done=password")), "{}", set.body);
    jar
}

async fn letters(desk: &Desk) -> usize {
    desk.store.rows(Kind::Letter, None, 1000).await.unwrap().len()
}

async fn entries(desk: &Desk, kind: &str) -> Vec<(String, Value)> {
    let all = desk.store.entries(1, 10_000).await.unwrap();
    all.into_iter().filter(|entry| entry.kind == kind).map(|entry| (entry.actor, entry.data)).collect()
}

/// Changes a person behind the gate's back.
async fn change_person(desk: &Desk, email: &str, change: impl FnOnce(Person) -> Person) {
    let Some(Row::Person(person)) = desk.store.row(Kind::Person, email).await.unwrap() else { panic!("no such person") };
    let next = Person { revision: person.revision + 1, ..change(person) };
    let change = Change { rows: vec![Row::Person(next)], ..Change::of_facts(desk.gate.clock().now(), Vec::new()) };
    desk.store.commit(change).await.unwrap();
}
