//! What a person must see: a text cut into runs, with invisible, bidirectional and look-alike characters named.
//! Nothing is dropped and nothing is interpreted: joining the runs' sources gives the text back.
//! Called by `web` for every agent text, by `notify` for mails and by `cli` for terminals.

mod hidden;
mod lookalike;

/// A run of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// Shown as it is.
    Plain(String),
    /// A character that would not be seen, would move others, or pretends to be another.
    Marked {
        /// The character itself.
        source: char,
        /// What is shown instead, for example `U+202E`; a look-alike's label begins with the letter itself.
        label: String,
        /// What it does, in plain words.
        meaning: &'static str,
    },
}

/// Cuts a text into runs; line feeds and tabs stay in plain ones.
pub fn reveal(text: &str) -> Vec<Run> {
    let characters: Vec<char> = text.chars().collect();
    let foreign = lookalike::foreign(&characters);
    let mut runs = Vec::new();
    let mut plain = String::new();
    for (index, &source) in characters.iter().enumerate() {
        // Only what stays plain can be the beginning of an emoji.
        let before = plain.chars().next_back();
        let after = characters.get(index + 1).copied();
        let marked = match hidden::meaning(source) {
            Some(_) if hidden::belongs_to_emoji(before, source, after) => None,
            Some(meaning) => Some((format!("U+{:04X}", u32::from(source)), meaning)),
            None => foreign.get(&index).map(|meaning| (format!("{source} U+{:04X}", u32::from(source)), *meaning)),
        };
        match marked {
            None => plain.push(source),
            Some((label, meaning)) => {
                if !plain.is_empty() {
                    runs.push(Run::Plain(std::mem::take(&mut plain)));
                }
                runs.push(Run::Marked { source, label, meaning });
            }
        }
    }
    if !plain.is_empty() {
        runs.push(Run::Plain(plain));
    }
    runs
}

