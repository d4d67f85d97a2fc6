//! `paraph audit`: the chain as a file, and whether a file still holds. Exporting streams in pages up to the
//! head that was signed first, so that entries written meanwhile do not matter; verifying needs only the file.
//! Called by `cli`.

use super::fault::Fault;
use super::settings::Where;
use super::terminal;
use crate::control::{Answer, Line, Request, ask};
use crate::domain::export::{self, Seal, Summary, UncleanStart, Verifier};
use clap::{Args, Subcommand};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Bytes of one line of a file; entries are far smaller.
const LINE: u64 = 16 << 20;

/// `paraph audit …`.
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Write the audit as one JSON line per entry and a signed last line
    #[command(after_help = "\
Examples:
  paraph audit export > audit.ndjson
  paraph audit export --from 1000 --out audit.ndjson")]
    Export {
        /// The first entry's number
        #[arg(long, value_name = "SEQ", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        from: u64,
        /// Write here instead of to standard output; an existing file is not overwritten
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Check an export; prints the last entry's number and hash
    Verify(Verify),
    /// Print the public key that signs exports
    #[command(after_help = "Examples:\n  paraph audit verify audit.ndjson --key \"$(paraph audit key)\"")]
    Key,
}

/// `paraph audit verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  paraph audit verify audit.ndjson
  paraph audit verify audit.ndjson --key \"$(paraph audit key)\"
  paraph audit verify audit.ndjson --head sha256:…   a hash that the gateway logged when it stopped
  paraph audit export | paraph audit verify -

Exit code 0 when the file is whole, 1 when it is broken (says in which line and what is missing). Without --key the
key in the file only shows that the file is one piece: whoever rewrites a file can sign it with a key of their own.
Without --head an older, shorter export is as good as the newest: a hash that was kept elsewhere is the way to find
out that the end was cut off.")]
pub(super) struct Verify {
    /// The file; - reads standard input
    file: PathBuf,
    /// A hash that an entry of the file must have; says which one
    #[arg(long, value_name = "HASH")]
    head: Option<String>,
    /// The public key that must have signed
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Audit {
    pub(super) async fn run(self, place: &Where) -> Result<ExitCode, Fault> {
        match self {
            Audit::Export { from, out } => {
                let mut line = Box::pin(Line::open(&place.store()?)).await?;
                let done = export_to(&mut line, from, out.as_deref()).await;
                line.close().await;
                done.map(|()| ExitCode::SUCCESS)
            }
            Audit::Verify(verify) => verify.run(),
            Audit::Key => match Box::pin(ask(&place.store()?, Request::Key {})).await?.answer {
                Answer::Key(key) => {
                    terminal::say(&key);
                    Ok(ExitCode::SUCCESS)
                }
                _ => Err(unexpected()),
            },
        }
    }
}

async fn export_to(line: &mut Line, from: u64, out: Option<&Path>) -> Result<(), Fault> {
    let Answer::Seal(seal) = line.ask(Request::Seal {}).await?.answer else { return Err(unexpected()) };
    if from > 1 && from > seal.head.seq {
        return Err(Fault::new(1, format!("there is no entry {from} yet; the last one is {}", seal.head.seq)));
    }
    let done = match out {
        Some(path) => {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Fault::usage(format!("{} exists already and is not overwritten: choose another name", path.display())),
                _ => Fault::file(path, &error),
            })?;
            let mut writer = BufWriter::new(file);
            write_all(line, from, &seal, &mut writer).await?;
            writer.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all())
        }
        None => write_all(line, from, &seal, &mut io::stdout()).await.map(|()| Ok(()))?,
    };
    done.map_err(|error| Fault::new(1, format!("the export could not be written: {error}")))?;
    terminal::note(&format!("Entries {from} to {}; the last hash is {}.", seal.head.seq, seal.head.hash));
    Ok(())
}

