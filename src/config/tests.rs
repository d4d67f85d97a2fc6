//! What is read from a right text, the example file, secrets, and arbitrary text.
//! `mistakes` holds the tables of what is refused, and where that is told.

mod document;
mod documented;
mod mistakes;
mod tls;

use super::*;
use crate::domain::policy::{Action, Asked};
use proptest::prelude::*;
use serde_json::json;

/// A server that is right, for texts that are about something else.
const SERVER: &str = "[servers.demo]\ncommand = [\"x\"]\n";

fn env(name: &str) -> Option<String> {
    match name {
        "TOKEN" => Some("Bearer hunter2".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Loaded, Vec<Mistake>> {
    Config::parse(text, "config.toml", Path::new("/etc/paraph"), &env)
}

fn loaded(text: &str) -> Config {
    parse(text).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).config
}

fn mistakes(text: &str) -> Vec<Mistake> {
    parse(text).expect_err(text)
}

fn rule(lines: &str) -> String {
    format!("{SERVER}[[servers.demo.rules]]\nname = \"r\"\ntools = [\"t\"]\n{lines}\n")
}

#[test]
fn a_text_that_is_no_toml_is_one_mistake_with_line_and_column() {
    assert_eq!(mistakes("# caf\u{e9}\n\u{feff}a = \"\u{e9}\" =\n")[0].line, 2);
    for (text, line) in [("[listen]\naddress = \n", 2), ("a = 1\na = 2\n", 2), ("[x", 1), ("x = \"secret-hunter2", 1)] {
        let found = mistakes(text);
        assert_eq!((found.len(), found[0].line), (1, line), "{found:?}");
        assert!(found[0].column > 0 && !found[0].to_string().contains("hunter2"), "{}", found[0]);
    }
}

#[test]
fn the_example_file_loads_without_mistakes_or_warnings() {
    let loaded = Config::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml")), &|_| None).unwrap();
    assert_eq!(loaded.warnings, []);
    let config = loaded.config;
    let defaults = loaded_without_sections();
    assert_eq!(format!("{:?}{:?}", config.hold, config.bounds), format!("{:?}{:?}", defaults.hold, defaults.bounds));
    assert_eq!((config.store.min_free, config.store.ballast), (defaults.store.min_free, defaults.store.ballast));
    assert_eq!(config.listen.address, defaults.listen.address);
    let policy = &config.servers["demo"].policy;
    let verdict = |tool, text: &str| {
        policy.judge(&Asked { agent: "bot", tool, arguments: &json!({"to": "@bob", "text": text}), session: None, now: jiff::Timestamp::UNIX_EPOCH }).action
    };
    assert_eq!(verdict("send_dm", "hello"), Action::RequireApproval);
    assert_eq!(verdict("send_dm", "see HTTPS://x"), Action::Deny);
    assert_eq!(verdict("read_inbox", ""), Action::Allow);
    assert_eq!(verdict("delete_account", ""), Action::Deny);
    assert!(policy.reads("list_people"));
}

fn loaded_without_sections() -> Config {
    loaded(SERVER)
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = loaded_without_sections();
    assert_eq!(config.listen.address, "127.0.0.1:8420");
    assert_eq!(config.store.path, Path::new("/etc/paraph/data"));
    assert_eq!((config.store.min_free, config.store.ballast), (256 << 20, 16 << 20));
    assert_eq!(config.mail, Mail::default());
    let server = &config.servers["demo"];
    assert_eq!((server.timeout, server.start_timeout), (Duration::from_secs(120), Duration::from_secs(30)));
    assert_eq!(
        server.policy.judge(&Asked { agent: "a", tool: "t", arguments: &json!({}), session: None, now: jiff::Timestamp::UNIX_EPOCH }).action,
        Action::Deny
    );
}

#[test]
fn what_is_written_is_what_is_read() {
    let config = loaded(
        "[listen]\naddress = \"0.0.0.0:0\"\npublic_url = \"https://Paraph.example.org/\"\nhosts = [\"Inside:8420\"]\ntrusted_proxies = [\"10.0.0.0/8\"]\n\
         [store]\nengine = \"sled\"\npath = \"/var/paraph\"\nmin_free = \"2GiB\"\nballast = 0\n\
         [hold]\nkeep_open = \"500ms\"\nundo = \"1h\"\nmax_held = 7\n\
         [bounds]\nbody = 1000\narguments = \"64KiB\"\noutbox = 5\nconnections = 7\nconnections_per_address = 3\n\
         [mail]\ntransport = \"file\"\npath = \"mail\"\nfrom = \"Desk <desk@example.org>\"\n\
         [servers.A-1]\nurl = \"https://mcp.example.org/mcp\"\nmethods = [\"vendor/*\"]\ninstances = \"per_agent\"\nlimits = []\n\
         headers = { Authorization = { env = \"TOKEN\" } }\n\
         [[servers.A-1.rules]]\nname = \"r\"\ntools = [\"t\"]\naction = \"require_approval\"\nshadow = false\nlimits = []\nreviewers = [\"desk\"]\napprovals = 2\nexpires_in = \"2h\"\n\
         conditions = [{ path = \"args.n\", op = \"gt\", value = 9007199254740993 }, { path = \"/a.b\", op = \"exists\" }]\n\
         [servers.A-1.messages.t]\nto = \"/to\"\ntext = \"/message/text\"\n",
    );
    assert_eq!(config.listen.public_url.as_deref(), Some("https://paraph.example.org"));
    assert_eq!(config.listen.hosts, ["inside:8420"]);
    assert!(config.listen.trusted_proxies.trust([10, 1, 2, 3].into()) && !config.listen.trusted_proxies.trust([11, 1, 2, 3].into()));
    assert_eq!((config.bounds.connections, config.bounds.connections_per_address), (7, 3));
    assert_eq!(config.store.path, Path::new("/var/paraph"));
    assert_eq!((config.store.min_free, config.store.ballast), (2 << 30, 0));
    assert_eq!((config.hold.keep_open, config.hold.undo, config.hold.max_held), (Duration::from_millis(500), Duration::from_secs(3600), 7));
    assert_eq!((config.bounds.body, config.bounds.arguments, config.bounds.outbox), (1000, 65_536, 5));
    assert_eq!(config.mail.transport, MailTransport::File { path: "/etc/paraph/mail".into() });
    assert_eq!(config.mail.from, "Desk <desk@example.org>");
    let server = &config.servers["A-1"];
    assert!(
        matches!(&server.transport, Transport::Http { url, headers } if url == "https://mcp.example.org/mcp" && headers["Authorization"].expose() == "Bearer hunter2")
    );
    assert_eq!(server.messages["t"], MessagePointers { to: "/to".into(), text: "/message/text".into() });
    let judge = |n: u64| {
        server.policy.judge(&Asked { agent: "a", tool: "t", arguments: &json!({"n": n, "a.b": null}), session: None, now: jiff::Timestamp::UNIX_EPOCH })
    };
    assert_eq!(judge(9_007_199_254_740_993).action, Action::Deny);
    let held = judge(9_007_199_254_740_994);
    assert_eq!((held.action, held.approvals, held.expires_in), (Action::RequireApproval, 2, Some(Duration::from_secs(7200))));
}

#[test]
fn numbers_may_be_written_in_every_way_of_toml() {
    let config = loaded(&format!("[hold]\nmax_held = 1_000\nmax_held_per_agent = +7\n[bounds]\nbody = 0x10_00\n{SERVER}"));
    assert_eq!((config.hold.max_held, config.hold.max_held_per_agent, config.bounds.body), (1000, 7, 4096));
    let lines = "action = \"allow\"\nconditions = [{ path = \"args.n\", op = \"in\", value = [0xff, 18446744073709551615, -1_0, 1e2] }]";
    let policy = &loaded(&rule(lines)).servers["demo"].policy;
    for (n, action) in
        [(json!(255), Action::Allow), (json!(u64::MAX), Action::Allow), (json!(-10), Action::Allow), (json!(100), Action::Allow), (json!(256), Action::Deny)]
    {
        assert_eq!(
            policy.judge(&Asked { agent: "a", tool: "t", arguments: &json!({ "n": n }), session: None, now: jiff::Timestamp::UNIX_EPOCH }).action,
            action,
            "{n}"
        );
    }
}

#[test]
fn secrets_come_from_text_environment_or_file_and_are_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "hunter2-file\n").unwrap();
    let text = "[servers.a]\ncommand = [\"x\"]\ncwd = \"work\"\nenv_clear = true\n\
                env = { A = \"hunter2-text\", B = { env = \"TOKEN\" }, C = { file = \"token\" } }\n\
                [servers.b]\nurl = \"http://127.0.0.1:1/mcp\"\nheaders = { authorization = \"hunter2-header\" }\n";
    let loaded = Config::parse(text, "config.toml", folder.path(), &env).unwrap();
    assert!(!format!("{loaded:#?}").contains("hunter2"), "{loaded:#?}");
    assert_eq!(loaded.warnings.iter().map(|warning| (warning.line, warning.key.as_str())).collect::<Vec<_>>(), [(8, "servers.b.headers.authorization")]);
    let Transport::Process { env, cwd, env_clear, .. } = &loaded.config.servers["a"].transport else { unreachable!("a is a process") };
    assert_eq!(env.values().map(Secret::expose).collect::<Vec<_>>(), ["hunter2-text", "Bearer hunter2", "hunter2-file"]);
    assert_eq!((cwd.as_deref(), *env_clear), (Some(folder.path().join("work").as_path()), true));
}

