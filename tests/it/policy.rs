//! PolicyLayer's policy.json, from outside: the published policies unchanged before servers that list the published
//! tools, every case of the shared list, and every example of `docs/policy.md`.

mod cases;
mod docs;
mod elsewhere;
mod listing;
mod seeds;

use std::path::{Path, PathBuf};

/// A file of the kept copies.
fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/policy").join(name)
}

#[test]
fn the_kept_copies_are_what_was_published() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let mut pairs = vec![("policylayer.json".to_owned(), "cases/policylayer.json".to_owned())];
    for name in seeds::NAMES {
        pairs.extend(["policies", "tools"].map(|folder| (format!("seeds/{folder}/{name}.json"), format!("seeds/{folder}/{name}.json"))));
    }
    for (ours, theirs) in pairs {
        let text = std::fs::read_to_string(kept(&ours)).unwrap();
        assert!(text.len() > 100, "{ours}");
        if shared.exists() {
            assert_eq!(text, std::fs::read_to_string(shared.join(&theirs)).unwrap(), "{ours}");
        }
    }
}
