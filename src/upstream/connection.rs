//! Sends one request after another over one connection to an upstream.
//!
//! Must not know the pool, nor what a request means. hyper's connection is no task of its own here: whoever waits for
//! the answer drives it. So no event crosses from task to task, and dropping the call, or its answer, closes the
//! socket within the same drop.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::ledger::Seat;
use super::open::Socket;
use super::outgoing::{OutBody, Sent};
use super::timer::{Timer, after, earlier};
use super::{Timeouts, UpstreamError, Waited};

mod watched;
use watched::{Pulse, Watched};

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// What may be read before an answer's head is whole: several interim answers (1xx), but no flood of them.
const MAX_BEFORE_HEAD: u64 = 2 * MAX_HEAD as u64;
/// hyper's buffer for reading grows from 8 KiB to at most this, when large bodies fill it. Bodies of 10 MiB cost the same
/// time with anything from 64 KiB to 400 KiB; an idle connection keeps its buffer.
const MAX_BUFFER: usize = 128 * 1024;

type Wire = http1::Connection<TokioIo<Watched>, OutBody>;

/// Whom a connection leads to; idle ones are kept apart by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) socket: SocketAddr,
    /// The name that TLS was spoken with.
    pub(super) tls: Option<Arc<str>>,
}

/// A connection and all that belongs to it.
pub(super) struct Connection {
    pub(super) address: Address,
    /// Takes no new call after this.
    pub(super) retires: Option<Instant>,
    /// An unused one is closed after this; zero: never for that reason.
    pub(super) idle_limit: Duration,
    /// When it was last put on the shelf.
    pub(super) shelved: Instant,
    /// `None` once it has ended, which closes the socket.
    wire: Option<Wire>,
    sender: http1::SendRequest<OutBody>,
    pulse: Arc<Pulse>,
    relay: Arc<Relay>,
    waker: Waker,
    timer: Timer,
    reusable: bool,
    seat: Seat,
}

/// What a call may take, from one of its moments on.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) timeouts: Timeouts,
    /// The end of the call as a whole.
    pub(super) end: Option<Instant>,
}

/// Why a request got no answer.
pub(super) enum SendFault {
    /// The connection had ended before anything was written: the request comes back, and may be sent elsewhere.
    Unsent(Box<Request<OutBody>>),
    /// Anything else.
    Failed(UpstreamError),
}

