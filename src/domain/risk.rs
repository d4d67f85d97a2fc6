//! What a tool probably does: reads, sends, endangers, or nobody can tell. Told from its name, from the names of its
//! arguments and from what its server says of it. A server may lie: its annotations and its description make a tool
//! stricter and never looser by themselves; `readOnlyHint` counts only where the name says the same already. Whatever
//! is unclear is for the operator to allow. Called by `paraph init` and `paraph scan`, never while a call is judged.

mod facts;
mod words;

use super::message::{KNOWN, MessagePointers, RECIPIENTS, TEXTS, plain, pointer, sounds_like_sending, words};
use facts::Facts;
use std::collections::HashMap;
use words::{
    ABOUT, ADDRESSES, CODE, COMPOSING, CONSUMING, CUTS, DANGEROUS, DANGEROUS_FIRST, EFFECTS, JOINING, KNOWN_READS, MARKING, MONEY, POSTS, READING, SECRETS,
    SENDING, TALKING, TOLD, WRITING,
};

/// Characters of a name that a rule names (MCP 2025-11-25, tool names: 1 to 128 of them).
const NAME: usize = 128;
/// Names of [`RECIPIENTS`] that nothing but a recipient has; the others also filter lists.
const SURE_RECIPIENTS: usize = 10;

/// What becomes of a tool in a starter policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// A person reads it first.
    Sends,
    /// Allowed, and listed under `reads`.
    Reads,
    /// Allowed, but not under `reads`: reading changes what is read the next time.
    Takes,
    /// Denied, and worth a thought before it is allowed.
    Dangerous,
    /// Denied until the operator says otherwise.
    Unclear,
}

impl Risk {
    /// For tables and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Risk::Sends => "sends",
            Risk::Reads => "reads",
            Risk::Takes => "takes",
            Risk::Dangerous => "dangerous",
            Risk::Unclear => "unclear",
        }
    }

    /// The verdict of the starter policy.
    pub fn verdict(self) -> &'static str {
        match self {
            Risk::Sends => "held",
            Risk::Reads | Risk::Takes => "allowed",
            Risk::Dangerous | Risk::Unclear => "denied",
        }
    }
}

/// One tool and why it is taken for what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// As the server wrote it: hostile text, unless the tool is held or allowed; then it is a plain name.
    pub name: String,
    /// What it probably does.
    pub risk: Risk,
    /// In words that fit behind the name. Names of arguments in it are hostile text.
    pub why: String,
    /// Where the message is, when that is certain.
    pub message: Option<MessagePointers>,
}

/// Judges the tools of one server, each given as its JSON text, in their order.
pub fn judge(definitions: &[String]) -> Vec<Judged> {
    let tools: Vec<Result<Facts, (String, String)>> = definitions.iter().map(|text| Facts::read(text)).collect();
    let names: Vec<&str> = tools.iter().map(|tool| tool.as_ref().map_or_else(|(name, _)| name.as_str(), |facts| facts.name.as_str())).collect();
    let mut twins: HashMap<String, usize> = HashMap::new();
    for name in &names {
        *twins.entry(plain_name(name)).or_default() += 1;
    }
    let prefix = shared_prefix(&names);
    let each = tools.iter().zip(&names).map(|(tool, name)| {
        let (risk, why) = match tool {
            Err((_, why)) => (Risk::Unclear, why.clone()),
            Ok(_) if !is_plain(name) => (Risk::Unclear, format!("its name is not 1 to {NAME} letters, digits, _ - . and /")),
            Ok(_) if twins.get(&plain_name(name)).is_some_and(|count| *count > 1) => (Risk::Unclear, "another tool has the same name, or nearly".to_owned()),
            Ok(facts) => judged(facts, prefix.as_deref()),
        };
        let message = tool.as_ref().ok().filter(|_| risk == Risk::Sends).and_then(pointers);
        Judged { name: (*name).to_owned(), risk, why, message }
    });
    each.collect()
}

