//! One row for every kind of mistake; several at once; the example file; secrets; and arbitrary text.

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

/// Key and line of the only mistake.
fn only(text: &str) -> (String, usize) {
    let found = mistakes(text);
    assert_eq!(found.len(), 1, "{text}\n{found:#?}");
    (found[0].key.clone(), found[0].line)
}

fn rule(lines: &str) -> String {
    format!("{SERVER}[[servers.demo.rules]]\nname = \"r\"\ntools = [\"t\"]\n{lines}\n")
}

#[test]
fn every_kind_of_mistake_outside_of_servers_is_found_at_its_key() {
    for (lines, key) in [
        ("colour = 1", "colour"),
        ("listen = 1", "listen"),
        ("[listen]\naddres = \"127.0.0.1:1\"", "listen.addres"),
        ("[listen]\naddress = 8420", "listen.address"),
        ("[listen]\naddress = \"8420\"", "listen.address"),
        ("[listen]\naddress = \"0.0.0.0:8420\"", "listen.address"),
        ("[listen]\naddress = \"gateway.internal:8420\"\npublic_url = \"http://paraph.example.org\"", "listen.address"),
        ("[listen]\npublic_url = \"ftp://x\"", "listen.public_url"),
        ("[listen]\npublic_url = \"https://x/desk\"", "listen.public_url"),
        ("[listen]\npublic_url = true", "listen.public_url"),
        ("[listen]\nhosts = \"x\"", "listen.hosts"),
        ("[listen]\nhosts = [\"a\", \"http://x\"]", "listen.hosts[1]"),
        ("[listen]\nhosts = [1]", "listen.hosts[0]"),
        ("[listen]\ninsecure_http = \"yes\"", "listen.insecure_http"),
        ("[listen]\ntrusted_proxies = [\"10.0.0.1\"]", "listen.trusted_proxies"),
        ("[listen]\ntls = { cert = \"c\", key = \"k\" }", "listen.tls"),
        ("[listen]\nmetrics = \"127.0.0.1:9\"", "listen.metrics"),
        ("[store]\nengine = \"postgres\"", "store.engine"),
        ("[store]\nengine = \"sqlite\"", "store.engine"),
        ("[store]\npath = \"\"", "store.path"),
        ("[store]\nkeep_text = \"90d\"", "store.keep_text"),
        ("[store]\nurl = \"postgres://x\"", "store.url"),
        ("[hold]\nexpires_in = \"soon\"", "hold.expires_in"),
        ("[hold]\nexpires_in = 50", "hold.expires_in"),
        ("[hold]\nexpires_in = \"0s\"", "hold.expires_in"),
        ("[hold]\nexpires_in = \"367d\"", "hold.expires_in"),
        ("[hold]\nkeep_open = \"61m\"", "hold.keep_open"),
        ("[hold]\nundo = \"2h\"", "hold.undo"),
        ("[hold]\npermit_for = \"0s\"", "hold.permit_for"),
        ("[hold]\noutcome_for = \"0s\"", "hold.outcome_for"),
        ("[hold]\nrefuse_again_for = \"400d\"", "hold.refuse_again_for"),
        ("[hold]\nmax_held = 0", "hold.max_held"),
        ("[hold]\nmax_held = -1", "hold.max_held"),
        ("[hold]\nmax_held_per_agent = 1.5", "hold.max_held_per_agent"),
        ("[hold]\nmax_held_per_agent = 99999999999999999999", "hold.max_held_per_agent"),
        ("[hold]\nkeep_opne = \"1s\"", "hold.keep_opne"),
        ("[bounds]\nbody = \"4MB\"", "bounds.body"),
        ("[bounds]\nbody = 0", "bounds.body"),
        ("[bounds]\nresult = \"2GiB\"", "bounds.result"),
        ("[bounds]\narguments = true", "bounds.arguments"),
        ("[bounds]\noutbox = \"many\"", "bounds.outbox"),
        ("[bounds]\nqueue = 1", "bounds.queue"),
        ("[mail]\ntransport = \"smtp\"", "mail.transport"),
        ("[mail]\ntransport = \"pigeon\"", "mail.transport"),
        ("[mail]\nfrom = \"a@example.org\"", "mail.transport"),
        ("[mail]\ntransport = \"file\"", "mail.path"),
        ("[mail]\ntransport = \"file\"\npath = \"m\"\nfrom = \"nobody\"", "mail.from"),
        ("[mail]\ntransport = \"off\"\nurl = \"smtp://x\"", "mail.url"),
        ("[mail]\ntransport = \"off\"\npassword = { env = \"TOKEN\" }", "mail.password"),
        ("[audit]\nkeep = \"400d\"", "audit.keep"),
        ("[audit]\nkep = 1", "audit.kep"),
    ] {
        let text = format!("{lines}\n{SERVER}");
        let (found, line) = only(&text);
        assert_eq!(found, key, "{lines}");
        let last = key.rsplit('.').next().unwrap().split('[').next().unwrap();
        let written = text.lines().position(|line| line.starts_with(last)).or_else(|| text.lines().position(|line| line.starts_with("[mail]")));
        assert_eq!(Some(line), written.map(|index| index + 1), "{lines}");
    }
}

