//! `policy = "FILE"`: a PolicyLayer policy.json, read from beside the configuration. A mistake in it is told with the
//! name of that file, line and JSON Pointer; one that cannot be read is a mistake at the key. Called by `rules` and `cli`.

use super::Mistake;
use super::read::Section;
use super::source::Source;
use crate::domain::policy::{Document, DocumentMistake, LARGEST_DOCUMENT};
use std::io::ErrorKind;
use std::path::Path;

const MEND: &str = "Write the path of a policy.json, such as policy = \"policies/demo.json\"; it is seen from the folder of this configuration.";

/// The document of one server, if it names one and every key of it could be read.
pub(super) fn document(section: &mut Section<'_>, source: &mut Source<'_>) -> Option<Document> {
    let node = section.take(source, "policy")?;
    let name = node.text(source, MEND)?;
    let path = source.resolve(name);
    source.note_file(path.clone());
    let text = match read_document(&path) {
        Ok(text) => text,
        Err(problem) => {
            node.mistake(source, format!("the file {name:?} {problem}"), MEND);
            return None;
        }
    };
    let file = path.display().to_string();
    Document::read(&text).map_err(|mistakes| source.mistakes_elsewhere(mistakes.into_iter().map(|mistake| in_file(&file, mistake)))).ok()
}

/// The text of a policy.json; the error is the rest of a sentence about the file.
fn read_document(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => "is not there".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    let size = std::fs::metadata(path).map_err(cannot)?;
    if !size.is_file() {
        return Err("is not a file".to_owned());
    }
    if usize::try_from(size.len()).map_or(true, |size| size > LARGEST_DOCUMENT) {
        return Err("is larger than 1 MiB".to_owned());
    }
    let bytes = std::fs::read(path).map_err(cannot)?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        format!("is not UTF-8 in line {}", before.iter().filter(|byte| **byte == b'\n').count() + 1)
    })
}

/// Reads one file by itself, as commands do.
pub fn read_policy(path: &Path) -> Result<Document, Vec<Mistake>> {
    let file = path.display().to_string();
    let unreadable = |problem| Mistake { file: file.clone(), line: 0, column: 0, key: String::new(), problem, mend: "Name a policy.json.".to_owned() };
    let text = read_document(path).map_err(|problem| vec![unreadable(problem)])?;
    Document::read(&text).map_err(|mistakes| mistakes.into_iter().map(|mistake| in_file(&file, mistake)).collect())
}

/// The same mistake with the name of its file.
fn in_file(file: &str, mistake: DocumentMistake) -> Mistake {
    let DocumentMistake { pointer, line, column, problem, mend } = mistake;
    Mistake { file: file.to_owned(), line, column, key: pointer, problem, mend }
}
