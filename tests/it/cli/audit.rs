//! `paraph audit`: an export is whole, or the line where it breaks is named.

use super::{Place, Ran};
use std::io::Write as _;
use std::process::Stdio;

#[test]
fn an_export_verifies_and_the_head_and_key_can_be_pinned() {
    let place = Place::new();
    let lines = place.export();
    let head: serde_json::Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    let (seq, hash) = (head["head"]["seq"].as_u64().unwrap(), head["head"]["hash"].as_str().unwrap());
    let key = place.run(&["audit", "key"]).line().to_owned();
    assert_eq!(head["key"], key.as_str());
    let whole = place.verify(&lines, &["--head", hash, "--key", &key]);
    assert_eq!(whole.line(), format!("{seq} {hash}"));
    assert_eq!(place.verify(&lines, &["--json"]).json()["entries"], seq);

    let other = "1".repeat(64);
    assert_eq!(place.verify(&lines, &["--head", &other]).code, 1);
    assert_eq!(place.verify(&lines, &["--key", "nonsense"]).code, 2);
}

#[test]
fn an_export_from_a_number_says_that_it_starts_late() {
    let place = Place::new();
    place.export();
    let out = place.run(&["audit", "export", "--from", "2", "--out", "late.ndjson"]);
    assert_eq!((out.code, out.out.as_str()), (0, ""));
    let late = place.run(&["audit", "verify", "late.ndjson"]);
    assert_eq!(late.code, 0);
    assert!(late.err.contains("starts at entry 2"), "{}", late.err);
    assert_eq!(place.run(&["audit", "export", "--out", "late.ndjson"]).code, 2, "a file is not overwritten");
    assert_eq!(place.run(&["audit", "export", "--from", "999"]).code, 1);
}

#[test]
fn a_touched_export_is_broken_and_the_line_is_named() {
    let place = Place::new();
    let whole = place.export();
    let touched = |touch: &dyn Fn(&mut Vec<String>)| {
        let mut lines = whole.clone();
        touch(&mut lines);
        let ran = place.verify(&lines, &[]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        ran.err
    };
    assert!(touched(&|lines| lines[2] = lines[2].replace("\"b\"", "\"x\"")).contains("line 3:"));
    assert!(touched(&|lines| lines.swap(0, 1)).contains("line"));
    assert!(touched(&|lines| drop(lines.remove(1))).contains("line 2:"));
    assert!(touched(&|lines| drop(lines.remove(lines.len() - 2))).contains("lines are missing"));
    assert!(touched(&|lines| drop(lines.pop())).contains("head line is missing"));
}

#[test]
fn an_export_of_a_running_gateway_goes_through_a_pipe() {
    let place = Place::new();
    let gateway = place.serve();
    let lines = place.export();
    let mut verify = place.command(&["audit", "verify", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    verify.stdin.take().unwrap().write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    let ran = Ran::of(verify.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.err);
    gateway.stop();
}