#[test]
fn an_empty_or_binary_secret_file_is_a_mistake_that_names_the_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    std::fs::write(folder.path().join("binary"), b"hunter2\xff").unwrap();
    std::fs::write(folder.path().join("large"), vec![b'h'; 70_000]).unwrap();
    let text =
        "[servers.a]\ncommand = [\"x\"]\nenv.A = { file = \"empty\" }\nenv.B = { file = \"binary\" }\nenv.C = { file = \"large\" }\nenv.D = { file = \".\" }\n";
    let found = Config::parse(text, "config.toml", folder.path(), &env).unwrap_err();
    let said: Vec<(usize, &str)> = found.iter().map(|mistake| (mistake.line, mistake.problem.as_str())).collect();
    assert_eq!(
        said,
        [
            (3, "the file \"empty\" is empty"),
            (4, "the file \"binary\" is not UTF-8"),
            (5, "the file \"large\" is larger than 64 KiB"),
            (6, "the file \".\" is not a file")
        ]
    );
}

#[test]
fn a_reachable_address_needs_https_or_a_word_of_consent() {
    let with = |lines: &str| parse(&format!("[listen]\naddress = \"192.168.0.5:80\"\n{lines}\n{SERVER}"));
    assert!(with("public_url = \"https://paraph.example.org\"").is_ok_and(|loaded| loaded.warnings.is_empty()));
    assert!(with("insecure_http = true").is_ok_and(|loaded| loaded.warnings.len() == 1));
    assert!(with("public_url = \"http://paraph.example.org\"").is_err());
    assert!(with("").is_err());
}