/// Nothing in such a name is special in a pattern of a rule.
fn is_plain(name: &str) -> bool {
    (1..=NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/'))
}

/// Without what is easily overlooked.
fn plain_name(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// `slack` in `slack_list_channels`: no word that we know, and the first of most tools.
fn shared_prefix(names: &[&str]) -> Option<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for name in names {
        if let Some(first) = words(name).into_iter().next() {
            *counts.entry(first).or_default() += 1;
        }
    }
    let (word, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    let known = [READING, SENDING, TALKING, COMPOSING, POSTS, EFFECTS, DANGEROUS, DANGEROUS_FIRST, MONEY, KNOWN_READS, ABOUT, CUTS]
        .iter()
        .any(|list| list.contains(&word.as_str()));
    (count >= 2 && count * 2 > names.len() && !known).then_some(word)
}

fn judged(facts: &Facts, prefix: Option<&str>) -> (Risk, String) {
    let mut words = words(&facts.name);
    if words.len() > 1 && words.first().map(String::as_str) == prefix {
        words.remove(0);
    }
    let name = Name(words);
    let reading = name.first_in(READING) || KNOWN_READS.contains(&name.0.join("_").as_str());
    if let Some(word) = name.any_of(SECRETS).filter(|_| reading) {
        return (Risk::Dangerous, format!("its name says {word}: it may give out what nobody should have"));
    }
    if let Some(risk) = endangers(facts, &name, reading) {
        return risk;
    }
    let to = facts.arguments.iter().any(|one| RECIPIENTS[..SURE_RECIPIENTS].contains(&plain(&one.name).as_str()));
    let text = facts.arguments.iter().any(|one| TEXTS.contains(&plain(&one.name).as_str()) || TOLD.contains(&plain(&one.name).as_str()));
    let about = name.last_in(ABOUT);
    if let Some(why) = sends(&name, to && text, text, reading, about) {
        let hint = if facts.read_only == Some(true) { ", although its server says that it only reads" } else { "" };
        return (Risk::Sends, format!("{why}{hint}"));
    }
    reads(facts, &name, reading, about)
}

fn endangers(facts: &Facts, name: &Name, reading: bool) -> Option<(Risk, String)> {
    if let Some(one) = facts.arguments.iter().find(|one| CODE.contains(&plain(&one.name).as_str())) {
        return Some((Risk::Dangerous, format!("takes {}: it may run what the agent writes", one.name)));
    }
    // Behind a reading verb such a word is mostly a noun: get_order.
    let word = name.any_of(DANGEROUS).or_else(|| name.any_of(MONEY)).or_else(|| name.first().filter(|first| DANGEROUS_FIRST.contains(first)));
    if let Some(word) = word {
        let (risk, why) = if reading { (Risk::Unclear, "reads by its name, which also says") } else { (Risk::Dangerous, "its name says") };
        return Some((risk, format!("{why} {word}")));
    }
    None
}

/// Why it sends, if it does. Holding one that does not is a click; letting one through that does is a message.
fn sends(name: &Name, message: bool, text: bool, reading: bool, about: bool) -> Option<String> {
    if message && !name.first_in(CUTS) {
        return Some("takes a recipient and a text".to_owned());
    }
    if reading || about || name.first_in(CUTS) || name.any_of(WRITING).is_some() {
        return None;
    }
    let first = name.first().unwrap_or_default();
    if SENDING.contains(&first) || name.any_of(&["send"]).is_some() || (text && TALKING.contains(&first)) {
        return Some(format!("its name says {}", if SENDING.contains(&first) || TALKING.contains(&first) { first } else { "send" }));
    }
    let post = name.any_of(POSTS).filter(|_| text);
    let composes = name.first_in(COMPOSING) || sounds_like_sending(&name.0.join("_"));
    post.filter(|_| composes).map(|post| format!("its name says {post}, and it takes a text"))
}

fn reads(facts: &Facts, name: &Name, reading: bool, about: bool) -> (Risk, String) {
    let unclear = |why: String| (Risk::Unclear, why);
    let agreed = about && facts.read_only == Some(true);
    if !reading && !agreed {
        return unclear(match (facts.destructive, facts.read_only) {
            (Some(true), _) => return (Risk::Dangerous, "its server says that it destroys something".to_owned()),
            (_, Some(true)) => "its server says that it only reads; its name does not".to_owned(),
            (_, _) => "its name does not say that it only reads".to_owned(),
        });
    }
    if let Some(word) = name.any_of(EFFECTS).or_else(|| name.any_of(JOINING)) {
        return unclear(format!("reads by its name, which also says {word}"));
    }
    if name.first() == Some("check") && name.0.get(1).is_some_and(|word| matches!(word.as_str(), "in" | "out")) {
        return unclear("its name does not say that it only reads".to_owned());
    }
    if facts.read_only == Some(false) || facts.destructive == Some(true) {
        return unclear("reads by its name; its server says that it changes something".to_owned());
    }
    if let Some(one) = facts.arguments.iter().find(|one| ADDRESSES.contains(&plain(&one.name).as_str())) {
        return unclear(format!("takes {}: what it fetches from there can carry anything out", one.name));
    }
    let argument_says = |list: &'static [&'static str]| facts.arguments.iter().find(|one| words(&one.name).iter().any(|word| list.contains(&word.as_str())));
    if let Some(one) = argument_says(MARKING) {
        return (Risk::Takes, format!("reads, but takes {}", one.name));
    }
    if let Some(one) = argument_says(EFFECTS).or_else(|| argument_says(DANGEROUS)) {
        return unclear(format!("reads by its name, but takes {}", one.name));
    }
    let description = facts.description.to_lowercase();
    if CONSUMING.iter().any(|phrase| description.contains(phrase)) {
        return (Risk::Takes, "reads, but by its description each call changes what the next one finds".to_owned());
    }
    let why = if agreed && !reading { "its name and its server say that it only reads" } else { "its name says that it only reads" };
    (Risk::Reads, why.to_owned())
}

/// Where the message is: a tool that we know, or the only recipient and the only text, both of which it needs. Copies
/// go to more recipients than one place can show.
fn pointers(facts: &Facts) -> Option<MessagePointers> {
    let has = |key: &str| facts.arguments.iter().any(|one| one.name == key);
    if let Some((_, to, text)) = KNOWN.iter().find(|(tool, to, text)| *tool == facts.name && has(to) && has(text)) {
        return Some(MessagePointers { to: pointer(to), text: pointer(text) });
    }
    let among = |names: &[&str]| facts.arguments.iter().filter(|one| names.contains(&plain(&one.name).as_str())).collect::<Vec<_>>();
    let ([to], [text]) = (&among(&RECIPIENTS)[..], &among(&TEXTS)[..]) else { return None };
    let simple = matches!(to.kind.as_deref(), Some("string" | "integer")) && text.kind.as_deref() == Some("string");
    let copies = !among(&["cc", "bcc"]).is_empty();
    (simple && to.required && text.required && !copies).then(|| MessagePointers { to: pointer(&to.name), text: pointer(&text.name) })
}

/// A tool's name in words.
struct Name(Vec<String>);

impl Name {
    fn first(&self) -> Option<&str> {
        self.0.first().map(String::as_str)
    }

    fn first_in(&self, list: &[&str]) -> bool {
        self.first().is_some_and(|word| list.contains(&word))
    }

    fn last_in(&self, list: &[&str]) -> bool {
        self.0.last().is_some_and(|word| list.contains(&word.as_str()))
    }

    fn any_of(&self, list: &[&str]) -> Option<&str> {
        self.0.iter().map(String::as_str).find(|word| list.contains(word))
    }
}

#[cfg(test)]
mod tests;
