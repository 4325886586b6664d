//! Carries the body of an upstream's answer to whoever reads it, and keeps its time-outs.
//!
//! Must not know what the bytes mean. When the body has ended, its connection goes back to the shelf at once; when it
//! is dropped before that, the socket is closed in the same moment.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::connection::{Connection, Limits};
use super::pool::Shelf;
use super::timer::{after, earlier};
use super::{UpstreamError, Waited};
use crate::simulator::SimBody;

/// The body of an upstream's answer, wherever it comes from.
pub enum UpstreamBody {
    /// From a server, over a connection.
    Network(NetworkBody),
    /// From the built-in simulator.
    Simulated(SimBody),
}

/// A body that arrives over a connection.
pub struct NetworkBody {
    incoming: Incoming,
    /// `None` when the body has ended, well or badly.
    connection: Option<Box<Connection>>,
    shelf: Arc<Shelf>,
    limits: Limits,
    /// Since when the next piece is waited for; `None` while pieces come without a wait.
    waiting: Option<Instant>,
}

impl NetworkBody {
    pub(super) fn new(incoming: Incoming, connection: Box<Connection>, shelf: Arc<Shelf>, limits: Limits) -> Self {
        let mut body = NetworkBody { incoming, connection: Some(connection), shelf, limits, waiting: None };
        if body.incoming.is_end_stream() {
            body.finish();
        }
        body
    }

    /// The body is whole: its connection is free for the next call.
    fn finish(&mut self) {
        if let Some(mut connection) = self.connection.take()
            && connection.ready_again()
        {
            self.shelf.put(connection);
        }
    }

    fn fail(&mut self, error: UpstreamError) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        self.connection = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for NetworkBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = self.get_mut();
        loop {
            let Some(connection) = &mut this.connection else {
                return Poll::Ready(None);
            };
            match connection.poll_body(cx, &mut this.incoming) {
                Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                    this.waiting = None;
                    if this.incoming.is_end_stream() {
                        this.finish();
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                // Trailers: not announced to the client, so not passed on (RFC 9110 6.5.1).
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => return this.fail(error),
                Poll::Ready(None) => {
                    this.finish();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    let since = *this.waiting.get_or_insert_with(Instant::now);
                    let silent = after(since, this.limits.timeouts.idle);
                    if connection.poll_past(cx, earlier(silent, this.limits.end)).is_pending() {
                        return Poll::Pending;
                    }
                    let total = this.limits.end.is_some_and(|end| Instant::now() >= end);
                    let waited = if total { Waited::Total } else { Waited::Idle };
                    return this.fail(UpstreamError::TimedOut(waited));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        match self.get_mut() {
            UpstreamBody::Network(body) => Pin::new(body).poll_frame(cx),
            UpstreamBody::Simulated(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|cut| UpstreamError::Cut(cut.to_string())))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            UpstreamBody::Network(body) => body.is_end_stream(),
            UpstreamBody::Simulated(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            UpstreamBody::Network(body) => body.size_hint(),
            UpstreamBody::Simulated(body) => body.size_hint(),
        }
    }
}

impl std::fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            UpstreamBody::Network(_) => f.write_str("UpstreamBody::Network"),
            UpstreamBody::Simulated(_) => f.write_str("UpstreamBody::Simulated"),
        }
    }
}
