//! What is the message in a call's arguments: to whom, which text, and whether that was configured or guessed.
//! The page and the mails show a message as a message; a guess is marked as one, because a wrong guess would
//! show the reviewer another text than the one that matters. Called by `gate/hold` and `gate/admit`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// To whom and what text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The recipient as the arguments name it; the JSON text of what is not a string.
    pub to: String,
    /// The text, whole.
    pub text: String,
    /// JSON Pointer (RFC 6901) of the recipient in the arguments.
    pub to_pointer: String,
    /// JSON Pointer of the text.
    pub text_pointer: String,
    /// True when neither the config nor our list of known tools says so.
    pub guessed: bool,
}

/// Where the message is in a tool's arguments, as the config says (`[servers.X.messages.TOOL]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePointers {
    /// JSON Pointer of the recipient.
    pub to: String,
    /// JSON Pointer of the text.
    pub text: String,
}

/// Messaging tools of published servers: tool, recipient, text. All three must fit.
pub(super) const KNOWN: [(&str, &str, &str); 6] = [
    ("send_dm", "username", "message"),
    ("send_dm", "to_agent_id", "content"),
    ("send_dm", "to_handle", "content"),
    ("send_dm", "to", "text"),
    ("send_dm_to_user", "user_id", "message"),
    ("send_message", "to", "message"),
];

/// Names under which tools take a recipient, the likeliest first; compared without case, `_` and `-`.
pub(super) const RECIPIENTS: [&str; 27] = [
    "to",
    "recipient",
    "recipients",
    "tohandle",
    "touser",
    "touserid",
    "toagentid",
    "toemail",
    "tonumber",
    "recipientid",
    "username",
    "handle",
    "user",
    "userid",
    "email",
    "emailaddress",
    "phone",
    "phonenumber",
    "number",
    "channel",
    "channelid",
    "chat",
    "chatid",
    "conversationid",
    "threadid",
    "room",
    "roomid",
];

/// Names under which tools take a text, the likeliest first.
pub(super) const TEXTS: [&str; 9] = ["text", "message", "content", "body", "messagetext", "messagebody", "msg", "comment", "note"];

/// Words that make a tool's name sound like sending.
const SENDING: [&str; 11] = ["send", "dm", "message", "reply", "post", "tweet", "notify", "mail", "email", "sms", "forward"];

/// First words of tools that look, count or tidy up rather than send.
const NOT_SENDING: [&str; 16] =
    ["read", "list", "get", "search", "find", "fetch", "count", "delete", "remove", "mark", "update", "edit", "archive", "schedule", "preview", "check"];

/// Last words of tools that ask about messages.
const ABOUT: [&str; 4] = ["status", "history", "count", "list"];

/// Finds the message: configured pointers first, then the known messaging tools, then a guess by name.
pub fn find(tool: &str, arguments: &Value, configured: Option<&MessagePointers>) -> Option<Message> {
    let configured = configured.and_then(|pointers| at(arguments, &pointers.to, &pointers.text, false));
    if configured.is_some() {
        return configured;
    }
    let members = arguments.as_object()?;
    let known = KNOWN.iter().filter(|(name, _, _)| *name == tool);
    for (_, to, text) in known {
        if let Some(message) = at(arguments, &pointer(to), &pointer(text), false) {
            return Some(message);
        }
    }
    if !sounds_like_sending(tool) {
        return None;
    }
    let to = named(members, &RECIPIENTS, |value| !value.is_null() && !value.is_boolean())?;
    let text = named(members, &TEXTS, Value::is_string)?;
    at(arguments, &pointer(to), &pointer(text), true)
}

/// Whether a tool's call is a message by its name alone: decides "NOT SENT" against "NOT DONE".
pub fn is_message_tool(tool: &str, configured: bool) -> bool {
    configured || KNOWN.iter().any(|(name, _, _)| *name == tool) || sounds_like_sending(tool)
}

fn at(arguments: &Value, to_pointer: &str, text_pointer: &str, guessed: bool) -> Option<Message> {
    let to = match arguments.pointer(to_pointer)? {
        Value::Null => return None,
        Value::String(to) => to.clone(),
        other => other.to_string(),
    };
    let text = arguments.pointer(text_pointer)?.as_str()?.to_owned();
    Some(Message { to, text, to_pointer: to_pointer.to_owned(), text_pointer: text_pointer.to_owned(), guessed })
}

/// The member whose name stands first in `names` and whose value fits.
fn named<'a>(members: &'a Map<String, Value>, names: &[&str], fits: impl Fn(&Value) -> bool) -> Option<&'a str> {
    names.iter().find_map(|name| members.iter().find(|(key, value)| plain(key) == *name && fits(value)).map(|(key, _)| key.as_str()))
}

