//! What a page says about secrets: the marks in a call's arguments, each with its length, four digits and whether the
//! agent used the same one before; and the stretches of a message's text that look like a secret, which are shown and
//! marked, because they will be read by its recipient. Used by `call_page` and by the API.

use super::shown::Shown;
use crate::domain::mask::{self, Mask, Why};
use crate::gate::masking::Before;
use crate::gate::{Failure, Listed, Reviewer};
use serde_json::{Value, json};

/// Digits of a mark on a page.
const SHOWN: usize = 4;

/// One masked value.
pub struct MaskLine {
    /// Where it stands.
    pub at: Shown,
    /// How long it is.
    pub length: String,
    /// Four digits that stand for it.
    pub four: String,
    /// Why it is masked.
    pub why: String,
    /// What the agent used before, in words.
    pub before: &'static str,
    /// It is another one than before.
    pub differs: bool,
    /// The call with the one before, where the reader may see it.
    pub earlier: Option<String>,
}

/// A stretch of a message's text.
pub struct Stretch {
    /// It looks like a secret.
    pub secret: bool,
    /// The text.
    pub text: Shown,
}

/// The masked values of a call, in their order.
pub async fn lines(reviewer: &Reviewer, listed: &Listed) -> Result<Vec<MaskLine>, Failure> {
    let before = reviewer.used_before(listed).await?;
    Ok(listed.masks.iter().zip(before).map(|(mask, before)| line(mask, before)).collect())
}

/// The masked values of a call for the API.
pub async fn json(reviewer: &Reviewer, listed: &Listed) -> Result<Value, Failure> {
    let before = reviewer.used_before(listed).await?;
    let one = |(mask, before): (&Mask, Before)| {
        let (used_before, call) = match before {
            Before::Same(id) => ("same", id),
            Before::Other(id) => ("other", id),
            Before::None => ("none", None),
        };
        json!({ "at": mask.pointer, "length": mask.length, "why": why(mask), "used_before": used_before, "call": call })
    };
    Ok(listed.masks.iter().zip(before).map(one).collect())
}

fn line(mask: &Mask, before: Before) -> MaskLine {
    let (words, differs, earlier) = match before {
        Before::Same(id) => ("the one that this agent used last", false, id),
        Before::Other(id) => ("not the one that this agent used last", true, id),
        Before::None => ("the first one that Paraph knows of this agent here", false, None),
    };
    MaskLine {
        at: Shown::new(if mask.pointer.is_empty() { "all arguments" } else { &mask.pointer }),
        length: length(mask),
        four: four(&mask.mark).to_owned(),
        why: why(mask),
        before: words,
        differs,
        earlier: earlier.map(|id| id.to_string()),
    }
}

fn length(mask: &Mask) -> String {
    format!("{} {}", mask.length, if mask.length == 1 { "character" } else { "characters" })
}

/// The masked value at a pointer of a call's arguments, or around it.
pub fn over<'l>(listed: &'l Listed, pointer: &str) -> Option<&'l Mask> {
    let digits = mask::stands_at(&listed.call.arguments, pointer)?;
    listed.masks.iter().find(|mask| mask.mark == digits && pointer.starts_with(&mask.pointer))
}

/// What a page shows in its place, in a frame that no text of an agent has.
pub fn chip(mask: &Mask) -> String {
    format!("masked, {}, {}", length(mask), four(&mask.mark))
}

fn why(mask: &Mask) -> String {
    match mask.why {
        Why::Name => "its name says that it is a secret".to_owned(),
        Why::Shape(what) => format!("{} looks like {what}", if mask.is_name { "its name" } else { "it" }),
        Why::Mark => "it looks like a mark of Paraph\u{2019}s own".to_owned(),
    }
}

/// The first four digits of a mark.
pub fn four(digits: &str) -> &str {
    digits.get(..SHOWN).unwrap_or(digits)
}

/// A message's text in stretches, and what its secrets look like, each kind once.
pub fn stretches(text: &str) -> (Vec<Stretch>, Vec<&'static str>) {
    let cuts: Vec<_> = mask::in_message(text).into_iter().map(|one| one.at).collect();
    let stretches = Shown::new(text).cut_at(&cuts).into_iter().map(|(secret, text)| Stretch { secret, text }).collect();
    (stretches, mask::looks_like(text))
}
