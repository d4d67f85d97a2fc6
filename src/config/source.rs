//! The text being read, and what was found wrong in it so far. Reading goes on after a mistake, so that an
//! operator learns of all of them at once; where each key stands is remembered for mistakes that only show
//! later, when the rules are compiled. Used by every section's reader.

use super::Mistake;
use super::read::Node;
use super::secret::Secret;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Bytes of a file that holds one secret.
const SECRET_BYTES: u64 = 64 << 10;

/// One configuration text under way to a `Config`.
pub(super) struct Source<'a> {
    file: &'a str,
    text: &'a str,
    /// Where each line starts.
    lines: Vec<usize>,
    base: &'a Path,
    env: &'a dyn Fn(&str) -> Option<String>,
    places: HashMap<String, usize>,
    mistakes: Vec<Mistake>,
    warnings: Vec<Mistake>,
    /// Files that were read beside the text.
    files: Vec<PathBuf>,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a str, text: &'a str, base: &'a Path, env: &'a dyn Fn(&str) -> Option<String>) -> Source<'a> {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(end, _)| end + 1)).collect();
        Source { file, text, lines, base, env, places: HashMap::new(), mistakes: Vec::new(), warnings: Vec::new(), files: Vec::new() }
    }

    /// Remembers where a key stands.
    pub(super) fn note(&mut self, key: &str, at: usize) {
        self.places.insert(key.to_owned(), at);
    }

    /// A mistake at a byte of the text.
    pub(super) fn mistake_at(&mut self, at: usize, key: &str, problem: impl Into<String>, mend: impl Into<String>) {
        let mistake = self.place(at, key, problem.into(), mend.into());
        self.mistakes.push(mistake);
    }

    /// A mistake at a key that was read, or at the nearest table around it.
    pub(super) fn mistake(&mut self, key: &str, problem: impl Into<String>, mend: impl Into<String>) {
        let at = self.nearest(key);
        self.mistake_at(at, key, problem, mend);
    }

    /// Something that works but that the operator should know.
    pub(super) fn warn(&mut self, key: &str, problem: impl Into<String>, mend: impl Into<String>) {
        let warning = self.place(self.nearest(key), key, problem.into(), mend.into());
        self.warnings.push(warning);
    }

    /// Mistakes of another file that belongs to this one.
    pub(super) fn mistakes_elsewhere(&mut self, mistakes: impl Iterator<Item = Mistake>) {
        self.mistakes.extend(mistakes);
    }

    /// Remembers a file that was read, or should have been.
    pub(super) fn note_file(&mut self, path: PathBuf) {
        if !self.files.contains(&path) {
            self.files.push(path);
        }
    }

    /// The files that were read beside the text, in the order in which they were.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.files.clone()
    }

    pub(super) fn has_mistakes(&self) -> bool {
        !self.mistakes.is_empty()
    }

    /// Mistakes and warnings, each in the order of the text, and where every key stands.
    pub(super) fn finish(mut self) -> (Vec<Mistake>, Vec<Mistake>, Places) {
        // This text first, then each other file by itself.
        let file = self.file;
        self.mistakes.sort_by(|one, other| {
            let place = |mistake: &Mistake| (mistake.file != file, mistake.file.clone(), mistake.line, mistake.column);
            place(one).cmp(&place(other))
        });
        self.warnings.sort_by_key(|warning| (warning.line, warning.column));
        let places = self.places.iter().map(|(key, at)| (key.clone(), self.line_and_column(*at))).collect();
        (self.mistakes, self.warnings, Places { file: self.file.to_owned(), keys: places })
    }

    /// A path as the operator wrote it, seen from the folder of the file.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.base.join(path)
    }

    /// A value that may be a secret: a text, `{ env = "NAME" }` or `{ file = "PATH" }`. No mistake repeats it.
    pub(super) fn secret(&mut self, node: &Node<'_>) -> Option<Secret> {
        const MEND: &str = "Write a text, { env = \"NAME\" } or { file = \"PATH\" }.";
        if !node.is_table() {
            return node.text(self, MEND).map(|text| Secret::from(text.to_owned()));
        }
        let mut section = node.section(self, MEND)?;
        let (env, file) = (section.take(self, "env"), section.take(self, "file"));
        section.finish(self);
        match (env, file) {
            (Some(env), None) => self.secret_in_environment(&env),
            (None, Some(file)) => self.secret_in_file(&file),
            _ => {
                self.mistake_at(node.at, &node.key, "must name one source of the secret", MEND);
                None
            }
        }
    }

    fn secret_in_environment(&mut self, node: &Node<'_>) -> Option<Secret> {
        let name = node.text(self, "Write the name of an environment variable.")?;
        match (self.env)(name) {
            Some(value) if !value.is_empty() => Some(Secret::from(value)),
            found => {
                let problem = if found.is_some() { "is empty" } else { "is not set" };
                self.mistake_at(node.at, &node.key, format!("the environment variable {name:?} {problem}"), "Set it where the gateway is started.");
                None
            }
        }
    }

    fn secret_in_file(&mut self, node: &Node<'_>) -> Option<Secret> {
        let name = node.text(self, "Write the path of a file.")?;
        let path = self.resolve(name);
        self.note_file(path.clone());
        match read_secret(&path) {
            Ok(value) => Some(Secret::from(value)),
            Err(problem) => {
                let mend = "The file holds the secret alone, as one text; a path is seen from the folder of this configuration.";
                self.mistake_at(node.at, &node.key, format!("the file {name:?} {problem}"), mend);
                None
            }
        }
    }

    fn nearest(&self, key: &str) -> usize {
        around(key).find_map(|key| self.places.get(key)).copied().unwrap_or(0)
    }

    fn line_and_column(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= at);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        (line, self.text.get(start..at).map_or(0, |before| before.chars().count()) + 1)
    }

    fn place(&self, at: usize, key: &str, problem: String, mend: String) -> Mistake {
        let (line, column) = self.line_and_column(at);
        Mistake { file: self.file.to_owned(), line, column, key: key.to_owned(), problem, mend }
    }
}

/// Where every key of a configuration stands, for what is found out about it later.
#[derive(Debug, Clone, Default)]
pub struct Places {
    file: String,
    /// Line and column, both from 1.
    keys: HashMap<String, (usize, usize)>,
}

impl Places {
    /// A warning at a key, or at the nearest table around it.
    pub fn warning(&self, key: &str, problem: impl Into<String>, mend: impl Into<String>) -> Mistake {
        let (line, column) = around(key).find_map(|key| self.keys.get(key)).copied().unwrap_or_default();
        Mistake { file: self.file.clone(), line, column, key: key.to_owned(), problem: problem.into(), mend: mend.into() }
    }
}

/// The key, the table or list it stands in, and so on.
fn around(key: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(key), |key| key.rfind(['.', '[']).map(|cut| &key[..cut]))
}

fn read_secret(path: &Path) -> Result<String, &'static str> {
    let size = std::fs::metadata(path).map_err(|_| "cannot be read")?;
    if !size.is_file() {
        return Err("is not a file");
    }
    if size.len() > SECRET_BYTES {
        return Err("is larger than 64 KiB");
    }
    let bytes = std::fs::read(path).map_err(|_| "cannot be read")?;
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() { Err("is empty") } else { Ok(text.to_owned()) }
}