/// The same for a text that has to stay on its line: line feeds and tabs are named too, and no plain run holds a
/// control character.
pub fn reveal_line(text: &str) -> Vec<Run> {
    let mut runs = Vec::new();
    for run in reveal(text) {
        let Run::Plain(plain) = run else {
            runs.push(run);
            continue;
        };
        for part in plain.split_inclusive(['\n', '\t']) {
            let named = match part.chars().next_back() {
                Some(source @ '\n') => Some((source, "line feed: begins a new line")),
                Some(source @ '\t') => Some((source, "tab: a blank of any width")),
                _ => None,
            };
            let rest = part.trim_end_matches(['\n', '\t']);
            if !rest.is_empty() {
                runs.push(Run::Plain(rest.to_owned()));
            }
            runs.extend(named.map(|(source, meaning)| Run::Marked { source, label: format!("U+{:04X}", u32::from(source)), meaning }));
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn marked(text: &str) -> Vec<String> {
        let runs = reveal(text).into_iter();
        runs.filter_map(|run| if let Run::Marked { label, .. } = run { Some(label) } else { None }).collect()
    }

    fn joined(runs: &[Run]) -> String {
        runs.iter().fold(String::new(), |mut all, run| {
            match run {
                Run::Plain(text) => all.push_str(text),
                Run::Marked { source, .. } => all.push(*source),
            }
            all
        })
    }

    #[test]
    fn ordinary_text_of_any_script_is_one_plain_run() {
        for text in [
            "Hello Bob,\n\tsee you at 5.",
            "Zo\u{eb}, Stra\u{df}e, na\u{ef}ve e\u{301}",
            "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442}, Bob",
            "\u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{645}\u{631}\u{62d}\u{628}\u{627}",
            "\u{4f60}\u{597d}\u{ff0c}\u{4e16}\u{754c}",
            "\u{2764}\u{fe0f} \u{1f469}\u{200d}\u{1f4bb} 1\u{fe0f}\u{20e3} \u{1f44d}\u{1f3fd} \u{1f1e9}\u{1f1ea}",
        ] {
            assert_eq!(reveal(text), vec![Run::Plain(text.to_owned())], "{text}");
        }
        assert!(reveal("").is_empty());
    }

    #[test]
    fn a_joiner_behind_something_that_is_marked_is_marked_too() {
        let marked = reveal("\u{fe0f}\u{200d}\u{1f600}").into_iter().filter(|run| matches!(run, Run::Marked { .. })).count();
        assert_eq!(marked, 2);
    }

    #[test]
    fn what_cannot_be_seen_is_named() {
        for (text, label) in [
            ("a\u{202e}b", "U+202E"),
            ("a\u{2066}b", "U+2066"),
            ("a\u{61c}b", "U+061C"),
            ("a\u{200b}b", "U+200B"),
            ("a\u{200d}b", "U+200D"),
            ("a\u{ad}b", "U+00AD"),
            ("a\u{feff}b", "U+FEFF"),
            ("a\u{e0041}b", "U+E0041"),
            ("a\u{fe0f}b", "U+FE0F"),
            ("a\u{e0100}b", "U+E0100"),
            ("a\u{2062}b", "U+2062"),
            ("a\u{2028}b", "U+2028"),
            ("a\u{a0}b", "U+00A0"),
            ("a\u{3164}b", "U+3164"),
            ("a\u{fff9}b", "U+FFF9"),
            ("a\u{e000}b", "U+E000"),
            ("a\u{0}b", "U+0000"),
            ("a\u{1b}b", "U+001B"),
            ("a\rb", "U+000D"),
            ("a\u{7f}b", "U+007F"),
            ("a\u{85}b", "U+0085"),
            ("a\u{fffff}b", "U+FFFFF"),
        ] {
            assert_eq!(marked(text), vec![label.to_owned()], "{text:?}");
        }
    }

    #[test]
    fn on_one_line_its_ends_are_named_too() {
        let named = |source, meaning| Run::Marked { source, label: format!("U+{:04X}", u32::from(source)), meaning };
        let (feed, tab) = (named('\n', "line feed: begins a new line"), named('\t', "tab: a blank of any width"));
        let plain = |text: &str| Run::Plain(text.to_owned());
        assert_eq!(reveal_line("a\n\n\tb\n"), [plain("a"), feed.clone(), feed.clone(), tab, plain("b"), feed]);
        assert_eq!(reveal_line("a \u{202e}"), reveal("a \u{202e}"));
    }

    #[test]
    fn letters_that_pretend_to_be_latin_are_marked_and_whole_words_of_another_script_are_not() {
        assert_eq!(marked("p\u{430}ypal.com"), vec!["\u{430} U+0430"]);
        assert_eq!(marked("G\u{39f}OGLE"), vec!["\u{39f} U+039F"]);
        assert_eq!(marked("\u{43c}\u{43e}c\u{43a}\u{432}\u{430}"), vec!["c U+0063"]);
        assert!(marked("\u{41c}\u{43e}\u{441}\u{43a}\u{432}\u{430} Moscow \u{391}\u{3b8}\u{3ae}\u{3bd}\u{3b1}").is_empty());
    }

    proptest! {
        #[test]
        fn joining_the_sources_gives_the_text_back(text in any::<String>()) {
            prop_assert_eq!(joined(&reveal(&text)), text.clone());
            prop_assert_eq!(joined(&reveal_line(&text)), text);
        }

        #[test]
        fn no_plain_run_moves_a_line_or_a_cursor(text in "([a-z\u{430}]|\\PC|\\pC|[\u{0}-\u{1f}\u{7f}-\u{9f}\u{2028}\u{2029}]){0,40}") {
            let moves = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
            for (runs, kept) in [(reveal(&text), ['\n', '\t'].as_slice()), (reveal_line(&text), &[])] {
                for run in runs {
                    let (Run::Plain(shown) | Run::Marked { label: shown, .. }) = run;
                    prop_assert!(!shown.contains(|c| moves(c) && !kept.contains(&c)), "{:?}", shown);
                }
            }
        }

        #[test]
        fn no_hidden_character_is_ever_inside_a_plain_run(text in "[a-z\u{430}\u{1f600}\u{200b}-\u{200f}\u{202a}-\u{202e}\u{2060}-\u{206f}\u{fe00}-\u{fe0f}\u{e0000}-\u{e01ef}\u{0}-\u{1f}\u{7f}-\u{a0}\u{ad}]{0,60}") {
            for run in reveal(&text) {
                let Run::Plain(plain) = run else { continue };
                let all: Vec<char> = plain.chars().collect();
                for (index, c) in all.iter().enumerate() {
                    let before = index.checked_sub(1).map(|i| all[i]);
                    prop_assert!(hidden::meaning(*c).is_none() || hidden::belongs_to_emoji(before, *c, all.get(index + 1).copied()), "{:04X}", u32::from(*c));
                    let never = matches!(*c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{e0000}'..='\u{e01ef}');
                    prop_assert!(!never, "{:04X}", u32::from(*c));
                }
            }
        }
    }
}