pub(super) fn plain(key: &str) -> String {
    key.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// One member's JSON Pointer (RFC 6901 section 3).
pub(super) fn pointer(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

pub(super) fn sounds_like_sending(tool: &str) -> bool {
    let words = words(tool);
    let outer = words.first().zip(words.last());
    outer.is_some_and(|(first, last)| !NOT_SENDING.contains(&first.as_str()) && !ABOUT.contains(&last.as_str()))
        && words.iter().any(|word| SENDING.contains(&word.as_str()))
}

/// `sendDirectMessage` and `send-direct_message` are the same three words.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in name.chars() {
        let starts = !c.is_alphanumeric() || (c.is_uppercase() && after_lower);
        if starts {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        after_lower = c.is_lowercase() || c.is_numeric();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether one text looks like a version of the other: of all their words, at least three in ten stand in both.
pub fn alike(one: &str, other: &str) -> bool {
    let words = |text: &str| words(text).into_iter().collect::<BTreeSet<String>>();
    let (one, other) = (words(one), words(other));
    let (shared, all) = (one.intersection(&other).count(), one.union(&other).count());
    all > 0 && shared * 10 >= all * 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(tool: &str, arguments: &Value) -> Option<(String, String, bool)> {
        find(tool, arguments, None).map(|m| (m.to, m.text, m.guessed))
    }

    #[test]
    fn the_five_known_messaging_tools_are_not_guesses() {
        for (tool, arguments) in [
            ("send_dm", json!({"username": "@bob", "message": "hi"})),
            ("send_dm_to_user", json!({"user_id": "@bob", "message": "hi"})),
            ("send_dm", json!({"to_agent_id": "@bob", "content": "hi", "agent_id": "me"})),
            ("send_dm", json!({"api_key": "k", "to_handle": "@bob", "content": "hi"})),
            ("send_message", json!({"to": "@bob", "message": "hi", "reply_to_message_id": "9"})),
        ] {
            assert_eq!(found(tool, &arguments), Some(("@bob".into(), "hi".into(), false)), "{tool} {arguments}");
        }
    }

    #[test]
    fn configured_pointers_win_over_what_we_know() {
        let pointers = MessagePointers { to: "/a~1b/0".into(), text: "/deep/text".into() };
        let arguments = json!({"a/b": ["@real"], "deep": {"text": "this one"}, "username": "@other", "message": "not this"});
        let message = find("send_dm", &arguments, Some(&pointers)).unwrap();
        assert_eq!((message.to.as_str(), message.text.as_str(), message.guessed), ("@real", "this one", false));
    }

    #[test]
    fn other_tools_that_sound_like_sending_are_guessed_and_say_so() {
        for (tool, arguments) in [
            ("sendChatMessage", json!({"chat_id": "@bob", "text": "hi"})),
            ("email-send", json!({"To": "@bob", "Subject": "s", "Body": "hi"})),
            ("reply", json!({"channel": "@bob", "content": "hi"})),
            ("slack_post_message", json!({"channelId": "@bob", "text": "hi"})),
        ] {
            assert_eq!(found(tool, &arguments), Some(("@bob".into(), "hi".into(), true)), "{tool}");
        }
    }

    #[test]
    fn a_mended_text_is_alike_and_another_subject_is_not() {
        assert!(alike("Hey, you owe me 40 euros since May!", "Hi, may I remind you of the 40 euros since May?"));
        assert!(!alike("Hey, you owe me 40 euros since May!", "Shall we have lunch on Friday?"));
        assert!(!alike("", ""));
    }

    #[test]
    fn what_does_not_sound_like_sending_is_no_message() {
        let arguments = json!({"to": "@bob", "message": "hi"});
        for tool in ["delete_message", "read_dms", "list_messages", "message_status", "transfer", "create_user", ""] {
            assert_eq!(found(tool, &arguments), None, "{tool}");
            assert!(!is_message_tool(tool, false), "{tool}");
        }
        assert!(is_message_tool("transfer", true));
        assert!(is_message_tool("send_dm", false));
    }

    #[test]
    fn a_recipient_may_be_any_value_but_the_text_is_a_string() {
        assert_eq!(found("send_message", &json!({"to": 4711, "message": "hi"})), Some(("4711".into(), "hi".into(), false)));
        assert_eq!(found("send_sms", &json!({"to": ["a", "b"], "text": "hi"})), Some((r#"["a","b"]"#.into(), "hi".into(), true)));
        assert_eq!(found("send_message", &json!({"to": "@bob", "message": {"text": "hi"}})), None);
        assert_eq!(found("send_message", &json!({"to": null, "message": "hi"})), None);
        assert_eq!(found("send_message", &json!(["@bob", "hi"])), None);
    }
}
