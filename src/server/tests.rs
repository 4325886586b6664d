//! What the public port promises, seen from the client's end of the wire.
//!
//! Timers are tested over in-memory streams with a paused clock; what depends on the kernel, over real sockets.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Notify;

use super::drain::Stage;
use super::*;

mod http1;
mod http2;
mod smuggling;
mod sockets;
mod time;

/// Counts what was begun and what was dropped, so that a test can wait for it.
#[derive(Clone, Default)]
struct Tally(Arc<(AtomicUsize, Notify)>);

impl Tally {
    fn add(&self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
        self.0.1.notify_waiters();
    }

    fn count(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    async fn reaches(&self, count: usize) {
        let patience = tokio::time::sleep(Duration::from_secs(200));
        tokio::pin!(patience);
        loop {
            let changed = self.0.1.notified();
            if self.count() >= count {
                return;
            }
            tokio::select! {
                () = changed => {}
                () = &mut patience => panic!("{} instead of {count}", self.count()),
            }
        }
    }
}

struct CountDrop(Tally);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.add();
    }
}

/// A gateway that does what the path says.
#[derive(Clone, Default)]
struct Scripted {
    begun: Tally,
    dropped: Tally,
    frames: Tally,
    /// What became of request bodies: a name each.
    bodies: Arc<std::sync::Mutex<Vec<String>>>,
}

/// A body that does what it is told.
enum Play {
    Whole(Full<Bytes>),
    /// So many frames of so many bytes, then waits for ever.
    Waits {
        frames: usize,
        size: usize,
        played: Tally,
        _dropped: CountDrop,
    },
    /// A frame, then an error.
    Breaks(bool),
    /// A frame, then a panic.
    Panics(bool),
}

impl Body for Play {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let first = Frame::data(Bytes::from_static(b"first"));
        match &mut *self {
            Play::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never: Infallible| match never {}),
            Play::Waits { frames, size, played, .. } => {
                if *frames == 0 {
                    return Poll::Pending;
                }
                *frames -= 1;
                played.add();
                Poll::Ready(Some(Ok(Frame::data(vec![b'x'; *size].into()))))
            }
            Play::Breaks(begun) | Play::Panics(begun) if !*begun => {
                *begun = true;
                Poll::Ready(Some(Ok(first)))
            }
            Play::Breaks(_) => Poll::Ready(Some(Err(io::Error::other("upstream broke")))),
            Play::Panics(_) => panic!("in the body, as the test asked"),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Play::Whole(body) if body.is_end_stream())
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Play::Whole(body) => body.size_hint(),
            _ => http_body::SizeHint::default(),
        }
    }
}

fn reply(status: u16, text: impl Into<Bytes>) -> Response<Play> {
    Response::builder().status(status).body(Play::Whole(Full::new(text.into()))).unwrap()
}

impl Scripted {
    fn waits(&self, frames: usize, size: usize) -> Response<Play> {
        let dropped = CountDrop(self.dropped.clone());
        Response::new(Play::Waits { frames, size, played: self.frames.clone(), _dropped: dropped })
    }

    async fn echo(&self, body: RequestBody) -> Response<Play> {
        let (status, text) = match body.collect().await {
            Ok(body) if body.trailers().is_some() => (500, Bytes::from_static(b"trailers")),
            Ok(body) => (200, body.to_bytes()),
            Err(RequestBodyError::TimedOut) => (408, Bytes::from_static(b"TimedOut")),
            Err(RequestBodyError::Malformed) => (400, Bytes::from_static(b"Malformed")),
            Err(RequestBodyError::ClientGone) => (400, Bytes::from_static(b"ClientGone")),
        };
        self.bodies.lock().unwrap().push(String::from_utf8_lossy(&text).into_owned());
        reply(status, text)
    }
}

impl Handler for Scripted {
    type Body = Play;

    async fn handle(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response<Play> {
        self.begun.add();
        let (parts, body) = request.into_parts();
        match parts.uri.path() {
            "/echo" => self.echo(body).await,
            "/deny" => reply(401, "no key"),
            "/hang" => {
                let _dropped = CountDrop(self.dropped.clone());
                std::future::pending().await
            }
            "/stream" => self.waits(1, 5),
            "/flood" => self.waits(usize::MAX, 16 * 1024),
            "/breaks" => Response::new(Play::Breaks(false)),
            "/panic" => panic!("as the test asked"),
            "/panic-body" => Response::new(Play::Panics(false)),
            "/peer" => reply(200, peer.to_string()),
            other => reply(200, format!("{} {other}", parts.method)),
        }
    }

    fn refuse(&self, refusal: ServerRefusal) -> Response<Play> {
        let status = match refusal {
            ServerRefusal::BadRequest { .. } => 400,
            ServerRefusal::HeadersTooLarge => 431,
            ServerRefusal::UriTooLong => 414,
            ServerRefusal::ExpectationFailed => 417,
            ServerRefusal::MethodNotAllowed => 405,
            ServerRefusal::RequestTimeout => 408,
            ServerRefusal::Overloaded => 503,
            ServerRefusal::OriginNotAllowed => 403,
            ServerRefusal::InternalError => 500,
        };
        reply(status, format!("refused {status}"))
    }
}

/// One worker's edge, and connections to it that need no socket.
struct Rig {
    edge: Arc<Edge<Scripted>>,
    script: Scripted,
    drain: Drain,
    counts: Arc<Counts>,
}

impl Rig {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let (script, drain, counts) = (Scripted::default(), Drain::new(), Arc::new(Counts::default()));
        let edge = Arc::new(Edge::new(script.clone(), Arc::new(settings), drain.clone(), Arc::clone(&counts)));
        Rig { edge, script, drain, counts }
    }

    /// The client's end of a new connection whose pipes hold `capacity` bytes each.
    fn connect(&self, capacity: usize) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(capacity);
        let (edge, seat) = (Arc::clone(&self.edge), self.drain.enter());
        tokio::spawn(async move {
            serve_stream(ours, peer(), edge).await;
            drop(seat);
        });
        theirs
    }

    /// Sends everything, and reads to the end of the connection.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut client = self.connect(1 << 20);
        client.write_all(bytes).await.unwrap();
        read_to_end(&mut client).await
    }
}

impl Stream for DuplexStream {}

fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], 4711))
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
}

fn last_get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

async fn read_to_end(client: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    // A reset after the answer ends it as well as an orderly end does.
    let _ = client.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until `end` was seen.
async fn read_until(client: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut answer = String::new();
    let mut piece = [0; 1024];
    while !answer.contains(end) {
        let count = client.read(&mut piece).await.unwrap();
        assert_ne!(count, 0, "closed before {end:?}, after {answer:?}");
        answer.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    answer
}

fn statuses(answer: &str) -> Vec<u16> {
    let lines = answer.split("HTTP/1.").skip(1);
    lines.map(|rest| rest[2..5].parse().unwrap()).collect()
}
