//! Which names of arguments say that a secret stands under them. A name is cut into words (`githubToken`,
//! `x-api-key`) and judged by how it ends, because that says what the value is: a `page_token` is a place in a list,
//! `max_tokens` a number, a `secretary` a person. The operator's own names come first. Called by `mask`.

use serde_json::{Map, Value};

/// What a name says of the value below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A secret.
    Secret,
    /// Nothing.
    Open,
    /// The operator says that it is none, whatever it looks like.
    Never,
}

/// The operator's names beside our own (`[mask]`), with `*` for any letters; case, `_`, `-`, `.` and blanks make no
/// difference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    more: Vec<String>,
    never: Vec<String>,
}

/// Endings that need no word of their own before them, written together.
const ENDINGS: [&str; 43] = [
    "password",
    "passwd",
    "passwords",
    "passphrase",
    "passcode",
    "passwort",
    "kennwort",
    "motdepasse",
    "contrase\u{f1}a",
    "wachtwoord",
    "secretvalue",
    "privatekeypem",
    "secret",
    "secrets",
    "token",
    "apikey",
    "apikeys",
    "apitokens",
    "accesstokens",
    "authtokens",
    "refreshtokens",
    "secretkey",
    "privatekey",
    "accesskey",
    "authkey",
    "signingkey",
    "encryptionkey",
    "masterkey",
    "sshkey",
    "licensekey",
    "sharedkey",
    "accountkey",
    "authorization",
    "cookie",
    "cookies",
    "credential",
    "credentials",
    "sessionid",
    "sessionkey",
    "connectionstring",
    "seedphrase",
    "recoveryphrase",
    "cardnumber",
];

/// Last words that say it alone, as whole words.
const LAST_WORDS: [&str; 13] = ["pwd", "otp", "totp", "jwt", "creds", "cvv", "cvv2", "cvc", "mnemonic", "bearer", "pat", "sid", "psk"];

/// Whole names, written together.
const WHOLE: [&str; 22] = [
    "pass",
    "pin",
    "userpass",
    "dbpass",
    "smtppass",
    "imappass",
    "ftppass",
    "cardpin",
    "userpin",
    "simpin",
    "bankpin",
    "accountpin",
    "loginpin",
    "otpcode",
    "mfacode",
    "2facode",
    "twofactorcode",
    "verificationcode",
    "onetimecode",
    "authcode",
    "recoverycodes",
    "backupcodes",
];

/// Words that stay secret whatever stands behind them (`password_hash`, `newPassword2`), unless that is one of `ABOUT`.
const STRONG: [&str; 6] = ["password", "passwd", "passphrase", "passcode", "passwort", "pwd"];
/// Last words of names that tell about a secret rather than being one.
const ABOUT: [&str; 14] =
    ["policy", "length", "strength", "hint", "required", "enabled", "expiry", "expires", "age", "attempts", "rules", "manager", "type", "field"];

/// Last words that only say how a secret is written (`client_secret_value`, `private_key_pem`).
const WRITTEN: [&str; 9] = ["value", "values", "pem", "plain", "plaintext", "raw", "base64", "b64", "encoded"];

/// Members that name what stands beside them, and those that hold it (`{"name": "password", "value": "\u{2026}"}`).
const NAMING: [&str; 7] = ["name", "key", "field", "header", "variable", "param", "parameter"];
const HOLDING: [&str; 3] = ["value", "values", "val"];

/// A token behind one of these is a place in a list, or text that a model counts.
const NO_SECRET_TOKENS: [&str; 22] = [
    "page",
    "next",
    "prev",
    "previous",
    "continuation",
    "cursor",
    "sync",
    "pagination",
    "resume",
    "progress",
    "max",
    "min",
    "stop",
    "eos",
    "bos",
    "pad",
    "per",
    "design",
    "scroll",
    "change",
    "idempotency",
    "unk",
];

