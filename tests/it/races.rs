//! Two actions on one call at the same moment. Whatever they are, the end must be one of the two that doing them
//! one after the other has: the same state, the same sends, the same answers to both. So one is first and the
//! other is told, or finds that there is nothing left to do.
//!
//! Every unordered pair of what is possible in a state is played: one after the other, both ways, on a gate of its
//! own, for the two ends that are right; then each with its commit held back until the other is through; then
//! both at once on two threads. A pair with time in it (a deadline, a release) has no commit to hold back on the
//! other side of the clock, so any of the two ends is right for it.
//!
//! No conflict, and both are done whoever comes first: two approvals of one call that needs one (the second learns
//! that it is settled), attach with anything but a cancel, a cancel and a decision (an approval becomes a permit
//! either way), shutdown with anything but a release (a decision is a record, and the record is there at the next
//! start), a pause and a decision on a held call (the pause takes back what was approved before it).

use crate::fakes::Mood;
use crate::faulty::store::{FaultyStore, HoldBack, OnCommit};
use crate::faulty::witness::Manner;
use crate::faulty::{Bed, DM, UNDO};
use crate::life::{self, HOUR};
use paraph::domain::call::{Call, CallId, Verdict};
use paraph::domain::people::Role;
use paraph::gate::resolve::Resolution;
use paraph::gate::review::ReviewError;
use paraph::gate::{Admission, Ask, Gate, Seat};
use paraph::store::Store;
use paraph::store::in_memory::InMemory;
use paraph::store::on_sled::{OnSled, Settings as SledSettings};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Decide(usize, Verdict),
    Undo(usize),
    Resolve(usize, bool),
    Lift(usize),
    Cancel,
    Attach,
    Delivered,
    Pause,
    Resume,
    Revoke,
    ShutOut(usize),
    Shutdown,
    /// Time passes: far enough to expire, to lapse, or to leave.
    After(Duration),
}

use Action::{After, Attach, Cancel, Decide, Delivered, Lift, Pause, Resolve, Resume, Revoke, ShutOut, Shutdown, Undo};
use Verdict::{Approve, Reject, RequestChanges};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Where the call stands when the two begin, and what may happen to it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Held,
    /// Held, taken back by its agent.
    Cancelled,
    Approved,
    Permit,
    /// Approved while nothing may leave.
    ApprovedInAPause,
    Unconfirmed,
    Answered,
    /// Answered, and its agent knows: the identical call is a new one.
    Collected,
    /// Held, to a recipient to whom the way is closed.
    BehindAClosedWay,
}

fn possible(from: From) -> Vec<Action> {
    match from {
        From::Held => vec![
            Decide(0, Approve),
            Decide(1, Approve),
            Decide(0, Reject),
            Decide(1, Reject),
            Decide(1, RequestChanges),
            After(DAY),
            Cancel,
            Attach,
            Pause,
            Revoke,
            ShutOut(0),
            Shutdown,
        ],
        From::Cancelled => vec![Attach, Decide(0, Approve), Decide(1, Reject), After(DAY), Pause, Revoke, Shutdown],
        From::Approved => vec![Undo(0), Undo(1), After(UNDO), Cancel, Attach, Decide(1, Reject), Pause, Revoke, ShutOut(0), Shutdown],
        From::Permit => vec![Undo(0), Attach, After(2 * HOUR), Pause, Revoke, ShutOut(0), Shutdown],
        From::ApprovedInAPause => vec![Resume, Undo(1), Cancel, Revoke, ShutOut(0), Shutdown],
        From::Unconfirmed => vec![Resolve(0, true), Resolve(1, false), Attach, Decide(1, Reject), Revoke, Shutdown],
        From::Answered => vec![Delivered, Delivered, Attach, Undo(0), Resolve(0, true)],
        From::Collected => vec![Attach, Attach, Pause, Revoke],
        From::BehindAClosedWay => vec![Lift(0), Lift(1), Decide(1, Reject), Decide(0, Approve)],
    }
}

