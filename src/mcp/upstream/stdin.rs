//! What a child reads: one message a line, as many in one write as wait for it. A message counts as left when its first
//! byte is written and not before, however many stand behind each other, so that what a child did not take in can still
//! be kept back (semantics.md 19). Fed by `process`.

use super::leave::Leave;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Messages taken from the queue at once.
const AT_ONCE: usize = 64;
/// Bytes of one write of several messages; as many as a pipe holds (pipe(7), Linux).
const TOGETHER: usize = 64 << 10;

/// A message on its way, with its line break; one without a `Leave` goes in any case.
pub(super) struct Said {
    line: String,
    leave: Option<Arc<Leave>>,
}

impl Said {
    pub(super) fn new(text: String, leave: Option<Arc<Leave>>) -> Said {
        let mut line = one_line(text);
        line.push('\n');
        Said { line, leave }
    }
}

/// A message must be one line. Raw line breaks stand only between JSON tokens, never inside a string.
fn one_line(text: String) -> String {
    let has = |byte| text.as_bytes().contains(&byte);
    if has(b'\n') || has(b'\r') { text.replace(['\n', '\r'], " ") } else { text }
}

/// Writes until nobody can say anything any more, the child does not read any more, or `hang_up` fires.
pub(super) async fn write<W: AsyncWrite + Unpin>(mut to: W, mut queue: mpsc::Receiver<Said>, hang_up: CancellationToken) {
    let (mut taken, mut waiting) = (Vec::new(), Waiting::default());
    loop {
        tokio::select! {
            () = hang_up.cancelled() => return,
            more = queue.recv_many(&mut taken, AT_ONCE) => if more == 0 {
                return;
            },
        }
        waiting.lines.extend(taken.drain(..));
        while !waiting.lines.is_empty() {
            let wrote = tokio::select! {
                () = hang_up.cancelled() => return,
                wrote = poll_fn(|cx| waiting.write(&mut to, cx)) => wrote,
            };
            if wrote.is_err() {
                return;
            }
        }
    }
}

/// Messages that are being written, the first perhaps in part.
#[derive(Default)]
struct Waiting {
    lines: VecDeque<Said>,
    /// Bytes of the first line that are written.
    begun: usize,
    together: Vec<u8>,
}

impl Waiting {
    /// Writes once, as much as is taken. An error means that nothing is read any more.
    fn write<W: AsyncWrite + Unpin>(&mut self, to: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(leaving) = self.leave() else { return Poll::Ready(Ok(())) };
        let alone = self.lines.front().filter(|_| leaving == 1).map(|said| &said.line.as_bytes()[self.begun..]);
        let bytes = alone.unwrap_or(&self.together);
        let wrote = Pin::new(to).poll_write(cx, bytes);
        match &wrote {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(written)) => self.left(leaving, *written),
            Poll::Ready(Err(_)) | Poll::Pending => self.left(leaving, 0),
        }
        wrote.map_ok(drop)
    }

    /// Lets messages go, as many as are written together; how many. Those that were kept back are gone.
    fn leave(&mut self) -> Option<usize> {
        if self.begun == 0 {
            while self.lines.front().is_some_and(|said| !said.goes()) {
                self.lines.pop_front();
            }
        }
        let mut length = self.lines.front()?.line.len() - self.begun;
        let mut leaving = 1;
        while let Some(next) = self.lines.get(leaving).filter(|next| length + next.line.len() <= TOGETHER) {
            if next.goes() {
                length += next.line.len();
                leaving += 1;
            } else {
                self.lines.remove(leaving);
            }
        }
        self.together.clear();
        if leaving > 1 {
            let rest = self.begun;
            for (at, said) in self.lines.iter().take(leaving).enumerate() {
                self.together.extend_from_slice(&said.line.as_bytes()[if at == 0 { rest } else { 0 }..]);
            }
        }
        Some(leaving)
    }

    /// So many bytes of them were written; the messages behind are still here.
    fn left(&mut self, leaving: usize, mut written: usize) {
        let mut of_them = leaving;
        while let Some(first) = self.lines.front().filter(|_| of_them > 0) {
            let rest = first.line.len() - self.begun;
            if written < rest {
                break;
            }
            written -= rest;
            self.begun = 0;
            self.lines.pop_front();
            of_them -= 1;
        }
        self.begun += written;
        let untouched = usize::from(self.begun > 0);
        for said in self.lines.iter().take(of_them).skip(untouched) {
            if let Some(leave) = &said.leave {
                leave.is_still_here();
            }
        }
    }
}

impl Said {
    fn goes(&self) -> bool {
        self.leave.as_ref().is_none_or(|leave| leave.go())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    fn said(text: &str) -> (Said, Arc<Leave>) {
        let leave = Arc::new(Leave::default());
        (Said::new(text.to_owned(), Some(Arc::clone(&leave))), leave)
    }

    #[tokio::test]
    async fn what_waits_is_written_at_once_and_what_was_kept_back_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let (tell, queue) = mpsc::channel(8);
        let (messages, leaves): (Vec<_>, Vec<_>) = ["{\"a\":\n1}", "b", "c"].map(said).into_iter().unzip();
        assert!(leaves[1].stay());
        for message in messages {
            tell.try_send(message).ok().unwrap();
        }
        tell.try_send(Said::new("d".to_owned(), None)).ok().unwrap();
        drop(tell);
        write(ours, queue, CancellationToken::new()).await;
        let mut read = String::new();
        theirs.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "{\"a\": 1}\nc\nd\n");
        assert!(!leaves[0].stay() && leaves[1].stay() && !leaves[2].stay());
    }

    #[tokio::test]
    async fn a_message_of_which_no_byte_was_taken_can_be_kept_back_though_others_went_with_it() {
        let (mut ours, mut theirs) = tokio::io::duplex(7);
        let (messages, leaves): (Vec<_>, Vec<_>) = ["one", "two2", "three", "four"].map(said).into_iter().unzip();
        let mut waiting = Waiting { lines: messages.into(), ..Waiting::default() };
        poll_fn(|cx| waiting.write(&mut ours, cx)).await.unwrap();
        // "one\n" and "two" are in the pipe; the rest of the second has to follow.
        assert!(!leaves[0].stay() && !leaves[1].stay());
        assert!(leaves[2].stay(), "no byte of it has left");
        let full = futures_util::poll!(poll_fn(|cx| waiting.write(&mut ours, cx)));
        assert!(full.is_pending());
        let mut read = [0; 7];
        theirs.read_exact(&mut read).await.unwrap();
        poll_fn(|cx| waiting.write(&mut ours, cx)).await.unwrap();
        assert!(waiting.lines.is_empty() && leaves[2].stay() && !leaves[3].stay());
        drop(ours);
        let mut rest = String::new();
        theirs.read_to_string(&mut rest).await.unwrap();
        assert_eq!((&read[..], rest.as_str()), (&b"one\ntwo"[..], "2\nfour\n"));
    }
}
