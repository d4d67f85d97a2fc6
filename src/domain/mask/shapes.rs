//! What a secret looks like wherever it stands: the marks that issuers put on their keys, tokens, key files, addresses
//! with a password in them. Every expression takes time linear in the text. What has no mark of its own, such as a plain
//! password, a card number or an encoded key, is known by its name alone. Called by `mask` for arguments and answers,
//! and for the warning beside a message's text.

use super::keys::{Names, Verdict};
use regex::{Regex, RegexBuilder};
use std::ops::Range;
use std::sync::LazyLock;

/// A stretch of text that looks like a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Bytes of the text.
    pub at: Range<usize>,
    /// What it looks like, as a noun with its article.
    pub what: &'static str,
}

struct Shape {
    what: &'static str,
    regex: Regex,
    /// Only in a message's text, where more is worth a second look.
    in_text: bool,
    fits: fn(&str) -> bool,
}

/// What it is, its pattern, and what must be true of a match.
type Written = (&'static str, &'static str, fn(&str) -> bool);

// `\b` of Unicode would make the automaton slow on every letter beyond ASCII.
const SHAPES: [Written; 22] = [
    ("a private key", r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\z)", any),
    ("an age key", r"AGE-SECRET-KEY-1[0-9A-Z]{20,}", any),
    ("a signed token (JWT)", r"(?-u:\b)eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,3}", any),
    ("a bearer token", r"(?-u:\b)(?i-u:bearer)[ \t]+[A-Za-z0-9._~+/-]{16,}=*", has_digit),
    ("a name and password (Basic)", r"(?-u:\b)(?i-u:basic)[ \t]+[A-Za-z0-9+/_-]{8,}={0,2}", is_basic),
    ("an AWS access key", r"(?-u:\b)(?:AKIA|ASIA)[A-Z0-9]{16}(?-u:\b)", any),
    ("a GitHub token", r"(?-u:\b)(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})", any),
    ("a GitLab token", r"(?-u:\b)gl(?:pat|ptt|dt|rt|soat|cbt|ft|agent|imt|oas)-[A-Za-z0-9_.-]{16,}", any),
    ("a Slack token", r"(?-u:\b)(?:xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{10,})", any),
    (
        "a webhook's address",
        r"(?-u:\b)(?:hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{16,}|discord(?:app)?\.com/api/webhooks/[0-9]+/[A-Za-z0-9_-]{16,})",
        any,
    ),
    ("a Telegram bot token", r"(?-u:\b)[0-9]{8,10}:AA[A-Za-z0-9_-]{32,33}(?-u:\b)", any),
    ("a Stripe key", r"(?-u:\b)(?:(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{16,})", any),
    ("an API key (sk-\u{2026})", r"(?-u:\b)sk-[A-Za-z0-9_-]{20,}", has_digit),
    ("a Google key", r"(?-u:\b)(?:AIza[0-9A-Za-z_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,})", any),
    ("a package registry's token", r"(?-u:\b)(?:npm_[A-Za-z0-9]{30,}|pypi-AgE[A-Za-z0-9_-]{30,}|hf_[A-Za-z0-9]{30,})", any),
    ("a SendGrid key", r"(?-u:\b)SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", any),
    ("a Twilio key", r"(?-u:\b)SK[0-9a-f]{32}(?-u:\b)", any),
    ("a cloud token", r"(?-u:\b)(?:dop_v1_[0-9a-f]{32,}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|hvs\.[A-Za-z0-9_-]{24,})", any),
    // Tokens of agents and people, sessions, and the ids of agents' sessions.
    ("a token of Paraph's", r"(?-u:\b)(?:p[a-z]|ms)_[A-Za-z0-9_-]{43,}", has_digit),
    ("an address with a password", r"[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s/?#@:]{0,200}:[^\s/?#@]{1,256}@", any),
    (
        "a password or key with its name",
        r#"(?i-u:password|passwd|pwd|passphrase|client_secret|secret_key|secret_access_key|passwort|api[_-]?key|access[_-]?token|auth[_-]?token|refresh[_-]?token)["']?[=:]["']?[^\s"'&;,*<{$=:\[][^\s"'&;,]{3,}"#,
        any,
    ),
    ("an address with a token", r"[?&](?i-u:access_token|token|api_?key|key|sig|signature|x-amz-signature|secret|auth|password)=[^\s&#*<{$\[][^\s&#]{7,}", any),
];

