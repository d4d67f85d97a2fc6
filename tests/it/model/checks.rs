//! The nine invariants of the design, held after every step without a look at the table. `Books` reads the audit
//! chain as it grows and keeps for every call what the chain alone says of it.

use super::system::System;
use super::table::GATES;
use paraph::domain::audit::{Entry, Head, follow};
use paraph::domain::call::{Call, CallId, Presence};
use std::collections::{BTreeSet, HashMap};

/// One call as the chain tells of it.
#[derive(Debug, Default)]
struct Life {
    needed: u64,
    digest: String,
    approved_by: BTreeSet<String>,
    /// Sends whose first byte may have left.
    sends: usize,
    sending: bool,
    settlements: usize,
    resolved: bool,
    opened: bool,
    reminded: bool,
}

/// What the chain says.
#[derive(Debug, Default)]
pub struct Books {
    head: Head,
    lives: HashMap<CallId, Life>,
    paused: bool,
}

impl Books {
    /// 8. A refused event changes nothing.
    pub fn refused(&self, why: &str, before: &Call, after: &Call) {
        // A call that was refused as settled may have been settled by that look itself: its time was over.
        assert!(before == after || why == "settled expired", "refused as {why}, and yet: {before:?} became {after:?}");
    }

    fn read(&mut self, entry: &Entry) {
        self.head = follow(&self.head, entry).expect("6. the chain verifies");
        if entry.kind == "resumed" {
            self.paused = false;
        }
        if entry.kind == "paused" {
            self.paused = true;
            // Whatever was approved and has not left needs a new approval.
            for life in self.lives.values_mut().filter(|life| !life.sending && life.settlements == 0 && life.approved_by.len() as u64 >= life.needed) {
                life.approved_by.clear();
            }
        }
        let Some(id) = &entry.call else { return };
        if entry.kind == "call.held" {
            let life = Life { needed: entry.data["approvals"].as_u64().unwrap(), digest: text(entry, "digest"), ..Life::default() };
            assert!(self.lives.insert(id.clone(), life).is_none(), "{id} is held twice");
            return;
        }
        let life = self.lives.get_mut(id).unwrap_or_else(|| panic!("{} before {id} was held", entry.kind));
        match entry.kind.as_str() {
            "call.decided" if entry.data["verdict"] == "approve" => {
                assert_eq!(text(entry, "digest"), life.digest, "4. approved is what was asked");
                life.approved_by.insert(entry.actor.clone());
            }
            "call.decided" | "call.expired" | "call.lapsed" | "call.withdrawn" => {
                assert!(!life.sending, "{id}: {} while it is sent", entry.kind);
                life.settlements += 1;
            }
            "call.undone" => {
                assert!(!life.sending && life.settlements == 0, "{id}: taken back too late");
                life.approved_by.clear();
            }
            "call.sending" => {
                assert!(!self.paused, "2. {id} is sent in a pause");
                assert!(life.approved_by.len() as u64 >= life.needed, "2. {id} is sent with {:?} of {}", life.approved_by, life.needed);
                assert_eq!(text(entry, "digest"), life.digest, "4. sent is what was approved");
                assert!(!life.sending && life.settlements == 0, "1. {id} is sent again");
                life.sending = true;
                life.sends += 1;
            }
            "call.never_left" => {
                assert!(life.sending);
                life.sending = false;
                life.sends -= 1;
            }
            "call.answered" | "call.unconfirmed" => {
                assert!(life.sending, "{id}: {} without a send", entry.kind);
                life.sending = false;
                life.settlements += 1;
            }
            "call.resolved" => {
                assert!(!life.resolved && life.settlements == 1, "{id} is resolved twice");
                life.resolved = true;
            }
            "call.unopened" => {
                assert!(!life.opened && !life.reminded && !life.sending && life.settlements == 0, "{id}: who is reminded of what?");
                life.reminded = true;
            }
            "call.viewed" => life.opened = true,
            "call.cancelled" | "call.asked_again" | "call.delivered" | "call.window_again" | "recipient.opened" => {}
            other => panic!("the chain tells of {other}, which this model does not know"),
        }
        assert!(life.settlements <= 1, "1. {id} is settled twice");
        assert!(life.sends <= 1, "1. {id} is sent twice");
    }
}

fn text(entry: &Entry, member: &str) -> String {
    entry.data[member].as_str().unwrap_or_default().to_owned()
}

/// After every step. 5 (what is bounded) is held by the table: whom it seats and whom it refuses.
pub async fn invariants(system: &mut System) {
    let process = system.process.as_ref().expect("it runs");
    let truth = process.store.truth();
    // 6. The chain verifies and has one entry per change.
    let entries = truth.entries(system.books.head.seq + 1, 1_000_000).await.unwrap();
    for entry in &entries {
        system.books.read(entry);
    }
    assert_eq!(system.books.head, truth.head().await.unwrap());
    assert_eq!(system.books.head.seq, system.entries_before + process.store.entries_written(), "6. one entry per change");
    assert_eq!(process.store.unusual(), Vec::<String>::new(), "6. one entry per change");
    // 3. and 4. What the upstream found in the store when something left.
    assert_eq!(system.upstream.faults(), Vec::<String>::new());
    // 1. and 2. What left is what the chain says.
    for (id, life) in &system.books.lives {
        assert!(system.upstream.count(id) <= 1, "1. {id} left {} times", system.upstream.count(id));
        assert!(system.upstream.count(id) <= life.sends, "2. {id} left and the chain does not know");
    }
    // 7. No waiter outlives its request.
    for (text, id) in system.newest.iter().enumerate().filter_map(|(text, id)| Some((text, id.as_ref()?))) {
        let call = system.truth(id).await;
        for gate in 0..GATES {
            let waits = process.gates[gate].presence(&call) == Presence::Waiting;
            assert_eq!(waits, !system.seats[text][gate].is_empty(), "7. who waits for {id} at gate {gate}");
        }
    }
    // 9. Nothing acknowledged is lost.
    for (id, version) in &system.told {
        let call = truth.call(id).await.unwrap().unwrap_or_else(|| panic!("9. {id} is lost"));
        assert!(call.version >= *version, "9. version {version} of {id} is lost");
    }
    assert!(process.gates.iter().all(|gate| !gate.broken().is_cancelled()), "a task of the gate ended by itself");
}
