//! Limits as an operator wrote them, checked and compiled, and what one call takes from them. A number in the
//! arguments can use a budget up and never refill it: what is no number, is negative or is missing denies the call.
//! Called by `rule` and `Policy`.

use super::Asked;
use super::path::{ArgumentPath, Found};
use super::spec::{LimitSpec, ScopeSpec, SpecMistake};
use crate::domain::json::canonical;
use crate::domain::limit::{Charge, CounterKey, LARGEST_MAX, LONGEST_WINDOW, Label, ONE};
use crate::domain::quantity;
use serde_json::{Number, Value};
use std::collections::HashMap;
use std::time::Duration;

/// Characters of a counter's name.
const NAME_CHARS: usize = 100;
/// Characters of a reason: what an agent is told at most.
const REASON_CHARS: usize = 500;
/// Characters of a scope value on a page.
const LABEL_CHARS: usize = 100;
/// The shortest window.
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);
/// The words for a window, with their seconds.
pub const WINDOWS: [(&str, u64); 4] = [("second", 1), ("minute", 60), ("hour", 3600), ("day", 24 * 3600)];

/// A window in words or as a time.
pub fn window_of(text: &str) -> Option<Duration> {
    let word = WINDOWS.iter().find(|(word, _)| *word == text).map(|(_, seconds)| Duration::from_secs(*seconds));
    word.or_else(|| quantity::time(text))
}

/// One limit, checked and compiled.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    at: String,
    name: String,
    counter: String,
    window: Duration,
    max: u64,
    scope: Scope,
    amount: Option<ArgumentPath>,
    reason: Option<String>,
}

#[derive(Debug, Clone)]
enum Scope {
    Grant,
    Session,
    Tool,
    Server,
    Global,
    /// The path, and as the operator wrote it.
    Arg(ArgumentPath, String),
}

/// Why a call cannot be counted; it is denied then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Uncountable {
    /// The limit's name.
    pub(super) limit: String,
    /// In plain words, without any value of the call.
    pub(super) why: String,
}

/// One window and size for every counter: what was said of a counter the first time.
#[derive(Debug, Default)]
pub(super) struct Counters(HashMap<(bool, String), (String, Duration, u64)>);

impl Limit {
    /// Checks and compiles; what is wrong goes to `mistakes` under `at`. `name` is what answers and the audit call it.
    pub(super) fn compile(spec: LimitSpec, name: String, at: &str, counters: &mut Counters, mistakes: &mut Vec<SpecMistake>) -> Option<Limit> {
        let before = mistakes.len();
        let mut wrong = |key: &str, problem: String, mend: &str| mistakes.push(SpecMistake::new(format!("{at}.{key}"), problem, mend));
        let counter = &spec.counter;
        if counter.trim().is_empty() || counter.trim() != counter || counter.chars().count() > NAME_CHARS || counter.chars().any(char::is_control) {
            wrong("counter", "is not a counter's name".into(), "Use 1 to 100 characters without line breaks and without blanks at the ends.");
        }
        if !(SHORTEST_WINDOW..=LONGEST_WINDOW).contains(&spec.window) {
            wrong("window", "is shorter than a second or longer than 31 days".into(), "Write second, minute, hour, day, or a time such as \"10m\".");
        }
        if spec.max == 0 {
            wrong("max", "must be at least 1".into(), "Use a deny rule for calls that may never pass.");
        }
        if spec.max > LARGEST_MAX {
            wrong("max", "is larger than 100000".into(), "Use a shorter window.");
        }
        if spec.on_deny.as_ref().is_some_and(|reason| reason.chars().count() > REASON_CHARS) {
            wrong("on_deny", "is longer than 500 characters".into(), "Agents are told 500 characters at most; shorten it.");
        }
        let mut path = |key: &str, text: &str| {
            let parsed = ArgumentPath::parse(text);
            parsed.map_err(|why| wrong(key, format!("{text:?} {why}"), "Write args.KEY, or a JSON Pointer such as \"/to\".")).ok()
        };
        let scope = match &spec.scope {
            ScopeSpec::Grant => Some(Scope::Grant),
            ScopeSpec::Session => Some(Scope::Session),
            ScopeSpec::Tool => Some(Scope::Tool),
            ScopeSpec::Server => Some(Scope::Server),
            ScopeSpec::Global => Some(Scope::Global),
            ScopeSpec::Arg(text) => path("scope", text).map(|path| Scope::Arg(path, text.clone())),
        };
        let amount = spec.increment_from.as_deref().map(|text| path("increment_from", text));
        let global = matches!(spec.scope, ScopeSpec::Global);
        if let Some((other, window, max)) = counters.0.get(&(global, counter.clone()))
            && (*window, *max) != (spec.window, spec.max)
        {
            mistakes.push(SpecMistake::new(
                format!("{at}.counter"),
                format!("{other} counts with the same counter {counter:?} and has another window or max"),
                "Give it a name of its own, or the same window and max.",
            ));
        }
        counters.0.entry((global, counter.clone())).or_insert((at.to_owned(), spec.window, spec.max));
        if mistakes.len() > before {
            return None;
        }
        let amount = match amount {
            None => None,
            Some(path) => Some(path?),
        };
        Some(Limit { at: at.to_owned(), name, counter: spec.counter, window: spec.window, max: spec.max, scope: scope?, amount, reason: spec.on_deny })
    }

