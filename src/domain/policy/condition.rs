//! The eleven PolicyLayer operators over one argument. A missing argument makes a condition false. An argument
//! of the wrong type makes it false in allow rules and true in every other rule: whoever sends `"5"` where a rule
//! was written for `5` must not slip past a deny, nor into an allow. Called by `rule` and `document`.

use super::SpecMistake;
use super::number::compare;
use super::path::{ArgumentPath, Found};
use super::pattern::Pattern;
use super::spec::ConditionSpec;
use serde_json::Value;
use std::cmp::Ordering;
use std::mem::discriminant;

/// The operators of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// Equal; numbers by exact value.
    Eq,
    /// Of the same type and not equal.
    Neq,
    /// Equal to one of a list.
    In,
    /// Equal to none of a list.
    NotIn,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// A regular expression matches somewhere in the text.
    Regex,
    /// A text has this part, or a list this element.
    Contains,
    /// The argument is there (`true`) or not (`false`); null is there.
    Exists,
}

impl Operator {
    /// All, with the names that operators of the gateway write.
    pub const NAMES: [(&'static str, Operator); 11] = [
        ("eq", Operator::Eq),
        ("neq", Operator::Neq),
        ("in", Operator::In),
        ("not_in", Operator::NotIn),
        ("lt", Operator::Lt),
        ("lte", Operator::Lte),
        ("gt", Operator::Gt),
        ("gte", Operator::Gte),
        ("regex", Operator::Regex),
        ("contains", Operator::Contains),
        ("exists", Operator::Exists),
    ];

    /// The name in a policy.
    pub fn name(self) -> &'static str {
        Operator::NAMES.iter().find(|(_, operator)| *operator == self).map_or("", |(name, _)| name)
    }
}

/// One condition, checked and compiled.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    path: ArgumentPath,
    test: Test,
    written: String,
    op: Operator,
}

#[derive(Debug, Clone)]
enum Test {
    Equal { value: Value, wanted: bool },
    Among { values: Vec<Value>, wanted: bool },
    Order { bound: serde_json::Number, accepts: fn(Ordering) -> bool },
    Regex(Pattern),
    Contains(Value),
    Exists(bool),
}

/// What a condition finds in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It is so.
    Yes,
    /// It is not so.
    No,
    /// There is no such argument.
    Missing,
    /// The argument is of a type that the operator is not made for.
    WrongType,
}

impl From<bool> for Finding {
    fn from(yes: bool) -> Finding {
        if yes { Finding::Yes } else { Finding::No }
    }
}

impl Condition {
    /// Checks path and value; what is wrong goes to `mistakes` under `at`.
    pub(super) fn compile(spec: ConditionSpec, at: &str, mistakes: &mut Vec<SpecMistake>) -> Option<Condition> {
        let path = ArgumentPath::parse(&spec.path)
            .map_err(|why| {
                mistakes.push(SpecMistake::new(
                    format!("{at}.path"),
                    format!("{:?} {why}", spec.path),
                    "Write args.KEY or args.KEY.KEY; for a key that has a dot a JSON Pointer such as \"/a.b/c\".",
                ));
            })
            .ok();
        let test = Test::compile(spec.op, spec.value)
            .map_err(|(problem, mend)| mistakes.push(SpecMistake::new(format!("{at}.value"), format!("{}: {problem}", spec.op.name()), mend)))
            .ok();
        Some(Condition { path: path?, test: test?, written: spec.path, op: spec.op })
    }

    /// The path as it was written, and the operator.
    pub(super) fn words(&self) -> (&str, Operator) {
        (&self.written, self.op)
    }

    /// Whether the condition holds; `wrong_type` is what an argument of the wrong type makes of it.
    pub(super) fn holds(&self, arguments: &Value, wrong_type: bool) -> bool {
        match self.find(arguments) {
            Finding::Yes => true,
            Finding::No | Finding::Missing => false,
            Finding::WrongType => wrong_type,
        }
    }

    /// What it finds in the arguments.
    pub(super) fn find(&self, arguments: &Value) -> Finding {
        match (self.path.find(arguments), &self.test) {
            (Found::WrongType, _) => Finding::WrongType,
            (Found::Missing, Test::Exists(wanted)) => Finding::from(!wanted),
            (Found::Missing, _) => Finding::Missing,
            (Found::Here(value), test) => test.ask(value),
        }
    }
}

/// The arguments of which no value meets all the conditions on them. Only what compares with written values can be
/// told; a pattern or a part of a text never counts as a contradiction.
pub(super) fn contradictions(conditions: &[Condition], wrong_type: bool) -> Vec<String> {
    let mut found = Vec::new();
    for (index, first) in conditions.iter().enumerate() {
        if conditions[..index].iter().any(|other| other.path == first.path) {
            continue;
        }
        let tests: Vec<&Test> = conditions.iter().filter(|other| other.path == first.path).map(|other| &other.test).collect();
        if tests.len() > 1 && contradict(&tests, wrong_type) {
            found.push(first.path.to_string());
        }
    }
    found
}