/// Further ones, for texts that people write.
const IN_TEXT: [Written; 1] = [(
    "a password, PIN or key",
    r#"(?-u:\b)(?i-u:password|passwort|kennwort|passphrase|passcode|pin|api[ -]key|secret key|access token|token)[ \t]{0,3}(?:(?i-u:is|lautet|ist)[ \t]{1,3}|[:=][ \t]{0,3})["'`]?[^\s"'`*<{$\[][^\s"'`]{3,}"#,
    looks_made,
)];

static ALL: LazyLock<Vec<Shape>> = LazyLock::new(|| {
    let of = |in_text: bool| move |(what, regex, fits): &Written| Some(Shape { what, regex: Regex::new(regex).ok()?, in_text, fits: *fits });
    SHAPES.iter().filter_map(of(false)).chain(IN_TEXT.iter().filter_map(of(true))).collect()
});

/// Words behind a name that are no value.
const NOTHING: [&str; 28] = [
    "none",
    "null",
    "true",
    "false",
    "required",
    "optional",
    "string",
    "hidden",
    "redacted",
    "masked",
    "empty",
    "unset",
    "unknown",
    "option",
    "flag",
    "argument",
    "parameter",
    "must",
    "should",
    "will",
    "from",
    "with",
    "this",
    "that",
    "file",
    "field",
    "missing",
    "invalid",
];

static LINE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(?m)(^|\\n|["'])[ \t]{0,20}(?:-[ \t]{1,8})?([A-Za-z0-9_.-]{1,60})[ \t]{0,8}:[ \t]{1,20}"#).ok());

static OPTION: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"(^|[\s"'=;|&(])--([A-Za-z][A-Za-z0-9_-]{1,40})(?:[ \t]{1,8}|=)"#).ok());

/// The shapes of texts whose letters were folded.
static FOLDED: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let of = |(_, regex, _): &Written| RegexBuilder::new(regex).case_insensitive(true).build().ok();
    SHAPES.iter().filter_map(of).collect()
});

static MEMBER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"["']([A-Za-z0-9_. -]{1,60})\\{0,3}["'][ \t]{0,4}:[ \t]{0,4}"#).ok());

fn any(_: &str) -> bool {
    true
}

fn has_digit(found: &str) -> bool {
    found.bytes().any(|byte| byte.is_ascii_digit())
}