    /// Tells others what is said of this counter elsewhere; `at` is where.
    pub(super) fn declare(&self, at: String, counters: &mut Counters) {
        let global = matches!(self.scope, Scope::Global);
        counters.0.entry((global, self.counter.clone())).or_insert((at, self.window, self.max));
    }

    /// What answers and the audit call it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What the call takes.
    pub(super) fn charge(&self, server: &str, asked: &Asked<'_>) -> Result<Charge, Uncountable> {
        let cannot = |why: &str| Uncountable { limit: self.name.clone(), why: why.to_owned() };
        let amount = match &self.amount {
            None => ONE,
            Some(path) => match path.find(asked.arguments) {
                Found::Here(Value::Number(number)) => millionths(number).ok_or_else(|| cannot("the number that this limit counts is negative"))?,
                Found::Here(_) | Found::WrongType => return Err(cannot("the argument that this limit counts is not a number")),
                Found::Missing => return Err(cannot("the argument that this limit counts is missing")),
            },
        };
        let max = self.max.saturating_mul(ONE);
        if amount > max {
            return Err(cannot("the number is larger than this limit allows in a whole window"));
        }
        let (scope, value) = match &self.scope {
            Scope::Grant => ("grant", asked.agent.to_owned()),
            // Without a session the agent stands for it (semantics.md 26).
            Scope::Session => ("session", asked.session.unwrap_or(asked.agent).to_owned()),
            Scope::Tool => ("tool", asked.tool.to_owned()),
            Scope::Server => ("server", String::new()),
            Scope::Global => ("global", String::new()),
            Scope::Arg(path, _) => ("arg", argument(path.find(asked.arguments))),
        };
        let server = (!matches!(self.scope, Scope::Global)).then(|| server.to_owned());
        let mut label = Label { server, counter: self.counter.clone(), scope: scope.to_owned(), value };
        let key = CounterKey::of(&label);
        if let Some((end, _)) = label.value.char_indices().nth(LABEL_CHARS) {
            label.value.truncate(end);
        }
        Ok(Charge { key, label, name: self.name.clone(), window: self.window, max, amount, reason: self.reason.clone() })
    }

    /// What `check` and the page say of it.
    pub(super) fn view(&self) -> LimitView {
        let argument = if let Scope::Arg(_, text) = &self.scope { Some(text.clone()) } else { None };
        LimitView {
            at: self.at.clone(),
            name: self.name.clone(),
            counter: self.counter.clone(),
            window: self.window,
            max: self.max,
            scope: self.scope.word(),
            argument,
        }
    }
}

/// A limit as pages show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitView {
    /// Where it was written: `rules[0].limits[1]`.
    pub at: String,
    /// What answers and the audit call it.
    pub name: String,
    /// Its counter.
    pub counter: String,
    /// The window.
    pub window: Duration,
    /// How much fits, in whole units.
    pub max: u64,
    /// The word of its scope.
    pub scope: &'static str,
    /// Where the argument stands whose values have a counter each.
    pub argument: Option<String>,
}

impl Scope {
    fn word(&self) -> &'static str {
        match self {
            Scope::Grant => "grant",
            Scope::Session => "session",
            Scope::Tool => "tool",
            Scope::Server => "server",
            Scope::Global => "global",
            Scope::Arg(_, _) => "arg",
        }
    }
}

/// The value of an argument as a scope. Texts that a server would take for one recipient share a counter; a missing
/// argument has one of its own, so that leaving it out is no way around.
fn argument(found: Found<'_>) -> String {
    match found {
        Found::Here(Value::String(text)) => format!("text {}", folded(text)),
        Found::Here(value) => canonical(&spelled_alike(value)),
        Found::Missing | Found::WrongType => "missing".to_owned(),
    }
}

/// Over the capital letter, so that letters with two small forms meet.
fn folded(text: &str) -> String {
    text.trim().chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// The value with every text in it folded; arguments nest 64 levels at most.
fn spelled_alike(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(folded(text)),
        Value::Array(items) => items.iter().map(spelled_alike).collect(),
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), spelled_alike(value))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// `None` for a negative number. Rounded up to the next millionth; beyond what a ledger can hold it is the most.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and a cast of a double saturates")]
fn millionths(number: &Number) -> Option<u64> {
    if let Some(whole) = number.as_u64() {
        return Some(whole.saturating_mul(ONE));
    }
    let double = number.as_f64().filter(|double| *double >= 0.0)?;
    let scaled = double * 1e6;
    // 0.29 * 1e6 is a hair above 290,000: such a rest is the double's, not the sender's.
    let near = scaled.round();
    Some(if (scaled - near).abs() < 1e-3 && near >= 1.0 { near as u64 } else { scaled.ceil() as u64 })
}

