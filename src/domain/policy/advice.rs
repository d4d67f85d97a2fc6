//! What works in a policy and is probably not meant: rules that can never match, patterns whose order matters,
//! names that nothing listed has. Only advice: it never stops a start, so it errs on the side of saying nothing,
//! and its work is bounded however many rules there are. Called by `config` and `check` through `Policy`.

use super::glob::Glob;
use super::names::Names;
use super::rule::Rule;
use super::{Action, Document, Policy, SpecMistake};
use crate::domain::reveal::{Run, reveal_line};
use crate::domain::spelling::closest;
use std::collections::HashMap;

/// Patterns with a `*` that later ones are compared with.
const WIDE: usize = 500;
/// Pairs of patterns that are compared for an overlap.
const PAIRS: usize = 200_000;
/// Overlaps told; after so many, one more tells nothing new.
const OVERLAPS: usize = 20;
/// Patterns for which a close name is looked for.
const GUESSES: usize = 100;
const TYPED: &str = "Names are compared exactly; type it again if this is not meant.";
/// Names of rules that one warning repeats.
const NAMED: usize = 3;

impl Policy {
    /// What can be said from the rules alone, relative to the server, in no order.
    pub fn advice(&self) -> Vec<SpecMistake> {
        let mut advice = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            rule_alone(rule, index, &mut advice);
        }
        for (names, at) in self.lists() {
            odd_letters(names, &at, &mut advice);
        }
        for (pointer, name) in self.document.iter().flat_map(Document::names) {
            advice.extend(odd(&name).map(|problem| SpecMistake::new("policy", format!("{pointer:?}: the name {problem}"), TYPED)));
        }
        never_reached(&self.rules, &mut advice);
        let globs = Globs::of(&self.rules);
        globs.crossing(&mut advice);
        globs.read_and_refused(&self.reads, &mut advice);
        advice
    }

    /// What can be said beside the tools that the server listed last.
    pub fn advice_on_tools(&self, listed: &[String]) -> Vec<SpecMistake> {
        let lists = self.lists().into_iter().filter(|(_, at)| !at.ends_with(".agents"));
        matches_nothing(lists, listed, "no tool that the server listed last")
    }

    /// What can be said beside the agents that may use the server.
    pub fn advice_on_agents(&self, known: &[String]) -> Vec<SpecMistake> {
        let lists = self.lists().into_iter().filter(|(_, at)| at.ends_with(".agents"));
        matches_nothing(lists, known, "no active agent of this server")
    }

    /// Every list of patterns and where it stands.
    fn lists(&self) -> Vec<(&Names, String)> {
        let rules = self.rules.iter().enumerate();
        let rules = rules.flat_map(|(index, rule)| [(rule.tools(), format!("rules[{index}].tools")), (rule.agents(), format!("rules[{index}].agents"))]);
        [(&self.reads, "reads".to_owned())].into_iter().chain(rules).collect()
    }
}

fn rule_alone(rule: &Rule, index: usize, advice: &mut Vec<SpecMistake>) {
    for path in rule.contradictions() {
        // Elsewhere than in allow rules a value of the wrong type meets every condition.
        let (kind, matches) =
            if rule.action() == Action::Allow { ("value", "never matches") } else { ("value of the right type", "matches wrong types at most") };
        advice.push(SpecMistake::new(
            format!("rules[{index}].conditions"),
            format!("no {kind} of {path} meets all the conditions on it, so rule {:?} {matches}", rule.name()),
            "All conditions of a rule must hold; write several rules where one of them is enough.",
        ));
    }
    if rule.has_constant_when() {
        advice.push(SpecMistake::new(
            format!("rules[{index}].when"),
            "is the same for every call: it looks at none of args, tool, agent, server and now",
            "Leave it out, or leave the rule out.",
        ));
    }
}

fn odd_letters(names: &Names, at: &str, advice: &mut Vec<SpecMistake>) {
    for (index, pattern) in names.patterns().iter().enumerate() {
        advice.extend(odd(pattern).map(|problem| SpecMistake::new(format!("{at}[{index}]"), problem, TYPED)));
    }
}

/// What is hard to see in a name.
fn odd(name: &str) -> Option<String> {
    let marked = reveal_line(name).into_iter().find_map(|run| match run {
        Run::Marked { label, meaning, .. } => Some(format!("has {label} ({meaning})")),
        Run::Plain(_) => None,
    });
    marked.or_else(|| (name.trim() != name).then(|| "has a blank at an end".to_owned()))
}

/// What the rules before take whatever the arguments are, for one list of agents.
#[derive(Default)]
struct Taken {
    names: HashMap<String, usize>,
    wide: Vec<(Glob, usize)>,
    /// Patterns that are not looked into, by their text.
    opaque: HashMap<String, usize>,
}