impl Action {
    /// Whether this commit is the one by which it happens.
    fn commits(self, kind: &str, actor: &str) -> bool {
        let by = |person: usize| actor.starts_with(["person:ann", "person:ben"][person]);
        match self {
            Decide(person, _) => kind == "call.decided" && by(person),
            Undo(person) => kind == "call.undone" && by(person),
            Resolve(person, _) => kind == "call.resolved" && by(person),
            Lift(person) => kind == "recipient.opened" && by(person),
            Cancel => kind == "call.cancelled",
            Attach => kind == "call.asked_again" || kind == "call.held",
            Delivered => kind == "call.delivered",
            Pause => kind == "paused",
            Resume => kind == "resumed",
            Revoke => kind == "agent.revoked",
            ShutOut(_) => kind == "person.disabled",
            Shutdown => kind == "closed",
            After(_) => ["call.expired", "call.lapsed", "call.sending"].contains(&kind),
        }
    }

    fn is_time(self) -> bool {
        matches!(self, After(_))
    }
}

/// A call in its state, on a gate of its own.
struct Scene {
    bed: Bed,
    id: CallId,
    /// As both people read it before the race.
    shown: Call,
    /// For those that act on a waiting request: one each.
    seats: Mutex<Vec<Seat>>,
    /// Requests that came during the race; they wait until it is over.
    came: Mutex<Vec<Seat>>,
}

