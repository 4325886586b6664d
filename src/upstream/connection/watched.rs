//! Watches what passes over the socket of a connection: how much, when last, and whether it can still be written to.
//!
//! Must not know HTTP. An upstream may answer and close before it has read the whole request; the write that then
//! fails must not hide the answer, so it counts as done, and the reading side says how the connection ended.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::net::joined;
use crate::upstream::open::Socket;

/// What was seen. Written by the socket, read by the call that drives it: always the same task, hence relaxed.
pub(super) struct Pulse {
    origin: Instant,
    /// Bytes read and written since the call began.
    read: AtomicU64,
    written: AtomicU64,
    /// Nanoseconds from the origin to the last write.
    wrote_at: AtomicU64,
    broken: AtomicBool,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Pulse {
            origin: Instant::now(),
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            wrote_at: AtomicU64::new(0),
            broken: AtomicBool::new(false),
        }
    }

    pub(super) fn begin_call(&self) {
        self.read.store(0, Ordering::Relaxed);
        self.written.store(0, Ordering::Relaxed);
        self.stamp();
    }

    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn wrote_at(&self) -> Instant {
        self.origin + Duration::from_nanos(self.wrote_at.load(Ordering::Relaxed))
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    fn stamp(&self) {
        let nanos = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.wrote_at.store(nanos, Ordering::Relaxed);
    }

    fn count_write(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        self.stamp();
    }

    /// Takes the error of a connection that the other side no longer reads for "written".
    fn settle_write(&self, outcome: Poll<io::Result<usize>>, offered: usize) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Ok(bytes)) => {
                self.count_write(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) if is_gone(&error) => {
                self.broken.store(true, Ordering::Relaxed);
                Poll::Ready(Ok(offered))
            }
            other => other,
        }
    }
}

/// A socket under watch.
pub(super) struct Watched {
    socket: Socket,
    pulse: Arc<Pulse>,
}

impl Watched {
    pub(super) fn new(socket: Socket, pulse: Arc<Pulse>) -> Self {
        Watched { socket, pulse }
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.socket).poll_read(cx, buf);
        let more = buf.filled().len().saturating_sub(before);
        self.pulse.read.fetch_add(more as u64, Ordering::Relaxed);
        outcome
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.pulse.is_broken() {
            return Poll::Ready(Ok(buf.len()));
        }
        let outcome = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.pulse.settle_write(outcome, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let offered = bufs.iter().map(|buf| buf.len()).sum();
        if self.pulse.is_broken() {
            return Poll::Ready(Ok(offered));
        }
        let outcome = joined::poll_write(&mut self.socket, cx, bufs);
        self.pulse.settle_write(outcome, offered)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pulse.is_broken() {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut self.socket).poll_flush(cx) {
            Poll::Ready(Err(error)) if is_gone(&error) => {
                self.pulse.broken.store(true, Ordering::Relaxed);
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pulse.is_broken() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