impl Taken {
    /// The rule that takes all that the pattern names; a pattern with braces may need several.
    fn by(&self, pattern: &str, rules: &[Rule]) -> Option<Vec<usize>> {
        let Some(globs) = Glob::of(pattern) else {
            let every = self.wide.iter().find(|(wide, _)| wide.is_everything()).map(|(_, rule)| *rule);
            return self.opaque.get(pattern).copied().or(every).map(|rule| vec![rule]);
        };
        globs
            .iter()
            .map(|glob| {
                let name = glob.name();
                let exact = name.as_ref().and_then(|name| self.names.get(name).copied());
                let wide = || self.wide.iter().find(|(wide, _)| wide.covers(glob)).map(|(_, rule)| *rule);
                let opaque = || name.as_ref().and_then(|name| self.opaque.values().copied().filter(|rule| rules[*rule].names_tool(name)).min());
                exact.or_else(wide).or_else(opaque)
            })
            .collect()
    }

    fn take(&mut self, pattern: &str, rule: usize) {
        let Some(globs) = Glob::of(pattern) else {
            if self.opaque.len() < WIDE {
                self.opaque.entry(pattern.to_owned()).or_insert(rule);
            }
            return;
        };
        for glob in globs {
            match glob.name() {
                Some(name) => {
                    self.names.entry(name).or_insert(rule);
                }
                None if self.wide.len() < WIDE => self.wide.push((glob, rule)),
                None => {}
            }
        }
    }
}

/// Rules whose tools and agents are all taken by rules before them.
fn never_reached(rules: &[Rule], advice: &mut Vec<SpecMistake>) {
    let mut taken: HashMap<Vec<String>, Taken> = HashMap::new();
    let everybody = vec!["*".to_owned()];
    for (index, rule) in rules.iter().enumerate() {
        let agents = if rule.is_for_every_agent() { everybody.clone() } else { sorted(rule.agents().patterns()) };
        let lists = [Some(&everybody), (agents != everybody).then_some(&agents)];
        let by = |pattern: &String| lists.into_iter().flatten().find_map(|list| taken.get(list)?.by(pattern, rules));
        let before: Option<Vec<Vec<usize>>> = rule.tools().patterns().iter().map(by).collect();
        if let Some(before) = before {
            let mut before: Vec<usize> = before.concat();
            before.sort_unstable();
            before.dedup();
            let mut names: Vec<String> = before.iter().take(NAMED).map(|rule| format!("{:?}", rules[*rule].name())).collect();
            if before.len() > NAMED {
                names.push(format!("{} more", before.len() - NAMED));
            }
            advice.push(SpecMistake::new(
                format!("rules[{index}]"),
                format!("rule {:?} is never reached: {} before it takes every call that it names", rule.name(), names.join(", ")),
                "Move it up, or leave it out; the first rule that matches decides.",
            ));
        }
        if !rule.is_shadow() && !rule.has_conditions() {
            let mine = taken.entry(agents).or_default();
            rule.tools().patterns().iter().for_each(|pattern| mine.take(pattern, index));
        }
    }
}

fn sorted(patterns: &[String]) -> Vec<String> {
    let mut sorted = patterns.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

/// The patterns of the rules that decide anything, as far as they are looked into.
struct Globs<'p> {
    rules: Vec<(usize, &'p Rule, Vec<Opened<'p>>)>,
}

/// Where a pattern stands in its list, its text, and what it stands for.
type Opened<'p> = (usize, &'p String, Vec<Glob>);

impl<'p> Globs<'p> {
    fn of(rules: &'p [Rule]) -> Globs<'p> {
        let enforced = rules.iter().enumerate().filter(|(_, rule)| !rule.is_shadow());
        let patterns = |rule: &'p Rule| {
            let patterns = rule.tools().patterns().iter().enumerate();
            patterns.filter(|(_, pattern)| *pattern != "*").filter_map(|(index, pattern)| Some((index, pattern, Glob::of(pattern)?))).collect()
        };
        Globs { rules: enforced.map(|(index, rule)| (index, rule, patterns(rule))).collect() }
    }

