//! Sessions: how long they last whatever the clock does, what counts as a use, and how they end.

use super::super::live;
use super::*;
use crate::fakes::CountingUpstream;
use paraph::domain::client::Client;
use paraph::domain::people::Role;
use paraph::gate::Gate;
use paraph::gate::signin::{Arrival, Opened, Session};
use paraph::store::in_memory::InMemory;

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_session_ends_at_its_limit_and_when_nobody_uses_it() {
    let (desk, clock) = desk().await;
    let (mut busy, mut idle, mut watched) = (Jar::new(&desk, ""), Jar::new(&desk, ""), Jar::new(&desk, ""));
    for jar in [&mut busy, &mut idle, &mut watched] {
        jar.with_link(ANN).await;
    }
    let page = [("sec-fetch-dest", "document")];
    let script = [("sec-fetch-dest", "empty")];
    for half_hour in 1..24u32 {
        clock.advance(HOUR / 2 + SECOND);
        assert_eq!(busy.send(Method::GET, "/", None, &page).await.status, StatusCode::OK, "after {half_hour} half hours");
        // An open page that looks for news by itself is nobody who uses it.
        let expected = if half_hour < 4 { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        assert_eq!(watched.send(Method::GET, "/", None, &script).await.status, expected, "after {half_hour} half hours");
    }
    assert_eq!(idle.get("/").await.status, StatusCode::UNAUTHORIZED);
    // A little more: the uninterrupted time, which a test does not set, runs on meanwhile.
    clock.advance(HOUR / 2 + SECOND);
    assert_eq!(busy.get("/").await.status, StatusCode::UNAUTHORIZED, "twelve hours");
    // A use is no fact of the audit.
    let kinds: Vec<String> = desk.store.entries(1, 1000).await.unwrap().into_iter().map(|entry| entry.kind.to_string()).collect();
    assert_eq!(kinds.iter().filter(|kind| kind.as_str() == "signed_in").count(), 3);
    assert!(kinds.len() < 20, "{kinds:?}");
}

#[tokio::test]
async fn a_shorter_limit_in_the_configuration_counts_for_open_sessions_too() {
    let (desk, clock) = desk().await;
    let mut jar = Jar::new(&desk, "");
    jar.with_link(ANN).await;
    clock.advance(HOUR + SECOND);
    assert_eq!(jar.get("/").await.status, StatusCode::OK);
    let sign_in = SignInSettings { session: HOUR, ..SignInSettings::default() };
    desk.gate.reload(Settings { sign_in, ..(*desk.gate.settings()).clone() }).await.unwrap();
    assert_eq!(jar.get("/").await.status, StatusCode::UNAUTHORIZED);
}

/// A gate alone, whose wall clock the test sets and whose uninterrupted time is tokio's.
async fn gate() -> (Gate, Arc<InMemory>, Arc<ManualClock>) {
    let (store, clock) = (Arc::new(InMemory::new()), Arc::new(ManualClock::default()));
    let gate = gate_over(&store, &clock);
    gate.add_person(ANN, None, Vec::new(), Role::Reviewer).await.unwrap();
    (gate, store, clock)
}

fn gate_over(store: &Arc<InMemory>, clock: &Arc<ManualClock>) -> Gate {
    Gate::open(store.clone(), Arc::new(CountingUpstream::default()), clock.clone(), Settings::default())
}

async fn open(gate: &Gate) -> Session {
    let link = gate.make_link(ANN).await.unwrap();
    let arrival = Arrival { client: Client::default(), ..Arrival::default() };
    match gate.redeem_link(&link, &arrival).await.unwrap() {
        Some(Opened::In(session)) => session,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_stands_still_or_goes_back_makes_no_session_live_longer() {
    let (gate, _, clock) = gate().await;
    let session = open(&gate).await;
    for hour in 1..12 {
        tokio::time::advance(HOUR).await;
        // The wall clock says each hour that the session was just opened.
        clock.set(-hour * 100);
        assert!(gate.use_session(&session.secret).await.unwrap().is_some(), "after {hour} hours");
    }
    tokio::time::advance(HOUR).await;
    assert!(gate.use_session(&session.secret).await.unwrap().is_none());
    let idle = open(&gate).await;
    tokio::time::advance(2 * HOUR).await;
    assert!(gate.use_session(&idle.secret).await.unwrap().is_none());
}

#[tokio::test]
async fn a_clock_that_was_far_ahead_leaves_no_session_that_lives_longer_and_locks_nobody_out() {
    let (gate, store, clock) = gate().await;
    clock.set(365 * 24 * 3600);
    let ahead = open(&gate).await;
    assert!(gate.by_session(&ahead.secret).await.unwrap().is_some());
    clock.set(0);
    assert!(gate.by_session(&ahead.secret).await.unwrap().is_none(), "it was made in the future");
    let now = open(&gate).await;
    assert!(gate.by_session(&now.secret).await.unwrap().is_some());
    // A process that began while the clock was ahead measures by that; people still get in, also after it is set right.
    clock.set(365 * 24 * 3600);
    let second = gate_over(&store, &clock);
    clock.set(0);
    let late = open(&second).await;
    assert!(second.by_session(&late.secret).await.unwrap().is_some());
    let third = gate_over(&store, &clock);
    assert!(third.by_session(&late.secret).await.unwrap().is_none());
    assert!(third.by_session(&now.secret).await.unwrap().is_some());
}

#[tokio::test]
async fn a_forged_foreign_or_wrongly_named_cookie_is_no_session() {
    let (desk, _) = desk().await;
    let mut ann = Jar::new(&desk, "");
    ann.with_link(ANN).await;
    let session = ann.session().unwrap().clone();
    let token = desk.token(ANN).await;
    for (name, value) in [
        ("paraph_session", format!("{session}x")),
        ("paraph_session", session[..session.len() - 1].to_owned()),
        ("paraph_session", token),
        ("paraph_session", ann.cookies["paraph_device"].clone()),
        ("paraph_session", "ps_forged".to_owned()),
        ("paraph_session", String::new()),
        ("Paraph_Session", session.clone()),
        ("__Host-paraph_session", session.clone()),
    ] {
        let mut jar = Jar::new(&desk, "");
        jar.cookies.insert(name.to_owned(), value);
        assert_eq!(jar.get("/").await.status, StatusCode::UNAUTHORIZED, "{name}");
    }
    assert_eq!(desk.api(&session, Method::GET, "/api/v1/calls", None).await.status(), StatusCode::UNAUTHORIZED);

    // Under https the name without `__Host-` could come from a neighbour of the domain.
    let desk = Desk::with(paraph::gate::HoldSettings::default(), "https://paraph.example.org", 5).await;
    let link = desk.gate.make_link(ANN).await.unwrap();
    let answer = desk.request(Method::POST, &format!("/sign-in/{link}")).header("host", "paraph.example.org").send().await.unwrap();
    let cookies: Vec<&str> = answer.headers().get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    assert!(cookies.len() >= 3);
    assert!(cookies.iter().all(|cookie| cookie.starts_with("__Host-paraph_") && cookie.ends_with("; Secure") && !cookie.contains("Domain")), "{cookies:?}");
    let session = cookies[0].split(';').next().unwrap();
    for (cookie, status) in [(session.to_owned(), StatusCode::OK), (session.replace("__Host-", ""), StatusCode::UNAUTHORIZED)] {
        let answer = desk.request(Method::GET, "/").header("host", "paraph.example.org").header("cookie", cookie).send().await.unwrap();
        assert_eq!(answer.status(), status);
    }
}

#[tokio::test]
async fn signing_in_again_ends_the_session_that_the_browser_had_and_no_other() {
    let (desk, _) = desk().await;
    let (mut jar, mut elsewhere) = (Jar::new(&desk, ""), Jar::new(&desk, ""));
    elsewhere.with_link(ANN).await;
    jar.with_link(ANN).await;
    let first = jar.session().unwrap().clone();
    jar.with_link(BEN).await;
    assert_ne!(jar.session(), Some(&first));
    let mut thief = Jar::new(&desk, "");
    thief.cookies.insert("paraph_session".into(), first);
    assert_eq!(thief.get("/").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!((jar.get("/").await.status, elsewhere.get("/").await.status), (StatusCode::OK, StatusCode::OK));
}

#[tokio::test]
async fn one_ends_a_session_of_ones_own_or_all_of_them_and_live_pages_end_with_them() {
    let (desk, _) = desk().await;
    let (mut ann, mut elsewhere, mut ben) = (Jar::new(&desk, ""), Jar::new(&desk, ""), Jar::new(&desk, ""));
    ben.with_link(BEN).await;
    elsewhere.with_link(ANN).await;
    ann.with_link(ANN).await;
    let page = ann.get("/account").await.body;
    assert_eq!((page.matches("Firefox on Linux").count(), page.matches("this one").count()), (2, 1), "{page}");
    assert!(!page.contains("&#60;script") && !page.contains("Gecko"), "only known words of what a browser calls itself");
    let id = hidden(page.split_once("/account/sessions/end").unwrap().1, "id");
    let bens = ben.get("/account").await.body;
    assert!(!bens.contains("/account/sessions/end"), "the one session is this one");
    // Ben knows the id and cannot use it.
    let answer = ben.act("/account/sessions/end", &[("id", &id)]).await;
    assert_eq!((answer.status, elsewhere.get("/").await.status), (StatusCode::UNPROCESSABLE_ENTITY, StatusCode::OK));

    let cookie = format!("paraph_session={}", elsewhere.session().unwrap());
    let mut stream = desk.request(Method::GET, "/live").header("cookie", &cookie).send().await.unwrap();
    let mut seen = String::new();
    assert!(live::until(&mut stream, &mut seen, "event: look").await);
    assert_eq!(ann.act("/account/sessions/end", &[("id", &id)]).await.header("location"), Some("/account?done=session"));
    assert!(!live::until(&mut stream, &mut seen, "never").await, "the stream goes on");
    assert_eq!((ann.get("/").await.status, elsewhere.get("/").await.status), (StatusCode::OK, StatusCode::UNAUTHORIZED));

    elsewhere.with_link(ANN).await;
    let answer = ann.act("/account/sign-out", &[]).await;
    assert!(answer.status == StatusCode::OK && answer.body.contains("You are signed out") && ann.session().is_none());
    assert_eq!((elsewhere.get("/").await.status, ben.get("/").await.status), (StatusCode::UNAUTHORIZED, StatusCode::OK));
    assert_eq!(entries(&desk, "signed_out").await.last().unwrap().1["count"], 2);
}

#[tokio::test]
async fn a_person_has_fifty_sessions_and_one_more_ends_the_oldest() {
    let (desk, clock) = desk().await;
    let mut jars = Vec::new();
    for _ in 0..51 {
        clock.advance(Duration::from_secs(1));
        let mut jar = Jar::new(&desk, "");
        jar.with_link(ANN).await;
        jars.push(jar);
    }
    assert_eq!(jars[0].get("/").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!((jars[1].get("/").await.status, jars[50].get("/").await.status), (StatusCode::OK, StatusCode::OK));
}