impl Connection {
    /// Makes a fresh socket speak HTTP/1.1.
    ///
    /// # Errors
    /// When hyper refuses the socket, which it has no reason to.
    pub(super) async fn new(socket: Socket, address: Address, seat: Seat) -> Result<Self, UpstreamError> {
        let pulse = Arc::new(Pulse::new());
        let io = TokioIo::new(Watched::new(socket, Arc::clone(&pulse)));
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_BUFFER).max_header_size(MAX_HEAD);
        let (sender, wire) = builder.handshake(io).await.map_err(|error| UpstreamError::Connect(describe(&error)))?;
        let relay = Arc::new(Relay::default());
        Ok(Connection {
            address,
            retires: None,
            idle_limit: Duration::ZERO,
            shelved: Instant::now(),
            wire: Some(wire),
            sender,
            waker: Waker::from(Arc::clone(&relay)),
            pulse,
            relay,
            timer: Timer::default(),
            reusable: true,
            seat,
        })
    }

    /// Sends `request`, marks `sent` with its first bytes, and waits for the head of the answer. Dropping the future leaves a connection that must be
    /// dropped too.
    pub(super) async fn send(
        &mut self,
        request: Request<OutBody>,
        limits: Limits,
        sent: Option<&Sent>,
    ) -> Result<Response<Incoming>, SendFault> {
        self.pulse.begin_call();
        let mut unmarked = sent;
        let reply = self.sender.try_send_request(request);
        let mut reply = pin!(reply);
        std::future::poll_fn(|cx| {
            self.relay.enter(cx.waker());
            self.turn();
            if self.pulse.written() > 0
                && let Some(sent) = unmarked
                && sent.has_body()
            {
                sent.mark_since(self.pulse.wrote_at());
                unmarked = None;
            }
            // Only `turn` brings the reply about, so it need not wake anybody.
            let outcome = reply.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            self.relay.leave();
            match outcome {
                Poll::Ready(Ok(response)) => return Poll::Ready(self.receive(response).map_err(SendFault::Failed)),
                Poll::Ready(Err(mut error)) => {
                    let unsent = error.take_message();
                    let fault = unsent.map_or_else(
                        || SendFault::Failed(self.lost(&error.into_error())),
                        |request| SendFault::Unsent(Box::new(request)),
                    );
                    return Poll::Ready(Err(fault));
                }
                Poll::Pending => {}
            }
            if self.pulse.read() > MAX_BEFORE_HEAD {
                let flood = UpstreamError::Protocol("too much was sent before the answer's head".to_owned());
                return Poll::Ready(Err(SendFault::Failed(flood)));
            }
            // Counted from the last piece of the request that went out, so that a long upload is no silence; and not while a client
            // is waited for, whose own time-out runs then.
            let upstreams_turn = !sent.is_some_and(Sent::awaits_body);
            let silent = upstreams_turn.then(|| after(self.pulse.wrote_at(), limits.timeouts.first_byte)).flatten();
            if self.timer.poll_past(cx, earlier(silent, limits.end)).is_pending() {
                self.relay.make_up(cx);
                return Poll::Pending;
            }
            let total = limits.end.is_some_and(|end| Instant::now() >= end);
            let waited = if total { Waited::Total } else { Waited::FirstByte };
            Poll::Ready(Err(SendFault::Failed(UpstreamError::TimedOut(waited))))
        })
        .await
    }

    /// The next piece of the answer's body, as soon as it is there.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Incoming,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        self.relay.enter(cx.waker());
        let mut piece = poll_incoming(body);
        if piece.is_pending() {
            self.turn();
            piece = poll_incoming(body);
        }
        self.relay.leave();
        match piece {
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(UpstreamError::Cut(describe(&error))))),
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if self.wire.is_none() => {
                Poll::Ready(Some(Err(UpstreamError::Cut("the connection was closed".to_owned()))))
            }
            Poll::Pending => {
                self.relay.make_up(cx);
                Poll::Pending
            }
        }
    }

    /// Ready when `deadline` has passed; registers the task otherwise.
    pub(super) fn poll_past(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        self.timer.poll_past(cx, deadline)
    }

    /// Whether another request may be sent: request and answer are whole, and neither side wants to close.
    pub(super) fn ready_again(&mut self) -> bool {
        if !self.reusable || self.pulse.is_broken() {
            return false;
        }
        if !self.sender.is_ready() {
            self.turn();
        }
        self.wire.is_some() && self.sender.is_ready()
    }

    /// Whether it is too old for another call.
    pub(super) fn is_retired(&self, now: Instant) -> bool {
        self.retires.is_some_and(|end| now >= end)
    }

    /// Whether an idle connection can still be used; notices one that the upstream has closed.
    pub(super) fn still_good(&mut self, now: Instant) -> bool {
        if self.is_retired(now) {
            return false;
        }
        if !self.idle_limit.is_zero() && now.saturating_duration_since(self.shelved) >= self.idle_limit {
            return false;
        }
        self.turn();
        self.wire.is_some() && self.sender.is_ready()
    }

    /// Lets go of the task that last used it.
    pub(super) fn rest(&mut self, now: Instant) {
        self.shelved = now;
        self.relay.forget();
    }

    /// Closes the socket; its place among the upstream's connections is free for another.
    pub(super) fn into_seat(self) -> Seat {
        self.seat
    }

    /// Lets hyper read and write what it can.
    fn turn(&mut self) {
        let Some(wire) = &mut self.wire else { return };
        self.relay.missed.store(false, Ordering::SeqCst);
        let mut cx = Context::from_waker(&self.waker);
        if Pin::new(wire).poll(&mut cx).is_ready() {
            self.wire = None;
        }
    }

    /// Checks what hyper leaves to us: framing that two readers may understand differently, and switched protocols.
    fn receive(&mut self, mut response: Response<Incoming>) -> Result<Response<Incoming>, UpstreamError> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::Protocol("it switched protocols unasked".to_owned()));
        }
        self.reusable = response.version() == Version::HTTP_11;
        self.heed_keep_alive(response.headers());
        if response.headers().contains_key(TRANSFER_ENCODING) {
            let mut codings = response.headers().get_all(TRANSFER_ENCODING).iter();
            let chunked = codings.next().is_some_and(|only| only.as_bytes().eq_ignore_ascii_case(b"chunked"));
            if !chunked || codings.next().is_some() {
                return Err(UpstreamError::Protocol("it used a transfer coding other than chunked".to_owned()));
            }
            // RFC 9112 6.3: the coding wins, the length goes, and so does the connection.
            if response.headers_mut().remove(CONTENT_LENGTH).is_some() {
                self.reusable = false;
            }
        }
        Ok(response)
    }

    /// `Keep-Alive: timeout=5, max=100`: we let go a second earlier than the upstream, or it would close the
    /// connection just as we use it.
    fn heed_keep_alive(&mut self, headers: &HeaderMap) {
        for value in headers.get_all("keep-alive") {
            for (name, number) in value.as_bytes().split(|byte| *byte == b',').filter_map(parameter) {
                if name.eq_ignore_ascii_case(b"timeout") {
                    let offered = Duration::from_secs(number);
                    let kept = offered.saturating_sub((offered / 2).min(Duration::from_secs(1)));
                    self.reusable &= !kept.is_zero();
                    self.idle_limit = if self.idle_limit.is_zero() { kept } else { kept.min(self.idle_limit) };
                } else if name.eq_ignore_ascii_case(b"max") && number == 0 {
                    self.reusable = false;
                }
            }
        }
    }

    fn lost(&self, error: &hyper::Error) -> UpstreamError {
        if error.is_parse() {
            return UpstreamError::Protocol(describe(error));
        }
        if self.pulse.written() == 0 {
            return UpstreamError::Connect(format!("closed before the request was sent: {}", describe(error)));
        }
        UpstreamError::Lost(describe(error))
    }
}