    /// Patterns of two rules that share some names and each have others: whichever rule stands first decides.
    fn crossing(&self, advice: &mut Vec<SpecMistake>) {
        let (mut pairs, mut told) = (0, 0);
        // A pattern without a star never crosses another, and most have none.
        let wide = |globs: &[Glob]| globs.iter().any(|glob| glob.name().is_none());
        let rules: Vec<_> = self.rules.iter().map(|(at, rule, list)| (at, rule, list.iter().filter(|(.., globs)| wide(globs)).collect::<Vec<_>>())).collect();
        for (later, (at, rule, patterns)) in rules.iter().enumerate().filter(|(_, (.., patterns))| !patterns.is_empty()) {
            for (_, other, others) in &rules[..later] {
                pairs += 1 + patterns.len() * others.len();
                if pairs > PAIRS || told >= OVERLAPS {
                    return;
                }
                if rule.action() == other.action() || !share_agents(rule, other) {
                    continue;
                }
                let crossed = patterns.iter().find_map(|(index, pattern, globs)| {
                    let found = others.iter().find(|(.., other)| cross(globs, other));
                    found.map(|(_, other, _)| (index, pattern, other))
                });
                if let Some((index, pattern, crossed)) = crossed {
                    told += 1;
                    advice.push(SpecMistake::new(
                        format!("rules[{at}].tools[{index}]"),
                        format!(
                            "{pattern:?} of rule {:?} ({}) and {crossed:?} of rule {:?} ({}) share some tools, and each names others; {:?} stands first and decides those",
                            rule.name(),
                            rule.action().name(),
                            other.name(),
                            other.action().name(),
                            other.name()
                        ),
                        "If that is meant, nothing is to do; otherwise name those tools in a rule before both.",
                    ));
                }
            }
        }
    }

    /// Tools that are said to change nothing, and that a rule refuses or holds all the same.
    fn read_and_refused(&self, reads: &Names, advice: &mut Vec<SpecMistake>) {
        let mut pairs = 0;
        for (index, pattern) in reads.patterns().iter().enumerate() {
            let Some(read) = Glob::of(pattern) else { continue };
            let found =
                self.rules.iter().filter(|(_, rule, _)| matches!(rule.action(), Action::Deny | Action::RequireApproval)).find_map(|(_, rule, patterns)| {
                    pairs += patterns.len();
                    let fits = |globs: &[Glob]| globs.iter().any(|glob| read.iter().any(|read| read.meets(glob)));
                    if pairs > PAIRS { None } else { patterns.iter().find(|(.., globs)| fits(globs)).map(|(_, other, _)| (rule, other)) }
                });
            if let Some((rule, other)) = found {
                advice.push(SpecMistake::new(
                    format!("reads[{index}]"),
                    format!(
                        "{pattern:?} says that its tools change nothing, and rule {:?} ({}) names some of them with {other:?}",
                        rule.name(),
                        rule.action().name()
                    ),
                    "What reads names also passes while the gateway is paused; leave out of it what changes anything.",
                ));
            }
        }
    }
}

fn share_agents(one: &Rule, other: &Rule) -> bool {
    one.is_for_every_agent() || other.is_for_every_agent() || sorted(one.agents().patterns()) == sorted(other.agents().patterns())
}

fn cross(left: &[Glob], right: &[Glob]) -> bool {
    left.iter().any(|one| right.iter().any(|two| one.meets(two) && !one.covers(two) && !two.covers(one)))
}

/// Patterns that match none of the names.
fn matches_nothing<'p>(lists: impl Iterator<Item = (&'p Names, String)>, known: &[String], nobody: &str) -> Vec<SpecMistake> {
    let alike: HashMap<String, &String> = known.iter().map(|name| (folded(name), name)).collect();
    let all: Vec<&str> = known.iter().map(String::as_str).collect();
    let mut advice = Vec::new();
    for (names, at) in lists {
        for (index, pattern) in names.patterns().iter().enumerate() {
            if pattern == "*" || names.pattern_has_any(index, known) {
                continue;
            }
            let close = || if advice.len() < GUESSES { closest(pattern, &all) } else { None };
            let mend = match alike.get(&folded(pattern)).map(|name| name.as_str()).or_else(close) {
                Some(name) => format!("Did you mean {name:?}? Names are compared exactly: case, blanks and letters that look alike count."),
                None => "Check the spelling; a name that comes later needs nothing.".to_owned(),
            };
            advice.push(SpecMistake::new(format!("{at}[{index}]"), format!("{pattern:?} matches {nobody}"), mend));
        }
    }
    advice
}

/// What is left of a name when case, blanks, joints and borrowed letters do not count.
fn folded(name: &str) -> String {
    let letters = name.chars().filter(|letter| !letter.is_whitespace() && !matches!(letter, '_' | '-' | '.' | '/' | '\u{200b}'..='\u{200f}' | '\u{feff}'));
    let plain = letters.map(|letter| match letter {
        '\u{430}' | '\u{3b1}' => 'a',
        '\u{435}' | '\u{3b5}' => 'e',
        '\u{43e}' | '\u{3bf}' | '0' => 'o',
        '\u{440}' | '\u{3c1}' => 'p',
        '\u{441}' => 'c',
        '\u{443}' | '\u{3c5}' => 'y',
        '\u{445}' => 'x',
        '\u{456}' | '\u{3b9}' | 'l' | '1' => 'i',
        '\u{455}' => 's',
        '\u{458}' => 'j',
        '\u{501}' => 'd',
        other => other,
    });
    plain.flat_map(char::to_lowercase).map(|letter| if letter == 'l' { 'i' } else { letter }).collect()
}

#[cfg(test)]
mod tests;
