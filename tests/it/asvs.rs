//! The table of docs/security.md after OWASP's Application Security Verification Standard: every requirement of the chapters
//! that apply stands in it once, and every test that it names is there. What only files can show is tested here, too.

use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Version 5.0.0, levels 1 and 2 of the chapters that apply: id and level, nothing else.
const REQUIREMENTS: &str = include_str!("asvs/requirements.txt");

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// One row of the table.
struct Line {
    id: String,
    verdict: String,
    how: String,
    proof: String,
}

fn lines(text: &str) -> Vec<Line> {
    let row = Regex::new(r"(?m)^\| (V\d+\.\d+\.\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$").unwrap();
    let made = row.captures_iter(text).map(|cells| Line { id: cells[1].into(), verdict: cells[3].into(), how: cells[4].into(), proof: cells[5].into() });
    made.collect()
}

/// Ids in the lines that say what does not apply.
fn left_out(text: &str) -> Vec<String> {
    let section = text.split_once("### What does not apply").map_or("", |(_, rest)| rest.split("\n## ").next().unwrap());
    Regex::new(r"\bV\d+\.\d+\.\d+\b").unwrap().find_iter(section).map(|id| id.as_str().to_owned()).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// Every test by the module that it is called under: `web::people::a_sentence`, without `tests` in between.
fn tests() -> BTreeSet<String> {
    let test = Regex::new(r"#\[(?:tokio::)?test[^\]]*\]\s*(?:#\[[^\n]*\]\s*)*(?:async )?fn (\w+)").unwrap();
    let listed = Regex::new(r"(?m)^    (\w+) with ").unwrap();
    let mut all = BTreeSet::new();
    for top in ["src", "tests/it"] {
        let mut files = Vec::new();
        sources(&root().join(top), &mut files);
        for file in files {
            let inner = file.strip_prefix(root().join(top)).unwrap().with_extension("");
            let parts: Vec<String> = inner.iter().map(|part| part.to_string_lossy().into_owned()).filter(|part| part != "mod" && part != "tests").collect();
            let text = fs::read_to_string(&file).unwrap();
            for found in test.captures_iter(&text).chain(listed.captures_iter(&text)) {
                all.insert(format!("{}::{}", parts.join("::"), &found[1]));
            }
        }
    }
    all
}

/// What a link to a heading looks like.
fn anchors(text: &str) -> BTreeSet<String> {
    let letters = |heading: &str| heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect::<String>();
    text.lines().filter(|line| line.starts_with('#')).map(|line| letters(line.trim_start_matches('#').trim()).replace(' ', "-")).collect()
}

/// Everything that is wrong with the table in this text.
fn faults(text: &str) -> Vec<String> {
    let (lines, left_out, tests) = (lines(text), left_out(text), tests());
    let mut faults = Vec::new();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for id in lines.iter().map(|line| &line.id).chain(&left_out) {
        *times.entry(id).or_default() += 1;
    }
    let known: BTreeSet<&str> = REQUIREMENTS.lines().map(|line| line.split(' ').next().unwrap()).collect();
    faults.extend(known.iter().filter(|id| !times.contains_key(**id)).map(|id| format!("{id} is missing")));
    faults.extend(times.iter().filter(|(id, times)| **times > 1 || !known.contains(**id)).map(|(id, times)| format!("{id} stands there {times} times")));
    let named = Regex::new(r"`(\w+(?:::\w+)+)`").unwrap();
    let linked = Regex::new(r"\]\((\w+\.md)?#([\w-]+)\)").unwrap();
    for line in &lines {
        let (id, mut proofs) = (&line.id, 0);
        for name in named.captures_iter(&line.proof) {
            proofs += 1;
            if !tests.contains(&name[1]) {
                faults.push(format!("{id}: there is no test {}", &name[1]));
            }
        }
        for link in linked.captures_iter(&line.proof) {
            proofs += 1;
            let there = link.get(1).map_or_else(|| text.to_owned(), |name| document(name.as_str()));
            if !anchors(&there).contains(&link[2]) {
                faults.push(format!("{id}: there is no section {}", &link[0]));
            }
        }
        match line.verdict.as_str() {
            "met" | "partly" if proofs == 0 => faults.push(format!("{id}: nothing shows it")),
            "met" => {}
            "partly" | "not met" if line.how.len() < 20 => faults.push(format!("{id}: it does not say why")),
            "partly" | "not met" => {}
            other => faults.push(format!("{id}: {other:?} is no verdict")),
        }
    }
    // The sums above the table are those of the table.
    let count = |verdict: &str| lines.iter().filter(|line| line.verdict == verdict).count();
    let sums = format!("{} met, {} partly, {} not met, {} do not apply", count("met"), count("partly"), count("not met"), left_out.len());
    if !text.contains(&sums) {
        faults.push(format!("the sums are: {sums}"));
    }
    faults
}

#[test]
fn every_requirement_has_its_row_and_every_test_that_a_row_names_is_there() {
    let text = document("security.md");
    let found = faults(&text);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    for (whole, planted, fault) in [
        ("| V3.4.4 |", "| V3.4.5 |", "V3.4.4 is missing"),
        ("::every_answer_of_every_part_binds_a_browser`", "::no_such_test`", "there is no test net::headers::no_such_test"),
        ("(operations.md#signing-in)", "(operations.md#signing-out)", "there is no section"),
        ("| not met |", "| fine |", "\"fine\" is no verdict"),
    ] {
        let broken = faults(&text.replacen(whole, planted, 1));
        assert!(broken.iter().any(|its| its.contains(fault)), "{fault}: {broken:?}");
    }
}

#[test]
fn the_compiler_refuses_unsafe_code_and_counts_with_an_end() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("\nunsafe_code = \"forbid\"\n"));
    assert!(manifest.split("[profile.release]").nth(1).unwrap().split("\n[").next().unwrap().contains("overflow-checks = true"));
    for refused in ["openssl", "native-tls", "md5", "md-5", "sha1", "rc4", "des", "serde_yaml", "quick-xml"] {
        assert!(!Regex::new(&format!("(?m)^{refused} ?=")).unwrap().is_match(&manifest), "{refused}");
    }
}

#[test]
fn every_library_is_pinned_with_its_checksum() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let packages: Vec<&str> = lock.split("[[package]]").skip(1).collect();
    assert!(packages.len() > 100);
    for package in packages.into_iter().filter(|package| !package.contains("name = \"paraph\"\n")) {
        assert!(package.contains("source = \"registry+") && package.contains("checksum = \""), "{package}");
    }
}

#[test]
fn random_numbers_come_from_the_system_and_from_nowhere_else() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let source = Regex::new(r"\b(getrandom|rand|fastrand|OsRng|thread_rng|new_v4)(::|\()").unwrap();
    let using: Vec<String> = files
        .iter()
        .filter(|file| source.is_match(fs::read_to_string(file).unwrap().split("#[cfg(test)]").next().unwrap()))
        .map(|file| file.strip_prefix(root()).unwrap().display().to_string())
        .collect();
    assert_eq!(using, ["src/gate/clock.rs"]);
}
