//! Letters of another script inside a word: `pаypal` with a Cyrillic а reads like the real name and is another.
//! A word of one script is ordinary text, whatever the script. In a mixed word the rarer script is marked.
//! Called by `reveal`.

use std::collections::HashMap;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    Latin,
    Cyrillic,
    Greek,
}

/// The positions of letters that do not belong to their word, with what they are.
pub(super) fn foreign(characters: &[char]) -> HashMap<usize, &'static str> {
    let mut found = HashMap::new();
    let mut start = 0;
    while start < characters.len() {
        let length = characters[start..].iter().take_while(|c| c.is_alphanumeric()).count();
        mark_word(&characters[start..start + length], start, &mut found);
        start += length.max(1);
    }
    found
}

fn mark_word(word: &[char], start: usize, found: &mut HashMap<usize, &'static str>) {
    let latin = word.iter().filter(|c| script(**c) == Some(Script::Latin)).count();
    let other = word.iter().filter(|c| matches!(script(**c), Some(Script::Cyrillic | Script::Greek))).count();
    if latin == 0 || other == 0 {
        return;
    }
    let latin_is_foreign = latin < other;
    for (offset, &c) in word.iter().enumerate() {
        let meaning = match script(c) {
            Some(Script::Latin) if latin_is_foreign => "Latin letter inside a word of another script",
            Some(Script::Cyrillic | Script::Greek) if !latin_is_foreign => meaning(c),
            _ => continue,
        };
        found.insert(start + offset, meaning);
    }
}

fn script(c: char) -> Option<Script> {
    match c {
        'a'..='z' | 'A'..='Z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' if c != '\u{d7}' && c != '\u{f7}' => Some(Script::Latin),
        '\u{400}'..='\u{52f}' => Some(Script::Cyrillic),
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Some(Script::Greek),
        _ => None,
    }
}

fn meaning(c: char) -> &'static str {
    match c {
        '\u{430}' => "Cyrillic letter that looks like Latin a",
        '\u{435}' => "Cyrillic letter that looks like Latin e",
        '\u{43e}' => "Cyrillic letter that looks like Latin o",
        '\u{440}' => "Cyrillic letter that looks like Latin p",
        '\u{441}' => "Cyrillic letter that looks like Latin c",
        '\u{443}' => "Cyrillic letter that looks like Latin y",
        '\u{445}' => "Cyrillic letter that looks like Latin x",
        '\u{456}' => "Cyrillic letter that looks like Latin i",
        '\u{458}' => "Cyrillic letter that looks like Latin j",
        '\u{455}' => "Cyrillic letter that looks like Latin s",
        '\u{501}' => "Cyrillic letter that looks like Latin d",
        '\u{51b}' => "Cyrillic letter that looks like Latin q",
        '\u{51d}' => "Cyrillic letter that looks like Latin w",
        '\u{410}' | '\u{391}' => "letter that looks like Latin A",
        '\u{412}' | '\u{392}' => "letter that looks like Latin B",
        '\u{421}' => "Cyrillic letter that looks like Latin C",
        '\u{415}' | '\u{395}' => "letter that looks like Latin E",
        '\u{41d}' | '\u{397}' => "letter that looks like Latin H",
        '\u{406}' | '\u{399}' => "letter that looks like Latin I",
        '\u{41a}' | '\u{39a}' => "letter that looks like Latin K",
        '\u{41c}' | '\u{39c}' => "letter that looks like Latin M",
        '\u{39d}' => "Greek letter that looks like Latin N",
        '\u{41e}' | '\u{39f}' => "letter that looks like Latin O",
        '\u{420}' | '\u{3a1}' => "letter that looks like Latin P",
        '\u{405}' => "Cyrillic letter that looks like Latin S",
        '\u{422}' | '\u{3a4}' => "letter that looks like Latin T",
        '\u{425}' | '\u{3a7}' => "letter that looks like Latin X",
        '\u{3a5}' | '\u{4ae}' => "letter that looks like Latin Y",
        '\u{396}' => "Greek letter that looks like Latin Z",
        '\u{3bf}' => "Greek letter that looks like Latin o",
        '\u{3b1}' => "Greek letter that looks like Latin a",
        '\u{3bd}' => "Greek letter that looks like Latin v",
        '\u{3c1}' => "Greek letter that looks like Latin p",
        '\u{400}'..='\u{52f}' => "Cyrillic letter inside a Latin word",
        _ => "Greek letter inside a Latin word",
    }
}
