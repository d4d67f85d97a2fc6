//! What an entry says, member by member, each already in its canonical form: facts are copied, handed from thread to
//! thread, hashed and stored, and as text none of that walks over values again. The members are put in order when the
//! entry is written. Made by `gate`, written by `Link`.

use crate::domain::json::canonical;
use serde_json::Value;
use std::borrow::Cow;
use std::ops::Range;

/// Room for the members of a usual fact, and for their texts in bytes.
const USUAL_MEMBERS: usize = 6;
const USUAL_BYTES: usize = 256;

/// A JSON object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Data {
    members: Vec<(Cow<'static, str>, Range<usize>)>,
    texts: Vec<u8>,
}

impl Data {
    /// One that has room for a usual fact.
    pub fn new() -> Data {
        Data { members: Vec::with_capacity(USUAL_MEMBERS), texts: Vec::with_capacity(USUAL_BYTES) }
    }

    /// The same with a text.
    #[must_use]
    pub fn text(mut self, name: &'static str, text: &str) -> Data {
        self.write(Cow::Borrowed(name), |to| canonical::write_text(text, to));
        self
    }

    /// The same with a text, or with `null`.
    #[must_use]
    pub fn text_or_null(self, name: &'static str, text: Option<&str>) -> Data {
        match text {
            Some(text) => self.text(name, text),
            None => self.value(name, &Value::Null),
        }
    }

    /// The same with any value.
    #[must_use]
    pub fn value(mut self, name: &'static str, value: &Value) -> Data {
        self.put(name, value);
        self
    }

    /// Puts a value; one that was there under this name is gone.
    pub fn put(&mut self, name: &'static str, value: &Value) {
        self.write(Cow::Borrowed(name), |to| canonical::write(value, to));
    }

    fn write(&mut self, name: Cow<'static, str>, write: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.texts.len();
        write(&mut self.texts);
        let text = begin..self.texts.len();
        match self.members.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = text,
            None => self.members.push((name, text)),
        }
    }

    /// Appends the canonical form of the whole object.
    pub fn write_canonical(&self, to: &mut Vec<u8>) {
        let mut members: Vec<&(Cow<'static, str>, Range<usize>)> = self.members.iter().collect();
        members.sort_unstable_by(|(left, _), (right, _)| canonical::in_utf16(left, right));
        to.push(b'{');
        for (index, (name, text)) in members.into_iter().enumerate() {
            if index > 0 {
                to.push(b',');
            }
            canonical::write_text(name, to);
            to.push(b':');
            to.extend_from_slice(self.texts.get(text.clone()).unwrap_or_default());
        }
        to.push(b'}');
    }
}

/// The members of an object; of any other value, the value under the name `value`.
impl From<Value> for Data {
    fn from(value: Value) -> Data {
        match value {
            Value::Object(members) => {
                let mut data = Data::new();
                for (name, value) in members {
                    data.write(Cow::Owned(name), |to| canonical::write(&value, to));
                }
                data
            }
            other => Data::new().value("value", &other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::json;
    use proptest::prelude::*;
    use serde_json::json;

    fn written(data: &Data) -> String {
        let mut text = Vec::new();
        data.write_canonical(&mut text);
        String::from_utf8(text).unwrap()
    }

    proptest! {
        #[test]
        fn members_are_written_as_the_canonical_form_of_the_object(members in prop::collection::btree_map(".{0,4}", ".*", 0..8), number in any::<f64>()) {
            let mut value = json!(members);
            value["n"] = json!([number, null, { "b": 1, "a": number }]);
            prop_assert_eq!(written(&value.clone().into()), json::canonical(&value));
        }
    }

    #[test]
    fn a_value_takes_the_place_of_the_one_of_the_same_name() {
        let mut data = Data::new().text("tool", "a\n\"b\"").text_or_null("policy", None).value("n", &json!({ "z": 1, "a": 2.50 }));
        assert_eq!(written(&data), r#"{"n":{"a":2.5,"z":1},"policy":null,"tool":"a\n\"b\""}"#);
        data.put("tool", &json!("c"));
        assert_eq!(written(&data), r#"{"n":{"a":2.5,"z":1},"policy":null,"tool":"c"}"#);
        assert_eq!((written(&Data::default()), written(&json!([1]).into())), ("{}".into(), r#"{"value":[1]}"#.into()));
    }
}