/// `NAME:PASSWORD` in base64 (RFC 7617), not a long word behind "basic".
fn is_basic(found: &str) -> bool {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    let coded = found.rsplit([' ', '\t']).next().unwrap_or_default().trim_end_matches('=');
    STANDARD_NO_PAD.decode(coded).is_ok_and(|plain| plain.contains(&b':') && plain.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ' || *byte > 127))
}

/// Members of JSON within a text under a secret's name, also where the text is itself JSON within JSON.
fn members(text: &str) -> Vec<Found> {
    let Some(regex) = MEMBER.as_ref() else { return Vec::new() };
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(name) = regex.captures_at(text, from) {
        let (Some(whole), Some(name)) = (name.get(0), name.get(1)) else { break };
        from = whole.end();
        let length = text.get(whole.end()..).map_or(0, value);
        if length > 0 && Names::default().verdict(name.as_str()) == Verdict::Secret {
            // What lies within is taken with it, so the text is walked through once.
            from = whole.end() + length;
            found.push(Found { at: whole.start()..from, what: "JSON with a secret in it" });
        }
    }
    found
}

/// Bytes of the value that a text begins with; 0 for a flag, nothing, or what is too short to be a secret.
fn value(text: &str) -> usize {
    let slashes = text.bytes().take_while(|byte| *byte == b'\\').take(15).count();
    let rest = text.get(slashes..).unwrap_or_default();
    let upto = |end: fn(char) -> bool| rest.char_indices().skip(1).find(|(_, c)| end(*c)).map_or(rest.len(), |(at, _)| at);
    match rest.bytes().next() {
        Some(quote @ (b'"' | b'\'')) => {
            let mut run = 0;
            let closed = |byte: u8| byte_closes(byte, quote, slashes, &mut run);
            let within = rest.get(1..).unwrap_or_default();
            let length = within.bytes().position(closed).map_or(within.len(), |at| at - slashes);
            if length < 4 { 0 } else { slashes + 1 + length }
        }
        Some(b'[' | b'{') => {
            let (mut depth, mut run, mut within) = (0_usize, 0_usize, None);
            let closed = |byte: u8| {
                if let Some((quote, slashes)) = within {
                    if byte_closes(byte, quote, slashes, &mut run) {
                        (within, run) = (None, 0);
                    }
                    return false;
                }
                match byte {
                    b'\\' => run += 1,
                    b'"' | b'\'' => (within, run) = (Some((byte, run)), 0),
                    b'[' | b'{' => (depth, run) = (depth + 1, 0),
                    b']' | b'}' => (depth, run) = (depth.saturating_sub(1), 0),
                    _ => run = 0,
                }
                depth == 0
            };
            Some(rest.bytes().position(closed).map_or(rest.len(), |at| at + 1)).filter(|end| *end > 4).unwrap_or(0)
        }
        Some(c) if c.is_ascii_digit() => Some(upto(|c| !c.is_ascii_digit())).filter(|end| *end > 2).unwrap_or(0),
        _ => 0,
    }
}

/// Whether the next byte of a quoted text ends it. Its opening quote has `slashes` backslashes before it, as in JSON
/// within JSON, where a quote that is a part of the text has more. `run` counts the backslashes before the byte.
fn byte_closes(byte: u8, quote: u8, slashes: usize, run: &mut usize) -> bool {
    if byte == b'\\' {
        *run += 1;
        return false;
    }
    let before = std::mem::take(run);
    byte == quote && before % (2 * (slashes + 1)) == slashes
}

/// Lines as `password: hunter2` and `X-Api-Key: hunter2`, and a program's options as `--token hunter2`.
fn lines_and_options(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    for (regex, is_option) in [(LINE.as_ref(), false), (OPTION.as_ref(), true)] {
        let Some(regex) = regex else { continue };
        let mut from = 0;
        while let Some(name) = regex.captures_at(text, from) {
            let (Some(whole), Some(before), Some(name)) = (name.get(0), name.get(1), name.get(2)) else { break };
            from = whole.end();
            if Names::default().verdict(name.as_str()) != Verdict::Secret || (is_option && !self::is_option(name.as_str())) {
                continue;
            }
            let rest = text.get(whole.end()..).unwrap_or_default();
            let length = match rest.chars().next() {
                Some('"' | '\'' | '\\') => value(rest),
                _ => plain(rest, before.as_str(), is_option),
            };
            if length > 0 {
                from = whole.end() + length;
                found.push(Found { at: name.start()..from, what: "a password or key with its name" });
            }
        }
    }
    found
}

/// Whether behind an option of this name stands its value, not a place to find it.
pub(super) fn is_option(name: &str) -> bool {
    !["file", "path", "stdin", "prompt", "command", "cmd", "env"].iter().any(|end| name.to_ascii_lowercase().ends_with(end))
}

/// Bytes of a value without quotes that a text begins with; 0 when that is rather a word of a sentence.
fn plain(text: &str, before: &str, is_option: bool) -> usize {
    const SCHEMES: [&str; 5] = ["bearer", "basic", "digest", "token", "bot"];
    let end = |c: char| match before {
        // Within quotes, and on a line of a text that is itself a part of JSON.
        "\"" | "'" => matches!(c, '"' | '\'' | '\\' | '\r' | '\n'),
        "\\n" => matches!(c, '"' | '\\' | '\r' | '\n'),
        _ if is_option => c.is_whitespace() || matches!(c, '"' | '\''),
        _ => matches!(c, '\r' | '\n'),
    };
    let all = text.split(end).next().unwrap_or_default();
    let mut words = all.split_whitespace().peekable();
    let Some(mut first) = words.next() else { return 0 };
    if let Some(next) = words.peek().filter(|_| SCHEMES.contains(&first.to_ascii_lowercase().as_str())) {
        first = next;
        words.next();
    }
    let word = first.trim_end_matches(['.', ',', '!', '?', ')', ';']);
    let says_nothing = NOTHING.contains(&word.to_ascii_lowercase().as_str()) || word.starts_with(['*', '<', '{', '$', '[', '-']);
    let alone = is_option || words.next().is_none();
    if says_nothing || word.chars().count() < 4 || !(alone || made(word)) { 0 } else { all.trim_end().len() }
}

/// "The password is secret" says nothing; "the password is hunter2" does.
fn looks_made(found: &str) -> bool {
    let word = found.rsplit([' ', '\t', ':', '=', '"', '\'', '`']).next().unwrap_or_default().trim_end_matches(['.', ',', '!', '?', ')']);
    word.chars().count() >= 4 && made(word)
}

/// Whether a word has something in it that words of a sentence have not.
fn made(word: &str) -> bool {
    let odd = |c: char| !c.is_alphanumeric() && !matches!(c, '-' | '\u{2019}');
    word.chars().any(|c| c.is_numeric() || odd(c)) || word.chars().skip(1).any(char::is_uppercase)
}

/// What the first secret in a text looks like, if there is one.
pub(super) fn first(text: &str) -> Option<&'static str> {
    let has = |shape: &&Shape| !shape.in_text && shape.regex.find_iter(text).any(|found| (shape.fits)(found.as_str()));
    let shape = ALL.iter().find(has).map(|shape| shape.what);
    shape.or_else(|| members(text).first().or(lines_and_options(text).first()).map(|found| found.what))
}

