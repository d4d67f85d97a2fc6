//! Leases through the real gate (semantics.md 26): a busy reader costs few commits, and yet exactly as many pass as the
//! limit says, nobody is refused because of places that nobody uses, a clean stop gives them back and a crash does not.

use super::Desk;
use super::limited::{limit, limited, limited_by, refused, sent, text};
use crate::fakes::{CountingUpstream, ManualClock, copy_folder};
use crate::faulty::store::{FaultyStore, OnCommit};
use paraph::domain::limit::Counter;
use paraph::domain::people::Agent;
use paraph::domain::policy::ScopeSpec;
use paraph::gate::people::NewAgent;
use paraph::gate::{Admission, Ask, Clock as _, Gate};
use paraph::store::in_memory::InMemory;
use paraph::store::on_sled::{OnSled, Settings as SledSettings};
use paraph::store::{Kind, Row, Store, StoreError};
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Whether it passed.
async fn passes(gate: &Gate, ask: Ask) -> bool {
    match gate.admit(ask).await.unwrap() {
        Admission::Allowed(pass) => {
            pass.send(None, Default::default()).await;
            true
        }
        Admission::Refused(notice) => {
            assert_eq!(notice.meta["state"], "limited");
            false
        }
        Admission::Unknown | Admission::Waiting(_) => panic!("neither allowed nor limited"),
    }
}

async fn counters(store: &dyn Store) -> Vec<Counter> {
    let rows = store.rows(Kind::Counter, None, 100).await.unwrap();
    rows.into_iter().filter_map(|row| if let Row::Counter(counter) = row { Some(counter) } else { None }).collect()
}

/// Places taken in the one counter, as asked and as sent.
async fn taken(store: &dyn Store, desk: &ManualClock) -> [u64; 2] {
    let counters = counters(store).await;
    let [counter] = counters.as_slice() else { panic!("one counter, not {}", counters.len()) };
    [&counter.asked, &counter.sent].map(|ledger| ledger.used(desk.now(), counter.window) / 1_000_000)
}

