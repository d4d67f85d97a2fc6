//! What shells and manual readers get: scripts that parse, pages that render, and nothing that is not for people.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_paraph");

fn told(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new(PROGRAM).args(arguments).output().unwrap();
    assert!(status.success() && stderr.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// What a shell makes of a script on its standard input; `None` where this computer has no such shell.
fn parsed_by(shell: &str, arguments: &[&str], script: &str) -> Option<bool> {
    let mut child = Command::new(shell).args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().ok()?;
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()).unwrap();
    Some(child.wait().unwrap().success())
}

#[test]
fn completion_scripts_parse_and_offer_what_help_lists_and_nothing_hidden() {
    for (shell, arguments) in [("bash", &["-n"][..]), ("zsh", &["-n"]), ("fish", &["--no-execute"]), ("elvish", &["-compileonly"]), ("powershell", &["-v"])] {
        let script = told(&["completions", shell]);
        assert!(script.contains("connect") && script.contains("token-file"), "{shell}");
        assert!(!script.contains("guard"), "{shell} offers a hidden command");
        assert_ne!(parsed_by(shell, arguments, &script), Some(false), "{shell} does not take its script");
    }
    // A real shell, asked for what may follow.
    let asked = "source <(paraph completions bash); COMP_WORDS=(paraph con); COMP_CWORD=1; _paraph paraph con paraph; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let folder = std::path::Path::new(PROGRAM).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let offered = Command::new("bash").args(["-c", asked]).env("PATH", path).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&offered.stdout), "connect\n", "{}", String::from_utf8_lossy(&offered.stderr));
}

#[test]
fn every_command_for_people_has_a_manual_page_that_keeps_its_examples() {
    let page = told(&["man"]);
    assert!(page.contains(".TH paraph 1") && page.contains("paraph\\-connect(1)") && !page.contains("guard"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(told(&["man", "--out", &folder.path().display().to_string()]), "");
    let names: BTreeSet<String> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    for name in ["paraph.1", "paraph-connect.1", "paraph-agent-add.1", "paraph-calls-approve.1"] {
        assert!(names.contains(name), "{name} is not in {names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("guard")), "{names:?}");
    let connect = std::fs::read_to_string(folder.path().join("paraph-connect.1")).unwrap();
    assert!(connect.contains(".nf\n\\&  (umask 077; paraph agent add desktop \\-\\-server dm"), "{connect}");
    for name in names {
        let shown = Command::new("groff").args(["-man", "-Tutf8", "-ww"]).arg(folder.path().join(&name)).output();
        if let Ok(shown) = shown {
            assert!(shown.status.success() && !shown.stdout.is_empty(), "{name}: {}", String::from_utf8_lossy(&shown.stderr));
        }
    }
}
