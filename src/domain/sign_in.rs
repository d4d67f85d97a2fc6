//! What an operator may choose about signing in: `[sign_in]` of `config.toml`. Here, and not in `config`, because `gate`
//! keeps to it and may not read a configuration.

use std::time::Duration;

/// `[sign_in]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInSettings {
    /// Whether a password lets in those who have set one.
    pub passwords: bool,
    /// A session ends this long after it was opened, whatever happens.
    pub session: Duration,
    /// A session that nobody uses for so long has ended.
    pub idle: Duration,
}

impl Default for SignInSettings {
    fn default() -> SignInSettings {
        SignInSettings { passwords: true, session: Duration::from_secs(12 * 3600), idle: Duration::from_secs(2 * 3600) }
    }
}
