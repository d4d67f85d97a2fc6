//! One row for every kind of mistake with the key and the line it is told at; how a mistake reads;
//! several at once.

use super::{SERVER, mistakes, parse, rule};

/// Key and line of the only mistake.
fn only(text: &str) -> (String, usize) {
    let found = mistakes(text);
    assert_eq!(found.len(), 1, "{text}\n{found:#?}");
    (found[0].key.clone(), found[0].line)
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
        ("[listen]\ntrusted_proxies = \"10.0.0.1\"", "listen.trusted_proxies"),
        ("[listen]\ntrusted_proxies = [\"10.0.0.1\", \"proxy.internal\"]", "listen.trusted_proxies[1]"),
        ("[listen]\ntrusted_proxies = [\"10.0.0.1/8\"]", "listen.trusted_proxies[0]"),
        ("[listen]\ntrusted_proxies = [\"0.0.0.0/0\"]", "listen.trusted_proxies[0]"),
        ("[listen]\nmetrics = \"0.0.0.0:9420\"", "listen.metrics"),
        ("[listen]\nmetrics = \"[::]:9420\"\npublic_url = \"https://paraph.example.org\"", "listen.metrics"),
        ("[listen]\nmetrics = \"127.0.0.1:8420\"", "listen.metrics"),
        ("[listen]\naddress = \"localhost:1\"\nmetrics = \"LOCALHOST:1\"", "listen.metrics"),
        ("[listen]\nmetrics = \"0.0.0.0:8420\"\ninsecure_http = true", "listen.metrics"),
        ("[listen]\ntls = []", "listen.tls"),
        ("[listen.tls]\ncert = \"\"\nkey = \"k\"", "listen.tls.cert"),
        ("[listen.tls]\ncert = \"c\"\nkey = 1", "listen.tls.key"),
        ("[store]\nengine = \"postgres\"", "store.engine"),
        ("[store]\nengine = \"sqlite\"", "store.engine"),
        ("[store]\npath = \"\"", "store.path"),
        ("[store]\nkeep_text = \"1s\"", "store.keep_text"),
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
        ("[store]\nmin_free = \"2TB\"", "store.min_free"),
        ("[store]\nballast = -1", "store.ballast"),
        ("[bounds]\nbody = 0", "bounds.body"),
        ("[bounds]\nresult = \"2GiB\"", "bounds.result"),
        ("[bounds]\narguments = true", "bounds.arguments"),
        ("[bounds]\noutbox = \"many\"", "bounds.outbox"),
        ("[bounds]\nqueue = 1", "bounds.queue"),
        ("[mail]\ntransport = \"smtp\"\nfrom = \"a@example.org\"", "mail.url"),
        ("[mail]\ntransport = \"smtp\"\nurl = \"smtp://mail.example.org\"", "mail.from"),
        ("[mail]\ntransport = \"smtp\"\nfrom = \"a@example.org\"\nurl = \"smtp://u:hunter2@mail.example.org\"", "mail.url"),
        ("[mail]\ntransport = \"smtp\"\nfrom = \"a@example.org\"\nurl = \"smtp://mail.example.org?tls=none\"", "mail.url"),
        ("[mail]\ntransport = \"smtp\"\nfrom = \"a@example.org\"\nurl = \"smtp://mail.example.org\"\npassword = \"hunter2\"", "mail.password"),
        ("[mail]\ntransport = \"smtp\"\nfrom = \"a@example.org\"\nurl = \"smtp://mail.example.org\"\nca = \"/nonexistent/ca.pem\"", "mail.ca"),
        ("[mail]\ntransport = \"smtp\"\nfrom = \"a@example.org\"\nurl = \"smtp://mail.example.org\"\nconnections = 0", "mail.connections"),
        ("[mail]\ntransport = \"smtp\"\nfrom = \"a@example.org\"\nurl = \"smtp://mail.example.org\"\ntimeout = \"1ms\"", "mail.timeout"),
        ("[mail]\ntransport = \"smtp\"\nfrom = \"a@example.org\\r\\nBcc: b@example.org\"\nurl = \"smtp://mail.example.org\"", "mail.from"),
        ("[mail]\ntransport = \"pigeon\"", "mail.transport"),
        ("[mail]\nfrom = \"a@example.org\"", "mail.transport"),
        ("[mail]\ntransport = \"file\"", "mail.path"),
        ("[mail]\ntransport = \"file\"\npath = \"m\"\nfrom = \"nobody\"", "mail.from"),
        ("[mail]\ntransport = \"off\"\nulr = \"smtp://x\"", "mail.ulr"),
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
        ("[servers.demo]\ncommand = [\"x\"]\nlimits = [{ counter = \"c\", window = \"minute\", max = 0 }]", "servers.demo.limits[0].max", 3),
        ("[servers.demo]\ncommand = [\"x\"]\ndefault = \"maybe\"", "servers.demo.default", 3),
        ("[servers.demo]\ncommand = [\"x\"]\ndefualt = \"deny\"", "servers.demo.defualt", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nreads = [\"[\"]", "servers.demo.reads[0]", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nrules = 1", "servers.demo.rules", 3),
        ("[servers.demo]\ncommand = [\"x\"]\nrules = [1]", "servers.demo.rules[0]", 3),
        ("[servers.demo]\ncommand = [\"x\"]\n[servers.demo.messages.t]\nto = \"/to\"", "servers.demo.messages.t.text", 3),
        ("[servers.demo]\ncommand = [\"x\"]\n[servers.demo.messages.t]\nto = \"to\"\ntext = \"/text\"", "servers.demo.messages.t.to", 4),
        ("[servers.demo]\ncommand = [\"x\"]\n[servers.demo.messages.t]\nto = \"/to\"\ntext = \"/a~2\"", "servers.demo.messages.t.text", 5),
        ("[servers.demo]\ncommand = [\"x\"]\n[servers.demo.messages.t]\nto = \"/to\"\ntext = \"/t\"\ncc = \"/c\"", "servers.demo.messages.t.cc", 6),
        (
            "[servers.a]\ncommand = [\"x\"]\nlimits = [{ counter = \"c\", window = \"day\", max = 9, scope = \"global\" }]\n[servers.b]\ncommand = [\"x\"]\nlimits = [{ counter = \"c\", window = \"second\", max = 9, scope = \"global\" }]",
            "servers.b.limits[0].counter",
            6,
        ),
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
        ("action = \"allow\"\nwhen = 1", "when", 7),
        ("action = \"allow\"\nwhen = 'arg.x == 1'", "when", 7),
        ("action = \"allow\"\nwhen = 'args.x = 1'", "when", 7),
        ("action = \"hide\"\nwhen = 'args.x == 1'", "when", 7),
        ("action = \"allow\"\nlimits = [{ counter = \"c\", window = \"week\", max = 1 }]", "limits[0].window", 7),
        ("action = \"deny\"\nlimits = [{ counter = \"c\", window = \"day\", max = 1 }]", "limits", 7),
        ("action = \"allow\"\nlimits = [{ counter = \"c\", window = \"day\", max = 1, scope = \"nobody\" }]", "limits[0].scope", 7),
        ("action = \"allow\"\nshadow = \"yes\"", "shadow", 7),
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
    let found = mistakes(&rule("action = \"allow\"\nwhen = 'size(arg.text) > 5'"));
    assert_eq!(
        found[0].to_string(),
        "config.toml:7: servers.demo.rules[0].when: character 6: \"arg\" is not known. Did you mean \"args\"? Known here: args, tool, agent, server, now."
    );
    let found = mistakes(&rule("action = \"allow\"\nlimits = [{ counter = \"c\", window = \"minutes\", max = 1 }]"));
    assert!(found[0].to_string().contains("is not a window. Did you mean \"minute\"?"), "{}", found[0]);
    let found = mistakes(&rule("action = \"allow\"\nconditions = [{ path = \"args.a\", op = \"==\", value = 1 }]"));
    assert!(found[0].to_string().contains("is not an operator. Did you mean \"eq\"?"), "{}", found[0]);
    let found = mistakes(&format!("[hold]\nkeep_opne = \"1s\"\n{SERVER}"));
    assert!(
        found[0].to_string().starts_with("config.toml:2: hold.keep_opne: is not a key of this table. Did you mean \"keep_open\"? Known here: "),
        "{}",
        found[0]
    );
}

#[test]
fn what_is_wrong_besides_a_password_is_told_with_it() {
    for (url, second) in [("smtp://u:hunter2@mail.example.org?tls=none", "readable"), ("smtp://u:hunter2@mail.example.org?ssl=1", "not known")] {
        let found = mistakes(&format!("[mail]\ntransport = \"smtp\"\nfrom = \"a@example.org\"\nurl = \"{url}\"\n{SERVER}"));
        let problems: Vec<&str> = found.iter().map(|mistake| mistake.problem.as_str()).collect();
        assert!(matches!(problems[..], [password, other] if password.contains("password") && other.contains(second)), "{problems:?}");
        assert!(!format!("{found:?}").contains("hunter2"));
    }
}

#[test]
fn metrics_are_served_to_others_when_that_is_accepted() {
    let warned = |lines: &str| {
        let loaded = super::Config::parse(&format!("[listen]\n{lines}\n{SERVER}"), "config.toml", std::path::Path::new(""), &super::env).unwrap();
        loaded.warnings.into_iter().map(|warning| warning.key).collect::<Vec<_>>()
    };
    assert_eq!(warned("metrics = \"0.0.0.0:9420\"\ninsecure_http = true"), ["listen.metrics"]);
    for address in ["127.0.0.1:0", "[::1]:9420", "localhost:9420"] {
        assert!(warned(&format!("metrics = \"{address}\"")).is_empty());
    }
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
fn a_global_counter_has_one_window_and_size_for_all_servers() {
    let server = |name: &str, limits: &str| {
        format!("[servers.{name}]\ncommand = [\"x\"]\n[[servers.{name}.rules]]\nname = \"r\"\ntools = [\"t\"]\naction = \"allow\"\nlimits = [{limits}]\n")
    };
    let limit = |max: u32, scope: &str| format!("{{ counter = \"c\", window = \"day\", max = {max}, scope = \"{scope}\" }}");
    let found = mistakes(&format!("{}{}", server("a", &limit(5, "global")), server("b", &limit(6, "global"))));
    assert_eq!((found.len(), found[0].line, found[0].key.as_str()), (1, 14, "servers.b.rules[0].limits[0].counter"));
    assert!(found[0].problem.contains("limit \"r/c\" of server a counts with the same global counter \"c\""), "{}", found[0]);
    for (first, second) in [(limit(5, "global"), limit(5, "global")), (limit(5, "server"), limit(6, "server")), (limit(5, "global"), limit(6, "grant"))] {
        assert!(parse(&format!("{}{}", server("a", &first), server("b", &second))).is_ok(), "{first} {second}");
    }
}

#[test]
fn what_works_and_is_probably_not_meant_is_a_warning_with_its_line() {
    let text = format!("{}[[servers.demo.rules]]\nname = \"late\"\ntools = [\"t\"]\naction = \"deny\"\nwhen = '1 == 1'\n", rule("action = \"allow\""));
    let found: Vec<String> = parse(&text).unwrap().warnings.iter().map(ToString::to_string).collect();
    let expected = [
        "config.toml:7: servers.demo.rules[1]: rule \"late\" is never reached: \"r\" before it takes every call that it names. Move it up, or leave it out; the first rule that matches decides.",
        "config.toml:11: servers.demo.rules[1].when: is the same for every call: it looks at none of args, tool, agent, server and now. Leave it out, or leave the rule out.",
    ];
    assert_eq!(found, expected);
}

#[test]
fn links_to_this_machine_are_warned_of_when_mails_leave_it() {
    let smtp = "[mail]\ntransport = \"smtp\"\nurl = \"smtp://u@mail.example.org\"\npassword = \"hunter2\"\nfrom = \"a@example.org\"\n";
    for (listen, mail, key) in [
        ("", smtp, Some("listen.address")),
        ("[listen]\npublic_url = \"http://localhost\"\n", smtp, Some("listen.public_url")),
        ("[listen]\npublic_url = \"http://[::1]:8420\"\n", smtp, Some("listen.public_url")),
        ("[listen]\npublic_url = \"https://127.0.0.1:8420\"\n", smtp, Some("listen.public_url")),
        ("[listen]\npublic_url = \"https://paraph.example.org\"\n", smtp, None),
        ("", "[mail]\ntransport = \"file\"\npath = \"m\"\n", None),
        ("", "[mail]\ntransport = \"off\"\nurl = \"smtp://mail.example.org\"\n", Some("mail.url")),
        (
            "[listen]\npublic_url = \"https://p.example.org\"\n",
            "[mail]\ntransport = \"smtp\"\nfrom = \"a@b.org\"\nurl = \"smtp://u@mail.example.org\"\n",
            Some("mail.url"),
        ),
        (
            "[listen]\npublic_url = \"https://p.example.org\"\n",
            "[mail]\ntransport = \"smtp\"\nfrom = \"a@b.org\"\nurl = \"smtp://mail.example.org?tls=opportunistic\"\n",
            Some("mail.url"),
        ),
    ] {
        let warnings = parse(&format!("{listen}{mail}{SERVER}")).unwrap().warnings;
        let keys: Vec<&str> = warnings.iter().map(|warning| warning.key.as_str()).collect();
        assert_eq!(keys, key.into_iter().collect::<Vec<_>>(), "{listen}{mail}");
        assert!(!format!("{warnings:?}").contains("hunter2"));
    }
}
