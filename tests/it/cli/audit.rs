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
    let unknown = place.verify(&lines, &["--head", &other]);
    assert_eq!((unknown.code, unknown.out.as_str()), (1, ""));
    assert!(unknown.err.contains("the end was cut off"), "{}", unknown.err);
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
    assert!(late.err.contains("starts at entry 2; what came before is not in the file"), "{}", late.err);
    let again = place.run(&["audit", "export", "--out", "late.ndjson"]);
    assert_eq!(again.code, 2, "a file is not overwritten");
    assert!(again.err.contains("late.ndjson exists already") && again.err.contains("choose another name"), "{}", again.err);
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
    let (last, end) = (whole.len() - 1, whole.len());
    let says = |told: String, what: &str| assert!(told.contains(what), "{what:?} is not in {told}");
    says(touched(&|lines| lines[2] = lines[2].replace("\"b\"", "\"x\"")), "line 3 (entry 3): entry 3 was changed");
    says(touched(&|lines| lines.swap(0, 1)), "line 2");
    says(touched(&|lines| drop(lines.remove(1))), "line 2 (entry 3): entry 2 is missing");
    says(touched(&|lines| drop(lines.remove(last - 1))), &format!("line {last} (entry {last}): the head line speaks of entry {last}"));
    says(touched(&|lines| drop(lines.remove(last - 1))), &format!("entry {last} is missing"));
    says(touched(&|lines| drop(lines.pop())), &format!("line {end} (entry {end}): the head line is missing: the file was cut short"));
    let signature = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["signature"].as_str().unwrap().to_owned();
    let flipped = |text: &str| if let Some(rest) = text.strip_prefix('A') { format!("B{rest}") } else { format!("A{}", &text[1..]) };
    let forged = touched(&|lines| lines[last] = lines[last].replace(&signature(&whole[last]), &flipped(&signature(&whole[last]))));
    says(forged, &format!("line {end} (entry {last}): the signature does not fit"));

    let bytes = whole.join("\n");
    std::fs::write(place.path().join("half.ndjson"), &bytes[..whole[0].len() + 40]).unwrap();
    let half = place.run(&["audit", "verify", "half.ndjson", "--json"]);
    says(half.err, "line 2 (entry 2): the file was cut short in the middle of this line");
    let told: serde_json::Value = serde_json::from_str(&half.out).unwrap();
    assert_eq!((half.code, &told["whole"], &told["line"], &told["seq"]), (1, &false.into(), &2.into(), &2.into()));
}

#[test]
fn a_start_after_an_unclean_stop_is_told_with_what_may_be_missing() {
    let place = Place::new();
    let gateway = place.serve();
    assert_eq!(place.run(&["agent", "add", "a"]).code, 0);
    drop(gateway);
    let export = place.run(&["audit", "export"]);
    let lines: Vec<String> = export.out.lines().map(str::to_owned).collect();
    let found = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).find(|entry| entry["kind"] == "unclean_start").unwrap();
    let (seq, at) = (found["seq"].as_u64().unwrap(), found["at"].as_str().unwrap());
    let told = place.verify(&lines, &[]);
    assert_eq!(told.code, 0, "{}", told.err);
    let sentence =
        format!("Entry {seq}: the gateway started at {at} after an unclean stop. After entry {}, facts of reading tools of at most the last 100 ms", seq - 1);
    assert!(told.err.contains(&sentence), "{}", told.err);
    let json = place.verify(&lines, &["--json"]).json();
    assert_eq!(json["unclean_starts"], serde_json::json!([{ "seq": seq, "at": at, "after": seq - 1 }]));
}

#[test]
fn the_head_that_the_gateway_logs_when_it_stops_finds_an_end_that_was_cut_off() {
    let place = Place::new();
    let log = place.path().join("log");
    let gateway = place.serve_logging(&log);
    assert_eq!(place.run(&["agent", "add", "kept"]).code, 0);
    gateway.stop();
    let log = std::fs::read_to_string(log).unwrap();
    let stopped = log.lines().find(|line| line.contains("this is the head of the audit chain")).unwrap();
    let hash = &stopped[stopped.find("sha256:").unwrap()..][..71];
    let seq: u64 = stopped.split("seq=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();

    let now: Vec<String> = place.run(&["audit", "export"]).out.lines().map(str::to_owned).collect();
    let last = place.verify(&now, &["--head", hash]);
    assert_eq!(last.code, 0, "{}", last.err);
    assert!(last.err.contains(&format!("that of entry {seq}")), "{}", last.err);
    let grown = place.export();
    let later = place.verify(&grown, &["--head", hash, "--json"]);
    assert_eq!(later.json()["head_at"], seq);
    assert!(later.err.contains("entries come after it"), "{}", later.err);
    assert_eq!(place.verify(&grown, &["--head", &hash["sha256:".len()..]]).code, 0, "the prefix may be missing");
    // Another store's export is whole in itself; only the hash tells that it does not go as far.
    let other = Place::new().export();
    let cut = place.verify(&other, &["--head", hash]);
    assert_eq!(cut.code, 1);
    assert!(cut.err.contains("no entry has the hash asked for"), "{}", cut.err);
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
