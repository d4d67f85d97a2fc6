//! `paraph demo`: the main job, unattended and decided from another terminal.

use super::{Place, Ran};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

#[test]
fn the_demo_shows_all_three_outcomes_by_itself() {
    let place = Place::new();
    let temporary = place.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    for (verdict, end) in [("approve", "approved and sent"), ("reject", "refused: nothing was sent")] {
        let ran = Ran::of(place.command(&["demo", "--decide", verdict]).env("TMPDIR", &temporary).output().unwrap());
        assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
        assert!(ran.out.contains(&format!("held, then {end}")), "{}", ran.out);
        assert!(ran.out.contains("Rule nobody-deletes-accounts refuses this"), "{}", ran.out);
        assert!(ran.out.contains(".eml"), "{}", ran.out);
        assert!(!ran.out.contains('\u{1b}'));
        assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "the demo's folder is gone");
    }
}

#[test]
fn the_demos_terminal_command_decides() {
    let place = Place::new();
    let mut demo = place.command(&["demo", "--once"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    let command = lines.by_ref().find(|line| line.contains("PARAPH_TOKEN=")).unwrap();
    let decided = Ran::of(Command::new("sh").args(["-c", &command]).stdin(Stdio::null()).output().unwrap());
    assert_eq!(decided.code, 0, "{}", decided.err);
    assert!(decided.out.contains("| Hi Bob"), "the whole message is shown: {}", decided.out);
    let rest: Vec<String> = lines.collect();
    assert!(rest.iter().any(|line| line.contains("held, then approved and sent")), "{rest:?}");
    assert!(demo.wait().unwrap().success());
}