#[test]
fn an_address_from_the_command_line_is_held_to_the_same_rules() {
    let mut listen = Listen::default();
    assert!(listen.listen_on("0.0.0.0:1").unwrap_err().contains("insecure_http = true"));
    assert!(listen.listen_on("8420").unwrap_err().contains("HOST:PORT"));
    assert_eq!(listen.address, "127.0.0.1:8420");
    listen.listen_on("[::1]:0").unwrap();
    assert_eq!(listen.address, "[::1]:0");
    listen.insecure_http = true;
    assert!(listen.listen_on("0.0.0.0:1").is_ok());
}

#[test]
fn a_file_that_cannot_be_read_is_one_plain_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str| Config::load(&folder.path().join(name), &env).unwrap_err();
    std::fs::write(folder.path().join("latin.toml"), b"# a\n# \xe4\n").unwrap();
    for (name, problem) in [("none.toml", "there is no such file"), (".", "is not a file"), ("latin.toml", "line 2 is not UTF-8")] {
        let found = load(name);
        assert_eq!((found.len(), found[0].problem.as_str(), found[0].line), (1, problem, 0));
        assert!(found[0].to_string().contains(&format!("{name}: {problem}. ")), "{}", found[0]);
    }
}

#[test]
fn a_hostile_depth_is_a_mistake_and_no_crash() {
    let deep = 100_000;
    let dotted = vec!["a"; deep].join(".");
    for text in [
        format!("x = {}", "[".repeat(deep)),
        format!("x = {}1{}", "[".repeat(deep), "]".repeat(deep)),
        format!("x = {}", "{a=".repeat(deep)),
        format!("{dotted} = 1"),
        format!("[{dotted}]"),
        format!("servers.a.rules = [{{ conditions = [{{ path = \"args.x\", op = \"eq\", value.{dotted} = 1 }}] }}]"),
    ] {
        assert!(!mistakes(&text).is_empty());
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_near_configuration_makes_the_reader_panic(
        lines in prop::collection::vec(
            (
                prop::sample::select(vec!["[listen]", "[hold]", "[bounds]", "[mail]", "[servers.a]", "[[servers.a.rules]]", "[servers.a.messages.t]", ""]),
                prop::sample::select(vec!["address", "public_url", "hosts", "keep_open", "body", "max_held", "transport", "from", "command", "url", "env", "headers", "name", "tools", "conditions", "action", "to"]),
                prop::sample::select(vec!["1", "\"\"", "\"\u{e9}\u{1f600}:/~\"", "[]", "{}", "[[1]]", "[{ path = \"/~\", op = \"regex\", value = { a = 1e400 } }]", "nan", "-9223372036854775808", "0xff", "{ env = \"\u{0}\" }", "1979-05-27", "true"]),
            ),
            0..12,
        ),
    ) {
        let text: String = lines.iter().map(|(table, key, value)| format!("{table}\n{key} = {value}\n")).collect();
        if let Err(found) = parse(&text) {
            prop_assert!(!found.is_empty());
            prop_assert!(found.is_sorted_by_key(|mistake| (mistake.line, mistake.column)));
        }
    }
}
