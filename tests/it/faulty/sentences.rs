//! The sentences. Each is told which engine to stand on; those about waiting are in memory with tokio's own time.

use super::store::{OnCommit, OnHint, OnRead};
use super::witness::Manner;
use super::{Bed, DM, UNDO};
use crate::fakes::Mood;
use crate::life::HOUR;
use paraph::domain::call::Verdict;
use paraph::gate::pause::PauseError;
use paraph::gate::resolve::Resolution;
use paraph::gate::review::ReviewError;
use paraph::gate::{Delivery, TimeIsUp};
use paraph::store::StoreError;
use std::time::Duration;

const NOW: Duration = Duration::ZERO;

macro_rules! over_every_engine {
    ($($name:ident with $undo:expr),* $(,)?) => {
        mod in_memory {
            use super::*;
            $(#[tokio::test] async fn $name() { super::$name(Bed::in_memory($undo).await).await; })*
        }
        mod on_sled {
            use super::*;
            $(#[tokio::test] async fn $name() { super::$name(Bed::on_sled($undo).await).await; })*
        }
    };
}

over_every_engine![
    a_hold_whose_acknowledgement_was_lost_is_found_and_not_made_twice with NOW,
    a_decision_whose_acknowledgement_was_lost_answers_with_the_decision_that_is_there with UNDO,
    a_decision_that_was_not_written_is_no_decision with UNDO,
    an_undo_whose_acknowledgement_was_lost_is_an_undo with UNDO,
    a_resolution_whose_acknowledgement_was_lost_is_told_to_who_gave_it with NOW,
    a_send_whose_record_was_not_acknowledged_never_leaves_and_is_unconfirmed_at_the_next_start with NOW,
    an_answer_that_cannot_be_written_is_unconfirmed_at_the_next_start_and_not_sent_again with NOW,
    repeated_hints_send_nothing_twice with NOW,
    a_damaged_record_at_the_door_is_a_failure_with_a_reference_and_holds_nothing with NOW,
    a_damaged_record_at_the_decision_leaves_the_call_held with NOW,
    a_damaged_record_before_a_send_sends_nothing_until_it_can_be_read with UNDO,
    a_full_disk_refuses_at_the_door_and_what_is_held_stays with NOW,
    a_busy_store_refuses_a_decision_and_takes_it_the_next_time with NOW,
    a_pause_whose_acknowledgement_was_lost_takes_approvals_back with UNDO,
    an_approval_from_before_a_pause_that_was_cut_short_does_not_leave_when_it_ends with UNDO,
    what_was_due_while_nothing_ran_gets_its_undo_window_before_it_leaves with UNDO,
    the_approval_of_somebody_who_was_shut_out_does_not_leave_even_when_taking_it_back_failed with UNDO,
    shutting_somebody_out_when_the_acknowledgement_was_lost_takes_their_approvals_back with UNDO,
    a_revocation_whose_acknowledgement_was_lost_withdraws_the_calls with NOW,
];

async fn a_hold_whose_acknowledgement_was_lost_is_found_and_not_made_twice(bed: Bed) {
    for (text, fault) in [(DM, OnCommit::WriteAndLose), (r#"{"to":"@eve","text":"x"}"#, OnCommit::DropAndLose)] {
        bed.store.next("call.held", fault);
        let first = bed.seat(text).await;
        assert_eq!(bed.seat(text).await.call(), first.call());
    }
    assert_eq!(bed.all().await.len(), 2);
    assert_eq!(bed.is_whole().await.iter().filter(|kind| *kind == "call.held").count(), 2);
}

async fn a_decision_whose_acknowledgement_was_lost_answers_with_the_decision_that_is_there(bed: Bed) {
    for (verdict, word) in [(Verdict::Approve, "approved"), (Verdict::Reject, "rejected"), (Verdict::RequestChanges, "changes_requested")] {
        let seat = bed.seat(&format!(r#"{{"to":"@bob","text":"{word}"}}"#)).await;
        bed.people[0].read(seat.call()).await.unwrap();
        bed.store.next("call.decided", OnCommit::WriteAndLose);
        assert_eq!(bed.decide(0, seat.call(), verdict).await.unwrap().state.word(), word);
        bed.store.mend();
        let other = bed.decide(1, seat.call(), Verdict::Reject).await;
        assert!(matches!(other, Err(ReviewError::Settled(listed)) if listed.call.state.word() == word));
    }
    bed.later(UNDO).await;
    assert_eq!(bed.upstream.total(), 1);
    bed.is_whole().await;
}

async fn a_decision_that_was_not_written_is_no_decision(bed: Bed) {
    let seat = bed.seat(DM).await;
    bed.people[0].read(seat.call()).await.unwrap();
    bed.store.next("call.decided", OnCommit::DropAndLose);
    assert!(matches!(bed.decide(0, seat.call(), Verdict::Approve).await, Err(ReviewError::Failure(_))));
    bed.later(HOUR).await;
    assert_eq!((bed.word(seat.call()).await, bed.upstream.total()), ("held", 0));
    assert!(bed.decide(0, seat.call(), Verdict::Approve).await.is_ok());
}

async fn an_undo_whose_acknowledgement_was_lost_is_an_undo(bed: Bed) {
    let seat = bed.seat(DM).await;
    bed.read_and_approve(seat.call()).await.unwrap();
    bed.store.next("call.undone", OnCommit::WriteAndLose);
    assert_eq!(bed.people[1].undo(seat.call()).await.unwrap().call.state.word(), "held");
    bed.later(HOUR).await;
    assert_eq!((bed.word(seat.call()).await, bed.upstream.total()), ("held", 0));
    bed.is_whole().await;
}

async fn a_resolution_whose_acknowledgement_was_lost_is_told_to_who_gave_it(bed: Bed) {
    bed.upstream.become_now(Manner::Is(Mood::Vanishes));
    let seat = bed.seat(DM).await;
    bed.read_and_approve(seat.call()).await.unwrap();
    bed.store.rest().await;
    let version = bed.call(seat.call()).await.version;
    bed.store.next("call.resolved", OnCommit::WriteAndLose);
    let told = bed.people[0].resolve(seat.call(), Resolution { sent: true, version, note: None }).await.unwrap();
    assert_eq!(told.call.state.word(), "answered");
    assert!(matches!(bed.people[1].resolve(seat.call(), Resolution { sent: false, version, note: None }).await, Err(ReviewError::Settled(_))));
    bed.is_whole().await;
}

async fn a_send_whose_record_was_not_acknowledged_never_leaves_and_is_unconfirmed_at_the_next_start(mut bed: Bed) {
    let seat = bed.seat(DM).await;
    bed.store.next("call.sending", OnCommit::WriteAndLose);
    bed.read_and_approve(seat.call()).await.unwrap();
    bed.later(HOUR).await;
    assert_eq!((bed.word(seat.call()).await, bed.upstream.total()), ("sending", 0));
    bed.start_again().await;
    bed.later(HOUR).await;
    assert_eq!((bed.word(seat.call()).await, bed.upstream.total()), ("unconfirmed", 0));
    assert_eq!(bed.seat(DM).await.call(), seat.call());
    bed.is_whole().await;
}

async fn an_answer_that_cannot_be_written_is_unconfirmed_at_the_next_start_and_not_sent_again(mut bed: Bed) {
    let seat = bed.seat(DM).await;
    bed.store.every("call.answered", OnCommit::Fail(StoreError::Busy));
    bed.read_and_approve(seat.call()).await.unwrap();
    bed.later(HOUR).await;
    assert_eq!((bed.word(seat.call()).await, bed.upstream.total()), ("sending", 1));
    bed.store.mend();
    bed.start_again().await;
    bed.later(HOUR).await;
    assert_eq!((bed.word(seat.call()).await, bed.upstream.total()), ("unconfirmed", 1));
    bed.is_whole().await;
}

async fn repeated_hints_send_nothing_twice(bed: Bed) {
    bed.store.script_hints(|_| OnHint::Thrice);
    let mut seats = Vec::new();
    for n in 0..5 {
        seats.push(bed.seat(&format!(r#"{{"to":"@bob","text":"{n}"}}"#)).await);
    }
    for seat in &seats {
        bed.read_and_approve(seat.call()).await.unwrap();
    }
    bed.later(HOUR).await;
    for seat in &mut seats {
        assert!(matches!(seat.settled().await.unwrap(), Delivery::Result { .. }));
        assert_eq!(bed.upstream.count(seat.call()), 1);
    }
    bed.is_whole().await;
}

async fn a_damaged_record_at_the_door_is_a_failure_with_a_reference_and_holds_nothing(bed: Bed) {
    for unreadable in ["newest", "row", "calls"] {
        bed.store.script_reads(move |name| if name == unreadable { OnRead::Corrupt } else { OnRead::Pass });
        let Err(failure) = bed.ask(DM).await else { panic!("let in although {unreadable} cannot be read") };
        assert!(failure.to_string().starts_with("Paraph could not finish this because of a fault on its side. Nothing was sent"), "{failure}");
        assert!(failure.reference.starts_with("r_"));
    }
    assert_eq!((bed.all().await.len(), bed.upstream.total()), (0, 0));
}

async fn a_damaged_record_at_the_decision_leaves_the_call_held(bed: Bed) {
    let seat = bed.seat(DM).await;
    bed.people[0].read(seat.call()).await.unwrap();
    for unreadable in ["call", "row"] {
        bed.store.script_reads(move |name| if name == unreadable { OnRead::Corrupt } else { OnRead::Pass });
        assert!(matches!(bed.decide(0, seat.call(), Verdict::Approve).await, Err(ReviewError::Failure(_))), "{unreadable}");
    }
    bed.store.mend();
    bed.later(HOUR).await;
    assert_eq!((bed.word(seat.call()).await, bed.upstream.total()), ("held", 0));
    bed.is_whole().await;
}

async fn a_damaged_record_before_a_send_sends_nothing_until_it_can_be_read(bed: Bed) {
    let seat = bed.seat(DM).await;
    bed.read_and_approve(seat.call()).await.unwrap();
    // One more each time: a release that got past what could be read before still meets the first.
    for unreadable in [&["row"][..], &["row", "call"], &["row", "call", "due"]] {
        bed.store.script_reads(move |name| if unreadable.contains(&name) { OnRead::Corrupt } else { OnRead::Pass });
        bed.later(UNDO).await;
        assert_eq!((bed.word(seat.call()).await, bed.upstream.total()), ("approved", 0), "{unreadable:?}");
    }
    bed.store.mend();
    bed.later(Duration::from_secs(1)).await;
    assert_eq!((bed.word(seat.call()).await, bed.upstream.total()), ("answered", 1));
    bed.is_whole().await;
}

async fn a_full_disk_refuses_at_the_door_and_what_is_held_stays(bed: Bed) {
    let mut seat = bed.seat(DM).await;
    bed.people[0].read(seat.call()).await.unwrap();
    bed.store.script_commits(|_| OnCommit::Fail(StoreError::Poisoned("no space left on device".into())));
    let Err(failure) = bed.ask(r#"{"to":"@eve","text":"x"}"#).await else { panic!("held on a full disk") };
    assert!(failure.to_string().contains("Nothing was sent by this request") && !failure.to_string().contains("device"), "{failure}");
    assert!(matches!(bed.decide(0, seat.call(), Verdict::Approve).await, Err(ReviewError::Failure(_))));
    assert!(matches!(seat.time_is_up().await.unwrap(), TimeIsUp::Pending(_)));
    bed.later(HOUR).await;
    assert_eq!((bed.word(seat.call()).await, bed.all().await.len(), bed.upstream.total()), ("held", 1, 0));
    bed.store.mend();
    bed.decide(0, seat.call(), Verdict::Approve).await.unwrap();
    bed.later(NOW).await;
    assert_eq!(bed.upstream.count(seat.call()), 1);
    bed.is_whole().await;
}

async fn a_busy_store_refuses_a_decision_and_takes_it_the_next_time(bed: Bed) {
    let seat = bed.seat(DM).await;
    bed.people[0].read(seat.call()).await.unwrap();
    bed.store.next("call.decided", OnCommit::Fail(StoreError::Busy));
    assert!(matches!(bed.decide(0, seat.call(), Verdict::Approve).await, Err(ReviewError::Failure(_))));
    bed.decide(0, seat.call(), Verdict::Approve).await.unwrap();
    bed.later(NOW).await;
    assert_eq!(bed.upstream.total(), 1);
    bed.is_whole().await;
}

async fn a_pause_whose_acknowledgement_was_lost_takes_approvals_back(bed: Bed) {
    let seat = bed.seat(DM).await;
    bed.read_and_approve(seat.call()).await.unwrap();
    bed.store.next("paused", OnCommit::WriteAndLose);
    assert_eq!(bed.gate.pause("Something is wrong", "operator").await.unwrap(), 1);
    assert_eq!(bed.word(seat.call()).await, "held");
    bed.is_whole().await;
}

async fn an_approval_from_before_a_pause_that_was_cut_short_does_not_leave_when_it_ends(bed: Bed) {
    let (before, during) = (bed.seat(DM).await, bed.seat(r#"{"to":"@eve","text":"x"}"#).await);
    bed.read_and_approve(before.call()).await.unwrap();
    bed.clock.advance(Duration::from_secs(1));
    bed.store.every("call.undone", OnCommit::Fail(StoreError::Busy));
    assert!(matches!(bed.gate.pause("Something is wrong", "operator").await, Err(PauseError::Failure(_))));
    bed.store.mend();
    bed.later(HOUR).await;
    bed.read_and_approve(during.call()).await.unwrap();
    bed.gate.resume_sending("operator").await.unwrap();
    bed.later(HOUR).await;
    assert_eq!((bed.word(before.call()).await, bed.word(during.call()).await), ("held", "answered"));
    assert_eq!(bed.upstream.total(), 1);
    bed.is_whole().await;
}

async fn what_was_due_while_nothing_ran_gets_its_undo_window_before_it_leaves(mut bed: Bed) {
    let seat = bed.seat(DM).await;
    bed.read_and_approve(seat.call()).await.unwrap();
    bed.gate.close(Duration::from_secs(1)).await;
    bed.clock.advance(HOUR);
    // Whoever would send it before the window runs again gets the time to.
    bed.store.next("call.window_again", OnCommit::Late(Duration::from_millis(20)));
    bed.start_again().await;
    assert_eq!((bed.word(seat.call()).await, bed.upstream.total()), ("approved", 0));
    bed.people[0].undo(seat.call()).await.unwrap();
    bed.decide(1, seat.call(), Verdict::Approve).await.unwrap();
    bed.later(UNDO).await;
    assert_eq!((bed.word(seat.call()).await, bed.upstream.total()), ("answered", 1));
    bed.is_whole().await;
}

async fn the_approval_of_somebody_who_was_shut_out_does_not_leave_even_when_taking_it_back_failed(bed: Bed) {
    let seat = bed.seat(DM).await;
    bed.read_and_approve(seat.call()).await.unwrap();
    bed.store.every("call.undone", OnCommit::Fail(StoreError::Busy));
    assert!(bed.gate.disable_person("ann@example.org").await.is_err());
    bed.store.mend();
    bed.later(HOUR).await;
    assert_eq!((bed.word(seat.call()).await, bed.upstream.total()), ("held", 0));
    bed.decide(1, seat.call(), Verdict::Approve).await.unwrap();
    bed.later(UNDO).await;
    assert_eq!(bed.upstream.total(), 1);
    bed.is_whole().await;
}

async fn shutting_somebody_out_when_the_acknowledgement_was_lost_takes_their_approvals_back(bed: Bed) {
    let seat = bed.seat(DM).await;
    bed.read_and_approve(seat.call()).await.unwrap();
    bed.store.next("person.disabled", OnCommit::WriteAndLose);
    bed.gate.disable_person("ann@example.org").await.unwrap();
    assert_eq!(bed.word(seat.call()).await, "held");
    bed.is_whole().await;
}

async fn a_revocation_whose_acknowledgement_was_lost_withdraws_the_calls(bed: Bed) {
    let seat = bed.seat(DM).await;
    bed.store.next("agent.revoked", OnCommit::WriteAndLose);
    assert_eq!(bed.gate.revoke_agent("bot").await.unwrap(), 1);
    assert_eq!(bed.word(seat.call()).await, "withdrawn");
    bed.is_whole().await;
}

#[tokio::test(start_paused = true)]
async fn dropped_and_late_hints_delay_and_lose_nothing() {
    for what in [OnHint::Drop, OnHint::Late(Duration::from_secs(7))] {
        let bed = Bed::in_memory(NOW).await;
        bed.store.script_hints(move |_| what);
        let (mut seat, mut other) = (bed.seat(DM).await, bed.seat(DM).await);
        bed.read_and_approve(seat.call()).await.unwrap();
        // Twice the longest sleep: the deadlines look again, then the waiting request does.
        let at_last = tokio::time::timeout(Duration::from_secs(61), seat.settled()).await.expect("nobody waits for ever");
        assert!(matches!(at_last.unwrap(), Delivery::Result { .. }));
        assert!(matches!(other.settled().await.unwrap(), Delivery::Result { .. }));
        assert_eq!(bed.upstream.total(), 1);
        bed.is_whole().await;
    }
}