fn poll_incoming(body: &mut Incoming) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
    // Only `turn` brings pieces, so they need not wake anybody.
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

fn parameter(text: &[u8]) -> Option<(&[u8], u64)> {
    let text = text.trim_ascii();
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (name, number) = text.split_at(equals);
    let number = std::str::from_utf8(number.get(1..)?).ok()?.trim().parse().ok()?;
    Some((name.trim_ascii(), number))
}

/// An error with its causes, in one line.
fn describe(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Passes the wake-ups of hyper's connection on to the task that drives it, except those that hyper sends itself
/// while it is being driven: they would only run the task once more for nothing.
#[derive(Default)]
struct Relay {
    driven: AtomicBool,
    missed: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Relay {
    fn enter(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *task {
            Some(known) => known.clone_from(waker),
            unknown => *unknown = Some(waker.clone()),
        }
        drop(task);
        self.driven.store(true, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.driven.store(false, Ordering::SeqCst);
    }

    /// Before the task goes to sleep: wakes it if something happened that the last turn may not have seen.
    fn make_up(&self, cx: &Context<'_>) {
        if self.missed.swap(false, Ordering::SeqCst) {
            cx.waker().wake_by_ref();
        }
    }

    fn forget(&self) {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.driven.load(Ordering::SeqCst) {
            self.missed.store(true, Ordering::SeqCst);
            return;
        }
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = &*task {
            task.wake_by_ref();
        }
    }
}
