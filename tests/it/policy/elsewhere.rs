//! Rows of the shared case list that need a whole gateway: each names the sentence that tells of it, in another file.
//! A row that is new, and a sentence that was renamed, fail here until somebody looks.

use super::cases::rows;
use std::collections::BTreeMap;
use std::path::Path;

/// Section, row, and the tests that cover it.
const COVERED: [(&str, &str, &[&str]); 14] = [
    (
        "wire_attacks",
        "batch over stdio",
        &["a_body_is_judged_as_what_the_server_would_execute_or_refused", "each_message_of_a_batch_is_judged_by_itself_and_answers_come_as_they_are_ready"],
    ),
    ("wire_attacks", "arguments is an array", &["a_body_is_judged_as_what_the_server_would_execute_or_refused"]),
    (
        "wire_attacks",
        "second key differing in case: name",
        &["a_body_is_judged_as_what_the_server_would_execute_or_refused", "what_the_gateway_forwards_every_reader_executes_as_it_was_judged"],
    ),
    ("wire_attacks", "NaN / Infinity / lenient JSON", &["a_body_is_judged_as_what_the_server_would_execute_or_refused"]),
    ("wire_attacks", "SSE result > 64 KiB", &["a_result_of_any_size_arrives_whole"]),
    ("wire_attacks", "slow call blocks the next, stdio bridge", &["a_slow_call_does_not_block_the_next_one"]),
    ("wire_attacks", "--header with --transport http", &["a_server_gets_our_headers_and_none_of_the_agents"]),
    ("wire_attacks", "tool name with trailing blank / different case / unicode look-alike", &["a_body_is_judged_as_what_the_server_would_execute_or_refused"]),
    ("approval_after_PR3", "first matching call", &["an_approved_call_is_sent_once_and_the_agent_gets_the_servers_bytes"]),
    (
        "approval_after_PR3",
        "approve, then identical retry",
        &["the_identical_call_attaches_and_both_waiters_get_the_outcome", "an_uncollected_outcome_waits_for_the_identical_call_once"],
    ),
    (
        "approval_after_PR3",
        "retry with changed arguments or key order",
        &[
            "the_identical_call_attaches_and_both_waiters_get_the_outcome",
            "a_different_call_to_the_same_recipient_is_held_too_and_the_agent_hears_which_one_waits",
        ],
    ),
    (
        "approval_after_PR3",
        "approve after expiry, or after deny/consume",
        &["nobody_decided_in_time_and_a_click_after_the_deadline_meets_the_expired_call", "the_second_click_learns_who_was_first"],
    ),
    (
        "approval_after_PR3",
        "upstream fails after consumption",
        &[
            "a_send_that_never_left_is_tried_again_and_one_that_vanished_is_not",
            "what_was_sending_when_the_process_died_is_unconfirmed_and_never_sent_by_itself",
        ],
    ),
    ("approval_after_PR3", "deny rule and approval rule both match", &["an_approval_may_have_conditions_and_a_denial_wins_over_it"]),
];

fn sources(folder: &Path, all: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, all);
        } else if entry.extension().is_some_and(|kind| kind == "rs") {
            all.push_str(&std::fs::read_to_string(entry).unwrap());
        }
    }
}

#[test]
fn every_row_that_needs_a_gateway_has_its_sentence() {
    let mut rows_of: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for section in ["wire_attacks", "approval_after_PR3"] {
        rows_of.insert(section, rows(section).iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect());
    }
    let mut all = String::new();
    for folder in ["tests/it", "src"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut all);
    }
    for (section, name, sentences) in COVERED {
        let known = rows_of.get_mut(section).unwrap();
        let index = known.iter().position(|row| row == name).unwrap_or_else(|| panic!("no row {name:?} in {section}"));
        known.remove(index);
        for sentence in sentences {
            assert!(all.contains(&format!("fn {sentence}(")), "{name}: there is no test {sentence}");
        }
    }
    assert!(rows_of.values().all(Vec::is_empty), "not covered: {rows_of:?}");
}
