//! What a schema asks, in plain words for a model: the keyword and its bound, never the value that did not fit. What
//! stands in the schema may be named, because the agent has it already; long lists are cut.

use super::Misfit;
use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

/// Characters of a list that are told.
const LISTED: usize = 160;

/// Where it does not fit and what is asked there.
pub(super) fn misfit(error: &ValidationError<'_>) -> Misfit {
    let pointer = error.instance_path().as_str().to_owned();
    let (deeper, expected) = expected(error.kind());
    let pointer = deeper.map_or_else(|| pointer.clone(), |name| format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")));
    Misfit { pointer, expected }
}

/// What is asked, and the member's name when it is about one.
fn expected(kind: &Kind) -> (Option<&str>, String) {
    let here = |words: String| (None, words);
    match kind {
        Kind::Type { kind: TypeKind::Single(one) } => here(format!("must be of type {one}")),
        Kind::Type { kind: TypeKind::Multiple(some) } => here(format!("must be of type {}", cut(some.iter().map(|one| one.as_str().to_owned()), " or "))),
        Kind::Required { property } => here(format!("must have a member {}", told(property))),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            (unexpected.first().map(String::as_str), "is a member that the tool does not take".to_owned())
        }
        Kind::AdditionalItems { limit } => here(format!("must have at most {limit} items")),
        Kind::UnevaluatedItems { .. } => here("has items that the tool does not take".to_owned()),
        Kind::Enum { options } => here(format!("must be one of {}", cut(options.as_array().into_iter().flatten().map(told), ", "))),
        Kind::Constant { expected_value } => here(format!("must be {}", told(expected_value))),
        Kind::AnyOf { .. } => here("must fit at least one of the forms under anyOf".to_owned()),
        Kind::OneOfNotValid { .. } => here("must fit one of the forms under oneOf".to_owned()),
        Kind::OneOfMultipleValid { .. } => here("must fit exactly one of the forms under oneOf, and fits several".to_owned()),
        Kind::Not { .. } => here("must not fit the form under not".to_owned()),
        Kind::FalseSchema => here("must not be there".to_owned()),
        Kind::Contains => here("must contain more, or fewer, items of the form under contains".to_owned()),
        Kind::MinLength { limit } => here(format!("must have at least {limit} characters")),
        Kind::MaxLength { limit } => here(format!("must have at most {limit} characters")),
        Kind::MinItems { limit } => here(format!("must have at least {limit} items")),
        Kind::MaxItems { limit } => here(format!("must have at most {limit} items")),
        Kind::MinProperties { limit } => here(format!("must have at least {limit} members")),
        Kind::MaxProperties { limit } => here(format!("must have at most {limit} members")),
        Kind::Minimum { limit } => here(format!("must be at least {limit}")),
        Kind::Maximum { limit } => here(format!("must be at most {limit}")),
        Kind::ExclusiveMinimum { limit } => here(format!("must be more than {limit}")),
        Kind::ExclusiveMaximum { limit } => here(format!("must be less than {limit}")),
        Kind::MultipleOf { multiple_of } => here(format!("must be a multiple of {multiple_of}")),
        Kind::Pattern { pattern } => here(format!("must match the pattern {}", clip(pattern))),
        Kind::PropertyNames { .. } => here("has a member whose name the tool does not take".to_owned()),
        Kind::UniqueItems => here("must not have the same item twice".to_owned()),
        Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. } => {
            here("could not be checked: the pattern in the tool's inputSchema takes too long on it".to_owned())
        }
        Kind::Format { .. }
        | Kind::ContentEncoding { .. }
        | Kind::ContentMediaType { .. }
        | Kind::FromUtf8 { .. }
        | Kind::Custom { .. }
        | Kind::Referencing(_) => here("does not fit the tool's inputSchema".to_owned()),
    }
}

fn told(value: &Value) -> String {
    clip(&value.to_string())
}

fn clip(text: &str) -> String {
    if text.chars().count() <= LISTED { text.to_owned() } else { format!("{}\u{2026}", text.chars().take(LISTED).collect::<String>()) }
}

/// As many as there is room for.
fn cut(all: impl Iterator<Item = String>, between: &str) -> String {
    let mut line = String::new();
    for one in all {
        if !line.is_empty() {
            line.push_str(between);
        }
        if line.chars().count() + one.chars().count() > LISTED {
            line.push('\u{2026}');
            break;
        }
        line.push_str(&one);
    }
    line
}