impl Names {
    /// Names under which a secret stands besides the known ones, and names under which none ever does.
    pub fn new(more: &[String], never: &[String]) -> Names {
        let written = |names: &[String]| names.iter().map(|name| together(name)).collect();
        Names { more: written(more), never: written(never) }
    }

    /// What a member beside it says of a value: `{"name": "password", "value": "\u{2026}"}`.
    pub(super) fn beside(&self, name: &str, members: &Map<String, Value>) -> Verdict {
        let own = self.verdict(name);
        if own != Verdict::Open || !HOLDING.contains(&together(name).as_str()) {
            return own;
        }
        let naming = members.iter().filter(|(name, _)| NAMING.contains(&together(name).as_str()));
        let verdicts: Vec<Verdict> = naming.filter_map(|(_, value)| Some(self.verdict(value.as_str()?))).collect();
        [Verdict::Secret, Verdict::Never].into_iter().find(|verdict| verdicts.contains(verdict)).unwrap_or(Verdict::Open)
    }

    pub(super) fn verdict(&self, name: &str) -> Verdict {
        let whole = together(name);
        let listed = |patterns: &[String]| patterns.iter().any(|pattern| fits(pattern, &whole));
        if listed(&self.never) {
            Verdict::Never
        } else if listed(&self.more) || is_secret(name, &whole) {
            Verdict::Secret
        } else {
            Verdict::Open
        }
    }
}

/// Whether a pattern could be compared with names at all: something besides the star has to stand in it.
pub fn is_pattern(text: &str) -> bool {
    together(text).chars().any(|letter| letter != '*')
}

fn is_secret(name: &str, whole: &str) -> bool {
    let words = words(name);
    if says_secret(&words, whole) {
        return true;
    }
    // A number or the way it is written behind a name changes nothing: `secret_1`, `token_value`.
    let mut stem: Vec<String> = words.clone();
    while let Some(last) = stem.pop() {
        let bare = last.trim_end_matches(|c: char| c.is_ascii_digit());
        if WRITTEN.contains(&last.as_str()) || bare.is_empty() {
            continue;
        }
        stem.push(bare.to_owned());
        break;
    }
    // The second pass of something is no password, the third pin of a plug no PIN.
    stem != words && !matches!(stem.as_slice(), [one] if one == "pass" || one == "pin") && says_secret(&stem, &stem.concat())
}

fn says_secret(words: &[String], whole: &str) -> bool {
    let Some(last) = words.last() else { return false };
    if WHOLE.contains(&whole) || LAST_WORDS.contains(&last.as_str()) {
        return true;
    }
    if ENDINGS.iter().any(|ending| whole.ends_with(ending)) {
        return whole.strip_suffix("token").is_none_or(|before| !NO_SECRET_TOKENS.iter().any(|word| before.ends_with(word)));
    }
    let strong = |word: &String| STRONG.iter().any(|known| word.trim_end_matches(|c: char| c.is_ascii_digit()) == *known);
    words.iter().any(strong) && !ABOUT.contains(&last.as_str())
}

/// The letters and digits of a name in lower case, with the stars of a pattern.
fn together(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric() || *c == '*').flat_map(char::to_lowercase).collect()
}

/// `githubToken`, `GITHUB_TOKEN` and `github-token` are the same two words.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && after_lower) {
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