fn contradict(tests: &[&Test], wrong_type: bool) -> bool {
    if tests.iter().any(|test| matches!(test, Test::Exists(false))) {
        return tests.iter().any(|test| !matches!(test, Test::Exists(false)));
    }
    let mut candidates: Vec<Value> = Vec::new();
    let mut bounds: Vec<f64> = Vec::new();
    for test in tests {
        match test {
            Test::Equal { value, wanted: true } => candidates.push(value.clone()),
            Test::Among { values, wanted: true } => candidates.extend(values.iter().cloned()),
            Test::Order { bound, .. } => {
                candidates.push(Value::Number(bound.clone()));
                bounds.extend(bound.as_f64());
            }
            Test::Exists(_) => {}
            // Too many values could meet it.
            Test::Equal { wanted: false, .. } | Test::Among { wanted: false, .. } | Test::Regex(_) | Test::Contains(_) => {
                if !tests.iter().any(|other| matches!(other, Test::Equal { wanted: true, .. } | Test::Among { wanted: true, .. })) {
                    return false;
                }
            }
        }
    }
    // Between two bounds, and beyond each, every number answers alike.
    bounds.sort_by(f64::total_cmp);
    let between = bounds.windows(2).map(|pair| pair[0] / 2.0 + pair[1] / 2.0);
    let beyond = bounds.iter().flat_map(|bound| [bound - bound.abs() - 1.0, bound + bound.abs() + 1.0]);
    candidates.extend(between.chain(beyond).filter_map(serde_json::Number::from_f64).map(Value::Number));
    if candidates.is_empty() || candidates.len() > 200 {
        return false;
    }
    !candidates.iter().any(|value| {
        tests.iter().all(|test| match test.ask(value) {
            Finding::Yes => true,
            Finding::No | Finding::Missing => false,
            Finding::WrongType => wrong_type,
        })
    })
}

impl Test {
    fn compile(op: Operator, value: Value) -> Result<Test, (String, &'static str)> {
        match op {
            Operator::Eq | Operator::Neq => Ok(Test::Equal { value, wanted: op == Operator::Eq }),
            Operator::In | Operator::NotIn => match value {
                Value::Array(values) if !values.is_empty() => Ok(Test::Among { values, wanted: op == Operator::In }),
                _ => Err(("wants a list with at least one value".into(), "Write value = [\"a\", \"b\"].")),
            },
            Operator::Lt => Test::order(value, Ordering::is_lt),
            Operator::Lte => Test::order(value, Ordering::is_le),
            Operator::Gt => Test::order(value, Ordering::is_gt),
            Operator::Gte => Test::order(value, Ordering::is_ge),
            Operator::Regex => match value {
                Value::String(pattern) => match Pattern::compile(&pattern) {
                    Ok(regex) => Ok(Test::Regex(regex)),
                    Err(regex::Error::CompiledTooBig(_)) => {
                        Err(("the expression is larger than 1 MiB when compiled".into(), "Use smaller repetitions, or several rules."))
                    }
                    Err(_) => {
                        Err((format!("{pattern:?} is not a regular expression"), "There is no look-around and no back-reference; brackets must be closed."))
                    }
                },
                _ => Err(("wants a text".into(), "Write the regular expression as a text, best in single quotes.")),
            },
            Operator::Contains => match value {
                Value::String(part) if part.is_empty() => Err(("every text has the empty text".into(), "Write the part to look for.")),
                value => Ok(Test::Contains(value)),
            },
            Operator::Exists => match value {
                Value::Bool(wanted) => Ok(Test::Exists(wanted)),
                _ => Err(("wants true or false".into(), "Write value = true, or value = false for an argument that must not be there.")),
            },
        }
    }

    fn order(value: Value, accepts: fn(Ordering) -> bool) -> Result<Test, (String, &'static str)> {
        match value {
            Value::Number(bound) => Ok(Test::Order { bound, accepts }),
            _ => Err(("wants a number".into(), "Write value = 10, without quotes.")),
        }
    }

    fn ask(&self, actual: &Value) -> Finding {
        match (self, actual) {
            (Test::Equal { value, wanted }, _) if same_type(value, actual) => Finding::from(equal(value, actual) == *wanted),
            (Test::Among { values, wanted }, _) if values.iter().any(|value| same_type(value, actual)) => {
                Finding::from(values.iter().any(|value| equal(value, actual)) == *wanted)
            }
            (Test::Order { bound, accepts }, Value::Number(actual)) => Finding::from(accepts(compare(actual, bound))),
            // A text too long to be looked at counts against the caller, as a wrong type does.
            (Test::Regex(regex), Value::String(text)) => regex.looks_at(text).map_or(Finding::WrongType, Finding::from),
            (Test::Contains(Value::String(part)), Value::String(text)) => Finding::from(text.contains(part)),
            (Test::Contains(value), Value::Array(items)) => {
                if items.iter().any(|item| equal(item, value)) {
                    Finding::Yes
                } else if items.iter().all(|item| same_type(item, value)) {
                    Finding::No
                } else {
                    Finding::WrongType
                }
            }
            (Test::Exists(wanted), _) => Finding::from(*wanted),
            (Test::Equal { .. } | Test::Among { .. } | Test::Order { .. } | Test::Regex(_) | Test::Contains(_), _) => Finding::WrongType,
        }
    }
}

fn same_type(left: &Value, right: &Value) -> bool {
    discriminant(left) == discriminant(right)
}

/// Deep equality with numbers by exact value; the order of keys does not matter.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => compare(left, right).is_eq(),
        (Value::Array(left), Value::Array(right)) => left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right)),
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len() && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| equal(value, other)))
        }
        _ => left == right,
    }
}
