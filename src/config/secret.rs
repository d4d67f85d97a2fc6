//! A value that may be printed nowhere: headers and environment of a server often are passwords. Debug shows a
//! mask and there is no Display, so that a log line or an error can never carry one by accident.
//! Made by the reader of `config.toml`, exposed only where a request or a child process is built.

/// A value of a header or of an environment variable.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself; hand it only to what needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Secret {
        Secret(value)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
