//! Takes connections on the public port, reads requests strictly, and hands each to the gateway with the body still unread.
//!
//! Must not know tenants, limits, routes or upstreams, nor what an error body looks like: the gateway, seen only as a
//! [`Handler`], makes the answer for every [`ServerRefusal`].

use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};

mod body;
mod connection;
pub mod cors;
pub mod drain;
pub mod guard;
mod handler;
pub mod listener;
mod pulse;
mod stack;
mod watchdog;
mod wire;

#[cfg(test)]
mod tests;

pub use body::{CallBody, RequestBody, RequestBodyError};
pub use connection::{Stream, serve_stream};
pub use drain::Drain;
pub use listener::{Listener, Serving, serve};
pub use stack::Edge;

/// The longest request head, start line included (bytes).
pub const MAX_HEAD: usize = 32 * 1024;
/// The most header fields of a request.
pub const MAX_HEADERS: usize = 64;
/// The longest request target (bytes).
pub const MAX_URI: usize = 8 * 1024;
/// How long we go on reading and discarding after an answer that came before the end of its request.
pub const LINGER: Duration = Duration::from_secs(5);

/// The gateway as the server sees it.
///
/// It is cloned once per call, so a clone must be cheap (an `Arc`).
pub trait Handler: Clone + Send + Sync + 'static {
    /// The body of an answer. It is dropped as soon as the client is gone, which is how a call learns of it.
    type Body: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;

    /// Answers one call. The future is dropped as soon as the client is gone.
    ///
    /// `peer` is the address of the socket, never one out of a header.
    fn handle(
        &self,
        request: Request<RequestBody>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Makes the answer to a request that was refused before [`Handler::handle`] could see it. Its body must be ready
    /// at once: for some refusals it is written by hand, outside of hyper.
    fn refuse(&self, refusal: ServerRefusal) -> Response<Self::Body>;
}

/// Why a request was refused before routing. Status and text are the handler's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerRefusal {
    /// Framing, Host or a policy header is ambiguous or malformed (400).
    BadRequest {
        /// What is wrong, in words for the person who sent it.
        why: &'static str,
    },
    /// More than [`MAX_HEADERS`] fields or [`MAX_HEAD`] bytes (431).
    HeadersTooLarge,
    /// The target is longer than [`MAX_URI`] (414 or 431).
    UriTooLong,
    /// `Expect` names something other than `100-continue` (417).
    ExpectationFailed,
    /// A method that no path takes: CONNECT, TRACE, `OPTIONS *`, or one in lower case (405).
    MethodNotAllowed,
    /// The head did not arrive within [`Timeouts::head`] (408).
    RequestTimeout,
    /// There are [`Settings::max_connections`] already (503).
    Overloaded,
    /// A foreign Host or Origin on a port that serves callers without a key (403).
    OriginNotAllowed,
    /// The handler panicked (500).
    InternalError,
}

/// How long a client may take for each part of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To the first byte of a fresh connection, or the rest of an HTTP/2 preface.
    pub hello: Duration,
    /// From the first byte of a request head to its end.
    pub head: Duration,
    /// Between two pieces of a request body.
    pub body_idle: Duration,
    /// While bytes of an answer are ready and the client takes none.
    pub write_stall: Duration,
    /// Between two calls on one connection.
    pub keep_alive: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            hello: Duration::from_secs(10),
            head: Duration::from_secs(10),
            body_idle: Duration::from_secs(30),
            write_stall: Duration::from_secs(60),
            keep_alive: Duration::from_secs(75),
        }
    }
}

/// What the public port is set to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads, each with its own runtime; 0 means one per core.
    pub workers: usize,
    /// Connections that are open at once; further ones are told so (503) and closed.
    pub max_connections: usize,
    /// How long a client may take.
    pub timeouts: Timeouts,
    /// What is discarded at most after an early answer (bytes).
    pub max_body: u64,
    /// Whether callers without a key are served here: then a foreign Host or Origin is refused.
    pub anonymous: Option<guard::Anonymous>,
    /// Whose web pages may call from a browser; `None`: nobody's.
    pub cors: Option<cors::Cors>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            workers: 0,
            max_connections: 10_000,
            timeouts: Timeouts::default(),
            max_body: 64 * 1024 * 1024,
            anonymous: None,
            cors: None,
        }
    }
}

/// What the server counted since it started; shared by all workers, read by the metrics.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections taken.
    pub accepted: AtomicU64,
    /// Connections turned away because [`Settings::max_connections`] were open.
    pub turned_away: AtomicU64,
    /// Times that accepting paused for want of file descriptors or memory.
    pub accept_pauses: AtomicU64,
    /// Requests refused before routing.
    pub refused: AtomicU64,
    /// Connections closed by one of the [`Timeouts`].
    pub timed_out: AtomicU64,
    /// Panics caught around a call or in its body.
    pub panics: AtomicU64,
}

impl Counts {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
