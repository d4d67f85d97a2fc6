//! Lines of a child's output with a cap on their length; what is longer is read to its end and thrown away,
//! so that the next line is found. Called by `process` for stdout and stderr, and by `front` for its own input.

use std::io;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

pub(in crate::mcp) enum Line {
    /// Without its line break.
    Whole(Vec<u8>),
    /// Its first bytes, as many as the cap.
    TooLong { head: Vec<u8> },
}

pub(in crate::mcp) struct Lines<R> {
    from: BufReader<R>,
    cap: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(in crate::mcp) fn new(from: R, cap: usize) -> Lines<R> {
        Lines { from: BufReader::with_capacity(64 << 10, from), cap }
    }

    /// The next line; `None` at the end. A last line without a break counts.
    pub(in crate::mcp) async fn next(&mut self) -> io::Result<Option<Line>> {
        let (mut line, mut too_long, mut any) = (Vec::new(), false, false);
        loop {
            let chunk = self.from.fill_buf().await?;
            if chunk.is_empty() {
                break;
            }
            any = true;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            let room = self.cap - line.len();
            too_long |= part.len() > room;
            line.extend_from_slice(&part[..part.len().min(room)]);
            let used = part.len() + usize::from(end.is_some());
            self.from.consume(used);
            if end.is_some() {
                break;
            }
        }
        Ok(match (any, too_long) {
            (false, _) => None,
            (true, false) => Some(Line::Whole(line)),
            (true, true) => Some(Line::TooLong { head: line }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_over_the_cap_is_thrown_away_and_the_next_one_found() {
        let mut lines = Lines::new(&b"12345\n123456789\nab\n\nend"[..], 5);
        let mut seen = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            seen.push(match line {
                Line::Whole(text) => String::from_utf8(text).unwrap(),
                Line::TooLong { head } => format!("too long: {}", String::from_utf8(head).unwrap()),
            });
        }
        assert_eq!(seen, ["12345", "too long: 12345", "ab", "", "end"]);
    }
}
