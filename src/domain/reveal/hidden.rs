//! Characters that are not seen, that move or cut others, or that mean something else on every machine.
//! A table in the order of the code points; Unicode 16 default-ignorable, format, control, private and
//! unassigned ranges. Called by `reveal`.

/// What the character does, when a reader would not see it; `None` for ordinary characters.
pub(super) fn meaning(c: char) -> Option<&'static str> {
    Some(match c {
        '\n' | '\t' => return None,
        '\r' => "carriage return: may overwrite the line on a terminal",
        '\u{1b}' => "escape: starts terminal commands",
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => "control character, not seen",
        '\u{a0}' | '\u{202f}' => "space that does not break",
        '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{205f}' | '\u{3000}' => "space of unusual width",
        '\u{ad}' => "soft hyphen, seen only at a line's end",
        '\u{34f}' => "invisible joiner",
        '\u{61c}' | '\u{200e}' | '\u{200f}' => "invisible mark that changes the reading direction nearby",
        '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' => "blank letter, not seen",
        '\u{17b4}' | '\u{17b5}' => "vowel that is not seen",
        '\u{180b}'..='\u{180f}' => "Mongolian selector, not seen",
        '\u{200b}' => "space of no width",
        '\u{200c}' => "invisible non-joiner",
        '\u{200d}' => "invisible joiner",
        '\u{2028}' | '\u{2029}' => "hidden line or paragraph break",
        '\u{202d}' | '\u{202e}' => "forces the reading direction: text after it may be shown backwards",
        '\u{202a}'..='\u{202c}' | '\u{2066}'..='\u{2069}' => "changes the reading direction of the text around it",
        '\u{2060}' => "invisible word joiner",
        '\u{2061}'..='\u{2064}' => "invisible mathematical operator",
        '\u{2065}'..='\u{206f}' => "deprecated invisible format character",
        '\u{2800}' => "blank Braille pattern, looks like a space",
        '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}' => "private character: looks different on every machine",
        '\u{fdd0}'..='\u{fdef}' => "code point that is no character",
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => "variation selector, not seen; can carry hidden text",
        '\u{feff}' => "byte order mark, not seen",
        '\u{fff0}'..='\u{fff8}' => "unassigned character",
        '\u{fff9}'..='\u{fffb}' => "interlinear annotation, not seen",
        '\u{fffc}' => "placeholder for an object that is not there",
        '\u{fffe}' | '\u{ffff}' => "code point that is no character",
        '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' => "format character, not seen",
        '\u{e0000}'..='\u{e007f}' => "tag character, not seen; can carry hidden text",
        '\u{323b0}'..='\u{dffff}' | '\u{e0080}'..='\u{e00ff}' | '\u{e01f0}'..='\u{effff}' => "unassigned character",
        c if u32::from(c) & 0xfffe == 0xfffe => "code point that is no character",
        _ => return None,
    })
}

/// A joiner or selector that is part of an ordinary emoji such as a keycap or a profession.
pub(super) fn belongs_to_emoji(before: Option<char>, c: char, after: Option<char>) -> bool {
    match c {
        '\u{fe0e}' | '\u{fe0f}' => match before {
            Some('0'..='9' | '#' | '*') => after == Some('\u{20e3}'),
            Some(before) => is_pictograph(before),
            None => false,
        },
        '\u{200d}' => before.is_some_and(|before| before == '\u{fe0f}' || is_pictograph(before)) && after.is_some_and(is_pictograph),
        _ => false,
    }
}

fn is_pictograph(c: char) -> bool {
    matches!(c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2190}'..='\u{21ff}' | '\u{2300}'..='\u{23ff}'
        | '\u{24c2}' | '\u{25a0}'..='\u{27bf}' | '\u{2900}'..='\u{297f}' | '\u{2b00}'..='\u{2bff}' | '\u{3030}' | '\u{303d}'
        | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}')
}
