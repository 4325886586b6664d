//! Hands request bodies in and answers' bodies out, frame by frame, and notices who stops.
//!
//! Must not know what the bytes mean. Neither body allocates per frame.

use std::any::Any;
use std::error::Error;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::Counts;
use super::pulse::{CallGuard, Protocol, Pulse};

/// The body of a request. Trailers are dropped; a client that sends nothing for [`super::Timeouts::body_idle`] while someone
/// waits for it is given up.
#[derive(Debug)]
pub struct RequestBody {
    inner: Incoming,
    idle: Duration,
    /// Made when the first frame has to be waited for, then only ever moved.
    timer: Option<Pin<Box<Sleep>>>,
    waiting_since: Option<Instant>,
    pulse: Arc<Pulse>,
    failed: bool,
}

/// Why a request body did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestBodyError {
    /// Nothing came for the length of `body_idle`.
    #[error("the request body stopped coming; send it without long pauses")]
    TimedOut,
    /// The client closed or reset before the end.
    #[error("the client closed before its request body was complete")]
    ClientGone,
    /// A chunk or frame is not what the protocol allows.
    #[error("the request body is not framed correctly; check the chunk sizes and line ends")]
    Malformed,
}

impl RequestBody {
    /// `pulse` is told of every frame, and when the body has been read to its end.
    pub(super) fn new(inner: Incoming, idle: Duration, pulse: Arc<Pulse>) -> Self {
        let body = RequestBody { inner, idle, timer: None, waiting_since: None, pulse, failed: false };
        body.note_open(!body.inner.is_end_stream());
        body
    }

    fn note_open(&self, open: bool) {
        // An HTTP/2 stream ends by itself; its connection does not depend on it.
        if self.pulse.protocol == Protocol::Http1 {
            self.pulse.set_body_open(open);
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let since = *self.waiting_since.get_or_insert(now);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(since + self.idle)));
        loop {
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let due = since + self.idle;
            if due <= now {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let me = &mut *self;
        if me.failed {
            return Poll::Ready(None);
        }
        loop {
            match Pin::new(&mut me.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                    me.waiting_since = None;
                    me.pulse.moved();
                    if me.inner.is_end_stream() {
                        me.note_open(false);
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(None) => {
                    me.note_open(false);
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(error))) => {
                    me.failed = true;
                    return Poll::Ready(Some(Err(cause_of(&error))));
                }
                Poll::Pending => {
                    if me.poll_timer(cx).is_ready() {
                        me.failed = true;
                        return Poll::Ready(Some(Err(RequestBodyError::TimedOut)));
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// hyper hides the decoder's error as the source of its own; what is not about framing means that the client went away.
fn cause_of(error: &hyper::Error) -> RequestBodyError {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>()
            && matches!(io.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
        {
            return RequestBodyError::Malformed;
        }
        source = cause.source();
    }
    RequestBodyError::ClientGone
}

/// An answer's body failed; the connection does not end cleanly.
pub(super) type BoxError = Box<dyn Error + Send + Sync>;

pin_project_lite::pin_project! {
    /// The body of an answer: the handler's own, with its call kept open to the last byte, and panics kept in.
    ///
    /// An error is told one poll late: hyper forgets what it has not yet written when a body fails, and the last event of a
    /// stream, which says what went wrong, must still go out.
    pub struct CallBody<B> {
        #[pin]
        inner: Option<B>,
        call: CallGuard,
        counts: Arc<Counts>,
        failure: Option<BoxError>,
    }
}

impl<B> CallBody<B> {
    pub(super) fn new(inner: B, call: CallGuard, counts: Arc<Counts>) -> Self {
        CallBody { inner: Some(inner), call, counts, failure: None }
    }

    /// No body.
    pub(super) fn empty(call: CallGuard, counts: Arc<Counts>) -> Self {
        CallBody { inner: None, call, counts, failure: None }
    }
}

impl<B> Body for CallBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut me = self.project();
        me.call.asked();
        if let Some(failure) = me.failure.take() {
            if me.call.is_blocked() {
                // Polled again when the socket takes bytes, or dropped by the watchdog.
                *me.failure = Some(failure);
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err(failure)));
        }
        let Some(inner) = me.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        match catch_unwind(AssertUnwindSafe(|| inner.poll_frame(cx))) {
            Ok(Poll::Ready(Some(Ok(frame)))) => {
                me.call.handed();
                Poll::Ready(Some(Ok(frame)))
            }
            Ok(Poll::Ready(Some(Err(error)))) => {
                me.inner.set(None);
                *me.failure = Some(error.into());
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(Poll::Ready(None)) => Poll::Ready(None),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => {
                Counts::add(count_of_panics(me.counts, &*panic));
                me.inner.set(None);
                *me.failure = Some("the answer broke off inside the gateway".into());
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failure.is_none() && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

/// Logs a panic without its payload's formatting machinery, and says what to count it in.
pub(super) fn count_of_panics<'a>(counts: &'a Counts, panic: &(dyn Any + Send)) -> &'a AtomicU64 {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("unknown"), "a call panicked");
    &counts.panics
}
