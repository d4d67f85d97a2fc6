//! `docs/policy.md`, followed by a machine: every block is a file that its paragraph names, or commands. Files are
//! written as they stand there and read by the program; commands must end as the page says.

use crate::world::{Agent, World};
use paraph::config::Config;
use paraph::domain::policy::Document;
use serde_json::json;
use std::path::Path;

const PAGE: &str = include_str!("../../../docs/policy.md");

/// One fenced block: its language, the last name in backticks before it, its text.
struct Block {
    language: String,
    name: String,
    text: String,
}

fn blocks() -> Vec<Block> {
    let mut found = Vec::new();
    let mut name = String::new();
    let mut open: Option<Block> = None;
    for line in PAGE.lines() {
        match &mut open {
            Some(_) if line == "```" => found.extend(open.take()),
            Some(block) => block.text += &format!("{line}\n"),
            None => match line.strip_prefix("```") {
                Some(language) => open = Some(Block { language: language.to_owned(), name: name.clone(), text: String::new() }),
                None if line.trim_end().ends_with(':') => name = line.rsplit('`').nth(1).unwrap_or_default().to_owned(),
                None => {}
            },
        }
    }
    found
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[tokio::test]
async fn every_block_of_the_page_is_what_the_page_says() {
    let world = World::new("");
    let folder = world.path("");
    let mut seen = Vec::new();
    for block in blocks() {
        match block.language.as_str() {
            "json" => {
                write(&folder, &block.name, &block.text);
                if block.name.starts_with("policies/") {
                    Document::read(&block.text).unwrap_or_else(|mistakes| panic!("{}: {mistakes:#?}", block.name));
                }
            }
            // Rules by themselves, and what check says of them: read in src/config/tests/documented.rs.
            "text" => {}
            "toml" if !block.text.starts_with("[servers.") => {}
            "toml" => {
                let program = format!("{:?}", env!("CARGO_BIN_EXE_paraph"));
                write(&folder, &block.name, &block.text.replace("\"paraph\"", &program));
                let loaded = Config::load(&world.path(&block.name), &|_| None);
                let loaded = loaded.unwrap_or_else(|mistakes| panic!("{}\n{}", mistakes[0], block.text));
                assert_eq!(loaded.warnings, [], "{}", block.text);
            }
            "sh" => {
                for line in block.text.lines() {
                    let program = Path::new(env!("CARGO_BIN_EXE_paraph")).parent().unwrap();
                    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
                    let ran = tokio::process::Command::new("sh").args(["-c", line]).current_dir(&folder).env("PATH", path).output().await.unwrap();
                    assert!(ran.status.success(), "{line}: {}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
                    seen.push((line.split(" #").next().unwrap().trim().to_owned(), String::from_utf8(ran.stdout).unwrap()));
                }
            }
            other => panic!("a block of {other:?} that nobody runs"),
        }
    }
    let told = |command: &str| &seen.iter().find(|(line, _)| line == command).unwrap_or_else(|| panic!("{command} is not on the page")).1;
    assert!(told("paraph policy explain call.json").starts_with("deny by /tools/send_dm/require/0\n"), "{}", told("paraph policy explain call.json"));
    assert_eq!(told("paraph policy test cases.json"), "4 case(s): 4 as expected, 0 not.\n");
    assert!(told("paraph policy import policies/simple.json --server demo").contains("[[servers.demo.rules]]"));

    // The last configuration of the page serves, and counts as the page says.
    let gateway = world.serve().await;
    let agent = Agent::connect(&gateway.mcp("demo"), &world.agent("support-bot").await).await;
    for tool in ["read_inbox", "delete_account"] {
        let told = agent.request("tools/call", json!({ "name": tool, "arguments": {} })).await.unwrap();
        assert_eq!(told["result"]["isError"].as_bool().unwrap_or(false), tool == "delete_account", "{told}");
    }
    assert!(gateway.stop().await);
}
