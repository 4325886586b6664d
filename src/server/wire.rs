//! Carries the bytes of one connection, and notes when they stand still.
//!
//! Must not know calls or refusals. It knows HTTP just enough to replace the bare answer that hyper writes by itself to a
//! head it cannot read, so that also those clients get an error in the usual shape.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::ServerRefusal;
use super::connection::Stream;
use super::pulse::{Protocol, Pulse};
use crate::net::joined;

/// The bytes with which a client says that it speaks HTTP/2 (RFC 9113 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How far we read ahead to see whether a client has hung up behind a request that hyper does not want yet.
const AHEAD: usize = 8 * 1024;

/// Writes a refusal as the bytes of a whole HTTP/1.1 answer.
pub(super) type Render = Arc<dyn Fn(ServerRefusal) -> Bytes + Send + Sync>;

/// The first bytes of a connection, read to learn what it speaks.
#[derive(Debug, Default)]
pub(super) struct Opening {
    bytes: [u8; PREFACE.len()],
    len: u8,
    taken: u8,
}

/// What a client speaks, told from its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    Http1,
    Http2,
    /// It ended before it could be told.
    Nothing,
}

impl Opening {
    /// Reads until it is certain what is spoken: one byte that is not the preface's, or all of it.
    pub(super) async fn listen<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> io::Result<Spoken> {
        loop {
            let have = usize::from(self.len);
            let Some(room) = self.bytes.get_mut(have..).filter(|room| !room.is_empty()) else {
                return Ok(Spoken::Http2);
            };
            let count = stream.read(room).await?;
            if count == 0 {
                return Ok(Spoken::Nothing);
            }
            self.len = self.len.saturating_add(u8::try_from(count).unwrap_or(u8::MAX));
            if !PREFACE.starts_with(self.unread()) {
                return Ok(Spoken::Http1);
            }
        }
    }

    fn unread(&self) -> &[u8] {
        self.bytes.get(usize::from(self.taken)..usize::from(self.len)).unwrap_or_default()
    }
}

/// A stream with its opening put back in front, and a pulse.
pub(super) struct Wire<S> {
    stream: S,
    opening: Opening,
    pulse: Arc<Pulse>,
    render: Render,
    /// What is written in place of hyper's bare refusal.
    replacing: Option<Bytes>,
    /// Whether hyper waits for bytes: its last read found none.
    waiting: bool,
    /// What we read because hyper did not.
    ahead: BytesMut,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, opening: Opening, pulse: Arc<Pulse>, render: Render) -> Self {
        Wire { stream, opening, pulse, render, replacing: None, waiting: false, ahead: BytesMut::new() }
    }
}

