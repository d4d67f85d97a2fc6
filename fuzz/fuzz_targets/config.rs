//! A `config.toml`: read or refused, never a panic, and every mistake names a line of the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paraph::config::Config;
use std::path::Path;

fuzz_target!(|text: &str| {
    if let Err(mistakes) = Config::parse(text, "config.toml", Path::new("/nowhere"), &|_| None) {
        assert!(!mistakes.is_empty());
        assert!(mistakes.iter().all(|mistake| mistake.file != "config.toml" || mistake.line <= text.lines().count().max(1) + 1));
    }
});