/// Compiles a list of limits; `prefix` is what stands before the counter in a limit's name.
pub(super) fn compile(specs: Vec<LimitSpec>, prefix: &str, at: &str, counters: &mut Counters, mistakes: &mut Vec<SpecMistake>) -> Vec<Limit> {
    let named = |spec: &LimitSpec| format!("{prefix}{}", spec.counter);
    let mut limits = Vec::with_capacity(specs.len());
    let mut seen: Vec<String> = Vec::new();
    for (index, spec) in specs.into_iter().enumerate() {
        let at = format!("{at}[{index}]");
        if seen.contains(&spec.counter) {
            mistakes.push(SpecMistake::new(format!("{at}.counter"), "stands twice in this list", "Leave one of them out, or give it another counter."));
        }
        seen.push(spec.counter.clone());
        let name = named(&spec);
        limits.extend(Limit::compile(spec, name, &at, counters, mistakes));
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn amount(value: &Value) -> Result<u64, String> {
        let spec = LimitSpec {
            counter: "spent".into(),
            window: Duration::from_secs(60),
            max: 100,
            scope: ScopeSpec::Grant,
            increment_from: Some("args.amount".into()),
            on_deny: None,
        };
        let mut mistakes = Vec::new();
        let limit = Limit::compile(spec, "spent".into(), "limits[0]", &mut Counters::default(), &mut mistakes).unwrap();
        let arguments = json!({ "amount": value });
        let charge = limit.charge("s", &Asked { agent: "a", tool: "t", arguments: &arguments, session: None, now: jiff::Timestamp::UNIX_EPOCH });
        charge.map(|charge| charge.amount).map_err(|uncountable| uncountable.why)
    }

    #[test]
    fn a_number_in_the_arguments_uses_a_budget_up_and_never_refills_it() {
        assert_eq!(amount(&json!(5)), Ok(5 * ONE));
        assert_eq!(amount(&json!(0.29)), Ok(290_000));
        assert_eq!(amount(&json!(0.000_000_4)), Ok(1), "rounded up");
        assert_eq!(amount(&json!(9e-10)), Ok(1), "however little it is");
        assert_eq!(amount(&json!(0)), Ok(0));
        assert_eq!(amount(&json!(-0.0)), Ok(0));
        assert_eq!(amount(&json!(100)), Ok(100 * ONE));
        for refused in [json!(-1_000_000), json!(-0.1), json!(101), json!(u64::MAX), json!(1e300), json!("5"), json!(null), json!([1]), json!({})] {
            assert!(amount(&refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn of_two_limits_with_one_counter_the_one_counts_that_counts_more() {
        let spent = |increment_from: Option<&str>| LimitSpec {
            counter: "spent".into(),
            window: Duration::from_secs(60),
            max: 100,
            scope: ScopeSpec::Server,
            increment_from: increment_from.map(str::to_owned),
            on_deny: None,
        };
        for (of_server, of_rule) in [(None, Some("args.amount")), (Some("args.amount"), None)] {
            let rule = super::super::RuleSpec {
                name: "all".into(),
                tools: vec!["*".into()],
                agents: vec!["*".into()],
                action: super::super::Action::Allow,
                limits: vec![spent(of_rule)],
                ..Default::default()
            };
            let spec = super::super::PolicySpec { server: "s".into(), rules: vec![rule], limits: vec![spent(of_server)], ..Default::default() };
            let policy = super::super::Policy::build(spec).unwrap();
            let judged = policy.judge(&Asked { agent: "a", tool: "t", arguments: &json!({ "amount": 40 }), session: None, now: jiff::Timestamp::UNIX_EPOCH });
            assert_eq!(judged.charges.iter().map(|charge| charge.amount).collect::<Vec<_>>(), [40 * ONE]);
        }
    }

    #[test]
    fn scopes_never_share_a_key_and_spellings_of_one_recipient_do() {
        let key = |scope: ScopeSpec, arguments: &Value| {
            let spec = LimitSpec { counter: "c".into(), window: Duration::from_secs(60), max: 1, scope, increment_from: None, on_deny: None };
            let limit = Limit::compile(spec, "c".into(), "limits[0]", &mut Counters::default(), &mut Vec::new()).unwrap();
            limit.charge("s", &Asked { agent: "a", tool: "a", arguments, session: None, now: jiff::Timestamp::UNIX_EPOCH }).unwrap().key
        };
        let to = |to: Value| key(ScopeSpec::Arg("/to".into()), &json!({ "to": to }));
        assert_eq!(to(json!(" @Bob ")), to(json!("@bob")));
        assert_eq!(to(json!(["@Carl", " @ΑΣ"])), to(json!(["@carl ", "@ας"])));
        assert_eq!(to(json!({"handle": "@Dan"})), to(json!({"handle": " @DAN"})));
        assert_ne!(to(json!("1")), to(json!(1)));
        assert_ne!(to(json!("missing")), key(ScopeSpec::Arg("/to".into()), &json!({})));
        let all = [ScopeSpec::Grant, ScopeSpec::Session, ScopeSpec::Tool, ScopeSpec::Server, ScopeSpec::Global].map(|scope| key(scope, &json!({})));
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert!(all[..4].iter().all(|one| one.group() == all[0].group()) && all[4].group() != all[0].group());
    }
}
