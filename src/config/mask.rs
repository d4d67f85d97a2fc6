//! `[mask]`: which arguments hold secrets besides those whose names say so, and which never do. Read by `Config::parse`;
//! a reload can change all of it.

use super::read::Section;
use super::sections::TABLE;
use super::source::Source;
use crate::domain::mask::{Names, is_pattern};

/// Characters of one name.
const NAME_CHARS: usize = 200;

pub(super) fn mask(file: &mut Section<'_>, source: &mut Source<'_>) -> Names {
    let Some(mut section) = file.take(source, "mask").and_then(|node| node.section(source, TABLE)) else { return Names::default() };
    let names = section.take(source, "names").map(|node| names(&node, source)).unwrap_or_default();
    let never = section.take(source, "never").map(|node| self::names(&node, source)).unwrap_or_default();
    section.finish(source);
    Names::new(&names, &never)
}

fn names(node: &super::read::Node<'_>, source: &mut Source<'_>) -> Vec<String> {
    const MEND: &str = "Write a list of names, such as [\"internal_ref\", \"*_code\"]; * stands for any letters.";
    let mut names = Vec::new();
    for item in node.list(source, MEND).unwrap_or_default() {
        let Some(name) = item.text(source, MEND) else { continue };
        if name.chars().count() > NAME_CHARS {
            item.mistake(source, "has more than 200 characters", MEND);
        } else if !is_pattern(name) {
            // It would mask everything, or nothing.
            item.mistake(source, "has no letter or digit", MEND);
        } else {
            names.push(name.to_owned());
        }
    }
    names
}
