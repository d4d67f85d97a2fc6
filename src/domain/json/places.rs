//! Where each value of a JSON text stands, so that a mistake in a file can be told with its line, and which keys
//! stand twice: serde_json keeps only the last of them. The text was accepted by serde_json before; another one gives
//! wrong places but no panic. Called by the reader of a `policy.json`.

use super::MAX_DEPTH;
use std::collections::{HashMap, HashSet};

/// JSON Pointers (RFC 6901) and the bytes where their keys, or elements of lists, begin.
#[derive(Debug, Default)]
pub struct Places {
    at: HashMap<String, usize>,
    /// Keys that stand twice in one object, with the byte of the second one, in the order of the text.
    pub twice: Vec<(String, usize)>,
}

impl Places {
    /// Walks the text.
    pub fn of(text: &str) -> Places {
        let mut walk = Walk { text: text.as_bytes(), at: 0, pointer: String::new(), room: MAX_DEPTH, found: Places::default() };
        walk.value();
        walk.found
    }

    /// The byte of a place, or of the nearest one around it that is there.
    pub fn nearest(&self, pointer: &str) -> usize {
        let mut pointer = pointer;
        loop {
            if let Some(at) = self.at.get(pointer) {
                return *at;
            }
            let Some(cut) = pointer.rfind('/') else { return 0 };
            pointer = &pointer[..cut];
        }
    }
}

/// A key or a position as one step of a JSON Pointer, with its slash.
pub fn step(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

struct Walk<'t> {
    text: &'t [u8],
    at: usize,
    pointer: String,
    /// Levels that may still be opened here; what lies deeper is refused anyway.
    room: usize,
    found: Places,
}

impl Walk<'_> {
    fn value(&mut self) {
        match self.next() {
            Some(b'{' | b'[') if self.room == 0 => self.at = self.text.len(),
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'"') => drop(self.string()),
            _ => {
                while self.text.get(self.at).is_some_and(|byte| !matches!(byte, b',' | b'}' | b']') && !byte.is_ascii_whitespace()) {
                    self.at += 1;
                }
            }
        }
    }

    fn object(&mut self) {
        self.at += 1;
        self.room -= 1;
        let mut seen = HashSet::new();
        loop {
            match self.next() {
                Some(b'"') => {}
                Some(b'}') | None => break,
                Some(_) => {
                    self.at += 1;
                    continue;
                }
            }
            let (begun, around) = (self.at, self.pointer.len());
            let key = self.string();
            self.pointer.push_str(&step(&key));
            if !seen.insert(key) {
                self.found.twice.push((self.pointer.clone(), begun));
            }
            self.found.at.insert(self.pointer.clone(), begun);
            if self.next() == Some(b':') {
                self.at += 1;
            }
            self.value();
            self.pointer.truncate(around);
        }
        self.at += 1;
        self.room += 1;
    }

    fn array(&mut self) {
        self.at += 1;
        self.room -= 1;
        let mut index = 0usize;
        loop {
            match self.next() {
                Some(b']') | None => break,
                Some(b',') => {
                    self.at += 1;
                    continue;
                }
                Some(_) => {}
            }
            let (begun, around) = (self.at, self.pointer.len());
            self.pointer.push_str(&format!("/{index}"));
            self.found.at.insert(self.pointer.clone(), begun);
            self.value();
            self.pointer.truncate(around);
            // What is no value would not move on.
            self.at += usize::from(self.at == begun);
            index += 1;
        }
        self.at += 1;
        self.room += 1;
    }

    fn string(&mut self) -> String {
        let begun = self.at;
        self.at += 1;
        while self.text.get(self.at).is_some_and(|byte| *byte != b'"') {
            self.at += if self.text.get(self.at) == Some(&b'\\') { 2 } else { 1 };
        }
        self.at += 1;
        self.text.get(begun..self.at).and_then(|text| serde_json::from_slice(text).ok()).unwrap_or_default()
    }

    fn next(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_key_and_element_has_its_place_and_a_missing_one_that_of_what_is_around_it() {
        let text = "{\n \"a/b\": [1, {\"c\" : \"}\\\"\"}],\n \"d\": true, \"d\": {}\n}";
        let places = Places::of(text);
        for (pointer, found) in [("", "{"), ("/a~1b", "\"a/b\""), ("/a~1b/0", "1"), ("/a~1b/1/c", "\"c\""), ("/a~1b/7/x", "\"a/b\""), ("/d/e", "\"d\": {}")] {
            assert!(text[places.nearest(pointer)..].starts_with(found), "{pointer}");
        }
        Places::of(&"[".repeat(1 << 20));
        assert_eq!(places.twice.iter().map(|(pointer, _)| pointer.as_str()).collect::<Vec<_>>(), ["/d"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_walk_panic_or_stay(text in "[\\[\\]{}\":,0-9\\\\a-f \n]{0,80}") {
            Places::of(&text);
        }
    }
}