#[test]
fn every_kind_of_mistake_in_a_server_is_found_at_its_key() {
    for (text, key, line) in [
        ("", "servers", 1),
        ("[servers]", "servers", 1),
        ("servers = 1", "servers", 1),
        ("[servers.\"a b\"]\ncommand = [\"x\"]", "servers.\"a b\"", 1),
        ("[servers.Demo]\ncommand = [\"x\"]\n[servers.demo]\ncommand = [\"x\"]", "servers.demo", 3),
        ("[servers.demo]", "servers.demo", 1),
        ("[servers.demo]\ncommand = [\"x\"]\nurl = \"https://x\"", "servers.demo.url", 3),
        ("[servers.demo]\ncommand = \"x\"", "servers.demo.command", 2),
        ("[servers.demo]\ncommand = []", "servers.demo.command", 2),
        ("[servers.demo]\ncommand = [\"x\", 1]", "servers.demo.command[1]", 2),
        ("[servers.demo]\nurl = \"ws://x\"", "servers.demo.url", 2),
        ("[servers.demo]\nurl = \"https://user:hunter2@x\"", "servers.demo.url", 2),
        ("[servers.demo]\nurl = \"https://x\"\nenv = { A = \"b\" }", "servers.demo.env", 3),
        ("[servers.demo]\nurl = \"https://x\"\ncwd = \".\"", "servers.demo.cwd", 3),
        ("[servers.demo]\nurl = \"https://x\"\nenv_clear = true", "servers.demo.env_clear", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nheaders = { A = \"b\" }", "servers.demo.headers", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nenv = { \"A=B\" = \"c\" }", "servers.demo.env.\"A=B\"", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nenv = { A = \"\\u0000\" }", "servers.demo.env.A", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nenv = { A = 1 }", "servers.demo.env.A", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nenv = { A = { env = \"UNSET\" } }", "servers.demo.env.A.env", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nenv = { A = { env = \"EMPTY\" } }", "servers.demo.env.A.env", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nenv = { A = { file = \"/nonexistent/secret\" } }", "servers.demo.env.A.file", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nenv = { A = { env = \"TOKEN\", file = \"x\" } }", "servers.demo.env.A", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nenv = { A = {} }", "servers.demo.env.A", 3),
        ("[servers.demo]\ncommand = [\"x\"]\ncwd = 1", "servers.demo.cwd", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nenv_clear = 1", "servers.demo.env_clear", 3),
        ("[servers.demo]\nurl = \"https://x\"\nheaders = { \"a b\" = \"c\" }", "servers.demo.headers.\"a b\"", 3),
        ("[servers.demo]\nurl = \"https://x\"\nheaders = { Host = \"c\" }", "servers.demo.headers.Host", 3),
        ("[servers.demo]\nurl = \"https://x\"\nheaders = { A = \"b\\nc\" }", "servers.demo.headers.A", 3),
        ("[servers.demo]\nurl = \"https://x\"\nheaders = { A = \"b\", a = \"c\" }", "servers.demo.headers.a", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nmethods = [\"\"]", "servers.demo.methods[0]", 3),
        ("[servers.demo]\ncommand = [\"x\"]\ntimeout = \"0s\"", "servers.demo.timeout", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nstart_timeout = \"1y\"", "servers.demo.start_timeout", 3),
        ("[servers.demo]\ncommand = [\"x\"]\ninstances = \"shared\"", "servers.demo.instances", 3),
        ("[servers.demo]\ncommand = [\"x\"]\npolicy = \"p.json\"", "servers.demo.policy", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nlimits = [{ max = 1 }]", "servers.demo.limits", 3),
        ("[servers.demo]\ncommand = [\"x\"]\ndefault = \"maybe\"", "servers.demo.default", 3),
        ("[servers.demo]\ncommand = [\"x\"]\ndefualt = \"deny\"", "servers.demo.defualt", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nreads = [\"[\"]", "servers.demo.reads[0]", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nrules = 1", "servers.demo.rules", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nrules = [1]", "servers.demo.rules[0]", 3),
        ("[servers.demo]\ncommand = [\"x\"]\n[servers.demo.messages.t]\nto = \"/to\"", "servers.demo.messages.t.text", 3),
        ("[servers.demo]\ncommand = [\"x\"]\n[servers.demo.messages.t]\nto = \"to\"\ntext = \"/text\"", "servers.demo.messages.t.to", 4),
        ("[servers.demo]\ncommand = [\"x\"]\n[servers.demo.messages.t]\nto = \"/to\"\ntext = \"/a~2\"", "servers.demo.messages.t.text", 5),
        ("[servers.demo]\ncommand = [\"x\"]\n[servers.demo.messages.t]\nto = \"/to\"\ntext = \"/t\"\ncc = \"/c\"", "servers.demo.messages.t.cc", 6),
    ] {
        assert_eq!(only(text), (key.to_owned(), line), "{text}");
    }
}

#[test]
fn every_kind_of_mistake_in_a_rule_is_found_at_its_key() {
    for (lines, key, line) in [
        ("", "action", 3),
        ("action = \"alow\"", "action", 6),
        ("action = \"allow\"\ncolour = 1", "colour", 7),
        ("action = \"allow\"\nwhen = \"true\"", "when", 7),
        ("action = \"allow\"\nlimits = [{ max = 1 }]", "limits", 7),
        ("action = \"allow\"\nshadow = true", "shadow", 7),
        ("action = \"allow\"\nagents = \"*\"", "agents", 7),
        ("action = \"allow\"\nagents = []", "agents", 7),
        ("action = \"allow\"\nreviewers = [\"desk\"]", "reviewers", 7),
        ("action = \"deny\"\napprovals = 1", "approvals", 7),
        ("action = \"deny\"\nexpires_in = \"1h\"", "expires_in", 7),
        ("action = \"require_approval\"\napprovals = 0", "approvals", 7),
        ("action = \"require_approval\"\nexpires_in = \"0s\"", "expires_in", 7),
        ("action = \"require_approval\"\nexpires_in = \"367d\"", "expires_in", 7),
        ("action = \"deny\"\nreason = 1", "reason", 7),
        ("action = \"hide\"\nconditions = [{ path = \"args.a\", op = \"exists\" }]", "conditions", 7),
        ("action = \"deny\"\nconditions = [\n{ path = \"a\", op = \"eq\", value = 1 }]", "conditions[0].path", 8),
        ("action = \"deny\"\nconditions = [\n{ path = \"args.a\", op = \"is\", value = 1 }]", "conditions[0].op", 8),
        ("action = \"deny\"\nconditions = [\n{ path = \"args.a\", op = \"eq\" }]", "conditions[0].value", 8),
        ("action = \"deny\"\nconditions = [\n{ path = \"args.a\", op = \"eq\", value = 1979-05-27 }]", "conditions[0].value", 8),
        ("action = \"deny\"\nconditions = [\n{ path = \"args.a\", op = \"lt\", value = nan }]", "conditions[0].value", 8),
        ("action = \"deny\"\nconditions = [\n{ path = \"args.a\", op = \"regex\", value = '(' }]", "conditions[0].value", 8),
        ("action = \"deny\"\nconditions = [\n{ op = \"exists\" }]", "conditions[0].path", 8),
        ("action = \"deny\"\nconditions = [\n{ path = \"args.a\" }]", "conditions[0].op", 8),
        ("action = \"deny\"\nconditions = [\n{ path = \"args.a\", op = \"exists\", vlue = false }]", "conditions[0].vlue", 8),
    ] {
        assert_eq!(only(&rule(lines)), (format!("servers.demo.rules[0].{key}"), line), "{lines}");
    }
    let twice = format!("{}[[servers.demo.rules]]\nname = \"r\"\ntools = [\"u\"]\naction = \"deny\"\n", rule("action = \"deny\""));
    assert_eq!(only(&twice), ("servers.demo.rules[1].name".into(), 8));
    let nameless = format!("{SERVER}[[servers.demo.rules]]\naction = \"deny\"\n");
    let found: Vec<String> = mistakes(&nameless).into_iter().map(|mistake| mistake.key).collect();
    assert_eq!(found, ["servers.demo.rules[0].name", "servers.demo.rules[0].tools"]);
}

#[test]
fn a_mistake_reads_as_one_sentence_with_its_mend() {
    let found = mistakes(&rule("action = \"alow\""));
    assert_eq!(
        found[0].to_string(),
        "config.toml:6: servers.demo.rules[0].action: \"alow\" is not an action. Did you mean \"allow\"? One of: allow, deny, require_approval, hide."
    );
    let found = mistakes(&rule("action = \"allow\"\nwhen = \"true\""));
    assert_eq!(found[0].to_string(), "config.toml:7: servers.demo.rules[0].when: is not in this version. Leave it out; nothing would enforce it.");
    let found = mistakes(&format!("[hold]\nkeep_opne = \"1s\"\n{SERVER}"));
    assert!(
        found[0].to_string().starts_with("config.toml:2: hold.keep_opne: is not a key of this table. Did you mean \"keep_open\"? Known here: "),
        "{}",
        found[0]
    );
}

#[test]
fn all_mistakes_come_together_in_the_order_of_their_lines() {
    let text = "\
[servers.demo]
comand = [\"x\"]
[[servers.demo.rules]]
name = \"r\"
tools = [\"[\"]
action = \"alow\"
conditions = [{ path = \"x\", op = \"eqq\", value = 1 }]
[hold]
keep_open = \"2h\"
[listen]
address = \"0.0.0.0:1\"
[colour]
";
    let found: Vec<(usize, String)> = mistakes(text).into_iter().map(|mistake| (mistake.line, mistake.key)).collect();
    let expected = [
        (1, "servers.demo"),
        (2, "servers.demo.comand"),
        (5, "servers.demo.rules[0].tools[0]"),
        (6, "servers.demo.rules[0].action"),
        (7, "servers.demo.rules[0].conditions[0].path"),
        (7, "servers.demo.rules[0].conditions[0].op"),
        (9, "hold.keep_open"),
        (11, "listen.address"),
        (12, "colour"),
    ];
    assert_eq!(found, expected.map(|(line, key)| (line, key.to_owned())));
}

#[test]
fn a_text_that_is_no_toml_is_one_mistake_with_line_and_column() {
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
    assert_eq!(config.listen.address, defaults.listen.address);
    let policy = &config.servers["demo"].policy;
    let verdict = |tool, text: &str| policy.judge(&Asked { agent: "bot", tool, arguments: &json!({"to": "@bob", "text": text}) }).action;
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
    assert!(matches!(config.mail, Mail::Off));
    let server = &config.servers["demo"];
    assert_eq!((server.timeout, server.start_timeout), (Duration::from_secs(120), Duration::from_secs(30)));
    assert_eq!(server.policy.judge(&Asked { agent: "a", tool: "t", arguments: &json!({}) }).action, Action::Deny);
}

#[test]
fn what_is_written_is_what_is_read() {
    let config = loaded(
        "[listen]\naddress = \"0.0.0.0:0\"\npublic_url = \"https://Paraph.example.org/\"\nhosts = [\"Inside:8420\"]\ntrusted_proxies = []\n\
         [store]\nengine = \"sled\"\npath = \"/var/paraph\"\n\
         [hold]\nkeep_open = \"500ms\"\nundo = \"1h\"\nmax_held = 7\n\
         [bounds]\nbody = 1000\narguments = \"64KiB\"\noutbox = 5\n\
         [mail]\ntransport = \"file\"\npath = \"mail\"\nfrom = \"Desk <desk@example.org>\"\n\
         [servers.A-1]\nurl = \"https://mcp.example.org/mcp\"\nmethods = [\"vendor/*\"]\ninstances = \"per_agent\"\nlimits = []\n\
         headers = { Authorization = { env = \"TOKEN\" } }\n\
         [[servers.A-1.rules]]\nname = \"r\"\ntools = [\"t\"]\naction = \"require_approval\"\nshadow = false\nlimits = []\nreviewers = [\"desk\"]\napprovals = 2\nexpires_in = \"2h\"\n\
         conditions = [{ path = \"args.n\", op = \"gt\", value = 9007199254740993 }, { path = \"/a.b\", op = \"exists\" }]\n\
         [servers.A-1.messages.t]\nto = \"/to\"\ntext = \"/message/text\"\n",
    );
    assert_eq!(config.listen.public_url.as_deref(), Some("https://paraph.example.org"));
    assert_eq!(config.listen.hosts, ["inside:8420"]);
    assert_eq!(config.store.path, Path::new("/var/paraph"));
    assert_eq!((config.hold.keep_open, config.hold.undo, config.hold.max_held), (Duration::from_millis(500), Duration::from_secs(3600), 7));
    assert_eq!((config.bounds.body, config.bounds.arguments, config.bounds.outbox), (1000, 65_536, 5));
    assert!(matches!(&config.mail, Mail::File { path, from } if path == Path::new("/etc/paraph/mail") && from == "Desk <desk@example.org>"));
    let server = &config.servers["A-1"];
    assert!(
        matches!(&server.transport, Transport::Http { url, headers } if url == "https://mcp.example.org/mcp" && headers["Authorization"].expose() == "Bearer hunter2")
    );
    assert_eq!(server.messages["t"], MessagePointers { to: "/to".into(), text: "/message/text".into() });
    let judge = |n: u64| server.policy.judge(&Asked { agent: "a", tool: "t", arguments: &json!({"n": n, "a.b": null}) });
    assert_eq!(judge(9_007_199_254_740_993).action, Action::Deny);
    let held = judge(9_007_199_254_740_994);
    assert_eq!((held.action, held.approvals, held.expires_in), (Action::RequireApproval, 2, Some(Duration::from_secs(7200))));
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
