//! Editing before approving, as a plain form: the message's text where it is known, and all arguments as JSON for
//! everything else. What the person wrote is put together here and judged by the gate alone; a refused edit keeps what
//! was typed. After an edit the page shows, word by word, what was changed. Used by `call_page` and `decision`.

use super::call_view;
use super::difference::{self, Piece};
use super::form::Submitted;
use crate::domain::call::Call;
use crate::domain::mask::{self, stands_at};
use crate::domain::reveal::{Run, reveal};
use serde_json::Value;
use std::fmt::Write as _;

/// Longest arguments that the form takes, bytes; longer ones are edited over the API.
const MOST: usize = 48 * 1024;

/// What the form shows.
pub struct EditForm {
    /// The message's text, where that is a text a form can carry.
    pub text: Option<String>,
    /// All arguments as indented JSON.
    pub arguments: String,
    /// Somebody was typing.
    pub open: bool,
    /// The call's, named by the form.
    pub digest: String,
    /// The call's, named by the form.
    pub version: u64,
}

/// What somebody typed.
pub struct Draft {
    text: Option<String>,
    arguments: String,
}

/// What a person changed about a call.
pub struct Difference {
    /// In the message's text.
    pub text: Vec<Piece>,
    /// To whom it went before, when that was changed.
    pub to: Vec<Piece>,
    /// In all arguments.
    pub arguments: Vec<Piece>,
    /// Of what the agent sent.
    pub asked_digest: String,
}

impl Draft {
    /// What stands in the form.
    pub fn of(form: &Submitted) -> Draft {
        let text = form.given("text").map(plain_lines);
        Draft { text, arguments: plain_lines(form.field("arguments")) }
    }

    /// The edited arguments as JSON text. Who changes the text in its own field and the JSON as well would be understood
    /// in one of two ways, so that is refused.
    pub fn edited(&self, call: &Call) -> Result<String, &'static str> {
        let shown = EditForm::new(call, None);
        if self.text.is_some() && shown.text.is_none() {
            return Err("this text has no field of its own, because it or its recipient is masked or holds what a field cannot show; change it in the JSON");
        }
        let text = self.text.as_ref().filter(|text| shown.text.as_ref().is_some_and(|shown| plain_lines(shown) != **text));
        let raw = self.arguments != plain_lines(&shown.arguments);
        match (text, raw) {
            (Some(_), true) => Err("the text was changed in its own field and in the JSON as well; change it in one of them"),
            (None, true) => Ok(self.arguments.clone()),
            (None, false) => Ok(call.arguments.clone()),
            (Some(text), false) => with_text(call, text).ok_or("the text could not be put into the arguments; change it in the JSON"),
        }
    }
}

impl EditForm {
    /// The form for a call, with what somebody had typed already.
    pub fn new(call: &Call, draft: Option<&Draft>) -> EditForm {
        // A field cannot mark what would not be seen in it: such a text is edited in the JSON, where it is written out.
        let clear = |text: &str| reveal(text).iter().all(|run| matches!(run, Run::Plain(_)));
        // Nor is what stands for a secret a text: with a word beside it, it would leave in place of the value.
        let masked = |pointer: &str| stands_at(&call.arguments, pointer).is_some();
        let open = call.message.as_ref().filter(|message| !masked(&message.text_pointer) && !masked(&message.to_pointer));
        let text = open.map(|message| message.text.clone()).filter(|text| clear(text));
        let arguments = written_out(&call_view::indented(&call.arguments));
        EditForm {
            text: text.map(|text| draft.and_then(|draft| draft.text.clone()).unwrap_or(text)),
            arguments: draft.map_or(arguments, |draft| draft.arguments.clone()),
            open: draft.is_some(),
            digest: call.digest.to_string(),
            version: call.version,
        }
    }

    /// The same, when the call is short enough for a form.
    pub fn of(call: &Call, draft: Option<&Draft>) -> Option<EditForm> {
        (call.arguments.len() <= MOST).then(|| EditForm::new(call, draft))
    }
}

impl Difference {
    /// What was changed, as long as the texts are kept.
    pub fn of(call: &Call) -> Option<Difference> {
        let asked = call.asked_arguments.as_ref().filter(|_| call.is_edited())?;
        let value: Value = serde_json::from_str(asked).ok()?;
        let message = call.message.as_ref();
        let now: Value = serde_json::from_str(&call.arguments).ok()?;
        // The marks of both are compared, not what a message says in words for them.
        let said = |value: &Value, pointer: &str| {
            let found = value.pointer(pointer)?;
            let masked = mask::digits(found).map(|digits| format!("a masked value ({})", super::masked::four(digits)));
            Some(masked.unwrap_or_else(|| found.as_str().map_or_else(|| found.to_string(), str::to_owned)))
        };
        let changed = |pointer: &str| {
            let (before, now) = (said(&value, pointer)?, said(&now, pointer)?);
            (before != now).then(|| difference::between(&before, &now))
        };
        Some(Difference {
            text: message.and_then(|message| changed(&message.text_pointer)).unwrap_or_default(),
            to: message.and_then(|message| changed(&message.to_pointer)).unwrap_or_default(),
            arguments: difference::between(&call_view::indented(asked), &call_view::indented(&call.arguments)),
            asked_digest: call.asked_digest.to_string(),
        })
    }
}

/// The arguments with another text at the message's place; every other value stays.
fn with_text(call: &Call, text: &str) -> Option<String> {
    let pointer = &call.message.as_ref()?.text_pointer;
    let mut value: Value = serde_json::from_str(&call.arguments).ok()?;
    *value.pointer_mut(pointer)? = Value::from(text);
    Some(value.to_string())
}

/// JSON text in which every character that would not be seen, or pretends to be another, is an escape.
fn written_out(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for run in reveal(json) {
        match run {
            Run::Plain(text) => out.push_str(&text),
            Run::Marked { source, .. } => {
                let mut units = [0u16; 2];
                for unit in source.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out
}

/// A form sends every line end as two characters, whatever it was shown.
fn plain_lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}