async fn other_agent(desk: &Desk, name: &str) -> Agent {
    let token = desk.gate.add_agent(NewAgent { name: name.into(), ..NewAgent::default() }).await.unwrap();
    desk.gate.agent_by_token(&token).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_thousand_reading_calls_in_a_burst_need_few_commits() {
    let (store, taking) = (FaultyStore::over(Arc::new(InMemory::default())), Arc::new(AtomicUsize::new(0)));
    let desk = Desk::over(store.clone(), limited(100_000)).await;
    let counted = taking.clone();
    store.script_commits(move |change| {
        counted.fetch_add(usize::from(!change.takes.is_empty() || !change.given_back.is_empty()), Ordering::SeqCst);
        OnCommit::Pass
    });
    for _ in 0..1000 {
        sent(&desk, "read_inbox", "{}").await;
    }
    desk.gate.close(Duration::from_secs(5)).await;
    let commits = taking.load(Ordering::SeqCst);
    eprintln!("{commits} commits for 1,000 calls");
    // Doubling gets there with ten; a slow machine ends blocks early.
    assert!(commits <= 100, "{commits}");
    assert_eq!(taken(&*store, &desk.clock).await, [1000; 2]);
    let kinds = desk.verified_kinds().await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "call.allowed").count(), 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_exactly_so_many_pass_as_the_limit_says() {
    for max in [19, 20, 45, 100] {
        let desk = Desk::over(Arc::new(InMemory::default()), limited(max)).await;
        let calls: Vec<_> = (0..140)
            .map(|_| (desk.gate.clone(), desk.ask_of("read_inbox", "{}")))
            .map(|(gate, ask)| tokio::spawn(async move { passes(&gate, ask).await }))
            .collect();
        let mut passed = 0;
        for call in calls {
            passed += u64::from(call.await.unwrap());
        }
        assert_eq!(passed, max);
    }
}

#[tokio::test]
async fn who_calls_rarely_is_counted_call_by_call() {
    let desk = Desk::over(Arc::new(InMemory::default()), limited(100)).await;
    for number in 1..=20 {
        sent(&desk, "read_inbox", "{}").await;
        assert_eq!(taken(&*desk.store, &desk.clock).await, [number; 2]);
        desk.clock.advance(Duration::from_millis(60));
    }
}

/// Two of a block of two are taken, and one is used.
async fn with_a_rest_of_one(desk: &Desk) {
    for _ in 0..2 {
        sent(desk, "read_inbox", "{}").await;
    }
    assert_eq!(taken(&*desk.store, &desk.clock).await, [3; 2], "no block was fetched, so nothing is tried here");
}

#[tokio::test]
async fn nobody_is_refused_because_of_places_that_lie_unused_in_a_lease() {
    let by_server = || limited_by(vec![limit("rate", 20, ScopeSpec::Server)]);
    // A write, another agent's read, and a hold.
    let desk = Desk::over(Arc::new(InMemory::default()), by_server()).await;
    with_a_rest_of_one(&desk).await;
    for number in 0..18 {
        sent(&desk, "write_note", &text(number)).await;
    }
    assert_eq!(refused(&desk, "write_note", &text(18)).await.meta["state"], "limited");
    assert_eq!(refused(&desk, "read_inbox", "{}").await.meta["state"], "limited");

    let desk = Desk::over(Arc::new(InMemory::default()), by_server()).await;
    with_a_rest_of_one(&desk).await;
    let other = other_agent(&desk, "other").await;
    let mut passed = 0;
    for _ in 0..30 {
        passed += usize::from(passes(&desk.gate, Ask { agent: other.clone(), ..desk.ask_of("read_inbox", "{}") }).await);
    }
    assert_eq!(passed, 18);

    let desk = Desk::over(Arc::new(InMemory::default()), by_server()).await;
    with_a_rest_of_one(&desk).await;
    for number in 0..18 {
        desk.seat("send_dm", &text(number)).await;
    }
    assert_eq!(refused(&desk, "send_dm", &text(18)).await.meta["state"], "limited");
}

#[tokio::test]
async fn two_agents_with_limits_of_their_own_have_two_leases() {
    let desk = Desk::over(Arc::new(InMemory::default()), limited(100)).await;
    let other = other_agent(&desk, "other").await;
    let mut passed = [0; 2];
    for _ in 0..120 {
        passed[0] += usize::from(passes(&desk.gate, desk.ask_of("read_inbox", "{}")).await);
        passed[1] += usize::from(passes(&desk.gate, Ask { agent: other.clone(), ..desk.ask_of("read_inbox", "{}") }).await);
    }
    assert_eq!(passed, [100; 2]);
    assert_eq!(counters(&*desk.store).await.len(), 2);
}

#[tokio::test]
async fn what_nobody_used_comes_back_by_itself() {
    let desk = Desk::over(Arc::new(InMemory::default()), limited(100)).await;
    with_a_rest_of_one(&desk).await;
    let back = async {
        while taken(&*desk.store, &desk.clock).await != [2; 2] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), back).await.expect("the rest comes back");
}

#[tokio::test]
async fn a_leased_call_that_never_left_gives_back_its_own_place_only() {
    let desk = Desk::over(Arc::new(InMemory::default()), limited(100)).await;
    with_a_rest_of_one(&desk).await;
    *desk.upstream.mood.lock().unwrap() = crate::fakes::Mood::NeverReached;
    sent(&desk, "read_inbox", "{}").await;
    assert_eq!(taken(&*desk.store, &desk.clock).await, [3, 2]);
    desk.gate.close(Duration::from_secs(5)).await;
    assert_eq!(taken(&*desk.store, &desk.clock).await, [3, 2]);
}

#[tokio::test]
async fn in_the_audit_no_leased_call_ends_before_it_is_allowed() {
    let desk = Desk::over(Arc::new(InMemory::default()), limited(1000)).await;
    with_a_rest_of_one(&desk).await;
    *desk.upstream.mood.lock().unwrap() = crate::fakes::Mood::NeverReached;
    for number in 0..20 {
        assert!(passes(&desk.gate, desk.ask_of("read_note", &text(number))).await);
    }
    desk.gate.close(Duration::from_secs(5)).await;
    let mut under_way = 0_i32;
    for kind in desk.verified_kinds().await {
        under_way += i32::from(kind == "call.allowed") - i32::from(kind == "call.ended");
        assert!(under_way >= 0, "a call ended that was not allowed yet");
    }
    assert_eq!(under_way, 0);
}