async fn write_all<W: Write>(line: &mut Line, from: u64, seal: &Seal, to: &mut W) -> Result<(), Fault> {
    let failed = |error: io::Error| Fault::new(1, format!("the export could not be written: {error}"));
    let mut next = from;
    while next <= seal.head.seq {
        let Answer::Entries(entries) = line.ask(Request::Entries { from: next }).await?.answer else { return Err(unexpected()) };
        let mut page = String::new();
        for entry in entries.iter().filter(|entry| entry.seq <= seal.head.seq) {
            if entry.seq != next {
                return Err(Fault::new(1, format!("the store gave entry {} where entry {next} belongs", entry.seq)));
            }
            page.push_str(&export::line(entry).map_err(|error| failed(error.into()))?);
            page.push('\n');
            next += 1;
        }
        if page.is_empty() {
            return Err(Fault::new(1, format!("the store has no entry {next}, although its last one is {}", seal.head.seq)));
        }
        to.write_all(page.as_bytes()).map_err(failed)?;
    }
    let last = export::line(seal).map_err(|error| failed(error.into()))?;
    to.write_all(format!("{last}\n").as_bytes()).and_then(|()| to.flush()).map_err(failed)
}

impl Verify {
    fn run(self) -> Result<ExitCode, Fault> {
        if self.key.as_deref().is_some_and(|key| !export::is_public_key(key)) {
            return Err(Fault::usage("--key wants a public key as `paraph audit key` prints it"));
        }
        let head = self.head.as_deref().map(hash).transpose()?;
        let verifier = Verifier::new(self.key.clone(), head);
        let checked = if self.file == Path::new("-") {
            read(verifier, io::stdin().lock())
        } else {
            let file = File::open(&self.file).map_err(|error| Fault::file(&self.file, &error))?;
            read(verifier, BufReader::new(file))
        };
        match checked.map_err(|error| Fault::file(&self.file, &error))? {
            Ok(summary) => {
                self.tell(&summary);
                Ok(ExitCode::SUCCESS)
            }
            Err(mistake) => {
                if self.json {
                    terminal::say(&serde_json::json!({ "whole": false, "line": mistake.line, "seq": mistake.seq, "problem": mistake.problem }).to_string());
                }
                Err(Fault::new(1, format!("{} is broken: {mistake}", self.file.display())))
            }
        }
    }

    fn tell(&self, summary: &Summary) {
        if self.json {
            let mut value = serde_json::to_value(summary).unwrap_or_default();
            value["whole"] = true.into();
            terminal::say(&terminal::json(&value, true));
        } else {
            terminal::say(&format!("{} {}", summary.seq, summary.hash));
        }
        if summary.first > 1 {
            terminal::note(&format!("The file starts at entry {}; what came before is not in the file.", summary.first));
        }
        if let Some(seq) = summary.head_at {
            let after = match summary.seq.saturating_sub(seq) {
                0 => "it is the last entry".to_owned(),
                1 => "one entry comes after it".to_owned(),
                more => format!("{more} entries come after it"),
            };
            terminal::note(&format!("The hash asked for is that of entry {seq}: {after}."));
        }
        for UncleanStart { seq, at, after } in &summary.unclean_starts {
            terminal::note(&format!(
                "Entry {seq}: the gateway started at {at} after an unclean stop. After entry {after}, facts of reading tools of at most the last 100 ms before the stop may be missing."
            ));
        }
        if !summary.restored.is_empty() {
            let entries: Vec<String> = summary.restored.iter().take(20).map(ToString::to_string).collect();
            terminal::note(&format!("Restored from a backup at entry {}: what was written after the backup is not in this chain.", entries.join(", ")));
        }
        if !summary.key_pinned {
            terminal::note(&format!("Signed by the key {}, which stands in the file itself; compare it with `paraph audit key`, or give --key.", summary.key));
        }
    }
}

/// The outer error: the file cannot be read. The inner one: it is broken.
fn read<R: BufRead>(mut verifier: Verifier, mut from: R) -> io::Result<Result<Summary, export::Mistake>> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if from.by_ref().take(LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(verifier.finish());
        }
        let (text, ended) = line.strip_suffix(b"\n").map_or((&line[..], false), |text| (text, true));
        if let Err(mistake) = verifier.take(text, ended) {
            return Ok(Err(mistake));
        }
    }
}

/// A hash as the log, `verify` or an export has it; the prefix may be missing.
fn hash(text: &str) -> Result<String, Fault> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    if digits.len() != 64 || !digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(Fault::usage("--head wants a hash as the gateway logs it when it stops: sha256: and 64 digits"));
    }
    // The head of an audit without an entry is 64 zeros and nothing else.
    let none_yet = digits.bytes().all(|digit| digit == b'0');
    Ok(if none_yet { digits.to_owned() } else { format!("sha256:{digits}") })
}

fn unexpected() -> Fault {
    Fault::new(3, "the running gateway gave another answer than was asked for; restart it")
}
