//! What was changed between two texts, word by word, so that nobody has to compare them by eye. Both texts are
//! hostile; the pieces are revealed like everything else. Used by `edit` for edited calls.

use super::shown::Shown;

/// Words of a text that are compared one by one; what lies between a long common beginning and end counts alone.
const MOST_PAIRS: usize = 1_000_000;

/// A piece of both texts, or of one.
#[derive(Debug, Clone)]
pub struct Piece {
    /// `same`, `gone` or `new`.
    pub kind: &'static str,
    /// The words.
    pub text: Shown,
}

/// The pieces in order: what was taken out stands before what came in its place.
pub fn between(before: &str, after: &str) -> Vec<Piece> {
    let (old, new) = (words(before), words(after));
    let start = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
    let left = old.len().min(new.len()) - start;
    let end = old.iter().rev().zip(new.iter().rev()).take(left).take_while(|(one, other)| one == other).count();
    let (old_middle, new_middle) = (&old[start..old.len() - end], &new[start..new.len() - end]);
    let mut pieces = Pieces::default();
    old[..start].iter().for_each(|word| pieces.stayed(word));
    if old_middle.len().saturating_mul(new_middle.len()) > MOST_PAIRS {
        old_middle.iter().for_each(|word| pieces.went(word));
        new_middle.iter().for_each(|word| pieces.came(word));
    } else {
        for (kind, word) in compared(old_middle, new_middle) {
            match kind {
                Kind::Same => pieces.stayed(word),
                Kind::Gone => pieces.went(word),
                Kind::New => pieces.came(word),
            }
        }
    }
    old[old.len() - end..].iter().for_each(|word| pieces.stayed(word));
    pieces.end()
}

#[derive(Clone, Copy)]
enum Kind {
    Same,
    Gone,
    New,
}

/// Words that become pieces. A blank that stayed between two changes belongs to both of them: what was taken out then
/// reads as a sentence, and so does what came in.
#[derive(Default)]
struct Pieces {
    done: Vec<Piece>,
    same: String,
    gone: String,
    new: String,
    blank: String,
}

impl Pieces {
    fn stayed(&mut self, word: &str) {
        let changing = !self.gone.is_empty() || !self.new.is_empty();
        if changing && word.trim().is_empty() {
            self.blank.push_str(word);
            return;
        }
        self.flush_change();
        self.same.push_str(word);
    }

    fn went(&mut self, word: &str) {
        self.begin_change();
        self.gone.push_str(word);
    }

    fn came(&mut self, word: &str) {
        self.begin_change();
        self.new.push_str(word);
    }

    fn begin_change(&mut self) {
        let blank = std::mem::take(&mut self.blank);
        self.gone.push_str(&blank);
        self.new.push_str(&blank);
        Pieces::put(&mut self.done, "same", &mut self.same);
    }

    fn flush_change(&mut self) {
        Pieces::put(&mut self.done, "gone", &mut self.gone);
        Pieces::put(&mut self.done, "new", &mut self.new);
        self.same.push_str(&std::mem::take(&mut self.blank));
    }

    fn put(done: &mut Vec<Piece>, kind: &'static str, text: &mut String) {
        if !text.is_empty() {
            done.push(Piece { kind, text: Shown::new(&std::mem::take(text)) });
        }
    }

    fn end(mut self) -> Vec<Piece> {
        self.flush_change();
        Pieces::put(&mut self.done, "same", &mut self.same);
        self.done
    }
}

/// The longest run of words that both have in the same order stays; the rest is gone or new.
fn compared<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(Kind, &'a str)> {
    let width = new.len() + 1;
    // Row by row from the end: how many words both still have in common from here on.
    let mut common = vec![0u32; (old.len() + 1) * width];
    for (i, one) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            let (below, beside, across) = (common[(i + 1) * width + j], common[i * width + j + 1], common[(i + 1) * width + j + 1]);
            common[i * width + j] = if one == other { across + 1 } else { below.max(beside) };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut pieces = Vec::with_capacity(old.len() + new.len());
    while i < old.len() && j < new.len() {
        if old[i] == new[j] {
            pieces.push((Kind::Same, old[i]));
            i += 1;
            j += 1;
        } else if common[(i + 1) * width + j] >= common[i * width + j + 1] {
            pieces.push((Kind::Gone, old[i]));
            i += 1;
        } else {
            pieces.push((Kind::New, new[j]));
            j += 1;
        }
    }
    pieces.extend(old[i..].iter().map(|word| (Kind::Gone, *word)));
    pieces.extend(new[j..].iter().map(|word| (Kind::New, *word)));
    pieces
}

/// Words, and what stands between them.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut last: Option<bool> = None;
    for (at, letter) in text.char_indices() {
        let is_word = letter.is_alphanumeric();
        if last.is_some_and(|last| last != is_word || !is_word) {
            words.push(&text[start..at]);
            start = at;
        }
        last = Some(is_word);
    }
    if start < text.len() {
        words.push(&text[start..]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reveal::Run;
    use proptest::prelude::*;

    fn told(before: &str, after: &str) -> Vec<(&'static str, String)> {
        let text = |shown: &Shown| {
            let runs = shown.runs.iter().map(|run| match run {
                Run::Plain(text) => text.clone(),
                Run::Marked { source, .. } => source.to_string(),
            });
            runs.collect::<String>()
        };
        between(before, after).iter().map(|piece| (piece.kind, text(&piece.text))).collect()
    }

    #[test]
    fn a_changed_word_stands_alone_between_what_stayed() {
        let pieces = told("You owe me 40 euros, pay now!", "May I remind you of the 40 euros, please!");
        let expected =
            [("gone", "You owe me "), ("new", "May I remind you of the "), ("same", "40 euros, "), ("gone", "pay now"), ("new", "please"), ("same", "!")];
        assert_eq!(pieces, expected.map(|(kind, text)| (kind, text.to_owned())));
        assert_eq!(told("same", "same"), [("same", "same".to_owned())]);
        assert_eq!(told("", "new"), [("new", "new".to_owned())]);
        assert_eq!(told("", ""), []);
    }

    #[test]
    fn two_long_texts_without_anything_in_common_are_shown_whole() {
        let (one, other) = ("a ".repeat(5_000), "b ".repeat(5_000) + "c");
        let pieces = told(&one, &other);
        assert!(pieces.len() < 5 && pieces.iter().any(|(kind, _)| *kind == "gone"));
    }

    proptest! {
        #[test]
        fn each_text_can_be_read_off_the_pieces(before in "[ab \u{e9}\u{202e}\n.]{0,30}", after in "[ab \u{e9}\u{202e}\n.]{0,30}") {
            let pieces = told(&before, &after);
            let read = |without: &str| pieces.iter().filter(|(kind, _)| *kind != without).map(|(_, text)| text.as_str()).collect::<String>();
            prop_assert_eq!(read("new"), before);
            prop_assert_eq!(read("gone"), after);
        }
    }
}