async fn closed_way(bed: &Bed) {
    for n in 0..3 {
        let seat = bed.seat(&format!(r#"{{"to":"@bob","text":"{n}"}}"#)).await;
        bed.people[1].read(seat.call()).await.unwrap();
        bed.decide(1, seat.call(), Reject).await.unwrap();
    }
}

impl Scene {
    async fn set(from: From, pair: [Action; 2]) -> Scene {
        let undo = if matches!(from, From::Unconfirmed | From::Answered | From::Collected) { Duration::ZERO } else { UNDO };
        let bed = Bed::in_memory(undo).await;
        if from == From::Unconfirmed {
            bed.upstream.become_now(Manner::Is(Mood::Vanishes));
        }
        // Whoever cancels has a request of its own, and so has whoever collects; nobody else waits.
        let wanted = pair.iter().filter(|action| matches!(action, Cancel | Delivered)).count().max(1);
        let mut seats = Vec::new();
        for _ in 0..wanted {
            seats.push(bed.seat(DM).await);
        }
        let id = seats[0].call().clone();
        for person in &bed.people {
            person.read(&id).await.unwrap();
        }
        match from {
            From::Held => {}
            From::Cancelled => {
                for seat in seats.drain(..) {
                    seat.cancel().await.unwrap();
                }
            }
            From::Approved | From::Unconfirmed | From::Answered => drop(bed.decide(0, &id, Approve).await.unwrap()),
            From::Collected => {
                bed.decide(0, &id, Approve).await.unwrap();
                for mut seat in seats.drain(..) {
                    seat.settled().await.unwrap();
                    seat.delivered().await.unwrap();
                }
            }
            From::Permit => {
                for seat in seats.drain(..) {
                    seat.cancel().await.unwrap();
                }
                bed.decide(0, &id, Approve).await.unwrap();
            }
            From::ApprovedInAPause => {
                bed.gate.pause("look first", "operator").await.unwrap();
                bed.clock.advance(Duration::from_secs(1));
                bed.decide(0, &id, Approve).await.unwrap();
                bed.clock.advance(UNDO);
            }
            From::BehindAClosedWay => closed_way(&bed).await,
        }
        bed.store.rest().await;
        let word = match from {
            From::Held | From::Cancelled | From::BehindAClosedWay => "held",
            From::Approved | From::Permit | From::ApprovedInAPause => "approved",
            From::Unconfirmed => "unconfirmed",
            From::Answered | From::Collected => "answered",
        };
        while bed.word(&id).await != word {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let shown = bed.call(&id).await;
        Scene { bed, id, shown, seats: Mutex::new(seats), came: Mutex::default() }
    }

    async fn act(&self, action: Action) -> String {
        let (bed, id) = (&self.bed, &self.id);
        match action {
            Decide(person, verdict) => told(bed.decide_as_shown(person, &self.shown, verdict).await),
            Undo(person) => told(bed.people[person].undo(id).await.map(|listed| listed.call)),
            Resolve(person, sent) => {
                let resolution = Resolution { sent, version: self.shown.version, note: None };
                told(bed.people[person].resolve(id, resolution).await.map(|listed| listed.call))
            }
            Lift(person) => format!("{:?}", bed.people[person].lift(id).await.map_err(|e| e.to_string())),
            Cancel => {
                let seat = self.seats.lock().unwrap().pop().expect("a seat");
                format!("{:?}", seat.cancel().await)
            }
            Delivered => {
                let seat = self.seats.lock().unwrap().pop().expect("a seat");
                format!("{:?}", seat.delivered().await)
            }
            Attach => match bed.ask(DM).await {
                Ok(Admission::Waiting(seat)) => {
                    let same = seat.call() == id;
                    self.came.lock().unwrap().push(seat);
                    format!("waits for {}", if same { "it" } else { "another" })
                }
                Ok(Admission::Refused(notice)) => notice.text,
                Ok(Admission::Allowed(_) | Admission::Unknown) => panic!("no rule says so"),
                Err(failure) => failure.to_string(),
            },
            Pause => format!("{:?}", bed.gate.pause("stop", "operator").await.map(drop).map_err(|e| e.to_string())),
            Resume => format!("{:?}", bed.gate.resume_sending("operator").await.map_err(|e| e.to_string())),
            Revoke => format!("{:?}", bed.gate.revoke_agent("bot").await.map(drop).map_err(|e| e.to_string())),
            ShutOut(person) => {
                let email = ["ann@example.org", "ben@example.org"][person];
                format!("{:?}", bed.gate.disable_person(email).await.map_err(|e| e.to_string()))
            }
            Shutdown => {
                bed.gate.close(Duration::from_secs(20)).await;
                String::new()
            }
            After(time) => {
                bed.clock.advance(time);
                bed.store.poke();
                String::new()
            }
        }
    }

    /// What is left when everything has come to rest: the call, its sends, and the answers in the order of the pair.
    async fn end(&self, answers: &[String; 2]) -> String {
        self.bed.store.rest().await;
        let call = self.bed.call(&self.id).await;
        let valid: Vec<_> = call.decisions.iter().map(|d| format!("{} {}{}", d.by, d.verdict.word(), if d.void { " void" } else { "" })).collect();
        let sends = self.bed.upstream.count(&self.id);
        assert!(sends <= 1, "sent {sends} times");
        let kinds = self.bed.is_whole().await;
        assert!(kinds.iter().filter(|kind| *kind == "call.sending").count() <= 1, "{kinds:?}");
        let calls = self.bed.all().await.len();
        format!("{} cancelled={} delivered={} sends={sends} calls={calls} {valid:?} answers={answers:?}", call.state.word(), call.cancelled, call.delivered)
    }
}

fn told(answer: Result<Call, ReviewError>) -> String {
    match answer {
        Ok(call) => format!("done: {}", call.state.word()),
        Err(ReviewError::Settled(listed)) => format!("already {}", listed.call.state.word()),
        Err(other) => format!("refused: {other}"),
    }
}

/// Answers in the order of the pair, `first` being done first.
async fn one_after_the_other(from: From, pair: [Action; 2], first: usize) -> String {
    let scene = Scene::set(from, pair).await;
    let mut answers = [String::new(), String::new()];
    for which in [first, 1 - first] {
        answers[which] = scene.act(pair[which]).await;
        scene.bed.store.rest().await;
    }
    scene.end(&answers).await
}

/// The first commit by which an action happens waits until it is told to go.
fn hold_back(store: &FaultyStore, action: Action) -> Arc<HoldBack> {
    let back = Arc::new(HoldBack::default());
    let mut waiting = Some(back.clone());
    store.script_commits(move |change| {
        let is_it = change.facts.first().is_some_and(|fact| action.commits(fact.kind, &fact.actor));
        if is_it { waiting.take().map_or(OnCommit::Pass, OnCommit::Held) } else { OnCommit::Pass }
    });
    back
}

/// `late` decides, is held back at its commit, and `quick` goes all the way meanwhile. `None`: there was nothing to
/// hold back, or `quick` has to wait for `late` by design (a shutdown waits for a send).
async fn held_back(from: From, pair: [Action; 2], late: usize) -> Option<String> {
    let scene = Scene::set(from, pair).await;
    let back = hold_back(&scene.bed.store, pair[late]);
    let mut answers = [String::new(), String::new()];
    let waits_by_design = pair[1 - late] == Shutdown && pair[late].is_time();
    let (one, other) = tokio::join!(scene.act(pair[late]), async {
        for _ in 0..300 {
            tokio::task::yield_now().await;
        }
        let came = tokio::time::timeout(Duration::from_millis(1), back.came.notified()).await.is_ok();
        if !came || waits_by_design {
            back.go.notify_one();
            return None;
        }
        let answer = scene.act(pair[1 - late]).await;
        for _ in 0..300 {
            tokio::task::yield_now().await;
        }
        back.go.notify_one();
        Some(answer)
    });
    answers[late] = one;
    answers[1 - late] = other?;
    Some(scene.end(&answers).await)
}

/// On two threads nobody can see that nothing will come any more: what is right is waited for.
async fn at_once(from: From, pair: [Action; 2], flipped: bool, right: &BTreeSet<String>) -> String {
    let scene = Arc::new(Scene::set(from, pair).await);
    let start = Arc::new(tokio::sync::Barrier::new(2));
    let order = if flipped { [1, 0] } else { [0, 1] };
    let racers = order.map(|which| {
        let (scene, start, action) = (scene.clone(), start.clone(), pair[which]);
        tokio::spawn(async move {
            start.wait().await;
            (which, scene.act(action).await)
        })
    });
    let mut answers = [String::new(), String::new()];
    for racer in racers {
        let (which, answer) = racer.await.unwrap();
        answers[which] = answer;
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let end = scene.end(&answers).await;
        if right.contains(&end) || tokio::time::Instant::now() > deadline {
            return end;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn pairs(from: From) -> Vec<[Action; 2]> {
    let actions = possible(from);
    let mut pairs = Vec::new();
    for (at, one) in actions.iter().enumerate() {
        for other in &actions[at + 1..] {
            // Time passes once.
            if !(one.is_time() && other.is_time()) {
                pairs.push([*one, *other]);
            }
        }
    }
    pairs
}

/// Settles the call, whoever does it: of two such exactly one is done.
fn settles(action: Action) -> bool {
    matches!(action, Decide(_, _) | Resolve(_, _))
}

async fn both_orders(from: From, pair: [Action; 2]) -> BTreeSet<String> {
    [one_after_the_other(from, pair, 0).await, one_after_the_other(from, pair, 1).await].into()
}

async fn every_pair(from: From) {
    for pair in pairs(from) {
        let right = both_orders(from, pair).await;
        for late in [0, 1] {
            let Some(end) = Box::pin(held_back(from, pair, late)).await else { continue };
            assert!(right.contains(&end), "{from:?} {pair:?}, {:?} held back: {end}\nright would be {right:#?}", pair[late]);
        }
        for end in &right {
            if pair.into_iter().all(settles) && from == From::Held {
                assert_eq!((end.matches("done: ").count(), end.matches("already ").count()), (1, 1), "{from:?} {pair:?}: {end}");
            }
        }
    }
}

fn every_pair_at_once(from: From) {
    let alone = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let two = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for pair in pairs(from) {
        let right = alone.block_on(both_orders(from, pair));
        for flipped in [false, true] {
            let end = two.block_on(at_once(from, pair, flipped, &right));
            assert!(right.contains(&end), "{from:?} {pair:?} at once: {end}\nright would be {right:#?}");
        }
    }
}

/// What the second half of a pause, a revocation or a shutting-out takes back is out of reach for it, and the send
/// had looked before: the first half alone must stop it.
#[tokio::test]
async fn a_send_that_was_ready_does_not_leave_once_a_pause_a_revocation_or_a_shutting_out_is_written() {
    for action in [Pause, Revoke, ShutOut(0)] {
        let scene = Scene::set(From::Approved, [After(UNDO), action]).await;
        let back = Arc::new(HoldBack::default());
        let mut waiting = Some(back.clone());
        scene.bed.store.script_commits(move |change| match change.facts.first().map(|fact| fact.kind) {
            Some("call.sending") => waiting.take().map_or(OnCommit::Pass, OnCommit::Held),
            Some("call.undone" | "call.withdrawn") => OnCommit::Fail(paraph::store::StoreError::Busy),
            Some(_) | None => OnCommit::Pass,
        });
        scene.act(After(UNDO)).await;
        back.came.notified().await;
        scene.act(action).await;
        back.go.notify_one();
        scene.bed.store.rest().await;
        assert_eq!((scene.bed.word(&scene.id).await, scene.bed.upstream.total()), ("approved", 0), "{action:?}");
        scene.bed.store.mend();
        scene.bed.later(Duration::from_secs(1)).await;
        assert_eq!(scene.bed.upstream.total(), 0, "{action:?}");
    }
}

macro_rules! races {
    ($($name:ident: $from:expr),* $(,)?) => {
        mod one_held_back {
            use super::*;
            $(#[tokio::test] async fn $name() { every_pair($from).await; })*
        }
        mod at_once {
            use super::*;
            $(#[test] fn $name() { every_pair_at_once($from); })*
        }
    };
}

races![
    of_two_actions_on_a_held_call_one_is_first: From::Held,
    of_two_actions_on_a_call_that_was_taken_back_one_is_first: From::Cancelled,
    of_two_actions_on_an_approved_call_one_is_first: From::Approved,
    of_two_actions_on_a_permit_one_is_first: From::Permit,
    of_two_actions_on_a_call_approved_in_a_pause_one_is_first: From::ApprovedInAPause,
    of_two_actions_on_an_unconfirmed_call_one_is_first: From::Unconfirmed,
    of_two_actions_on_an_answered_call_one_is_first: From::Answered,
    of_two_actions_after_the_outcome_was_collected_one_is_first: From::Collected,
    of_two_actions_behind_a_closed_way_one_is_first: From::BehindAClosedWay,
];

/// Two gates on one store, and one place left: of an allowed call and another, of an approved call and an allowed
/// one, exactly one leaves, whichever was first.
async fn one_of_two_gets_the_last_place(store: Arc<dyn Store>, approved: bool) {
    let desk = life::Desk::over(store, life::limited::limited(1)).await;
    let other = Gate::open(desk.store.clone(), desk.upstream.clone(), desk.clock.clone(), desk.settings.clone());
    let ann = desk.reviewer("ann@example.org", Role::Operator, &[]).await;
    for round in 0..40 {
        let held = if approved {
            let seat = desk.seat("send_dm", &format!(r#"{{"to":"@bob","text":"{round}"}}"#)).await;
            let shown = ann.read(seat.call()).await.unwrap();
            desk.clock.advance(Duration::from_millis(60_100));
            Some(shown.call)
        } else {
            None
        };
        let waited_for = held.as_ref().map(|call| call.id.clone());
        let before: usize = desk.upstream.sent.lock().unwrap().values().sum();
        let start = Arc::new(tokio::sync::Barrier::new(2));
        let (one_start, other_start) = (start.clone(), start);
        let (one_gate, gate, ann, held) = (desk.gate.clone(), other.clone(), ann.clone(), held);
        let (one_ask, ask) = (desk.ask_of("write_note", "{}"), desk.ask_of("write_note", "{}"));
        let one = tokio::spawn(async move {
            one_start.wait().await;
            match held {
                Some(call) => drop(ann.decide(&call.id, life::approve(&call)).await.unwrap()),
                None => allowed(&one_gate, one_ask).await,
            }
        });
        let two = tokio::spawn(async move {
            other_start.wait().await;
            allowed(&gate, ask).await;
        });
        one.await.unwrap();
        two.await.unwrap();
        let sent = || desk.upstream.sent.lock().unwrap().values().sum::<usize>();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while sent() == before && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(sent(), before + 1, "round {round}: exactly one leaves");
        // The next round finds an empty window, and what waits has left.
        desk.later(Duration::from_millis(60_100)).await;
        if let Some(call) = waited_for {
            while desk.call(&call).await.state.word() != "answered" {
                desk.later(Duration::from_millis(60_100)).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            desk.later(Duration::from_millis(60_100)).await;
        }
    }
}

async fn allowed(gate: &Gate, ask: Ask) {
    match gate.admit(ask).await.unwrap() {
        Admission::Allowed(pass) => drop(pass.send(None, Default::default()).await),
        Admission::Refused(notice) => assert_eq!(notice.meta["state"], "limited"),
        Admission::Unknown | Admission::Waiting(_) => panic!("no rule says so"),
    }
}

mod the_last_place {
    use super::*;

    fn on_sled() -> (tempfile::TempDir, Arc<dyn Store>) {
        let folder = tempfile::tempdir().unwrap();
        let settings = SledSettings { cache_bytes: 4 << 20, ..SledSettings::default() };
        let store = OnSled::open(&folder.path().join("data"), &settings).unwrap();
        (folder, Arc::new(store))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_two_allowed_calls_at_two_gates_one_gets_it() {
        one_of_two_gets_the_last_place(Arc::new(InMemory::new()), false).await;
        let (_folder, store) = on_sled();
        one_of_two_gets_the_last_place(store, false).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_an_approved_call_and_an_allowed_one_at_two_gates_one_gets_it() {
        one_of_two_gets_the_last_place(Arc::new(InMemory::new()), true).await;
        let (_folder, store) = on_sled();
        one_of_two_gets_the_last_place(store, true).await;
    }
}