/// Whether a text whose letters were folded looks like a secret. What its letters were is not known any more, so it is
/// one when in doubt.
pub(super) fn folded(text: &str) -> bool {
    FOLDED.iter().any(|shape| shape.is_match(text)) || first(text).is_some()
}

/// Everything in a text that looks like a secret, in order and without overlap.
pub(super) fn all(text: &str) -> Vec<Found> {
    gather(text, false)
}

/// The same for a message's text, where a password that is only named as one counts too.
pub fn in_message(text: &str) -> Vec<Found> {
    gather(text, true)
}

/// What the secrets in a message's text look like, each kind once.
pub fn looks_like(text: &str) -> Vec<&'static str> {
    let mut kinds: Vec<&'static str> = Vec::new();
    for found in in_message(text) {
        if !kinds.contains(&found.what) {
            kinds.push(found.what);
        }
    }
    kinds
}

fn gather(text: &str, in_text: bool) -> Vec<Found> {
    let shapes = ALL.iter().filter(|shape| in_text || !shape.in_text);
    let of = |shape: &'static Shape| {
        shape.regex.find_iter(text).filter(|found| (shape.fits)(found.as_str())).map(|found| Found { at: found.range(), what: shape.what })
    };
    joined(shapes.flat_map(of).chain(members(text)).chain(lines_and_options(text)).collect())
}