/// A pattern with stars against a name, in time of their product at most.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(before) = last.replace(part) {
            let Some(at) = rest.find(before) else { return false };
            rest = &rest[at + before.len()..];
        }
    }
    last.map_or(rest.is_empty(), |end| rest.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_hold_secrets_are_known_in_every_spelling() {
        for name in [
            "password",
            "Password",
            "user_password",
            "userPassword",
            "NEW-PASSWORD",
            "password2",
            "password_hash",
            "passwordConfirmation",
            "dbpassword",
            "passwd",
            "pwd",
            "passphrase",
            "pass",
            "smtp_pass",
            "secret",
            "client_secret",
            "clientSecret",
            "webhookSecret",
            "secrets",
            "token",
            "githubToken",
            "github_token",
            "GITHUB_TOKEN",
            "githubtoken",
            "access_token",
            "accessToken",
            "refresh-token",
            "claim_token",
            "api_key",
            "apikey",
            "apiKey",
            "APIKey",
            "x-api-key",
            "X_API_KEY",
            "secret_access_key",
            "aws_secret_key",
            "private_key",
            "privateKey",
            "ssh_key",
            "authorization",
            "Authorization",
            "proxy-authorization",
            "cookie",
            "Set-Cookie",
            "session_cookie",
            "session_id",
            "sessionid",
            "sessionId",
            "credential",
            "credentials",
            "creds",
            "pin",
            "PIN",
            "card_pin",
            "otp",
            "otp_code",
            "totp",
            "mfa_code",
            "jwt",
            "id_jwt",
            "bearer",
            "cvv",
            "card_number",
            "connection_string",
            "seed_phrase",
            "mnemonic",
            "verification_code",
            "passwort",
            "Neues_Passwort",
            "client_secret_value",
            "secretValue",
            "token_value",
            "bearer_token_value",
            "private_key_pem",
            "secret_1",
            "secret1",
            "api_key_2",
            "tokenSecret1",
        ] {
            assert_eq!(Names::default().verdict(name), Verdict::Secret, "{name}");
        }
    }

    #[test]
    fn names_that_only_sound_like_it_are_left_open() {
        for name in [
            "max_tokens",
            "maxTokens",
            "tokens_used",
            "tokens",
            "token_count",
            "token_type",
            "tokenizer",
            "page_token",
            "pageToken",
            "next_page_token",
            "nextPageToken",
            "continuation_token",
            "sync_token",
            "progressToken",
            "max_token",
            "secretary",
            "secretariat",
            "secret_name",
            "author",
            "authority",
            "authored_by",
            "passenger",
            "passport",
            "compass",
            "bypass",
            "boarding_pass",
            "password_policy",
            "password_length",
            "passwordStrength",
            "key",
            "keys",
            "keyboard",
            "public_key",
            "primary_key",
            "sort_key",
            "spin",
            "pinned",
            "pin_message",
            "opinion",
            "shipping",
            "postal_code",
            "pincode",
            "zip_code",
            "country_code",
            "code",
            "cookie_policy",
            "session",
            "to",
            "text",
            "message",
            "recipient",
            "chat_id",
            "user_id",
            "page_token_value",
            "max_tokens_2",
            "max_token_1",
            "token_count_1",
            "pass_2",
            "key_1",
            "value",
            "value_1",
            "auth",
            "auth_value",
            "author_2",
            "1",
            "",
        ] {
            assert_eq!(Names::default().verdict(name), Verdict::Open, "{name}");
        }
    }

    #[test]
    fn the_operator_adds_names_and_takes_names_out() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let names = Names::new(&list(&["x-internal-*", "*salary*", "iban"]), &list(&["Session_ID", "claim*token"]));
        for (name, verdict) in [
            ("xInternalRef", Verdict::Secret),
            ("x_internal_", Verdict::Secret),
            ("internal", Verdict::Open),
            ("net-salary-2026", Verdict::Secret),
            ("IBAN", Verdict::Secret),
            ("iban2", Verdict::Open),
            ("sessionId", Verdict::Never),
            ("claim_token", Verdict::Never),
            ("claim_the_token", Verdict::Never),
            ("claim_tokens_not", Verdict::Open),
            ("password", Verdict::Secret),
        ] {
            assert_eq!(names.verdict(name), verdict, "{name}");
        }
        assert!(is_pattern("a*") && !is_pattern("*") && !is_pattern("-_") && !is_pattern(""));
    }

    #[test]
    fn a_pattern_is_matched_from_end_to_end() {
        for (pattern, name, expected) in [
            ("a*b*c", "abc", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "ac", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("*a", "ba", true),
            ("ab", "abc", false),
            ("**b", "ab", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
