//! `policy = "FILE"`: where its mistakes are told, what may stand beside it, and which files were read.
//! The files are real ones, each test in a folder of its own.

use super::env;
use crate::config::{Config, Loaded, Mistake};
use crate::domain::policy::{Action, Asked};
use serde_json::json;
use std::path::Path;
use tempfile::TempDir;

/// A folder with a configuration and the files it names.
struct Folder(TempDir);

impl Folder {
    fn new(config: &str, files: &[(&str, &[u8])]) -> Folder {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files.iter().chain([&("config.toml", config.as_bytes())]) {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        Folder(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn load(&self) -> Result<Loaded, Vec<Mistake>> {
        Config::load(Path::new(&self.path("config.toml")), &env)
    }
}

const SERVER: &str = "[servers.demo]\ncommand = [\"x\"]\npolicy = \"policies/demo.json\"\n";

#[test]
fn a_policy_is_read_from_beside_the_configuration_and_asked_first() {
    let config = format!("{SERVER}[[servers.demo.rules]]\nname = \"r\"\ntools = [\"*\"]\naction = \"allow\"\n");
    let folder = Folder::new(&config, &[("policies/demo.json", br#"{"version": "1", "tools": {"send_dm": {}}}"#)]);
    let loaded = folder.load().unwrap();
    assert_eq!(loaded.warnings, []);
    let policy = &loaded.config.servers["demo"].policy;
    let judged = |tool| policy.judge(&Asked { agent: "a", tool, arguments: &json!({}), session: None, now: jiff::Timestamp::UNIX_EPOCH });
    assert_eq!((judged("send_dm").action, judged("send_dm").rule.as_str()), (Action::Allow, "r"));
    assert_eq!((judged("other").action, judged("other").rule.as_str()), (Action::Deny, "/default"));
}

#[test]
fn mistakes_of_the_policy_come_with_its_own_name_behind_those_of_the_configuration() {
    let config = format!("{SERVER}colour = 1\n");
    let folder = Folder::new(&config, &[("policies/demo.json", b"{\n\"version\": \"1\",\n\"tool\": {},\n\"hide\": [\"\"]}")]);
    let found = folder.load().unwrap_err();
    let places: Vec<(String, usize, &str)> = found.iter().map(|mistake| (mistake.file.clone(), mistake.line, mistake.key.as_str())).collect();
    let policy = folder.path("policies/demo.json");
    assert_eq!(places, [(folder.path("config.toml"), 4, "servers.demo.colour"), (policy.clone(), 3, "/tool"), (policy.clone(), 4, "/hide/0")]);
    assert_eq!(
        found[1].to_string(),
        format!("{policy}:3: /tool: is not a key that this version enforces. Did you mean \"tools\"? Known here: version, default, hide, all_tools, tools.")
    );
}

#[test]
fn a_policy_that_cannot_be_read_is_a_mistake_at_its_key_in_plain_words() {
    let large = vec![b' '; (1 << 20) + 1];
    for (file, problem) in
        [(None, "is not there"), (Some(&large[..]), "is larger than 1 MiB"), (Some(&b"{\n\"version\": \"\xff\"}"[..]), "is not UTF-8 in line 2")]
    {
        let files: Vec<(&str, &[u8])> = file.map(|bytes| ("policies/demo.json", bytes)).into_iter().collect();
        let found = Folder::new(SERVER, &files).load().unwrap_err();
        assert_eq!((found.len(), found[0].key.as_str(), found[0].line), (1, "servers.demo.policy", 3), "{found:?}");
        assert_eq!(found[0].problem, format!("the file \"policies/demo.json\" {problem}"));
    }
    let folder = Folder::new("[servers.demo]\ncommand = [\"x\"]\npolicy = \"policies\"\n", &[("policies/demo.json", b"{}")]);
    assert!(folder.load().unwrap_err()[0].problem.ends_with("is not a file"));
}

#[test]
fn a_default_beside_a_policy_is_a_warning_and_two_meanings_of_a_counter_a_mistake() {
    let policy: (&str, &[u8]) = ("policies/demo.json", br#"{"version": "1", "all_tools": {"limits": [{"counter": "c", "window": "minute", "max": 1}]}}"#);
    let loaded = Folder::new(&format!("{SERVER}default = \"deny\"\n"), &[policy]).load().unwrap();
    assert_eq!(loaded.warnings.iter().map(|warning| (warning.key.as_str(), warning.line)).collect::<Vec<_>>(), [("servers.demo.default", 4)]);
    let limits = format!("{SERVER}limits = [{{ counter = \"c\", window = \"minute\", max = 2 }}]\n");
    let found = Folder::new(&limits, &[policy]).load().unwrap_err();
    assert_eq!((found.len(), found[0].key.as_str(), found[0].line), (1, "servers.demo.limits[0].counter", 4), "{found:?}");
}

#[test]
fn a_name_that_nobody_can_see_rightly_is_a_warning_with_its_pointer() {
    let policy = "{\"version\": \"1\", \"hide\": [\"delete \"], \"tools\": {\"send_dm\u{200b}\": {}, \"read\": {}}}";
    let loaded = Folder::new(SERVER, &[("policies/demo.json", policy.as_bytes())]).load().unwrap();
    let found: Vec<_> = loaded.warnings.iter().map(|warning| (warning.key.as_str(), warning.problem.as_str())).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], ("servers.demo.policy", "\"/hide/0\": the name has a blank at an end"));
    assert!(found[1].1.starts_with("\"/tools/send_dm\\u{200b}\": the name has U+200B"), "{found:?}");
}

#[test]
fn every_file_that_was_read_is_known() {
    let config = format!("{SERVER}env = {{ A = {{ file = \"secret\" }} }}\n[servers.other]\ncommand = [\"x\"]\npolicy = \"policies/demo.json\"\n");
    let folder = Folder::new(&config, &[("policies/demo.json", br#"{"version": "1"}"#), ("secret", b"hunter2\n")]);
    let files: Vec<String> = folder.load().unwrap().files.iter().map(|path| path.display().to_string()).collect();
    let mut expected = ["config.toml", "secret", "policies/demo.json"].map(|name| folder.path(name));
    expected.sort();
    let mut sorted = files.clone();
    sorted.sort();
    assert_eq!((sorted, files[0].as_str()), (expected.to_vec(), folder.path("config.toml").as_str()));
}
