//! The real program, as an operator runs it: what it prints where, and with which exit code.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_paraph");

/// A folder with a configuration whose data folder does not exist yet.
struct Place {
    folder: TempDir,
}

/// What a run left behind.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Standard output, which must be one line.
    fn line(&self) -> &str {
        assert_eq!(self.code, 0, "{}", self.err);
        let line = self.out.strip_suffix('\n').unwrap();
        assert!(!line.contains('\n'), "more than one line on standard output: {}", self.out);
        line
    }

    fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, 0, "{}", self.err);
        serde_json::from_str(&self.out).unwrap()
    }
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\n[mail]\ntransport = \"off\"\n[servers.demo]\ncommand = [{PROGRAM:?}, \"demo-server\"]\ndefault = \"deny\"\n\
             [[servers.demo.rules]]\nname = \"dms\"\ntools = [\"send_dm\"]\naction = \"require_approval\"\nreviewers = [\"desk\"]\n"
        );
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        Place { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.path()).env_remove("PARAPH_URL").env_remove("PARAPH_TOKEN").env_remove("PARAPH_LOG").stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    fn serve(&self) -> Gateway {
        let mut child = self.command(&["serve"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim_end().strip_prefix("listening on ").expect("the promised line").to_owned();
        Gateway { child, url }
    }

    /// An export with some entries, as lines.
    fn export(&self) -> Vec<String> {
        for name in ["a", "b", "c"] {
            assert_eq!(self.run(&["agent", "add", name]).code, 0);
        }
        let export = self.run(&["audit", "export"]);
        assert_eq!(export.code, 0, "{}", export.err);
        export.out.lines().map(str::to_owned).collect()
    }

    fn verify(&self, lines: &[String], more: &[&str]) -> Ran {
        std::fs::write(self.path().join("audit.ndjson"), lines.join("\n") + "\n").unwrap();
        self.run(&[&["audit", "verify", "audit.ndjson"], more].concat())
    }
}

/// A gateway that is ended with the test.
struct Gateway {
    child: Child,
    url: String,
}

impl Gateway {
    fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_secret(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| rest.len() == 43 && rest.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')))
}

#[test]
fn every_command_explains_itself_with_examples() {
    let place = Place::new();
    let commands = [
        "",
        "serve",
        "demo",
        "check",
        "agent add",
        "agent list",
        "agent revoke",
        "reviewer add",
        "reviewer list",
        "reviewer disable",
        "reviewer link",
        "reviewer token",
        "calls",
        "calls show",
        "calls approve",
        "calls reject",
        "calls watch",
        "audit export",
        "audit verify",
        "audit key",
    ];
    for command in commands {
        let arguments: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let help = place.run(&arguments);
        assert_eq!((help.code, help.err.as_str()), (0, ""), "{command}");
        assert!(help.out.contains("Examples:"), "{command}: {}", help.out);
        assert!(!help.out.contains('\u{1b}'), "colours only on a terminal");
    }
}

#[test]
fn wrong_use_is_2_and_says_so_on_standard_error() {
    let place = Place::new();
    let wrong: [&[&str]; 9] = [
        &["no-such-command"],
        &["agent"],
        &["agent", "add"],
        &["agent", "add", "a", "--expires", "soon"],
        &["reviewer", "add", "a@b.c", "--role", "king"],
        &["calls", "--state", "lost"],
        &["audit", "export", "--from", "0"],
        &["audit", "verify", "no-such-file"],
        &["serve", "--listen", "nowhere"],
    ];
    for arguments in wrong {
        let ran = place.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
        assert!(!ran.err.is_empty());
    }
}

#[test]
fn a_command_of_a_later_version_is_known_by_name() {
    let place = Place::new();
    for command in ["init", "connect", "scan", "policy", "store", "mail", "pause", "resume", "completions"] {
        let ran = place.run(&[command, "some", "--thing"]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""));
        assert!(ran.err.contains("is not in this version"), "{}", ran.err);
    }
}

#[test]
fn without_a_configuration_a_bare_paraph_says_how_to_begin() {
    let empty = tempfile::tempdir().unwrap();
    let ran = Ran::of(Command::new(PROGRAM).current_dir(empty.path()).output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("paraph demo") && ran.err.contains("paraph init"), "{}", ran.err);
}

#[test]
fn check_prints_every_mistake_with_file_line_key_and_mend() {
    let place = Place::new();
    let good = place.run(&["check"]);
    assert_eq!(good.line(), "config.toml is fine.");
    let broken = "[listen]\naddress = 7\n[hold]\nexpires_in = \"soon\"\n[servers.x]\ncommand = [\"y\"]\ndefault = \"maybe\"\ncolour = 1\n";
    std::fs::write(place.path().join("config.toml"), broken).unwrap();
    let bad = place.run(&["check"]);
    assert_eq!(bad.code, 2);
    for line in
        ["config.toml:2: listen.address: ", "config.toml:4: hold.expires_in: ", "config.toml:7: servers.x.default: ", "config.toml:8: servers.x.colour: "]
    {
        assert!(bad.out.lines().any(|told| told.starts_with(line)), "{line} is missing in {}", bad.out);
    }
    let json = place.run(&["check", "--json"]);
    assert_eq!(json.code, 2);
    let told: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert!(told["mistakes"].as_array().unwrap().len() >= 4);
    assert!(told["mistakes"].as_array().unwrap().iter().all(|one| one["line"].as_u64().unwrap() > 0 && one["mend"].is_string()));
    let serve = place.run(&["serve"]);
    assert_eq!(serve.code, 2, "what check refuses does not start");
}

#[test]
fn check_warns_of_a_rule_that_nobody_may_decide_and_makes_no_data_folder() {
    let place = Place::new();
    assert_eq!(place.run(&["check"]).code, 0);
    assert!(!place.path().join("data").exists());
    assert_eq!(place.run(&["reviewer", "add", "ann@example.org", "--group", "elsewhere"]).code, 0);
    let warned = place.run(&["check"]);
    assert_eq!(warned.code, 0);
    assert!(warned.out.contains("warning: servers.demo: rule \"dms\""), "{}", warned.out);
    assert_eq!(place.run(&["reviewer", "add", "bea@example.org", "--group", "desk"]).code, 0);
    assert_eq!(place.run(&["check"]).line(), "config.toml is fine.");
}

#[test]
fn agents_are_added_listed_and_revoked_without_a_gateway() {
    agents_and_people(&Place::new(), "http://127.0.0.1:0");
}

#[test]
fn agents_are_added_listed_and_revoked_beside_a_running_gateway() {
    let place = Place::new();
    let gateway = place.serve();
    let socket = place.path().join("data/control.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    agents_and_people(&place, &gateway.url);
    gateway.stop();
    assert!(!socket.exists());
    let agents = place.run(&["agent", "list", "--json"]).json();
    assert_eq!(agents["agents"][0]["state"], "revoked", "it is on record after the stop");
}

/// The same story, whoever holds the store.
fn agents_and_people(place: &Place, url: &str) {
    let added = place.run(&["agent", "add", "bot", "--server", "demo", "--keep-open", "4m", "--expires", "90d"]);
    assert!(is_secret(added.line(), "pa_"), "{}", added.out);
    let twice = place.run(&["agent", "add", "bot"]);
    assert_eq!((twice.code, twice.out.as_str()), (1, ""));
    assert!(twice.err.contains("already an agent called bot"), "{}", twice.err);
    let slip = place.run(&["agent", "add", "other", "--server", "dmeo"]);
    assert!(slip.err.contains("no server called dmeo"), "{}", slip.err);

    let agents = place.run(&["agent", "list", "--json"]).json();
    assert_eq!(agents["agents"][0]["name"], "bot");
    assert_eq!(agents["agents"][0]["state"], "active");
    assert_eq!(agents["agents"][0]["keep_open_ms"], 240_000);
    assert!(!agents.to_string().contains("token"), "not even the hash of a token is shown");
    assert!(place.run(&["agent", "list"]).out.contains("bot"));

    let revoked = place.run(&["agent", "revoke", "bot"]);
    assert_eq!((revoked.code, revoked.out.as_str()), (0, ""));
    assert_eq!(place.run(&["agent", "revoke", "bot"]).code, 1);
    assert_eq!(place.run(&["agent", "list", "--json"]).json()["agents"][0]["state"], "revoked");

    let link = place.run(&["reviewer", "add", "Ann@Example.org", "--name", "Ann", "--group", "desk", "--role", "operator"]);
    assert!(is_secret(link.line(), &format!("{url}/sign-in/pl_")), "{}", link.out);
    assert!(is_secret(place.run(&["reviewer", "link", "ann@example.org"]).line(), &format!("{url}/sign-in/pl_")));
    assert!(is_secret(place.run(&["reviewer", "token", "ann@example.org"]).line(), "pt_"));
    let people = place.run(&["reviewer", "list", "--json"]).json();
    assert_eq!(people["people"][0]["email"], "ann@example.org");
    assert_eq!((&people["people"][0]["role"], &people["people"][0]["groups"][0]), (&"operator".into(), &"desk".into()));
    let last = place.run(&["reviewer", "disable", "ann@example.org"]);
    assert_eq!(last.code, 1);
    assert!(last.err.contains("last operator"), "{}", last.err);
    assert_eq!(place.run(&["reviewer", "token", "nobody@example.org"]).code, 1);
}

#[test]
fn data_alone_is_enough_for_commands_about_data() {
    let empty = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| Ran::of(Command::new(PROGRAM).args(arguments).current_dir(empty.path()).output().unwrap());
    assert!(is_secret(run(&["agent", "add", "bot", "--data", "store"]).line(), "pa_"));
    assert_eq!(run(&["--data", "store", "agent", "list", "--json"]).json()["agents"][0]["name"], "bot");
    assert_eq!(run(&["agent", "list"]).code, 2, "without both nobody knows which data is meant");
}

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
    assert!(touched(&|lines| lines[1] = lines[1].replace("\"b\"", "\"x\"")).contains("line 2:"));
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

#[test]
fn calls_without_a_gateway_are_3_and_without_a_token_2() {
    let place = Place::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let asked = |arguments: &[&str], token: Option<&str>| {
        let mut command = place.command(arguments);
        command.env("PARAPH_URL", format!("http://{nobody}"));
        if let Some(token) = token {
            command.env("PARAPH_TOKEN", token);
        }
        Ran::of(command.output().unwrap())
    };
    for arguments in [&["calls"][..], &["calls", "show", "c_1"], &["calls", "watch"], &["calls", "reject", "c_1", "--reason", "no"]] {
        assert_eq!(asked(arguments, Some("pt_x")).code, 3, "{arguments:?}");
        assert_eq!(asked(arguments, None).code, 2, "{arguments:?}");
    }
    let unread = asked(&["calls", "approve", "c_1"], Some("pt_x"));
    assert_eq!(unread.code, 2, "without a terminal nobody can be asked");
    assert!(unread.err.contains("--digest"), "{}", unread.err);
    assert_eq!(asked(&["calls", "reject", "c_1"], Some("pt_x")).code, 2, "a refusal needs a reason");
    assert_eq!(asked(&["calls", "show", "../agents"], Some("pt_x")).code, 2);
}

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