#[tokio::test]
async fn a_clean_stop_gives_the_rest_back_and_a_crash_leaves_it_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (data, crashed) = (folder.path().join("data"), folder.path().join("crashed"));
    let store = OnSled::open(&data, &SledSettings::default()).unwrap();
    let desk = Desk::over(Arc::new(store.clone()), limited_by(vec![limit("rate", 20, ScopeSpec::Grant)])).await;
    // A disk that was slow here may have taken each place alone.
    while taken_or_none(&store, &desk.clock).await <= used(&desk) {
        desk.clock.advance(2 * MINUTE);
        desk.upstream.sent.lock().unwrap().clear();
        for _ in 0..2 {
            sent(&desk, "read_inbox", "{}").await;
        }
        // As another process would find it after a kill.
        let _ = std::fs::remove_dir_all(&crashed);
        copy_folder(&data, &crashed);
    }
    desk.gate.close(Duration::from_secs(5)).await;
    assert_eq!(taken(&store, &desk.clock).await, [2; 2]);
    store.close().await;
    let after = OnSled::open(&crashed, &SledSettings::default()).unwrap();
    assert_eq!(taken(&after, &desk.clock).await, [3; 2]);
    after.close().await;
}

fn used(desk: &Desk) -> u64 {
    desk.upstream.count("{}") as u64
}

async fn taken_or_none(store: &dyn Store, clock: &ManualClock) -> u64 {
    if counters(store).await.is_empty() { 0 } else { taken(store, clock).await[1] }
}

#[derive(Debug, Clone)]
enum Step {
    /// So many calls of one agent, one behind the other or all at once; of a reading tool or not.
    Calls {
        agent: usize,
        many: usize,
        at_once: bool,
        reads: bool,
    },
    Later(u64),
    Crash,
    Stop,
    /// Places of blocks whose time is over come back.
    Rest,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..2usize, 1..30usize, any::<bool>(), prop::bool::weighted(0.8)).prop_map(|(agent, many, at_once, reads)| Step::Calls { agent, many, at_once, reads }),
        5 => (0..60u64).prop_map(Step::Later),
        2 => (500..3000u64).prop_map(Step::Later),
        1 => Just(Step::Crash),
        1 => Just(Step::Stop),
        1 => Just(Step::Rest),
    ]
}

/// A gate over what the last one left; its own way to the store can be cut, as a crash does.
struct Running {
    gate: Gate,
    cut: Arc<AtomicBool>,
}

async fn running(truth: &Arc<dyn Store>, clock: &Arc<ManualClock>, max: u64) -> Running {
    let (store, cut) = (FaultyStore::over(truth.clone()), Arc::new(AtomicBool::new(false)));
    let is_cut = cut.clone();
    store.script_commits(move |_| if is_cut.load(Ordering::SeqCst) { OnCommit::Fail(StoreError::Poisoned("crashed".into())) } else { OnCommit::Pass });
    let mut of_two_seconds = limit("rate", max, ScopeSpec::Server);
    of_two_seconds.window = Duration::from_secs(2);
    let gate = Gate::open(store, Arc::new(CountingUpstream::default()), clock.clone(), limited_by(vec![of_two_seconds]));
    gate.recover().await.unwrap();
    gate.resume_work().await.unwrap();
    Running { gate, cut }
}