impl<S: Stream> Wire<S> {
    /// See [`Stream::reset`].
    pub(super) fn reset(mut self) {
        self.stream.reset();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Says why, in a last answer; as much of it as the socket takes.
    pub(super) async fn refuse(&mut self, refusal: ServerRefusal) -> io::Result<()> {
        let answer = (self.render)(refusal);
        self.stream.write_all(&answer).await
    }

    /// Ends our sending side.
    pub(super) async fn end(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Reads and forgets until the client ends, or `most` bytes are gone.
    pub(super) async fn discard(&mut self, most: u64) -> io::Result<()> {
        let mut bin = vec![0; 16 * 1024];
        let mut left = most;
        while left > 0 {
            let count = self.stream.read(&mut bin).await?;
            if count == 0 {
                break;
            }
            left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    /// Writes the replacement; ready when all of it is out.
    fn poll_replacement(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(answer) = self.replacing.as_mut().filter(|answer| answer.has_remaining()) {
            let count = noted(&self.pulse, Pin::new(&mut self.stream).poll_write(cx, answer));
            let count = ready!(count)?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            answer.advance(count);
        }
        self.replacing = None;
        Poll::Ready(Ok(()))
    }

    /// Notices that the client hung up although hyper does not read, because the next request stands before the end. An
    /// error here makes hyper drop the call.
    fn look_ahead(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.ahead.len() < AHEAD {
            let mut piece = [0; 512];
            let mut piece = ReadBuf::new(&mut piece);
            match Pin::new(&mut self.stream).poll_read(cx, &mut piece) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if piece.filled().is_empty() => return Err(io::ErrorKind::ConnectionAborted.into()),
                Poll::Ready(Ok(())) => self.ahead.extend_from_slice(piece.filled()),
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        Ok(())
    }

    fn notice_bare_refusal(&mut self, head: &[u8]) {
        if self.replacing.is_none()
            && self.pulse.head_since() != 0
            && let Some(refusal) = bare_refusal(head)
        {
            self.replacing = Some((self.render)(refusal));
        }
    }
}

/// Which refusal hyper means by the bare answer that it gives by itself, if this is one. Such an answer has no body, so one
/// of the gateway's is never taken for it.
fn bare_refusal(head: &[u8]) -> Option<ServerRefusal> {
    let status = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?;
    let refusal = match status.first_chunk::<3>()? {
        b"400" => {
            ServerRefusal::BadRequest { why: "The request head is not valid HTTP/1.1, or its framing is ambiguous." }
        }
        b"414" => ServerRefusal::UriTooLong,
        b"431" => ServerRefusal::HeadersTooLarge,
        _ => return None,
    };
    let bare = memchr::memmem::find(head, b"\r\ncontent-length: 0\r\n").is_some() && head.ends_with(b"\r\n\r\n");
    bare.then_some(refusal)
}

fn noted(pulse: &Pulse, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
    match outcome {
        Poll::Pending => pulse.blocked(),
        Poll::Ready(_) => pulse.wrote(),
    }
    outcome
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let me = &mut *self;
        let opening = me.opening.unread();
        if !opening.is_empty() {
            let count = opening.len().min(buf.remaining());
            buf.put_slice(opening.get(..count).unwrap_or_default());
            me.opening.taken = me.opening.taken.saturating_add(u8::try_from(count).unwrap_or(u8::MAX));
        }
        if !me.ahead.is_empty() {
            let count = me.ahead.len().min(buf.remaining());
            buf.put_slice(&me.ahead.split_to(count));
        }
        let outcome =
            if buf.remaining() > 0 { Pin::new(&mut me.stream).poll_read(cx, buf) } else { Poll::Ready(Ok(())) };
        me.waiting = outcome.is_pending();
        let count = buf.filled().len().saturating_sub(before);
        if count > 0 {
            me.pulse.read(count);
            if me.pulse.is_flooded() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            return Poll::Ready(Ok(()));
        }
        outcome
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let me = &mut *self;
        me.notice_bare_refusal(buf);
        if me.replacing.is_some() {
            ready!(me.poll_replacement(cx))?;
            return Poll::Ready(Ok(buf.len()));
        }
        noted(&me.pulse, Pin::new(&mut me.stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = &mut *self;
        if let [only] = bufs {
            me.notice_bare_refusal(only);
        }
        if me.replacing.is_some() {
            ready!(me.poll_replacement(cx))?;
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        noted(&me.pulse, joined::poll_write(&mut me.stream, cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes at the end of every turn, whether there is something to flush or not.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.waiting && self.pulse.calls() > 0 && !self.pulse.body_open() && self.pulse.protocol == Protocol::Http1
        {
            self.look_ahead(cx)?;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Does nothing: how the connection ends is decided when hyper has let go of it.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn spoken(pieces: &[&[u8]]) -> (Spoken, usize) {
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        let mut opening = Opening::default();
        for piece in pieces {
            theirs.write_all(piece).await.unwrap();
        }
        drop(theirs);
        let spoken = opening.listen(&mut ours).await.unwrap();
        (spoken, opening.unread().len())
    }

    #[tokio::test]
    async fn only_the_whole_preface_is_http_2() {
        assert_eq!(spoken(&[PREFACE]).await, (Spoken::Http2, 24));
        assert_eq!(spoken(&[&PREFACE[..14]]).await, (Spoken::Nothing, 14));
        assert_eq!(spoken(&[b"P", b"OST / HTTP/1.1\r\n"]).await.0, Spoken::Http1);
        assert_eq!(spoken(&[b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n"]).await.0, Spoken::Http1);
        assert_eq!(spoken(&[]).await, (Spoken::Nothing, 0));
    }

    proptest::proptest! {
        #[test]
        fn what_is_spoken_does_not_depend_on_how_the_bytes_arrive(
            same in 0_usize..=24,
            rest in proptest::collection::vec(proptest::num::u8::ANY, 0..30),
            portion in 1_usize..30,
        ) {
            let bytes = [&PREFACE[..same], &rest].concat();
            let expected = if bytes.starts_with(PREFACE) {
                Spoken::Http2
            } else if PREFACE.starts_with(&bytes) {
                Spoken::Nothing
            } else {
                Spoken::Http1
            };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let pieces: Vec<&[u8]> = bytes.chunks(portion).collect();
            proptest::prop_assert_eq!(runtime.block_on(spoken(&pieces)).0, expected);
        }
    }

    #[test]
    fn only_an_answer_without_body_or_type_is_taken_for_hypers_own() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        assert_eq!(bare_refusal(bare), Some(ServerRefusal::HeadersTooLarge));
        assert_eq!(bare_refusal(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 9\r\n\r\n{\"a\":\"b\"}"), None);
        assert_eq!(bare_refusal(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), None);
        assert_eq!(bare_refusal(b"HTTP/1.1 4"), None);
        assert_eq!(bare_refusal(b""), None);
    }
}
