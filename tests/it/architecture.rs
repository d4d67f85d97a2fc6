//! The shape of the code, read from the files: arrows, sizes, headers, names, paths in documents, templates.
//! Each rule is a function from a text to the faults in it, and each test first plants a fault and sees it found.

use regex::Regex;
use std::fs;
use std::path::PathBuf;

const PURE: [&str; 19] = [
    "std",
    "core",
    "alloc",
    "serde",
    "serde_json",
    "sha2",
    "hmac",
    "cel",
    "jiff",
    "regex",
    "globset",
    "thiserror",
    "ryu_js",
    "ed25519_dalek",
    "base64",
    "jsonschema",
    "crate",
    "super",
    "self",
];
const EDGES: [&str; 3] = ["mcp", "web", "notify"];
const MOST_LINES: usize = 400;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(under: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(under)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let hidden = path.file_name().unwrap().to_string_lossy().starts_with('.');
            if path.is_dir() && !hidden && path.file_name().unwrap() != "target" && path.file_name().unwrap() != "node_modules" {
                folders.push(path);
            } else if !hidden && path.to_string_lossy().ends_with(ending) {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn documents() -> Vec<(String, String)> {
    let mut all: Vec<_> = files("docs", ".md");
    for name in ["README.md", "CONTRIBUTING.md"] {
        if let Ok(text) = fs::read_to_string(root().join(name)) {
            all.push((name.into(), text));
        }
    }
    all
}

/// Applies a rule to files and fails with everything it finds.
fn hold(files: &[(String, String)], rule: impl Fn(&str, &str) -> Vec<String>) {
    let faults: Vec<String> = files.iter().flat_map(|(path, text)| rule(path, text).into_iter().map(move |fault| format!("{path}: {fault}"))).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// Before the test module, without comments.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The top-level folders that a file reaches: `crate::x` and the members of `use crate::{…}`.
fn reached(text: &str) -> Vec<String> {
    let code = code(text);
    let mut found: Vec<String> = Regex::new(r"\bcrate::(\w+)").unwrap().captures_iter(&code).map(|c| c[1].to_owned()).collect();
    for (start, opening) in code.match_indices("crate::{") {
        let mut depth = 1;
        let mut member = String::new();
        for c in code[start + opening.len()..].chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => found.push(std::mem::take(&mut member)),
                _ if depth == 1 => member.push(c),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        found.push(member);
    }
    found.iter().map(|path| path.trim().split([':', ' ']).next().unwrap_or("").to_owned()).filter(|name| !name.is_empty()).collect()
}

fn forbidden_arrows(path: &str, text: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/");
    let top = inner.split('/').next().unwrap_or("").trim_end_matches(".rs");
    let engine = ["in_memory", "on_sled", "on_postgres"].into_iter().find(|engine| inner.starts_with(&format!("store/{engine}")));
    let mut faults = Vec::new();
    for to in reached(text) {
        let fine = match top {
            _ if to == top => true,
            "domain" => false,
            "store" => to == "domain",
            "gate" => ["store", "domain"].contains(&to.as_str()),
            "config" => to == "domain",
            edge if EDGES.contains(&edge) => ["gate", "domain", "config"].contains(&to.as_str()),
            "cli" | "control" => !EDGES.contains(&to.as_str()) || to == "mcp",
            "observe" => ["gate", "domain", "config"].contains(&to.as_str()),
            _ => true,
        };
        if !fine {
            faults.push(format!("{top} may not reach {to}"));
        }
    }
    let code = code(text);
    for other in ["in_memory", "on_sled", "on_postgres"] {
        let arrow = Regex::new(&format!(r"(crate::store|super)::{other}\b")).unwrap();
        if (engine.is_some_and(|own| own != other) || top == "gate") && arrow.is_match(&code) {
            faults.push(format!("may not reach the engine {other}"));
        }
    }
    if top == "domain" {
        for used in Regex::new(r"(?m)^\s*(?:pub )?use (\w+)").unwrap().captures_iter(&code) {
            let local = Regex::new(&format!(r"\b(mod|enum|struct) {}\b", &used[1])).unwrap().is_match(&code);
            if !PURE.contains(&&used[1]) && !local {
                faults.push(format!("domain may not use {}", &used[1]));
            }
        }
        for named in Regex::new(r"\b(tokio|axum|sled|lettre|reqwest|tracing|askama|rustix|http|getrandom)::").unwrap().captures_iter(&code) {
            faults.push(format!("domain may not use {}", &named[1]));
        }
    }
    faults.sort();
    faults.dedup();
    faults
}

fn too_long(_: &str, text: &str) -> Vec<String> {
    let lines = code(text).lines().filter(|line| !line.trim().is_empty()).count();
    if lines > MOST_LINES { vec![format!("{lines} lines of code, at most {MOST_LINES}")] } else { Vec::new() }
}

/// A file of a few lines may say what it is in one.
fn headerless(_: &str, text: &str) -> Vec<String> {
    let lines = text.lines().take_while(|line| line.starts_with("//!")).count();
    let wanted = if text.lines().count() > 60 { 2 } else { 1 };
    if lines < wanted { vec![format!("begins without a module header of {wanted} lines or more")] } else { Vec::new() }
}

fn missing_paths(_: &str, text: &str) -> Vec<String> {
    let named = Regex::new(r"`([^`\s]+)`|\]\(([^)\s]+)\)").unwrap();
    let ours = Regex::new(
        r"^(?:\.\./|\./)*((?:src|docs|tests|templates|static|benches|\.ci)/[\w./-]*|Cargo\.(?:toml|lock)|clippy\.toml|deny\.toml|rustfmt\.toml|(?:README|CONTRIBUTING|SECURITY|CHANGELOG)\.md|LICENSE[\w-]*)(?:[#:].*)?$",
    )
    .unwrap();
    let mut faults = Vec::new();
    for name in named.captures_iter(text) {
        let name = name.get(1).or(name.get(2)).unwrap().as_str();
        if let Some(path) = ours.captures(name)
            && !root().join(path[1].trim_end_matches('.')).exists()
        {
            faults.push(format!("names {name}, which is not there"));
        }
    }
    faults
}

fn vague_modules(path: &str, text: &str) -> Vec<String> {
    let vague = Regex::new(r"(?m)^(?:pub(?:\([^)]*\))? )?mod (utils?|common|prelude|core|helpers?)\b").unwrap();
    let file = Regex::new(r"(^|/)(utils?|common|prelude|core|helpers?)(/|\.rs$)").unwrap();
    let mut faults: Vec<String> = vague.captures_iter(text).map(|m| format!("a module called {}", &m[1])).collect();
    if file.is_match(path) {
        faults.push("a vague name".into());
    }
    faults
}

fn inline_in_templates(path: &str, text: &str) -> Vec<String> {
    let rules = [
        (r"\|\s*safe\b", "unescaped output"),
        (r#"(?i)\sstyle\s*="#, "an inline style"),
        (r#"(?i)<[a-z][^>]*\son[a-z]+\s*="#, "an inline handler"),
        (r"(?i)javascript:", "a script in a link"),
    ];
    let mut faults: Vec<String> = rules.iter().filter(|(rule, _)| Regex::new(rule).unwrap().is_match(text)).map(|(_, what)| (*what).to_owned()).collect();
    for script in Regex::new(r"(?i)<script\b([^>]*)>").unwrap().captures_iter(text) {
        if !script[1].contains("src=") {
            faults.push("an inline script".into());
        }
    }
    let most = usize::from(path.starts_with("templates/mail/"));
    if Regex::new(r"(?i)<style\b").unwrap().find_iter(text).count() > most {
        faults.push("a style block".into());
    }
    faults
}

fn local_paths(_: &str, text: &str) -> Vec<String> {
    // Put together here, so that this file keeps its own rule.
    let local = Regex::new(&["(^|[^\\w.])/", "(work|root|tmp)/[A-Za-z]"].concat()).unwrap();
    text.lines().enumerate().filter(|(_, line)| local.is_match(line)).map(|(at, _)| format!("line {} names a local path", at + 1)).collect()
}

#[test]
fn no_file_reaches_where_the_design_forbids_it() {
    for (path, text) in [
        ("src/domain/call/state.rs", "use crate::gate::Gate;"),
        ("src/domain/call/state.rs", "use tokio::sync::mpsc;"),
        ("src/domain/call/state.rs", "fn f() { axum::serve(); }"),
        ("src/web/mod.rs", "use crate::{gate::{Gate, Page}, store::Query};"),
        ("src/mcp/mod.rs", "fn f() { crate::notify::run(); }"),
        ("src/notify/mod.rs", "use crate::store::Store;"),
        ("src/store/mod.rs", "use crate::gate::Gate;"),
        ("src/gate/mod.rs", "use crate::store::on_sled::OnSled;"),
        ("src/store/on_sled/mod.rs", "use crate::store::in_memory::InMemory;"),
    ] {
        assert_eq!(forbidden_arrows(path, text).len(), 1, "{path} {text}");
    }
    assert!(forbidden_arrows("src/web/mod.rs", "use crate::{gate::{Gate, Page}, domain};").is_empty());
    // Test modules in files of their own may use what tests use.
    let (_, code): (Vec<_>, Vec<_>) = files("src", ".rs").into_iter().partition(|(path, _)| path.contains("/tests"));
    hold(&code, forbidden_arrows);
}

#[test]
fn no_file_is_longer_than_four_hundred_lines_of_code() {
    assert_eq!(too_long("", &"x;\n".repeat(401)).len(), 1);
    assert!(too_long("", &format!("{}{}\n#[cfg(test)]\nmod tests {{\n{}", "x;\n".repeat(400), "// y\n\n".repeat(9), "z;\n".repeat(50))).is_empty());
    hold(&files("src", ".rs"), too_long);
}

#[test]
fn every_file_begins_with_a_header_that_says_what_it_is() {
    assert_eq!(headerless("", "use x;").len(), 1);
    assert_eq!(headerless("", &format!("//! One line.{}", "\nuse x;".repeat(60))).len(), 1);
    hold(&files("src", ".rs"), headerless);
}

#[test]
fn every_path_that_the_documents_name_is_there() {
    assert_eq!(missing_paths("", "see `src/nowhere.rs` and [x](../docs/nothing.md#a), not `POST` or `src/lib.rs`").len(), 2);
    hold(&documents(), missing_paths);
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    assert_eq!(vague_modules("src/gate/helpers.rs", "pub mod util;").len(), 2);
    hold(&files("src", ".rs"), vague_modules);
}

#[test]
fn no_template_has_unescaped_output_or_inline_code() {
    for planted in ["{{ x|safe }}", "<p style=\"x\">", "<script>x</script>", "<a onclick='x'>", "<style></style>", "<a href=\"javascript:x\">"] {
        assert_eq!(inline_in_templates("templates/a.html", planted).len(), 1, "{planted}");
    }
    assert!(inline_in_templates("templates/a.html", "<script src=\"/static/live.js\"></script><p>on=1</p>").is_empty());
    hold(&files("templates", ""), inline_in_templates);
}

#[test]
fn no_committed_text_names_a_path_of_one_machine() {
    for folder in ["work", "root", "tmp"] {
        assert_eq!(local_paths("", &format!("cd /{folder}/x")).len(), 1, "{folder}");
    }
    let all: Vec<_> = [".md", ".toml", ".rs", ".html"].into_iter().flat_map(|ending| files("", ending)).collect();
    assert!(all.len() > 20);
    hold(&all, local_paths);
}