async fn history(max: u64, steps: &[Step]) {
    let (truth, clock): (Arc<dyn Store>, _) = (Arc::new(InMemory::default()), Arc::new(ManualClock::default()));
    let mut now = running(&truth, &clock, max).await;
    let mut agents = Vec::new();
    for name in ["ada", "bot"] {
        let token = now.gate.add_agent(NewAgent { name: name.into(), ..NewAgent::default() }).await.unwrap();
        agents.push(now.gate.agent_by_token(&token).await.unwrap().unwrap());
    }
    // When calls passed, and how many places were lost with crashes.
    let (mut passed, mut crashed): (Vec<i64>, bool) = (Vec::new(), false);
    let within = |passed: &[i64], now: i64| passed.iter().filter(|at| **at > now - 2000).count() as u64;
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Calls { agent, many, at_once, reads } => {
                let tool = if *reads { "read_inbox" } else { "write_note" };
                let asks = (0..*many).map(|turn| Ask {
                    agent: agents[*agent].clone(),
                    server: "demo".into(),
                    tool: tool.into(),
                    arguments: "{}".into(),
                    value: serde_json::json!({ "turn": turn, "number": number }),
                    meta: None,
                    session: None,
                    trace: Vec::new(),
                });
                let mut answers = Vec::new();
                if *at_once {
                    answers = futures_util::future::join_all(asks.map(|ask| passes(&now.gate, ask))).await;
                } else {
                    for ask in asks {
                        answers.push(passes(&now.gate, ask).await);
                    }
                }
                let ms = clock.now().as_millisecond();
                passed.extend(answers.iter().filter(|passed| **passed).map(|_| ms));
                assert!(within(&passed, ms) <= max, "step {number}: more than {max} in a window");
                let is_refused = answers.iter().any(|passed| !passed);
                // Places stay taken 100 ms longer.
                let counted = passed.iter().filter(|at| **at > ms - 2100).count() as u64;
                assert!(!is_refused || crashed || counted >= max, "step {number}: refused with {counted} of {max} used");
            }
            Step::Later(ms) => {
                clock.advance(Duration::from_millis(*ms));
                tokio::time::advance(Duration::from_millis(*ms)).await;
            }
            Step::Rest => tokio::time::sleep(Duration::from_millis(200)).await,
            Step::Crash => {
                now.cut.store(true, Ordering::SeqCst);
                now.gate.close(Duration::from_secs(1)).await;
                crashed = true;
                now = running(&truth, &clock, max).await;
            }
            Step::Stop => {
                now.gate.close(Duration::from_secs(1)).await;
                now = running(&truth, &clock, max).await;
            }
        }
        if let [counter] = counters(&*truth).await.as_slice() {
            let ms = clock.now().as_millisecond();
            let used = counter.sent.used(clock.now(), counter.window) / 1_000_000;
            assert!(used >= within(&passed, ms), "step {number}: {used} counted of {}", within(&passed, ms));
            let most = passed.iter().filter(|at| **at > ms - 2100 - 50).count() as u64;
            assert!(!matches!(step, Step::Stop) || crashed || used <= most, "step {number}: a clean stop kept {used} of {most}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_window_holds_more_than_the_limit_whatever_is_leased(max in 15..90u64, steps in prop::collection::vec(step(), 5..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(history(max, &steps));
    }
}

#[tokio::test]
async fn an_approved_call_that_waits_for_the_limit_goes_before_reading_calls() {
    let desk = Desk::over(Arc::new(InMemory::default()), limited_by(vec![limit("rate", 20, ScopeSpec::Server)])).await;
    let ann = desk.reviewer("ann@example.org", paraph::domain::people::Role::Operator, &[]).await;
    let id = desk.seat("send_dm", &text(99)).await.call().clone();
    desk.clock.advance(2 * MINUTE);
    let mut passed = HashMap::new();
    for _ in 0..40 {
        *passed.entry(passes(&desk.gate, desk.ask_of("read_inbox", "{}")).await).or_insert(0) += 1;
    }
    assert_eq!(passed, [(true, 20), (false, 20)].into());
    super::read_and_decide(&ann, &id, super::approve).await.unwrap();
    let mut hints = desk.gate.watch();
    while desk.call(&id).await.waits_for.is_none() {
        tokio::time::timeout(Duration::from_secs(20), hints.recv()).await.expect("it is put off").ok();
    }
    desk.later(MINUTE + Duration::from_millis(100)).await;
    desk.until(&id, "answered").await;
    let mut passed = 0;
    for _ in 0..40 {
        passed += usize::from(passes(&desk.gate, desk.ask_of("read_inbox", "{}")).await);
    }
    assert_eq!(passed, 19);
}