/// Stretches in order, those that overlap as one.
pub(super) fn joined(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by_key(|one| (one.at.start, std::cmp::Reverse(one.at.end)));
    let mut kept: Vec<Found> = Vec::with_capacity(found.len());
    for one in found {
        match kept.last_mut() {
            Some(before) if one.at.start < before.at.end => before.at.end = before.at.end.max(one.at.end),
            _ => kept.push(one),
        }
    }
    kept
}

/// The text with every secret in it taken out, for sentences that repeat somebody's words.
pub fn blot(text: &str) -> String {
    replace(text, &all(text), |_| "[masked]".to_owned())
}

/// The text with these stretches replaced.
pub(super) fn replace(text: &str, found: &[Found], with: impl Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for one in found {
        out.push_str(text.get(from..one.at.start).unwrap_or_default());
        out.push_str(&with(text.get(one.at.clone()).unwrap_or_default()));
        from = one.at.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Put together here, so that no scanner takes this file for a leak.
    fn examples() -> Vec<(String, &'static str)> {
        let long = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0";
        vec![
            (format!("-----BEGIN {}-----\nMIIB\n-----END {}-----", "RSA PRIVATE KEY", "RSA PRIVATE KEY"), "a private key"),
            (format!("-----BEGIN {}-----\nb3Blbn", "OPENSSH PRIVATE KEY"), "a private key"),
            (format!("ey{}.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U", "JhbGciOiJIUzI1NiJ9"), "a signed token (JWT)"),
            (format!("Bearer {long}"), "a bearer token"),
            ("basic dXNlcjpodW50ZXIyMDI2".to_owned(), "a name and password (Basic)"),
            (format!("AK{}IOSFODNN7EXAMPLE", "IA"), "an AWS access key"),
            (format!("gh{}{long}", "p_"), "a GitHub token"),
            (format!("github_{}{long}", "pat_"), "a GitHub token"),
            (format!("gl{}{long}", "pat-"), "a GitLab token"),
            (format!("xo{}-12345678901-{long}", "xb"), "a Slack token"),
            (format!("https://hooks.slack.com/{}/T0/B0/{long}", "services"), "a webhook's address"),
            (format!("12345678:{}{}", "AA", &long[..33]), "a Telegram bot token"),
            (format!("sk_{}_{long}", "live"), "a Stripe key"),
            (format!("sk-{}{long}", "ant-api03-"), "an API key (sk-\u{2026})"),
            (format!("AI{}{}", "za", &long[..35]), "a Google key"),
            (format!("n{}{long}", "pm_"), "a package registry's token"),
            (format!("SG.{long}.{long}"), "a SendGrid key"),
            (format!("pa_{long}abc"), "a token of Paraph's"),
            ("postgres://app:s3cr3t@db.example.org/app".to_owned(), "an address with a password"),
            ("Server=db;Password=hunter2026;".to_owned(), "a password or key with its name"),
            ("{\"api_key\":\"abcd1234\"}".to_owned(), "a password or key with its name"),
            ("{'n': 1, 'githubToken' : 'abcd1234'}".to_owned(), "JSON with a secret in it"),
            ("{\\\"claim_token\\\": \\\"abcd1234\\\"}".to_owned(), "JSON with a secret in it"),
            ("{\"cookies\": [\"abcd1234\", {\"a\": [1]}], \"to\": 1}".to_owned(), "JSON with a secret in it"),
            ("{\"card\": {\"pin\": 471100, \"x\": true}}".to_owned(), "JSON with a secret in it"),
            ("https://x.example/f?sig=abcdefgh12".to_owned(), "an address with a token"),
        ]
    }

    #[test]
    fn every_shape_is_compiled() {
        assert_eq!(ALL.len(), SHAPES.len() + IN_TEXT.len());
        assert!(MEMBER.is_some());
    }

    #[test]
    fn each_kind_is_found_alone_and_within_a_sentence_and_nothing_of_it_stays() {
        for (secret, what) in examples() {
            assert_eq!(first(&secret), Some(what), "{secret}");
            let text = format!("l\u{f6}ok: {secret} \u{2026} done");
            assert_eq!(first(&text), Some(what), "{text}");
            let blotted = blot(&text);
            assert!(blotted.contains("[masked]") && blotted.starts_with("l\u{f6}ok: "), "{blotted}");
            assert_eq!(first(&blotted), None, "{blotted}");
            assert!(!in_message(&text).is_empty());
        }
    }

    #[test]
    fn a_name_and_a_value_in_lines_headers_options_and_escaped_json_are_found_whole() {
        for text in [
            "user: x\npassword: planted",
            "  - db_password:  planted",
            "X-Api-Key: planted",
            "curl -H 'X-Api-Key: planted' https://x.example",
            "Authorization: Bearer planted",
            "Cookie: sid=1; theme=planted",
            "{\"error\": \"user: x\\npassword: planted\"}",
            "mysql --password planted -h db",
            "tool --token=planted",
            "password: \"a planted\"",
            "passwort=planted",
            r#"{"password": "p\u00e4-planted"}"#,
            r#"{"password": "a\"b planted"}"#,
            r#"{"password": "a\\\"b planted"}"#,
            r#"{\"password\": \"a\\\"b planted\"}"#,
            r#"{"api key": "planted"}"#,
            r#"{"credentials": ["a]b", "planted"], "x": 1}"#,
            r#"{\"credentials\": [\"a]b\", {\"y\": \"planted\"}]}"#,
        ] {
            assert!(first(text).is_some(), "{text}");
            assert!(!blot(text).contains("planted"), "{text} {}", blot(text));
        }
        let both = r#"{"password": "ends in a slash \\\\", "to": "@bob"}"#;
        assert!(blot(both).contains("@bob"), "{}", blot(both));
    }

    #[test]
    fn ordinary_text_looks_like_nothing() {
        for text in [
            "Hello Bob, the slides are ready. Shall I send them?",
            "Basic understanding, basic responsibilities and Bearer certificates are discussed.",
            "sk-learn-tutorial-for-absolute-beginners",
            "The password policy: see https://example.org/password?lang=en",
            "mailto:bob@example.org, https://example.org:8080/a@b, ftp://example.org/x",
            "Meet at 12:30; order 4532015112830366; id 550e8400-e29b-41d4-a716-446655440000",
            "password=*** and token={{token}}",
            "eyJ is how a JWT begins",
            r#"{"page_token": "abcd1234", "to": "@bob, api_key: none", "token": true, "secret": null, "password": ""}"#,
            "public key: -----BEGIN PUBLIC KEY-----",
            "password: required\ntoken: null\nmax_tokens: 4000\npage_token: abcd1234\nauthor: Bob1",
            "Password: please ask the owner for it",
            "use the --password option, or --password-file /run/secret, or --token-prompt; --max-tokens 4000",
        ] {
            assert_eq!((first(text), in_message(text)), (None, Vec::new()), "{text}");
        }
    }

    #[test]
    fn a_password_that_somebody_tells_in_words_is_worth_a_look_in_a_message_only() {
        for text in ["The password is hunter2.", "Your PIN: 4711", "passwort: sommer24!", "the API key = aBcDeF"] {
            assert_eq!(in_message(text).len(), 1, "{text}");
        }
        for text in ["The password is secret.", "Your pin: nice", "The token is gone, sorry", "pin it to the board"] {
            assert!(in_message(text).is_empty(), "{text}");
        }
        assert_eq!(first("The password is hunter2."), None);
    }

    #[test]
    fn secrets_that_overlap_are_one_stretch() {
        let token = format!("gh{}{}", "p_", "a1".repeat(20));
        let text = format!("a https://u:{token}@example.org b {token}");
        let found = all(&text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(!blot(&text).contains(&token));
    }
}
